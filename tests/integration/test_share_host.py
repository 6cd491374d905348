"""The share server over real sockets: tus by the letter, ranges, expiry, quotas, the page, the way to a Vault."""

import asyncio
import hashlib
import http.client
import json
import os
import secrets
import socket
import stat
import threading
import time
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec
import pytest

from strongroom.cli.main import run
from strongroom.client.page import parse_page
from strongroom.host.share import abuse
from strongroom.host.share.http import Limits
from strongroom.host.share.objects import CannotUse, Objects, Part
from strongroom.host.share.page import POLICY, PREVIEW_POLICY, BadPage, Page, read_trust
from strongroom.host.share.uploads import PART
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.limits import MAX_FRAME, MAX_HELLO
from strongroom.protocol.messages import Terms
from tests.support.served import ServedWorld
from tests.support.share_host import BYTES, Oracle, built_page, echo, front, hosting, running, written

DAY = 24 * 3600


@pytest.fixture(params=["file", "memory"])
def place(request, tmp_path):
    return f"file://{tmp_path}/elsewhere" if request.param == "file" else "memory:///"


# --- tus ------------------------------------------------------------------------------------------------------------


async def test_an_upload_in_pieces_is_the_blob(tmp_path, place):
    data = os.urandom(3 * 1024 * 1024 + 17)
    async with hosting(tmp_path / "data", at=place) as host:
        blob, begun = await host.begin(len(data))
        assert (begun.status_code, begun.headers["location"]) == (201, f"/blobs/{blob.hex()}")
        for offset in range(0, len(data), 1_000_000):
            assert await host.offset(blob) == offset
            answer = await host.piece(blob, offset, data[offset : offset + 1_000_000])
            assert answer.status_code == 204
            assert answer.headers["tus-resumable"] == "1.0.0"
        state = await host.state(blob)
        assert state.headers["upload-offset"] == state.headers["upload-length"] == str(len(data))
        assert state.headers["cache-control"] == "no-store"
        whole = await host.get(f"/blobs/{blob.hex()}")
        assert whole.content == data
        assert {name: whole.headers[name] for name in whole.headers if name not in ("etag", "content-length")} == {
            "accept-ranges": "bytes",
            "cache-control": "private, no-store, no-transform",
            "content-disposition": "attachment",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
            "content-type": "application/octet-stream",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }


async def test_a_body_longer_than_a_part_becomes_several(tmp_path):
    data = os.urandom(2 * PART + 5)
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(data)
        sizes = [length for _, length in host.index.parts(blob)]
        assert sum(sizes) == len(data)
        assert len(sizes) == 3
        assert max(sizes) <= PART
        assert (await host.get(f"/blobs/{blob.hex()}")).content == data


async def test_the_server_says_what_it_speaks(tmp_path):
    async with hosting(tmp_path / "data", max_blob=1234) as host:
        answer = await host.options("/blobs/")
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == "1.0.0"
        assert answer.headers["tus-extension"] == "creation,expiration"
        assert answer.headers["tus-max-size"] == "1234"


@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0"])
async def test_another_version_of_tus_is_refused_by_name(tmp_path, version):
    async with hosting(tmp_path / "data") as host:
        headers = {"tus-resumable": version} if version else {}
        path = f"/blobs/{'0' * 32}"
        for answer in (await host.post("/blobs/", headers=headers), await host.head(path, headers=headers)):
            assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"upload-length": ""}, 400, "Upload-Length"),
        ({"upload-length": "-1"}, 400, "Upload-Length"),
        ({"upload-length": "1_000"}, 400, "Upload-Length"),
        ({"upload-length": "99999999999999999999"}, 400, "Upload-Length"),
        ({"upload-metadata": "filename cGVudGVzdC5wZGY="}, 400, "metadata"),
        ({"upload-length": str(2**41)}, 413, "grant is for"),
    ],
)
async def test_what_can_not_be_begun_is_said_in_words(tmp_path, changes, status, words):
    async with hosting(tmp_path / "data") as host:
        headers = {"tus-resumable": "1.0.0", "upload-length": "5", **host.oracle.grant(bytes(16)), **changes}
        answer = await host.post("/blobs/", headers=headers)
        assert answer.status_code == status
        assert words in answer.text
        assert answer.headers["strongroom-error"].isdigit()
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert host.index.total() == 0


async def test_an_upload_without_a_length_is_not_begun(tmp_path):
    async with hosting(tmp_path / "data") as host:
        headers = {"tus-resumable": "1.0.0", "upload-defer-length": "1", **host.oracle.grant(bytes(16))}
        assert (await host.post("/blobs/", headers=headers)).status_code == 400


