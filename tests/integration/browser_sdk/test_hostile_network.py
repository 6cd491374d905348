"""A network between pages and enclaves that lies, and Authenticators that nobody asked for."""

import asyncio
from typing import Any

import pytest

from strongroom import Untrusted
from strongroom.attestation.policy import TrustPolicy
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError
from strongroom.protocol.evidence import Evidence
from strongroom.protocol.limits import MAX_FRAME
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import Terms
from tests.support import policies
from tests.support.in_front import SECRET, InFront, number_of, page, stored, terms
from tests.support.served import Cut
from tests.support.world import World


class Liar:
    """Carries frames of a page, bends what `bend` says of the answers, and keeps all."""

    def __init__(self, line, operation, bend, after=0):
        self.line, self.operation, self.bend, self.after = line, operation, bend, after
        self.seen = []
        line.carry = self.carry

    async def carry(self, operation, body):
        answer = await self.line.honestly(operation, body)
        if operation is not self.operation:
            return answer
        self.seen.append(answer)
        return self.bend(answer, self.seen) if len(self.seen) > self.after else answer


def flipped(answer, at=-1):
    bent = bytearray(answer)
    bent[at] ^= 1
    return bytes(bent)


FRAMES = {
    "altered": lambda answer, seen: flipped(answer),
    "altered-counter": lambda answer, seen: flipped(answer, 23),
    "of-another-session": lambda answer, seen: flipped(answer, 3),
    "replayed": lambda answer, seen: seen[0],
    "cut-short": lambda answer, seen: answer[:-1],
    "empty": lambda answer, seen: b"",
    "endless": lambda answer, seen: bytes(MAX_FRAME + 1),
}


@pytest.mark.parametrize("what", FRAMES)
async def test_an_answer_that_was_tampered_with_is_refused(alone, what):
    receipt = await stored(alone, "bob")
    async with page(alone, "bob") as bob:
        await bob.call("collect", receipt.address.id.hex())
        Liar(alone.vault, Operation.FRAME, FRAMES[what], after=0 if what != "replayed" else 1)
        if what == "replayed":
            await bob.call("describe", receipt.address.id.hex())
        with pytest.raises(Untrusted) as caught:
            await bob.call("describe", receipt.address.id.hex())
    assert caught.value.number is Number.INTEGRITY


async def test_two_answers_that_were_swapped_are_refused(alone):
    first, second = await stored(alone, "bob"), await stored(alone, "bob")
    held: asyncio.Queue[Any] = asyncio.Queue()

    async def carry(operation, body):
        """Each of two frames gets the other one's answer."""
        answer = await alone.vault.honestly(operation, body)
        if operation is not Operation.FRAME:
            return answer
        mine = asyncio.get_running_loop().create_future()
        held.put_nowait((answer, mine))
        if held.qsize() == 2:
            (one, first_waits), (two, second_waits) = held.get_nowait(), held.get_nowait()
            first_waits.set_result(two)
            second_waits.set_result(one)
        return await mine

    async with page(alone, "bob") as bob:
        await bob.call("collect", first.address.id.hex())
        alone.vault.carry = carry
        calls = [bob.call("describe", receipt.address.id.hex()) for receipt in (first, second)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Untrusted, Untrusted]
    assert {getattr(result, "number", None) for result in results} == {Number.INTEGRITY}


@pytest.mark.parametrize("number", [Number.REFUSED, Number.CONFLICT, Number.TICKET_MISSING, Number.CLOSED])
async def test_no_network_can_say_no_in_the_enclaves_place(alone, number):
    receipt = await stored(alone, "bob")
    async with page(alone, "bob") as bob:
        await bob.call("collect", receipt.address.id.hex())

        async def carry(operation, body):
            raise StrongroomError(number)

        alone.vault.carry = carry
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.INTERNAL


async def test_evidence_of_another_enclave_is_refused_before_anything_is_sent(alone):
    async def carry(operation, body):
        assert operation is Operation.EVIDENCE, "something was sent to an enclave that nobody trusts"
        return await alone.authenticator.honestly(operation, body)

    alone.vault.carry = carry
    async with page(alone, "bob") as bob:
        with pytest.raises(Untrusted):
            await bob.call("collect", "00" * 16)


