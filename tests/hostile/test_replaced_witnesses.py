"""Witnesses that are gone for good: custodians name others, at a recovery, and nobody else does (RULES 23, 25)."""

import asyncio
import dataclasses

import msgspec
import pytest

from strongroom.client.recovery import approval, approve, explain_gap, explain_watchers, witness_paths
from strongroom.enclave.runtime import recovering
from strongroom.enclave.runtime.sealed_ring import charter_of, parse_sealed
from strongroom.protocol import governance
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import Watchers, parse_any_evidence
from strongroom.protocol.governance import verify_charter, watchers_of
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.notes import parse_checkpoint
from strongroom.protocol.primitives import Domain, digest
from tests.support.ceremony import found
from tests.support.joining import join
from tests.support.recovering import (
    Cluster,
    hand_over,
    in_haste,
    looked,
    other_witnesses,
    reaches,
    sign_gap,
    status,
    talking,
    unreachable,
    watched,
    watched_cluster,
)
from tests.support.vault import SECRET, number_of, released, stored
from tests.support.watch import Watch


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    in_haste(monkeypatch)
    monkeypatch.setattr(recovering, "PATIENCE_SECONDS", 0.05)


@pytest.fixture
async def world(tmp_path):
    """Two of three custodians, and two of three witnesses, two of whom are gone for good."""
    async with watched_cluster(tmp_path) as world:
        yield world


@pytest.fixture
def others(world, tmp_path):
    with other_witnesses(world, tmp_path / "others") as others:
        yield others


def carried_to(machine, *watches):
    """The host of `machine` asks all of these."""
    carriers = []
    for watch in watches:
        watched(machine, watch)
        carriers.append((machine.host.witnesses, machine.host.witnessed))

    async def cosign(note):
        return b"".join([await one(note) for one, _ in carriers])

    async def heard(origin):
        return [note for _, one in carriers for note in await one(origin)]

    machine.host.witnesses, machine.host.witnessed = cosign, heard


def named(world, others):
    """One of the old is left; two of the others come."""
    return Watchers(witnesses=[world.watch.vkeys[0], *others.vkeys[:2]], cosignatures=2)


async def to_replace(world, others, database=None, watchers=None):
    """A machine that recovers with other witnesses, once its ring is open."""
    world.watch.down = {1, 2}
    machine = world.machine(database)
    watchers = watchers or named(world, others)
    machine.witnesses, machine.cosignatures = list(watchers.witnesses), watchers.cosignatures
    carried_to(machine, world.watch, others)
    await machine.begin("recover")
    machine.serve()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    return machine


async def replaced(world, others, database=None):
    """The Vault, once it serves with others."""
    machine = await to_replace(world, others, database)
    await reaches(machine, "gap")
    for index in (0, 2):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)
    return machine


async def never(starting, seconds=0.3):
    task = asyncio.create_task(starting)
    await asyncio.sleep(seconds)
    assert not task.done()
    task.cancel()


async def quiet(machine, seconds=0.3):
    """Nothing is served or written meanwhile."""
    before = dict(machine.host.rows)
    await asyncio.sleep(seconds)
    assert not machine.serving.done()
    assert machine.host.rows == before
    machine.serving.cancel()


def charter_in(machine):
    charter = charter_of(parse_sealed(machine.host.rows[RING_KEY].sealed))
    verify_charter(charter)
    return charter


async def claims_of(machine):
    return parse_any_evidence(await machine.evidence())[1]


# --- the promise ------------------------------------------------------------------------------------------------------


async def test_with_two_of_three_witnesses_gone_custodians_have_everything_serve_again(world, others):
    address, _ = await stored(world)
    world.watch.down = {1, 2}
    await never(world.vault.start())
    machine = await to_replace(world, others)
    now = await reaches(machine, "gap")
    found = await looked(machine)
    assert found.new_watchers == named(world, others)
    told = "\n".join(explain_watchers(found.watching, found.new_watchers))
    assert told.count("GONE") == told.count("NEW") == 2
    assert f"stays  {world.watch.vkeys[0]}" in told
    assert "every client has to pin anew" in told
    # One alone of three may have missed what the other two saw.
    assert now.gap.known_at == 0
    for index in (0, 2):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)
    claims = await claims_of(machine)
    assert claims.watchers == watchers_of(charter_in(machine)) == named(world, others)
    # A number that nobody can have used.
    assert abs(claims.generation - machine.platform.now()) < 60
    bob = await world.client("bob")
    assert await bob.collect(address) == [released(1, SECRET)]
    assert parse_checkpoint(bob.checkpoint).checkpoint.origin == log_origin(
        world.vault_cluster, generation=claims.generation
    )
    shown = await status(machine)
    assert (shown.witnesses, shown.cosignatures) == (3, 2)
    await machine.start()  # by itself, with the new ones


