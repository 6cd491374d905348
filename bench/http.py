"""HTTP/1.1 by hand on one keep-alive connection: what a load generator can afford on the cores that it measures."""

import asyncio
from urllib.parse import urlsplit


class Connection:
    """To the server of `url`; `headers` go with every request."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        split = urlsplit(url)
        self._host, self._port = split.hostname or "", split.port or 80
        lines = {"host": "bench", **(headers or {})}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    def close(self) -> None:
        self._writer.close()

    async def request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. On a new connection, where the server has closed this one as idle."""
        if self._reader.at_eof():
            self.close()
            await self.open()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}content-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status = int(answer[9:12])
        fields = answer.lower().split(b"content-length:", 1)
        length = 0 if len(fields) == 1 else int(fields[1].split(b"\r\n", 1)[0])
        return status, await self._reader.readexactly(length)
