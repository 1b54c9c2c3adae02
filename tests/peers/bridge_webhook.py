"""The webhook of a CSMS next to `csms-bridge serve --mode sidecar`, written from docs/sidecar.md alone: verifies who calls,
makes each call once, and answers with what the station answered. Python's own library is enough."""

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# An attempt that is older was kept by somebody, or the clocks differ.
MAX_AGE_S = 300
MAX_BODY_BYTES = 1 << 20
# Calls that are remembered; the bridge tries for two minutes unless it is told otherwise.
MOST_REMEMBERED = 10_000


class Refused(Exception):
    """The request is not one of the bridge."""


def verify(secret, headers, body, now=None):
    """The name of the call, if the bridge has signed it of late."""
    timestamp = headers.get("csms-bridge-timestamp", "")
    signature = headers.get("csms-bridge-signature", "")
    if not timestamp.isdecimal():
        raise Refused("no timestamp")
    expected = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.encode(), f"sha256={expected}".encode()):
        raise Refused("wrong signature")
    if abs((time.time() if now is None else now) - int(timestamp)) > MAX_AGE_S:
        raise Refused("too old")
    delivery = json.loads(body)["delivery"]
    # The header is not signed, the body is.
    if headers.get("csms-bridge-delivery") != delivery:
        raise Refused("two names")
    return delivery


class Calls:
    """Makes each call once, however often it comes. `make(station, request)` gives a status and an object."""

    def __init__(self, make):
        self.make = make
        self.lock = threading.Lock()
        self.known = {}

    def answer(self, delivery, station, request):
        with self.lock:
            entry = self.known.get(delivery)
            is_new = entry is None
            if is_new:
                if len(self.known) >= MOST_REMEMBERED:
                    del self.known[next(iter(self.known))]
                entry = self.known[delivery] = {"done": threading.Event(), "answer": (503, {})}
        if is_new:
            try:
                entry["answer"] = self.make(station, request)
            finally:
                if entry["answer"][0] == 503:
                    # Not made: the next attempt may be the one.
                    with self.lock:
                        self.known.pop(delivery, None)
                entry["done"].set()
        entry["done"].wait()
        return entry["answer"]


def serve(host, port, secret, make):
    """Serves the webhook in a thread; gives its URL."""
    calls = Calls(make)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self):
            length = int(self.headers.get("content-length", "0"))
            if length > MAX_BODY_BYTES:
                return self.reply(413, {})
            body = self.rfile.read(length)
            try:
                delivery = verify(secret, self.headers, body)
            except (Refused, ValueError, KeyError, TypeError) as error:
                print(f"refused: {error}", flush=True)
                return self.reply(401, {})
            call = json.loads(body)
            return self.reply(*calls.answer(delivery, call["station"], call["request"]))

        def reply(self, status, answer):
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{host}:{server.server_address[1]}/csms-bridge"
