"""Lists of releases that should count for nothing, and programs that a list has retired."""

import asyncio
from copy import deepcopy
from dataclasses import dataclass

import msgspec
import pytest

from strongroom.enclave.runtime.releasing import Releasing
from strongroom.enclave.runtime.sealed_ring import Instance, SealedRing, instance_key
from strongroom.enclave.vault import witnessing
from strongroom.protocol.cluster_messages import Publish
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import LifeLeaf, parse_leaf
from strongroom.protocol.limits import MAX_MESSAGE, MAX_RELEASES
from strongroom.protocol.link import Row
from strongroom.protocol.notes import cosign, parse_checkpoint
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.releases import ListedRelease, Program, SignedReleases
from tests.support.ceremony import Founded, Nursed, convene, found, found_watched, talk
from tests.support.releases import NEW, Program2, admitted, charter_of, listing, own, release, signed, status_of
from tests.support.ssh_keys import KEY_TYPES, SshKey
from tests.support.watch import Watch

DAY = 24 * 3600


@pytest.fixture
def keys():
    return [SshKey(person=f"approver-{at}") for at in range(3)]


@pytest.fixture
async def founded(tmp_path, keys):
    """A Vault whose programs two of three people approve."""
    return await found(tmp_path, approvers=[one.public_key for one in keys], approvals=2)


async def publish(founded, releases):
    return await (await talk(founded.instance)).ask(Publish(releases=releases))


async def refused(founded, releases):
    """Number with which a list is refused that must change nothing."""
    rows, commits = deepcopy(founded.instance.host.rows), founded.instance.host.commits
    with pytest.raises(StrongroomError) as caught:
        await publish(founded, releases)
    assert founded.instance.host.rows[RING_KEY] == rows[RING_KEY]
    assert founded.instance.host.commits == commits
    return caught.value.number


def first(founded, **changes):
    return listing(founded.cluster_id, 1, release("1", own(founded)), release("2", NEW, svn=2), **changes)


def life(founded):
    leaves = map(parse_leaf, founded.instance.host.log)
    return [(leaf.event, leaf.number) for leaf in leaves if isinstance(leaf, LifeLeaf)]


# --- who approved what ------------------------------------------------------------------------------------------------


async def test_a_list_that_enough_approvers_signed_is_taken_and_shown(founded, keys):
    releases = first(founded)
    assert (await publish(founded, signed(releases, keys[:2]))).serial == 1
    evidence = (await talk(founded.instance)).claims
    assert evidence.release == 1
    assert await admitted(founded.instance) == {"1": True, "2": True}
    leaf = next(one for one in map(parse_leaf, founded.instance.host.log) if isinstance(one, LifeLeaf))
    assert (leaf.event, leaf.about, leaf.number, leaf.text) == (
        "released",
        digest(Domain.RELEASES, encode(releases)),
        1,
        "1, 2",
    )


@pytest.mark.parametrize("kind", KEY_TYPES)
async def test_keys_of_every_type_approve(tmp_path, kind):
    key = SshKey(kind=kind)
    founded = await found(tmp_path, approvers=[key.public_key], approvals=1)
    assert (await publish(founded, signed(first(founded), [key]))).serial == 1


async def test_too_few_approvers_are_refused(founded, keys):
    assert await refused(founded, signed(first(founded), keys[:1])) is Number.RELEASE_INVALID
    assert await refused(founded, signed(first(founded), [])) is Number.RELEASE_INVALID


async def test_one_approver_twice_is_one(founded, keys):
    for signers in ([keys[0], keys[0]], [*keys[:2], keys[0]]):
        assert await refused(founded, signed(first(founded), signers)) is Number.RELEASE_INVALID


async def test_somebody_who_is_no_approver_counts_for_nothing(founded, keys):
    releases = first(founded)
    assert await refused(founded, signed(releases, [keys[0], SshKey()])) is Number.RELEASE_INVALID
    assert await refused(founded, signed(releases, [*keys[:2], SshKey()])) is Number.RELEASE_INVALID


