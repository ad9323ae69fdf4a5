"""A server that answers every request alike, after a while: `python -m tests.bench.answering PORT SECONDS`.

It stands on asyncio and reads no request, so that many connections cost it little.
"""

from __future__ import annotations

import asyncio
import sys
from email.utils import formatdate
from typing import Final, cast

BODY: Final = (
    b'{"data":[],"meta":{"pagination":{"total":0,"count":0,"per_page":100,"current_page":1,"total_pages":1},'
    b'"cursor":{"id":1786,"affix":"append"}}}'
)
HEAD: Final = (
    "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
    "Connection: keep-alive\r\nServer: nginx\r\nCache-Control: no-cache, private\r\n"
    "X-RateLimit-Limit: 20000\r\nX-RateLimit-Remaining: 19000\r\nX-RateLimit-Reset: 1795334460\r\n"
    "Access-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=31536000\r\n\r\n"
)


class Answering(asyncio.Protocol):
    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if self._asked.endswith(b"\r\n\r\n"):
            self._asked = b""
            asyncio.get_running_loop().call_later(self._after_s, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            head = HEAD.format(date=formatdate(usegmt=True), size=len(BODY))
            self._transport.write(head.encode() + BODY)


async def main(port: int, after_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(after_s), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
