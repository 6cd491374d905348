"""Custodians bring a ring back whose machines are gone: what shares open, and what they never do."""

import asyncio
import dataclasses
import os

import msgspec
import pytest
from shamir_mnemonic.share import Share as Slip39

from strongroom.attack.network import listening
from strongroom.attestation.policy import ReleaseAuthority
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.custodians import OpenShare, open_share, parse_identities
from strongroom.client.recovery import appraise_recovering, explain_gap, explain_state, look, seal_share, submit
from strongroom.client.standings import Standing, Standings, standing_of
from strongroom.client.vault import AsyncVault
from strongroom.enclave.runtime.sealed_ring import charter_of, parse_sealed
from strongroom.protocol.cluster_messages import AskStatus, Rotate, ShareSecret, SubmitShare, TakeRing
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import Claims, parse_any_evidence
from strongroom.protocol.governance import Gap
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import CommitLeaf, LifeLeaf, parse_leaf
from strongroom.protocol.link import Row
from strongroom.protocol.primitives import Domain, digest, kem_seal
from strongroom.protocol.releases import ReleaseList, SignedReleases
from strongroom.protocol.shares import parse_share, split
from strongroom.protocol.status import decode_status
from tests.support import policies
from tests.support.ceremony import Custodians, Nursed, convene
from tests.support.recovering import (
    Cluster,
    authenticator_elsewhere,
    hand_over,
    looked,
    reaches,
    sign_gap,
    status,
    talking,
)
from tests.support.served import Line
from tests.support.share_words import words_told
from tests.support.ssh_keys import SshKey
from tests.support.vault import SECRET, number_of, released, stored
from tests.support.world import World

UNSEEN = Standings(MemoryCheckpoints(), print)
"""Of a custodian whose programs have seen no cluster."""


@pytest.fixture
async def world(tmp_path):
    world = Cluster(tmp_path)
    await world.start()
    await world.namespace()
    yield world
    world.close()


async def refused(machine, opened):
    return await number_of(hand_over(machine, opened))


def policy_of(world, **fields):
    values = {"roots": list(world.vault.platform.roots), "measurements": [world.vault.platform._measurement]} | fields
    return policies.role(clusters=[world.vault_cluster], insecure_software=policies.software(**values))


# --- what it is for ---------------------------------------------------------------------------------------------------


async def test_shares_bring_all_records_back_on_another_machine(world):
    address, _ = await stored(world)
    machine = await world.recovering()
    assert (await status(machine)).state == "recovering"
    taken = await hand_over(machine, world.opened(2))
    assert (taken.name, taken.missing) == ("custodian-2", 1)
    assert (await hand_over(machine, world.opened(0))).missing == 0
    await world.finish(machine)
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_every_client_sees_that_it_was_recovered(world):
    """Who was here before is told in words, once, and does not go back to the machine of before."""
    known = MemoryCheckpoints()
    notices: list[str] = []

    async def visit(machine):
        trust, now = policies.trust(policy_of(world)), machine.platform.now
        async with (
            listening(Line(machine).serve) as url,
            AsyncVault(url, trust, checkpoints=known, notice=notices.append, now=now) as client,
        ):
            await client.describe(address)
            return (await client.verify()).genuine.claims.recoveries

    old, (address, _) = world.vault, await stored(world)
    assert await visit(old) == 0
    machine = await world.recovering()
    await world.bring_back(machine, (0, 1))
    assert [await visit(machine) for _ in range(2)] == [1, 1]
    (told,) = notices
    assert told.startswith("this Vault was recovered by its custodians since you last used it (recovery 1)")
    assert await number_of(visit(old)) is Number.ROLLED_BACK
    _evidence, claims = parse_any_evidence(await machine.evidence())
    assert (claims.stage, claims.recoveries) == ("member", 1)
    *_, life, commit = map(parse_leaf, machine.host.log)
    assert isinstance(life, LifeLeaf)
    assert isinstance(commit, CommitLeaf)
    charter = charter_of(parse_sealed(machine.host.rows[RING_KEY].sealed))
    assert (life.event, life.number, life.about) == ("recovered", 1, digest(Domain.GAP, charter.gaps[0].statement))
    assert (commit.recoveries, commit.generation, commit.start) == (1, claims.generation, True)
    assert charter.recoveries == 1


