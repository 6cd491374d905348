"""Old machines of a cluster, older lists of releases, and logs that are said to have begun anew (RULES 7, 25)."""

import pytest

from strongroom.attestation.policy import ReleaseAuthority
from strongroom.client.checkpoints import KeptCheckpoints, MemoryCheckpoints, own_checkpoints
from strongroom.client.cluster import cluster_session
from strongroom.client.standings import Standing, Standings
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import Attempt, Custodian, parse_any_evidence
from strongroom.protocol.governance import (
    Gap,
    Seat,
    SignedGap,
    SignedSuccession,
    Succession,
    statement_digest,
)
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.log_messages import Freshen
from strongroom.protocol.messages import ById
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.releases import ReleaseList, SignedReleases
from strongroom.protocol.vault_messages import Describe, Described
from tests.support.ceremony import Custodians, convene, talk
from tests.support.councils import council
from tests.support.evidence import NOW, changed
from tests.support.evidence import Cluster as SoftwareCluster
from tests.support.fake_vault import URL, FakeVault
from tests.support.recovering import Cluster as RealCluster
from tests.support.ssh_keys import SshKey
from tests.support.witnesses import GrowingLog

QUESTION = Describe(address=ById(id=bytes(16)), tickets=[])
KEYS = [SigningKey.generate() for _ in range(3)]
COUNCIL = council(
    custodians=[Custodian(name=f"custodian {at}", recipient="", key=key.public) for at, key in enumerate(KEYS)],
    threshold=2,
)


@pytest.fixture
def vault():
    return FakeVault(council=COUNCIL, size=9)


@pytest.fixture
def checkpoints():
    return MemoryCheckpoints()


class Notices(list):
    """What the user was told."""

    __call__ = list.append


async def ask(client):
    try:
        return await client.ask(QUESTION, Described)
    finally:
        await client.aclose()


async def refusal(client):
    with pytest.raises(StrongroomError) as caught:
        await ask(client)
    return caught.value


def recover(vault, *, found, known=9, generation=1, signers=(0, 2), council=0, councils=1, **changes):
    """The Vault as it is after a recovery whose database ended at `found`; the log goes on under another name.

    Those who signed are of that `council`, of `councils` that there have been."""
    old = vault.log
    fields = {
        "version": 1, "cluster": vault.cluster.id, "recoveries": 1, "generation": generation, "attempt": bytes(32),
        "found_size": found, "found_root": old.roots[found], "known_size": known, "known_root": old.roots[known],
        "at": NOW, "watchers": None,
    } | changes  # fmt: skip
    statement = encode(Gap(**fields))
    seats = [Seat(index=at, signature=KEYS[at].sign(Domain.GAP, statement)) for at in signers]
    gap = SignedGap(statement=statement, council=council, signed=seats)
    origin = log_origin(vault.cluster.id, generation=generation)
    vault.log = GrowingLog(origin, old.key).grow(*old.leaves[:found]).grow_to(found + 3, b"after")
    vault.claims = {"recoveries": 1, "generation": generation, "council": councils - 1}
    show(vault, gap, councils=councils)


def show(vault, *gaps, councils=1):
    successions, previous = [], vault.cluster.genesis
    for serial in range(1, councils):
        statement = encode(
            Succession(
                version=1,
                cluster=vault.cluster.id,
                serial=serial,
                previous=statement_digest(previous),
                council=COUNCIL,
            )
        )
        accepted, endorsed = (
            [Seat(index=at, signature=key.sign(domain, statement)) for at, key in enumerate(KEYS)]
            for domain in (Domain.ACCEPTANCE, Domain.ENDORSEMENT)
        )
        successions.append(SignedSuccession(statement=statement, accepted=accepted, endorsed=endorsed))
        previous = statement
    vault.show_charter(gaps, recoveries=1, successions=successions)


# --- recoveries -----------------------------------------------------------------------------------------------------


