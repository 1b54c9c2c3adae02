"""What a station and its CSMS say to each other beside CMP, and a record of every text that an end sends and receives."""

import asyncio
import itertools
import json
import time

# DataTransfers of somebody else, in what JSON allows and few write.
OTHER = {"vendorId": "org.example.other", "messageId": "Quote\"Backslash\\"}
TEXTS = ["", "plain", '{"a": 1.50, "b": [1e3]}', "Zürich ☕ 𝄞", "tab\tnewline\nnull\\u0000"]


class Recorder:
    """A WebSocket that writes down each text: a JSON array of "sent" or "received", and the text."""

    def __init__(self, socket, path):
        self.socket = socket
        self.file = open(path, "w", encoding="utf-8", buffering=1)

    def note(self, what, text):
        self.file.write(json.dumps([what, text]) + "\n")

    async def send(self, text):
        self.note("sent", text)
        await self.socket.send(text)

    async def recv(self):
        text = await self.socket.recv()
        self.note("received", text)
        return text

    def __getattr__(self, name):
        return getattr(self.socket, name)


def recorded(socket, path):
    return Recorder(socket, path) if path else socket


class Traffic:
    """Calls, one after the other, until told to stop. A call that gets no answer in time is an error."""

    def __init__(self, calls):
        self.calls = calls
        self.count = 0
        self.stopping = False
        self.task = asyncio.create_task(self.run())

    async def run(self):
        for call in itertools.cycle(self.calls):
            if self.stopping:
                break
            await call()
            self.count += 1
            await asyncio.sleep(0.002)
        print(f"quiet after {self.count} calls", flush=True)

    async def stop(self):
        self.stopping = True
        await self.task


def other_data_transfers(charge_point, call):
    """The calls of DataTransfers of another vendor."""

    def one(text):
        async def send():
            response = await charge_point.call(
                call.DataTransfer(vendor_id=OTHER["vendorId"], message_id=OTHER["messageId"], data=text)
            )
            assert (response.status, response.data) == ("Accepted", text), response

        return send

    return [one(text) for text in TEXTS]


def station_calls(station, call, version):
    """What a station says: heartbeats, states, and DataTransfers of another vendor."""

    async def heartbeat():
        assert (await station.call(call.Heartbeat())).current_time

    async def status():
        if version == "1.6":
            message = call.StatusNotification(connector_id=1, error_code="NoError", status="Available")
        else:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            message = call.StatusNotification(
                timestamp=now, connector_status="Available", evse_id=1, connector_id=1
            )
        assert await station.call(message) is not None

    return [heartbeat, status, *other_data_transfers(station, call)]


def csms_calls(csms, call, version):
    """What a CSMS says: questions for the configuration, and DataTransfers of another vendor."""

    async def configuration():
        if version == "1.6":
            assert (await csms.call(call.GetConfiguration(key=["Ü"]))).unknown_key == ["Ü"]
        else:
            names = {"component": {"name": "Ü"}, "variable": {"name": "x"}}
            response = await csms.call(call.GetVariables(get_variable_data=[names]))
            assert response.get_variable_result[0]["attribute_status"] == "UnknownComponent", response

    return [configuration, *other_data_transfers(csms, call)]
