"""A Vault's host asks its witnesses, real ones and ones that misbehave, and says what is wrong."""

import asyncio
import contextlib
import logging
import time

import pytest

from strongroom.attack.network import listening
from strongroom.host.witness import courier
from strongroom.host.witness.courier import CALL_SECONDS, EXCHANGE_SECONDS, Witnesses
from strongroom.host.witness.policy import Policy, WitnessAt
from strongroom.protocol.errors import Number, Unavailable, Untrusted
from strongroom.protocol.notes import (
    COSIGNATURE,
    Verifier,
    cosignatures,
    parse_checkpoint,
    parse_signature_lines,
    parse_verifier,
)
from tests.support.witnesses import Clock, GrowingLog, witness_here, witness_process

LOGGER = "strongroom.host.witness"


@pytest.fixture
def log():
    return GrowingLog().grow_to(600)


def policy(*places, enough=None):
    """Of (verifier, url)."""
    witnesses = tuple(WitnessAt(f"w{at}", verifier, url) for at, (verifier, url) in enumerate(places))
    return Policy(witnesses, enough or len(witnesses) // 2 + 1)


@contextlib.asynccontextmanager
async def asking(log, *places, enough=None):
    witnesses = Witnesses(policy(*places, enough=enough), log)
    try:
        yield witnesses
    finally:
        await witnesses.close()


@contextlib.asynccontextmanager
async def three(tmp_path, *logs):
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                witness_here(tmp_path / f"w{n}", *logs, name=f"witness.example/w{n}", clock=Clock(time.time()))
            )
            for n in range(3)
        ]


def place(witness):
    return witness.witness.verifier, witness.url


def counted(note, lines, *witnesses):
    """How many of these hold, as the enclave finds out."""
    signed = parse_checkpoint(note).with_lines(parse_signature_lines(lines) if lines else [])
    return len(cosignatures(signed, [witness.witness.verifier for witness in witnesses]))


@contextlib.asynccontextmanager
async def answering(answer):
    """URL of a server that answers each request by `answer(body)`: raw bytes; None: never."""

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                said = await answer(body)
                if said is None:
                    await asyncio.Event().wait()
                writer.write(said)
                await writer.drain()

    async with listening(serve) as url:
        yield url


def said(status, body, more=""):
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body.encode())}\r\n{more}\r\n{body}".encode()


STRANGER = Verifier("witness.example/stranger", COSIGNATURE, bytes(32))


async def test_all_cosign_and_are_given_proofs_as_the_log_grows(tmp_path, log):
    async with three(tmp_path, log) as each, asking(log, *map(place, each)) as witnesses:
        for size in (1, 2, 2, 255, 256, 257, 600):
            note = log.note(size)
            assert counted(note, await witnesses.cosign(note), *each) == 3
        assert witnesses.problems() == []
        assert all(witness.state.latest(log.origin).size == 600 for witness in each)


async def test_after_a_restart_it_learns_what_each_witness_has(tmp_path, log):
    async with three(tmp_path, log) as each:
        for witness, size in zip(each, (0, 100, 600), strict=True):
            assert not size or (await witness.add(log, 0, size)).status_code == 200
        async with asking(log, *map(place, each)) as witnesses:
            assert counted(log.note(), await witnesses.cosign(log.note()), *each) == 3


async def test_connections_stay_open_between_checkpoints(tmp_path, log):
    async with three(tmp_path, log) as each, asking(log, *map(place, each)) as witnesses:
        await witnesses.cosign(log.note(5))
        before = [set(witness.server.connections) for witness in each]
        await witnesses.cosign(log.note(9))
        assert [set(witness.server.connections) for witness in each] == before
        assert [len(connections) for connections in before] == [1, 1, 1]


async def test_what_a_witness_has_is_remembered_so_that_one_question_is_enough(tmp_path, log):
    asked = []
    async with witness_here(tmp_path / "w", log, clock=Clock(time.time())) as real:

        async def carried(body):
            asked.append(body)
            return said(200, (await real.post("/add-checkpoint", content=body)).text)

        async with answering(carried) as url, asking(log, (real.witness.verifier, url)) as witnesses:
            for size in (5, 9, 300):
                assert await witnesses.cosign(log.note(size))
    assert [body.split(b"\n")[0] for body in asked] == [b"old 0", b"old 5", b"old 9"]


