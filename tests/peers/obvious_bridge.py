"""A bridge of the obvious kind, to measure csms-bridge against: what a station sends in one frame is posted to the RA, and
the answer goes back in one frame. Nothing is kept, checked or limited.

    obvious_bridge.py RA-URL

prints `listening on ADDRESS`. Needs websockets and aiohttp.
"""

import asyncio
import base64
import json
import sys

import aiohttp
from websockets.asyncio.server import serve


async def main(ra: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:

        async def data_transfer(payload: dict) -> dict:
            request = json.loads(payload["data"])
            body = base64.b64decode(request["data"])
            headers = {"Content-Type": "application/pkixcmp"}
            async with session.post(ra, data=body, headers=headers) as response:
                answer = await response.read()
            data = {"len": len(answer), "off": 0, "data": base64.b64encode(answer).decode()}
            return {"status": "Accepted", "data": json.dumps(data, separators=(",", ":"))}

        async def station(socket) -> None:
            async for text in socket:
                _, call, action, payload = json.loads(text)
                if action == "DataTransfer":
                    answer = await data_transfer(payload)
                else:
                    answer = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 300}
                await socket.send(json.dumps([3, call, answer]))

        async with serve(station, "127.0.0.1", 0, subprotocols=["ocpp2.0.1"], compression=None) as server:
            host, port = server.sockets[0].getsockname()
            print(f"listening on {host}:{port}", flush=True)
            await asyncio.get_running_loop().create_future()


asyncio.run(main(sys.argv[1]))