async def test_with_all_witnesses_gone_custodians_are_told_that_nobody_can_say_what_is_lost(world, others):
    address, _ = await stored(world)
    watchers = Watchers(witnesses=others.vkeys, cosignatures=2)
    world.watch.down = {0, 1, 2}
    machine = world.machine()
    machine.witnesses, machine.cosignatures = others.vkeys, 2
    watched(machine, others)
    machine.host.witnessed = unreachable
    await machine.begin("recover")
    machine.serve()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    now = await reaches(machine, "gap")
    found = await looked(machine)
    assert (found.gap.known_size, now.gap.known_at, found.new_watchers) == (0, 0, watchers)
    assert "whether there was more is not known" in explain_gap(found.gap, 0)[0]
    assert len(witness_paths(found)) < 100
    for index in (1, 2):
        await sign_gap(machine, world.opened(index))
    await world.served(machine)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_what_the_witness_who_is_left_has_seen_is_what_custodians_sign_that_they_give_up(world, others):
    address, _ = await stored(world)
    backup = world.database
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    newest = world.watch.states[0].latest(log_origin(world.vault_cluster)).size
    machine = await to_replace(world, others, backup)
    await reaches(machine, "gap")
    gap = (await looked(machine)).gap
    assert (gap.found_size, gap.known_size) == (len(backup[1]), newest)
    machine.serving.cancel()


async def test_where_the_witness_who_is_left_misses_nothing_nothing_is_given_up(world, others):
    await stored(world)
    machine = await to_replace(world, others)
    now = await reaches(machine, "gap")
    gap = (await looked(machine)).gap
    assert (gap.known_size, gap.known_root) == (gap.found_size, gap.found_root)
    assert "nothing is given up" in explain_gap(gap, now.gap.known_at)[0]
    machine.serving.cancel()


async def test_a_later_recovery_keeps_the_new_ones(world, others):
    """With a gap, and without one; none of those of the founding is asked any more."""
    address, _ = await stored(world)
    await replaced(world, others)
    watchers, backup = named(world, others), world.database
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    world.watch.down = {0, 1, 2}

    def machine_with(database):
        machine = world.machine(database)
        machine.witnesses, machine.cosignatures = list(watchers.witnesses), 2
        carried_to(machine, others)
        return machine

    for database, gaps in ((None, 1), (backup, 2)):
        machine = machine_with(database)
        await machine.begin("recover")
        machine.serve()
        await world.bring_back(machine)
        charter = charter_in(machine)
        assert len(charter.gaps) == gaps
        assert watchers_of(charter) == (await claims_of(machine)).watchers == watchers
    machine = machine_with(None)
    old = Watchers(witnesses=world.watch.vkeys, cosignatures=2)
    machine.platform = world.vault.platform
    machine.witnesses = old.witnesses
    assert await number_of(machine.start()) is Number.POLICY


async def test_a_cluster_that_was_founded_without_witnesses_can_have_some(tmp_path):
    world = Cluster(tmp_path)
    await world.start()
    await world.namespace()
    address, _ = await stored(world)
    watch = Watch(tmp_path, 3, lambda: world.vault.platform.now())
    machine = world.machine()
    machine.witnesses, machine.cosignatures = watch.vkeys, 2
    watched(machine, watch)
    await machine.begin("recover")
    machine.serve()
    await world.bring_back(machine)
    assert (await claims_of(machine)).watchers == Watchers(witnesses=watch.vkeys, cosignatures=2)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]
    watch.close()


# --- a host that names its own ----------------------------------------------------------------------------------------


async def test_a_host_that_names_its_own_witnesses_to_an_enclave_that_recovers_waits_for_custodians(world, others):
    """Nothing is lost, so without that there would be nothing to sign; and one custodian of two is not enough."""
    machine = await to_replace(world, others, watchers=Watchers(witnesses=others.vkeys, cosignatures=2))
    await reaches(machine, "gap")
    for _ in range(2):
        assert (await sign_gap(machine, world.opened(1))).missing == 1
    await quiet(machine)


async def test_a_host_that_names_its_own_witnesses_to_an_enclave_that_opens_or_joins_is_refused(world, others):
    """Before, and after custodians have named others: then those of the founding are others, too."""
    strangers = Watchers(witnesses=others.vkeys, cosignatures=2)
    founded = Watchers(witnesses=world.watch.vkeys, cosignatures=2)

    async def refused(machine, watchers):
        machine.witnesses, machine.cosignatures = list(watchers.witnesses), watchers.cosignatures
        assert await number_of(machine.start()) is Number.POLICY

    await refused(world.vault, strangers)
    await world.vault.begin("open", witnesses=founded.witnesses, cosignatures=2)
    machine = await replaced(world, others)
    wrong = (strangers, founded, Watchers(witnesses=named(world, others).witnesses, cosignatures=3))
    member = dataclasses.replace(world.founded, instance=machine)
    await join(member)
    for watchers in wrong:
        joining = join(member, witnesses=watchers.witnesses, cosignatures=watchers.cosignatures)
        assert await number_of(joining) is Number.POLICY
    for watchers in wrong:
        await refused(machine, watchers)


