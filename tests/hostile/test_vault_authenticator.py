"""What a courier, an Authenticator and a thief of tickets can do to decisions: nothing."""

import asyncio
import os

import pytest

from strongroom.protocol.authenticator_messages import Decide, DecideItem, Decisions
from strongroom.protocol.errors import Number
from strongroom.protocol.leaves import parse_leaf
from strongroom.protocol.vault_messages import Item, ItemError
from tests.support.evidence import changed
from tests.support.vault import SECRET, collect_error, fresh, number_of, released, stored
from tests.support.world import AUTHENTICATOR_URL, Person, RawClient, World, permit


async def test_a_genuine_authenticator_of_another_cluster_does_not_decide(world, tmp_path):
    """The operator founds a cluster of the same genuine code, and sends the Vault's questions there."""
    other = await World(tmp_path / "machine").start()
    # The same machine, so the same root and measurement; only the cluster is another.
    twin = await World(tmp_path).start()
    address, _ = await stored(world)
    for impostor in (other, twin):

        async def elsewhere(operation, body, impostor=impostor):
            return await impostor.authenticator.enclave.handle(operation, body)

        await world.vault.start()
        world.vault.host.routes[AUTHENTICATOR_URL] = elsewhere
        bob = await world.client("bob")
        assert await collect_error(bob, address) is Number.AUTHENTICATOR_UNTRUSTED


async def test_answers_of_the_authenticator_can_not_be_swapped_replayed_or_forged(world):
    addresses = [(await stored(world))[0] for _ in range(2)]
    host, kept = world.vault.host, []

    async def replay(url, body):
        answer = await host.post_honestly(url, body)
        if url.endswith("frame"):
            kept.append(answer)
            return kept[0]
        return answer

    bob = await world.client("bob")
    assert len(await bob.collect(addresses[0])) == 1
    host.carry = replay
    assert isinstance((await bob.collect(addresses[0]))[0], Item)
    for address in addresses:
        assert await collect_error(bob, address) in (Number.REPLAYED, Number.INTEGRITY, Number.AUTHENTICATOR_UNTRUSTED)


async def test_an_ok_for_one_record_does_not_count_for_another(world):
    """Both questions are under way at once; the host answers each with the other's genuine answer."""
    address_ok, _ = await stored(world)
    address_denied, _ = await stored(world, permit("collect", "update", "delete", email="alice@example.com"))
    host = world.vault.host
    bob = await world.client("bob")
    await bob.collect(address_ok)
    pending: list[tuple[asyncio.Future, bytes]] = []

    async def swap(url, body):
        answer = await host.post_honestly(url, body)
        if not url.endswith("frame"):
            return answer
        mine = asyncio.get_running_loop().create_future()
        pending.append((mine, answer))
        if len(pending) == 2:
            (one, answer_one), (two, answer_two) = pending
            one.set_result(answer_two)
            two.set_result(answer_one)
        return await mine

    host.carry = swap
    results = await asyncio.gather(bob.collect(address_denied), bob.collect(address_ok))
    assert all(isinstance(result, ItemError) for (result,) in results)


@pytest.mark.parametrize("said", [Number.CONFLICT, Number.UNKNOWN_SESSION, Number.STORE_FULL, 999])
async def test_an_authenticator_can_not_put_other_errors_into_the_vaults_mouth(world, said):
    address, _ = await stored(world)
    judge = world.authenticator.enclave._door._service._judge
    honest = judge.decide

    async def lie(vault_cluster, request):
        decisions = (await honest(vault_cluster, request)).decisions
        return Decisions(decisions=[changed(decision, number=int(said)) for decision in decisions])

    bob = await world.client("bob")
    judge.decide = lie
    assert await collect_error(bob, address) is Number.REFUSED


async def test_only_an_appraised_vault_gets_decisions(world):
    bob = await world.client("bob")
    stranger = await RawClient(world.authenticator).open()
    item = DecideItem(request=b"", schema_version=1, rules="", methods=[], facts=b"", ticket=bob.tickets[0])
    assert await number_of(stranger.ask(Decide(items=[item]))) is Number.PEER_REFUSED


async def test_evidence_of_the_vault_relayed_into_a_strangers_session_is_refused(world):
    """The host starts a session of its own and presents what the Vault made for another handshake (RULES 4)."""
    captured = []
    await world.vault.start()  # so that a new handshake is needed
    real = world.vault.enclave._door._identity.peer_evidence

    async def capture(*arguments, **named):
        captured.append(await real(*arguments, **named))
        return captured[-1]

    world.vault.enclave._door._identity.peer_evidence = capture
    await stored(world)
    assert captured
    for evidence in (captured[0], await world.vault.evidence(), await world.authenticator.evidence()):
        thief = RawClient(world.authenticator)
        await thief.handshake()  # a proof that fails ends its session
        assert await number_of(thief.ask(thief.proof(evidence))) is Number.EVIDENCE


async def test_a_stolen_ticket_is_worthless_in_a_session_of_another_key(world):
    address, _ = await stored(world)
    bob, thief = await world.client("bob"), await world.client()
    thief.tickets = bob.tickets
    assert await collect_error(thief, address) is Number.REFUSED
    again = Person(world.vault, bob.binding)
    await again.open()
    again.tickets = bob.tickets
    assert await again.collect(address) == [released(1, SECRET)], "the same key may open another session"


async def test_a_ticket_for_another_vault_is_refused(world):
    address, _ = await stored(world)
    bob = await world.client()
    bob.tickets = [world.ticket("bob", bob.binding, vault_cluster=os.urandom(32))]
    assert await collect_error(bob, address) is Number.REFUSED


async def test_an_expired_ticket_is_refused(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 601
    assert await collect_error(bob, address) is Number.TICKET_EXPIRED


async def test_a_ticket_that_was_altered_or_of_another_authenticator_is_refused(world, tmp_path):

    address, _ = await stored(world)
    bob = await world.client("bob")
    (genuine,) = bob.tickets
    for at in (0, 31, 32, -1):
        bent = bytearray(genuine.sealed)
        bent[at] ^= 1
        bob.tickets = [changed(genuine, sealed=bytes(bent))]
        assert await collect_error(bob, address) is Number.REFUSED
    other = await World(tmp_path / "other").start()
    bob.tickets = [other.ticket("bob", bob.binding, vault_cluster=world.vault_cluster)]
    assert await collect_error(bob, address) is Number.TICKET_MISSING
    bob.tickets = [changed(bob.tickets[0], authenticator=world.authenticator_cluster)]
    assert await collect_error(bob, address) is Number.REFUSED


@pytest.mark.parametrize("name", ["ü" * 200, "", "x" * 256, "line\nbreak"])
async def test_an_authenticator_that_calls_somebody_what_nobody_is_called_decides_nothing(world, name):
    """A leaf of the log that nobody can read would fail every audit, for good."""
    address = fresh()
    await (await world.client("alice")).store(
        address, SECRET, world.instructions(permit("collect", "update", "delete"))
    )
    stranger, size = await world.client(), len(world.vault.host.log)
    stranger.tickets = [world.ticket(name, stranger.binding)]
    assert await collect_error(stranger, address) in (Number.AUTHENTICATOR_UNTRUSTED, Number.REFUSED)
    assert all(parse_leaf(leaf) for leaf in world.vault.host.log[size:])
