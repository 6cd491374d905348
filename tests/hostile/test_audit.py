"""Logs that were bent, and whether an audit names what was done to them."""

import os
from typing import Any, cast

import pytest

from strongroom.client.audit import rows
from strongroom.client.audit.log import Audit, found
from strongroom.client.audit.report import Facts, Report
from strongroom.protocol import index
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.leaves import CommitLeaf, EntryLeaf, parse_leaf
from strongroom.protocol.link import Row
from strongroom.protocol.notes import SignedCheckpoint, sign_checkpoint
from strongroom.protocol.primitives import Domain, NoteKey, digest
from strongroom.protocol.tlog import Frontier
from tests.support.evidence import Cluster, changed
from tests.support.logs import MadeLog, Shown, Witness, audited, findings, states


def bent(leaf, **fields):
    return encode(changed(parse_leaf(leaf), **fields))


async def test_an_honest_log_holds():
    made = MadeLog().grow(commits=200)
    made.start()
    made.grow()
    report = await audited(made, since=[made.note(1), made.note(301)])
    assert not report.failed
    assert set(states(report).values()) == {"holds", "not checked"}
    facts = report.facts
    assert (facts.size, facts.commits, facts.entries, facts.starts) == (len(made.leaves), 208, 410, 3)
    assert facts.root == made.checkpoint().root


# --- what whoever keeps the log can do ---------------------------------------------------------------------------


async def test_a_leaf_that_was_left_out_is_noticed():
    made = MadeLog().grow()
    report = await audited(made, [*made.leaves[:4], *made.leaves[5:], made.leaves[-1]])
    assert "altered, left out or put in another order" in findings(report, "root")


async def test_a_log_that_was_cut_off_is_noticed():
    made = MadeLog().grow(commits=300)
    report = await audited(made, made.leaves[:700])
    assert "cut off" in findings(report, "root")


async def test_commits_in_another_order_are_noticed_and_placed():
    made = MadeLog().grow(entries=0)
    leaves = list(made.leaves)
    leaves[2], leaves[4] = leaves[4], leaves[2]
    report = await audited(made, leaves)
    assert "another order" in findings(report, "root")
    assert "leaf 3: 10 s before" in findings(report, "times")


async def test_an_altered_leaf_is_noticed():
    made = MadeLog().grow()
    leaves = list(made.leaves)
    leaves[3] = bent(leaves[3], unticketed=7)
    assert "altered" in findings(await audited(made, leaves), "root")


async def test_another_root_under_a_true_signature_line_is_no_checkpoint():
    made = MadeLog().grow()
    longer = MadeLog()
    longer.cluster, longer.leaves = made.cluster, list(made.leaves)
    longer.commit()
    forged = SignedCheckpoint(longer.checkpoint(), made.signed().lines)
    report = await audited(made, longer.leaves, forged.note)
    assert states(report)["checkpoint"] == "fails"
    assert states(report)["root"] == "not checked"


async def test_a_checkpoint_of_another_log_is_none_of_this():
    made, other = MadeLog().grow(), MadeLog().grow()
    report = await audited(made, other.leaves, other.note())
    assert "of another log" in findings(report, "checkpoint")


async def test_a_log_that_does_not_extend_what_was_known_is_named():
    made = MadeLog().grow()
    before = made.note()
    made.leaves = made.leaves[:-3]
    made.grow()
    report = await audited(made, since=[before])
    assert states(report)["root"] == "holds"
    assert "altered, left out" in findings(report, "since")


async def test_a_log_that_was_rolled_back_is_named():
    made = MadeLog().grow()
    before, size = made.note(), len(made.leaves)
    made.leaves = made.leaves[:-3]
    report = await audited(made, since=[before])
    assert f"covers {size} leaves, and there are {size - 3}" in findings(report, "since")


async def test_an_earlier_checkpoint_that_nobody_signed_counts_for_nothing():
    made = MadeLog().grow()
    forged = sign_checkpoint(NoteKey(bytes(32)), made.checkpoint(3)).note
    assert states(await audited(made, since=[forged]))["since"] == "fails"


def test_the_genesis_statement_of_another_cluster_is_refused():
    made, other = MadeLog(), MadeLog()
    with pytest.raises(Untrusted, match=other.cluster.id.hex()) as refused:
        found(other.cluster.genesis, {made.cluster.id})
    assert refused.value.number is Number.POLICY