async def test_a_connection_that_the_witness_closed_is_made_anew(tmp_path, log):
    async with three(tmp_path, log) as each, asking(log, *map(place, each)) as witnesses:
        await witnesses.cosign(log.note(5))
        for witness in each:
            for connection in list(witness.server.connections):
                connection.abort()
        assert counted(log.note(9), await witnesses.cosign(log.note(9)), *each) == 3


async def test_a_rolled_back_database_is_told_with_both_sizes_and_once(tmp_path, log, caplog):
    async with three(tmp_path, log) as each:
        async with asking(log, *map(place, each)) as witnesses:
            await witnesses.cosign(log.note(600))
        older = log.fork(100, 100)
        async with asking(older, *map(place, each)) as witnesses:
            with caplog.at_level(logging.INFO, LOGGER):
                assert await witnesses.cosign(older.note()) == b""
                assert await witnesses.cosign(older.note()) == b""
            for problem in witnesses.problems():
                assert "600 entries, not 100" in problem
                assert "rolled back" in problem
            assert len(caplog.records) == len(witnesses.problems()) == 3


async def test_a_rolled_back_database_that_was_written_to_is_told_as_another_history(tmp_path, log):
    async with three(tmp_path, log) as each:
        async with asking(log, *map(place, each)) as witnesses:
            await witnesses.cosign(log.note(200))
        for fork in (log.fork(100, 300), log.fork(100, 200)):
            async with asking(fork, *map(place, each)) as witnesses:
                assert await witnesses.cosign(fork.note()) == b""
                assert all("another history" in problem for problem in witnesses.problems())
                assert len(witnesses.problems()) == 3


async def test_a_witness_that_does_not_know_the_log_says_what_to_configure(tmp_path, log):
    other = GrowingLog("example.com/another")
    same_name = GrowingLog()
    for known, words in ((other, "does not know this log"), (same_name, "with another key")):
        async with (
            witness_here(tmp_path / known.origin.replace("/", "-"), known, clock=Clock(time.time())) as witness,
            asking(log, place(witness)) as witnesses,
        ):
            assert await witnesses.cosign(log.note()) == b""
            (problem,) = witnesses.problems()
            assert words in problem
            assert "--log VKEY" in problem


async def test_one_of_three_that_is_gone_holds_nobody_up(tmp_path, log, caplog):
    async with three(tmp_path, log) as each:
        places = [*map(place, each[:2]), (STRANGER, "http://127.0.0.1:1")]
        async with asking(log, *places) as witnesses:
            with caplog.at_level(logging.INFO, LOGGER):
                for size in (5, 6, 7):
                    assert counted(log.note(size), await witnesses.cosign(log.note(size)), *each) == 2
            (problem,) = witnesses.problems()
            assert problem.startswith("witness.example/stranger does not answer")
            assert len(caplog.records) == 1


SLOW = 1.5
"""Seconds: within the time that an exchange may take, and far more than the others take on a busy machine."""


@contextlib.asynccontextmanager
async def slow():
    """URL of a witness that takes its time, and what it was asked."""
    asked = []

    async def slowly(body):
        asked.append(body)
        await asyncio.sleep(SLOW)
        return said(404, "")

    async with answering(slowly) as url:
        yield url, asked


async def seconds_of(witnesses, note):
    begun = time.monotonic()
    await witnesses.cosign(note)
    return time.monotonic() - begun


async def test_nobody_waits_for_one_that_is_slow_and_it_is_still_heard(tmp_path, log):
    async with (
        three(tmp_path, log) as each,
        slow() as (url, asked),
        asking(log, *map(place, each[:2]), (STRANGER, url)) as witnesses,
    ):
        begun = time.monotonic()
        for size in range(1, 11):
            assert counted(log.note(size), await witnesses.cosign(log.note(size)), *each) == 2
        assert time.monotonic() - begun < 10 * SLOW / 2
        await asyncio.sleep(2 * SLOW)
        assert "does not know this log" in witnesses.problems()[0]
        assert b"\n10\n" in asked[-1], "the newest is asked, what waited before it is not"
        assert len(asked) < 10


