"""Blobs between our client and a real share server over a network that breaks, and with hosts that lie."""

import asyncio
import os
import secrets
from contextlib import asynccontextmanager

import pytest

from strongroom.attack.network import listening
from strongroom.client.errors import Unreachable
from strongroom.client.results import Grant
from strongroom.client.share import blobs
from strongroom.client.share.blobs import BlobHost
from strongroom.protocol.blobs import BlobStatement, sign_statement
from tests.support.share_host import front, hosting

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(blobs, "WAIT", 0.01)


def grant(oracle, blob, **changes):
    fields = {"version": 1, "max_bytes": 2**40, "expires_at": 0, "live": True} | changes
    return Grant(*sign_statement(oracle.key, BlobStatement(blob=blob, **fields)))


def blocks(data, step=MIB):
    return (data[at : at + step] for at in range(0, len(data), step))


async def read(host, blob, offset, length):
    return b"".join([piece async for piece in host.read(blob, offset, length)])


@asynccontextmanager
async def breaking(port, budgets):
    """A network that cuts each of the next connections after so many bytes in all; then it is whole."""
    left = iter(budgets)

    async def serve(reader, writer):
        budget = next(left, None)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source, sink):
            nonlocal budget
            while data := await source.read(64 * 1024):
                if budget is not None:
                    budget -= len(data)
                    if budget < 0:
                        break
                sink.write(data)
                await sink.drain()
            for end in (writer, inner_writer):
                end.transport.abort() if budget is not None and budget < 0 else end.close()

        try:
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        except ConnectionError:
            pass
        finally:
            inner_writer.close()

    async with listening(serve) as url:
        yield url


async def test_what_was_uploaded_is_what_is_read(tmp_path):
    data, blob = os.urandom(20 * MIB + 7), secrets.token_bytes(16)
    async with hosting(tmp_path) as server, BlobHost(str(server.base_url)) as host:
        seen: list[int] = []
        await host.upload(blob, len(data), blocks(data), grant(server.oracle, blob), seen.append)
        assert seen[-1] == len(data)
        assert seen == sorted(seen)
        assert await read(host, blob, 0, len(data)) == data
        assert await read(host, blob, 5 * MIB - 3, 17) == data[5 * MIB - 3 :][:17]


async def test_an_upload_goes_on_where_the_network_broke(tmp_path):
    data, blob = os.urandom(20 * MIB), secrets.token_bytes(16)
    async with hosting(tmp_path) as server:
        cuts = [100, 3 * MIB, 9 * MIB, 300, 2 * MIB]
        async with breaking(server.port, cuts) as url, BlobHost(url) as host:
            await host.upload(blob, len(data), blocks(data), grant(server.oracle, blob))
        async with BlobHost(str(server.base_url)) as host:
            assert await read(host, blob, 0, len(data)) == data


async def test_a_download_goes_on_where_the_network_broke(tmp_path):
    data = os.urandom(9 * MIB)
    async with hosting(tmp_path) as server:
        blob = await server.stored(data)
        cuts = [100, MIB, 200, 3 * MIB, *[2 * MIB] * 8]  # more than it would try without getting on
        async with breaking(server.port, cuts) as url, BlobHost(url) as host:
            assert await read(host, blob, 0, len(data)) == data


async def test_a_network_that_never_gets_on_is_given_up(tmp_path):
    async with hosting(tmp_path) as server:
        blob = await server.stored(os.urandom(MIB))
        async with breaking(server.port, [10] * 100) as url, BlobHost(url) as host:
            with pytest.raises(Unreachable, match="broke the connection off"):
                await read(host, blob, 0, MIB)


async def test_a_closed_blob_is_gone_and_a_stranger_uploads_nothing(tmp_path):
    blob = secrets.token_bytes(16)
    async with hosting(tmp_path) as server, BlobHost(str(server.base_url)) as host:
        await host.upload(blob, 5, iter([b"12345"]), grant(server.oracle, blob))
        await host.show_grant(blob, grant(server.oracle, blob, version=2, live=False))
        with pytest.raises(Unreachable, match="HTTP status 4"):
            await read(host, blob, 0, 5)
        other = secrets.token_bytes(16)
        with pytest.raises(Unreachable, match="does not accept the Vault's grant"):
            await host.upload(other, 5, iter([b"12345"]), grant(server.oracle, blob))
        with pytest.raises(Unreachable, match=r"HTTP status 4"):
            await host.upload(other, 5, iter([b"12345"]), grant(server.oracle, other, max_bytes=4))


def answering(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answering(200, b"12345"), "HTTP status 200"),
        (answering(206, b"12345", content_range="bytes 1-5/6"), "another part"),
        (answering(206, b"123456", content_range="bytes 0-4/5"), "more than was asked for"),
        (answering(206, b"123", content_range="bytes 0-4/5"), "another part"),
        (answering(206, b"x" * 100_000, content_range="bytes 0-4/5"), "more than was asked for"),
        (answering(302, location="http://127.0.0.1:1/"), "redirects elsewhere"),
        (answering(404), "has no such blob"),
        (b"nonsense\r\n\r\n", "broke the connection off"),
        (b"", "broke the connection off"),
    ],
    ids=range(9),
)
async def test_a_host_that_answers_wrongly_is_named_unreachable(answer, words):
    async def lie(method, path, headers, body):
        return answer

    async with front(lie) as url, BlobHost(url) as host:
        with pytest.raises(Unreachable, match=words):
            await read(host, bytes(16), 0, 5)


@pytest.mark.parametrize("offset", ["3", "99", "-1", "x", "", "9" * 30])
async def test_a_host_that_lost_or_invents_bytes_does_not_get_a_share_that_looks_whole(tmp_path, offset):
    """What it acknowledged is not kept here, and can't be made anew: the upload fails instead of having a hole."""
    blob = secrets.token_bytes(16)
    patched = 0

    async def lie(method, path, headers, body):
        nonlocal patched
        if method == "POST":
            return answering(201, location=f"/blobs/{blob.hex()}")
        if method == "HEAD":
            return answering(200, upload_offset=offset)
        patched += 1
        return b"" if patched == 2 else answering(204, upload_offset=headers["upload-offset"] and str(blobs.CHUNK))

    data = bytes(2 * blobs.CHUNK)
    async with front(lie) as url, BlobHost(url) as host:
        with pytest.raises(Unreachable):
            await host.upload(blob, len(data), blocks(data), Grant(b"s", bytes(64)))
    assert patched == 2


async def test_a_host_that_makes_another_blob_is_not_believed():
    async def lie(method, path, headers, body):
        return answering(201, location="/blobs/" + "00" * 16)

    async with front(lie) as url, BlobHost(url) as host:
        with pytest.raises(Unreachable, match="another blob"):
            await host.upload(b"1" * 16, 1, iter([b"x"]), Grant(b"s", bytes(64)))


async def test_a_file_without_end_is_not_gathered(tmp_path):
    async def lie(method, path, headers, body):
        return answering(200, bytes(9 * MIB))

    async with front(lie) as url, BlobHost(url) as host:
        with pytest.raises(Unreachable, match="more than 262,144 bytes"):
            await host.statement()