async def test_one_copy_that_is_recovered_twice_makes_two_logs_of_two_names(world):
    """Without witnesses nobody else can tell them apart, and clients of the one must not take the other for it."""
    generations = []
    for later in (0, 100):
        machine = await world.recovering()
        machine.platform.ahead = later
        await world.bring_back(machine, (0, 1))
        generations.append(parse_any_evidence(await machine.evidence())[1].generation)
    assert 0 < generations[0] < generations[1]


async def test_without_witnesses_custodians_sign_that_nobody_knows_what_is_lost(world):
    """Each time: clients who have seen more would else refuse for ever, and rightly."""
    machine = await world.recovering()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    now = await reaches(machine, "gap")
    assert (now.gap.found_size, now.gap.known_size, now.gap.known_at) == (len(machine.host.log), 0, 0)
    assert "is not known" in explain_gap((await looked(machine)).gap, 0)[0]
    await asyncio.sleep(0.2)
    assert not machine.serving.done()
    await world.finish(machine)


async def test_a_generation_is_numbered_by_the_time_that_custodians_are_shown(world):
    """A host that tells the time otherwise just once would number it as it likes, and generations never fall."""
    machine = world.machine()
    honest = machine.platform.now

    def leaping():
        machine.platform.ahead += 60
        return honest()

    machine.platform.now = leaping
    await machine.begin("recover")
    machine.serve()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    await reaches(machine, "gap")
    gap = (await looked(machine)).gap
    assert gap.generation == gap.at


@pytest.mark.parametrize(
    ("generation", "at", "words"),
    [
        (2**40, 0, "neither the time nor near the last one"),
        (66, 0, "neither the time nor near the last one"),
        (2**40, 2**40, "a time to come"),
        (1, 2 * 3600, "a time to come"),
    ],
)
async def test_custodians_sign_no_generation_far_beyond_the_time(world, generation, at, words):
    """None could follow it, and clients would take no other any more."""
    machine = await world.recovering()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    await reaches(machine, "gap")
    found = await looked(machine)
    at = at if at == 2**40 else found.gap.at + at

    def shown(**changes):
        gap = found.status.gap
        statement = encode(msgspec.structs.replace(found.gap, **changes)).hex()
        status = msgspec.structs.replace(found.status, gap=msgspec.structs.replace(gap, statement=statement))
        return dataclasses.replace(found, status=status)

    assert shown(generation=65).gap.generation == 65
    with pytest.raises(Untrusted, match=words):
        assert shown(generation=generation, at=at).gap


def test_no_generation_is_larger_than_browsers_can_count():
    for kind in (Claims, Gap, CommitLeaf):
        [found] = [one for one in msgspec.structs.fields(kind) if one.name == "generation"]
        bound = msgspec.inspect.type_info(found.type)
        assert isinstance(bound, msgspec.inspect.IntType)
        assert bound.le == 2**40


async def test_without_witnesses_the_database_that_custodians_signed_for_is_the_one_that_is_served(world):
    """They look at one copy, and the host serves another one with the same ring."""
    await stored(world)
    older = world.database
    await stored(world)
    machine = await world.recovering()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    assert (await reaches(machine, "gap")).gap.found_size > len(older[1])
    await sign_gap(machine, world.opened(0))
    machine.host.rows, machine.host.log = dict(older[0]), list(older[1])
    await sign_gap(machine, world.opened(1))
    with pytest.raises(Untrusted) as caught:
        await world.served(machine)
    assert caught.value.number is Number.ROLLED_BACK
    assert (machine.host.rows, machine.host.log) == older


async def test_the_old_machine_does_not_open_the_ring_any_more(world):
    """It is gone, or in other hands; else it joins again."""
    old = world.vault
    machine = await world.recovering()
    await world.bring_back(machine, (0, 1))
    old.host.rows, old.host.log = world.database
    with pytest.raises(Untrusted) as caught:
        await old.start()
    assert caught.value.number is Number.INTEGRITY


async def test_after_it_the_machine_opens_the_ring_by_itself_and_can_be_lost_again(world):
    address, _ = await stored(world)
    for recoveries in (1, 2):
        machine = await world.recovering()
        await world.bring_back(machine, (1, 2))
        await machine.start()
        assert parse_any_evidence(await machine.evidence())[1].recoveries == recoveries
        assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]


