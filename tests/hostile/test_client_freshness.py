"""A host shows a client an older state, or another one than others see: the client notices, and can prove it."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path

import pytest

from strongroom.attestation.witnessing import MAX_CLOCK_ERROR
from strongroom.client import freshness
from strongroom.client.attacks import explain_attack, verify_evidence
from strongroom.client.checkpoints import KeptCheckpoints, MemoryCheckpoints, own_checkpoints
from strongroom.client.errors import BadInput, Unanswered, Unreachable
from strongroom.client.transport import Unsealed
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.limits import LEASE
from strongroom.protocol.log_messages import Freshen, Freshness, Logged
from strongroom.protocol.messages import ById, Error, OfNamespace, Prove
from strongroom.protocol.notes import cosign, parse_checkpoint
from strongroom.protocol.primitives import NoteKey
from strongroom.protocol.vault_messages import Delete, Deleted, Describe, Described
from tests.support import policies
from tests.support.command import environment
from tests.support.evidence import NOW
from tests.support.fake_vault import FakeVault
from tests.support.witnesses import GrowingLog

QUESTION = Describe(address=OfNamespace(namespace="team"), tickets=[])
WRITE = Delete(request_id=bytes(16), address=ById(id=bytes(16)), replaces=1, tickets=[])
DONE = Deleted(version=2, epoch=1)
KEYS = [policies.witness_key(at) for at in range(3)]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A home of its own for each test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "strongroom"


@pytest.fixture
def vault():
    return FakeVault()


@pytest.fixture
def watched():
    return FakeVault(witnesses=KEYS, cosignatures=2)


async def ask(client, request=QUESTION, kind=Described):
    try:
        return await client.ask(request, kind)
    finally:
        await client.aclose()


async def refusal(client, request=QUESTION, kind=Described):
    with pytest.raises(StrongroomError) as caught:
        await ask(client, request, kind)
    return caught.value


def size_of(checkpoints, vault):
    note = checkpoints.highest(vault.log.origin)
    return 0 if note is None else parse_checkpoint(note).checkpoint.size


async def always(answer, _):
    return answer


# --- a restored database, a second copy -----------------------------------------------------------------------------


async def test_a_client_that_comes_back_to_a_log_that_grew_is_content(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    for size in (5, 6, 6, 13):
        vault.log.grow_to(size)
        await ask(vault.client(monkeypatch, checkpoints))
        assert size_of(checkpoints, vault) == size
    assert [one.size for one in vault.asked if isinstance(one, Freshen)] == [0, 5, 6, 6]


async def test_nothing_is_asked_before_the_log_was_shown_to_extend_what_was_seen(vault, monkeypatch):
    await ask(vault.client(monkeypatch))
    assert [type(one) for one in vault.asked] == [Prove, Freshen, Describe]


async def test_a_restored_database_is_noticed_before_anything_is_asked(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log, vault.asked = vault.log.fork(3, 3), []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "seen before: 5 entries; now: 3" in error.reason
    assert not any(isinstance(one, Describe) for one in vault.asked)
    assert size_of(checkpoints, vault) == 5


@pytest.mark.parametrize("size", [6, 8, 9])
async def test_a_restored_database_that_went_on_past_what_was_seen_is_noticed(vault, monkeypatch, size):
    checkpoints = MemoryCheckpoints()
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = vault.log.fork(3, size)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_another_log_of_equal_size_is_noticed(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = vault.log.fork(3, 5)
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "another content at the same size" in error.reason


async def test_a_proof_that_is_left_out_or_made_up_is_noticed(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log.grow_to(9)
    for proof in ([], [bytes(32)] * 3):
        vault.freshness = lambda _, proof=proof: always(
            Freshness(checkpoint=vault.note(), proof=proof, cosigned=None), _
        )
        assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


@pytest.mark.parametrize("forget", [False, True])
async def test_a_session_that_replaces_another_is_asked_too(vault, monkeypatch, forget):
    """A program that runs remembers by itself, whatever became of its file."""
    checkpoints = MemoryCheckpoints()
    client = vault.client(monkeypatch, checkpoints)
    await client.ask(QUESTION, Described)
    vault.now += 3600
    vault.cluster.evidence = lambda genuine=vault.cluster.evidence: genuine(
        vault.cluster.claims(expires_at=vault.now + 3600), issued_at=vault.now
    )
    vault.log = vault.log.fork(3, 9)
    if forget:
        checkpoints.set_aside(vault.log.origin)
    assert (await refusal(client)).number is Number.ROLLED_BACK


async def test_a_second_copy_is_noticed_though_another_program_saw_it(vault, monkeypatch):
    """Two programs, each shown a copy of its own: whoever keeps what it saw over the other's has that proven."""
    checkpoints = MemoryCheckpoints()
    one, other = vault.client(monkeypatch, checkpoints), vault.client(monkeypatch, checkpoints)
    await one.ask(QUESTION, Described)
    honest = vault.log
    vault.log = honest.fork(4, 7)
    twin = MemoryCheckpoints()  # shows the copy to the other program, as if it had not seen the original
    other._watch.checkpoints = twin
    await other.ask(QUESTION, Described)
    other._watch.checkpoints = checkpoints
    vault.log.grow_to(8, b"other")
    assert (await refusal(other, WRITE, Deleted)).number is Number.ROLLED_BACK
    vault.log = honest
    await one.aclose()
    assert size_of(checkpoints, vault) == 5


