"""Sessions of the SDK with a real enclave, over networks that lie: the answer is right, or there is an error."""

import asyncio
import gzip
import time

import pytest

from strongroom.attack.network import listening
from strongroom.client import transport
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.errors import BadInput, Unreachable
from strongroom.client.freshness import Watch
from strongroom.client.session import IN_FLIGHT, AttestedServer
from strongroom.client.vault import AsyncVault
from strongroom.protocol.authenticator_messages import Validate
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.limits import MAX_FRAME
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import OfNamespace
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Describe, Described, Stored
from tests.support.served import Cut, ServedWorld
from tests.support.world import World

TEAM = OfNamespace(namespace="team")
OPENING = 2
"""Frames of a session before any question: the proof of the key, and whether the log is the one that is known."""
QUESTION = Describe(address=TEAM, tickets=[])


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        served.vault.calls.clear()
        yield served


@pytest.fixture
async def client(served):
    client = make(served)
    yield client
    await client.aclose()


def make(served, **changes):
    fields = {
        "role": "vault",
        "policy": served.trust.vault,
        "binding_key": SigningKey.generate(),
        "now": served.now,
    }
    fields |= changes
    watch = Watch(served.vault.url, served.trust, MemoryCheckpoints(), fields["now"])
    return AttestedServer(served.vault.url, watch=watch, **fields)


def flipped(data, at=-1):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def keep(kept, answer):
    """Remember what passed."""
    kept.append(answer)
    return answer


def bend(line, operation, change):
    """Let the network change every answer to `operation`."""

    async def carry(called, body):
        answer = await line.honestly(called, body)
        return change(answer) if called is operation else answer

    line.carry = carry


async def number_of(work):
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number


async def test_one_handshake_serves_many_requests_at_once(served, client):
    answers = await asyncio.gather(*(client.ask(QUESTION, Described) for _ in range(200)))
    assert {answer.quorum for answer in answers} == {1}
    assert served.vault.count(Operation.EVIDENCE) == served.vault.count(Operation.SESSION) == 1
    assert served.vault.count(Operation.FRAME) == OPENING + 200


async def test_no_more_is_in_flight_than_the_window_bears(served, client):
    now = most = 0
    enough = asyncio.Event()  # not a time: how fast requests come in is the machine's business

    async def carry(operation, body):
        nonlocal now, most
        now += 1
        most = max(most, now)
        if most > IN_FLIGHT // 2:
            enough.set()
        if operation is Operation.FRAME and most > 1:
            await enough.wait()
        try:
            return await served.vault.honestly(operation, body)
        finally:
            now -= 1

    served.vault.carry = carry
    await asyncio.gather(*(client.ask(QUESTION, Described) for _ in range(100)))
    assert IN_FLIGHT // 2 < most <= IN_FLIGHT


async def test_an_answer_that_is_held_up_is_still_good_when_it_comes(served, client):
    await client.appraisal()
    others = asyncio.Event()
    held: list[bytes] = []

    async def carry(operation, body):
        answer = await served.vault.honestly(operation, body)
        if not held:
            held.append(answer)
            await others.wait()
        return answer

    served.vault.carry = carry
    first = asyncio.create_task(client.ask(QUESTION, Described))
    await asyncio.sleep(0.05)
    more = [asyncio.create_task(client.ask(QUESTION, Described)) for _ in range(150)]
    async with asyncio.timeout(20):
        while sum(task.done() for task in more) < IN_FLIGHT - 1:
            await asyncio.wait(more, timeout=0.1)
    await asyncio.wait(more, timeout=0.5)
    assert sum(task.done() for task in more) == IN_FLIGHT - 1
    others.set()
    assert (await first).quorum == 1
    await asyncio.gather(*more)
    assert served.vault.count(Operation.FRAME) == OPENING + 151


# --- nothing is sent before the evidence was accepted ---------------------------------------------------------


async def test_nothing_but_the_question_for_evidence_is_sent_to_a_server_that_is_not_trusted(served):
    client = make(served, policy=served.trust.authenticator)
    assert await number_of(client.ask(QUESTION, Described)) is Number.POLICY
    assert served.vault.calls == [Operation.EVIDENCE]


