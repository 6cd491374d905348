"""What a host, a database and a network that lie can do to the Vault: nothing but deny service."""

import asyncio
import os

import msgspec
import pytest

from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.runtime.ring import RING_KEY
from strongroom.enclave.vault.decisions import _Line
from strongroom.enclave.vault.records import LogBatch
from strongroom.enclave.vault.writer import MAX_GROUP_BYTES
from strongroom.protocol.authenticator_messages import Decide, DecideItem, Decision, Decisions, Enclose, Validate
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.limits import ATTEMPTS
from strongroom.protocol.link import Operation, Row, Start
from strongroom.protocol.link import encode as encode_link
from strongroom.protocol.messages import (
    ById,
    ByName,
    Collect,
    CreateNamespace,
    Describe,
    Item,
    ItemError,
    OfNamespace,
    Store,
    StoreItem,
    Ticket,
)
from strongroom.protocol.primitives import Domain, SigningKey, digest
from tests.support.evidence import changed
from tests.support.world import AUTHENTICATOR_URL, METHOD, OPERATIONS, Person, RawClient, World, for_bob, permit

SECRET = b"the recipe for hacking them"


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path).start()
    await world.namespace()
    return world


def fresh():
    return ById(id=os.urandom(16))


async def stored(world, rules=None, secret=SECRET):
    """A record of alice's; its address and the row key that the host sees."""
    alice = await world.client("alice")
    before = set(world.vault.host.rows)
    address = fresh()
    await alice.store(address, secret, world.instructions(rules or for_bob()))
    sizes = {key: len(world.vault.host.rows[key].sealed) for key in set(world.vault.host.rows) - before}
    return address, max(sizes, key=lambda key: sizes[key])