async def test_what_another_program_saw_meanwhile_is_not_put_back(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    slow, quick = vault.client(monkeypatch, checkpoints), vault.client(monkeypatch, checkpoints)
    await slow.ask(QUESTION, Described)
    old = vault.log.note(6) if vault.log.size >= 6 else vault.log.grow_to(6).note()
    vault.log.grow_to(12)
    await ask(quick)
    assert size_of(checkpoints, vault) == 12
    vault.logged = lambda reply: always(Logged(checkpoint=old, reply=encode(reply)), reply)
    vault.asked = []
    await ask(slow, WRITE, Deleted)
    assert [one.size for one in vault.asked if isinstance(one, Freshen)] == [12]
    assert size_of(checkpoints, vault) == 12


# --- what is not of this log ----------------------------------------------------------------------------------------


async def test_a_checkpoint_that_this_log_did_not_sign_is_refused(vault, monkeypatch):
    other = GrowingLog(vault.log.origin, NoteKey(os.urandom(32))).grow_to(5)
    elsewhere = GrowingLog("strongroom/elsewhere/0/0", vault.log.key).grow_to(5)
    for note in (other.note(), elsewhere.note(), b"", vault.log.note()[:-8]):
        vault.freshness = lambda _, note=note: always(Freshness(checkpoint=note, proof=[], cosigned=None), _)
        assert (await refusal(vault.client(monkeypatch))).number is Number.INTEGRITY
        vault.freshness = vault.honest_freshness
        vault.logged = lambda reply, note=note: always(Logged(checkpoint=note, reply=encode(reply)), reply)
        assert (await refusal(vault.client(monkeypatch))).number is Number.INTEGRITY
        vault.logged = vault.honestly_logged


async def test_a_reply_without_a_checkpoint_is_refused(vault, monkeypatch):
    for reply in (DONE, await vault.honest_freshness(Freshen(size=0))):
        vault.logged = lambda _, reply=reply: always(reply, _)
        assert (await refusal(vault.client(monkeypatch), WRITE, Deleted)).number is Number.INTEGRITY


async def test_a_reply_within_a_reply_is_refused(vault, monkeypatch):
    inner = await vault.honestly_logged(DONE)
    vault.logged = lambda _: always(Logged(checkpoint=vault.log.note(), reply=encode(inner)), _)
    assert (await refusal(vault.client(monkeypatch), WRITE, Deleted)).number is Number.INTEGRITY


async def test_a_no_needs_no_checkpoint(vault, monkeypatch):
    vault.logged = lambda _: always(Error(number=Number.REFUSED, index=0, place=0, version=0), _)
    assert (await refusal(vault.client(monkeypatch), WRITE, Deleted)).number is Number.REFUSED


async def test_what_the_vault_answers_instead_of_its_freshness_is_told(vault, monkeypatch):
    vault.freshness = lambda _: always(Error(number=Number.WITNESSES_UNAVAILABLE, index=0, place=0, version=0), _)
    assert (await refusal(vault.client(monkeypatch))).number is Number.WITNESSES_UNAVAILABLE
    vault.freshness = lambda _: always(DONE, _)
    assert (await refusal(vault.client(monkeypatch))).number is Number.INTEGRITY


async def test_an_older_checkpoint_later_in_a_session_is_noticed(vault, monkeypatch):
    vault.logged = lambda reply: always(Logged(checkpoint=vault.log.note(4), reply=encode(reply)), reply)
    assert (await refusal(vault.client(monkeypatch))).number is Number.ROLLED_BACK


async def test_another_root_at_a_size_that_the_session_has_seen_is_noticed(vault, monkeypatch):
    client = vault.client(monkeypatch)
    await client.ask(QUESTION, Described)
    vault.log.grow_to(9)
    await client.ask(QUESTION, Described)
    for size in (5, 9):
        vault.logged = lambda reply, size=size: always(
            Logged(checkpoint=vault.log.fork(2, size).note(), reply=encode(reply)), reply
        )
        with pytest.raises(Untrusted) as caught:
            await client.ask(QUESTION, Described)
        assert caught.value.number is Number.ROLLED_BACK
    await client.aclose()


async def test_answers_that_overtake_one_another_are_no_step_back(vault, monkeypatch):
    client = vault.client(monkeypatch)
    await client.ask(QUESTION, Described)
    for size in (8, 6, 7, 5):
        vault.log.grow_to(size)
        vault.logged = lambda reply, size=size: always(
            Logged(checkpoint=vault.log.note(size), reply=encode(reply)), reply
        )
        await client.ask(QUESTION, Described)
    await client.aclose()


# --- witnesses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("witnesses", "number", "reason"),
    [
        ([], 0, "a witness that the policy does not name"),
        (KEYS[:2], 2, "a witness that the policy does not name"),
        (KEYS, 3, "asks for 2 of 3 witnesses, the policy for 3 of 3"),
        ([*KEYS[:2], policies.witness_key(7)], 2, "does not name: 'witness-2.example"),
    ],
)
async def test_a_vault_with_other_witnesses_is_refused_before_anything_is_sent(
    watched, monkeypatch, witnesses, number, reason
):
    client = watched.client(monkeypatch, witnesses=witnesses, cosignatures=number)
    with pytest.raises(Untrusted) as caught:
        await client.verify()
    assert caught.value.number is Number.POLICY
    assert reason in caught.value.reason
    error = await refusal(client)
    assert error.number is Number.POLICY
    assert ("`strongroom trust pin --force`" in error.hint) is (not witnesses)
    assert watched.asked == []


