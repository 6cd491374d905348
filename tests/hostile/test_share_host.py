"""The share server against forged and stale grants, and against clients that want its disk, its memory or its files."""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import socket
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from strongroom.host.share import blobs, proxy
from strongroom.host.share.blobs import READERS_PER_ADDRESS
from strongroom.host.share.connection import Connection
from strongroom.host.share.http import Limits
from strongroom.host.share.objects import Part
from strongroom.host.share.page import BadPage, Page
from strongroom.protocol.blobs import BlobStatement, sign_statement
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.limits import MAX_FRAME
from strongroom.protocol.primitives import Domain
from tests.support.share_host import Oracle, built_page, hosting, written

TUS = {"tus-resumable": "1.0.0", "upload-length": "10"}


def statement(**changes):
    fields: dict[str, Any] = {"blob": bytes(16), "version": 1, "max_bytes": 100, "expires_at": 0, "live": True}
    return BlobStatement(**(fields | changes))


# --- whom the host believes -----------------------------------------------------------------------------------------


async def test_nobody_stores_without_the_word_of_the_vault(tmp_path):
    async with hosting(tmp_path / "data") as host:
        answer = await host.post("/blobs/", headers=TUS)
        assert answer.status_code == 401
        assert host.index.total() == 0


async def test_a_grant_of_another_cluster_is_refused(tmp_path):
    async with hosting(tmp_path / "data") as host:
        answer = await host.post("/blobs/", headers=TUS | Oracle().grant(bytes(16)))
        assert (answer.status_code, answer.headers["strongroom-error"]) == (403, "302")


async def test_a_grant_that_was_changed_is_refused(tmp_path):
    async with hosting(tmp_path / "data") as host:
        _, signature = sign_statement(host.oracle.key, statement())
        for changed in (statement(max_bytes=10**9), statement(version=2), statement(blob=b"x" * 16)):
            headers = {"strongroom-grant": written(encode(changed), signature)}
            assert (await host.post("/blobs/", headers=TUS | headers)).status_code == 403


async def test_what_the_cluster_key_signed_for_another_purpose_is_no_grant(tmp_path):
    async with hosting(tmp_path / "data") as host:
        data = encode(statement())
        headers = {"strongroom-grant": written(data, host.oracle.key.sign(Domain.CLAIMS_SIGNATURE, data))}
        assert (await host.post("/blobs/", headers=TUS | headers)).status_code == 403


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", encode(statement())[:-1], encode(statement()) + b"\x00", b"\xc1" * 20, b"\x91" * 1000],
)
async def test_a_signed_statement_that_is_no_statement_is_refused(tmp_path, data):
    """The Vault does not sign such; a host that took them could be told one thing and believe another."""
    async with hosting(tmp_path / "data") as host:
        headers = {"strongroom-grant": written(data, host.oracle.key.sign(Domain.BLOB, data))}
        answer = await host.post("/blobs/", headers=TUS | headers)
        assert answer.status_code == 400
        assert host.index.total() == 0


async def test_a_grant_is_written_in_one_way_only(tmp_path):
    async with hosting(tmp_path / "data") as host:
        good = host.oracle.grant(bytes(16))["strongroom-grant"]
        left, right = good.split(".")
        other = "B" if right[-1] == "A" else chr(ord(right[-1]) + 1)  # the same bytes, other spare bits
        bent = (f"{left}=.{right}", f"{left}.{right[:-1]}{other}", f"{left}.{right}.", left, ".", "",
                f"{good}, {good}", f"{left}.{right}A", good.replace(".", ":"))  # fmt: skip
        for text in bent:
            answer = await host.post("/blobs/", headers=TUS | {"strongroom-grant": text})
            assert answer.status_code in (400, 401), text
        assert (await host.post("/blobs/", headers=TUS | {"strongroom-grant": good})).status_code == 201