async def test_approvals_of_another_list_are_refused(founded, keys):
    other = decode(signed(first(founded, min_svn=1), keys[:2]), SignedReleases, limit=MAX_RELEASES)
    moved = SignedReleases(encode(first(founded)), other.approvals)
    assert await refused(founded, encode(moved)) is Number.RELEASE_INVALID


async def test_a_list_of_another_cluster_or_role_is_refused(founded, keys):
    releases = first(founded)
    for bent in ({"cluster": bytes(32)}, {"role": "authenticator"}):
        changed = msgspec.structs.replace(releases, **bent)
        assert await refused(founded, signed(changed, keys[:2])) is Number.RELEASE_INVALID


@pytest.mark.parametrize("namespace", [b"strongroom", b"git", b"file"])
async def test_what_an_approver_signed_for_something_else_is_no_approval(founded, keys, namespace):
    bytes_of = signed(first(founded), keys[:2], namespace=namespace)
    assert await refused(founded, bytes_of) is Number.RELEASE_INVALID


@pytest.mark.parametrize("kind", KEY_TYPES[2:])
async def test_a_security_key_that_nobody_touched_approves_nothing(tmp_path, kind):
    key = SshKey(kind=kind)
    founded = await found(tmp_path, approvers=[key.public_key], approvals=1)
    assert await refused(founded, signed(first(founded), [key], flags=0)) is Number.RELEASE_INVALID


async def test_a_cluster_without_approvers_takes_no_list_of_anybody(tmp_path, keys):
    founded = await found(tmp_path)
    assert await refused(founded, signed(first(founded), keys)) is Number.RELEASE_INVALID
    assert await refused(founded, signed(first(founded), [])) is Number.RELEASE_INVALID
    cluster = founded.instance.enclave._cluster
    assert cluster is not None
    releasing = cluster._releasing
    releasing.verify_admitted("insecure-software", own(founded))
    for program in (("insecure-software", NEW), ("sgx", own(founded))):
        with pytest.raises(Refused) as caught:
            releasing.verify_admitted(*program)
        assert caught.value.number is Number.NOT_RELEASED


# --- one list after the other -----------------------------------------------------------------------------------------


async def test_the_same_list_again_is_the_same_success_and_changes_nothing(founded, keys):
    releases = first(founded)
    await publish(founded, signed(releases, keys[:2]))
    commits = founded.instance.host.commits
    assert (await publish(founded, signed(releases, keys[:2]))).serial == 1
    # Whoever else signed it: what counts is the list.
    assert (await publish(founded, signed(releases, keys))).serial == 1
    assert founded.instance.host.commits == commits
    assert life(founded) == [("released", 1)]


async def test_a_serial_that_is_skipped_repeated_or_older_is_refused(founded, keys):
    one, two = first(founded), msgspec.structs.replace(first(founded), serial=2)
    assert await refused(founded, signed(two, keys[:2])) is Number.RELEASE_INVALID
    await publish(founded, signed(one, keys[:2]))
    other = msgspec.structs.replace(one, min_svn=1)
    assert await refused(founded, signed(other, keys[:2])) is Number.RELEASE_INVALID
    await publish(founded, signed(two, keys[:2]))
    assert await refused(founded, signed(one, keys[:2])) is Number.RELEASE_INVALID


async def test_the_lowest_security_version_never_falls(founded, keys):
    await publish(founded, signed(first(founded, min_svn=1), keys[:2]))
    lower = msgspec.structs.replace(first(founded), serial=2)
    assert await refused(founded, signed(lower, keys[:2])) is Number.RELEASE_INVALID


async def test_what_is_listed_below_the_lowest_security_version_gets_nothing(founded, keys):
    releases = listing(
        founded.cluster_id, 1, release("old", NEW, svn=1), release("now", own(founded), svn=2), min_svn=2
    )
    await publish(founded, signed(releases, keys[:2]))
    assert await admitted(founded.instance) == {"old": False, "now": True}