async def test_two_of_three_witnesses_are_enough(watched, monkeypatch):
    watched.signers = watched.signers[:2]
    await ask(watched.client(monkeypatch))


async def test_too_few_cosignatures_are_refused(watched, monkeypatch):
    for count in (1, 0):
        watched.signers = watched.signers[:count]
        error = await refusal(watched.client(monkeypatch))
        assert error.number is Number.INTEGRITY
        assert f"{count} of the 2 witnesses that it takes" in error.reason


async def test_one_witness_counts_once(watched, monkeypatch):
    signed = parse_checkpoint(watched.log.note())
    lines = [cosign(watched.signers[0], "witness-0.example", signed.checkpoint, NOW - at) for at in range(3)]
    note = signed.with_lines(lines).note
    watched.freshness = lambda _: always(Freshness(checkpoint=note, proof=[], cosigned=None), _)
    assert (await refusal(watched.client(monkeypatch))).number is Number.INTEGRITY


async def test_in_an_outage_an_older_checkpoint_that_witnesses_saw_will_do(watched, monkeypatch):
    """While the Vault's lease lasts it answers, and what it answers they have not seen."""
    older = watched.note()
    watched.log.grow_to(9)
    newest = watched.log.note()
    watched.freshness = lambda _: always(Freshness(checkpoint=newest, proof=[], cosigned=older), _)
    await ask(watched.client(monkeypatch, witnesses=KEYS, cosignatures=2))


async def test_a_checkpoint_that_witnesses_saw_of_a_longer_log_is_refused(watched, monkeypatch):
    older = watched.log.note()
    watched.log.grow_to(9)
    cosigned = watched.note()
    watched.freshness = lambda _: always(Freshness(checkpoint=older, proof=[], cosigned=cosigned), _)
    with pytest.raises(Untrusted) as caught:
        await ask(watched.client(monkeypatch, witnesses=KEYS, cosignatures=2))
    assert caught.value.number is Number.INTEGRITY


