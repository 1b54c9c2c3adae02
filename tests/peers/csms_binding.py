"""The CSMS side's end of the transfer binding, written from its text alone (docs/binding.md), for one station. The RA
of a route is `routes[name](request) -> response`; `call(message_id, object) -> object` is the OCPP stack."""

import asyncio
import base64

from binding import MAX, Incoming, TransferError, chunk

ANSWER_BUDGET_S = 2


class Exchange:
    """One request and its response."""

    def __init__(self, ask):
        self.ask = ask
        self.request = Incoming()
        self.task = None
        self.waits = False


class Csms:
    def __init__(self, routes, unit, piece):
        self.routes = routes
        self.unit = unit
        self.piece = piece
        self.exchanges = {}
        self.done = set()
        self.call = None
        self.asked = 0

    async def handle(self, message_id, data):
        operations = {"CmpHello": self.hello, "CmpSend": self.send, "CmpFetch": self.fetch}
        operation = operations.get(message_id)
        return await operation(data) if operation else None

    async def hello(self, data):
        if 1 not in data["v"]:
            return {"error": {"code": "unsupported", "text": "version 1 only"}}
        return {"v": 1, "unit": self.unit, "max": MAX, "routes": list(self.routes)}

    def acknowledged(self, data):
        for name in data.get("ack", []):
            self.exchanges.pop(name, None)
            self.done.add(name)

    async def send(self, data):
        self.acknowledged(data)
        name = data["id"]
        if name in self.done:
            return {"done": True}
        if name not in self.exchanges and data["off"] != 0:
            return {"error": {"code": "gap", "retry": 0, "next": 0}}
        if data.get("route", "default") not in self.routes:
            return {"error": {"code": "forbidden", "text": "no such route"}}
        exchange = self.exchanges.get(name) or Exchange(self.routes[data.get("route", "default")])
        self.exchanges[name] = exchange
        request = exchange.request
        held = len(request.bytes)
        if data["off"] > held:
            return {"error": {"code": "gap", "retry": 0, "next": held}}
        if data["off"] < held:
            # A piece again: it is compared and not taken twice.
            piece = base64.b64decode(data["data"], validate=True)
            if request.bytes[data["off"] : data["off"] + len(piece)] != piece:
                return {"error": {"code": "conflict", "text": "other bytes"}}
        elif not request.accept(data) and exchange.task is None:
            return {"next": len(request.bytes)}
        self.forward(name, exchange)
        return await self.outcome(exchange, 0)

    def forward(self, name, exchange):
        if exchange.task is None and len(exchange.request.bytes) == exchange.request.len:
            self.asked += 1
            exchange.task = asyncio.create_task(exchange.ask(exchange.request.bytes))
            exchange.task.add_done_callback(lambda _: asyncio.create_task(self.notify(name, exchange)))

    async def notify(self, name, exchange):
        if exchange.waits and self.call is not None:
            await self.call("CmpNotify", {"ready": name})

    async def fetch(self, data):
        self.acknowledged(data)
        if "id" not in data:
            return {}
        if data["id"] in self.done:
            return {"done": True}
        exchange = self.exchanges.get(data["id"])
        if exchange is None:
            return {"error": {"code": "unknown-exchange", "text": "never seen"}}
        if exchange.task is None:
            return {"next": len(exchange.request.bytes)}
        return await self.outcome(exchange, data["off"])

    async def outcome(self, exchange, off):
        if exchange.task is None:
            return {"next": len(exchange.request.bytes)}
        finished, _ = await asyncio.wait([exchange.task], timeout=ANSWER_BUDGET_S)
        if not finished:
            exchange.waits = True
            return {"wait": 60}
        if exchange.task.exception() is not None:
            return {"error": {"code": "ra-timeout", "text": "no answer"}}
        return chunk(exchange.task.result(), off, self.piece)

    async def pull(self):
        """Pull mode, for as long as the connection stands: asked again soon after it was idle."""
        while True:
            pulled = await self.call("CmpPull", {"v": [1], "unit": self.unit, "max": MAX, "have": []})
            if pulled.get("idle"):
                await asyncio.sleep(0.2)
                continue
            if "wait" in pulled:
                await asyncio.sleep(pulled["wait"])
                continue
            name, request, ask = pulled["id"], Incoming(), self.routes[pulled["route"]]
            while not request.accept(pulled):
                pulled = await self.call("CmpPull", {"id": name, "off": len(request.bytes)})
            self.asked += 1
            response = await ask(request.bytes)
            off = 0
            while True:
                delivered = await self.call("CmpDeliver", {"id": name, **chunk(response, off, self.piece)})
                if "error" in delivered:
                    raise TransferError(delivered["error"])
                if delivered.get("done"):
                    break
                off = delivered["next"]
                if off == len(response):
                    # It is there whole; its `ack` comes with a later answer.
                    break
