"""A log, its host and strangers against a witness: what it must never cosign, keep open or forget."""

import asyncio
import dataclasses
import hashlib
import logging
import secrets
import sqlite3
from base64 import b64decode, b64encode

import httpx
import pytest

from strongroom.host.witness.serve import LIMITS
from strongroom.host.witness.server import MAX_REQUEST
from strongroom.host.witness.state import NOTHING, Cosigned, State, WrongState
from strongroom.protocol import notes
from strongroom.protocol.limits import MAX_PROOF
from strongroom.protocol.notes import (
    COSIGNATURE,
    MAX_FOREIGN_NOTE,
    Checkpoint,
    SignedCheckpoint,
    Verifier,
    cosignatures,
    parse_checkpoint,
    parse_verifier,
    sign_checkpoint,
)
from strongroom.protocol.primitives import NoteKey, verify_note_signature
from strongroom.protocol.tlog import EMPTY_ROOT
from tests.support.witnesses import NOW, ORIGIN, Clock, GrowingLog, addition, witness_here, witness_process

SIZES = "text/x.tlog.size"


@pytest.fixture
def log():
    return GrowingLog().grow_to(20)


@pytest.fixture
async def witness(tmp_path, log):
    async with witness_here(tmp_path / "w", log) as witness:
        yield witness


def cosigned(answer, log, witness, size=None):
    """The one cosignature of an answer, over exactly this state of the log."""
    assert answer.status_code == 200, answer.text
    signed = SignedCheckpoint(log.checkpoint(size), tuple(answer.text.splitlines()))
    (found,) = cosignatures(signed, [witness.witness.verifier])
    assert f"{found.line}\n" == answer.text
    return found


def conflict(answer):
    """The size that a 409 tells."""
    assert answer.status_code == 409
    assert answer.headers["content-type"] == SIZES
    assert answer.text.endswith("\n")
    return int(answer.text)


# --- what it is for -------------------------------------------------------------------------------------------------


async def test_a_log_that_grows_is_cosigned_at_each_step(witness, log):
    for old, size in ((0, 1), (1, 2), (2, 13), (13, 13), (13, 20)):
        assert cosigned(await witness.add(log, old, size), log, witness, size).time == NOW
    assert witness.state.latest(ORIGIN)[:3] == (20, log.roots[20], NOW)


async def test_an_empty_log_is_cosigned_and_then_grows(witness, log):
    cosigned(await witness.add(log, 0, 0), log, witness, 0)
    cosigned(await witness.add(log, 0, 3), log, witness, 3)


async def test_an_empty_log_has_the_root_of_nothing(witness, log):
    note = sign_checkpoint(log.key, Checkpoint(ORIGIN, 0, bytes(32))).note
    assert (await witness.add(log, 0, note=note, proof=[])).status_code == 409
    assert witness.state.latest(ORIGIN) == NOTHING


async def test_monitors_are_shown_the_latest_with_both_signatures(witness, log):
    path = f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert (await witness.get(path)).status_code == 404
    line = cosigned(await witness.add(log, 0, 7), log, witness, 7).line
    assert (await witness.get(path)).content == log.note(7) + f"{line}\n".encode()
    assert (await witness.get("/" + "0" * 64 + "/checkpoint")).status_code == 404


async def test_several_logs_and_two_keys_of_one_log_are_kept_apart(tmp_path, log):
    turned = GrowingLog(key=NoteKey(secrets.token_bytes(32))).grow_to(20)  # the same leaves, the next key
    other = GrowingLog("example.com/another").grow_to(9)
    async with witness_here(tmp_path / "w", log, turned, other) as witness:
        cosigned(await witness.add(log, 0, 5), log, witness, 5)
        cosigned(await witness.add(other, 0), other, witness)
        cosigned(await witness.add(turned, 5, 8), log, witness, 8)
        assert conflict(await witness.add(log, 5, 9)) == 8


async def test_extension_lines_of_other_peoples_logs_are_cosigned_as_they_are(witness, log):
    checkpoint = dataclasses.replace(log.checkpoint(), extensions=("a line of their own", "1"))
    answer = await witness.add(log, 0, proof=[], note=sign_checkpoint(log.key, checkpoint).note)
    lines = tuple(answer.text.splitlines())
    assert len(cosignatures(SignedCheckpoint(checkpoint, lines), [witness.witness.verifier])) == 1
    assert not cosignatures(SignedCheckpoint(log.checkpoint(), lines), [witness.witness.verifier])


