"""A CSMS made of the Python package `ocpp`, which carries CMP to an RA over HTTP.

    csms_ocpp.py --ocpp 1.6|2.0.1|2.1 --mode push|pull|plain --listen HOST:PORT --route NAME=URL…

In pull mode it holds stations in boot state Pending and does all the calling. In plain mode it knows nothing of CMP. With
--traffic it calls the station all the time, until the station tells it to be quiet.
"""

import argparse
import asyncio
import datetime
import json

import websockets
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call as call16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201
from ocpp.v21 import ChargePoint as ChargePoint21
from ocpp.v21 import call as call21
from ocpp.v21 import call_result as result21

import binding
import csms_binding
import http_face
import ordinary


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def csms_class(base, call, result):
    class Csms(base):
        binding = None
        mode = "push"
        boot = "Accepted"
        pulling = None
        traffic = None

        @on("BootNotification")
        async def on_boot(self, **_):
            status = "Pending" if self.mode == "pull" else self.boot
            return result.BootNotification(current_time=now(), interval=5, status=status)

        @after("BootNotification")
        async def after_boot(self, **_):
            print(f"boot {self.id}", flush=True)
            if self.mode == "pull" and self.pulling is None:
                self.pulling = asyncio.create_task(self.binding.pull())

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
            if vendor_id == ordinary.OTHER["vendorId"]:
                return result.DataTransfer(status="Accepted", data=data)
            if vendor_id == "quiet":
                self.traffic.stopping = True
                done = self.traffic.task.done()
                return result.DataTransfer(status="Accepted" if done else "Rejected")
            if vendor_id.lower() != binding.VENDOR_ID or self.mode == "plain":
                return result.DataTransfer(status="UnknownVendorId")
            value, as_text = binding.parse(data)
            answer = await self.binding.handle(message_id, value)
            if answer is None:
                return result.DataTransfer(status="UnknownMessageId")
            return result.DataTransfer(status="Accepted", data=json.dumps(answer) if as_text else answer)

        async def data_transfer(self, message_id, data):
            response = await self.call(
                call.DataTransfer(vendor_id=binding.VENDOR_ID, message_id=message_id, data=json.dumps(data))
            )
            if response is None or response.status != "Accepted":
                raise binding.TransferError({"code": "no binding"})
            return binding.parse(response.data)[0]

    return Csms


CSMS = {
    "1.6": csms_class(ChargePoint16, call16, result16),
    "2.0.1": csms_class(ChargePoint201, call201, result201),
    "2.1": csms_class(ChargePoint21, call21, result21),
}
CALLS = {"1.6": call16, "2.0.1": call201, "2.1": call21}


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ocpp", choices=CSMS, required=True)
    parser.add_argument("--mode", choices=["push", "pull", "plain"], default="push")
    parser.add_argument("--boot", choices=["Accepted", "Pending"], default="Accepted")
    parser.add_argument("--record", help="file for every text")
    parser.add_argument("--traffic", action="store_true")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--route", action="append", default=[])
    parser.add_argument("--unit", type=int, default=3500)
    parser.add_argument("--piece", type=int, default=900, help="bytes of DER in a frame")
    arguments = parser.parse_args()

    def ask(url):
        return lambda request: http_face.post(url, request)

    pairs = (route.split("=", 1) for route in arguments.route)
    routes = {name: ask(url) for name, url in pairs}

    # What is known of a station outlives its connection.
    known = {}

    async def connection(socket):
        name = socket.request.path.rsplit("/", 1)[-1]
        print(f"station {name} speaks {socket.subprotocol}", flush=True)
        csms = CSMS[arguments.ocpp](name, ordinary.recorded(socket, arguments.record))
        csms.mode = arguments.mode
        csms.boot = arguments.boot
        csms.binding = known.setdefault(name, csms_binding.Csms(routes, arguments.unit, arguments.piece))
        csms.binding.call = csms.data_transfer
        if arguments.traffic:
            calls = ordinary.csms_calls(csms, CALLS[arguments.ocpp], arguments.ocpp)
            csms.traffic = ordinary.Traffic(calls)
        try:
            await csms.start()
        except websockets.ConnectionClosed:
            print(f"station {name} is gone", flush=True)
        finally:
            if csms.pulling is not None:
                csms.pulling.cancel()

    host, _, port = arguments.listen.rpartition(":")
    server = await websockets.serve(connection, host, int(port), subprotocols=[f"ocpp{arguments.ocpp}"])
    address = server.sockets[0].getsockname()
    print(f"listening on {address[0]}:{address[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
