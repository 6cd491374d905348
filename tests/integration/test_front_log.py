"""The log by HTTP, as C2SP tlog-tiles has it: what monitors get, and what strangers can't make a host do."""

import asyncio
import itertools
import socket
from contextlib import asynccontextmanager

import httpx
import pytest

from strongroom.host.front.http import Front, Limits
from strongroom.host.front.tiles import parse_tile_path
from strongroom.host.log.growth import Growth
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.link import Operation
from strongroom.protocol.tlog import Frontier, leaf_hash, node_hash

NOTE = b"strongroom/00/0/0\n3\nAAAA\n\n\xe2\x80\x94 strongroom/00/0/0 AAAA\n"


class Kept:
    """A log in memory, by the storage port; `held` makes each read wait for it."""

    def __init__(self, leaves):
        self.log = leaves
        self.kept = {(level, number): node for level, number, node in Growth().extend(leaves)}
        self.held = None
        self.reading = self.most = 0
        self.broken = False

    async def size(self):
        return len(self.log)

    async def leaves(self, indexes):
        await self._read()
        return [self.log[index] if index < len(self.log) else None for index in indexes]

    async def hashes(self, level, first, count):
        await self._read()
        found = [self.kept.get((level, index)) for index in range(first, first + count)]
        return list(itertools.takewhile(lambda one: one is not None, found))

    async def _read(self):
        self.reading += 1
        self.most = max(self.most, self.reading)
        if self.held is not None:
            await self.held.wait()
        self.reading -= 1
        if self.broken:
            raise Unavailable(Number.STORE_UNAVAILABLE)


def leaves(count):
    return [b"leaf %d" % index + b"." * (index % 7) for index in range(count)]