# --- a host that rolls back -----------------------------------------------------------------------------------------


async def test_a_rolled_back_log_is_refused(witness, log):
    cosigned(await witness.add(log, 0, 20), log, witness)
    for old, size in ((0, 12), (12, 12), (5, 12), (0, 20)):
        assert conflict(await witness.add(log, old, size)) == 20
    assert (await witness.add(log, 20, 12, proof=[])).status_code == 400
    assert witness.state.latest(ORIGIN).size == 20


async def test_a_rolled_back_log_that_was_written_to_is_refused(witness, log):
    cosigned(await witness.add(log, 0, 20), log, witness)
    fork = log.fork(12, 30)
    assert conflict(await witness.add(fork, 12, 30)) == 20
    assert (await witness.add(fork, 20, 30)).status_code == 422
    assert witness.state.latest(ORIGIN).root == log.roots[20]


async def test_a_fork_of_equal_size_is_refused_and_told_once_with_both_notes(witness, log, caplog):
    cosigned(await witness.add(log, 0, 20), log, witness)
    fork = log.fork(19, 20)
    with caplog.at_level(logging.ERROR, "strongroom.host.witness"):
        for _ in range(3):
            answer = await witness.add(fork, 20)
            assert answer.status_code == 409
            assert answer.headers["content-type"] != SIZES
    (record,) = caplog.records
    for note in (log.note(), fork.note()):
        assert note.decode() in record.getMessage()
    assert witness.state.latest(ORIGIN).root == log.roots[20]


async def test_a_proof_for_another_tree_is_refused(witness, log):
    cosigned(await witness.add(log, 0, 7), log, witness, 7)
    right = await log.proof(7)
    wrong: tuple[list[bytes], ...] = (
        await log.fork(3, 20).proof(7),
        await log.proof(8),
        right[:-1],
        right[::-1],
        [*right, right[-1]],
        [],
    )
    for proof in wrong:
        assert (await witness.add(log, 7, proof=proof)).status_code == 422
    assert (await witness.add(log, 7, 7, proof=right)).status_code == 422
    assert witness.state.latest(ORIGIN).size == 7
    cosigned(await witness.add(log, 7, proof=right), log, witness)


async def test_a_first_checkpoint_comes_without_a_proof(witness, log):
    assert (await witness.add(log, 0, proof=await log.proof(7))).status_code == 422


async def test_an_older_request_played_again_is_refused(witness, log):
    request = addition(0, [], log.note(5))
    assert (await witness.post("/add-checkpoint", content=request)).status_code == 200
    cosigned(await witness.add(log, 5, 9), log, witness, 9)
    assert conflict(await witness.post("/add-checkpoint", content=request)) == 9


async def test_of_two_requests_at_once_for_one_size_one_is_cosigned(witness, log):
    cosigned(await witness.add(log, 0, 4), log, witness, 4)
    sizes = range(5, 21)
    answers = await asyncio.gather(*(witness.add(log, 4, size) for size in sizes))
    (won,) = [size for size, answer in zip(sizes, answers, strict=True) if answer.status_code == 200]
    assert {conflict(answer) for answer in answers if answer.status_code != 200} == {won}
    assert witness.state.latest(ORIGIN).size == won


async def test_what_was_checked_against_an_older_state_is_not_written(witness, log):
    """The race of the specification, at the one step that decides it."""
    cosigned(await witness.add(log, 0, 4), log, witness, 4)
    checked = witness.state.latest(ORIGIN)
    cosigned(await witness.add(log, 4, 9), log, witness, 9)
    assert not witness.state.advance(ORIGIN, checked, Cosigned(6, log.roots[6], NOW, b""))
    assert not witness.state.advance(ORIGIN, NOTHING, Cosigned(6, log.roots[6], NOW, b""))
    assert witness.state.latest(ORIGIN).size == 9