async def test_a_program_does_not_pass_the_floor_under_a_second_name(founded, keys):
    for twice in (
        [release("1", own(founded), svn=2), release("old", NEW, svn=1), release("new", NEW, svn=2)],
        [release("1", own(founded), svn=2), release("1", NEW, svn=2)],
        [release("1", own(founded), own(founded))],
    ):
        releases = listing(founded.cluster_id, 1, *twice)
        assert await refused(founded, signed(releases, keys[:2])) is Number.RELEASE_INVALID


@pytest.mark.parametrize("version", ["2" + " " * 60, "2 =", "2\u3164", "2\u00a0", "2\n", "2\x1b[8m", "", "2" * 65])
async def test_no_version_hides_what_stands_beside_it(founded, keys, version):
    """Approvers read "NEW" behind it."""
    releases = listing(founded.cluster_id, 1, release("1", own(founded)), release(version, NEW, svn=2))
    assert await refused(founded, signed(releases, keys[:2])) is Number.RELEASE_INVALID


async def test_a_list_that_leaves_out_the_program_that_runs_is_refused(founded, keys):
    without = listing(founded.cluster_id, 1, release("2", NEW, svn=2))
    assert await refused(founded, signed(without, keys[:2])) is Number.RELEASE_INVALID
    below = listing(founded.cluster_id, 1, release("1", own(founded)), release("2", NEW, svn=2), min_svn=2)
    assert await refused(founded, signed(below, keys[:2])) is Number.RELEASE_INVALID