@asynccontextmanager
async def running(log, **limits):
    def ask(operation, body, answered):
        assert operation == Operation.CHECKPOINT
        answered(Operation.OK, NOTE)

    front = Front(ask, Limits(**limits), log=log)
    url = await front.listen("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=url + "/v1/log/", trust_env=False) as client:
            yield front, client
    finally:
        await front.drain(0)
        if front.tiles is not None:
            assert front.tiles._free == front.limits.tiles, "a place was lost"


def mth(hashes):
    """RFC 6962 2.1, by its letter."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(mth(hashes[:half]), mth(hashes[half:]))


def path_of(index):
    """N as the specification encodes it: 1234067 is x001/x234/067."""
    parts: list[str] = []
    while True:
        index, rest = divmod(index, 1000)
        parts.insert(0, f"x{rest:03d}" if parts else f"{rest:03d}")
        if not index:
            return "/".join(parts)


async def test_every_tile_is_that_of_a_tree_computed_by_the_letter():
    log = leaves(1000)
    hashes = [leaf_hash(leaf) for leaf in log]
    async with running(Kept(log)) as (_, client):
        for level, index, width in [(0, 0, 256), (0, 2, 256), (0, 3, 232), (0, 3, 1), (0, 1, 77), (1, 0, 3), (1, 0, 1)]:
            partial = "" if width == 256 else f".p/{width}"
            answer = await client.get(f"tile/{level}/{path_of(index)}{partial}")
            span = 256**level
            first = index * 256
            expected = [mth(hashes[at * span : (at + 1) * span]) for at in range(first, first + width)]
            assert answer.content == b"".join(expected), (level, index, width)
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "immutable" in answer.headers["cache-control"]


async def test_a_monitor_that_knows_the_specification_alone_rebuilds_the_root():
    log = leaves(777)
    async with running(Kept(log)) as (_, client):
        rebuilt, found = Frontier(), []
        for index in range(0, 777, 256):
            width = min(256, 777 - index)
            bundle = (
                await client.get(f"tile/entries/{path_of(index // 256)}" + ("" if width == 256 else f".p/{width}"))
            ).content
            while bundle:
                length = int.from_bytes(bundle[:2], "big")
                found.append(bundle[2 : 2 + length])
                bundle = bundle[2 + length :]
        for leaf in found:
            rebuilt.append(leaf_hash(leaf))
        assert found == log
        assert rebuilt.root == mth([leaf_hash(leaf) for leaf in log])


async def test_the_checkpoint_is_text_that_nobody_keeps():
    async with running(Kept([])) as (_, client):
        answer = await client.get("checkpoint")
        assert answer.content == NOTE
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/004",  # beyond the log
        "tile/0/003",  # partial, and not named so
        "tile/0/003.p/233",
        "tile/1/000.p/4",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/63/x999/x999/x999/x999/x999/999",
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/x000/001",  # another spelling of 001
        "tile/0/x001",
        "tile/0/003.p/0",
        "tile/0/003.p/01",
        "tile/0/003.p/256",
        "tile/0/003?",
        "tile/-1/000",
        "tile/entries/004",
        "tile/entries/003.p/233",
        "tile/data/000",
        "tile/0/../0/000",
        "",
    ],
)
async def test_what_is_not_there_is_404(path):
    async with running(Kept(leaves(1000))) as (_, client):
        url = str(client.base_url).removesuffix("/v1/log/")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(f"GET /v1/log/{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        writer.close()


def test_a_tile_has_one_path():
    assert parse_tile_path(b"/v1/log/tile/3/x001/x234/067.p/9") == (3, 1234067, 9)
    assert parse_tile_path(b"/v1/log/tile/entries/067") == (None, 67, 256)
    for index in (0, 5, 255, 999, 1000, 1234067, 10**17 + 3):
        assert parse_tile_path(b"/v1/log/tile/0/" + path_of(index).encode()) == (0, index, 256)


async def test_nothing_can_be_posted_to_the_log():
    async with running(Kept(leaves(10))) as (_, client):
        assert (await client.post("tile/0/000.p/3", content=b"x")).status_code == 404
        assert (await client.post("checkpoint", content=b"x")).status_code == 404


async def test_an_authenticator_has_no_log():
    async with running(None) as (_, client):
        for path in ("checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"):
            assert (await client.get(path)).status_code == 404


async def test_a_database_that_fails_is_an_error_and_no_tile():
    log = Kept(leaves(10))
    log.broken = True
    async with running(log) as (_, client):
        answer = await client.get("tile/0/000.p/3")
        assert answer.status_code == 503
        assert answer.headers["strongroom-error"] == str(int(Number.STORE_UNAVAILABLE))


async def test_a_leaf_that_is_lost_leaves_no_hole():
    log = Kept(leaves(10))
    log.log[4] = None
    async with running(log) as (_, client):
        assert (await client.get("tile/entries/000.p/9")).status_code == 404
        assert (await client.get("tile/entries/000.p/4")).status_code == 200


async def test_strangers_keep_a_few_readers_busy_and_no_more():
    log = Kept(leaves(300))
    log.held = asyncio.Event()
    async with running(log, tiles=10) as (_, client):
        asked = [asyncio.ensure_future(client.get("tile/entries/000")) for _ in range(14)]
        done, _ = await asyncio.wait(asked, timeout=1.0)
        assert [task.result().headers["strongroom-error"] for task in done] == [str(int(Number.BUSY))] * 4
        assert log.reading == 4
        log.held.set()
        answers = await asyncio.gather(*asked)
        assert log.most == 4
        assert sorted(answer.status_code for answer in answers) == [200] * 10 + [503] * 4


async def test_who_asks_and_hangs_up_asks_for_no_more_than_who_waits():
    log = Kept(leaves(300))
    log.held = asyncio.Event()
    async with running(log, tiles=10) as (front, client):
        port = client.base_url.port
        for _ in range(40):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/log/tile/entries/000 HTTP/1.1\r\nhost: a\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.transport.abort()
        assert len(front.tiles._tasks) <= 10
        assert (await client.get("tile/0/000")).status_code == 503
        log.held.set()
        await asyncio.sleep(0.05)
        assert (await client.get("tile/0/000")).status_code == 200


async def test_clients_that_take_nothing_hold_no_more_than_their_places():
    log = Kept([b"x" * 4000] * 256)
    async with running(log, tiles=3, write_seconds=1.0) as (front, client):
        stuck = []
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port, limit=1024)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            writer.write(b"GET /v1/log/tile/entries/000 HTTP/1.1\r\nhost: a\r\n\r\n" * 30)
            stuck.append(writer)
        await asyncio.sleep(0.5)
        assert front.tiles._free == 0
        assert (await client.get("tile/0/000")).status_code == 503
        assert (await client.get(str(client.base_url).replace("/v1/log/", "/health"))).status_code == 200
        await asyncio.sleep(1.2)
        assert (await client.get("tile/0/000")).status_code == 200  # they were cut off
        for writer in stuck:
            writer.close()