async def test_a_grant_for_one_blob_opens_no_other(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(10)
        mine = host.oracle.grant(secrets.token_bytes(16), version=9, live=False)
        assert (await host.put(f"/blobs/{blob.hex()}/grant", headers=mine)).status_code == 403
        headers = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream"}
        headers |= host.oracle.grant(secrets.token_bytes(16))
        assert (await host.patch(f"/blobs/{blob.hex()}", content=b"x", headers=headers)).status_code == 403
        assert await host.offset(blob) == 0


async def test_an_expired_grant_begins_and_continues_nothing(tmp_path):
    soon = int(time.time()) + 100
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(10, expires_at=soon)
        host.clock.ahead = 101
        answer = await host.piece(blob, 0, b"x", expires_at=soon)
        assert (answer.status_code, answer.headers["strongroom-error"]) == (403, "208")
        assert (await host.begin(10, expires_at=soon))[1].status_code == 403
        assert (await host.tell(blob, expires_at=soon, version=2)).status_code == 403


async def test_a_grant_that_says_erase_lets_nobody_upload(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, begun = await host.begin(10, live=False)
        assert (begun.status_code, begun.headers["strongroom-error"]) == (403, "207")
        await host.begin(10, blob)
        assert (await host.piece(blob, 0, b"x", live=False, version=2)).status_code == 403


async def test_a_later_grant_for_less_stops_an_upload_that_is_larger(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(1000, max_bytes=1000)
        answer = await host.piece(blob, 0, b"x", version=2, max_bytes=500)
        assert (answer.status_code, answer.headers["strongroom-error"]) == (413, "102")


async def test_who_kept_an_older_grant_can_not_use_it_after_a_later_one(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(10, version=5)
        assert (await host.tell(blob, version=6)).status_code == 204
        assert (await host.piece(blob, 0, b"x", version=5)).status_code == 403
        assert (await host.begin(10, blob, version=5))[1].status_code == 403
        assert (await host.tell(blob, version=5, live=False)).status_code == 403
        assert (await host.piece(blob, 0, b"x", version=6)).status_code == 204


async def test_who_kept_the_grant_of_a_closed_record_brings_nothing_back(tmp_path):
    """Also not after a restart, nor for a blob that was closed before anything of it had come."""
    oracle, later = Oracle(), int(time.time()) + 1000
    unseen = secrets.token_bytes(16)
    async with hosting(tmp_path / "data", oracle=oracle) as host:
        blob = await host.stored(b"0123456789", version=3, expires_at=later)
        assert (await host.tell(blob, version=4, live=False, expires_at=later)).status_code == 204
        assert (await host.tell(unseen, version=4, live=False, expires_at=later)).status_code == 204
        assert (await host.tell(blob, version=4, live=False, expires_at=later)).status_code == 204  # said twice
    async with hosting(tmp_path / "data", oracle=oracle) as host:
        for id in (blob, unseen):
            for version in (3, 4):
                begun = (await host.begin(10, id, version=version, expires_at=later))[1]
                assert begun.status_code == 403
                assert (await host.tell(id, version=version, expires_at=later)).status_code == 403
        assert host.index.total() == 0
        host.clock.ahead = 900
        await host.blobs.sweep()
        assert (await host.begin(10, blob, version=4, expires_at=later))[1].status_code == 403
        assert (await host.begin(10, blob, version=5, expires_at=later))[1].status_code == 201


async def test_an_erased_blob_is_remembered_until_no_grant_could_bring_it_back(tmp_path):
    later = int(time.time()) + 1000
    async with hosting(tmp_path / "data") as host:
        brief, lasting = await host.stored(b"x", expires_at=later), await host.stored(b"x")
        for blob in (brief, lasting):
            assert (await host.tell(blob, version=2, live=False, expires_at=later - 500)).status_code == 204
        host.clock.ahead = 900
        await host.blobs.sweep()
        assert host.index.blob(brief) is not None
        host.clock.ahead = 10**9
        await host.blobs.sweep()
        assert host.index.blob(brief) is None
        assert host.index.blob(lasting) is not None, "its first grant never expires"


@pytest.mark.parametrize("until", [0, 2**40])
async def test_who_never_says_that_a_record_is_closed_has_its_blob_kept_for_so_many_days_and_no_more(tmp_path, until):
    """Its bytes are out of the quota by then. Nor does the old grant bring them back for as long again."""
    day = 24 * 3600
    async with hosting(tmp_path / "data", max_days=10) as host:
        blob = await host.stored(b"0123456789", expires_at=until)
        host.clock.ahead = 9 * day
        assert (await host.tell(blob, version=1, expires_at=until)).status_code == 204
        host.clock.ahead = 9.9 * day
        await host.blobs.sweep()
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 200
        host.clock.ahead = 10 * day + 1
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 410
        await host.blobs.sweep()
        assert host.index.total() == 0
        assert list((tmp_path / "data" / "blobs").iterdir()) == []
        again = (await host.begin(10, blob, expires_at=until))[1]
        assert (again.status_code, again.headers["strongroom-error"]) == (403, "208")
        assert (await host.begin(10, blob, expires_at=until, version=2))[1].status_code == 201


async def test_who_extends_a_record_has_its_blob_kept_for_so_many_days_from_then(tmp_path):
    day = 24 * 3600
    async with hosting(tmp_path / "data", max_days=10) as host:
        blob = await host.stored(b"0123456789", expires_at=2**40)
        host.clock.ahead = 8 * day
        assert (await host.tell(blob, version=2, expires_at=2**40)).status_code == 204
        host.clock.ahead = 17 * day
        await host.blobs.sweep()
        assert (await host.get(f"/blobs/{blob.hex()}")).content == b"0123456789"
        host.clock.ahead = 18 * day + 1
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 410


async def test_erasing_is_obeyed_whatever_the_time(tmp_path):
    past = int(time.time()) - 10
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        assert (await host.tell(blob, version=2, live=False, expires_at=past)).status_code == 204
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 410
        assert list((tmp_path / "data" / "blobs").iterdir()) == []


# --- who wants its disk or its memory -------------------------------------------------------------------------------


async def test_a_million_pieces_of_one_byte_are_not_kept(tmp_path):
    async with hosting(tmp_path / "data", at="memory:///") as host:
        blob, _ = await host.begin(10_000)
        for offset in range(1024):
            host.index.add_part(Part(blob, offset), 1, int(time.time()))
        assert (await host.piece(blob, 1024, b"x")).status_code == 400
        assert await host.offset(blob) == 1024


async def test_uploads_that_hold_back_do_not_fill_the_memory(tmp_path):
    limit = 4 * 1024 * 1024
    async with hosting(tmp_path / "data", memory=limit) as host:
        blobs = [(await host.begin(2**24))[0] for _ in range(8)]
        connections = []
        peak = 0
        for blob in blobs:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(host.patch_head(blob, 0, 2**24) + bytes(900_000))
            await writer.drain()
            await asyncio.sleep(0.1)
            connections.append((reader, writer))
            peak = max(peak, host.blobs._memory.held)
        assert 0 < peak <= limit + 512 * 1024
        answers = [await asyncio.wait_for(reader.readline(), 5) for reader, _ in connections[5:]]
        assert {line.split()[1] for line in answers} == {b"503"}
        for blob in blobs[5:]:
            assert await host.offset(blob) > 0, "what had come is kept"
        for _, writer in connections:
            writer.close()
        async with asyncio.timeout(5):
            while host.blobs._memory.held:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_sweep_never_erases_what_an_upload_is_putting(tmp_path):
    data = os.urandom(300_000)
    async with hosting(tmp_path / "data") as host:
        sweeping = asyncio.create_task(_sweep_on(host))
        blobs = []
        for _ in range(5):
            blob, _ = await host.begin(len(data))
            for offset in range(0, len(data), 50_000):
                assert (await host.piece(blob, offset, data[offset : offset + 50_000])).status_code == 204
            blobs.append(blob)
        sweeping.cancel()
        for blob in blobs:
            assert (await host.get(f"/blobs/{blob.hex()}")).content == data


async def test_a_part_that_was_recorded_since_it_was_listed_is_no_orphan(tmp_path, monkeypatch):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        answers = iter([[Part(blob, 0)], *[None] * 9])  # the first is from before the part was recorded
        now = host.index.unlisted
        monkeypatch.setattr(host.index, "unlisted", lambda parts: next(answers) or now(parts))
        await host.blobs.sweep_orphans()
        assert (await host.get(f"/blobs/{blob.hex()}")).content == b"0123456789"


async def test_a_part_that_is_not_recorded_yet_is_no_orphan(tmp_path):
    async with hosting(tmp_path / "data") as host, host.raw() as (_, writer):
        blob, _ = await host.begin(10)
        writer.write(host.patch_head(blob, 0, 10) + b"half.")
        await asyncio.sleep(0.2)
        await host.blobs._objects.put(Part(blob, 0), b"half.")
        await host.blobs.sweep_orphans()
        assert (tmp_path / "data" / "blobs" / blob.hex() / "0").exists()


async def _sweep_on(host):
    while True:
        await host.blobs.sweep_orphans()
        await host.blobs.sweep()
        await asyncio.sleep(0)


async def test_clients_that_send_half_a_head_are_let_go(tmp_path):
    async with hosting(tmp_path / "data", limits=Limits(head_seconds=0.4)) as host:
        for begun, status in ((b"GET / HTTP/1.1\r\nhost:", b"408"), (b"", b"")):
            async with host.raw() as (reader, writer):
                writer.write(begun)
                line = await asyncio.wait_for(reader.readline(), 3)
                assert line.split()[1:2] == ([status] if status else [])


async def test_a_head_that_drips_is_bounded_from_its_first_byte(tmp_path):
    async with hosting(tmp_path / "data", limits=Limits(head_seconds=0.6)) as host, host.raw() as (reader, writer):
        began = time.monotonic()
        writer.write(b"GET / HTTP/1.1\r\n")
        answer = asyncio.create_task(reader.readline())
        while not answer.done():
            writer.write(b"a: b\r\n")
            await asyncio.sleep(0.1)
        assert (await answer).split()[1] == b"408"
        assert time.monotonic() - began < 3


async def test_a_body_that_drips_is_bounded_by_its_pace(tmp_path):
    """A byte every now and then would hold the blob's turn for ever."""
    async with hosting(tmp_path / "data", limits=Limits(stall_seconds=0.5)) as host, host.raw() as (reader, writer):
        blob, _ = await host.begin(100_000)
        writer.write(host.patch_head(blob, 0, 100_000))
        answer = asyncio.create_task(reader.readline())
        began = time.monotonic()
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
            assert time.monotonic() - began < 5
        assert (await answer).split()[1] == b"408"


async def test_bodies_for_the_vault_are_bounded_in_time_and_all_together(tmp_path, monkeypatch):
    """Else whoever opens enough connections and sends slowly fills the memory, or keeps everybody from the Vault."""
    monkeypatch.setattr(proxy, "MAX_HELD", 2 * MAX_FRAME)
    head = b"POST /vault/v1/frame HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % MAX_FRAME
    async with (
        hosting(tmp_path / "data", limits=Limits(request_seconds=1.0)) as host,
        host.raw() as (one, one_out),
        host.raw() as (_, two_out),
        host.raw() as (three, three_out),
    ):
        one_out.write(head + b"x" * 100_000)
        two_out.write(head + b"x" * 100_000)
        await asyncio.sleep(0.2)
        three_out.write(head)
        assert b"strongroom-error: 401" in await asyncio.wait_for(three.readuntil(b"\r\n\r\n"), 3)
        assert (await asyncio.wait_for(one.readline(), 3)).split()[1] == b"408"
        assert (await host.get("/vault/v1/evidence")).headers["strongroom-error"] == "401", "nobody is there, but asked"


async def test_one_address_that_sends_slowly_keeps_nobody_else_from_the_vault(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy, "MAX_HELD_EACH", MAX_FRAME)
    slow = b"POST /authenticator/0/v1/frame HTTP/1.1\r\nhost: a\r\nx-forwarded-for: %s\r\ncontent-length: %d\r\n\r\n"
    async with (
        hosting(tmp_path / "data", behind_proxy=True, authenticators=("http://127.0.0.1:9",)) as host,
        host.raw() as (_, mallory),
        host.raw() as (again, mallory_again),
        host.raw() as (honest, alice),
    ):
        mallory.write(slow % (b"2001:db8::1", MAX_FRAME) + b"x")
        await asyncio.sleep(0.2)
        mallory_again.write(slow % (b"2001:db8::2", MAX_FRAME) + b"x" * MAX_FRAME)
        alice.write(slow % (b"192.0.2.7", 4) + b"four")
        busy = await asyncio.wait_for(again.readuntil(b"\r\n\r\n"), 3)
        assert b"strongroom-error: %d" % Number.BUSY in busy, "a neighbour in one customer's network"
        asked = await asyncio.wait_for(honest.readuntil(b"\r\n\r\n"), 3)
        assert b"strongroom-error: %d" % Number.AUTHENTICATOR_UNAVAILABLE in asked, "nobody is there, but asked"


async def test_all_addresses_of_one_customer_have_as_many_connections_as_one(tmp_path):
    async with hosting(tmp_path / "data", limits=Limits(connections_per_address=2)) as host:
        connections = [Connection(host.server) for _ in range(3)]
        for number, connection in enumerate(connections):
            connection.address = f"2001:db8::{number}"
        assert [host.server.entered(one) for one in connections] == [True, True, False]
        for one in connections:
            host.server.left(one)
        assert host.server.entered(connections[0])
        host.server.left(connections[0])


async def test_an_idle_connection_is_closed(tmp_path):
    async with hosting(tmp_path / "data", limits=Limits(idle_seconds=0.3)) as host, host.raw() as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        assert await asyncio.wait_for(reader.read(), 3) == b""


@pytest.mark.parametrize("limits", [Limits(connections=3), Limits(connections_per_address=3)])
async def test_connections_are_bounded_in_all_and_for_each_address(tmp_path, limits):
    async with hosting(tmp_path / "data", limits=limits) as host:
        opened = [await asyncio.open_connection("127.0.0.1", host.port) for _ in range(4)]
        line = await asyncio.wait_for(opened[3][0].readline(), 3)
        assert line.split()[1] == b"503"
        for _, writer in opened:
            writer.close()
        async with asyncio.timeout(5):
            while host.server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await host.get("/health")).text == "ok"


# --- who wants the places of other readers ---------------------------------------------------------------------------


def asked_from(address, blob):
    return f"GET /blobs/{blob.hex()} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {address}\r\n\r\n".encode()


async def test_one_customer_who_reads_slowly_keeps_nobody_else_from_a_blob(tmp_path):
    """All at once, too: a place is taken before anything is waited for."""
    async with hosting(tmp_path / "data", behind_proxy=True) as host, AsyncExitStack() as stack:
        blob = await host.stored(os.urandom(24 * 1024 * 1024))
        slow = [await stack.enter_async_context(host.raw()) for _ in range(READERS_PER_ADDRESS + 4)]
        for number, (_, writer) in enumerate(slow):
            writer.write(asked_from(f"2001:db8::{number}", blob))
        lines = await asyncio.gather(*(asyncio.wait_for(reader.readline(), 10) for reader, _ in slow))
        statuses = [line.split()[1] for line in lines]
        assert (statuses.count(b"200"), statuses.count(b"429")) == (READERS_PER_ADDRESS, 4)
        for address, status in (("2001:db8:0:1::7", b"200"), ("192.0.2.7", b"200"), ("2001:db8::77", b"429")):
            reader, writer = await stack.enter_async_context(host.raw())
            writer.write(asked_from(address, blob))
            assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == status


async def test_readers_are_bounded_all_together(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "MAX_READERS", 2)
    async with hosting(tmp_path / "data", behind_proxy=True) as host, AsyncExitStack() as stack:
        blob = await host.stored(os.urandom(24 * 1024 * 1024))
        statuses = []
        for number in range(3):
            reader, writer = await stack.enter_async_context(host.raw())
            writer.write(asked_from(f"192.0.2.{number}", blob))
            statuses.append((await asyncio.wait_for(reader.readline(), 5)).split()[1])
        assert statuses == [b"200", b"200", b"503"]


async def test_a_reader_gives_its_place_back_however_it_ends(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(os.urandom(24 * 1024 * 1024))
        await host.get(f"/blobs/{blob.hex()}", headers={"range": "bytes=0-9"})
        for _ in range(3):
            async with host.raw() as (reader, writer):
                writer.write(f"GET /blobs/{blob.hex()} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
                await reader.readline()
        async with host.raw() as (_, writer):  # gone before its answer is begun
            writer.write(f"GET /blobs/{blob.hex()} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            writer.transport.abort()
        (tmp_path / "data" / "blobs" / blob.hex() / "0").unlink()
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 503
        async with asyncio.timeout(5):
            while host.blobs._readers:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(("pace", "let_go"), [(1024 * 1024, True), (16 * 1024, False)])
async def test_a_reader_that_drips_is_bounded_by_its_pace(tmp_path, pace, let_go):
    """It takes each piece in good time, for a blob of small parts is sent in small pieces; and would hold its place."""
    part = bytes(80 * 1024)
    async with hosting(tmp_path / "data", at="memory:///", limits=Limits(write_seconds=1.0, answer_pace=pace)) as host:
        blob, _ = await host.begin(100 * len(part))
        for offset in range(0, 100 * len(part), len(part)):
            await host.piece(blob, offset, part)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            slow.connect(("127.0.0.1", host.port))
            reader, writer = await asyncio.open_connection(sock=slow, limit=16 * 1024)
            writer.write(f"GET /blobs/{blob.hex()} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            began, ended = time.monotonic(), False
            while not ended and time.monotonic() - began < 4:
                try:
                    ended = not await asyncio.wait_for(reader.read(8 * 1024), 5)
                except ConnectionError:
                    ended = True
                await asyncio.sleep(0.05)
            writer.close()
        assert ended is let_go


# --- who wants to be read in two ways -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"transfer-encoding: chunked"], b"411"),
        ([b"transfer-encoding: chunked", b"content-length: 4"], b"4"),
        ([b"content-length: 4", b"content-length: 5"], b"400"),
        ([b"content-length: 4, 4"], b"400"),
        ([b"content-length: +4"], b"400"),
        ([b"content-length: 0x4"], b"400"),
        ([b"content-length: -4"], b"400"),
        ([b"content-length : 4"], b"400"),
        ([b"content-length: 99999999999999999999999"], b"400"),
        ([b"content-length: 4", b"upgrade: h2c", b"connection: upgrade"], b"400"),
        ([b"x: " + b"y" * 20_000], b"431"),
        ([b"x%d: y" % n for n in range(4000)], b"431"),
    ],
)
async def test_a_request_whose_end_could_be_seen_in_two_places_is_refused(tmp_path, lines, status):
    async with hosting(tmp_path / "data") as host, host.raw() as (reader, writer):
        smuggled = b"\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        writer.write(b"\r\n".join([b"POST /abuse HTTP/1.1", b"host: a", *lines]) + smuggled)
        answered = await asyncio.wait_for(reader.read(), 10)
        assert answered.split()[1].startswith(status)
        assert answered.count(b"\r\nconnection: close\r\n") == 1
        assert b"smuggled" not in answered


async def test_a_request_sent_before_its_turn_is_not_answered(tmp_path):
    async with hosting(tmp_path / "data") as host, host.raw() as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n" * 50)
        answered = await asyncio.wait_for(reader.read(), 10)
        assert answered.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n"]
)
async def test_what_is_no_http_is_answered_once_and_closed(tmp_path, data):
    async with hosting(tmp_path / "data") as host, host.raw() as (reader, writer):
        writer.write(data)
        answered = await asyncio.wait_for(reader.read(), 10)
        assert answered.startswith(b"HTTP/1.1 400 ")


# --- who wants its files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/../data/blobs.sqlite3", "/..%2f..%2fetc/passwd", "/%2e%2e/blobs.sqlite3", "//etc/passwd", "/assets/../page.json",
     "/assets/..%2fpage.json", "/.stamp", "/abuse.jsonl", "/blobs.sqlite3", "/index.html%00.png", "/assets/", "/assets",
     "/INDEX.HTML", "/index.html/", "http://evil.example/index.html", "*", "/blobs/../page.json", "/blobs/%2e%2e/x",
     "/blobs/" + "A" * 32, "/blobs/" + "0" * 31, "/blobs/" + "0" * 32 + "/0"],
)  # fmt: skip
async def test_a_path_is_one_that_is_known_or_none(tmp_path, path):
    (tmp_path / "data" / "page").mkdir(parents=True)
    (tmp_path / "data" / "page" / ".stamp").write_text("not listed")
    async with hosting(tmp_path / "data") as host, host.raw() as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        answered = await asyncio.wait_for(reader.read(), 10)
        assert answered.split()[1] in (b"400", b"404")
        for secret in (b"root:", b"SQLite", b"not listed", b"Strongroom</title>", b'"files"'):
            assert secret not in answered


async def test_a_method_named_in_a_header_counts_for_blobs_alone(tmp_path):
    async with hosting(tmp_path / "data") as host:
        assert (await host.post("/", headers={"x-http-method-override": "GET"})).status_code == 405
        report = {"x-http-method-override": "POST", "content-type": "application/json"}
        assert (await host.get("/abuse", headers=report)).status_code == 405
        blob = await host.stored(b"0123456789")
        named = {"x-http-method-override": "GET", "tus-resumable": "1.0.0"}
        assert (await host.head(f"/blobs/{blob.hex()}", headers=named)).headers["upload-offset"] == "10"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link"])
def test_a_list_of_files_that_leads_out_of_the_page_is_refused(tmp_path, name):
    folder = built_page(tmp_path / "page")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    files = json.loads((folder / "page.json").read_text())["files"]
    files[name] = hashlib.sha256(b"secret").hexdigest()
    (folder / "page.json").write_text(json.dumps({"files": files}))
    with pytest.raises(BadPage, match="lies elsewhere"):
        Page(folder, None)


# --- what it tells --------------------------------------------------------------------------------------------------


async def test_no_other_site_reads_a_blob_through_a_visitor(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        for path in (f"/blobs/{blob.hex()}", "/", "/trust.json", "/vault/v1/evidence", "/health"):
            answer = await host.get(path, headers={"origin": "https://evil.example"})
            assert "access-control-allow-origin" not in answer.headers
        preflight = await host.options("/blobs/", headers={"origin": "https://evil.example"})
        assert not [name for name in preflight.headers if name.startswith("access-control-")]


async def test_the_log_names_no_blob_and_no_address(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "strongroom")
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        (tmp_path / "data" / "blobs" / blob.hex() / "0").unlink()
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 503
        await host.piece(blob, 5, b"x")
    told = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("strongroom"))
    assert "could not be read" in told
    assert blob.hex() not in told
    assert "127.0.0.1" not in told