async def test_the_rest_are_given_a_moment_but_one_known_to_be_slow_is_not(tmp_path, log, monkeypatch):
    monkeypatch.setattr(courier, "GRACE_SECONDS", 2 * SLOW)
    async with (
        three(tmp_path, log) as each,
        slow() as (url, _),
        asking(log, *map(place, each), (STRANGER, url), enough=2) as witnesses,
    ):
        assert await seconds_of(witnesses, log.note(5)) >= SLOW
        assert await seconds_of(witnesses, log.note(6)) < SLOW
        assert counted(log.note(7), await witnesses.cosign(log.note(7)), *each) == 3


async def test_one_that_never_answers_costs_the_others_a_moment_only(tmp_path, log, monkeypatch):
    monkeypatch.setattr(courier, "EXCHANGE_SECONDS", 20.0)
    monkeypatch.setattr(courier, "CALL_SECONDS", 20.0)

    async def never(body):
        return None

    async with (
        three(tmp_path, log) as each,
        answering(never) as url,
        asking(log, *map(place, each[:2]), (STRANGER, url)) as witnesses,
    ):
        assert await seconds_of(witnesses, log.note(5)) < 10


async def test_one_that_never_answers_is_given_up(log):
    async def never(body):
        return None

    async with answering(never) as url, asking(log, (STRANGER, url)) as witnesses:
        begun = time.monotonic()
        assert await witnesses.cosign(log.note()) == b""
        assert EXCHANGE_SECONDS <= time.monotonic() - begun < CALL_SECONDS
        assert witnesses.problems() == ["witness.example/stranger does not answer within 2 s"]


async def test_answers_that_are_none_are_told_and_never_passed_on(log):
    line = "— witness.example/stranger " + "A" * 104
    for answer, words in (
        (said(200, ""), "no cosignature"),
        (said(200, "hello\n"), "no cosignature"),
        (said(200, line + "\n"), "no cosignature"),
        (said(200, line + "\n" * 70_000), "too long"),
        (said(302, "", "location: http://127.0.0.1:1/\r\n"), "status 302"),
        (said(500, ""), "status 500"),
        (said(409, "5\n"), "proof from 5"),
        (said(409, "five\n"), "another history"),
        (said(409, "05\n"), "another history"),
        (said(409, "601\n"), "601 entries, not 600"),
        (b"what is this\r\n\r\n", "closed the connection"),
    ):

        async def give(body, answer=answer):
            return answer

        async with answering(give) as url, asking(log, (STRANGER, url)) as witnesses:
            assert await witnesses.cosign(log.note()) == b""
            (problem,) = witnesses.problems()
            assert words in problem, problem


async def test_lines_of_others_are_not_passed_on(tmp_path, log):
    """A witness may add lines of keys that are nobody's here, of post-quantum size too: the enclave gets one."""
    async with witness_here(tmp_path / "w", log, clock=Clock(time.time())) as real:

        async def more(body):
            answer = await real.post("/add-checkpoint", content=body)
            return said(200, "— another.example/pq " + "A" * 3244 + "\n" + answer.text)

        async with answering(more) as url, asking(log, (real.witness.verifier, url)) as witnesses:
            lines = await witnesses.cosign(log.note())
            assert lines.count(b"\n") == 1
            assert counted(log.note(), lines, real) == 1


async def test_a_database_that_has_not_the_log_is_told(tmp_path, log):
    async with witness_here(tmp_path / "w", log, clock=Clock(time.time())) as witness:
        await witness.add(log, 0, 300)
        async with asking(log.fork(10, 10), place(witness)) as witnesses:
            assert await witnesses.cosign(log.note()) == b""
            assert "no proof" in witnesses.problems()[0]


