"""What strangers, outsiders and depositors can do to the Vault: nothing that the rules do not say."""

import asyncio
import os

import msgspec
import pytest

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.limits import FREE_ATTEMPTS
from strongroom.protocol.messages import ByName
from strongroom.protocol.vault_messages import CreateNamespace, Item, ItemError, Store, StoreItem
from tests.support.evidence import changed
from tests.support.vault import SECRET, collect_error, fresh, number_of, released, stored
from tests.support.world import AUTHENTICATOR_URL, METHOD, World, for_bob, permit


async def test_the_recipient_collects_and_nobody_else(world):
    address, _ = await stored(world)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]
    for person in ("mallory", "alice"):
        assert await collect_error(await world.client(person), address) is Number.REFUSED
    assert await collect_error(await world.client(), address) is Number.TICKET_MISSING


async def test_nothing_the_host_keeps_or_carries_can_be_read(world):
    carried = []
    honest = world.vault.host.post_honestly

    async def listen(url, body):
        answer = await honest(url, body)
        carried.extend([body or b"", answer])
        return answer

    world.vault.host.carry = listen
    name = ByName(namespace="team", name="customer acme")
    alice = await world.client("alice")
    await alice.store(name, SECRET, world.instructions(for_bob()))
    await (await world.client("bob")).collect(name)
    kept = b"".join([*(row.sealed for row in world.vault.host.rows.values()), *world.vault.host.rows])
    seen = kept + b"".join(world.vault.host.log) + b"".join(carried)
    assert len(carried) > 2
    for word in (SECRET, b"acme", b"bob", b"alice", b"permit", b"Action", METHOD[20:60], name.name.encode()):
        assert word not in seen


async def test_a_batch_larger_than_a_reply_is_released_in_parts_and_logged_as_it_is_released(world):
    big = 64 * 1024
    addresses = [(await stored(world, secret=bytes(big)))[0] for _ in range(20)]
    bob = await world.client("bob")
    results = await bob.collect(*addresses)
    rest = [a for a, result in zip(addresses, results, strict=True) if isinstance(result, ItemError)]
    assert {result.number for result in results if isinstance(result, ItemError)} == {int(Number.TOO_LARGE)}
    assert 0 < len(rest) < 10
    assert all(isinstance(result, Item) for result in await bob.collect(*rest))


async def test_quota_counts_records_and_bytes_exactly_even_at_once(world):
    await world.namespace("small", max_records=3, max_bytes=100_000)
    alice = await world.client("alice")
    instructions = world.instructions(for_bob())
    results = await asyncio.gather(
        *(alice.store(fresh(), b"x", instructions, namespace="small") for _ in range(6)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, Misuse) and r.number is Number.QUOTA_EXCEEDED]
    assert (len(refused), len(results) - len(refused)) == (3, 3)


async def test_quota_per_identity_leaves_room_for_others(world):
    await world.namespace("fair", max_records_per_identity=1)
    alice, bob = await world.client("alice"), await world.client("bob")
    instructions = world.instructions(for_bob())
    await alice.store(fresh(), b"x", instructions, namespace="fair")
    assert await number_of(alice.store(fresh(), b"x", instructions, namespace="fair")) is Number.QUOTA_EXCEEDED
    await bob.store(fresh(), b"x", instructions, namespace="fair")


async def test_tombstones_count_so_a_loop_of_store_and_delete_does_not_fill_the_database(world):
    await world.namespace("loop", max_records=3)
    alice, instructions = await world.client("alice"), world.instructions(for_bob())
    names = [ByName(namespace="loop", name=str(n)) for n in range(4)]
    for name in names[:3]:
        await alice.store(name, bytes(1000), instructions, namespace="loop")
        await alice.delete(name, 1)
    assert await number_of(alice.store(names[3], b"", instructions, namespace="loop")) is Number.QUOTA_EXCEEDED
    await alice.store(names[0], bytes(1000), instructions, namespace="loop", replaces=2)
    assert await number_of(alice.store(names[3], b"", instructions, namespace="loop")) is Number.QUOTA_EXCEEDED


async def test_quotas_follow_who_was_permitted_not_who_was_shown_along(world):
    await world.namespace("own", max_records_per_identity=1, create=permit("create", email="mallory@example.com"))
    mallory, instructions = await world.client("mallory"), world.instructions(for_bob())
    await mallory.store(fresh(), b"", instructions, namespace="own")
    own = mallory.tickets
    for puppet in ("one", "two"):
        mallory.tickets = [world.ticket(puppet, mallory.binding), *own]
        assert await number_of(mallory.store(fresh(), b"", instructions, namespace="own")) is Number.QUOTA_EXCEEDED


async def test_growing_by_update_counts_against_the_quota(world):
    await world.namespace("bytes", max_bytes=20_000)
    alice, address = await world.client("alice"), fresh()
    await alice.store(address, b"x", world.instructions(for_bob()), namespace="bytes")
    assert await number_of(alice.update(address, 1, secret=bytes(30_000))) is Number.QUOTA_EXCEEDED