def test_bytes_that_are_no_genesis_statement_are_refused_also_under_their_own_digest():
    with pytest.raises(Untrusted):
        found(b"\xff", {cluster_id(b"\xff")})


# --- what only somebody with the log's key could do, or a Vault that was run twice -------------------------------


async def test_two_runs_that_interleave_are_two_instances():
    made = MadeLog().grow()
    first = made.owner
    made.start()
    made.commit(owner=first)
    report = await audited(made)
    assert f"run {first.hex()} is back" in findings(report, "owners")
    assert states(report)["root"] == "holds"


async def test_an_exchanged_owner_without_a_start_is_noticed():
    made = MadeLog().grow()
    made.commit(owner=b"x" * 16)
    made.commit(owner=b"x" * 16)
    assert "takes over without a start" in findings(await audited(made), "owners")


async def test_a_run_starts_once():
    made = MadeLog().grow()
    made.commit(start=True)
    assert "starts a second time" in findings(await audited(made), "owners")


@pytest.mark.parametrize("name", ["generation", "release", "recoveries"])
async def test_what_never_falls_is_noticed_when_it_does(name):
    made = MadeLog().grow()
    made.commit(**{name: 3})
    made.commit(**{name: 2})
    assert f"{name} goes from 3 to 2" in findings(await audited(made), "serials")


async def test_a_clock_floor_that_falls_is_noticed():
    made = MadeLog().grow()
    made.commit(clock_floor=made.at)
    made.commit(clock_floor=made.at - 100)
    assert "falls from" in findings(await audited(made), "clock-floor")


async def test_a_commit_behind_the_clock_floor_is_noticed():
    made = MadeLog().grow()
    made.commit(clock_floor=made.at + 1000)
    assert "behind the clock floor" in findings(await audited(made), "times")


async def test_a_clock_that_was_set_back_is_told_and_no_crime():
    made = MadeLog().grow()
    made.commit(at=made.at - 5)
    report = await audited(made)
    assert not report.failed
    assert states(report)["times"] == "noticed"


async def test_a_key_ring_that_is_exchanged_under_a_running_vault_is_noticed():
    made = MadeLog().grow()
    made.commit(ring=b"x" * 32)
    assert "no start" in findings(await audited(made), "ring")
    made = MadeLog().grow()
    made.start(ring=b"x" * 32)
    assert states(await audited(made))["ring"] == "holds"


async def test_entries_that_no_commit_made_true_are_noticed():
    made = MadeLog().grow()
    made.leaves.append(encode(EntryLeaf(commitment=bytes(32), sealed=b"")))
    assert "no commit" in findings(await audited(made), "leaves")


async def test_a_checkpoint_between_entries_and_their_commit_is_noticed():
    made = MadeLog().grow(commits=3, entries=2)
    report = await audited(made, since=[made.note(3)])  # after the start, and two entries
    assert "the checkpoint of 3 leaves ends with 2 entries" in findings(report, "leaves")


@pytest.mark.parametrize("leaf", [b"", b"\x80", b"leaf", b"\xff" * 4096, b"\x93" * 1000])
async def test_what_is_no_leaf_is_noticed(leaf):
    made = MadeLog().grow()
    made.leaves.insert(3, leaf)
    report = await audited(made)
    assert "leaf 3" in findings(report, "leaves")
    assert states(report)["root"] == "holds"


# --- witnesses ---------------------------------------------------------------------------------------------------


def witnessed():
    witnesses = [Witness(f"witness{number}.example") for number in range(3)]
    return MadeLog(witnesses, 2).grow(), witnesses


async def test_cosignatures_are_counted_and_dated():
    made, witnesses = witnessed()
    report = await audited(made, note=made.note(by=witnesses[:2]))
    assert not report.failed
    assert states(report)["cosignatures"] == "holds"


async def test_too_few_witnesses_are_noticed():
    made, witnesses = witnessed()
    report = await audited(made, note=made.note(by=witnesses[:1]))
    assert "1 of 3 witnesses have cosigned, and it takes 2" in findings(report, "cosignatures")


