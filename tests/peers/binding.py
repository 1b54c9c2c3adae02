"""The station's end of the transfer binding, written from its text alone (docs/binding.md), for one exchange at a time
in each direction. `call(message_id, object) -> object` is the OCPP stack."""

import asyncio
import base64
import json
import secrets

VENDOR_ID = "io.github.ocpp-cmp"
MAX = 65536


class TransferError(Exception):
    """The exchange is over; `error` is the object that said so."""

    def __init__(self, error):
        super().__init__(error.get("code"))
        self.error = error


def new_id():
    """128 random bits as 22 characters of base64url without padding."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def chunk(message, off, size):
    piece = base64.b64encode(message[off : off + size]).decode()
    return {"len": len(message), "off": off, "data": piece}


class Incoming:
    """A message that comes in pieces."""

    def __init__(self):
        self.bytes = b""
        self.len = None

    def accept(self, piece):
        """Takes a piece that begins where we stand; says whether the message is whole."""
        if self.len is None:
            self.len = piece["len"]
        if piece["len"] != self.len or piece["off"] != len(self.bytes):
            raise TransferError({"code": "malformed"})
        self.bytes += base64.b64decode(piece["data"], validate=True)
        if len(self.bytes) > self.len:
            raise TransferError({"code": "malformed"})
        return len(self.bytes) == self.len


class Push:
    """The station calls."""

    def __init__(self, call, piece):
        self.call = call
        self.piece = piece
        self.acks = []
        self.ready = asyncio.Event()
        self.pieces_sent = 0

    async def carry(self, route, request):
        """Carries a request to the RA and returns its response."""
        name = new_id()
        outcome = await self.send(name, route, request)
        response = Incoming()
        while True:
            if "error" in outcome:
                retry = outcome["error"].get("retry")
                print(f"told {outcome['error'].get('code')}, retry {retry}", flush=True)
                if retry is None:
                    raise TransferError(outcome["error"])
                await asyncio.sleep(retry)
            elif "wait" in outcome:
                await self.wait(outcome["wait"])
            elif "data" in outcome and response.accept(outcome):
                self.acks.append(name)
                return response.bytes
            outcome = await self.fetch(name, len(response.bytes))

    async def send(self, name, route, request):
        off = 0
        while True:
            call = {"id": name, **chunk(request, off, self.piece), **self.take_acks()}
            if off == 0:
                call["route"] = route
            outcome = await self.call("CmpSend", call)
            self.pieces_sent += 1
            if "next" not in outcome:
                return outcome
            off = outcome["next"]

    async def fetch(self, name, off):
        return await self.call("CmpFetch", {"id": name, "off": off, **self.take_acks()})

    def take_acks(self):
        acks, self.acks = self.acks, []
        return {"ack": acks} if acks else {}

    async def wait(self, seconds):
        """Until notified, but no longer than asked to."""
        try:
            await asyncio.wait_for(self.ready.wait(), seconds)
        except asyncio.TimeoutError:
            pass
        self.ready.clear()

    def handle(self, message_id, _data):
        if message_id != "CmpNotify":
            return None
        self.ready.set()
        return {}


class Pull:
    """The CSMS calls; the station only answers."""

    def __init__(self, piece):
        self.piece = piece
        self.name = None
        self.request = b""
        self.route = "default"
        self.response = Incoming()
        self.finished = None
        self.done = []

    async def carry(self, route, request):
        self.route, self.request, self.response = route, request, Incoming()
        self.finished = asyncio.get_running_loop().create_future()
        self.name = new_id()
        try:
            return await self.finished
        finally:
            self.done.append(self.name)
            self.name = None

    def handle(self, message_id, data):
        if message_id == "CmpPull":
            return self.pulled(data)
        if message_id == "CmpDeliver":
            return self.delivered(data)
        return None

    def pulled(self, data):
        limits = {"unit": 3500, "max": MAX}
        if self.name is None or data.get("id", self.name) != self.name:
            return {"wait": 1, **limits}
        if "id" not in data and self.name in data.get("have", []):
            return {"wait": 1, **limits}
        piece = chunk(self.request, data.get("off", 0), self.piece)
        return {"id": self.name, **piece, "route": self.route, **limits}

    def delivered(self, data):
        if data["id"] in self.done:
            return {"done": True}
        if data["id"] != self.name:
            return {"error": {"code": "unknown-exchange", "text": "not mine"}}
        if "error" in data:
            self.end(lambda: self.finished.set_exception(TransferError(data["error"])))
            return {"done": True}
        if self.response.accept(data):
            self.end(lambda: self.finished.set_result(self.response.bytes))
            return {"done": True}
        return {"next": len(self.response.bytes)}

    def end(self, finish):
        if not self.finished.done():
            finish()


def parse(data):
    """The object of a DataTransfer, and whether it came as a string."""
    return (json.loads(data), True) if isinstance(data, str) else (data, False)
