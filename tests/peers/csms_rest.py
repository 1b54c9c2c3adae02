"""A CSMS of the Python package `ocpp` that knows nothing of CMP, with a REST call for DataTransfer in the shape of SteVe's.

    csms_rest.py --listen HOST:PORT [--rest HOST:PORT]

Its stations are Pending, as those are that an operator has not approved yet.
"""

import argparse
import asyncio
import datetime
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result


class Csms(ChargePoint):
    @on("BootNotification")
    async def on_boot(self, **_):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        return call_result.BootNotification(current_time=now, interval=5, status="Pending")

    @on("DataTransfer")
    async def on_data_transfer(self, **_):
        return call_result.DataTransfer(status="UnknownVendorId")


async def make(connected, order):
    answer = {"taskId": 1, "taskFinished": True, "successResponses": [], "errorResponses": [], "exceptions": []}
    for name in order["chargeBoxIdList"]:
        if name not in connected:
            answer["exceptions"].append({"chargeBoxId": name, "exceptionMessage": "not connected"})
            continue
        request = call.DataTransfer(order["vendorId"], order.get("messageId"), order.get("data"))
        response = await connected[name].call(request, suppress=False)
        print(f"sent {order.get('messageId')}", flush=True)
        told = {"status": response.status.upper(), "data": response.data}
        answer["successResponses"].append({"chargeBoxId": name, "response": told})
    return answer


def serve_rest(address, connected, loop):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            order = json.loads(self.rfile.read(int(self.headers["content-length"])))
            is_it = self.path == "/steve/api/v1/operations/DataTransfer" and self.headers["X-Key"] == "of steve"
            made = asyncio.run_coroutine_threadsafe(make(connected, order), loop).result() if is_it else {}
            content = json.dumps(made).encode()
            self.send_response(200 if is_it else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{host}:{server.server_address[1]}/steve/api/v1/operations/DataTransfer"


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--rest", default="127.0.0.1:0")
    arguments = parser.parse_args()
    connected = {}

    async def connection(socket):
        name = socket.request.path.rsplit("/", 1)[-1]
        connected[name] = Csms(name, socket)
        try:
            await connected[name].start()
        except websockets.ConnectionClosed:
            print(f"station {name} is gone", flush=True)

    print(f"rest on {serve_rest(arguments.rest, connected, asyncio.get_running_loop())}", flush=True)
    host, _, port = arguments.listen.rpartition(":")
    server = await websockets.serve(connection, host, int(port), subprotocols=["ocpp1.6"])
    address = server.sockets[0].getsockname()
    print(f"listening on {address[0]}:{address[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