async def test_a_restart_forgets_nothing(tmp_path, log):
    async with witness_here(tmp_path / "w", log) as witness:
        cosigned(await witness.add(log, 0, 20), log, witness)
    async with witness_here(tmp_path / "w", log) as witness:
        assert conflict(await witness.add(log, 0, 12)) == 20
        assert (await witness.add(log.fork(19, 20), 20)).status_code == 409


KILLED = """
import os, signal, sys
from strongroom.host.witness.state import State
advance = State.advance
def killed(self, *arguments):
    {before}
    done = advance(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
State.advance = killed
from strongroom.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("before", "kept"), [("", 12), ("os.kill(os.getpid(), signal.SIGKILL)", 5)], ids=["after it is kept", "before"]
)
async def test_killed_around_the_write_it_goes_on_where_it_was(tmp_path, log, before, kept):
    folder = tmp_path / "w"
    with witness_process(folder, log) as running:
        assert await asked(running.url, log, 0, 5) == 200
    with witness_process(folder, log, program=("-c", KILLED.format(before=before))) as running:
        with pytest.raises(httpx.TransportError):
            await asked(running.url, log, 5, 12)
        running.process.wait()
    with witness_process(folder, log) as running:
        assert await asked(running.url, log, 4, 12) == kept
        if kept == 12:  # the answer was lost, not the word: the same is cosigned again, another history never
            assert await asked(running.url, log.fork(5, 12), 12, 12) == 409
        assert await asked(running.url, log, kept, 12) == 200


async def asked(url, log, old, size):
    """Status, or the size that a conflict tells."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.post("/add-checkpoint", content=addition(old, await log.proof(old, size), log.note(size)))
    return int(answer.text) if answer.headers["content-type"] == SIZES else answer.status_code


# --- somebody else's checkpoints ------------------------------------------------------------------------------------


async def test_an_unknown_log_is_not_cosigned(witness):
    answer = await witness.add(GrowingLog("example.com/another").grow_to(3), 0)
    assert answer.status_code == 404
    assert "--log" in answer.text


async def test_the_right_name_with_another_key_is_refused(witness, log):
    other = GrowingLog().grow_to(20)
    assert (await witness.add(other, 0)).status_code == 403
    # with the key id of the log's key, which is only a hint
    line = other.note().decode().splitlines()[-1]
    mark, name, signature = line.split(" ")
    forged = b64encode(log.verifier.key_id + b64decode(signature)[4:]).decode()
    note = SignedCheckpoint(other.checkpoint(), (f"{mark} {name} {forged}",)).note
    assert (await witness.add(log, 0, proof=[], note=note)).status_code == 403
    assert witness.state.latest(ORIGIN) == NOTHING


async def test_a_signature_over_another_size_or_root_is_refused(witness, log):
    lines = tuple(log.note(5).decode().splitlines()[-1:])
    for bent in (Checkpoint(ORIGIN, 6, log.roots[5]), Checkpoint(ORIGIN, 5, log.roots[6])):
        assert (await witness.add(log, 0, proof=[], note=SignedCheckpoint(bent, lines).note)).status_code == 403


async def test_lines_of_unknown_keys_are_ignored_and_not_kept(witness, log):
    stranger = NoteKey(secrets.token_bytes(32))
    checkpoint = log.checkpoint()
    lines = [*sign_checkpoint(stranger, checkpoint).lines, f"— witness.example/pq {'A' * 3244}"]
    lines += sign_checkpoint(log.key, checkpoint).lines
    answer = await witness.add(log, 0, proof=[], note=SignedCheckpoint(checkpoint, tuple(lines)).note)
    cosigned(answer, log, witness)
    assert witness.state.latest(ORIGIN).note == log.note() + answer.content


async def test_a_cosignature_is_no_signature_of_the_log(tmp_path):
    """A witness's line never counts for the log's, even by one key: type and message are others."""
    log = GrowingLog().grow_to(3)
    async with witness_here(tmp_path / "w", log, name=ORIGIN) as witness:
        line = cosigned(await witness.add(log, 0), log, witness).line
        note = SignedCheckpoint(log.checkpoint(), (line,)).note
        assert (await witness.add(log, 3, note=note)).status_code == 403


# --- requests that are none -----------------------------------------------------------------------------------------