async def test_only_the_owner_makes_namespaces(world):
    request = CreateNamespace(
        request_id=os.urandom(16),
        namespace="mine",
        replaces=0,
        instructions=world.instructions(permit("create"), permanent=True),
        max_records=1,
        max_bytes=1,
        max_records_per_identity=1,
        max_bytes_per_identity=1,
    )
    assert await number_of((await world.client("alice")).ask(request)) is Number.REFUSED


async def test_nobody_creates_without_a_ticket_or_outside_a_namespace(world):
    instructions = world.instructions(for_bob())
    assert await number_of((await world.client()).store(fresh(), b"", instructions)) is Number.TICKET_MISSING
    alice = await world.client("alice")
    assert await number_of(alice.store(fresh(), b"", instructions, namespace="nowhere")) is Number.REFUSED
    elsewhere = ByName(namespace="other", name="x")
    assert await number_of(alice.store(elsewhere, b"", instructions)) is Number.MALFORMED


async def test_refused_attempts_throttle_one_identity_on_one_record_and_survive_a_restart(world):
    address, _ = await stored(world, permit("collect", email="bob@example.com") + permit("update", "delete"))
    mallory = await world.client("mallory")
    for _ in range(FREE_ATTEMPTS + 8):
        assert await collect_error(mallory, address) is Number.REFUSED
    assert await number_of(mallory.update(address, 1, secret=b"x")) is Number.THROTTLED
    await world.vault.start()
    mallory = await world.client("mallory")
    assert await number_of(mallory.update(address, 1, secret=b"x")) is Number.THROTTLED
    bob = await world.client("bob")
    assert await bob.collect(address) == [released(1, SECRET)], "others are not hindered"
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 1000
    alice = await world.client("alice")
    alice.tickets = [world.ticket("mallory", alice.binding)]
    assert (await alice.update(address, 1, secret=b"x")).version == 2, "and it passes with time"


@pytest.mark.parametrize(
    ("rules", "number"),
    [
        ("permit(principal, action", Number.RULES_INVALID),
        ("", Number.RULES_INVALID),
        ("forbid(principal, action, resource);", Number.RULES_INVALID),
        (permit("collect") + "permit(principal, action, resource) when { context.nonsense };", Number.RULES_INVALID),
        (permit("collect"), Number.LOCKS_OUT),
        (permit("collect", "update"), Number.LOCKS_OUT),
    ],
)
async def test_rules_that_are_wrong_are_an_error_at_store(world, rules, number):
    alice = await world.client("alice")
    got = await number_of(alice.store(fresh(), SECRET, world.instructions(rules)))
    assert got is number or (got is Number.LOCKS_OUT and rules.startswith("forbid"))


async def test_instructions_that_let_nobody_in_need_to_say_so(world):
    alice = await world.client("alice")
    await alice.store(fresh(), SECRET, world.instructions(permit("collect"), permanent=True))


async def test_instructions_of_another_schema_version_are_unsupported_never_ok(world):
    alice = await world.client("alice")
    newer = {**msgspec.msgpack.decode(world.instructions(for_bob())), "schema_version": 2, "new_field": 1}
    got = await number_of(alice.store(fresh(), SECRET, msgspec.msgpack.encode(newer)))
    assert got is Number.UNSUPPORTED


async def test_an_error_names_the_item_and_the_place_in_its_rules(world):
    alice = await world.client("alice")
    items = [
        StoreItem(address=fresh(), replaces=0, secret=b"", metadata=b"", instructions=instructions, terms=None)
        for instructions in (
            world.instructions(for_bob()),
            world.instructions(for_bob() + "permit(principal, action, resource) when { context.nonsense };"),
        )
    ]
    with pytest.raises(Misuse) as caught:
        await alice.ask(Store(request_id=bytes(16), namespace="team", tickets=alice.tickets, items=items))
    assert (caught.value.number, caught.value.index, caught.value.place) == (Number.RULES_INVALID, 1, 2)


async def test_an_update_of_instructions_is_checked_like_a_store(world):
    address, _ = await stored(world)
    alice = await world.client("alice")
    assert await number_of(alice.update(address, 1, instructions=world.instructions("permit("))) is Number.RULES_INVALID
    assert await number_of(alice.update(address, 1, instructions=b"nonsense")) is Number.INSTRUCTIONS_INVALID


async def test_an_authenticator_that_the_policy_does_not_accept_is_refused_at_store(world, tmp_path):

    other = await World(tmp_path / "other").start()
    for policy in (
        changed(world.policy(), clusters=[other.authenticator_cluster]),
        changed(world.policy(), clusters=[]),
        changed(world.policy(), insecure_software=changed(world.policy().insecure_software, measurements=[bytes(32)])),
        changed(world.policy(), insecure_software=changed(world.policy().insecure_software, roots=[])),
        changed(world.policy(), insecure_software=None),
    ):
        reference = AuthenticatorRef(url=AUTHENTICATOR_URL, policy=encode(policy))
        alice = await world.client("alice")
        got = await number_of(alice.store(fresh(), SECRET, world.instructions(for_bob(), authenticators=[reference])))
        assert got is Number.AUTHENTICATOR_UNTRUSTED