async def test_cosignatures_of_strangers_count_for_nothing(watched, monkeypatch):
    watched.signers = [watched.signers[0], NoteKey(os.urandom(32)), NoteKey(os.urandom(32))]
    assert (await refusal(watched.client(monkeypatch))).number is Number.INTEGRITY


async def test_cosignatures_of_another_checkpoint_count_for_nothing(watched, monkeypatch):
    lines = parse_checkpoint(watched.note()).lines[1:]
    watched.log.grow_to(6)
    note = parse_checkpoint(watched.log.note()).with_lines(lines).note
    watched.freshness = lambda _: always(Freshness(checkpoint=note, proof=[], cosigned=None), _)
    assert (await refusal(watched.client(monkeypatch))).number is Number.INTEGRITY


@pytest.mark.parametrize("age", [LEASE + MAX_CLOCK_ERROR + 1, -MAX_CLOCK_ERROR - 1, 40 * 24 * 3600])
async def test_a_state_that_witnesses_saw_long_ago_is_refused(watched, monkeypatch, age):
    """A new client has nothing to compare with: the host's clock may stand still, theirs does not."""
    watched.cosigned_at = NOW - age
    error = await refusal(watched.client(monkeypatch))
    assert error.number is Number.CLOCK
    assert f"{age} seconds ago" in error.reason


@pytest.mark.parametrize("age", [LEASE + MAX_CLOCK_ERROR, -MAX_CLOCK_ERROR, 0])
async def test_a_state_that_witnesses_saw_lately_is_accepted(watched, monkeypatch, age):
    watched.cosigned_at = NOW - age
    await ask(watched.client(monkeypatch))


