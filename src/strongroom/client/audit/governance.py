"""A log beside its cluster's charter: what happened to the key ring was signed by those who govern it (RULES 6, 7, 25).

The charter comes from wherever the log comes from, and proves itself: it begins with the statement whose digest is the
cluster id. Whoever keeps both could show an older charter, or an older log. So each must be what the other one says.

1. A generation of the log that no custodians signed for: what was revoked was put back, and called a recovery.
2. One that gave up another part of the log than they signed.
3. A council, a list of releases or a recovery that only one of the two knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.client.audit.report import Check, shown_time
from strongroom.client.audit.rules import Begun, Released, Rules
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import Council, cluster_id
from strongroom.protocol.governance import (
    MAX_CHARTER,
    Charter,
    Gap,
    is_cut,
    parse_gap,
    statement_digest,
    verify_charter,
)
from strongroom.protocol.leaves import CommitLeaf
from strongroom.protocol.limits import MAX_RECOVERIES
from strongroom.protocol.notes import Checkpoint
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.releases import parse_releases, verify_releases


class Governance:
    """Of one cluster, as its charter says; without one, only that a log began anew is noticed."""

    def __init__(self, cluster: bytes, untrusted_charter: bytes | None) -> None:
        self.generations = Check("generations", "where the log began anew, custodians signed what was given up")
        self.governed = Check("governance", "councils, releases and recoveries of the log are those that were signed")
        self.gaps: list[Gap] = []
        self._charter: Charter | None = None
        self._councils: list[Council] = []
        if untrusted_charter is None:
            self.governed.skip("there is no charter here: name one with --charter")
            return
        try:
            charter = read_charter(untrusted_charter)
            self._councils = verify_charter(charter)[1]
            if cluster_id(charter.genesis.statement) != cluster:
                raise Untrusted(Number.POLICY, "the charter is another cluster's")
            self.gaps = [parse_gap(one.statement) for one in charter.gaps]
        except Untrusted as error:
            self.governed.fail(error.reason)
            return
        self._charter = charter

    @property
    def checks(self) -> list[Check]:
        return [self.generations, self.governed]

    @property
    def generation(self) -> int | None:
        """Of the log; None: nothing says which."""
        return None if self._charter is None else self.gaps[-1].generation if self.gaps else 0

    def kept_of(self, generation: int) -> int | None:
        """Leaves of this generation that later ones go on from; None: it was not followed by another one."""
        return min((gap.found_size for gap in self.gaps if gap.generation > generation), default=None)

    def is_cut(self, generation: int) -> bool:
        """Whether later generations began of which the charter keeps no gap any more."""
        return self._charter is not None and is_cut(self._charter, generation)

    def ends(self) -> list[Checkpoint]:
        """What the tree was wherever something was given up; `origin` is empty."""
        return [Checkpoint("", gap.found_size, gap.found_root) for gap in self.gaps]

    def end(self, rules: Rules, last: CommitLeaf | None, named: int | None) -> None:
        """All leaves were looked at; `last` is None when they were not whole. `named`: the generation that a checkpoint
        which ends with them names."""
        self._end_generations(rules.life.begun)
        if last is not None and named is not None and last.generation != named:
            self.generations.fail(
                f"the checkpoint is of generation {named}, and the last commit that it covers of {last.generation}"
            )
        if last is None:
            if not self.governed.failures:
                self.governed.skip("the log is not whole")
        elif self._charter is not None:
            self._end_charter(self._charter, rules, last)

    def _end_generations(self, begun: Sequence[Begun]) -> None:
        signed = {(gap.generation, gap.found_size): gap for gap in self.gaps}
        replaced = self._replaced()
        for one in begun:
            gap = signed.get(one)
            if gap is None and self.is_cut(one.generation):
                self.generations.notice(
                    f"generation {one.generation} begins after {one.size} leaves, before the oldest gap that the "
                    "charter keeps: what custodians signed for it is not here any more"
                )
                continue
            if gap is None:
                self.generations.fail(
                    f"generation {one.generation} begins after {one.size} leaves, and no charter here says that "
                    "custodians agreed to that"
                )
                continue
            self.generations.hold(
                f"generation {gap.generation} began after {gap.found_size} leaves, on {shown_time(gap.at)}"
            )
            self.generations.notice(_went_back(gap))
            if gap.generation in replaced:
                self.generations.notice(f"others watch it from generation {gap.generation} on, as custodians signed")
        if not begun:
            self.generations.hold("the log never began anew")

    def _replaced(self) -> set[int]:
        """Generations from which on others watch the log than before, as far as that is kept."""
        replaced: set[int] = set()
        before = self.gaps[0].watchers if len(self.gaps) >= MAX_RECOVERIES else None
        for gap in self.gaps:
            if gap.watchers != before:
                replaced.add(gap.generation)
            before = gap.watchers
        return replaced

    def _end_charter(self, charter: Charter, rules: Rules, last: CommitLeaf) -> None:
        life, check = rules.life, self.governed
        councils = [statement_digest(one.statement) for one in charter.successions]
        if councils != life.councils:
            check.fail(
                f"the charter has {len(councils)} councils after the first one, and the log tells of "
                f"{len(life.councils)}, or of others"
            )
        # Of a list that is full older ones may be gone, and of no other.
        full, count = len(self.gaps) >= MAX_RECOVERIES, len(self.gaps)
        told = list(life.gaps)[-count:] if full else list(life.gaps)
        if [digest(Domain.GAP, one.statement) for one in charter.gaps] != told:
            check.fail("the log tells of other gaps than the charter has")
        if life.times < count or (life.times > count and not full):
            check.fail(f"the charter has {count} gaps, and the log began anew {life.times} times")
        if (charter.recoveries, self.generation) != (last.recoveries, last.generation):
            check.fail(
                f"the charter says {charter.recoveries} recoveries and generation {self.generation}, and the last "
                f"commit {last.recoveries} and {last.generation}"
            )
        try:
            serial = self._verify_releases(charter, life.released, last)
        except StrongroomError as error:
            check.fail(error.reason or error.error)
            return
        check.hold(f"council {len(councils)}, releases {serial}, {charter.recoveries} recoveries")

    def _verify_releases(self, charter: Charter, told: Released | None, last: CommitLeaf) -> int:
        """Serial of the list. Raises `Untrusted`."""
        if not charter.releases:
            if last.release or told is not None:
                raise Untrusted(Number.INTEGRITY, "the charter has no list of releases, and the log tells of one")
            return 0
        signed, releases = parse_releases(charter.releases)
        if told is None or (told.serial, told.about) != (releases.serial, digest(Domain.RELEASES, signed.statement)):
            raise Untrusted(Number.INTEGRITY, "the log tells of another list of releases than the charter has")
        # By the council that was in office when it was taken: a later one may have other approvers.
        council = self._councils[min(told.council, len(self._councils) - 1)]
        verify_releases(
            charter.releases,
            cluster=cluster_id(charter.genesis.statement),
            role="vault",
            approvers=council.approvers,
            approvals=council.approvals,
        )
        return releases.serial


def read_charter(untrusted_charter: bytes) -> Charter:
    """Raises `Untrusted` EVIDENCE."""
    try:
        return decode(untrusted_charter, Charter, limit=MAX_CHARTER)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"the charter does not parse ({error.error})") from None


def _went_back(gap: Gap) -> str:
    """To where a recovery went back, and what was given up with it."""
    if not gap.known_size:
        return (
            f"a recovery went on from leaf {gap.found_size}, with nobody to say whether there had been more: what came "
            "after it was given up, as custodians signed"
        )
    lost = max(gap.known_size - gap.found_size, 0)
    return (
        f"a recovery went back to leaf {gap.found_size} of {gap.known_size} that witnesses knew: what stood in {lost} "
        f"{'leaf was' if lost == 1 else 'leaves were'} given up, as custodians signed"
    )