@pytest.mark.parametrize("place", range(0, 15000, 1009))
async def test_altered_evidence_makes_no_session(served, client, place):
    bend(served.vault, Operation.EVIDENCE, lambda evidence: flipped(evidence, place % len(evidence)))
    # Where nothing rests on the byte, such as a copy of the root certificate, the enclave refuses the hello.
    refusals = (Number.EVIDENCE, Number.POLICY, Number.STALE_KEY)
    assert await number_of(client.ask(QUESTION, Described)) in refusals
    assert Operation.FRAME not in served.vault.calls


async def test_a_genuine_enclave_of_another_cluster_is_refused(served, client, tmp_path):
    other = await World(tmp_path / "state").start()  # the same machine and program, another genesis
    served.vault.carry = other.vault.enclave.handle
    with pytest.raises(Untrusted, match="is not one that the policy names"):
        await client.ask(QUESTION, Described)
    assert served.vault.calls == [Operation.EVIDENCE]


async def test_an_authenticator_in_the_vaults_place_is_refused(served, client):
    served.vault.carry = served.authenticator.honestly
    with pytest.raises(Untrusted, match="role authenticator"):
        await client.ask(QUESTION, Described)


async def test_evidence_of_any_length_is_not_read_to_its_end(client, served):
    bend(served.vault, Operation.EVIDENCE, lambda evidence: evidence + bytes(1_000_000))
    with pytest.raises(Untrusted, match="more than 196,608 bytes"):
        await client.verify()


async def test_verify_opens_no_session(served, client):
    appraisal = await client.verify()
    assert appraisal.genuine.claims.cluster_id == served.world.vault_cluster
    assert served.vault.calls == [Operation.EVIDENCE]


# --- lies about answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [Operation.SESSION, Operation.FRAME])
@pytest.mark.parametrize("change", [flipped, lambda answer: flipped(answer, 0), lambda answer: b"", lambda a: a[:-1]])
async def test_altered_answers_are_refused(served, client, operation, change):
    bend(served.vault, operation, change)
    assert await number_of(client.ask(QUESTION, Described)) is Number.INTEGRITY


async def test_a_replayed_answer_is_refused(served, client):
    await client.appraisal()
    kept: list[bytes] = []
    bend(served.vault, Operation.FRAME, lambda answer: keep(kept, answer) and kept[0])
    await client.ask(QUESTION, Described)
    assert await number_of(client.ask(QUESTION, Described)) is Number.INTEGRITY


async def test_two_swapped_answers_are_refused(served, client):
    await client.appraisal()
    both = asyncio.Barrier(2)
    answers: list[bytes] = []

    async def carry(operation, body):
        at = len(answers)
        answers.append(await served.vault.honestly(operation, body))
        await both.wait()
        return answers[1 - at]

    served.vault.carry = carry
    questions = (client.ask(QUESTION, Described) for _ in range(2))
    for result in await asyncio.gather(*questions, return_exceptions=True):
        assert isinstance(result, Untrusted)
        assert result.number is Number.INTEGRITY
        assert "another request" in result.reason


async def test_an_answer_from_another_session_is_refused(served, client):
    other = make(served)
    kept: list[bytes] = []
    bend(served.vault, Operation.FRAME, lambda answer: keep(kept, answer))
    await other.ask(QUESTION, Described)
    await client.appraisal()
    bend(served.vault, Operation.FRAME, lambda answer: kept[1])
    assert await number_of(client.ask(QUESTION, Described)) is Number.INTEGRITY
    await other.aclose()


async def test_a_replayed_answer_to_the_hello_is_refused(served, client):
    kept: list[bytes] = []
    bend(served.vault, Operation.SESSION, lambda answer: keep(kept, answer) and kept[0])
    await client.appraisal()
    other = make(served)
    assert await number_of(other.appraisal()) is Number.INTEGRITY
    await other.aclose()


async def test_an_answer_of_another_kind_is_refused(served, client):
    assert await number_of(client.ask(QUESTION, Stored)) is Number.INTEGRITY


async def test_what_only_the_enclave_may_say_is_not_believed_in_clear(served, client):
    await client.appraisal()

    async def carry(operation, body):
        raise Refused

    served.vault.carry = carry
    with pytest.raises(Unavailable, match="said by the network, not by the enclave"):
        await client.ask(QUESTION, Described)


