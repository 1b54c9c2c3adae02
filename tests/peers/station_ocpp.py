"""A charging station made of the Python package `ocpp`, with an HTTP face for CMP clients.

    station_ocpp.py --csms ws://HOST:PORT/PATH --id ID --ocpp 1.6|2.0.1|2.1 --mode push|pull --listen HOST:PORT
        [--trust FILE] [--password PASSWORD]

With --traffic it calls the CSMS all the time. On SIGTERM it and the CSMS become quiet, and it closes the connection.
"""

import argparse
import asyncio
import base64
import json
import signal
import ssl

import websockets
from ocpp.routing import on
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
import http_face
import ordinary

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
            if vendor_id == ordinary.OTHER["vendorId"]:
                return result.DataTransfer(status="Accepted", data=data)
            if vendor_id.lower() != binding.VENDOR_ID:
                return result.DataTransfer(status="UnknownVendorId")
            value, as_text = binding.parse(data)
            answer = self.binding.handle(message_id, value)
            if answer is None:
                return result.DataTransfer(status="UnknownMessageId")
            return result.DataTransfer(status="Accepted", data=json.dumps(answer) if as_text else answer)

        @on("GetConfiguration")
        async def on_get_configuration(self, key, **_):
            return result.GetConfiguration(unknown_key=key)

        @on("GetVariables")
        async def on_get_variables(self, get_variable_data, **_):
            unknown = {"attribute_status": "UnknownComponent"}
            return result.GetVariables(get_variable_result=[unknown | data for data in get_variable_data])

        async def make_quiet(self):
            """Until the CSMS has an answer to all that it asked."""
            while (await self.call(call.DataTransfer(vendor_id="quiet"))).status != "Accepted":
                await asyncio.sleep(0.01)

    return Station


def boot_2(call):
    return call.BootNotification(
        charging_station={"model": "peer", "vendor_name": "python"}, reason="PowerUp"
    )


STATIONS = {
    "1.6": station_class(
        ChargePoint16,
        call16,
        result16,
        lambda call: call.BootNotification(charge_point_model="peer", charge_point_vendor="python"),
    ),
    "2.0.1": station_class(ChargePoint201, call201, result201, boot_2),
    "2.1": station_class(ChargePoint21, call21, result21, boot_2),
}
CALLS = {"1.6": call16, "2.0.1": call201, "2.1": call21}


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
    parser.add_argument("--record", help="file for every text")
    parser.add_argument("--traffic", action="store_true")
    arguments = parser.parse_args()

    url = f"{arguments.csms.rstrip('/')}/{arguments.id}"
    options = {}
    if arguments.trust:
        options["ssl"] = ssl.create_default_context(cafile=arguments.trust)
    if arguments.password:
        credentials = base64.b64encode(f"{arguments.id}:{arguments.password}".encode()).decode()
        options["additional_headers"] = {"Authorization": f"Basic {credentials}"}
    async with websockets.connect(url, subprotocols=[f"ocpp{arguments.ocpp}"], **options) as socket:
        station = STATIONS[arguments.ocpp](arguments.id, ordinary.recorded(socket, arguments.record))
        carrier = binding.Pull(arguments.piece)
        if arguments.mode == "push":
            carrier = binding.Push(station.data_transfer, arguments.piece)
        station.binding = carrier
        running = asyncio.create_task(station.start())
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await station.boot()
        traffic = None
        if arguments.traffic:
            traffic = ordinary.Traffic(ordinary.station_calls(station, CALLS[arguments.ocpp], arguments.ocpp))
        one = asyncio.Lock()

        async def answer(request):
            async with one:
                try:
                    return 200, await carrier.carry(arguments.route, request)
                except binding.TransferError as error:
                    print(f"transfer error {error}", flush=True)
                    return STATUS.get(error.error.get("code"), 502), json.dumps(error.error).encode()

        await http_face.serve(arguments.listen, answer)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        if traffic is not None:
            await traffic.stop()
        if arguments.record:
            await station.make_quiet()
        running.cancel()


asyncio.run(main())