async def test_a_recovery_is_told_to_every_client_that_was_here_before(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert notices == []
    vault.claims = {"recoveries": 1}
    await ask(vault.client(monkeypatch, checkpoints, notices))
    await ask(vault.client(monkeypatch, checkpoints, notices))
    assert len(notices) == 1
    assert "recovered by its custodians" in notices[0]


async def test_a_new_client_is_told_nothing_of_old_recoveries(vault, checkpoints, monkeypatch):
    vault.claims = {"recoveries": 3}
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert notices == []


async def test_a_machine_from_before_a_recovery_is_refused_before_anything_is_sent(vault, checkpoints, monkeypatch):
    vault.claims = {"recoveries": 1}
    await ask(vault.client(monkeypatch, checkpoints))
    vault.claims, vault.asked = {}, []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "from before a recovery" in error.reason
    assert vault.asked == []


# --- releases -------------------------------------------------------------------------------------------------------


def signed_list(vault, serial):
    statement = ReleaseList(version=1, cluster=vault.cluster.id, role="vault", serial=serial, min_svn=0, releases=[])
    return encode(SignedReleases(statement=encode(statement), approvals=[]))


def go_by(vault, serial, **claims):
    releases = signed_list(vault, serial)
    claims = vault.cluster.claims(release=serial, **claims)

    async def evidence():
        return vault.cluster.evidence(claims, releases=releases)

    vault.evidence = evidence


async def test_an_older_list_of_releases_than_was_seen_is_refused(vault, checkpoints, monkeypatch):
    go_by(vault, 3)
    await ask(vault.client(monkeypatch, checkpoints))
    go_by(vault, 2)
    vault.asked = []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.POLICY
    assert "list 3" in error.reason
    assert vault.asked == []
    go_by(vault, 4)
    await ask(vault.client(monkeypatch, checkpoints))


async def test_a_recovery_may_bring_an_older_list_back_when_custodians_signed_it(vault, checkpoints, monkeypatch):
    go_by(vault, 3)
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=9)
    go_by(vault, 2, recoveries=1, generation=1)
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert len(notices) == 1


@pytest.mark.parametrize("recoveries", [1, 2**40])
async def test_a_recovery_that_no_custodian_signed_brings_no_older_list_back(
    vault, checkpoints, monkeypatch, recoveries
):
    """Whoever has an old ring writes any number of recoveries into the charter, and leaves the list out."""
    go_by(vault, 3)
    await ask(vault.client(monkeypatch, checkpoints))
    vault.claims, vault.asked = {"recoveries": recoveries}, []
    del vault.evidence
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.POLICY
    assert "it goes by list 0 of releases, and list 3 was seen before" in error.reason
    assert vault.asked == []
    go_by(vault, 3, recoveries=recoveries)
    await ask(vault.client(monkeypatch, checkpoints))


def test_a_recovery_that_no_custodian_signed_does_not_lower_the_list_that_is_kept(tmp_path, kept):
    """Also of two programs at once, of which each has seen another copy."""
    kept.raise_standing(CLUSTER, Standing(1, 1, 0, 5))
    KeptCheckpoints(tmp_path / "checkpoints").raise_standing(CLUSTER, Standing(2, 1, 0, 4))
    assert KeptCheckpoints(tmp_path / "checkpoints").standing(CLUSTER) == Standing(2, 1, 0, 5)


def test_an_authenticators_recovery_may_bring_an_older_list_back(checkpoints):
    """It has no log, and nobody signs what it brings back."""
    cluster = SoftwareCluster("authenticator")
    standings = Standings(checkpoints, notices := Notices())
    standings.keep(cluster.claims(release=3))
    with pytest.raises(Untrusted, match="list 3 was seen before"):
        standings.verify(cluster.claims(release=2))
    standings.verify(recovered := cluster.claims(release=2, recoveries=1))
    standings.keep(recovered)
    [notice] = notices
    assert "this Authenticator was recovered" in notice
    assert "gave up" not in notice
    assert checkpoints.standing(cluster.id) == Standing(1, 1, 0, 2)
    standings.verify(recovered)


# --- generations ----------------------------------------------------------------------------------------------------


async def test_a_log_that_began_anew_is_followed_when_custodians_signed_the_gap(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=9)
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert checkpoints.highest(log_origin(vault.cluster.id, generation=1)) is not None
    assert [one.size for one in vault.asked if isinstance(one, Freshen)][-2:] == [9, 0]
    assert len(notices) == 1
    await ask(vault.client(monkeypatch, checkpoints))  # the charter is asked for once
    assert [one.size for one in vault.asked if isinstance(one, Freshen)][-1] == 12