async def number_of(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value.number


async def collect_error(person, address):
    (result,) = await person.collect(address)
    assert isinstance(result, ItemError), "a secret was released"
    return Number(result.number)


# --- the main job ---------------------------------------------------------------------------------------------


async def test_the_recipient_collects_and_nobody_else(world):
    address, _ = await stored(world)
    assert await (await world.client("bob")).collect(address) == [Item(1, SECRET, b"")]
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


# --- the database lies ----------------------------------------------------------------------------------------


async def test_swapped_payloads_of_two_records_are_refused(world):
    (one, row_one), (_, row_two) = await stored(world), await stored(world, secret=b"another secret")
    rows = world.vault.host.rows
    rows[row_one], rows[row_two] = rows[row_two], rows[row_one]
    assert await collect_error(await world.client("bob"), one) is Number.INTEGRITY


async def test_a_record_with_lax_instructions_can_not_lend_them_to_another(world):
    """mallory stores a record of her own whose rules let her in, and the host puts it in the place of bob's."""
    victim, row_victim = await stored(world)
    _, row_hers = await stored(world, permit("collect", "update", "delete"))
    world.vault.host.rows[row_victim] = world.vault.host.rows[row_hers]
    assert await collect_error(await world.client("mallory"), victim) is Number.INTEGRITY


async def test_an_older_version_of_a_row_under_the_newer_number_is_refused(world):
    address, key = await stored(world)
    old = world.vault.host.rows[key]
    alice = await world.client("alice")
    await alice.update(address, 1, instructions=world.instructions(for_bob() + permit("collect", email="eve@x.org")))
    world.vault.host.rows[key] = Row(2, old.sealed)
    assert await collect_error(await world.client("bob"), address) is Number.INTEGRITY


@pytest.mark.parametrize("position", [0, 1, 4, 5, 36, 37, 100, -1])
async def test_a_flipped_bit_in_a_row_is_refused(world, position):
    address, key = await stored(world)
    row = world.vault.host.rows[key]
    bent = bytearray(row.sealed)
    bent[position] ^= 1
    world.vault.host.rows[key] = Row(row.version, bytes(bent))
    assert await collect_error(await world.client("bob"), address) is Number.INTEGRITY


@pytest.mark.parametrize("row", [Row(1, b""), Row(1, bytes(36)), Row(2**63, bytes(300)), Row(0, bytes(300))])
async def test_a_row_of_nonsense_is_refused(world, row):
    address, key = await stored(world)
    world.vault.host.rows[key] = row
    assert await collect_error(await world.client("bob"), address) is Number.INTEGRITY


async def test_rows_of_another_cluster_do_not_open(world, tmp_path):
    other = await World(tmp_path / "other").start()
    await other.namespace()
    address, key = await stored(world)
    _, foreign_key = await stored(other)
    world.vault.host.rows[key] = other.vault.host.rows[foreign_key]
    assert await collect_error(await world.client("bob"), address) is Number.INTEGRITY


async def test_a_ring_of_another_machine_or_altered_does_not_open(world, tmp_path):
    other = await World(tmp_path / "other").start()
    for sealed in (
        other.vault.host.rows[RING_KEY].sealed,
        world.authenticator.host.rows[RING_KEY].sealed,
        world.vault.host.rows[RING_KEY].sealed[:-1] + b"\x00",
        b"",
    ):
        row = world.vault.host.rows[RING_KEY]
        world.vault.host.rows[RING_KEY] = Row(1, sealed)
        assert await number_of(world.vault.start()) is Number.INTEGRITY
        world.vault.host.rows[RING_KEY] = row


async def test_a_changed_program_opens_the_ring_by_the_development_custodian_only(world, monkeypatch):
    before = world.vault.host.rows[RING_KEY]
    monkeypatch.setattr(world.vault.platform, "_measurement", b"changed".ljust(32))
    await world.vault.start()
    after = world.vault.host.rows[RING_KEY]
    assert after.version == before.version + 1, "sealed anew for the changed program"
    monkeypatch.setattr(world.vault.platform, "development_custodian", lambda: None)
    await world.vault.start()  # the new wrap fits
    monkeypatch.setattr(world.vault.platform, "_measurement", b"stolen disk, other program".ljust(32))
    assert await number_of(world.vault.start()) is Number.INTEGRITY


async def test_genesis_without_custodians_is_refused_where_there_is_hardware(world, monkeypatch):
    monkeypatch.setattr(world.vault.platform, "development_custodian", lambda: None)
    world.vault.host.rows.clear()
    assert await number_of(world.vault.start()) is Number.UNSUPPORTED
    assert world.vault.host.rows == {}


async def test_a_second_genesis_over_an_existing_ring_is_refused(world):

    before = world.vault.host.rows[RING_KEY]
    enclave = Enclave(world.vault.platform, "vault", world.vault.build, world.vault.host)
    start = enclave.handle(Operation.START, encode_link(Start(True, world.owner.public, {})))
    assert await number_of(start) is Number.CONFLICT
    assert world.vault.host.rows[RING_KEY] == before


async def test_a_restart_opens_the_same_ring_and_records(world):
    address, _ = await stored(world)
    cluster = world.vault_cluster
    await world.vault.start()
    await world.authenticator.start()
    assert await (await world.client("bob")).collect(address) == [Item(1, SECRET, b"")]
    assert world.vault_cluster == cluster


# --- writes ---------------------------------------------------------------------------------------------------


async def test_a_repeated_store_is_the_same_success_and_writes_nothing(world):
    alice, address = await world.client("alice"), fresh()
    request_id, instructions = os.urandom(16), world.instructions(for_bob())
    first = await alice.store(address, SECRET, instructions, request_id=request_id)
    rows = dict(world.vault.host.rows)
    assert await alice.store(address, SECRET, instructions, request_id=request_id) == first
    assert world.vault.host.rows == rows


@pytest.mark.parametrize("change", ["request id", "payload", "person"])
async def test_a_store_that_only_resembles_an_earlier_one_is_a_conflict(world, change):
    alice, address = await world.client("alice"), fresh()
    request_id, instructions = os.urandom(16), world.instructions(for_bob())
    await alice.store(address, SECRET, instructions, request_id=request_id)
    again = await world.client("mallory") if change == "person" else alice
    store = again.store(
        address,
        b"other" if change == "payload" else SECRET,
        instructions,
        request_id=os.urandom(16) if change == "request id" else request_id,
    )
    assert await number_of(store) is Number.CONFLICT
    assert await (await world.client("bob")).collect(address) == [Item(1, SECRET, b"")]


async def test_update_needs_the_right_and_the_version(world):
    address, _ = await stored(world)
    bob, alice = await world.client("bob"), await world.client("alice")
    assert await number_of(bob.update(address, 1, secret=b"mine")) is Number.REFUSED
    with pytest.raises(Misuse) as caught:
        await alice.update(address, 7, secret=b"new")
    assert (caught.value.number, caught.value.version) == (Number.CONFLICT, 1)
    request_id = os.urandom(16)
    assert (await alice.update(address, 1, secret=b"new", request_id=request_id)).version == 2
    assert (await alice.update(address, 1, secret=b"new", request_id=request_id)).version == 2
    assert await bob.collect(address) == [Item(2, b"new", b"")]


async def test_a_revoked_right_is_gone_at_once(world):
    address, _ = await stored(world)
    bob, alice = await world.client("bob"), await world.client("alice")
    await alice.update(
        address, 1, instructions=world.instructions(permit("update", "delete", email="alice@example.com"))
    )
    assert await collect_error(bob, address) is Number.REFUSED


async def test_a_deleted_record_is_gone_and_only_who_held_update_puts_something_in_its_place(world):
    address = ByName(namespace="team", name="report")
    alice, bob, mallory = [await world.client(person) for person in ("alice", "bob", "mallory")]
    instructions = world.instructions(for_bob())
    await alice.store(address, SECRET, instructions)
    key = next(k for k, row in world.vault.host.rows.items() if k == world_handle(world, address))
    assert await number_of(bob.delete(address, 1)) is Number.REFUSED
    request_id = os.urandom(16)
    assert (await alice.delete(address, 1, request_id=request_id)).version == 2
    assert (await alice.delete(address, 1, request_id=request_id)).version == 2
    assert len(world.vault.host.rows[key].sealed) <= 37 + 16 + 2 * (len(instructions) + 512)
    assert await collect_error(bob, address) is Number.REFUSED
    assert await number_of(mallory.store(address, b"trap", instructions, replaces=2)) is Number.REFUSED
    assert await number_of(alice.store(address, b"new", instructions, replaces=0)) is Number.CONFLICT
    assert (await alice.store(address, b"new", instructions, replaces=2)).versions == [3]
    assert await bob.collect(address) == [Item(3, b"new", b"")]


def world_handle(world, address):
    return world.vault.enclave._door._service._release._shelf.handle(address)


async def test_missing_and_refused_look_alike(world):
    known, _ = await stored(world)
    mallory = await world.client("mallory")
    assert await collect_error(mallory, known) is await collect_error(mallory, fresh()) is Number.REFUSED
    for operation in (mallory.update, mallory.delete):
        assert await number_of(operation(known, 1)) is await number_of(operation(fresh(), 1)) is Number.REFUSED
    stranger = await world.client()
    for address in (ByName(namespace="team", name="unknown"), ByName(namespace="nowhere", name="x"), fresh()):
        assert await number_of(stranger.describe(address)) is Number.REFUSED
    assert await number_of(stranger.describe(OfNamespace(namespace="nowhere"))) is Number.REFUSED


async def test_a_stranger_learns_of_no_name_by_any_ticket(world, tmp_path):
    """No ticket, an expired one, another Authenticator's, a refused one: known and unknown names answer alike."""
    alice = await world.client("alice")
    known, gone = ByName(namespace="team", name="known"), ByName(namespace="team", name="gone")
    for name in (known, gone):
        await alice.store(name, SECRET, world.instructions(for_bob()))
    await alice.delete(gone, 1)
    unknown = ByName(namespace="team", name="unknown")
    world.authenticator.platform.ahead = world.vault.platform.ahead = 700
    expired = alice.tickets[0]
    other = await World(tmp_path / "other").start()
    stranger = await world.client()
    for ticket in (None, expired, other.ticket("alice", stranger.binding, vault_cluster=world.vault_cluster)):
        stranger.tickets = [] if ticket is None else [ticket]
        for name in (known, gone, unknown):
            assert await collect_error(stranger, name) is Number.REFUSED
            assert await number_of(stranger.update(name, 1, secret=b"")) is Number.REFUSED
            assert await number_of(stranger.delete(name, 1)) is Number.REFUSED
            assert await number_of(stranger.describe(name)) is Number.REFUSED
    # Who may describe is told what to do.
    bob = await world.client("bob")
    assert await bob.collect(known) == [Item(1, SECRET, b"")]


async def test_the_log_names_who_was_permitted_not_who_was_shown_along(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    bob.tickets = [world.ticket("victim", bob.binding), *bob.tickets]
    await bob.collect(address)
    (entry,) = last_batch(world).entries
    assert entry.identity.endswith(":bob")


def last_batch(world):
    sealed = world.vault.host.log[-1]
    sealer = world.vault.enclave._door._service._release._shelf._sealer
    run, sequence = sealed[:16], int.from_bytes(sealed[16:24], "big")
    payload = sealer.open(digest(Domain.LOG_RUN, run), Row(sequence, sealed[24:]))
    return decode(payload, LogBatch, limit=2**20)


async def test_a_gap_in_the_log_that_a_failed_commit_left_is_named_by_the_next_batch(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    await bob.collect(address)
    before = last_batch(world)
    world.vault.host.fail_commit = Unavailable(Number.STORE_UNAVAILABLE)
    await number_of(bob.collect(address))
    world.vault.host.fail_commit = None
    await bob.collect(address)
    after = last_batch(world)
    assert after.sequence == before.sequence + 2
    assert len(after.abandoned) == 1
    assert after.previous == digest(Domain.LOG_ENTRY, encode(before))


async def test_refusals_at_once_are_all_counted_and_logged(world):
    address, _ = await stored(world)
    mallory = await world.client("mallory")
    before = sum(1 for _ in world.vault.host.log)
    results = await asyncio.gather(*(mallory.collect(address) for _ in range(30)))
    assert {result.number for (result,) in results} == {int(Number.REFUSED)}
    batches = len(world.vault.host.log) - before
    assert batches < 30
    entries = []
    for at in range(batches):
        sealed = world.vault.host.log[before + at]
        world.vault.host.log.append(sealed)
        entries += last_batch(world).entries
        world.vault.host.log.pop()
    assert len(entries) == 30


class Gated:
    """A peer that answers when it is let."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.frames = []

    async def ask(self, request):
        self.frames.append(request.items)
        await self.gate.wait()
        return Decisions(decisions=[Decision(bytes(32), 0, None) for _ in request.items])


QUESTION = DecideItem(request=b"", schema_version=1, rules="", methods=[], facts=b"", ticket=Ticket(bytes(32), b""))


async def test_a_question_asked_as_the_round_trips_end_is_not_forgotten():
    """Both trips end in one turn of the loop, and the next question comes before their call-backs."""
    peer = Gated()
    line = _Line(peer)  # type: ignore[arg-type]

    async def twice():
        await line.ask(b"bob", QUESTION)
        return await line.ask(b"bob", QUESTION)

    first, second = asyncio.create_task(twice()), asyncio.create_task(line.ask(b"eve", QUESTION))
    await asyncio.sleep(0.01)
    peer.gate.set()
    await asyncio.wait_for(asyncio.gather(first, second), 2)


async def test_instructions_of_a_stranger_make_the_vault_call_nobody(world):
    called = []
    honest = world.vault.host.post_honestly

    async def listen(url, body):
        called.append(url)
        return await honest(url, body)

    world.vault.host.carry = listen
    references = [AuthenticatorRef(url=f"http://tarpit{n}.test", policy=encode(world.policy())) for n in range(8)]
    stranger = await world.client()
    trap = world.instructions(for_bob(), authenticators=references)
    assert await number_of(stranger.store(fresh(), b"", trap)) is Number.TICKET_MISSING
    assert await number_of(stranger.store(fresh(), b"", trap, namespace="nowhere")) is Number.REFUSED
    address, _ = await stored(world)
    called.clear()
    assert await number_of(stranger.update(address, 1, instructions=trap)) is Number.TICKET_MISSING
    assert [url for url in called if "tarpit" in url] == []


async def test_garbage_tickets_cost_no_question(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    honest, frames = world.vault.host.post_honestly, []

    async def listen(url, body):
        frames.append(url)
        return await honest(url, body)

    world.vault.host.carry = listen
    bob.tickets = [changed(bob.tickets[0], authenticator=os.urandom(32)) for _ in range(8)]
    assert await collect_error(bob, address) is Number.TICKET_MISSING
    assert frames == []


async def test_one_clients_hundred_questions_do_not_hold_up_anothers_one():
    """Taken in turn by client, not in order of arrival."""
    peer = Gated()
    line = _Line(peer)  # type: ignore[arg-type]
    flood = [asyncio.create_task(line.ask(b"mallory", QUESTION)) for _ in range(2000)]
    await asyncio.sleep(0.01)
    his = changed(QUESTION, facts=b"bob's")
    bob = asyncio.create_task(line.ask(b"bob", his))
    await asyncio.sleep(0.01)
    peer.gate.set()
    await asyncio.gather(bob, *flood)
    assert len(peer.frames) > 6
    assert his in [item for frame in peer.frames[:3] for item in frame]


async def test_a_group_of_large_changes_is_cut_to_what_the_link_carries(world):
    sizes = []
    honest = world.vault.host.commit

    async def weigh(puts, log):
        sizes.append(sum(len(put.sealed) for put in puts) + sum(map(len, log)))
        return await honest(puts, log)

    world.vault.host.commit = weigh
    await world.namespace("big", max_bytes=10**9, max_bytes_per_identity=10**9)
    await world.vault.start()
    alice = await world.client("alice")
    instructions = world.instructions(for_bob() + "// " + "x" * 30_000)
    await asyncio.gather(*(alice.store(fresh(), bytes(64 * 1024), instructions, namespace="big") for _ in range(160)))
    assert max(sizes) <= MAX_GROUP_BYTES + 512 * 1024
    assert sum(sizes) > MAX_GROUP_BYTES


async def test_a_damaged_row_takes_no_other_along(world):
    (good, _), (bad, key) = await stored(world), await stored(world)
    world.vault.host.rows[key] = Row(1, bytes(300))
    bob = await world.client("bob")
    results = await bob.collect(good, bad)
    assert [getattr(result, "number", 0) for result in results] == [0, Number.INTEGRITY]


async def test_many_writers_of_one_record_never_lose_an_update(world):
    address, _ = await stored(world)
    alice = await world.client("alice")

    async def append(n):
        version = 1
        while True:
            try:
                return (await alice.update(address, version, secret=bytes([n]))).version
            except Misuse as conflict:
                version = conflict.version
            except Unavailable:
                await asyncio.sleep(0.01)

    versions = await asyncio.gather(*(append(n) for n in range(12)))
    assert sorted(versions) == list(range(2, 14))


async def test_a_secret_is_not_released_when_its_log_entry_can_not_be_written(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    world.vault.host.fail_commit = Unavailable(Number.STORE_FULL)
    assert await number_of(bob.collect(address)) is Number.STORE_FULL
    world.vault.host.fail_commit = None
    assert await bob.collect(address) == [Item(1, SECRET, b"")]


async def test_nothing_is_acknowledged_that_the_database_did_not_take(world):
    alice, address = await world.client("alice"), fresh()
    rows = dict(world.vault.host.rows)
    world.vault.host.fail_commit = Unavailable(Number.STORE_UNAVAILABLE)
    assert await number_of(alice.store(address, SECRET, world.instructions(for_bob()))) is Number.STORE_UNAVAILABLE
    assert world.vault.host.rows == rows
    world.vault.host.fail_commit = None
    await alice.store(address, SECRET, world.instructions(for_bob()))


async def test_every_decision_is_logged_also_refusals(world):
    address, _ = await stored(world)
    before = len(world.vault.host.log)
    await (await world.client("bob")).collect(address)
    await (await world.client("mallory")).collect(address)
    assert len(world.vault.host.log) == before + 2
    await (await world.client()).collect(address)
    assert len(world.vault.host.log) == before + 2, "without a ticket nothing is written"


# --- quotas, namespaces, attempts -----------------------------------------------------------------------------


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
    for _ in range(ATTEMPTS):
        assert await collect_error(mallory, address) is Number.REFUSED
    assert await number_of(mallory.update(address, 1, secret=b"x")) is Number.THROTTLED
    await world.vault.start()
    mallory = await world.client("mallory")
    assert await number_of(mallory.update(address, 1, secret=b"x")) is Number.THROTTLED
    bob = await world.client("bob")
    assert await bob.collect(address) == [Item(1, SECRET, b"")], "others are not hindered"
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 1000
    alice = await world.client("alice")
    alice.tickets = [world.ticket("mallory", alice.binding)]
    assert (await alice.update(address, 1, secret=b"x")).version == 2, "and it passes with time"


# --- instructions ---------------------------------------------------------------------------------------------


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
        StoreItem(address=fresh(), replaces=0, secret=b"", metadata=b"", instructions=instructions)
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
        changed(world.policy(), measurements=[bytes(32)]),
        changed(world.policy(), insecure_roots=[]),
        changed(world.policy(), platforms=["sgx"]),
    ):
        reference = AuthenticatorRef(url=AUTHENTICATOR_URL, policy=encode(policy))
        alice = await world.client("alice")
        got = await number_of(alice.store(fresh(), SECRET, world.instructions(for_bob(), authenticators=[reference])))
        assert got is Number.AUTHENTICATOR_UNTRUSTED


# --- the courier to the Authenticator lies --------------------------------------------------------------------


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

    def capture(*arguments):
        captured.append(real(*arguments))
        return captured[-1]

    world.vault.enclave._door._identity.peer_evidence = capture
    await stored(world)
    assert captured
    thief = RawClient(world.authenticator)
    await thief.handshake()
    for evidence in (captured[0], await world.vault.evidence(), await world.authenticator.evidence()):
        assert await number_of(thief.ask(thief.proof(evidence))) is Number.EVIDENCE


# --- tickets --------------------------------------------------------------------------------------------------


async def test_a_stolen_ticket_is_worthless_in_a_session_of_another_key(world):
    address, _ = await stored(world)
    bob, thief = await world.client("bob"), await world.client()
    thief.tickets = bob.tickets
    assert await collect_error(thief, address) is Number.REFUSED
    again = Person(world.vault, bob.binding)
    await again.open()
    again.tickets = bob.tickets
    assert await again.collect(address) == [Item(1, SECRET, b"")], "the same key may open another session"


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


# --- sessions -------------------------------------------------------------------------------------------------


async def test_nothing_is_served_before_the_binding_key_has_signed(world):
    client = RawClient(world.vault)
    await client.handshake()
    request = Collect(request_id=bytes(16), tickets=[], addresses=[fresh()])
    assert await number_of(client.ask(request)) is Number.NOT_PROVED
    wrong = RawClient(world.vault)
    await wrong.handshake()
    wrong.binding = SigningKey.generate()
    assert await number_of(wrong.ask(wrong.proof())) is Number.INTEGRITY
    assert await number_of(wrong.ask(request)) is Number.NOT_PROVED
    await client.ask(client.proof())
    assert isinstance((await client.ask(request)).results[0], ItemError)
    assert await number_of(client.ask(client.proof())) is Number.MALFORMED


async def test_a_proof_of_another_session_is_refused(world):
    one = RawClient(world.vault)
    await one.handshake()
    two = RawClient(world.vault, one.binding)
    await two.handshake()
    assert await number_of(two.ask(one.proof())) is Number.INTEGRITY


async def test_a_replayed_hello_opens_nothing(world):
    client = await RawClient(world.vault).open()
    answer = await client.send(Operation.SESSION, client.handshaken.hello)
    replayed = client.handshaken.finish(answer)
    assert replayed.session_id != client.channel.session_id
    client.channel = replayed
    request = Collect(request_id=bytes(16), tickets=[], addresses=[fresh()])
    assert await number_of(client.ask(request)) is Number.NOT_PROVED


async def test_a_replayed_frame_does_nothing_twice(world):
    alice, address = await world.client("alice"), fresh()
    frames = []
    send = alice.send

    async def record(operation, body):
        frames.append(body)
        return await send(operation, body)

    alice.send = record
    await alice.store(address, SECRET, world.instructions(for_bob()))
    commits = world.vault.host.commits
    for frame in frames:
        assert await number_of(send(Operation.FRAME, frame)) is Number.REPLAYED
    assert world.vault.host.commits == commits


async def test_frames_reordered_within_the_window_are_all_served_and_dropped_ones_cost_nothing(world):

    client = await world.client()
    request = encode(Describe(address=OfNamespace(namespace="team"), tickets=[]))
    frames = [client.channel.seal(request)[1] for _ in range(5)]
    for frame in (frames[4], frames[1], frames[3]):
        client.channel.open(await client.send(Operation.FRAME, frame))


async def test_a_session_ends_with_its_evidence_and_an_old_key_is_stale(world):
    client = await world.client("bob")
    hello = client.handshaken.hello
    world.vault.platform.ahead = 3601
    assert await number_of(client.collect(fresh())) is Number.UNKNOWN_SESSION
    world.vault.platform.ahead = 2 * 3600
    assert await number_of(client.send(Operation.SESSION, hello)) is Number.STALE_KEY


async def test_a_clock_set_back_behind_a_proven_date_stops_the_vault(world):
    world.vault.platform.ahead = -7 * 86400
    assert await number_of(world.client()) is Number.CLOCK


async def test_every_kind_of_garbage_at_the_door_is_a_declared_error(world):
    client = await world.client("bob")
    for operation in OPERATIONS.values():
        if operation is Operation.EVIDENCE:
            continue
        for body in (b"", b"\x00", os.urandom(15), os.urandom(1200), client.channel.session_id + os.urandom(100)):
            assert await number_of(client.send(operation, body)) in (
                Number.MALFORMED,
                Number.STALE_KEY,
                Number.UNKNOWN_SESSION,
                Number.INTEGRITY,
            )
    for message in (b"", b"\x80", os.urandom(64), b"\x81\xa4type\xa5prove", b"\x91" * 5000):
        assert await number_of(client.ask_bytes(message)) is Number.MALFORMED
    assert await number_of(client.ask_bytes(bytes(1024 * 1024 + 1))) is Number.TOO_LARGE


async def test_only_an_appraised_vault_has_rules_validated_and_methods_enclosed(world):
    """Else a stranger keeps the Authenticator busy with the heaviest rules, or has it call providers of his choice."""
    client = await RawClient(world.authenticator).open()
    for request in (Validate(instructions=world.instructions(for_bob())), Enclose(methods=[b"m"])):
        assert await number_of(client.ask(request)) is Number.PEER_REFUSED
