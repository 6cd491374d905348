"""A drill is a drill: whatever its host does, M shares given for one make nothing that serves (RULES 25)."""

import asyncio

import pytest
from msgspec.structs import replace as changed

from strongroom.client.custodians import OpenShare
from strongroom.client.meant import verify_meant
from strongroom.client.recovery import approval, explain_state, seal_share, submit
from strongroom.protocol.cluster_messages import ApproveGap
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.index import HEAD_KEY
from strongroom.protocol.primitives import Domain, digest
from tests.support.recovering import Cluster, authenticator_elsewhere, hand_over, looked, reaches, status, talking
from tests.support.vault import number_of, stored


@pytest.fixture
async def world(tmp_path):
    world = Cluster(tmp_path)
    await world.start()
    await world.namespace()
    yield world
    world.close()


async def drilling(world, database=None):
    """A new machine with a copy, where custodians are asked for a drill; its host wants it to serve all the same."""
    machine = world.machine(database)
    await machine.begin("drill")
    machine.serve()
    return machine


async def attempt_of(machine):
    attempt = parse_any_evidence(await machine.evidence())[1].attempt
    assert attempt is not None
    return attempt


# --- what it is for ---------------------------------------------------------------------------------------------------


async def test_a_drill_shows_that_shares_open_the_copy_and_where_its_log_ends(world):
    await stored(world)
    machine = await drilling(world)
    assert (await status(machine)).state == "drilling"
    await hand_over(machine, world.opened(2))
    assert "1 of 2 shares" in explain_state(await status(machine))
    assert (await hand_over(machine, world.opened(0))).missing == 0
    now = await reaches(machine, "drilled")
    assert (now.log_size, now.gap) == (len(machine.host.log), None)
    assert [seat.name for seat in now.custodians if seat.done] == ["custodian-0", "custodian-2"]
    assert "the drill is done" in explain_state(now)


async def test_a_copy_whose_parts_are_of_two_times_fails_its_drill(world):
    head = world.database[0][HEAD_KEY]
    await stored(world)
    rows, log = world.database
    machine = await drilling(world, (rows | {HEAD_KEY: head}, log))
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    with pytest.raises(Untrusted) as caught:
        await asyncio.wait_for(machine.serving, 10)
    assert caught.value.number is Number.ROLLED_BACK


# --- what comes of it: nothing ----------------------------------------------------------------------------------------


async def test_a_drill_of_a_copy_that_lacks_nothing_does_not_serve_and_the_real_one_goes_on(tmp_path):
    """The host stops the Vault for a moment, so that its copy is the newest, and lets the witnesses be reached. As a
    recovery that copy would serve with shares alone, and the real one would be over."""
    world = Cluster(tmp_path, witnesses=3)
    await world.start()
    await world.namespace()
    await stored(world)
    machine = await drilling(world)
    before = dict(machine.host.rows), list(machine.host.log)
    asked: list[object] = []
    machine.host.witnesses = machine.host.witnessed = asked.append
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    await reaches(machine, "drilled")
    await asyncio.sleep(0.1)
    assert not machine.serving.done()
    assert (machine.host.rows, machine.host.log) == before
    assert asked == [], "no witness hears of it"
    claims = parse_any_evidence(await machine.evidence())[1]
    assert (claims.stage, claims.recoveries) == ("recovering", 0)
    with pytest.raises(Untrusted, match="never serves"):
        verify_meant(await machine.evidence(), "vault")
    await stored(world)
    world.close()


async def test_nothing_can_be_signed_in_a_drill(world):
    """A gap that M custodians sign is what makes an old copy the newest one."""
    machine = await drilling(world)
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    await reaches(machine, "drilled")
    with pytest.raises(Misuse, match="this is a drill"):
        approval(await looked(machine), world.opened(0))
    session = await talking(machine)
    signature = world.opened(0).share.key.sign(Domain.GAP, b"anything")
    signed = ApproveGap(gap=digest(Domain.GAP, b"anything"), index=0, signature=signature)
    assert await number_of(session.ask(signed)) is Number.NOT_NOW


async def test_an_authenticators_drill_neither_serves_nor_counts_as_a_recovery(tmp_path):
    """M shares are all that its recovery takes. Were it one, whoever asked that instance how it stands would refuse the
    real one from then on, as one from before a recovery."""
    founded, machine = await authenticator_elsewhere(tmp_path, "drill")
    serving = machine.serve()
    for share in founded.shares[:2]:
        await hand_over(machine, OpenShare(share))
    now = await reaches(machine, "drilled")
    await asyncio.sleep(0.1)
    assert not serving.done()
    assert (now.recoveries, parse_any_evidence(await machine.evidence())[1].recoveries) == (0, 0)
    assert machine.host.rows == founded.instance.host.rows


# --- which of the two it is -------------------------------------------------------------------------------------------


async def test_what_was_sealed_to_a_drill_opens_in_no_recovery_and_the_other_way_round(world):
    """A host shows custodians the one's evidence, with the word for the other changed, and submits to its own."""
    for machine in (await world.recovering(), await drilling(world)):
        session = await talking(machine)
        shown = session.claims.attempt
        claims = changed(session.claims, attempt=changed(shown, drill=not shown.drill))
        assert await number_of(submit(session, seal_share(claims, world.opened(0)))) is Number.ATTEMPT_OVER
        assert not any(seat.done for seat in (await status(machine)).custodians)


async def test_evidence_says_which_of_the_two_it_is(world):
    attempts = [await attempt_of(machine) for machine in (await world.recovering(), await drilling(world))]
    assert [attempt.drill for attempt in attempts] == [False, True]


async def test_a_drill_needs_no_witnesses_named_and_says_whose_cluster_it_is(tmp_path):
    world = Cluster(tmp_path, witnesses=3)
    await world.start()
    machine = world.machine()
    machine.witnesses, machine.cosignatures = [], 0
    await machine.begin("drill")
    assert ((await status(machine)).witnesses, (await status(machine)).cosignatures) == (3, 2)
    world.close()
