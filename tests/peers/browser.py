"""The status page of `csms-bridge` in headless Chromium, driven through its remote debugging protocol.

    browser.py --chromium PROGRAM --bridge PROGRAM

Starts a bridge, stations that say nasty things of themselves, and the browser; looks at what the page shows and does.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import tempfile
import time

import websockets

PATIENCE_S = 60
# As long as the bridge keeps texts of stations.
NASTY = "<script>document.body.dataset.hacked=1</script>"
NASTIER = "<img src=x onerror=document.body.dataset.hacked=1>"


def days_from_now(days):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86_400 + 3_600))


STATIONS = {
    "CS-10": [{"slot": "ChargingStationCertificate", "state": "active", "notAfter": days_from_now(300)}],
    "CS-9": [{"slot": "ChargingStationCertificate", "state": "active", "notAfter": days_from_now(5)}],
    "CS-2": [
        {"slot": NASTY, "state": NASTIER, "notAfter": NASTIER, "error": NASTIER},
        {"slot": "V2GCertificate", "state": "active", "notAfter": days_from_now(-3)},
    ],
    "CS-1": [],
}


def ends_with_this_process():
    """For a child: it is killed when its parent ends."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


async def start(*command):
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, stdout=pipe, stderr=pipe, preexec_fn=ends_with_this_process, limit=1 << 20
    )


async def line_with(stream, pattern):
    while True:
        line = (await asyncio.wait_for(stream.readline(), PATIENCE_S)).decode(errors="replace")
        if not line:
            raise SystemExit(f"it ended without a line like {pattern}")
        found = re.search(pattern, line)
        if found:
            return found[1]


async def drain(stream):
    while await stream.read(1 << 16):
        pass


class Station:
    """As much of a station as says something of itself."""

    def __init__(self, socket):
        self.socket = socket
        self.number = 0

    async def call(self, message_id, data):
        self.number += 1
        payload = {"vendorId": "io.github.ocpp-cmp", "messageId": message_id, "data": json.dumps(data)}
        await self.socket.send(json.dumps([2, str(self.number), "DataTransfer", payload]))
        while True:
            frame = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))
            if frame[0] == 3 and frame[1] == str(self.number):
                return json.loads(frame[2]["data"])


class Page:
    """The page in the browser."""

    def __init__(self, socket):
        self.socket = socket
        self.number = 0
        self.complaints = []

    async def send(self, method, **parameters):
        self.number += 1
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]
            self.note(message)

    def note(self, message):
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(message["params"]["exceptionDetails"])
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"])

    async def value(self, expression):
        result = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise SystemExit(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def becomes(self, expression, expected):
        end = time.monotonic() + PATIENCE_S
        while (value := await self.value(expression)) != expected:
            if time.monotonic() > end:
                raise SystemExit(f"{expression} is {value!r} and not {expected!r}")
            await asyncio.sleep(0.1)


COLUMN = "[...document.querySelectorAll('#stations tbody tr')].map((row) => row.cells[{}].textContent)"


def check(name, is_so, told=""):
    if not is_so:
        raise SystemExit(f"FAILED: {name} {told}")
    print(f"ok: {name}", flush=True)


async def look(page, url):
    for domain in ["Runtime", "Log", "Page"]:
        await page.send(f"{domain}.enable")
    await page.send("Page.navigate", url=url)
    await page.becomes("document.body && document.body.dataset.state", "shown")
    check("the page shows stations", await page.value("document.querySelectorAll('#stations tbody tr').length") == 5)
    names = await page.value(COLUMN.format(0))
    check("stations are in the order of their numbers", names == ["CS-1", "CS-2", "CS-2", "CS-9", "CS-10"], names)
    check("what a station says is text", NASTY in await page.value(COLUMN.format(3)))
    check("its last error too", NASTIER in await page.value(COLUMN.format(6)))
    check("and text alone", await page.value("document.querySelectorAll('#stations img, #stations script').length") == 0)
    check("nothing of it runs", await page.value("document.body.dataset.hacked") is None)

    await page.value("document.querySelector('th[data-by=days] button').click()")
    days = await page.value(COLUMN.format(5))
    check("days to expiry are sorted as numbers, what is none comes last", days[:3] == ["-3", "5", "300"], days)
    await page.value("document.querySelector('th[data-by=days] button').click()")
    days = await page.value(COLUMN.format(5))
    check("and the other way", days[:3] == ["300", "5", "-3"], days)
    order = await page.value("document.querySelector('th[data-by=days]').getAttribute('aria-sort')")
    check("the order is told", order == "descending", order)

    await page.value("document.getElementById('trouble').click()")
    await page.becomes(f"new Set({COLUMN.format(0)}).size", 2)
    names = set(await page.value(COLUMN.format(0)))
    check("only those in trouble are left", names == {"CS-2", "CS-9"}, names)
    await page.value("document.getElementById('trouble').click()")
    await page.becomes(f"new Set({COLUMN.format(0)}).size", 4)
    await page.value(
        "document.getElementById('search').value = 'cs-1';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    await page.becomes(f"new Set({COLUMN.format(0)}).size", 2)
    names = set(await page.value(COLUMN.format(0)))
    check("a search finds by name", names == {"CS-1", "CS-10"}, names)

    facts = await page.value("document.getElementById('facts').textContent")
    check("connections are counted", "4stations connected" in facts, facts)
    route = await page.value("document.querySelector('#routes tbody tr').textContent")
    check("the RA that cannot be reached is seen", "default" in route and "no connection" in route, route)


async def refuses_strangers(page, url, token):
    await page.send("Page.navigate", url=url)
    await page.becomes("document.body && document.body.dataset.state", "failed")
    check("without the token nothing is shown", await page.value("document.getElementById('main').hidden"))
    await page.value(
        f"document.getElementById('token').value = {json.dumps(token)}; document.getElementById('enter').click()"
    )
    await page.becomes("document.body.dataset.state", "shown")
    check("with the token it is", not await page.value("document.getElementById('main').hidden"))


async def take_picture(page, path):
    picture = await page.send("Page.captureScreenshot", format="png")
    pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))


