"""Takes TLS off: passes what comes on to a server without it.

    tls_relay.py --listen HOST:PORT --to HOST:PORT --cert FILE --key FILE --clients FILE
Clients need a certificate under one of those in the last file.
"""

import argparse
import asyncio
import ssl


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (OSError, ssl.SSLError):
        writer.close()


async def main():
    parser = argparse.ArgumentParser()
    for option in ["listen", "to", "cert", "key", "clients"]:
        parser.add_argument("--" + option, required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    context.load_verify_locations(options.clients)
    context.verify_mode = ssl.CERT_REQUIRED

    async def relay(reader, writer):
        host, port = options.to.rsplit(":", 1)
        back_reader, back_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pipe(reader, back_writer), pipe(back_reader, writer))
        writer.close()
        back_writer.close()

    host, port = options.listen.rsplit(":", 1)
    server = await asyncio.start_server(relay, host, int(port), ssl=context)
    print("listening on %s:%d" % server.sockets[0].getsockname()[:2], flush=True)
    await server.serve_forever()


asyncio.run(main())