async def test_one_witness_that_signs_twice_is_one():
    made, (first, _, _) = witnessed()
    checkpoint = made.checkpoint()
    note = made.signed().with_lines([first.line(checkpoint, made.at), first.line(checkpoint, made.at + 1)]).note
    report = await audited(made, note=note)
    assert "1 of 3 witnesses" in findings(report, "cosignatures")


async def test_a_forged_cosignature_is_named():
    made, witnesses = witnessed()
    stranger = Witness(witnesses[2].name)
    report = await audited(made, note=made.note(by=[*witnesses[:2], stranger]))
    assert f"in the name of {stranger.name}" in findings(report, "cosignatures")


async def test_a_cosignature_of_another_checkpoint_is_named():
    made, witnesses = witnessed()
    older = made.signed(3, by=witnesses[:1]).lines[-1]
    note = made.signed(by=witnesses[1:]).with_lines([older]).note
    assert witnesses[0].name in findings(await audited(made, note=note), "cosignatures")


async def test_a_cosignature_from_the_future_is_named():
    made, witnesses = witnessed()
    checkpoint = made.checkpoint()
    lines = [one.line(checkpoint, made.at + 7200) for one in witnesses]
    report = await audited(made, note=made.signed().with_lines(lines).note)
    assert "into the future" in findings(report, "cosignatures")


async def test_a_kept_checkpoint_that_witnesses_have_not_seen_yet_is_no_rollback():
    made, witnesses = witnessed()
    note, size = made.note(by=witnesses[:2]), len(made.leaves)
    shown = list(made.leaves)
    made.commit(2)
    report = await audited(made, shown, note, since=[made.note()])
    since = next(check for check in report.checks if check.name == "since")
    assert (since.state, since.count) == ("not checked", 0)
    assert f"newer than what witnesses have seen ({size} of {size + 3})" in since.detail
    both = await audited(made, shown, note, since=[made.note(3), made.note()])
    assert states(both)["since"] == "noticed"
    assert states(await audited(made, made.leaves, note, since=[made.note()]))["since"] == "holds"


async def test_a_rollback_behind_what_witnesses_saw_and_a_fork_beyond_it_are_named():
    made, witnesses = witnessed()
    note, shown = made.note(by=witnesses[:2]), list(made.leaves)
    made.commit(2)
    report = await audited(made, shown, note, since=[made.note(by=witnesses[1:])])
    assert "was rolled back" in findings(report, "since")
    forked = [*made.leaves[:-1], bent(made.leaves[-1], unticketed=7)]
    report = await audited(made, forked, note, since=[made.note()])
    assert "altered" in findings(report, "since")


async def test_a_vault_that_shows_a_month_old_log_is_named_and_an_old_copy_is_told():
    made, witnesses = witnessed()
    note = made.note(by=witnesses[:2])
    fresh = await audited(made, note=note, later=900, shows="running")
    assert states(fresh)["cosignatures"] == "holds"
    old = await audited(made, note=note, later=30 * 86400, shows="running")
    assert "nobody has seen it since 20" in findings(old, "cosignatures")
    assert states(old)["cosignatures"] == "fails"
    copy = await audited(made, note=note, later=30 * 86400, shows="copy")
    assert states(copy)["cosignatures"] == "noticed"


async def test_since_tells_the_largest_of_the_checkpoints_that_it_holds_for():
    made = MadeLog().grow()
    report = await audited(made, since=[made.note(4), made.note(1), made.note(7)])
    assert next(check for check in report.checks if check.name == "since").count == 7


async def test_without_witnesses_nothing_is_made_up():
    assert states(await audited(MadeLog().grow()))["cosignatures"] == "not checked"


async def test_without_a_checkpoint_nothing_vouches_for_the_leaves():
    made = MadeLog().grow()

    class Kept(Shown):
        async def size(self):
            return len(self.shown)

    report = await Audit(made.founding, now=made.at).run(Kept(made.leaves), note=None)
    assert states(report)["root"] == "not checked"
    assert states(report)["leaves"] == "holds"
    newer = await Audit(made.founding, now=made.at).run(Kept(made.leaves), note=made.note(4))
    assert states(newer)["root"] == "noticed"


async def test_a_log_without_a_checkpoint_must_end_with_a_commit():
    made = MadeLog().grow()
    made.leaves.append(encode(EntryLeaf(commitment=bytes(32), sealed=b"")))

    class Kept(Shown):
        async def size(self):
            return len(self.shown)

    report = await Audit(made.founding, now=made.at).run(Kept(made.leaves), note=None)
    assert "the log ends with 1 entries" in findings(report, "leaves")


