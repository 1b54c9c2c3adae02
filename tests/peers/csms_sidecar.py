"""A CSMS made of the Python package `ocpp` that has `csms-bridge serve --mode sidecar` beside it.

    csms_sidecar.py --ocpp 1.6|2.0.1 --listen HOST:PORT --bridge URL --secret FILE [--token FILE] [--hold]

It says to the bridge who is connected, passes on the DataTransfers of CMP, and makes the bridge's calls. With --hold it
answers BootNotification with Pending until the bridge says that the station has been served.
"""

import argparse
import asyncio
import datetime
import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request

import websockets
from ocpp.exceptions import OCPPError
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call as call16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201

import binding
import bridge_webhook


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


class Bridge:
    """The HTTP API of the bridge."""

    def __init__(self, url, token):
        self.url = url
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def ask_now(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, self.headers, method=method)
        with urllib.request.urlopen(request, timeout=15) as response:
            text = response.read()
            return json.loads(text) if text else None

    async def ask(self, method, station, path="", body=None):
        name = urllib.parse.quote(station, safe="")
        return await asyncio.to_thread(self.ask_now, method, f"/v1/stations/{name}{path}", body)


def csms_class(base, call, result, version):
    class Csms(base):
        bridge = None
        hold = False

        async def tell(self, boot):
            told = {"boot": boot, "authenticated": "password", "version": version, "connection": self.connection}
            return await self.bridge.ask("PUT", self.id, body=told)

        @on("BootNotification")
        async def on_boot(self, **_):
            held = self.hold and not (await self.tell("pending"))["served"]
            status = "Pending" if held else "Accepted"
            print(f"station {self.id} boots: {status}", flush=True)
            return result.BootNotification(current_time=now(), interval=1, status=status)

        @after("BootNotification")
        async def after_boot(self, **_):
            # Not before the station has its answer: only then it may be called, or call.
            if not self.hold or (await self.tell("pending"))["served"]:
                await self.tell("accepted")

        @on("Heartbeat")
        async def on_heartbeat(self, **_):
            return result.Heartbeat(current_time=now())

        @on("StatusNotification")
        async def on_status(self, **_):
            return result.StatusNotification()

        @on("SecurityEventNotification")
        async def on_security_event(self, **_):
            return result.SecurityEventNotification()

        @on("DataTransfer")
        async def on_data_transfer(self, vendor_id, message_id=None, data=None, **_):
            if vendor_id.lower() != binding.VENDOR_ID:
                return result.DataTransfer(status="UnknownVendorId")
            request = {"vendorId": vendor_id, "messageId": message_id, "data": data}
            path = "/data-transfer"
            try:
                answer = await self.bridge.ask("POST", self.id, path, request)
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                # The bridge was started again, or the lease was over.
                await self.tell("accepted")
                answer = await self.bridge.ask("POST", self.id, path, request)
            print(f"station {self.id} calls {message_id}", flush=True)
            return result.DataTransfer(**answer)

        async def make(self, request):
            """Makes a call of the bridge."""
            print(f"bridge calls {request['messageId']}", flush=True)
            payload = call.DataTransfer(
                vendor_id=request["vendorId"], message_id=request["messageId"], data=request["data"]
            )
            try:
                response = await self.call(payload, suppress=False)
            except asyncio.TimeoutError:
                return 504, {}
            except websockets.ConnectionClosed:
                return 404, {}
            except OCPPError as error:
                return 200, {"error": error.code}
            answer = {"status": response.status}
            if response.data is not None:
                answer["data"] = response.data
            return 200, answer

    return Csms


CSMS = {
    "1.6": csms_class(ChargePoint16, call16, result16, "1.6"),
    "2.0.1": csms_class(ChargePoint201, call201, result201, "2.0.1"),
}


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ocpp", choices=CSMS, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--bridge", required=True)
    parser.add_argument("--secret", required=True, type=pathlib.Path)
    parser.add_argument("--token", type=pathlib.Path)
    parser.add_argument("--hook", default="127.0.0.1:0")
    parser.add_argument("--hold", action="store_true")
    arguments = parser.parse_args()
    token = arguments.token and arguments.token.read_text().strip()
    bridge = Bridge(arguments.bridge, token)
    connected = {}
    loop = asyncio.get_running_loop()

    def make(station, request):
        csms = connected.get(station)
        if csms is None:
            return 404, {}
        return asyncio.run_coroutine_threadsafe(csms.make(request), loop).result()

    host, _, port = arguments.hook.rpartition(":")
    secret = arguments.secret.read_text().strip().encode()
    print(f"hook on {bridge_webhook.serve(host, int(port), secret, make)}", flush=True)

    async def connection(socket):
        path = urllib.parse.urlsplit(socket.request.path).path
        name = urllib.parse.unquote(path.rsplit("/", 1)[-1])
        csms = CSMS[arguments.ocpp](name, socket)
        csms.bridge, csms.hold, csms.connection = bridge, arguments.hold, str(socket.id)
        connected[name] = csms
        try:
            await csms.start()
        except websockets.ConnectionClosed:
            print(f"station {name} is gone", flush=True)
        finally:
            if connected.get(name) is csms:
                del connected[name]
            await bridge.ask("DELETE", name, f"?connection={csms.connection}")

    host, _, port = arguments.listen.rpartition(":")
    server = await websockets.serve(connection, host, int(port), subprotocols=[f"ocpp{arguments.ocpp}"])
    address = server.sockets[0].getsockname()
    print(f"listening on {address[0]}:{address[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