async def test_what_is_no_request_is_refused_before_anything_is_looked_up(witness, log):
    note, node = log.note(), "A" * 43 + "="
    for body in (
        b"",
        note,
        b"old 0\n" + note,
        b"old 00\n\n" + note,
        b"old -1\n\n" + note,
        b"old +0\n\n" + note,
        b"old  0\n\n" + note,
        b"Old 0\n\n" + note,
        b"old 0\r\n\r\n" + note,
        "old \N{ARABIC-INDIC DIGIT ZERO}\n\n".encode() + note,
        b"old 99999999999999999999\n\n" + note,
        b"old 0\nnot base64\n\n" + note,
        b"old 0\n" + b"A" * 42 + b"B=\n\n" + note,  # other spelling of a hash
        b"old 0\n" + b"A" * 44 + b"\n\n" + note,  # 33 bytes
        b"old 0\n\n" + note[:-1],
        b"old 0\n\n" + note.replace(b"\n20\n", b"\n020\n"),
        b"old 0\n\n" + note.replace(b"\n20\n", b"\n9223372036854775808\n"),
        b"old 0\n\n" + note.replace(ORIGIN.encode(), ORIGIN.encode() + b"\r"),
        f"old 0\n{node}\n".encode() + (f"{node}\n" * MAX_PROOF).encode() + b"\n" + note,
    ):
        answer = await witness.post("/add-checkpoint", content=body)
        assert answer.status_code == 400, body
    assert witness.state.latest(ORIGIN) == NOTHING


async def test_only_its_own_paths_and_methods_mean_something(witness):
    for method, path, status in (
        ("GET", "/add-checkpoint", 405),
        ("PUT", "/add-checkpoint", 405),
        ("POST", "/health", 405),
        ("POST", "/", 404),
        ("GET", "/add-checkpoint/", 404),
        ("GET", "/../witness.key", 404),
        ("GET", "/health", 200),
    ):
        assert (await witness.request(method, path)).status_code == status, path


async def test_a_huge_body_is_refused_by_its_length_alone(witness):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(witness.url.rsplit(":", 1)[1]))
    writer.write(b"POST /add-checkpoint HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (MAX_REQUEST + 1))
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 2)
    writer.close()


async def test_a_largest_note_is_read(witness, log):
    """Sixteen signatures of post-quantum size, as signed-note wants them read."""
    stranger = "".join(f"— witness.example/{n} {'A' * 7000}\n" for n in range(16))
    note = log.note() + stranger.encode()
    assert 100_000 < len(note) < MAX_FOREIGN_NOTE
    cosigned(await witness.add(log, 0, proof=[], note=note), log, witness)


async def test_one_signature_a_thousand_times_is_verified_once(witness, log, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        verify_note_signature(*arguments)

    monkeypatch.setattr(notes, "verify_note_signature", counted)
    signed = sign_checkpoint(log.key, log.checkpoint())
    answer = await witness.add(log, 0, proof=[], note=SignedCheckpoint(signed.checkpoint, signed.lines * 900).note)
    cosigned(answer, log, witness)
    assert len(calls) == 2  # the other is this test's own


async def test_a_slow_body_loses_its_place(tmp_path, log):
    quick = dataclasses.replace(LIMITS, head_seconds=0.5, stall_seconds=0.5, request_seconds=0.5)
    async with witness_here(tmp_path / "w", log, limits=quick) as witness:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(witness.url.rsplit(":", 1)[1]))
        writer.write(b"POST /add-checkpoint HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n")
        for _ in range(4):
            writer.write(b"o")
            await asyncio.sleep(0.2)
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 2)
        writer.close()
        cosigned(await witness.add(log, 0), log, witness)


async def test_more_connections_than_there_is_room_for_are_turned_away(tmp_path, log):
    few = dataclasses.replace(LIMITS, connections=4)
    async with witness_here(tmp_path / "w", log, limits=few) as witness:
        port = int(witness.url.rsplit(":", 1)[1])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert b" 503 " in await asyncio.wait_for(reader.readline(), 2)
        for _, each in (*held, (reader, writer)):
            each.close()


# --- its own clock and disk -----------------------------------------------------------------------------------------