async def test_one_that_comes_back_is_told_too(tmp_path, log, caplog):
    with witness_process(tmp_path / "w", log) as running:
        verifier, url = parse_verifier(running.vkey, COSIGNATURE), running.url
        async with asking(log, (verifier, url)) as witnesses:
            with caplog.at_level(logging.INFO, LOGGER):
                assert await witnesses.cosign(log.note(5))
                running.kill()
                assert await witnesses.cosign(log.note(6)) == b""
                with witness_process(tmp_path / "w", log, port=int(url.rsplit(":", 1)[1])):
                    assert await witnesses.cosign(log.note(7))
            assert witnesses.problems() == []
            (gone, back) = (record.getMessage() for record in caplog.records)
            assert "connect" in gone
            assert back == "witness witness.example/w1 cosigns again"


async def test_what_is_no_checkpoint_is_sent_to_nobody(tmp_path, log):
    async with (
        witness_here(tmp_path / "w", log, clock=Clock(time.time())) as witness,
        asking(log, place(witness)) as witnesses,
    ):
        with pytest.raises(Untrusted):
            await witnesses.cosign(b"hello")
        assert not witness.server.connections


async def test_https_is_verified(log):
    async def never(body):
        raise AssertionError("asked without TLS")

    async with answering(never) as url, asking(log, (STRANGER, url.replace("http:", "https:"))) as witnesses:
        assert await witnesses.cosign(log.note()) == b""
        assert "does not answer" in witnesses.problems()[0]


# --- what they know -------------------------------------------------------------------------------------------------


def times(note, witness):
    """When this witness says that it knew of no later checkpoint."""
    return [one.time for one in cosignatures(parse_checkpoint(note), [witness.witness.verifier])]


async def test_each_shows_what_it_cosigned_last_and_says_anew_that_it_is(tmp_path, log):
    async with three(tmp_path, log) as watching, asking(log, *map(place, watching)) as witnesses:
        await watching[0].add(log, 0, 500)
        await watching[1].add(log, 0, 600)
        for witness in watching:
            witness.clock.now += 1000
        notes = await witnesses.witnessed(log.origin)
        assert [parse_checkpoint(note).checkpoint for note in notes] == [log.checkpoint(500), log.checkpoint(600)]
        assert [times(note, one) for note, one in zip(notes, watching, strict=False)] == [
            [int(one.clock.now)] for one in watching[:2]
        ]


async def test_a_log_that_none_knows_is_no_error(tmp_path, log):
    async with three(tmp_path, log) as watching, asking(log, *map(place, watching)) as witnesses:
        assert await witnesses.witnessed("strongroom/another/0/0") == []
        assert witnesses.problems() == []


async def test_so_few_answers_that_the_others_may_know_of_more_are_none(tmp_path, log):
    """Two of three must cosign: one alone may have missed the latest, two can't both have."""
    async with three(tmp_path, log) as watching, asking(log, *map(place, watching)) as witnesses:
        await watching[0].add(log, 0, 500)
        await watching[2].server.stop(0)
        assert len(await witnesses.witnessed(log.origin)) == 1
        await watching[1].server.stop(0)
        with pytest.raises(Unavailable) as caught:
            await witnesses.witnessed(log.origin)
        assert caught.value.number is Number.WITNESSES_UNAVAILABLE


async def test_what_is_no_checkpoint_is_no_answer(log):
    async def nonsense(body):
        return said(200, "no checkpoint\n")

    async with answering(nonsense) as url, asking(log, (GrowingLog().verifier, url)) as witnesses:
        with pytest.raises(Unavailable):
            await witnesses.witnessed(log.origin)


async def test_a_log_that_was_given_up_is_told_as_that(tmp_path):
    old = GrowingLog(f"strongroom/{'ab' * 32}/0/0").grow_to(7)
    new = GrowingLog(f"strongroom/{'ab' * 32}/0/1", old.key).grow_to(5)
    async with three(tmp_path, old, new) as watching, asking(old, *map(place, watching)) as witnesses:
        for witness in watching:
            await witness.add(new, 0)
        assert await witnesses.cosign(old.note()) == b""
        assert "has cosigned a later log of this cluster" in witnesses.overtaken()