async def test_two_lists_at_once_are_one_after_the_other(founded, keys):
    one, other = first(founded), first(founded, min_svn=1)
    sessions = [await talk(founded.instance) for _ in range(2)]
    lists = [signed(releases, keys[:2]) for releases in (one, other)]
    asked = zip(sessions, lists, strict=True)
    answers = await asyncio.gather(
        *(session.ask(Publish(releases=releases)) for session, releases in asked), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Misuse", "Published"]
    assert life(founded) == [("released", 1)]


# --- retired ------------------------------------------------------------------------------------------------------


async def with_both(founded, keys):
    """List 1 names two programs, and the second one has the ring, too."""
    await publish(founded, signed(first(founded), keys[:2]))
    other = Program2("vault", founded.instance.state)
    key = instance_key(other)
    keeping, ring = founded.instance.enclave._cluster._releasing._keeping, founded.instance.enclave._cluster._ring
    guest = Instance(key.label, other.kind, NEW, key.kem.public, 0)
    async with keeping.one_change:
        await keeping.change([], instances=[*ring.state.instances, guest])


async def start_other(founded, rows, log):
    """The second program, on a copy of the database."""
    other = Nursed("vault", founded.instance.state, founded.owner.public)
    other.platform = Program2("vault", founded.instance.state)
    other.host.rows, other.host.log = dict(rows), list(log)
    await other.begin("open")
    return other


async def test_a_retired_program_loses_its_wrap_and_does_not_start_any_more(founded, keys):
    await with_both(founded, keys)
    host = founded.instance.host
    rows, log = dict(host.rows), list(host.log)
    assert (await status_of(await start_other(founded, rows, log))).state == "serving"
    alone = listing(founded.cluster_id, 2, release("1", own(founded)))
    await publish(founded, signed(alone, keys[:2]))
    status = await status_of(founded.instance)
    assert [one.measurement for one in status.instances] == [own(founded).hex()]
    assert ("rotated", 2) in life(founded)
    assert status.epochs is not None
    assert status.epochs.current == 2
    assert await admitted(founded.instance) == {"1": True}
    with pytest.raises(Untrusted) as caught:
        await start_other(founded, host.rows, host.log)
    assert caught.value.number is Number.INTEGRITY
    # The row that has its wrap opens: in a database that is newer, and soon one that it has no key for.
    with pytest.raises(Untrusted) as caught:
        await start_other(founded, host.rows | {RING_KEY: rows[RING_KEY]}, host.log)
    assert caught.value.number in (Number.ROLLED_BACK, Number.INTEGRITY)


async def test_an_older_list_does_not_come_back_with_an_older_row_of_the_ring(founded, keys):
    await publish(founded, signed(first(founded), keys[:2]))
    host = founded.instance.host
    old = host.rows[RING_KEY]
    await publish(founded, signed(msgspec.structs.replace(first(founded), serial=2), keys[:2]))
    host.rows[RING_KEY] = old
    with pytest.raises(Untrusted) as caught:
        await founded.instance.begin("open")
    assert caught.value.number is Number.ROLLED_BACK


async def test_the_charter_beside_a_ring_is_not_exchanged_for_an_older_one(founded, keys):
    """An Authenticator has no log: the ring itself has to notice."""
    await publish(founded, signed(first(founded), keys[:2]))
    host = founded.instance.host
    old = decode(host.rows[RING_KEY].sealed, SealedRing, limit=MAX_MESSAGE)
    await publish(founded, signed(listing(founded.cluster_id, 2, release("1", own(founded))), keys[:2]))
    row = host.rows[RING_KEY]
    new = decode(row.sealed, SealedRing, limit=MAX_MESSAGE)
    bent = msgspec.structs.replace(new, charter=old.charter)
    host.rows[RING_KEY] = Row(row.version, encode(bent))
    with pytest.raises(Untrusted) as caught:
        await founded.instance.begin("open")
    assert caught.value.number is Number.INTEGRITY


async def test_an_authenticator_goes_by_its_own_list(tmp_path, keys):
    founded = await found(tmp_path, role="authenticator", approvers=[keys[0].public_key], approvals=1)
    releases = first(founded, role="authenticator")
    assert (await publish(founded, signed(releases, keys[:1]))).serial == 1
    await founded.instance.begin("open")
    assert await admitted(founded.instance) == {"1": True, "2": True}


async def test_raising_the_floor_retires_what_it_leaves_below(founded, keys):
    releases = listing(founded.cluster_id, 1, release("1", NEW, svn=1), release("2", own(founded), svn=2))
    await publish(founded, signed(releases, keys[:2]))
    assert life(founded) == [("released", 1)]
    raised = msgspec.structs.replace(releases, serial=2, min_svn=2)
    await publish(founded, signed(raised, keys[:2]))
    assert life(founded)[:3] == [("released", 1), ("released", 2), ("rotated", 2)]
    assert [one.measurement for one in (await charter_of(founded.instance)).named] == [own(founded)]


async def test_what_only_adds_a_program_turns_no_epoch(founded, keys):
    await publish(founded, signed(listing(founded.cluster_id, 1, release("1", own(founded))), keys[:2]))
    await publish(founded, signed(msgspec.structs.replace(first(founded), serial=2), keys[:2]))
    assert life(founded) == [("released", 1), ("released", 2)]


async def test_approvers_who_left_office_bring_no_new_program_to_the_ring(founded, keys):
    """They may have been replaced because somebody has their keys."""
    await publish(founded, signed(first(founded), keys[:2]))
    newcomer = SshKey()
    await another_council(founded, approvers=[newcomer.public_key], approvals=1)
    assert await admitted(founded.instance) == {"1": True, "2": False}
    second = msgspec.structs.replace(first(founded), serial=2)
    assert await refused(founded, signed(second, keys)) is Number.RELEASE_INVALID
    await founded.instance.begin("open")
    assert await admitted(founded.instance) == {"1": True, "2": False}
    await publish(founded, signed(second, [newcomer]))
    assert await admitted(founded.instance) == {"1": True, "2": True}


async def test_the_same_list_by_those_who_approve_now_counts_again(founded, keys):
    await publish(founded, signed(first(founded), keys[:2]))
    newcomer = SshKey()
    await another_council(founded, approvers=[newcomer.public_key], approvals=1)
    await publish(founded, signed(first(founded), [newcomer]))
    assert await admitted(founded.instance) == {"1": True, "2": True}
    assert [number for event, number in life(founded) if event == "released"] == [1, 1]
    commits = founded.instance.host.commits
    await publish(founded, signed(first(founded), [newcomer]))
    assert founded.instance.host.commits == commits
    await founded.instance.begin("open")
    assert await admitted(founded.instance) == {"1": True, "2": True}


async def test_a_list_of_as_many_programs_as_fit_leaves_evidence_and_status_readable(founded, keys):
    many = [Program("tdx", at.to_bytes(240)) for at in range(119)]
    releases = [ListedRelease(f"{at}", 1, many[8 * at : 8 * at + 8]) for at in range(15)]
    whole = signed(listing(founded.cluster_id, 1, release("now", own(founded)), *releases), keys)
    assert MAX_RELEASES - 1024 < len(whole) <= MAX_RELEASES
    await publish(founded, whole)
    assert (await talk(founded.instance)).claims.release == 1
    assert len((await status_of(founded.instance)).releases) == 120


async def test_a_council_without_approvers_leaves_nobody_new_the_ring(founded, keys):
    await publish(founded, signed(first(founded), keys[:2]))
    await another_council(founded)
    assert await admitted(founded.instance) == {"1": True, "2": False}


async def another_council(founded, **fields):
    """The same custodians set up another council."""
    owner = await talk(founded.instance, founded.owner)
    convened = await owner.ask(convene(founded.custodians, 2, **fields))
    before = [founded.custodians.endorsement(at, convened.statement) for at in range(2)]
    founded.custodians.receive(convened)
    accepted = [founded.custodians.acceptance(at, convened.statement) for at in range(3)]
    for signature in (*before, *accepted):
        await owner.ask(signature)


async def test_who_asks_again_and_again_how_it_stands_has_nothing_judged_anew(founded, keys, monkeypatch):
    """A list may have 256 programs, and judging each by itself cost 14 ms of the one loop each time."""
    judged: list[int] = []
    judge = Releasing._admitted_by

    def counting(self, charter):
        judged.append(1)
        return judge(self, charter)

    monkeypatch.setattr(Releasing, "_admitted_by", counting)
    await publish(founded, signed(first(founded), keys[:2]))
    for _ in range(3):
        assert await admitted(founded.instance) == {"1": True, "2": True}
    assert len(judged) == 1
    await publish(founded, signed(listing(founded.cluster_id, 2, release("1", own(founded))), keys[:2]))
    assert await admitted(founded.instance) == {"1": True}


# --- the delay ------------------------------------------------------------------------------------------------------


@dataclass
class Delayed(Founded):
    watch: Watch
    slept: list[int]
    """Seconds for which the host has held the enclave still: witnesses are so far ahead."""


@pytest.fixture
async def delayed(tmp_path, keys, monkeypatch):
    """A Vault with witnesses, whose lists must stand for a day."""
    monkeypatch.setattr(witnessing, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(witnessing, "RENEWAL_SECONDS", 0.2)
    slept = [0]
    founded, watch = await found_watched(
        tmp_path,
        lambda: slept[0],
        approvers=[one.public_key for one in keys],
        approvals=2,
        release_delay=DAY,
    )
    yield Delayed(**vars(founded), watch=watch, slept=slept)
    watch.close()


async def beat(founded):
    """A commit that witnesses see now."""
    await founded.instance.enclave._door._service.keep(None, [])


async def test_a_program_gets_nothing_before_its_list_has_stood_for_the_delay(delayed, keys):
    await publish(delayed, signed(first(delayed), keys[:2]))
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    delayed.instance.platform.ahead = DAY - 60
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    # The host's clock alone is nobody's word.
    delayed.instance.platform.ahead = DAY + 60
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": True}


async def test_a_restart_does_not_begin_the_delay_anew_and_a_new_list_only_for_what_is_new(delayed, keys):
    await publish(delayed, signed(first(delayed), keys[:2]))
    delayed.instance.platform.ahead = DAY + 60
    more = listing(
        delayed.cluster_id, 2, release("1", own(delayed)), release("2", NEW, svn=2), release("3", bytes(32), svn=3)
    )
    await beat(delayed)
    await publish(delayed, signed(more, keys[:2]))
    assert await admitted(delayed.instance) == {"1": True, "2": True, "3": False}
    await delayed.instance.begin("open")
    assert await admitted(delayed.instance) == {"1": True, "2": True, "3": False}


async def test_a_program_that_was_left_out_waits_again(delayed, keys):
    await publish(delayed, signed(first(delayed), keys[:2]))
    await publish(delayed, signed(listing(delayed.cluster_id, 2, release("1", own(delayed))), keys[:2]))
    delayed.instance.platform.ahead = DAY + 60
    await beat(delayed)
    await publish(delayed, signed(msgspec.structs.replace(first(delayed), serial=3), keys[:2]))
    assert await admitted(delayed.instance) == {"1": True, "2": False}


async def test_time_in_which_no_witness_saw_the_list_does_not_count(delayed, keys):
    """The host holds up the witnesses: what they said before the list is no beginning of its delay."""
    delayed.watch.down = {0, 1, 2}
    with pytest.raises(StrongroomError) as caught:
        await publish(delayed, signed(first(delayed), keys[:2]))
    assert caught.value.number is Number.WITNESSES_UNAVAILABLE
    delayed.instance.platform.ahead = DAY + 60
    assert not (await admitted(delayed.instance)).get("2")
    delayed.watch.down = set()
    await beat(delayed)
    await publish(delayed, signed(first(delayed), keys[:2]))
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    named = (await charter_of(delayed.instance)).named
    assert all(one.witnessed >= int(delayed.instance.platform.now()) - 10 for one in named)


async def test_a_list_that_no_witness_has_seen_yet_is_shown_as_soon_as_it_is_in_force(delayed, keys):
    """It is durable: evidence of before would let clients keep an older list in mind."""
    assert parse_evidence(await delayed.instance.evidence())[1].release == 0
    delayed.watch.down = {0, 1, 2}
    with pytest.raises(StrongroomError):
        await publish(delayed, signed(first(delayed), keys[:2]))
    assert parse_evidence(await delayed.instance.evidence())[1].release == 1


async def test_a_list_that_nobody_publishes_again_counts_from_when_witnesses_are_back(delayed, keys):
    """Not from when it was written, nor from before."""
    delayed.watch.down = {0, 1, 2}
    with pytest.raises(StrongroomError):
        await publish(delayed, signed(first(delayed), keys[:2]))
    delayed.instance.platform.ahead = DAY + 60
    delayed.watch.down = set()
    await delayed.instance.begin("open")
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    delayed.instance.platform.ahead = 2 * DAY
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    delayed.instance.platform.ahead = 2 * DAY + 120
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": True}


async def test_a_host_that_holds_up_the_commit_of_a_list_has_nothing_counted_for_it(delayed, keys):
    host = delayed.instance.host
    commit = host.commit

    async def slow(puts, size, leaves):
        if any(put.key == RING_KEY for put in puts):
            delayed.instance.platform.ahead += DAY
        await commit(puts, size, leaves)

    host.commit = slow
    await publish(delayed, signed(first(delayed), keys[:2]))
    host.commit = commit
    await beat(delayed)
    named = {one.measurement: one for one in (await charter_of(delayed.instance)).named}
    assert named[NEW].witnessed >= named[NEW].at + DAY - 10


async def test_a_host_that_holds_the_enclave_still_has_none_of_that_time_counted(delayed, keys):
    """The last cosignature looks seconds old to it, and is from the day before."""
    delayed.slept[0] = DAY + 700
    # Now, and not before, approvers sign. The host carries the list there, and holds the witnesses up for a moment.
    delayed.watch.down = {0, 1, 2}
    with pytest.raises(StrongroomError) as caught:
        await publish(delayed, signed(first(delayed), keys[:2]))
    assert caught.value.number is Number.WITNESSES_UNAVAILABLE
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    delayed.instance.platform.ahead, delayed.slept[0], delayed.watch.down = DAY + 700, 0, set()
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    delayed.instance.platform.ahead += DAY + 60
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": True}


def with_bad_witnesses(delayed, time, count=1):
    """A host that shows as many witnesses as it takes, of which `count` are in league with it and say `time`."""
    watch, host = delayed.watch, delayed.instance.host

    async def cosigned(note):
        watch.know(delayed.instance)
        checkpoint = parse_checkpoint(note).checkpoint
        bad = [cosign(watch.keys[at], watch.names[at], checkpoint, time) for at in range(count)]
        honest = [watch.ask(at, note, host.log) for at in range(count, 2)]
        return b"".join([*(f"{line}\n".encode() for line in bad), *honest])

    host.witnesses = cosigned


async def test_one_bad_witness_does_not_date_a_list_back(delayed, keys):
    host, platform = delayed.instance.host, delayed.instance.platform
    honest, start = host.witnesses, int(platform.now())
    platform.ahead = 2 * DAY
    with_bad_witnesses(delayed, start)
    await delayed.instance.begin("open")
    await publish(delayed, signed(first(delayed), keys[:2]))
    host.witnesses = honest
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": False}
    named = (await charter_of(delayed.instance)).named
    assert all(one.witnessed >= start + 2 * DAY for one in named)


async def test_no_witnesses_date_a_list_before_a_time_proven_past(delayed, keys):
    start = int(delayed.instance.platform.now())
    delayed.instance.platform.ahead = 2 * DAY
    await beat(delayed)
    with_bad_witnesses(delayed, start, count=2)
    await publish(delayed, signed(first(delayed), keys[:2]))
    assert all(one.witnessed >= start + 2 * DAY for one in (await charter_of(delayed.instance)).named)


async def test_one_bad_witness_does_not_date_a_list_ahead_so_that_its_delay_never_ends(delayed, keys):
    host, platform = delayed.instance.host, delayed.instance.platform
    honest = host.witnesses
    with_bad_witnesses(delayed, 2**60)
    with pytest.raises(StrongroomError) as caught:
        await publish(delayed, signed(first(delayed), keys[:2]))
    assert caught.value.number is Number.WITNESSES_UNAVAILABLE
    host.witnesses = honest
    await beat(delayed)
    await publish(delayed, signed(first(delayed), keys[:2]))
    platform.ahead = DAY + 60
    await beat(delayed)
    assert await admitted(delayed.instance) == {"1": True, "2": True}
    await delayed.instance.begin("open")  # what is kept can be read again


async def test_strangers_who_repeat_the_list_while_witnesses_are_away_hold_nothing_up(delayed, keys):
    releases = signed(first(delayed), keys[:2])
    delayed.watch.down = {0, 1, 2}
    with pytest.raises(StrongroomError):
        await publish(delayed, releases)
    commits = delayed.instance.host.commits
    async with asyncio.timeout(witnessing.ANSWER_SECONDS):
        for _ in range(3):
            with pytest.raises(StrongroomError) as caught:
                await publish(delayed, releases)
            assert caught.value.number is Number.WITNESSES_UNAVAILABLE
    assert delayed.instance.host.commits == commits
    delayed.watch.down = set()
    await beat(delayed)
    await publish(delayed, releases)
    commits = delayed.instance.host.commits
    # Kept once: then it is the same success without a line.
    delayed.watch.down = {0, 1, 2}
    assert (await publish(delayed, releases)).serial == 1
    assert delayed.instance.host.commits == commits


async def test_without_witnesses_a_delay_admits_nothing_new(tmp_path, keys):
    """Nobody but the host could say that it is over."""
    founded = await found(tmp_path, approvers=[keys[0].public_key], approvals=1, release_delay=DAY)
    await publish(founded, signed(first(founded), keys[:1]))
    assert await admitted(founded.instance) == {"1": True, "2": False}
    founded.instance.platform.ahead = 2 * DAY
    assert await admitted(founded.instance) == {"1": True, "2": False}


async def test_a_whole_older_database_brings_no_older_list_back_where_there_are_witnesses(delayed, keys):
    await publish(delayed, signed(first(delayed), keys[:2]))
    host = delayed.instance.host
    rows, log = dict(host.rows), list(host.log)
    await publish(delayed, signed(listing(delayed.cluster_id, 2, release("1", own(delayed))), keys[:2]))
    host.rows, host.log = rows, log
    starting = asyncio.create_task(delayed.instance.begin("open"))
    await asyncio.sleep(0.5)
    assert not starting.done()
    assert host.log == log
    starting.cancel()
    await asyncio.wait({starting})