async def test_a_rollback_is_reported_as_one_though_no_witness_saw_it(watched, monkeypatch):
    checkpoints = MemoryCheckpoints()
    await ask(watched.client(monkeypatch, checkpoints))
    watched.log, watched.signers = watched.log.fork(3, 4), []
    assert (await refusal(watched.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


# --- evidence -------------------------------------------------------------------------------------------------------


async def attacked(vault, monkeypatch, log):
    checkpoints = MemoryCheckpoints()
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = log
    error = await refusal(vault.client(monkeypatch, checkpoints))
    return error, Path(error.reason.partition("the evidence is in ")[2])


async def test_the_evidence_holds_what_was_signed_and_is_verified_by_whoever_gets_it(vault, monkeypatch, state):
    seen, evidence = vault.log.note(), vault.cluster.evidence()
    monkeypatch.setattr(vault.cluster, "evidence", lambda: evidence)
    shown = vault.log.fork(3, 9)
    error, path = await attacked(vault, monkeypatch, shown)
    assert path.parent == state / "attacks"
    assert path.stat().st_mode & 0o777 == 0o600
    kept = json.loads(path.read_text())
    assert kept["known"].encode() == seen
    assert kept["shown"].encode() == shown.note()
    assert [bytes.fromhex(one) for one in kept["proof"]] == await shown.proof(5)
    assert kept["cluster_id"] == vault.cluster.id.hex()
    assert kept["origin"] == vault.log.origin
    assert kept["noticed_at"] == NOW
    assert kept["program"].startswith("strongroom ")
    assert b64decode(kept["evidence"]) == evidence
    attack = verify_evidence(path)
    assert (attack.finding, attack.url) == ("not-extended", "https://vault.example.com")
    assert attack.words in error.reason


@pytest.mark.parametrize(("at", "size", "finding"), [(3, 3, "shorter"), (3, 5, "forked"), (3, 8, "not-extended")])
async def test_the_evidence_says_what_it_proves(vault, monkeypatch, at, size, finding):
    _, path = await attacked(vault, monkeypatch, vault.log.fork(at, size))
    steps = {step.name: step for step in explain_attack(path)}
    assert steps["attack"].value == finding
    assert ("PROVEN" in steps["what it proves"].explanation) == (finding == "forked")
    assert steps["seen before"].value.startswith("5 ")
    assert steps["then shown"].value.startswith(f"{size} ")
    assert steps["noticed"].value == "2026-09-21 14:13 UTC"


async def test_evidence_that_somebody_made_up_is_refused(vault, monkeypatch, tmp_path):
    honest = vault.log.fork(5, 9)
    _, path = await attacked(vault, monkeypatch, vault.log.fork(3, 5))
    kept = json.loads(path.read_text())
    stranger = FakeVault()
    made_up = tmp_path / "made-up.json"
    for changes in (
        {"shown": kept["known"]},  # no fork
        {"finding": "shorter"},
        {"shown": honest.note().decode(), "proof": [one.hex() for one in await honest.proof(5)]},  # honest growth
        {"shown": stranger.log.note().decode()},
        {"known": kept["known"].replace("strongroom/", "strongroom/0")},
        {"cluster_id": "00" * 32},
        {"origin": "strongroom/elsewhere/0/0"},
        {"evidence": ""},
    ):
        made_up.write_text(json.dumps(kept | changes))
        with pytest.raises(Untrusted):
            verify_evidence(made_up)
    for text in ("", "{}", json.dumps(kept | {"more": 1}), json.dumps(kept | {"proof": ["x"]}), "[" * 9999):
        made_up.write_text(text)
        with pytest.raises(BadInput, match="not evidence"):
            verify_evidence(made_up)
    with pytest.raises(BadInput, match="can't read"):
        verify_evidence(tmp_path / "nowhere")


async def test_a_program_that_tries_for_ever_saves_one_file(vault, monkeypatch, state):
    checkpoints = MemoryCheckpoints()
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = vault.log.fork(3, 9)
    client = vault.client(monkeypatch, checkpoints)
    for size in range(9, 15):
        vault.log.grow_to(size, b"other")
        with pytest.raises(Untrusted):
            await client.ask(QUESTION, Described)
    await client.aclose()
    assert len(list((state / "attacks").iterdir())) == 1


async def test_evidence_is_saved_elsewhere_where_there_is_no_place_for_it(vault, monkeypatch, tmp_path):
    (tmp_path / "state").write_text("no folder")
    _, path = await attacked(vault, monkeypatch, vault.log.fork(3, 5))
    assert verify_evidence(path).finding == "forked"
    shutil.rmtree(path.parent)


# --- what is kept, and when -----------------------------------------------------------------------------------------


async def test_a_write_is_told_when_the_checkpoint_that_covers_it_is_kept(vault, monkeypatch, state):
    client = vault.client(monkeypatch, own_checkpoints())
    kept = KeptCheckpoints(state / "checkpoints")
    await client.ask(QUESTION, Described)
    vault.log.grow_to(7)
    await client.ask(QUESTION, Described)
    assert size_of(kept, vault) == 5  # a read is kept within a second
    await client.ask(WRITE, Deleted)
    assert size_of(kept, vault) == 7
    await client.aclose()


async def test_reads_are_kept_together_and_at_the_end(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    written: list[bytes] = []
    keep = checkpoints.keep

    def listen(origin: str, note: bytes, over: bytes | None) -> bytes:
        written.append(note)
        return keep(origin, note, over)

    monkeypatch.setattr(checkpoints, "keep", listen)
    client = vault.client(monkeypatch, checkpoints)
    for size in range(6, 30):
        vault.log.grow_to(size)
        await client.ask(QUESTION, Described)
    assert len(written) == 1
    await client.aclose()
    assert len(written) == 2
    assert size_of(checkpoints, vault) == 29


async def test_reads_are_kept_within_the_promised_time(vault, monkeypatch):
    monkeypatch.setattr(freshness, "SECONDS_UNKEPT", 0.01)
    checkpoints = MemoryCheckpoints()
    client = vault.client(monkeypatch, checkpoints)
    await client.ask(QUESTION, Described)
    vault.log.grow_to(6)
    await client.ask(QUESTION, Described)
    await asyncio.sleep(0.5)
    assert size_of(checkpoints, vault) == 6
    await client.aclose()


async def test_what_is_found_while_nobody_waits_is_told_to_who_asks_next(vault, monkeypatch):
    monkeypatch.setattr(freshness, "SECONDS_UNKEPT", 0.01)
    checkpoints = MemoryCheckpoints()
    client = vault.client(monkeypatch, checkpoints)
    await client.ask(QUESTION, Described)
    seen = checkpoints.highest(vault.log.origin)
    vault.log.grow_to(6)
    checkpoints.keep(vault.log.origin, vault.log.fork(3, 8).note(), seen)
    await client.ask(QUESTION, Described)
    await asyncio.sleep(0.5)
    for told in (client.ask(QUESTION, Described), client.aclose()):
        with pytest.raises(Untrusted) as caught:
            await told
        assert caught.value.number is Number.ROLLED_BACK


async def test_closing_does_not_wait_for_a_vault_that_is_gone(vault, monkeypatch):
    checkpoints = MemoryCheckpoints()
    client = vault.client(monkeypatch, checkpoints)
    await client.ask(QUESTION, Described)
    seen = checkpoints.highest(vault.log.origin)
    vault.log.grow_to(6)
    await client.ask(QUESTION, Described)
    checkpoints.keep(vault.log.origin, vault.log.grow_to(8).note(), seen)

    async def gone(request):
        raise Unavailable(Number.BUSY)

    vault.frame = gone
    await client.aclose()
    assert size_of(checkpoints, vault) == 8


async def test_a_kept_checkpoint_that_its_log_did_not_sign_is_moved_aside_with_a_word(vault, monkeypatch, state):
    said: list[str] = []
    checkpoints = KeptCheckpoints(state / "checkpoints", said.append)
    await ask(vault.client(monkeypatch, checkpoints))
    path = checkpoints.path(vault.log.origin)
    path.write_bytes(GrowingLog(vault.log.origin).grow_to(900).note())
    await ask(vault.client(monkeypatch, checkpoints))
    assert len(said) == 1
    assert "damaged" in said[0]
    assert size_of(checkpoints, vault) == 5
    assert len(list(path.parent.glob("*.damaged-*"))) == 1


@pytest.mark.parametrize("content", [b"", b"x" * 9999, b"\xff", b"a\n1\nb\n\n"])
def test_a_damaged_file_is_moved_aside_and_not_taken_for_none(state, content):
    said: list[str] = []
    log = GrowingLog().grow_to(5)
    checkpoints = KeptCheckpoints(state, said.append)
    assert checkpoints.keep(log.origin, log.note(), None) == log.note()
    path = checkpoints.path(log.origin)
    path.write_bytes(content)
    assert checkpoints.highest(log.origin) is None
    assert len(said) == 1
    assert [one.read_bytes() for one in state.glob("*.damaged-*")] == [content]
    path.write_bytes(content)
    assert checkpoints.keep(log.origin, log.note(), None) == log.note()
    assert len(said) == 2


def test_a_file_with_the_checkpoint_of_another_log_is_moved_aside(state):
    said: list[str] = []
    checkpoints = KeptCheckpoints(state, said.append)
    one, other = GrowingLog("one").grow_to(5), GrowingLog("two").grow_to(5)
    checkpoints.keep(one.origin, one.note(), None)
    shutil.copy(checkpoints.path(one.origin), checkpoints.path(other.origin))
    assert checkpoints.highest(other.origin) is None
    assert len(said) == 1


def test_kept_files_are_for_their_owner_alone(state):
    log = GrowingLog().grow_to(5)
    checkpoints = KeptCheckpoints(state / "checkpoints")
    checkpoints.keep(log.origin, log.note(), None)
    assert checkpoints.path(log.origin).stat().st_mode & 0o777 == 0o600
    assert (state / "checkpoints").stat().st_mode & 0o777 == 0o700


async def test_where_nothing_can_be_written_it_is_said_once_and_the_program_notices(vault, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    said: list[str] = []
    checkpoints = KeptCheckpoints(tmp_path / "file" / "checkpoints", said.append)
    for size in (5, 6):
        vault.log.grow_to(size)
        await ask(vault.client(monkeypatch, checkpoints))
    assert len(said) == 1
    assert "only for as long as it runs" in said[0]
    vault.log = vault.log.fork(3, 5)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


def test_a_program_is_warned_where_nothing_can_be_kept(monkeypatch, tmp_path):
    (tmp_path / "state").write_text("no folder")
    log = GrowingLog().grow_to(5)
    with pytest.warns(RuntimeWarning, match="no checkpoint can be"):
        own_checkpoints().keep(log.origin, log.note(), None)


# --- two processes, and a crash -------------------------------------------------------------------------------------

WRITER = """
import os, sys
from pathlib import Path
from strongroom.client.checkpoints import KeptCheckpoints
from strongroom.protocol.notes import parse_checkpoint

folder, notes, step = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes().split(b"|"), int(sys.argv[3])
kept, origin, size = KeptCheckpoints(folder), parse_checkpoint(notes[0]).checkpoint.origin, 0
print("ready", flush=True)
while size + step < len(notes):
    over = kept.highest(origin)
    size = 0 if over is None else parse_checkpoint(over).checkpoint.size
    wanted = notes[min(size + step, len(notes)) - 1]
    if kept.keep(origin, wanted, over) == wanted:
        print(parse_checkpoint(wanted).checkpoint.size, flush=True)
"""


def writer(folder, notes, step):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(notes), str(step)], stdout=subprocess.PIPE, env=environment()
    )


@pytest.fixture
def notes(tmp_path):
    """A log's checkpoints of all sizes up to 600, one file."""
    log = GrowingLog().grow_to(600)
    path = tmp_path / "notes"
    path.write_bytes(b"|".join(log.note(size) for size in range(1, 601)))
    return log, path


def test_two_processes_at_once_never_lower_what_is_kept(state, notes):
    log, path = notes
    kept = KeptCheckpoints(state)
    processes = [writer(state, path, step) for step in (1, 3)]
    sizes = [0]
    while any(process.poll() is None for process in processes):
        note = kept.highest(log.origin)
        sizes.append(0 if note is None else parse_checkpoint(note).checkpoint.size)
        time.sleep(0.002)
    assert sizes == sorted(sizes)
    said = [[int(line) for line in process.communicate()[0].split()[1:]] for process in processes]
    assert all(mine == sorted(mine) and mine for mine in said)
    assert parse_checkpoint(kept.highest(log.origin) or b"").checkpoint.size == max(said[0] + said[1])


def test_what_was_kept_outlives_kill_9_at_any_moment(state, notes):
    log, path = notes
    said: list[str] = []
    kept = KeptCheckpoints(state, said.append)
    highest = 0
    for attempt in range(12):
        process = writer(state, path, 1)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in process.communicate()[0].split()]
        now = parse_checkpoint(kept.highest(log.origin) or log.note(1)).checkpoint.size
        assert now >= max([highest, *acknowledged])
        highest = now
    assert said == []
    assert highest > 1


# --- answers that are lost --------------------------------------------------------------------------------------------

GONE = Unreachable("https://x can't be reached (Connection refused)", "check it", broken=False, sent=False)
BROKEN = Unreachable("https://x broke the connection off", "check it", broken=True)


def lose_an_answer(vault, monkeypatch, said=BROKEN):
    """The first request after the handshake arrives, its answer does not; from then on there is no connection."""
    arrive = vault.frame
    lost: list[bytes] = []

    async def frame(sealed):
        if lost:
            raise GONE
        answer = await arrive(sealed)
        if isinstance(vault.asked[-1], Prove | Freshen):
            return answer
        lost.append(answer)
        raise said

    monkeypatch.setattr(vault, "frame", frame)


async def test_a_change_whose_answer_is_lost_is_not_said_to_be_undone(vault, monkeypatch):
    lose_an_answer(vault, monkeypatch)
    error = await refusal(vault.client(monkeypatch), WRITE, Deleted)
    assert isinstance(error, Unanswered)
    assert "it may have been made: https://x can't be reached" in error.error
    assert vault.asked[-1] == WRITE


async def test_a_change_that_was_made_before_another_took_over_is_not_said_to_be_undone(vault, monkeypatch):
    lose_an_answer(vault, monkeypatch, Unsealed(Number.UNKNOWN_SESSION))
    monkeypatch.setattr(vault, "hello", gone_at_the_second(vault.hello))
    assert isinstance(await refusal(vault.client(monkeypatch), WRITE, Deleted), Unanswered)


def gone_at_the_second(hello):
    seen: list[bytes] = []

    async def once(sealed):
        if seen:
            raise GONE
        seen.append(sealed)
        return await hello(sealed)

    return once


async def test_a_question_without_an_answer_is_no_change(vault, monkeypatch):
    lose_an_answer(vault, monkeypatch)
    assert await refusal(vault.client(monkeypatch)) is GONE


async def test_a_change_that_was_never_sent_is_not_said_to_be_made_perhaps(vault, monkeypatch):
    async def hello(_):
        raise BROKEN

    monkeypatch.setattr(vault, "hello", hello)
    assert await refusal(vault.client(monkeypatch), WRITE, Deleted) is BROKEN