async def test_with_its_clock_set_back_it_says_nothing(witness, log):
    cosigned(await witness.add(log, 0, 5), log, witness, 5)
    witness.clock.now -= 1
    answer = await witness.add(log, 5, 9)
    assert answer.status_code == 503
    assert "clock" in answer.text
    assert witness.state.latest(ORIGIN).size == 5
    witness.clock.now += 1
    assert cosigned(await witness.add(log, 5, 9), log, witness, 9).time == NOW


async def test_a_clock_before_all_time_signs_nothing(tmp_path, log):
    clock = Clock()
    clock.now = 0.0
    async with witness_here(tmp_path / "w", log, clock=clock) as witness:
        assert (await witness.add(log, 0)).status_code == 503


async def test_a_repetition_gets_a_new_time_but_within_a_second_no_write(witness, log):
    first = cosigned(await witness.add(log, 0), log, witness)
    changes = witness.state._db.total_changes
    assert cosigned(await witness.add(log, 20), log, witness) == first
    assert witness.state._db.total_changes == changes
    witness.clock.now += 1
    assert cosigned(await witness.add(log, 20), log, witness).time == NOW + 1
    assert witness.state._db.total_changes == changes + 1


async def test_what_can_not_be_kept_is_not_said(witness, log):
    cosigned(await witness.add(log, 0, 5), log, witness, 5)
    witness.state._db.execute("PRAGMA query_only = ON")
    assert (await witness.add(log, 5, 9)).status_code == 503
    witness.state._db.execute("PRAGMA query_only = OFF")
    cosigned(await witness.add(log, 5, 9), log, witness, 9)


async def test_every_commit_is_on_the_disk_before_it_is_answered(witness):
    assert witness.state._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert witness.state._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_newer_database_is_not_touched(tmp_path):
    path = tmp_path / "witness.sqlite3"
    sqlite3.connect(path).execute("PRAGMA user_version = 9").connection.close()
    with pytest.raises(WrongState, match="version 9"):
        State(path)


def test_the_empty_tree_is_where_every_log_begins():
    assert NOTHING.root == EMPTY_ROOT == hashlib.sha256().digest()
    assert parse_verifier(str(Verifier("a", COSIGNATURE, bytes(32))), COSIGNATURE).public == bytes(32)


# --- logs that began anew -----------------------------------------------------------------------------------------


GIVEN_UP = f"strongroom/{'ab' * 32}/0/"


async def test_a_log_that_custodians_gave_up_is_not_cosigned_once_the_next_one_is(tmp_path):
    """An old machine of a cluster that was recovered without it goes on where it was."""
    old = GrowingLog(f"{GIVEN_UP}9").grow_to(7)
    new = GrowingLog(f"{GIVEN_UP}10", old.key).grow(*old.leaves[:5])
    async with witness_here(tmp_path, old, new) as witness:
        assert (await witness.add(old, 0)).status_code == 200
        assert (await witness.add(new, 0)).status_code == 200
        over = await witness.add(old.grow_to(8), 7)
        assert (over.status_code, over.headers["strongroom-error"]) == (410, "307")
        assert (await witness.add(new.grow_to(6), 5)).status_code == 200
        shown = await witness.get(f"/{hashlib.sha256(old.origin.encode()).hexdigest()}/checkpoint")
        assert parse_checkpoint(shown.content).checkpoint.size == 7


async def test_it_is_over_also_for_a_witness_that_is_told_of_the_old_log_alone(tmp_path):
    old, new = GrowingLog(f"{GIVEN_UP}0").grow_to(7), GrowingLog(f"{GIVEN_UP}2").grow_to(5)
    async with witness_here(tmp_path, old, new) as witness:
        await witness.add(new, 0)
    async with witness_here(tmp_path, old) as witness:
        assert (await witness.add(old, 0)).status_code == 410


@pytest.mark.parametrize("other", [f"strongroom/{'cd' * 32}/0/1", f"strongroom/{'ab' * 32}/1/1", "strongroom/1", "z"])
async def test_logs_of_other_clusters_and_shards_end_none(tmp_path, other):
    log, unrelated = GrowingLog(f"{GIVEN_UP}0").grow_to(7), GrowingLog(other).grow_to(5)
    async with witness_here(tmp_path, log, unrelated) as witness:
        assert (await witness.add(unrelated, 0)).status_code == 200
        assert (await witness.add(log, 0)).status_code == 200
