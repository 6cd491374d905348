"""What a host can do with the database: nothing but deny service."""

import asyncio
import os

import pytest

from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault.decisions import _Line
from strongroom.enclave.vault.writer import MAX_GROUP_BYTES
from strongroom.protocol.authenticator_messages import DecideItem, Decision, Decisions
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Unavailable
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.link import Operation, Row
from strongroom.protocol.link import encode as encode_link
from strongroom.protocol.messages import (
    ByName,
    OfNamespace,
    Ticket,
)
from tests.support import starting
from tests.support.evidence import changed
from tests.support.vault import SECRET, collect_error, fresh, number_of, released, stored
from tests.support.world import World, for_bob, permit


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
    expected = Number.INTEGRITY if row.version == 1 else Number.ROLLED_BACK
    assert await collect_error(await world.client("bob"), address) is expected


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
    start = enclave.handle(Operation.START, encode_link(starting.start(owner_key=world.owner.public)))
    assert await number_of(start) is Number.CONFLICT
    assert world.vault.host.rows[RING_KEY] == before


async def test_a_restart_opens_the_same_ring_and_records(world):
    address, _ = await stored(world)
    cluster = world.vault_cluster
    await world.vault.start()
    await world.authenticator.start()
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]
    assert world.vault_cluster == cluster


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
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


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
    assert await bob.collect(address) == [released(2, b"new")]


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
    key = next(k for k, row in world.vault.host.rows.items() if k == world.handle(address))
    assert await number_of(bob.delete(address, 1)) is Number.REFUSED
    request_id = os.urandom(16)
    assert (await alice.delete(address, 1, request_id=request_id)).version == 2
    assert (await alice.delete(address, 1, request_id=request_id)).version == 2
    assert len(world.vault.host.rows[key].sealed) <= 37 + 16 + 2 * (len(instructions) + 512)
    assert await collect_error(bob, address) is Number.REFUSED
    assert await number_of(mallory.store(address, b"trap", instructions, replaces=2)) is Number.REFUSED
    assert await number_of(alice.store(address, b"new", instructions, replaces=0)) is Number.CONFLICT
    assert (await alice.store(address, b"new", instructions, replaces=2)).versions == [3]
    assert await bob.collect(address) == [released(3, b"new")]


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
    assert await bob.collect(known) == [released(1, SECRET)]


async def test_the_log_names_who_was_permitted_not_who_was_shown_along(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    bob.tickets = [world.ticket("victim", bob.binding), *bob.tickets]
    before = len(world.vault.host.log)
    await bob.collect(address)
    (entry,) = world.entries(before)
    assert entry.identity.endswith(":bob")


async def test_a_failed_commit_leaves_no_gap_in_the_numbers_of_a_records_entries(world):
    """So a gap is an omission, whoever says that a commit failed."""
    address, _ = await stored(world)
    bob = await world.client("bob")
    await bob.collect(address)
    world.vault.host.fail_commit = Unavailable(Number.STORE_UNAVAILABLE)
    await number_of(bob.collect(address))
    world.vault.host.fail_commit = None
    await bob.collect(address)
    about = [entry.number for entry in world.entries() if entry.handle == world.handle(address)]
    assert about == [1, 2, 3]


async def test_refusals_at_once_are_all_counted_and_logged(world):
    address, _ = await stored(world)
    mallory = await world.client("mallory")
    before, commits = len(world.vault.host.log), world.vault.host.commits
    results = await asyncio.gather(*(mallory.collect(address) for _ in range(30)))
    assert {result.number for (result,) in results} == {int(Number.REFUSED)}
    assert world.vault.host.commits - commits < 30
    assert len(world.entries(before)) == 30


class Gated:
    """A peer that answers when it is let."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.frames = []

    async def ask(self, request):
        self.frames.append(request.items)
        await self.gate.wait()
        return Decisions(decisions=[Decision(bytes(32), 0, None, []) for _ in request.items])


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

    async def weigh(puts, size, leaves):
        sizes.append(sum(len(put.sealed) for put in puts) + sum(map(len, leaves)))
        return await honest(puts, size, leaves)

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
    assert await bob.collect(address) == [released(1, SECRET)]


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
    assert [entry.outcome for entry in world.entries(before)] == [0, Number.REFUSED]
    commits = world.vault.host.commits
    await (await world.client()).collect(address)
    assert world.vault.host.commits == commits, "without a ticket nothing is written"
