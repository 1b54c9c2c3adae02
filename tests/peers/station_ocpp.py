"""A charging station made of the Python package `ocpp`, with an HTTP face for CMP clients.

    station_ocpp.py --csms ws://HOST:PORT/PATH --id ID --ocpp 1.6|2.0.1 --mode push|pull --listen HOST:PORT
        [--trust FILE] [--password PASSWORD]
"""

import argparse
import asyncio
import base64
import json
import ssl

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call as call16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201

import binding
import http_face

STATUS = {"malformed": 400, "forbidden": 403, "too-large": 413, "busy": 503, "ra-unreachable": 503, "ra-timeout": 504}


def station_class(base, call, result, boot):
    class Station(base):
        binding = None

        async def boot(self):
            response = await self.call(boot(call))
            print(f"boot {response.status}", flush=True)
            return response.status

        async def data_transfer(self, message_id, data):
            """One call of the binding: an object there, an object back."""
            text = json.dumps(data)
            response = await self.call(
                call.DataTransfer(vendor_id=binding.VENDOR_ID, message_id=message_id, data=text)
            )
            if response is None or response.status != "Accepted":
                raise binding.TransferError({"code": "no binding"})
            return binding.parse(response.data)[0]

        @on("DataTransfer")
        async def on_data_transfer(self, vendor_id, message_id=None, data=None, **_):
            if vendor_id.lower() != binding.VENDOR_ID:
                return result.DataTransfer(status="UnknownVendorId")
            value, as_text = binding.parse(data)
            answer = self.binding.handle(message_id, value)
            if answer is None:
                return result.DataTransfer(status="UnknownMessageId")
            return result.DataTransfer(status="Accepted", data=json.dumps(answer) if as_text else answer)

    return Station


STATIONS = {
    "1.6": station_class(
        ChargePoint16,
        call16,
        result16,
        lambda call: call.BootNotification(charge_point_model="peer", charge_point_vendor="python"),
    ),
    "2.0.1": station_class(
        ChargePoint201,
        call201,
        result201,
        lambda call: call.BootNotification(
            charging_station={"model": "peer", "vendor_name": "python"}, reason="PowerUp"
        ),
    ),
}


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csms", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--ocpp", choices=STATIONS, required=True)
    parser.add_argument("--mode", choices=["push", "pull"], default="push")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--route", default="default")
    parser.add_argument("--trust", help="anchors of the CSMS's TLS certificate (PEM), for wss://")
    parser.add_argument("--password", help="for HTTP Basic authentication")
    parser.add_argument("--piece", type=int, default=900, help="bytes of DER in a call")
    arguments = parser.parse_args()

    url = f"{arguments.csms.rstrip('/')}/{arguments.id}"
    options = {}
    if arguments.trust:
        options["ssl"] = ssl.create_default_context(cafile=arguments.trust)
    if arguments.password:
        credentials = base64.b64encode(f"{arguments.id}:{arguments.password}".encode()).decode()
        options["additional_headers"] = {"Authorization": f"Basic {credentials}"}
    async with websockets.connect(url, subprotocols=[f"ocpp{arguments.ocpp}"], **options) as socket:
        station = STATIONS[arguments.ocpp](arguments.id, socket)
        carrier = binding.Pull(arguments.piece)
        if arguments.mode == "push":
            carrier = binding.Push(station.data_transfer, arguments.piece)
        station.binding = carrier
        running = asyncio.create_task(station.start())
        await station.boot()
        one = asyncio.Lock()

        async def answer(request):
            async with one:
                try:
                    return 200, await carrier.carry(arguments.route, request)
                except binding.TransferError as error:
                    print(f"transfer error {error}", flush=True)
                    return STATUS.get(error.error.get("code"), 502), json.dumps(error.error).encode()

        await http_face.serve(arguments.listen, answer)
        await running


asyncio.run(main())