async def test_an_authenticator_is_recovered_the_same_way(tmp_path):
    founded, machine = await authenticator_elsewhere(tmp_path, "recover")
    serving = machine.serve()
    for share in founded.shares[:2]:
        await hand_over(machine, OpenShare(share))
    await serving
    claims = parse_any_evidence(await machine.evidence())[1]
    assert (claims.stage, claims.cluster_id, claims.recoveries) == ("member", founded.cluster_id, 1)


# --- shares that open nothing -----------------------------------------------------------------------------------------


async def test_one_share_too_few_opens_nothing(world):
    machine = await world.recovering()
    before = dict(machine.host.rows)
    await hand_over(machine, world.opened(1))
    await asyncio.sleep(0.2)
    found = await status(machine)
    assert found.state == "recovering"
    assert [seat.done for seat in found.custodians] == [False, True, False]
    assert not machine.serving.done()
    assert machine.host.rows == before
    assert parse_any_evidence(await machine.evidence())[1].stage == "recovering"


async def test_one_share_twice_counts_once(world):
    machine = await world.recovering()
    await hand_over(machine, world.opened(0))
    assert await refused(machine, world.opened(0)) is Number.SHARE_REPEATED
    assert sum(seat.done for seat in (await status(machine)).custodians) == 1


async def test_words_that_are_no_share_are_told(world):
    machine = await world.recovering()
    session = await talking(machine)
    attempt = session.claims.attempt
    words = world.founded.shares[0].words.split()
    words[10] = "academic" if words[10] != "academic" else "acid"
    for inside in (encode(ShareSecret(words=" ".join(words))), encode(ShareSecret(words="")), b"no message"):
        sealed = kem_seal(attempt.key, inside, Domain.SHARE, session.claims.cluster_id, b"recover", encode(attempt))
        assert await number_of(session.ask(SubmitShare(sealed=sealed))) is Number.SHARE_WRONG


async def test_a_share_of_another_cluster_is_told_as_foreign(world):
    machine = await world.recovering()
    other = split(os.urandom(32), 3, 2)[0]
    assert await refused(machine, OpenShare(other)) is Number.SHARE_FOREIGN


async def test_a_share_of_a_former_council_is_told_as_stale(world):
    former = world.founded.shares
    people = Custodians.named(3)
    owner = await talking(world.vault, world.owner)
    convened = await owner.ask(convene(people, 2))
    people.receive(convened)
    for index in (0, 1):
        await owner.ask(world.founded.custodians.endorsement(index, convened.statement))
    for index in range(3):
        await owner.ask(people.acceptance(index, convened.statement))
    machine = await world.recovering()
    assert (await status(machine)).council == 1
    assert await refused(machine, OpenShare(former[0])) is Number.SHARE_STALE
    for share in people.shares[:2]:
        await hand_over(machine, OpenShare(share))
    await reaches(machine, "gap")
    for share in people.shares[1:]:
        await sign_gap(machine, OpenShare(share))
    await world.served(machine)


async def test_what_is_sealed_to_nothing_or_to_another_attempt_is_told(world):
    """Among others: a sealed share that was recorded, and is played to the next process."""
    machine = await world.recovering()
    session = await talking(machine)
    sealed = seal_share(session.claims, world.opened(0))
    await submit(session, sealed)
    again = await world.recovering()
    session = await talking(again)
    for untrusted in (sealed, sealed[:-1], b"", os.urandom(1200)):
        assert await number_of(session.ask(SubmitShare(sealed=untrusted))) is Number.ATTEMPT_OVER
    assert not any(seat.done for seat in (await status(again)).custodians)


@pytest.mark.parametrize("field", ["ring", "council", "recoveries"])
async def test_a_share_is_for_the_very_attempt_that_its_custodian_saw(world, field):
    """A host that shows a custodian the key of one enclave beside the facts of another."""
    machine = await world.recovering()
    session = await talking(machine)
    attempt = session.claims.attempt
    value = bytes(32) if field == "ring" else getattr(attempt, field) + 1
    claims = msgspec.structs.replace(session.claims, attempt=msgspec.structs.replace(attempt, **{field: value}))
    opened = world.opened(0)
    assert await number_of(submit(session, seal_share(claims, opened))) is Number.ATTEMPT_OVER
    assert (await submit(session, seal_share(session.claims, opened))).missing == 1