async def start_bridge(program, *options):
    unused = socket.create_server(("127.0.0.1", 0))
    nobody = unused.getsockname()[1]
    unused.close()
    bridge = await start(
        program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store", "memory",
        "--route", f"default=http://127.0.0.1:{nobody}/cmp", *options,
    )
    csms = await line_with(bridge.stdout, "listening on (.*)")
    admin = await line_with(bridge.stdout, "admin on (.*)")
    asyncio.create_task(drain(bridge.stderr))
    return bridge, f"ws://{csms}", admin


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", required=True)
    parser.add_argument("--bridge", required=True)
    parser.add_argument("--picture", help="a file for a picture of the page")
    arguments = parser.parse_args()
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        bridge, csms, admin = await start_bridge(arguments.bridge)
        stack.callback(bridge.kill)
        for name, slots in STATIONS.items():
            url = f"{csms}/{name}"
            station = Station(await stack.enter_async_context(websockets.connect(url, subprotocols=["ocpp2.0.1"])))
            await station.call("CmpHello", {"v": [1], "slots": slots})
        for _ in range(3):
            exchange = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
            await station.call("CmpSend", {"id": exchange, "len": 2, "off": 0, "data": "MAA="})

        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await start(
            arguments.chromium, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}",
            "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", *sandbox, "about:blank",
        )
        stack.callback(browser.kill)
        debugging = await line_with(browser.stderr, r"DevTools listening on ws://([^/]+)/")
        asyncio.create_task(drain(browser.stderr))
        _, targets = await asyncio.to_thread(get_json, f"http://{debugging}/json/list")
        target = next(target for target in targets if target["type"] == "page")
        socket_url = target["webSocketDebuggerUrl"]
        page = Page(await stack.enter_async_context(websockets.connect(socket_url, max_size=1 << 24)))
        await look(page, admin)
        if arguments.picture:
            await page.value("document.getElementById('search').value = ''")
            await page.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
            await page.send("Page.navigate", url=admin)
            await page.becomes("document.body && document.body.dataset.state", "shown")
            await take_picture(page, arguments.picture)
        check("the browser has nothing to complain of", not page.complaints, page.complaints)

        token = secrets.token_hex(32)
        token_file = pathlib.Path(folder) / "token"
        with open(os.open(token_file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(token)
        closed, _, admin = await start_bridge(arguments.bridge, "--admin-token-file", str(token_file))
        stack.callback(closed.kill)
        await refuses_strangers(page, admin, token)
    print("browser: all is as it should be")


def get_json(url):
    import urllib.request

    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        return response.status, json.load(response)


asyncio.run(main())