async def test_a_piece_goes_to_the_end_and_nowhere_else(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(100)
        assert (await host.piece(blob, 0, bytes(10))).status_code == 204
        for offset in (0, 9, 11, 100):
            answer = await host.piece(blob, offset, bytes(10))
            assert (answer.status_code, answer.headers["upload-offset"]) == (409, "10")
        too_much = await host.piece(blob, 10, bytes(91))
        assert too_much.status_code == 413
        headers = {"tus-resumable": "1.0.0", "upload-offset": "10", **host.oracle.grant(blob)}
        assert (await host.patch(f"/blobs/{blob.hex()}", content=b"x", headers=headers)).status_code == 415
        assert await host.offset(blob) == 10


async def test_begun_twice_is_one_upload(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(10)
        await host.piece(blob, 0, b"half.")
        _, again = await host.begin(10, blob)
        assert (again.status_code, again.headers["location"]) == (201, f"/blobs/{blob.hex()}")
        assert await host.offset(blob) == 5
        assert (await host.begin(11, blob))[1].status_code == 409
        await host.piece(blob, 5, b"whole")
        assert (await host.begin(10, blob))[1].status_code == 409
        assert (await host.get(f"/blobs/{blob.hex()}")).content == b"half.whole"


async def test_an_unfinished_blob_is_given_to_nobody(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(10)
        await host.piece(blob, 0, b"half.")
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 404
        unknown = await host.state(bytes(16))
        assert unknown.status_code == 404
        assert "upload-offset" not in unknown.headers


async def test_an_empty_blob_is_whole_at_once(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(0)
        assert await host.offset(blob) == 0
        answer = await host.get(f"/blobs/{blob.hex()}")
        assert (answer.status_code, answer.content) == (200, b"")


async def test_a_client_that_can_send_no_patch_names_it_in_a_header(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(3)
        headers = {"tus-resumable": "1.0.0", "upload-offset": "0", "x-http-method-override": "PATCH"}
        headers |= BYTES | host.oracle.grant(blob)
        assert (await host.post(f"/blobs/{blob.hex()}", content=b"abc", headers=headers)).status_code == 204
        assert (await host.get(f"/blobs/{blob.hex()}")).content == b"abc"


async def test_the_client_is_told_until_when_it_may_go_on(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, begun = await host.begin(10)
        until = parsedate_to_datetime(begun.headers["upload-expires"]).timestamp()
        assert abs(until - time.time() - DAY) < 60
        host.clock.ahead = 3600
        piece = await host.piece(blob, 0, b"abc")
        assert abs(parsedate_to_datetime(piece.headers["upload-expires"]).timestamp() - until - 3600) < 60
        soon = int(time.time()) + 7200
        _, begun = await host.begin(10, expires_at=soon)
        assert parsedate_to_datetime(begun.headers["upload-expires"]).timestamp() == soon


# --- what the network does ------------------------------------------------------------------------------------------


async def test_after_a_dropped_connection_it_goes_on_where_it_ended(tmp_path, place):
    data = os.urandom(1_000_000)
    async with hosting(tmp_path / "data", at=place) as host:
        blob, _ = await host.begin(len(data))
        async with host.raw() as (_, writer):
            writer.write(host.patch_head(blob, 0, len(data)) + data[:700_000])
            await writer.drain()
            await asyncio.sleep(0.3)
        async with asyncio.timeout(5):
            while await host.offset(blob) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await host.offset(blob) == 700_000
        assert (await host.piece(blob, 700_000, data[700_000:])).status_code == 204
        assert (await host.get(f"/blobs/{blob.hex()}")).content == data


async def test_of_two_uploads_at_once_one_wins(tmp_path):
    data = os.urandom(500_000)
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(len(data))
        async with host.raw() as (reader, writer):
            writer.write(host.patch_head(blob, 0, len(data)) + data[:1000])
            await writer.drain()
            await asyncio.sleep(0.2)
            other = await host.piece(blob, 0, bytes(len(data)))
            assert other.status_code == 423
            writer.write(data[1000:])
            assert (await reader.readline()).split()[1] == b"204"
        assert (await host.get(f"/blobs/{blob.hex()}")).content == data


async def test_many_uploads_at_once_of_one_blob_leave_one_content(tmp_path):
    contents = [bytes([n]) * 200_000 for n in range(8)]
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(200_000)
        answers = await asyncio.gather(*(host.piece(blob, 0, content) for content in contents))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 204
        assert set(statuses[1:]) <= {409, 423}
        assert (await host.get(f"/blobs/{blob.hex()}")).content in contents


async def test_a_silent_connection_gives_way_to_its_successor(tmp_path):
    data = os.urandom(100_000)
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(len(data))
        async with host.raw() as (_, writer):
            writer.write(host.patch_head(blob, 0, len(data)) + data[:60_000])
            await writer.drain()
            await asyncio.sleep(2.5)  # the network is gone, and the server has not noticed
            answer = await host.piece(blob, 0, data)
            assert (answer.status_code, answer.headers["upload-offset"]) == (409, "60000")
            assert (await host.piece(blob, 60_000, data[60_000:])).status_code == 204
        assert (await host.get(f"/blobs/{blob.hex()}")).content == data


async def test_a_stalled_upload_is_ended_and_what_came_is_kept(tmp_path):
    async with hosting(tmp_path / "data", limits=Limits(stall_seconds=0.5)) as host:
        blob, _ = await host.begin(100_000)
        async with host.raw() as (reader, writer):
            writer.write(host.patch_head(blob, 0, 100_000) + bytes(40_000))
            began = time.monotonic()
            assert (await reader.readline()).split()[1] == b"408"
            assert time.monotonic() - began < 3
        assert await host.offset(blob) == 40_000


async def test_a_reader_that_takes_nothing_is_left(tmp_path):
    async with hosting(tmp_path / "data", limits=Limits(write_seconds=0.5)) as host:
        blob = await host.stored(os.urandom(32 * 1024 * 1024))
        async with host.raw() as (reader, writer):
            writer.write(f"GET /blobs/{blob.hex()} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            await asyncio.sleep(2)
            taken = 0
            try:
                while piece := await asyncio.wait_for(reader.read(2**20), 5):
                    taken += len(piece)
            except ConnectionError:
                pass
            assert taken < 32 * 1024 * 1024
        assert (await host.get("/health")).text == "ok"


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(5)
        async with host.raw() as (reader, writer):
            head = host.patch_head(blob, 0, 5).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n")
            writer.write(head)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"bytes")
            assert (await reader.readline()).split()[1] == b"204"


# --- ranges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 3000),
        ("bytes=999-1000", 999, 1001),
        ("bytes=500-2500", 500, 2501),
        ("bytes=2999-", 2999, 3000),
        ("bytes=2000-99999", 2000, 3000),
        ("bytes=-1", 2999, 3000),
        ("bytes=-99999", 0, 3000),
    ],
)
async def test_a_range_is_exactly_those_bytes(tmp_path, place, wanted, start, stop):
    data = os.urandom(3000)
    async with hosting(tmp_path / "data", at=place) as host:
        blob, _ = await host.begin(3000)
        for offset in range(0, 3000, 1000):
            await host.piece(blob, offset, data[offset : offset + 1000])
        answer = await host.get(f"/blobs/{blob.hex()}", headers={"range": wanted})
        assert (answer.status_code, answer.content) == (206, data[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/3000"
        assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("wanted", ["bytes=3-1", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=1"])
async def test_what_is_no_single_range_gets_everything(tmp_path, wanted):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        answer = await host.get(f"/blobs/{blob.hex()}", headers={"range": wanted})
        assert (answer.status_code, answer.content) == (200, b"0123456789")


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0"])
async def test_a_range_beyond_the_end_is_said_with_the_length(tmp_path, wanted):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        answer = await host.get(f"/blobs/{blob.hex()}", headers={"range": wanted})
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")


async def test_a_range_of_another_content_is_not_mixed_into_this_one(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        url = f"/blobs/{blob.hex()}"
        tag = (await host.get(url)).headers["etag"]
        same = await host.get(url, headers={"range": "bytes=5-", "if-range": tag})
        assert (same.status_code, same.content) == (206, b"56789")
        assert (await host.get(url, headers={"range": "bytes=5-", "if-range": '"another"'})).status_code == 200
        assert (await host.get(url, headers={"if-none-match": tag})).status_code == 304
        await host.tell(blob, version=2, live=False)
        await host.begin(10, blob, version=3)
        await host.piece(blob, 0, b"abcdefghij", version=3)
        new = await host.get(url, headers={"range": "bytes=5-", "if-range": tag})
        assert (new.status_code, new.content) == (200, b"abcdefghij")


async def test_a_part_that_the_store_lost_is_said_before_anything_is_sent(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"0123456789")
        (tmp_path / "data" / "blobs" / blob.hex() / "0").unlink()
        answer = await host.get(f"/blobs/{blob.hex()}")
        assert (answer.status_code, answer.headers["strongroom-error"]) == (503, "402")


# --- how long -------------------------------------------------------------------------------------------------------


async def test_an_expired_blob_is_given_to_nobody_and_erased_by_the_sweep(tmp_path):
    folder = tmp_path / "data" / "blobs"
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"abc", expires_at=int(time.time()) + 100)
        host.clock.ahead = 101
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 410
        assert (await host.state(blob)).status_code == 410
        assert (folder / blob.hex() / "0").exists()
        await host.blobs.sweep()
        assert not (folder / blob.hex()).exists()
        assert host.index.total() == 0


async def test_a_later_grant_extends(tmp_path):
    soon = int(time.time()) + 100
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"abc", expires_at=soon)
        assert (await host.tell(blob, version=2, expires_at=soon + 1000)).status_code == 204
        host.clock.ahead = 500
        await host.blobs.sweep()
        assert (await host.get(f"/blobs/{blob.hex()}")).content == b"abc"
        host.clock.ahead = 1200
        assert (await host.get(f"/blobs/{blob.hex()}")).status_code == 410


async def test_an_upload_without_progress_for_a_day_is_given_up_and_may_begin_again(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(10)
        host.clock.ahead = DAY - 60
        await host.piece(blob, 0, b"half.")
        host.clock.ahead = 2 * DAY - 120
        await host.blobs.sweep()
        assert await host.offset(blob) == 5
        host.clock.ahead = 2 * DAY
        await host.blobs.sweep()
        assert (await host.state(blob)).status_code == 410
        assert host.index.total() == 0
        assert list((tmp_path / "data" / "blobs").iterdir()) == []
        assert (await host.begin(10, blob))[1].status_code == 201
        assert await host.offset(blob) == 0


async def test_a_whole_blob_without_expiry_stays_for_as_long_as_the_host_keeps_any(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob = await host.stored(b"abc")
        host.clock.ahead = 399 * DAY
        await host.blobs.sweep()
        await host.blobs.sweep_orphans()
        assert (await host.get(f"/blobs/{blob.hex()}")).content == b"abc"


async def test_objects_that_belong_to_no_upload_are_erased_and_no_others(tmp_path, place):
    async with hosting(tmp_path / "data", at=place) as host:
        blob = await host.stored(b"abc")
        unfinished, _ = await host.begin(10)
        await host.piece(unfinished, 0, b"half.")
        objects = host.blobs._objects
        for part in (Part(secrets.token_bytes(16), 0), Part(blob, 3), Part(blob, 1), Part(unfinished, 5)):
            await objects.put(part, b"an orphan")
        await host.blobs.sweep_orphans()
        left = [part async for parts in objects.parts() for part in parts]
        assert sorted(left) == sorted([Part(blob, 0), Part(unfinished, 0)])


async def test_erasing_while_an_upload_runs_ends_it(tmp_path):
    async with hosting(tmp_path / "data") as host:
        blob, _ = await host.begin(100_000)
        async with host.raw() as (reader, writer):
            writer.write(host.patch_head(blob, 0, 100_000) + bytes(40_000))
            await writer.drain()
            await asyncio.sleep(0.2)
            assert (await host.tell(blob, version=2, live=False)).status_code == 204
            assert (await reader.readline()).split()[1] == b"410"
        assert list((tmp_path / "data" / "blobs").iterdir()) == []
        assert host.index.total() == 0


# --- how much -------------------------------------------------------------------------------------------------------


async def test_a_blob_larger_than_the_host_keeps_is_refused(tmp_path):
    async with hosting(tmp_path / "data", max_blob=100) as host:
        assert (await host.begin(100))[1].status_code == 201
        answer = (await host.begin(101))[1]
        assert (answer.status_code, answer.headers["strongroom-error"]) == (413, "102")


async def test_unfinished_uploads_reserve_their_length(tmp_path):
    async with hosting(tmp_path / "data", max_total=1000) as host:
        blob, _ = await host.begin(600)
        answer = (await host.begin(401))[1]
        assert (answer.status_code, answer.headers["strongroom-error"]) == (507, "403")
        assert (await host.begin(400))[1].status_code == 201
        await host.tell(blob, version=2, live=False)
        assert (await host.begin(600))[1].status_code == 201


async def test_one_address_may_leave_only_so_many_unfinished(tmp_path):
    async with hosting(tmp_path / "data", unfinished_per_address=2) as host:
        first, _ = await host.begin(3)
        await host.begin(3)
        assert (await host.begin(3))[1].status_code == 429
        assert (await host.begin(3, first))[1].status_code == 201  # begun already
        await host.piece(first, 0, b"abc")
        assert (await host.begin(3))[1].status_code == 201


@pytest.mark.parametrize(("behind_proxy", "status"), [(False, 429), (True, 201)])
async def test_a_forwarded_address_counts_only_behind_a_proxy(tmp_path, behind_proxy, status):
    async with hosting(tmp_path / "data", behind_proxy=behind_proxy, unfinished_per_address=1) as host:
        for number in (1, 2):
            forwarded = {"x-forwarded-for": f"198.51.100.9, 192.0.2.{number}"}
            grant = host.oracle.grant(secrets.token_bytes(16))
            headers = {"tus-resumable": "1.0.0", "upload-length": "5", **forwarded, **grant}
            answer = await host.post("/blobs/", headers=headers)
        assert answer.status_code == status


async def test_behind_a_proxy_the_clients_own_words_do_not_count(tmp_path):
    async with hosting(tmp_path / "data", behind_proxy=True, unfinished_per_address=1) as host:
        for number in (1, 2):
            forwarded = {"x-forwarded-for": f"198.51.100.{number}, 192.0.2.7"}
            grant = host.oracle.grant(secrets.token_bytes(16))
            headers = {"tus-resumable": "1.0.0", "upload-length": "5", **forwarded, **grant}
            answer = await host.post("/blobs/", headers=headers)
        assert answer.status_code == 429


# --- the page -------------------------------------------------------------------------------------------------------


async def test_the_page_comes_with_the_headers_that_keep_it_whole(tmp_path):
    async with hosting(tmp_path / "data") as host:
        answer = await host.get("/")
        assert answer.status_code == 200
        assert "Strongroom" in answer.text
        headers = dict(answer.headers)
        permissions = headers.pop("permissions-policy").split(", ")
        assert {"camera=()", "microphone=()", "geolocation=()", "publickey-credentials-get=(self)"} <= set(permissions)
        assert headers.pop("etag").startswith('"')
        assert headers.pop("content-length") == str(len(answer.content))
        assert headers == {
            "cache-control": "no-cache",
            "content-security-policy": (
                "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' blob:; "
                "style-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; "
                "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
                "trusted-types strongroom-worker"
            ),
            "content-type": "text/html; charset=utf-8",
            "cross-origin-opener-policy": "same-origin-allow-popups",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }


async def test_the_preview_is_an_origin_of_its_own_and_reaches_nothing(tmp_path):
    async with hosting(tmp_path / "data") as host:
        for path in ("/preview/", "/preview/index.html"):
            policy = (await host.get(path)).headers["content-security-policy"]
            assert policy == PREVIEW_POLICY
        assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
        assert "connect-src" not in policy
        assert "allow-same-origin" not in policy
        script = await host.get("/assets/index-Ab12Cd34.js")
        assert script.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-origin" not in (await host.get("/")).headers


async def test_only_files_whose_name_changes_are_kept_for_ever(tmp_path):
    async with hosting(tmp_path / "data", trust=b'{"format": "strongroom site 1"}') as host:
        hashed = await host.get("/assets/index-Ab12Cd34.js")
        assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
        for path in ("/", "/sw.js", "/page.json", "/trust.json", "/callback", "/assets/icon.png"):
            assert (await host.get(path)).headers["cache-control"] == "no-cache"


async def test_script_is_compressed_for_who_takes_it_and_the_same_bytes(tmp_path):
    async with hosting(tmp_path / "data") as host:
        path = "/assets/index-Ab12Cd34.js"
        small = await host.get(path, headers={"accept-encoding": "br, gzip;q=0.8"})
        plain = await host.get(path, headers={"accept-encoding": "gzip;q=0, identity"})
        assert (small.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
        assert int(small.headers["content-length"]) < len(plain.content)
        assert small.content == plain.content  # decoded by the client
        assert small.headers["etag"] != plain.headers["etag"]
        assert small.headers["vary"] == "accept-encoding"
        again = await host.get(path, headers={"accept-encoding": "gzip", "if-none-match": small.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await host.head(path, headers={"accept-encoding": "gzip"})
        assert (head.headers["content-length"], head.content) == (small.headers["content-length"], b"")


async def test_browsers_are_held_to_https_except_on_this_machine(tmp_path):
    async with hosting(tmp_path / "data") as host:
        for name in ("share.example.com", "share.example.com:8443", "192.0.2.1"):
            assert "strict-transport-security" in (await host.get("/", headers={"host": name})).headers
        for name in ("127.0.0.1:8500", "localhost", "localhost:8500", "[::1]:8500", "[::1]"):
            assert "strict-transport-security" not in (await host.get("/", headers={"host": name})).headers


async def test_a_provider_redirects_to_the_callback_with_its_query(tmp_path):
    async with hosting(tmp_path / "data") as host:
        answer = await host.get("/callback?code=abc&state=def")
        assert (answer.status_code, "Signing in" in answer.text) == (200, True)
        assert answer.headers["content-security-policy"] == POLICY


async def test_without_a_site_statement_it_is_said_what_to_do(tmp_path):
    async with hosting(tmp_path / "data") as host:
        answer = await host.get("/trust.json")
        assert answer.status_code == 404
        assert "--trust" in answer.text


async def test_the_site_statement_is_served_to_the_byte(tmp_path):
    statement = b'{ "format":"strongroom site 1",\n"name": "x" }'
    async with hosting(tmp_path / "data", trust=statement) as host:
        answer = await host.get("/trust.json")
        assert (answer.content, answer.headers["content-type"]) == (statement, "application/json")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{", "not JSON"), (b"[]", "format"), (b'{"format": "strongroom site 2"}', "format"), (None, "can't read")],
)
def test_what_is_no_site_statement_is_not_served(tmp_path, content, words):
    path = tmp_path / "trust.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadPage, match=words):
        read_trust(path)
    path.write_text(json.dumps({"format": "strongroom site 1", "name": "x" * 262144}))
    with pytest.raises(BadPage, match="longer"):
        read_trust(path)


def test_a_page_that_is_not_the_one_built_is_not_served(tmp_path):
    folder = built_page(tmp_path / "page")
    (folder / "sw.js").write_bytes(b"evil()")
    with pytest.raises(BadPage, match=r"sw\.js is not the file"):
        Page(folder, None)


@pytest.mark.parametrize("listing", ["", "[]", '{"files": {}}', '{"files": []}', '{"files": {"index.html": 5}}'])
def test_a_folder_without_a_list_of_files_is_no_page(tmp_path, listing):
    folder = built_page(tmp_path / "page")
    (folder / "page.json").write_text(listing)
    with pytest.raises(BadPage):
        Page(folder, None)


# --- the way to Vault and Authenticators ----------------------------------------------------------------------------


async def test_the_page_reaches_vault_and_authenticators_on_its_own_origin(tmp_path):
    seen = []

    async def answer(method, path, headers, body):
        seen.append((method, path, headers, len(body)))
        return await echo(method, path, headers, body)

    async with front(answer) as one, front(answer) as two:  # noqa: SIM117
        async with hosting(tmp_path / "data", vault=one, authenticators=(one, f"{two}/below/")) as host:
            private = {"cookie": "a=b", "authorization": "Bearer x", "x-forwarded-for": "192.0.2.1"}
            evidence = await host.get("/vault/v1/evidence", headers=private)
            assert (evidence.status_code, evidence.content) == (200, b"evidence")
            frame = await host.post("/authenticator/1/v1/frame", content=bytes(MAX_FRAME), headers=private)
            assert (frame.status_code, frame.content) == (200, bytes(MAX_FRAME))
            assert frame.headers["cache-control"] == "no-store"
            assert frame.headers["content-type"] == "application/octet-stream"
            session = await host.post("/vault/v1/session", content=b"hello")
            assert session.content == b"hello"
    assert [(method, path, size) for method, path, _, size in seen] == [
        ("GET", "/v1/evidence", 0),
        ("POST", "/below/v1/frame", MAX_FRAME),
        ("POST", "/v1/session", 5),
    ]
    for _, _, headers, _ in seen:
        assert not {"cookie", "authorization", "x-forwarded-for"} & set(headers)
        assert set(headers) - {"host", "accept", "accept-encoding", "connection", "user-agent"} <= {
            "content-type",
            "content-length",
        }


@pytest.mark.parametrize(
    "path",
    ["/vault/v1/", "/vault/v2/frame", "/vault/v1/frame/", "/authenticator/2/v1/frame", "/authenticator/00/v1/frame",
     "/authenticator/-1/v1/frame", "/authenticator/v1/frame", "/vault/../v1/frame", "/vault//v1/frame"],
)  # fmt: skip
async def test_there_is_no_other_path_to_them(tmp_path, path):
    nobody = "http://127.0.0.1:9"
    async with hosting(tmp_path / "data", authenticators=(nobody, nobody)) as host, host.raw() as (reader, writer):
        writer.write(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx".encode())
        assert (await reader.readline()).split()[1] == b"404"


async def test_an_error_of_the_front_comes_through_with_its_number(tmp_path):
    async def answer(method, path, headers, body):
        return b"HTTP/1.1 409 Conflict\r\nstrongroom-error: 104\r\ncontent-length: 2\r\n\r\n\x00\x68"

    async with front(answer) as url, hosting(tmp_path / "data", vault=url) as host:
        said = await host.post("/vault/v1/frame", content=b"x")
        assert (said.status_code, said.headers["strongroom-error"], said.content) == (409, "104", b"\x00\x68")


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"", 401),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 408),
        (b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (MAX_HELLO + 1, bytes(MAX_HELLO + 1)), 401),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nTraceback", 408),
        (b"HTTP/1.1 403 No\r\nstrongroom-error: 202\r\ncontent-length: 2\r\n\r\n\x00\x68", 408),
        (b"nonsense\r\n\r\n", 401),
    ],
)
async def test_what_is_no_answer_of_a_front_is_one_of_ours(tmp_path, raw, number):
    async def answer(method, path, headers, body):
        return raw

    async with front(answer) as url, hosting(tmp_path / "data", vault=url) as host:
        said = await host.post("/vault/v1/session", content=b"x")
        assert (said.status_code, said.content) == (503, number.to_bytes(2, "big"))
        assert said.headers["strongroom-error"] == str(number)


async def test_a_server_that_is_down_is_said_as_such(tmp_path):
    async with hosting(tmp_path / "data", authenticators=("http://127.0.0.1:9",)) as host:
        assert (await host.get("/vault/v1/evidence")).headers["strongroom-error"] == "401"
        assert (await host.get("/authenticator/0/v1/evidence")).headers["strongroom-error"] == "404"


async def test_a_body_that_no_front_would_take_goes_no_further(tmp_path):
    called = []

    async def answer(method, path, headers, body):
        called.append(path)
        return await echo(method, path, headers, body)

    async with front(answer) as url, hosting(tmp_path / "data", vault=url) as host:
        assert (await host.post("/vault/v1/session", content=bytes(MAX_HELLO + 1))).status_code == 413
        assert (await host.post("/vault/v1/evidence")).status_code == 405
        assert called == []


# --- abuse ----------------------------------------------------------------------------------------------------------


async def test_a_report_of_abuse_reaches_the_operator_and_nobody_else(tmp_path):
    async with hosting(tmp_path / "data") as host:
        report = {"share": "ab" * 16, "text": "a stolen\ndocument"}
        assert (await host.post("/abuse", json=report)).status_code == 204
        path = tmp_path / "data" / "abuse.jsonl"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (line,) = path.read_text().splitlines()
        kept = json.loads(line)
        assert abs(kept.pop("at") - time.time()) < 60
        assert kept == report


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[" * 4000, 400),
        (b'{"share": "ab"}', 400),
        (b'{"share": "%b", "text": " "}' % (b"ab" * 16), 400),
        (b'{"share": "%b", "text": 5}' % (b"ab" * 16), 400),
        (b'{"share": "%b", "text": "x"}' % (b"AB" * 16), 400),
        (b'{"share": "%b", "text": "x", "more": 1}' % (b"ab" * 16), 400),
        (b'{"share": "%b", "text": "%b"}' % (b"ab" * 16, b"x" * 4096), 413),
    ],
)
async def test_what_is_no_report_is_not_kept(tmp_path, body, status):
    async with hosting(tmp_path / "data") as host:
        answer = await host.post("/abuse", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status
        assert not (tmp_path / "data" / "abuse.jsonl").exists()


async def test_reports_are_bounded_and_another_page_can_make_no_visitor_send_one(tmp_path):
    async with hosting(tmp_path / "data") as host:
        report = {"share": "ab" * 16, "text": "x"}
        form = await host.post("/abuse", content=json.dumps(report), headers={"content-type": "text/plain"})
        assert form.status_code == 415
        statuses = [(await host.post("/abuse", json=report)).status_code for _ in range(6)]
        assert statuses == [204] * 5 + [429]
        host.clock.ahead = 3601
        assert (await host.post("/abuse", json=report)).status_code == 204


async def test_forty_addresses_that_report_do_not_keep_another_s_report_from_the_operator(tmp_path):
    async with hosting(tmp_path / "data", behind_proxy=True) as host:
        report = {"share": "ab" * 16, "text": "x"}
        for number in range(41):
            headers = {"x-forwarded-for": f"192.0.2.{number}"}
            statuses = {(await host.post("/abuse", json=report, headers=headers)).status_code for _ in range(5)}
            assert statuses == {204}
        real = {"share": "cd" * 16, "text": "a stolen document"}
        assert (await host.post("/abuse", json=real, headers={"x-forwarded-for": "203.0.113.1"})).status_code == 204
        assert "a stolen document" in (tmp_path / "data" / "abuse.jsonl").read_text()


async def test_reports_stop_at_so_many_bytes_and_the_operator_is_told_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(abuse, "MAX_FILE", 200)
    async with hosting(tmp_path / "data") as host:
        report = {"share": "ab" * 16, "text": "x"}
        statuses = [(await host.post("/abuse", json=report)).status_code for _ in range(5)]
        assert statuses == [204, 204, 503, 503, 503]
        path = tmp_path / "data" / "abuse.jsonl"
        assert path.stat().st_size <= 200
        told = [record.getMessage() for record in caplog.records if "reports of abuse are lost" in record.getMessage()]
        assert len(told) == 1
        assert str(path) in told[0]
        path.rename(tmp_path / "read.jsonl")
        host.clock.ahead = 3601
        assert (await host.post("/abuse", json=report)).status_code == 204


# --- the process ----------------------------------------------------------------------------------------------------


@contextmanager
def vault_of(oracle):
    """URL of what shows an oracle's evidence, beside a test that is not async."""
    urls, ended = [], threading.Event()

    async def answer(method, path, headers, body):
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(oracle.evidence), oracle.evidence)

    async def serve():
        async with front(answer) as url:
            urls.append(url)
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        while not urls:
            time.sleep(0.01)
        yield urls[0]
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def oracle():
    return Oracle()


@pytest.fixture
def vault(oracle):
    with vault_of(oracle) as url:
        yield url


def begin(server, blob, length, **grant):
    status, _, text = server.ask("POST", "/blobs/", upload_length=str(length), **server.oracle.grant(blob, **grant))
    assert status == 201, text


def piece(server, blob, offset, data, **grant):
    named = BYTES | server.oracle.grant(blob, **grant)
    return server.ask("PATCH", f"/blobs/{blob.hex()}", data, upload_offset=str(offset), **named)[0]


def offset_of(server, blob):
    return int(server.ask("HEAD", f"/blobs/{blob.hex()}")[1]["upload-offset"])


def test_killed_at_any_moment_it_goes_on_with_what_was_kept(tmp_path, oracle, vault):
    """Killed in the middle of an upload, again and again: the offset is right, the content whole, no file is left."""
    blob, data = secrets.token_bytes(16), os.urandom(48 * 1024 * 1024)
    folder = tmp_path / "data" / "blobs"
    for round_ in range(4):
        with running(tmp_path, vault, oracle) as server:
            if round_ == 0:
                begin(server, blob, len(data))
            start = offset_of(server, blob)
            assert sum(path.stat().st_size for path in folder.glob("*/*")) >= start
            if round_ == 3:
                assert piece(server, blob, start, data[start:]) == 204
                assert server.ask("GET", f"/blobs/{blob.hex()}")[2] == data
                assert not [path for path in folder.glob("*/*") if "#" in path.name]
                assert server.stop() == 0
                continue
            killer = threading.Timer(0.03 + 0.05 * round_, server.kill)
            killer.start()
            with suppress(OSError, http.client.HTTPException):  # the connection breaks: that is the point
                piece(server, blob, start, data[start:])
            killer.join()
    listed = {path.name for path in (folder / blob.hex()).iterdir()}
    with running(tmp_path, vault, oracle) as server:
        assert server.ask("GET", f"/blobs/{blob.hex()}")[2] == data
        assert {path.name for path in (folder / blob.hex()).iterdir()} == listed


def test_files_that_a_killed_server_had_begun_are_erased(tmp_path, oracle, vault):
    with running(tmp_path, vault, oracle) as server:
        server.stop()
    half = tmp_path / "data" / "blobs" / ("ab" * 16)
    half.mkdir()
    (half / "0#1").write_bytes(b"half a part")
    (half / "0").write_bytes(b"a part that was not recorded")
    with running(tmp_path, vault, oracle) as server:
        assert not (half / "0#1").exists()
        deadline = time.monotonic() + 5
        while half.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not half.exists()
        assert server.ask("GET", "/health")[2] == b"ok"


def test_stopping_keeps_what_has_come_and_says_so(tmp_path, oracle, vault):
    blob, data = secrets.token_bytes(16), os.urandom(200_000)
    with running(tmp_path, vault, oracle) as server:
        begin(server, blob, len(data))
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            head = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-length": str(len(data))}
            head |= BYTES | oracle.grant(blob)
            lines = [f"PATCH /blobs/{blob.hex()} HTTP/1.1", "host: a", *(f"{k}: {v}" for k, v in head.items()), "", ""]
            client.sendall("\r\n".join(lines).encode() + data[:150_000])
            time.sleep(0.3)
            assert server.stop() == 0
            assert client.recv(12) == b"HTTP/1.1 503"
    with running(tmp_path, vault, oracle) as server:
        assert offset_of(server, blob) == 150_000
        assert piece(server, blob, 150_000, data[150_000:]) == 204
        assert server.ask("GET", f"/blobs/{blob.hex()}")[2] == data


def test_memory_does_not_grow_with_the_blob(tmp_path, oracle, vault):
    def peak(server):
        lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    blob, data = secrets.token_bytes(16), os.urandom(192 * 1024 * 1024)
    with running(tmp_path, vault, oracle) as server:
        before = peak(server)
        begin(server, blob, len(data))
        assert piece(server, blob, 0, data) == 204
        assert server.ask("GET", f"/blobs/{blob.hex()}")[2] == data
        assert peak(server) - before < 96, "MiB for two parts and two pieces"


async def test_what_a_real_vault_grants_a_real_host_obeys(tmp_path):
    """Begun, extended and erased by the depositor of a record; the host learns the key from the Vault's evidence."""
    blob, soon = secrets.token_bytes(16), int(time.time()) + 1000
    terms = Terms(expires_at=soon, max_opens=0, closed=False, fillable=False, blob=blob, blob_bytes=1000)
    async with ServedWorld.open(tmp_path / "world") as world, world.sdk("alice") as alice:
        starting = running(tmp_path, world.vault.url, Oracle())
        host = await asyncio.to_thread(starting.__enter__)
        try:
            stored = await alice.store(b"a key", namespace="team", instructions=world.for_("bob"), terms=terms)

            async def shown(method, path, body=None, **more):
                grant = await alice.grant_blob(stored.address)
                named = {"strongroom-grant": written(grant.statement, grant.signature), **more}
                return await asyncio.to_thread(host.ask, method, path, body, **named)

            assert (await shown("POST", "/blobs/", upload_length="1001"))[0] == 413
            assert (await shown("POST", "/blobs/", upload_length="1000"))[0] == 201
            path = f"/blobs/{blob.hex()}"
            assert (await shown("PATCH", path, bytes(1000), upload_offset="0", **BYTES))[0] == 204
            await alice.update(stored.address, terms=msgspec.structs.replace(terms, expires_at=soon + 1000))
            assert (await shown("PUT", f"{path}/grant"))[0] == 204
            assert (await asyncio.to_thread(host.ask, "GET", path))[2] == bytes(1000)
            await alice.update(stored.address, secret=b"", terms=msgspec.structs.replace(terms, closed=True))
            assert (await shown("PUT", f"{path}/grant"))[0] == 204
            assert (await asyncio.to_thread(host.ask, "GET", path))[0] == 410
            assert [entry.name for entry in (tmp_path / "data" / "blobs").iterdir()] == ["strongroom-share"]
            evidence = (await asyncio.to_thread(host.ask, "GET", "/vault/v1/evidence"))[2]
            assert parse_evidence(evidence)[1].role == "vault"
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


def refusal(capsys, *options):
    """What the command says and does not do. In this process: each of its own costs seconds."""
    status = run(["serve", "share", "--listen", "127.0.0.1:0", *map(str, options)])
    assert status in (2, 12)
    said = capsys.readouterr().err
    assert "hint:" in said
    return " ".join(said.split())


def test_it_does_not_start_where_it_would_do_harm(tmp_path, oracle, vault, capsys):
    data, page = tmp_path / "data", tmp_path / "page"
    with running(tmp_path, vault, oracle) as server:
        said = refusal(capsys, "--data", data, "--vault", vault, "--page", page)
        assert "another server runs" in said
        begin(server, bytes(16), 5)
    with vault_of(Oracle()) as other:
        said = refusal(capsys, "--data", data, "--vault", other, "--page", page)
        assert "belongs to the Vault of cluster" in said
    with vault_of(Oracle("authenticator")) as other:
        said = refusal(capsys, "--data", tmp_path / "new", "--vault", other, "--page", page)
        assert "no Vault" in said
    said = refusal(
        capsys, "--data", tmp_path / "two", "--vault", vault, "--page", page, "--blobs", f"file://{data}/blobs"
    )
    assert "another share server keeps its blobs there" in said
    said = refusal(capsys, "--data", data, "--vault", vault, "--page", page, "--blobs", f"file://{tmp_path}/empty")
    assert "are not there" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--vault", "vault"], "not a URL"),
        (["--max-blob", "ten"], "not a number of bytes"),
        (["--max-total", "0"], "not a number of bytes"),
        (["--blobs", "ftp://a/b"], "not at ftp"),
        (["--page", "/nonexistent"], "there is no page"),
        (["--trust", "/nonexistent"], "can't read"),
        (["--listen", "somewhere"], "not an address"),
    ],
)
def test_what_it_can_not_be_told_is_said_in_words(tmp_path, options, words, capsys):
    page = built_page(tmp_path / "page")
    said = refusal(capsys, "--data", tmp_path / "data", "--vault", "http://127.0.0.1:9", "--page", page, *options)
    assert words in said
    assert not (tmp_path / "data" / "blobs.sqlite3").exists()


def test_a_statement_that_names_more_authenticators_than_the_page_may_reach_is_refused(tmp_path, capsys):
    page, trust = built_page(tmp_path / "page"), tmp_path / "trust.json"
    trust.write_text('{"format": "strongroom site 1", "authenticators": [{"url": "a"}, {"url": "b"}]}')
    where = ("--data", tmp_path / "data", "--vault", "http://127.0.0.1:9", "--page", page, "--trust", trust)
    said = refusal(capsys, *where, "--authenticator", "http://127.0.0.1:8")
    assert "names more Authenticators (2) than are given (1)" in said
    assert "waiting for the Vault at http://127.0.0.1:9" in said


def test_a_server_says_by_digest_which_page_and_statement_it_serves(tmp_path, oracle, vault):
    trust = tmp_path / "trust.json"
    trust.write_text('{"format": "strongroom site 1"}')
    with running(tmp_path, vault, oracle, "--trust", str(trust)) as server:
        listed = parse_page(server.ask("GET", "/page.json")[2])
        assert server.ready["page"] == listed.digest.hex()
        assert server.ready["statement"] == hashlib.sha256(server.ask("GET", "/trust.json")[2]).hexdigest()
        server.stop()


def test_a_place_is_one_servers_alone(tmp_path):
    async def claims():
        place = Objects(f"file://{tmp_path}/blobs")
        await place.claim("a" * 32, known="")
        await place.claim("a" * 32, known="a" * 32)
        with pytest.raises(CannotUse, match="another share server"):
            await place.claim("b" * 32, known="")

    asyncio.run(claims())