async def test_a_commit_of_another_shard_is_noticed():
    made = MadeLog().grow()
    made.commit(shard=1)
    assert "shard goes from 0 to 1" in findings(await audited(made), "serials")


def test_an_authenticators_genesis_statement_has_no_log():
    cluster = Cluster("authenticator")
    with pytest.raises(Untrusted, match="authenticator, which has no log"):
        found(cluster.genesis, {cluster.id})


# --- indexes that only who signs commits could have written, and databases that lie about them -------------------


class MadeRows:
    """A database of one bucket, or of as many as are written."""

    def __init__(self):
        self.rows = {index.RING_KEY: Row(1, b"ring"), index.HEAD_KEY: Row(1, b"head")}
        self.kept = sorted(os.urandom(32) for _ in range(5))
        for key in self.kept:
            self.rows[key] = Row(3, b"sealed" + key)
        self.buckets = [b"".join(map(self.listed, self.kept))]

    def listed(self, key, last=0):
        row = self.rows[key]
        found = digest(Domain.ROW, row.sealed)
        return key + row.version.to_bytes(8, "big") + found + bytes(8) + last.to_bytes(8, "big")

    async def count(self):
        return len(self.rows)

    async def read(self, keys):
        return [self.rows.get(key) for key in keys]

    async def audit(self, size=10, **fields):
        """Of what the last commit says to be so."""
        tree = Frontier()
        for number, content in enumerate(self.buckets):
            self.rows[index.bucket_key(number)] = Row(1, content)
            tree.append(digest(Domain.BUCKET, number.to_bytes(8, "big"), (1).to_bytes(8, "big"), content))
        made = MadeLog()
        said: dict[str, Any] = {
            "index_root": tree.root,
            "buckets": len(self.buckets),
            "ring": digest(Domain.ROW, b"ring"),
        }
        made.commit(**said | fields)
        commit = parse_leaf(made.leaves[0])
        assert isinstance(commit, CommitLeaf)
        facts = Facts(size=size, commits=1)
        return Report(b"", facts, await rows.audit_rows(cast("rows.Snapshot", self), commit, facts))


async def test_an_honest_index_holds():
    assert set(states(await MadeRows().audit()).values()) == {"holds"}


async def test_a_bucket_that_lists_rows_in_another_order_or_twice_is_named():
    for order in ([1, 0, 2, 3, 4], [0, 0, 1, 2, 3, 4]):
        made = MadeRows()
        made.buckets = [b"".join(made.listed(made.kept[at]) for at in order)]
        assert "twice, in another order" in findings(await made.audit(), "buckets")


async def test_a_bucket_that_lists_rows_of_another_one_is_named():
    made = MadeRows()
    made.buckets = [*made.buckets, b""]
    while {index.bucket_of(key, 2) for key in made.kept} == {0}:
        made = MadeRows()
        made.buckets = [*made.buckets, b""]
    assert "of another bucket" in findings(await made.audit(), "buckets")


async def test_a_bucket_with_half_a_listing_is_named():
    made = MadeRows()
    made.buckets[0] += b"x"
    assert "not made of listings" in findings(await made.audit(), "buckets")


async def test_a_bucket_that_is_newer_than_the_log_is_named():
    made = MadeRows()
    made.buckets = [b"".join(made.listed(key, last=11) for key in made.kept)]
    assert "newer than the log" in findings(await made.audit(size=10), "buckets")
    assert states(await made.audit(size=11))["buckets"] == "holds"


@pytest.mark.parametrize("buckets", [0, 9, 2**63 - 1])
async def test_a_number_of_buckets_that_can_not_be_is_named_and_costs_nothing(buckets):
    assert states(await MadeRows().audit(buckets=buckets))["index"] == "fails"


async def test_buckets_that_are_gone_are_named():
    made = MadeRows()
    assert "bucket 1 is gone" in findings(await made.audit(buckets=2), "buckets")


async def test_rows_of_a_log_that_is_not_whole_are_not_judged():
    checks = await rows.audit_rows(cast("rows.Snapshot", MadeRows()), None, Facts())
    assert [check.state for check in checks] == ["not checked"]