async def test_a_share_bent_by_its_custodian_spoils_nothing(world):
    """Its value is the custodian's, so its key is; its place among the shares is another one's."""
    true = Slip39.from_mnemonic(world.founded.shares[0].words)
    fields = {name: getattr(true, name) for name in true.__slots__} if hasattr(true, "__slots__") else dict(vars(true))
    bent = parse_share(Slip39(**(fields | {"index": (true.index + 5) % 16})).mnemonic())
    assert bent.key.public == world.founded.shares[0].key.public
    machine = await world.recovering()
    await hand_over(machine, OpenShare(bent))
    assert (await hand_over(machine, world.opened(1))).missing == 1
    said = await status(machine)
    assert said.state == "recovering"
    assert "altered" in explain_state(said)
    assert (await hand_over(machine, world.opened(2))).missing == 0
    await world.finish(machine)


async def test_when_the_ring_is_open_no_more_shares_are_taken_or_kept(world):
    machine = await world.recovering()
    machine.host.commit = never  # it does not get to serve
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    assert await refused(machine, world.opened(2)) is Number.NOT_NOW
    assert machine.enclave._nursery._shares == {}
    machine.serving.cancel()


async def never(*_):
    await asyncio.Event().wait()


# --- whom a custodian tells ---------------------------------------------------------------------------------------


async def test_a_custodian_refuses_another_program_machine_and_cluster(world):
    """A share that was sealed would be lost to whoever runs that."""
    machine = await world.recovering()
    evidence, now = await machine.evidence(), int(machine.platform.now())
    policy = policy_of(world)
    assert appraise_recovering(evidence, role="vault", policy=policy, standings=UNSEEN, now=now).attempt is not None
    for policy in (
        policy_of(world, measurements=[bytes(32)]),
        policy_of(world, roots=[bytes(32)]),
        policies.role(clusters=[bytes(32)], insecure_software=policy_of(world).insecure_software),
    ):
        with pytest.raises(Untrusted):
            appraise_recovering(evidence, role="vault", policy=policy, standings=UNSEEN, now=now)
    with pytest.raises(Untrusted):
        appraise_recovering(evidence, role="authenticator", policy=policy_of(world), standings=UNSEEN, now=now)
    with pytest.raises(Untrusted):
        appraise_recovering(
            await world.vault.evidence(), role="vault", policy=policy_of(world), standings=UNSEEN, now=now
        )


async def test_a_share_is_sealed_to_no_pinned_program_where_approvers_decide(world):
    """They may have retired it, and a machine without a network has not heard of it."""
    machine = await world.recovering()
    evidence, now = await machine.evidence(), int(machine.platform.now())
    authority = ReleaseAuthority(approvers=[SshKey().public_key], approvals=1, min_serial=0)
    policy = msgspec.structs.replace(policy_of(world), releases=authority)
    with pytest.raises(Untrusted, match="name the newest list with --releases") as caught:
        appraise_recovering(evidence, role="vault", policy=policy, standings=UNSEEN, now=now)
    assert caught.value.number is Number.POLICY


async def test_a_share_is_sealed_to_no_older_copy_than_this_users_programs_have_seen(world):
    machine = await world.recovering()
    evidence, now = await machine.evidence(), int(machine.platform.now())
    (seen := MemoryCheckpoints()).raise_standing(world.vault_cluster, Standing(1, 0, 0, 0))
    with pytest.raises(Untrusted, match="from before a recovery"):
        appraise_recovering(evidence, role="vault", policy=policy_of(world), standings=Standings(seen, print), now=now)


@pytest.mark.parametrize("listed", [0, 2])
async def test_a_custodian_accepts_a_program_by_no_earlier_list_than_the_cluster_s(world, listed):
    """His programs have seen none: nor have they on a new machine."""
    machine = world.machine()
    found = machine.host.rows[RING_KEY]
    row = parse_sealed(found.sealed)
    releases = ReleaseList(version=1, cluster=world.vault_cluster, role="vault", serial=3, min_svn=0, releases=[])
    signed = encode(SignedReleases(statement=encode(releases), approvals=[]))
    charter = msgspec.structs.replace(charter_of(row), releases=signed)
    machine.host.rows[RING_KEY] = Row(found.version, encode(msgspec.structs.replace(row, charter=encode(charter))))
    await machine.begin("recover")
    machine.serve()
    session = await talking(machine)
    session.listed = listed
    with pytest.raises(Untrusted, match="its cluster goes by list 3") as caught:
        await look(session)
    assert caught.value.number is Number.POLICY
    for session.listed in (3, None):
        await look(session)


