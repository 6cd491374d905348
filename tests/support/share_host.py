"""A share server: in this process with a clock that tests turn, or as a process of its own; and the Vault it obeys.

`Oracle` stands in for a Vault where only its key and its evidence matter: it signs statements with a real cluster key.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from strongroom.attack.network import listening
from strongroom.host.share.abuse import Abuse
from strongroom.host.share.addresses import direct_address, forwarded_address
from strongroom.host.share.blobs import Blobs, Quotas
from strongroom.host.share.http import Limits, Server
from strongroom.host.share.index import Index
from strongroom.host.share.objects import Objects
from strongroom.host.share.page import Page
from strongroom.host.share.proxy import Proxy
from strongroom.host.share.site import Site
from strongroom.host.share.tus import Tus
from strongroom.protocol.blobs import BlobStatement, sign_statement
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Claims, Evidence, Genesis, Role, cluster_id
from strongroom.protocol.primitives import SigningKey
from tests.support.command import ROOT, environment
from tests.support.councils import council

Answers = Callable[[str, str, dict[str, str], bytes], Awaitable[bytes]]
BYTES = {"content-type": "application/offset+octet-stream"}


class Oracle:
    """A cluster key, what it says, and evidence that shows it."""

    def __init__(self, role: Role = "vault") -> None:
        self.key = SigningKey.generate()
        genesis = encode(
            Genesis(
                version=1, role=role, cluster_key=self.key.public, owner_key=self.key.public,
                council=council(), log_key=bytes(32), witnesses=[], cosignatures=0, development=True,
            )
        )  # fmt: skip
        self.cluster_id = cluster_id(genesis)
        claims = encode(
            Claims(
                version=1, role=role, stage="member", kem_key=bytes(1216), expires_at=2**33,
                receipt_key=self.key.public, cluster_id=self.cluster_id, recoveries=0, generation=0, council=0,
                release=0, watchers=None, attempt=None, config=[], build="test", peer=None,
            )
        )  # fmt: skip
        self.evidence = encode(
            Evidence(
                version=1, kind="insecure-software", quote=b"", collateral=b"", claims=claims, genesis=genesis,
                cluster_signature=bytes(64), releases=b"",
            )
        )  # fmt: skip

    def grant(self, blob: bytes, **changes: Any) -> dict[str, str]:
        """The header."""
        fields = {"version": 1, "max_bytes": 2**40, "expires_at": 0, "live": True} | changes
        statement, signature = sign_statement(self.key, BlobStatement(blob=blob, **fields))
        return {"strongroom-grant": written(statement, signature)}


def written(statement: bytes, signature: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (statement, signature))


async def echo(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A front that says what it got."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body or b"evidence"), body or b"evidence")


@asynccontextmanager
async def front(answer: Answers) -> AsyncIterator[str]:
    """URL of an HTTP server that answers whole raw answers; b"" hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            raw = await answer(method, path, headers, body)
            if not raw:
                return
            writer.write(raw)
            await writer.drain()

    async with listening(serve) as url:
        yield url


def built_page(folder: Path, **files: bytes) -> Path:
    """A folder as the build makes it."""
    contents = {
        "index.html": b"<!doctype html><title>Strongroom</title><script src='/assets/index-Ab12Cd34.js'></script>",
        "callback/index.html": b"<!doctype html><title>Signing in</title>",
        "preview/index.html": b"<!doctype html><title>Preview</title>",
        "sw.js": b"self.addEventListener('fetch', () => {});",
        "assets/index-Ab12Cd34.js": b"console.log('strongroom');" * 200,
        "assets/icon.png": b"\x89PNG",
        **{name.replace("__", "/"): data for name, data in files.items()},
    }
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    (folder / "page.json").write_text(json.dumps({"format": "strongroom page 1", "version": "0", "files": digests}))
    return folder


