"""The least of HTTP that CMP (RFC 9811) needs, for both sides, on asyncio streams."""

import asyncio
import urllib.parse

CMP = "application/pkixcmp"


async def _message(reader):
    """Reads one HTTP message: start line, headers, body. None at the end of the stream."""
    start = await reader.readline()
    if not start:
        return None
    headers = {}
    while True:
        line = (await reader.readline()).decode("latin-1").strip()
        if not line:
            break
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return start.decode("latin-1").split(), headers, body


async def serve(listen, answer):
    """Serves `answer(body) -> (status, body)`; prints the address when ready and returns the server."""

    async def connection(reader, writer):
        try:
            while request := await _message(reader):
                status, body = await answer(request[2])
                kind = CMP if status == 200 else "text/plain"
                head = f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    host, _, port = listen.rpartition(":")
    server = await asyncio.start_server(connection, host, int(port))
    address = server.sockets[0].getsockname()
    print(f"listening on {address[0]}:{address[1]}", flush=True)
    return server


async def post(url, body):
    """Posts a CMP message; returns the body of the answer, whatever the status says."""
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {CMP}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await _message(reader)
        if answer is None:
            raise ConnectionError("the RA closed the connection without an answer")
        return answer[2]
    finally:
        writer.close()