async def test_a_custodian_is_told_that_one_backup_would_be_recovered_twice(world):
    """What people use now began anew from it, too: the host would put back a copy of the other one, which was given up
    soon. Recoveries of both are one."""
    backup = world.database
    await world.bring_back(await world.recovering(backup))
    soon_given_up = world.database
    machine = world.machine(backup)
    machine.platform.ahead = 50
    await machine.begin("recover")
    machine.serve()
    await world.bring_back(machine)
    seen = standing_of(parse_any_evidence(await machine.evidence())[1])
    with pytest.raises(Untrusted, match="its log is of generation") as caught:
        await looked(await world.recovering(soon_given_up), seen)
    assert caught.value.number is Number.ROLLED_BACK
    assert (await looked(await world.recovering(), seen)).attempt.recoveries == 1


async def test_evidence_in_a_file_that_has_expired_seals_nothing(world):
    machine = await world.recovering()
    evidence, now = await machine.evidence(), int(machine.platform.now())
    with pytest.raises(Untrusted):
        appraise_recovering(evidence, role="vault", policy=policy_of(world), standings=UNSEEN, now=now + 3 * 3600)


async def test_a_share_sealed_to_the_recovery_of_another_cluster_is_refused_there_and_here(world, tmp_path):
    other = Cluster(tmp_path / "other")
    await other.start()
    theirs, ours = await other.recovering(), await world.recovering()
    session = await talking(theirs)
    sealed = seal_share(session.claims, world.opened(0))
    assert await number_of(submit(session, sealed)) is Number.SHARE_FOREIGN
    assert await number_of(submit(await talking(ours), sealed)) is Number.ATTEMPT_OVER


async def test_the_page_of_a_share_says_where_it_belongs_before_anything_is_sealed(world):
    people = world.founded.custodians
    opened = open_share(people.files[0], parse_identities(people.identities[0]))
    machine = await world.recovering()
    claims = (await talking(machine)).claims
    seal_share(claims, opened)
    assert opened.sheet is not None
    foreign = dataclasses.replace(opened, sheet=dataclasses.replace(opened.sheet, cluster=bytes(32)))
    later = msgspec.structs.replace(claims, attempt=msgspec.structs.replace(claims.attempt, council=1))
    for told, share, number in ((claims, foreign, Number.SHARE_FOREIGN), (later, opened, Number.SHARE_STALE)):
        with pytest.raises(Misuse) as caught:
            seal_share(told, share)
        assert caught.value.number is number


async def test_it_answers_nothing_else_and_shows_no_stranger_more_than_names(world):
    machine = await world.recovering()
    session = await talking(machine)
    found = await looked(machine)
    assert [one.name for one in found.council.custodians] == world.founded.custodians.names
    for request in (Rotate(), TakeRing(label="", invitation=None)):
        assert await number_of(session.ask(request)) is Number.NOT_NOW


async def test_no_text_of_a_share_is_in_an_error_or_a_log(world, capfd):
    machine = await world.recovering()
    session = await talking(machine)
    attempt, share = session.claims.attempt, world.founded.shares[0]
    words = f"{share.words} academic"
    sealed = kem_seal(
        attempt.key,
        encode(ShareSecret(words=words)),
        Domain.SHARE,
        session.claims.cluster_id,
        b"recover",
        encode(attempt),
    )
    with pytest.raises(StrongroomError) as caught:
        await session.ask(SubmitShare(sealed=sealed))
    await world.bring_back(machine, (0, 1))
    said = str(caught.value) + "".join(capfd.readouterr())
    assert words_told(share.words, share.words), "what is told would be seen"
    assert not words_told(share.words, said)
    assert share.words not in repr(machine.enclave._nursery.__dict__)


# --- restarts, and two at once ----------------------------------------------------------------------------------------


