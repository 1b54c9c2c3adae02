"""Pull mode through a CSMS that cannot be changed: takes the calls of `csms-bridge serve --mode sidecar` and has the CSMS
make them with its REST call for DataTransfer, in the shape of SteVe's. Python's own library is enough.

    webhook_to_rest.py --listen HOST:PORT --secret FILE --rest URL [--header-file FILE]
                       --bridge URL [--token FILE] --station ID…

It also says to the bridge, each minute, that the stations are there and Pending, so that they are pulled.
"""

import argparse
import hashlib
import hmac
import json
import pathlib
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_AGE_S = 300
MAX_BODY_BYTES = 1 << 20
# Longer than the CSMS waits for a station.
REST_TIMEOUT_S = 35
MOST_REMEMBERED = 10_000
# Where the CSMS writes the status as Java does.
STATUS = {
    "ACCEPTED": "Accepted",
    "REJECTED": "Rejected",
    "UNKNOWN_MESSAGE_ID": "UnknownMessageId",
    "UNKNOWN_VENDOR_ID": "UnknownVendorId",
}


def is_signed(secret, headers, body):
    timestamp = headers.get("csms-bridge-timestamp", "")
    expected = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    signature = headers.get("csms-bridge-signature", "")
    is_right = hmac.compare_digest(signature.encode(), f"sha256={expected}".encode())
    return is_right and timestamp.isdecimal() and abs(time.time() - int(timestamp)) <= MAX_AGE_S


def post(url, body, headers, method="POST"):
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=REST_TIMEOUT_S) as response:
        return json.load(response)


def make(rest, headers, station, request):
    """Has the CSMS send the DataTransfer; gives status and body for the bridge."""
    try:
        answer = post(rest, {"chargeBoxIdList": [station], **request}, headers)
    except urllib.error.HTTPError as error:
        print(f"{station}: the CSMS says {error.code}", flush=True)
        # What it refuses it would refuse again.
        return (503 if error.code >= 500 else 404), {}
    except (urllib.error.URLError, TimeoutError) as error:
        print(f"{station}: {error}", flush=True)
        return 503, {}
    of_station = [entry for entry in answer.get("successResponses", []) if entry["chargeBoxId"] == station]
    if of_station:
        response = of_station[0]["response"]
        told = {"status": STATUS.get(response["status"], response["status"])}
        if response.get("data") is not None:
            told["data"] = response["data"]
        return 200, told
    errors = [entry for entry in answer.get("errorResponses", []) if entry["chargeBoxId"] == station]
    if errors:
        return 200, {"error": errors[0]["errorCode"]}
    # It is not connected, or did not answer in time.
    return 404 if answer.get("exceptions") else 504, {}


class Once:
    """Makes each call once, however often it comes."""

    def __init__(self, make):
        self.make, self.lock, self.known = make, threading.Lock(), {}

    def answer(self, name, station, request):
        with self.lock:
            if len(self.known) >= MOST_REMEMBERED:
                del self.known[next(iter(self.known))]
            call = self.known.setdefault(name, {"lock": threading.Lock(), "answer": None})
        with call["lock"]:
            if call["answer"] is None or call["answer"][0] == 503:
                call["answer"] = self.make(station, request)
            return call["answer"]


def tell(bridge, token, stations):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    told = {"boot": "pending", "authenticated": "password", "version": "1.6"}
    while True:
        all_told = True
        for station in stations:
            try:
                post(f"{bridge}/v1/stations/{urllib.parse.quote(station, safe='')}", told, headers, "PUT")
            except OSError as error:
                print(f"{station}: the bridge is not told: {error}", flush=True)
                all_told = False
        time.sleep(60 if all_told else 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--secret", required=True, type=pathlib.Path)
    parser.add_argument("--rest", required=True)
    parser.add_argument("--header-file", type=pathlib.Path, help="one line: NAME: VALUE")
    parser.add_argument("--bridge", required=True)
    parser.add_argument("--token", type=pathlib.Path)
    parser.add_argument("--station", action="append", required=True)
    arguments = parser.parse_args()
    secret = arguments.secret.read_text().strip().encode()
    headers = {"Content-Type": "application/json"}
    if arguments.header_file:
        name, _, value = arguments.header_file.read_text().strip().partition(":")
        headers[name.strip()] = value.strip()
    calls = Once(lambda station, request: make(arguments.rest, headers, station, request))

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self):
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(min(length, MAX_BODY_BYTES))
            if not is_signed(secret, self.headers, body):
                return self.reply(401, {})
            call = json.loads(body)
            return self.reply(*calls.answer(call["delivery"], call["station"], call["request"]))

        def reply(self, status, answer):
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    host, _, port = arguments.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"hook on http://{host}:{server.server_address[1]}/", flush=True)
    token = arguments.token and arguments.token.read_text().strip()
    threading.Thread(target=tell, args=(arguments.bridge, token, arguments.station), daemon=True).start()
    server.serve_forever()


main()