async def test_the_enclaves_own_errors_come_through(served, client):
    question = Describe(address=OfNamespace(namespace="nobody made it"), tickets=[])
    with pytest.raises(Refused) as caught:
        await client.ask(question, Described)
    assert caught.value.reason == ""


async def test_a_request_of_another_role_is_a_mistake(served, client):
    assert await number_of(client.ask(Validate(instructions=b""), Described)) is Number.MALFORMED


async def test_a_request_that_is_too_large_is_not_sent(served, client):
    await client.appraisal()
    served.vault.calls.clear()
    assert await number_of(client.ask(Validate(instructions=bytes(2_000_000)), Described)) is Number.TOO_LARGE
    assert served.vault.calls == []


# --- lost sessions and lost answers ---------------------------------------------------------------------------


async def test_a_restarted_server_costs_a_handshake_and_nothing_else(served, client):
    await client.ask(QUESTION, Described)
    await served.world.vault.start()
    answers = await asyncio.gather(*(client.ask(QUESTION, Described) for _ in range(10)))
    assert len(answers) == 10
    assert served.vault.count(Operation.SESSION) == 2


async def test_evidence_that_ages_between_the_question_and_the_hello_is_fetched_again(served, client):
    async def carry(operation, body):
        if operation is Operation.SESSION and served.vault.count(Operation.SESSION) == 1:
            await served.world.vault.start()
        return await served.vault.honestly(operation, body)

    served.vault.carry = carry
    assert (await client.ask(QUESTION, Described)).quorum == 1
    assert served.vault.count(Operation.EVIDENCE) == 2


async def test_new_evidence_is_appraised_anew(served, client, tmp_path):
    await client.ask(QUESTION, Described)
    other = await World(tmp_path / "state").start()
    served.vault.carry = other.vault.enclave.handle
    with pytest.raises(Untrusted, match="is not one that the policy names"):
        await client.ask(QUESTION, Described)


@pytest.mark.parametrize("number", [Number.UNKNOWN_SESSION, Number.STALE_KEY])
@pytest.mark.parametrize("operation", [Operation.SESSION, Operation.FRAME])
async def test_a_network_that_always_calls_the_session_lost_is_not_indulged(served, client, number, operation):
    async def carry(called, body):
        if called is operation:
            raise Misuse(number)
        return await served.vault.honestly(called, body)

    served.vault.carry = carry
    assert await number_of(client.ask(QUESTION, Described)) is number
    assert served.vault.count(operation) == 2


async def test_a_lost_answer_is_asked_for_again_with_the_same_bytes(served, client):
    await client.appraisal()
    lost: list[bytes] = []

    async def carry(operation, body):
        answer = await served.vault.honestly(operation, body)
        if not lost:
            lost.append(answer)
            raise Cut
        return answer

    served.vault.carry = carry
    assert (await client.ask(QUESTION, Described)).quorum == 1
    assert served.vault.count(Operation.FRAME) == OPENING + 2


async def test_a_network_that_loses_every_answer_is_not_indulged(served, client):
    await client.appraisal()

    async def carry(operation, body):
        raise Cut

    served.vault.carry = carry
    with pytest.raises(Unreachable):
        await client.ask(QUESTION, Described)
    assert served.vault.count(Operation.FRAME) == OPENING + 2


async def test_a_frame_that_the_network_duplicates_is_asked_again(served, client):
    await client.appraisal()
    twice: list[bytes] = []

    async def carry(operation, body):
        if not twice:
            twice.append(await served.vault.honestly(operation, body))
        return await served.vault.honestly(operation, body)

    served.vault.carry = carry
    assert (await client.ask(QUESTION, Described)).quorum == 1


async def test_a_session_is_replaced_before_its_keys_turn(served, client):
    first = await client.appraisal()
    served.world.vault.platform.ahead = 3600
    await client.ask(QUESTION, Described)
    second = await client.appraisal()
    assert second.genuine.claims.kem_key != first.genuine.claims.kem_key
    assert served.vault.count(Operation.FRAME) == 2 * OPENING + 1