@pytest.mark.parametrize(
    ("count", "cosignatures", "number"),
    [(0, 0, Number.POLICY), (3, 1, Number.MALFORMED), (2, 3, Number.MALFORMED), (0, 1, Number.POLICY)],
)
async def test_nobody_is_replaced_by_none_or_by_fewer_than_it_takes(world, others, count, cosignatures, number):
    """An option that was forgotten, and so few that two histories could both have them."""
    machine = world.machine()
    fields = {"witnesses": others.vkeys[:count], "cosignatures": cosignatures}
    assert await number_of(machine.begin("recover", **fields)) is number


async def test_an_authenticator_gets_no_witnesses(tmp_path, others, world):
    (tmp_path / "authenticator").mkdir()
    founded = await found(tmp_path / "authenticator", role="authenticator")
    machine = world.machine((founded.instance.host.rows, []), role="authenticator")
    fields = {"witnesses": others.vkeys, "cosignatures": 2}
    assert await number_of(machine.begin("recover", **fields)) is Number.UNSUPPORTED


# --- other names than were agreed to ----------------------------------------------------------------------------------


async def test_custodians_who_agreed_to_some_witnesses_do_not_get_others(world, others):
    """Their signature is of these names: a host that starts the attempt anew with others begins from nothing."""
    machine = await to_replace(world, others)
    await reaches(machine, "gap")
    agreed, found = named(world, others), await looked(machine)
    signed = approval(found, world.opened(0))
    machine.serving.cancel()
    machine = await to_replace(world, others, watchers=Watchers(witnesses=others.vkeys, cosignatures=2))
    await reaches(machine, "gap")
    session, now = await talking(machine), await looked(machine)
    assert await number_of(approve(session, signed)) is Number.ATTEMPT_OVER
    other = encode(msgspec.structs.replace(now.gap, watchers=agreed))
    signature = world.founded.shares[0].key.sign(Domain.GAP, other)
    passed_off = msgspec.structs.replace(signed, gap=digest(Domain.GAP, encode(now.gap)), signature=signature)
    assert await number_of(approve(session, passed_off)) is Number.INTEGRITY
    assert not any(seat.done for seat in (await status(machine)).custodians)
    machine.serving.cancel()


async def test_a_custodian_signs_for_no_witnesses_whom_nobody_could_count(world, others):
    machine = await to_replace(world, others)
    await reaches(machine, "gap")
    found = await looked(machine)

    def shown(watchers):
        statement = encode(msgspec.structs.replace(found.gap, watchers=watchers)).hex()
        gap = msgspec.structs.replace(found.status.gap, statement=statement)
        return dataclasses.replace(found, status=msgspec.structs.replace(found.status, gap=gap))

    for keys, needed in ((others.vkeys, 1), ([others.vkeys[0]] * 3, 2), (["w.example+0+x"], 1)):
        with pytest.raises(Untrusted, match="nobody could count"):
            approval(shown(Watchers(witnesses=keys, cosignatures=needed)), world.opened(0))
    machine.serving.cancel()


async def test_the_witnesses_of_before_are_not_brought_back_by_leaving_the_new_ones_out(world, others):
    """Neither an enclave nor a custodian takes such a gap, whoever signed it."""
    await replaced(world, others)
    charter = charter_in(world.vault)
    last = governance.parse_gap(charter.gaps[0].statement)
    statement = encode(msgspec.structs.replace(last, watchers=None, generation=last.generation + 1, recoveries=2))
    seats = [
        governance.Seat(index=at, signature=world.founded.shares[at].key.sign(Domain.GAP, statement)) for at in (0, 1)
    ]
    without = governance.SignedGap(statement=statement, council=0, signed=seats)
    with pytest.raises(Untrusted, match="leaves out the witnesses"):
        verify_charter(msgspec.structs.replace(charter, gaps=[*charter.gaps, without]))
    with pytest.raises(Untrusted, match="another cluster or generation"):
        verify_charter(msgspec.structs.replace(charter, gaps=[without, *charter.gaps]))


# --- as often as it takes ---------------------------------------------------------------------------------------------


async def test_a_cluster_is_recovered_as_often_as_it_takes(tmp_path, monkeypatch):
    """A lone Vault without witnesses gives a gap to sign at each restart of its machine."""
    monkeypatch.setattr(governance, "MAX_RECOVERIES", 3)
    world = Cluster(tmp_path)
    await world.start()
    await world.namespace()
    address, _ = await stored(world)
    begun = []
    for _ in range(5):
        machine = await world.recovering()
        await world.bring_back(machine)
        begun.append((await claims_of(machine)).generation)
        assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]
    charter = charter_in(world.vault)
    assert charter.recoveries == 5
    assert [governance.parse_gap(one.statement).generation for one in charter.gaps] == begun[-3:]
    assert [governance.is_cut(charter, one) for one in (0, *begun)] == [True, True, True, False, False, False]