async def test_who_has_seen_what_was_given_up_is_told_how_much(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert "5 lines that you have seen are gone" in notices[0]


@pytest.mark.parametrize("seen", [2, 9], ids=["who has seen less than they signed for", "who has seen more"])
async def test_what_goes_on_is_what_custodians_signed_for(vault, checkpoints, monkeypatch, seen):
    whole, vault.log = vault.log, GrowingLog(vault.log.origin, vault.log.key).grow(*vault.log.leaves[:seen])
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = whole
    recover(vault, found=4)
    # The host had line 4 surveyed and signed for, and then shows a database that ends before it.
    swapped = GrowingLog(vault.log.origin, vault.log.key).grow(*whole.leaves[:3])
    vault.log = swapped.grow_to(7, b"after")
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "does not extend the 4 entries that its custodians signed for" in error.reason


async def test_below_the_gap_the_log_must_be_the_one_that_was_seen(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    # Custodians have signed for a database that looks as long, and never was what this user has seen.
    another = GrowingLog(vault.log.origin, vault.log.key).grow_to(12, b"another history")
    recover(vault, found=9, found_root=another.roots[9])
    vault.log = GrowingLog(vault.log.origin, vault.log.key).grow(*another.leaves)
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "does not extend the 9 entries that were seen before" in error.reason


@pytest.mark.parametrize("signers", [(), (1,)])
async def test_a_gap_that_too_few_custodians_signed_is_refused(vault, checkpoints, monkeypatch, signers):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, signers=signers)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_one_custodian_twice_is_one(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, signers=(1, 1))
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


@pytest.mark.parametrize("changes", [{"cluster": bytes(32)}, {"generation": 2}])
async def test_a_gap_of_another_cluster_or_generation_is_refused(vault, checkpoints, monkeypatch, changes):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, **changes)
    vault.claims = {"recoveries": 1, "generation": 1}
    vault.log = GrowingLog(log_origin(vault.cluster.id, generation=1), vault.log.key).grow_to(7)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_a_log_that_began_anew_without_a_word_is_refused(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    show(vault)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_a_charter_of_another_cluster_is_refused(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    other = FakeVault(council=COUNCIL, size=9)
    recover(other, found=4)
    vault.charter = other.charter
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_who_was_killed_before_it_kept_how_the_cluster_stood_asks_for_the_gap_all_the_same(
    vault, checkpoints, monkeypatch
):
    await ask(vault.client(monkeypatch, checkpoints))
    monkeypatch.setattr(checkpoints, "_standings", {})
    recover(vault, found=4, signers=())
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_an_earlier_generation_is_refused_though_its_log_grew(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    before = vault.log
    recover(vault, found=4)
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = before.grow_to(30)
    vault.claims = {"recoveries": 1, "generation": 0}
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_an_earlier_generation_is_refused_though_it_was_recovered_more_often(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    before = vault.log
    recover(vault, found=4)
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log, vault.asked = before, []
    vault.claims = {"recoveries": 2, "generation": 0}
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "of generation 0, and generation 1" in error.reason
    assert vault.asked == []


# --- councils -------------------------------------------------------------------------------------------------------


async def test_custodians_who_were_replaced_bring_no_older_copy_back(vault, checkpoints, monkeypatch):
    vault.claims = {"council": 1}
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    vault.asked = []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "custodians who were replaced have recovered an older copy" in error.reason
    assert "docs/howto/recovery.md" in error.reason
    assert vault.asked == []


async def test_custodians_who_were_replaced_give_nothing_up_in_the_newest_charter_either(
    vault, checkpoints, monkeypatch
):
    vault.claims = {"council": 1}
    await ask(vault.client(monkeypatch, checkpoints))
    whole = vault.log
    recover(vault, found=4, council=0, councils=2)
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "custodians who were replaced" in error.reason
    vault.log = whole
    recover(vault, found=4, council=1, councils=2)
    await ask(vault.client(monkeypatch, checkpoints, Notices()))


async def test_what_they_gave_up_before_they_were_replaced_holds(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, council=0, councils=2)
    # A program without a log of its own has seen that there are others now; this one follows the log later.
    checkpoints.raise_standing(vault.cluster.id, Standing(1, 1, 1, 0))
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert "5 lines that you have seen are gone" in notices[0]


async def test_a_machine_from_before_a_council_was_replaced_is_refused(vault, checkpoints, monkeypatch):
    vault.claims = {"council": 1}
    await ask(vault.client(monkeypatch, checkpoints))
    vault.claims, vault.asked = {}, []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "from before other custodians came into office" in error.reason
    assert vault.asked == []


async def test_an_enclave_says_which_council_is_in_office_and_which_one_would_recover_it(tmp_path, checkpoints):
    world = await RealCluster(tmp_path).start()
    backup, new = world.database, Custodians.named(3)
    owner, standings = await talk(world.vault, world.owner), Standings(checkpoints, print)
    standings.keep(await claims_of(world.vault))
    new.receive(convened := await owner.ask(convene(new, 2)))
    for at in range(3):
        await owner.ask(new.acceptance(at, convened.statement))
    for at in range(2):
        await owner.ask(world.founded.custodians.endorsement(at, convened.statement))
    standings.keep(await claims_of(world.vault))
    assert checkpoints.standing(world.vault_cluster).council == 1
    waits = await claims_of(await world.recovering())
    assert waits.council == waits.attempt.council == 1
    standings.verify_attempt(waits, 0)
    with pytest.raises(Untrusted, match="custodians who were replaced"):
        standings.verify_attempt(await claims_of(machine := await world.recovering(backup)), 0)
    await world.bring_back(machine)
    with pytest.raises(Untrusted, match="custodians who were replaced"):
        standings.verify(await claims_of(machine))
    world.close()


async def claims_of(machine):
    return parse_any_evidence(await machine.evidence())[1]


# --- sessions of owners, custodians and approvers -------------------------------------------------------------------


@pytest.fixture
def visit(vault, checkpoints, monkeypatch):
    monkeypatch.setattr("strongroom.client.session.Transport", lambda url: vault)

    async def visit(policy=None, **options):
        policy = policy or vault.cluster.policy()
        said = Notices()
        async with cluster_session(
            URL, role="vault", policy=policy, kept=checkpoints, notice=said, now=lambda: NOW, **options
        ):
            return said

    return visit


def would_recover(vault, *, recoveries=0, council=0):
    attempt = Attempt(key=bytes(1216), ring=bytes(32), council=council, recoveries=recoveries, drill=False)
    vault.claims = {"stage": "recovering", "attempt": attempt, "recoveries": recoveries, "council": council}


def would_join(vault):
    vault.claims = {"stage": "joining"}


@pytest.mark.parametrize("older", [{"recoveries": 1, "council": 1}, {"recoveries": 2, "council": 0}])
async def test_owners_and_approvers_do_not_talk_to_a_machine_from_before(vault, checkpoints, visit, older):
    vault.claims = {"recoveries": 2, "council": 1}
    await visit()
    assert checkpoints.standing(vault.cluster.id) == Standing(2, 0, 1, 0)
    vault.claims, vault.asked = older, []
    with pytest.raises(Untrusted) as caught:
        await visit()
    assert caught.value.number is Number.ROLLED_BACK
    assert vault.asked == []


async def test_they_are_told_of_a_recovery(vault, visit):
    assert await visit() == []
    vault.claims = {"recoveries": 1}
    assert "recovered by its custodians" in (await visit())[0]


async def test_they_take_no_new_generation_that_nobody_signed(vault, checkpoints, visit):
    await visit()
    recover(vault, found=4, signers=())
    with pytest.raises(Untrusted):
        await visit()
    assert checkpoints.standing(vault.cluster.id) == Standing(0, 0, 0, 0)


async def test_their_memory_does_not_stand_in_for_following_the_log(vault, checkpoints, visit, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    whole = vault.log
    recover(vault, found=4)
    monkeypatch.setattr("strongroom.client.session.Transport", lambda url: vault)
    await visit()
    assert checkpoints.standing(vault.cluster.id) == Standing(1, 1, 0, 0)
    swapped = GrowingLog(vault.log.origin, vault.log.key).grow(*whole.leaves[:3])
    vault.log = swapped.grow_to(7, b"after")
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


# Without witnesses a generation's number is a time: far above the one before.


async def test_their_memory_does_not_stand_in_where_generations_are_times(vault, checkpoints, visit, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    whole = vault.log
    recover(vault, found=4, generation=NOW)
    monkeypatch.setattr("strongroom.client.session.Transport", lambda url: vault)
    await visit()
    swapped = GrowingLog(vault.log.origin, vault.log.key).grow(*whole.leaves[:3])
    vault.log = swapped.grow_to(7, b"after")
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert "does not extend the 4 entries that its custodians signed for" in error.reason


@pytest.mark.parametrize("store", [MemoryCheckpoints, own_checkpoints], ids=["in memory", "in files"])
async def test_lost_lines_are_told_where_generations_are_times(vault, store, monkeypatch):
    checkpoints = store()
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, generation=NOW)
    # A session without a log was first.
    checkpoints.raise_standing(vault.cluster.id, Standing(1, NOW, 0, 0))
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert "5 lines that you have seen are gone" in notices[0]


@pytest.mark.parametrize("before", [0, NOW - 5000], ids=["the first", "a later one"])
async def test_who_was_killed_takes_no_time_for_a_generation_that_nobody_signed(
    vault, checkpoints, monkeypatch, before
):
    vault.log = GrowingLog(log_origin(vault.cluster.id, generation=before), vault.log.key).grow(*vault.log.leaves)
    vault.claims = {"generation": before}
    await ask(vault.client(monkeypatch, checkpoints))
    monkeypatch.setattr(checkpoints, "_standings", {})
    recover(vault, found=4, generation=NOW, signers=())
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_who_was_killed_is_shown_no_earlier_generation(vault, checkpoints, monkeypatch):
    before = vault.log
    recover(vault, found=4, generation=NOW)
    await ask(vault.client(monkeypatch, checkpoints))
    monkeypatch.setattr(checkpoints, "_standings", {})
    vault.log, vault.claims = before.grow_to(30), {"recoveries": 1, "generation": 0}
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert f"of generation 0, and generation {NOW}" in error.reason


@pytest.mark.parametrize(
    ("older", "words"),
    [
        ({"recoveries": 1, "council": 1}, "from before a recovery"),
        ({"recoveries": 2, "council": 0}, "custodians who were replaced"),
    ],
)
async def test_a_custodian_is_told_that_an_older_copy_would_be_recovered(vault, checkpoints, visit, older, words):
    checkpoints.raise_standing(vault.cluster.id, Standing(2, 1, 1, 0))
    would_recover(vault, **older)
    with pytest.raises(Untrusted, match=words) as caught:
        await visit(stage="recovering")
    assert caught.value.number is Number.ROLLED_BACK
    assert vault.asked == []
    would_recover(vault, recoveries=2, council=1)
    await visit(stage="recovering")
    assert checkpoints.standing(vault.cluster.id) == Standing(2, 1, 1, 0)


async def test_a_custodian_accepts_no_program_by_an_older_list_than_was_seen(vault, checkpoints, visit):
    checkpoints.raise_standing(vault.cluster.id, Standing(0, 0, 0, 3))
    would_recover(vault)
    with pytest.raises(Untrusted, match="list 3 was seen before"):
        await visit(stage="recovering", releases=signed_list(vault, 2))
    await visit(stage="recovering", releases=signed_list(vault, 3))


@pytest.fixture
def approvers(vault):
    """As `trust pin --releases` writes it before the first list: the program stays pinned, and approvers are named."""
    authority = ReleaseAuthority(approvers=[SshKey().public_key], approvals=1, min_serial=0)
    return changed(vault.cluster.policy(), releases=authority)


@pytest.mark.parametrize(("stage", "begin"), [("recovering", would_recover), ("joining", would_join)])
async def test_nobody_accepts_a_pinned_program_without_a_ring_once_he_has_seen_a_list(
    vault, checkpoints, visit, approvers, stage, begin
):
    """It may be retired there, and the host shows no list for that."""
    begin(vault)
    await visit(stage=stage, policy=approvers)  # before the first list
    checkpoints.raise_standing(vault.cluster.id, Standing(0, 0, 0, 5))
    vault.asked = []
    with pytest.raises(Untrusted, match=r"list 5: .* name the newest list with --releases") as caught:
        await visit(stage=stage, policy=approvers)
    assert caught.value.number is Number.POLICY
    assert vault.asked == []


async def test_a_custodian_is_told_to_name_the_list_that_his_policy_knows_of(vault, visit, approvers):
    would_recover(vault)
    policy = changed(approvers, releases=changed(approvers.releases, min_serial=2))
    with pytest.raises(Untrusted, match=r"list 2: .* name the newest list with --releases"):
        await visit(stage="recovering", policy=policy)


async def test_by_default_it_is_what_this_users_programs_have_kept(vault, monkeypatch):
    monkeypatch.setattr("strongroom.client.session.Transport", lambda url: vault)
    vault.claims = {"recoveries": 1}
    async with cluster_session(URL, role="vault", policy=vault.cluster.policy(), now=lambda: NOW):
        pass
    assert own_checkpoints().standing(vault.cluster.id) == Standing(1, 0, 0, 0)


# --- keeping --------------------------------------------------------------------------------------------------------

CLUSTER = bytes(range(32))


@pytest.fixture
def kept(tmp_path):
    return KeptCheckpoints(tmp_path / "checkpoints", said.append)


said: list[str] = []


def test_what_was_seen_of_a_cluster_is_kept_for_the_next_program(tmp_path, kept):
    assert kept.standing(CLUSTER) is None
    kept.raise_standing(CLUSTER, Standing(1, 0, 2, 7))
    assert KeptCheckpoints(tmp_path / "checkpoints").standing(CLUSTER) == Standing(1, 0, 2, 7)


def test_a_slower_program_does_not_lower_it(tmp_path, kept):
    slow = KeptCheckpoints(tmp_path / "checkpoints")
    kept.raise_standing(CLUSTER, Standing(1, 1, 1, 2))
    slow.raise_standing(CLUSTER, Standing(0, 0, 0, 9))
    assert slow.standing(CLUSTER) == kept.standing(CLUSTER) == Standing(1, 1, 1, 2)


def test_in_memory_it_is_not_lowered_either(checkpoints):
    checkpoints.raise_standing(CLUSTER, Standing(1, 1, 3, 2))
    checkpoints.raise_standing(CLUSTER, Standing(1, 0, 2, 9))
    assert checkpoints.standing(CLUSTER) == Standing(1, 1, 3, 2)


def test_of_two_copies_that_two_programs_have_seen_the_highest_of_each_part_is_kept(tmp_path, kept):
    kept.raise_standing(CLUSTER, Standing(1, 1, 0, 5))
    KeptCheckpoints(tmp_path / "checkpoints").raise_standing(CLUSTER, Standing(2, 0, 1, 4))
    assert KeptCheckpoints(tmp_path / "checkpoints").standing(CLUSTER) == Standing(2, 1, 1, 5)


def test_generations_of_a_log_are_found_however_far_apart(tmp_path, kept):
    assert kept.generations(CLUSTER) == set()
    for cluster, generation in ((CLUSTER, 0), (CLUSTER, 7), (CLUSTER, NOW), (bytes(32), 3)):
        log = GrowingLog(log_origin(cluster, generation=generation)).grow_to(2)
        kept.keep(log.origin, log.note(), None)
    (tmp_path / "checkpoints" / f"strongroom%2F{CLUSTER.hex()}%2F0%2Fx.checkpoint").write_bytes(b"")
    assert KeptCheckpoints(tmp_path / "checkpoints").generations(CLUSTER) == {0, 7, NOW}


@pytest.mark.parametrize("content", [b"", b"recoveries 1\n", b"\xff", bytes(range(99))])
def test_a_damaged_standing_is_moved_aside_with_a_word(tmp_path, kept, content):
    kept.raise_standing(CLUSTER, Standing(1, 1, 1, 2))
    path = tmp_path / "checkpoints" / f"{CLUSTER.hex()}.standing"
    path.write_bytes(content)
    fresh = KeptCheckpoints(tmp_path / "checkpoints", said.append)
    assert fresh.standing(CLUSTER) is None
    assert "is damaged" in said[-1]
    assert not path.exists()
    assert any(".standing.damaged-" in one.name for one in path.parent.iterdir())