async def test_one_impatient_caller_does_not_tear_the_handshake_from_the_others(served, client):
    async def carry(operation, body):
        await asyncio.sleep(0.05)
        return await served.vault.honestly(operation, body)

    served.vault.carry = carry
    impatient = asyncio.create_task(client.ask(QUESTION, Described))
    patient = asyncio.create_task(client.ask(QUESTION, Described))
    await asyncio.sleep(0.01)
    impatient.cancel()
    assert (await patient).quorum == 1
    assert served.vault.count(Operation.SESSION) == 1


async def test_after_a_failed_handshake_the_next_request_tries_again(served, client):
    bend(served.vault, Operation.EVIDENCE, flipped)
    with pytest.raises(Untrusted):
        await client.ask(QUESTION, Described)
    served.vault.carry = served.vault.honestly
    assert (await client.ask(QUESTION, Described)).quorum == 1


# --- servers that are none ------------------------------------------------------------------------------------


def answering(head, body=b"", *, endless=False):
    """A server that gives every request this answer."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
        while endless:
            writer.write(bytes(65536))
            await writer.drain()
        await writer.drain()

    return listening(serve)


def sdk(url, served):
    return AsyncVault(url, served.trust, now=served.now)


async def test_a_redirect_is_not_followed(served):
    location = f"location: {served.vault.url}/v1/evidence".encode()
    async with answering(b"HTTP/1.1 302 Found\ncontent-length: 0\n" + location) as url, sdk(url, served) as vault:
        with pytest.raises(Unreachable, match="redirects elsewhere"):
            await vault.verify()
    assert served.vault.calls == []


async def test_an_endless_answer_is_cut_off(served):
    async with answering(b"HTTP/1.1 200 OK", endless=True) as url, sdk(url, served) as vault:
        with pytest.raises(Untrusted, match="more than"):
            await vault.verify()


async def test_an_endless_frame_is_cut_off(served, client):
    await client.appraisal()
    bend(served.vault, Operation.FRAME, lambda answer: bytes(MAX_FRAME + 1))
    with pytest.raises(Untrusted, match="more than"):
        await client.ask(QUESTION, Described)


async def test_an_answer_is_never_decompressed(served):
    bomb = gzip.compress(bytes(100_000_000))
    head = b"HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: %d" % len(bomb)
    async with answering(head, bomb) as url, sdk(url, served) as vault:
        assert await vault.evidence() == bomb


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\ncontent-length: 20", b"short"),
        (b"SSH-2.0-OpenSSH_9.9", b""),
        (b"HTTP/1.1 404 Not Found\ncontent-length: 4", b"oops"),
        (b"HTTP/1.1 502 Bad Gateway\ncontent-length: 2", b"\x00\xc9"),  # two bytes, but not by a Strongroom server
        (b"HTTP/1.1 500 X\nstrongroom-error: 201\ncontent-length: 2", b"\x00\xca"),
    ],
)
async def test_what_is_no_strongroom_server_is_said_to_be_none(served, head, body):
    async with answering(head, body) as url, sdk(url, served) as vault:
        with pytest.raises(Unreachable) as caught:
            await vault.verify()
    assert url in caught.value.error
    assert caught.value.hint


async def test_a_server_that_is_down_is_named(served):
    async with listening(lambda reader, writer: asyncio.sleep(0)) as url:
        pass
    async with sdk(url, served) as vault:
        with pytest.raises(Unreachable, match="can't be reached"):
            await vault.verify()


async def test_a_server_that_drips_is_given_up(served, monkeypatch):
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.3)

    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with listening(drip) as url, sdk(url, served) as vault:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            await vault.verify()
    assert time.monotonic() - began < 2


async def test_a_closed_vault_says_so(served):
    async with served.sdk() as vault:
        await vault.describe(TEAM)
    with pytest.raises(BadInput, match="closed"):
        await vault.describe(TEAM)


async def test_evidence_reads_as_it_was_shown(served):
    async with served.sdk() as vault:
        evidence = await vault.evidence()
    assert parse_evidence(evidence)[1].role == "vault"
    assert evidence == await served.world.vault.evidence()
    assert encode(parse_evidence(evidence)[0]) == evidence