async def test_shares_across_a_restart_are_submitted_anew(world):
    """The key of an attempt ends with its process; one share before it and one after it are not two."""
    machine = await world.recovering()
    await hand_over(machine, world.opened(0))
    machine.serving.cancel()
    await machine.begin("recover")
    machine.serve()
    await hand_over(machine, world.opened(1))
    assert (await status(machine)).state == "recovering"
    await hand_over(machine, world.opened(0))
    await world.finish(machine)


async def test_of_two_recoveries_on_one_database_one_serves(world):
    address, _ = await stored(world)
    first, second = await world.recovering(), world.machine()
    second.host.rows, second.host.log = first.host.rows, first.host.log
    await second.begin("recover")
    second.serve()
    for index in (0, 1):
        await hand_over(first, world.opened(index))
        await hand_over(second, world.opened(index))
    for machine in (first, second):
        await reaches(machine, "gap")
        await sign_gap(machine, world.opened(0))
    await asyncio.gather(sign_gap(first, world.opened(1)), sign_gap(second, world.opened(1)))
    done, _ = await asyncio.wait({first.serving, second.serving}, timeout=10)
    assert len(done) == 2
    winners = [one for one in (first, second) if one.serving.exception() is None]
    assert len(winners) == 1
    await world.served(winners[0])
    assert await (await world.client("bob")).collect(address) == [released(1, SECRET)]
    assert parse_any_evidence(await winners[0].evidence())[1].recoveries == 1


async def test_an_older_ring_beside_a_newer_database_is_refused(world):
    """The host presents the ring of before, with what it knew of custodians and programs then."""
    older = world.vault.host.rows[RING_KEY]
    await world.vault.start()  # same ring
    await (await talking(world.vault, world.owner)).ask(Rotate())
    newest = world.vault.host.rows[RING_KEY]
    assert newest != older
    rows, log = world.database
    machine = await world.recovering(({**rows, RING_KEY: Row(newest.version, older.sealed)}, log))
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    with pytest.raises(Untrusted) as caught:
        await machine.serving
    assert caught.value.number is Number.ROLLED_BACK


async def test_an_altered_ring_is_told_and_never_served(world):
    rows, log = world.database
    sealed = bytearray(rows[RING_KEY].sealed)
    sealed[-1] ^= 1
    machine = await world.recovering(({**rows, RING_KEY: Row(rows[RING_KEY].version, bytes(sealed))}, log))
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    with pytest.raises(Untrusted) as caught:
        await machine.serving
    assert caught.value.number is Number.INTEGRITY


async def test_a_charter_that_nobody_signed_is_not_recovered_under(world):
    """The host puts custodians of its own beside the sealed ring."""
    rows, log = world.database
    row = parse_sealed(rows[RING_KEY].sealed)
    charter = charter_of(row)
    forged = msgspec.structs.replace(
        charter, genesis=msgspec.structs.replace(charter.genesis, accepted=charter.genesis.accepted[:2])
    )
    sealed = encode(msgspec.structs.replace(row, charter=encode(forged)))
    machine = world.machine(({**rows, RING_KEY: Row(rows[RING_KEY].version, sealed)}, log))
    assert await number_of(machine.begin("recover")) is Number.INTEGRITY


async def test_a_development_cluster_has_nobody_to_recover_it(tmp_path):
    world = World(tmp_path)
    await world.start()
    machine = Nursed("vault", tmp_path, world.owner.public)
    machine.host.rows = dict(world.vault.host.rows)
    assert await number_of(machine.begin("recover")) is Number.UNSUPPORTED


async def test_the_other_role_s_database_is_not_recovered(world):
    machine = world.machine(role="authenticator")
    assert await number_of(machine.begin("recover")) is Number.INTEGRITY


async def test_a_status_of_a_recovery_is_told_in_words(world):
    machine = await world.recovering()
    session = await talking(machine)
    assert decode_status((await session.ask(AskStatus())).status) == await status(machine)
    assert explain_state(await status(machine)) == "0 of 2 shares were submitted; 2 more are wanted"
    await hand_over(machine, world.opened(2))
    assert explain_state(await status(machine)) == "1 of 2 shares were submitted; 1 more is wanted"
    await hand_over(machine, world.opened(0))
    await world.finish(machine)
    assert explain_state(await reaches(machine, "serving")) == "it serves"