@pytest.mark.parametrize("field", ["claims", "genesis", "cluster_signature", "quote", "collateral"])
async def test_evidence_with_a_flipped_bit_is_refused(alone, field):
    async def carry(operation, body):
        assert operation is Operation.EVIDENCE
        evidence = decode(await alone.vault.honestly(operation, body), Evidence, limit=2**20)
        fields = {name: getattr(evidence, name) for name in evidence.__struct_fields__}
        return encode(Evidence(**fields | {field: flipped(fields[field], len(fields[field]) // 2)}))

    alone.vault.carry = carry
    async with page(alone, "bob") as bob:
        with pytest.raises(Untrusted) as caught:
            await bob.call("verify")
    assert caught.value.number is Number.EVIDENCE


async def test_a_session_key_put_in_between_does_not_open_the_hello(alone):
    """The answer to a hello that another enclave of the same program gave."""

    async def carry(operation, body):
        answer = await alone.vault.honestly(operation, body)
        return flipped(answer, 40) if operation is Operation.SESSION else answer

    alone.vault.carry = carry
    async with page(alone, "bob") as bob:
        assert await number_of(bob.call("describe", "00" * 16)) == Number.INTEGRITY


async def test_a_lost_session_is_opened_again_once_and_no_more(alone):
    receipt = await stored(alone, "bob")
    lost = [1, 3]

    async with page(alone, "bob") as bob:
        await bob.call("collect", receipt.address.id.hex())

        async def carry(operation, body):
            if operation is Operation.FRAME and lost[0]:
                lost[0] -= 1
                raise Misuse(Number.UNKNOWN_SESSION)
            return await alone.vault.honestly(operation, body)

        alone.vault.carry = carry
        assert (await bob.call("collect", receipt.address.id.hex()))["secret"] == SECRET
        lost[0] = lost.pop()
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.UNKNOWN_SESSION


async def test_a_lost_answer_is_asked_for_again_and_counts_one_opening(alone):
    receipt = await stored(alone, "bob", terms=Terms(**terms(max_opens=1)))
    cut = [True]

    async with page(alone, "bob") as bob:
        address = receipt.address.id.hex()
        await bob.call("signIn", address)

        async def carry(operation, body):
            answer = await alone.vault.honestly(operation, body)
            if operation is Operation.FRAME and cut:
                cut.pop()
                raise Cut
            return answer

        alone.vault.carry = carry
        assert (await bob.call("collect", address))["opens"] == 1
        assert await number_of(bob.call("collect", address)) == Number.OPENED_OUT


async def test_an_authenticator_that_only_the_depositor_trusts_gets_no_sign_in(alone):
    """RULES 14: a share is no way to fish for sign-ins."""
    receipt = await stored(alone, "bob")
    user = InFront(alone, "bob")
    trust = alone.trust
    stranger = TrustPolicy(
        version=1,
        name=trust.name,
        vault=trust.vault,
        authenticator=alone.world.policy("vault"),
        witnesses=[],
        cosignatures=0,
    )
    async with page(alone, user=user, trust=stranger) as bob:
        with pytest.raises(Untrusted):
            await bob.call("collect", receipt.address.id.hex())
    assert user.queries == []


async def test_a_genuine_authenticator_of_another_cluster_gets_no_sign_in_in_its_place(alone, tmp_path):
    """The client trusts both; what the Vault seals to one must not be shown to the other."""
    receipt = await stored(alone, "bob")
    other = await World(tmp_path / "other").start()
    ours, theirs = alone.world.policy(), other.policy()
    assert ours.insecure_software is not None
    assert theirs.insecure_software is not None
    program = policies.software(
        roots=[*ours.insecure_software.roots, *theirs.insecure_software.roots],
        measurements=ours.insecure_software.measurements,
    )
    both = policies.role(clusters=[*ours.clusters, *theirs.clusters], insecure_software=program)
    trust = TrustPolicy(
        version=1, name="insecure test", vault=alone.trust.vault, authenticator=both, witnesses=[], cosignatures=0
    )
    user = InFront(alone, "bob")

    async def carry(operation, body):
        return await other.authenticator.enclave.handle(operation, body)

    alone.authenticator.carry = carry
    async with page(alone, user=user, trust=trust) as bob:
        assert await number_of(bob.call("collect", receipt.address.id.hex())) == Number.AUTHENTICATOR_UNTRUSTED
    assert user.queries == []
