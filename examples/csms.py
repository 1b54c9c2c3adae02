"""An ordinary CSMS of the Python packages `ocpp` and `websockets`, which knows nothing of certificates:

    pip install ocpp websockets
    csms.py --listen HOST:PORT
"""

import argparse
import asyncio
import datetime

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call_result as result201


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def csms_class(base, result):
    class Csms(base):
        @on("BootNotification")
        async def on_boot(self, **_):
            print(f"{self.id} booted", flush=True)
            return result.BootNotification(current_time=now(), interval=300, status="Accepted")

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
        async def on_data_transfer(self, vendor_id, **_):
            print(f"{self.id} wants something of {vendor_id}", flush=True)
            return result.DataTransfer(status="UnknownVendorId")

    return Csms


CSMS = {
    "ocpp1.6": csms_class(ChargePoint16, result16),
    "ocpp2.0.1": csms_class(ChargePoint201, result201),
}


async def connection(socket):
    name = socket.request.path.rsplit("/", 1)[-1]
    print(f"{name} connected, {socket.subprotocol}", flush=True)
    try:
        await CSMS[socket.subprotocol](name, socket).start()
    except websockets.ConnectionClosed:
        print(f"{name} is gone", flush=True)


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    host, _, port = parser.parse_args().listen.rpartition(":")
    server = await websockets.serve(connection, host, int(port), subprotocols=list(CSMS))
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