class Host(httpx.AsyncClient):
    """A client of a share server in this process, and its insides."""

    def __init__(self, url: str, oracle: Oracle, server: Server, blobs: Blobs, index: Index, clock: Clock) -> None:
        super().__init__(base_url=url, trust_env=False, timeout=20)
        self.oracle, self.server, self.blobs, self.index, self.clock = oracle, server, blobs, index, clock
        self.port = int(url.rsplit(":", 1)[1])

    async def begin(self, length: int, blob: bytes | None = None, **grant: Any) -> tuple[bytes, httpx.Response]:
        blob = blob or secrets.token_bytes(16)
        headers = {"tus-resumable": "1.0.0", "upload-length": str(length), **self.oracle.grant(blob, **grant)}
        return blob, await self.post("/blobs/", headers=headers)

    async def piece(self, blob: bytes, offset: int, data: bytes, **grant: Any) -> httpx.Response:
        headers = {"tus-resumable": "1.0.0", "upload-offset": str(offset), **BYTES, **self.oracle.grant(blob, **grant)}
        return await self.patch(f"/blobs/{blob.hex()}", content=data, headers=headers)

    async def stored(self, data: bytes, **grant: Any) -> bytes:
        """The id of a whole blob."""
        blob, begun = await self.begin(len(data), **grant)
        assert begun.status_code == 201, begun.text
        assert (await self.piece(blob, 0, data, **grant)).status_code == 204
        return blob

    async def offset(self, blob: bytes) -> int:
        return int((await self.state(blob)).headers["upload-offset"])

    async def state(self, blob: bytes) -> httpx.Response:
        return await self.head(f"/blobs/{blob.hex()}", headers={"tus-resumable": "1.0.0"})

    async def tell(self, blob: bytes, **grant: Any) -> httpx.Response:
        return await self.put(f"/blobs/{blob.hex()}/grant", headers=self.oracle.grant(blob, **grant))

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection whose every byte the test chooses."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    def patch_head(self, blob: bytes, offset: int, length: int, **grant: Any) -> bytes:
        """The head of a PATCH, as bytes."""
        lines = {
            "host": "a", "tus-resumable": "1.0.0", "upload-offset": str(offset), "content-length": str(length),
            **BYTES, **self.oracle.grant(blob, **grant),
        }  # fmt: skip
        head = [f"PATCH /blobs/{blob.hex()} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
        return "\r\n".join(head).encode()


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@asynccontextmanager
async def hosting(
    data: Path,
    *,
    at: str | None = None,
    limits: Limits | None = None,
    vault: str = "http://127.0.0.1:9",
    authenticators: tuple[str, ...] = (),
    trust: bytes | None = None,
    behind_proxy: bool = False,
    oracle: Oracle | None = None,
    **quotas: Any,
) -> AsyncIterator[Host]:
    """A share server in this process, as `serve` puts it together, with a clock that tests turn."""
    oracle, clock = oracle or Oracle(), Clock()
    data.mkdir(exist_ok=True)  # noqa: ASYNC240
    index = Index(data / "blobs.sqlite3")
    objects = Objects(at or f"file://{data / 'blobs'}")
    blobs = Blobs(index, objects, Quotas(**quotas), clock)
    address = forwarded_address if behind_proxy else direct_address
    proxy = Proxy(vault, authenticators, address)
    page = Page(built_page(data / "page"), trust)
    site = Site(Tus(blobs, oracle.key.public, address), proxy, page, Abuse(data, clock, address))
    server = Server(site.handle, limits)
    url = await server.listen("127.0.0.1", 0)
    try:
        async with Host(url, oracle, server, blobs, index, clock) as host:
            yield host
    finally:
        await server.stop(0.5)
        assert server.connections == set()
        assert server.tasks == set()
        await proxy.close()
        blobs.close()
        index.close()


class Running:
    """A share server as a process."""

    def __init__(self, process: subprocess.Popen[bytes], oracle: Oracle) -> None:
        self.process = process
        self.oracle = oracle
        assert process.stdout is not None
        lines: list[bytes] = []
        while not lines or lines[-1].rstrip() != b"}":
            line = process.stdout.readline()
            assert line, "the server ended before it was ready"
            lines.append(line)
        self.ready = json.loads(b"".join(lines))
        self.port = int(self.ready["url"].rsplit(":", 1)[1])

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"tus-resumable": "1.0.0", **named})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def running(folder: Path, vault: str, oracle: Oracle, *options: str) -> Iterator[Running]:
    page = folder / "page"
    if not page.exists():
        built_page(page)
    command = [sys.executable, "-m", "strongroom.cli", "serve", "share", "--data", str(folder / "data")]
    command += ["--vault", vault, "--page", str(page), "--listen", "127.0.0.1:0", "--json", "--until-eof", *options]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Running(process, oracle)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
