"""Audits a whole log: from its cluster's founding to its newest checkpoint, leaf by leaf, in bounded memory.

What is believed is the cluster id alone, which the auditor has from elsewhere. It fixes the genesis statement, that the
log's key and the witnesses, and their signatures everything else. Whoever keeps the log can withhold it, not change it.
Where custodians had the log go on from an older copy, it has another name and the same key, and they have signed that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, Protocol

from strongroom.attestation.witnessing import parse_witnesses
from strongroom.client.audit.governance import Governance, read_charter
from strongroom.client.audit.report import Check, Facts, Report
from strongroom.client.audit.report import shown_time as shown_time
from strongroom.client.audit.rules import Rules
from strongroom.client.audit.sources import LogSource, stream
from strongroom.client.audit.tiles import HashTile, HashTiles
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Genesis, Watchers, cluster_id, parse_genesis, watchers_by
from strongroom.protocol.governance import parse_gap, verify_charter
from strongroom.protocol.leaves import CommitLeaf, log_origin, log_verifier
from strongroom.protocol.limits import LEASE, MAX_EVIDENCE
from strongroom.protocol.notes import (
    COSIGNATURE,
    Checkpoint,
    SignedCheckpoint,
    Verifier,
    cosignatures,
    parse_verifier,
    verify_checkpoint,
)
from strongroom.protocol.tlog import Frontier, leaf_hash

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""

Shows = Literal["running", "copy"]
"""Whether a Vault shows its log as it is now, or somebody a copy, which may be old and true."""

_CLOCKS_DIFFER: Final = 300
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Founding:
    """What a genesis statement fixes of its cluster's log, and what custodians have signed of it since."""

    cluster: bytes
    genesis: bytes
    log: Verifier
    """Of one generation; the first one as the statement says."""
    witnesses: list[Verifier]
    cosignatures: int
    begun: tuple[tuple[int, Watchers | None], ...] = ()
    """Later generations, oldest first, and whom custodians named to watch each: as far as a charter says."""

    def of(self, generation: int) -> Founding:
        """The same, of another generation of the log, and who watched that."""
        named = [watchers for number, watchers in self.begun if number <= generation]
        watchers = watchers_by(parse_genesis(self.genesis), named[-1] if named else None)
        return replace(
            self,
            log=log_verifier(self.cluster, self.log.public, generation),
            witnesses=[parse_verifier(key, COSIGNATURE) for key in watchers.witnesses],
            cosignatures=watchers.cosignatures,
        )

    def named_by(self, note: bytes) -> tuple[int, Founding]:
        """The generation that a signed checkpoint names in its origin, and the same of that: whether it is signed is
        still to be verified. Of what names none, the first one, which will refuse it."""
        name = note.partition(b"\n")[0].decode("ascii", "replace")
        number = name.rpartition("/")[2]
        generation = int(number) if re.fullmatch("0|[1-9][0-9]{0,18}", number) else 0
        of_this = name == log_origin(self.cluster, generation=generation)
        return (generation, self.of(generation)) if of_this else (0, self)


class _Expected(NamedTuple):
    """What the tree of the log must be at some size, and which check hears of it."""

    checkpoint: Checkpoint
    check: Check
    cosigned: bool = True
    """Whether as many witnesses as it takes have seen it."""


class Watcher(Protocol):
    """Sees what an audit sees, once the leaves of a bundle were looked at."""

    def leaves(self, first: int, leaves: list[bytes]) -> None: ...

    async def hashes(self, tile: HashTile) -> None:
        """A tile of hashes that those leaves completed; at the end also the partial ones."""


def found(genesis: bytes, clusters: Collection[bytes], untrusted_charter: bytes | None = None) -> Founding:
    """Read a genesis statement, and in its charter whom custodians named to watch the log. Of a charter that does not
    hold nothing is taken: the audit itself says so.

    Raises `Untrusted` POLICY unless it is that of one of `clusters`, EVIDENCE if none.
    """
    try:
        statement = decode(genesis, Genesis, limit=MAX_EVIDENCE)
        witnesses = [parse_verifier(key, COSIGNATURE) for key in statement.witnesses]
    except Misuse:
        raise Untrusted(Number.EVIDENCE, "the genesis statement does not parse") from None
    cluster = cluster_id(genesis)
    if cluster not in clusters:
        raise Untrusted(Number.POLICY, f"the genesis statement is that of another cluster, {cluster.hex()}")
    if statement.role != "vault":
        raise Untrusted(Number.POLICY, f"the genesis statement is of an {statement.role}, which has no log")
    log, begun = log_verifier(cluster, statement.log_key), _begun(cluster, untrusted_charter)
    return Founding(cluster, genesis, log, witnesses, statement.cosignatures, begun)


def _begun(cluster: bytes, untrusted_charter: bytes | None) -> tuple[tuple[int, Watchers | None], ...]:
    if untrusted_charter is None:
        return ()
    try:
        charter = read_charter(untrusted_charter)
        verify_charter(charter)
        gaps = [parse_gap(signed.statement) for signed in charter.gaps]
        named = tuple((gap.generation, gap.watchers) for gap in gaps)
        for _, watchers in named:
            parse_witnesses(*(([], 0) if watchers is None else (watchers.witnesses, watchers.cosignatures)))
    except (Untrusted, Misuse):
        return ()
    return named if cluster_id(charter.genesis.statement) == cluster else ()


class Audit:
    """One audit of one log."""

    def __init__(
        self,
        founding: Founding,
        *,
        now: int,
        charter: bytes | None = None,
        shows: Shows = "copy",
        progress: Progress = lambda done, of: None,
    ) -> None:
        """`now`: unix seconds by the auditor's clock; `charter`: encoded, verified here, if there is
        one."""
        self._founding = founding
        self._generation = 0
        self._governance = Governance(founding.cluster, charter)
        self._now = now
        self._shows = shows
        self._progress = progress
        self._facts = Facts()
        self.rules = Rules(self._facts)
        self._cluster = Check("cluster", "the genesis statement is that of the cluster")
        self._checkpoint = Check("checkpoint", "the newest checkpoint is signed by the log")
        self._cosigned = Check("cosignatures", "enough witnesses have seen it")
        self._root = Check("root", "the leaves are exactly those that the checkpoint covers")
        self._since = Check("since", "the log extends what was known before")
        self._since.skip("no earlier checkpoint was named")
        self._whole = False
        self._cluster.hold(founding.cluster.hex())

    async def run(
        self, source: LogSource, *, note: bytes | None, since: Sequence[bytes] = (), watchers: Sequence[Watcher] = ()
    ) -> Report:
        """Look at every leaf. `note`: the newest signed checkpoint, if there is one; `since`: earlier ones.

        Raises `Unavailable`, and `Misuse` for files that are none; what is wrong with the log is in the report.
        """
        newest = self._verify_note(note)
        if newest is None:
            self._generation = self._governance.generation or 0
        expected = [_Expected(end, self._governance.generations) for end in self._governance.ends()]
        expected += [one for one in map(self._verify_since, since) if one is not None]
        if newest is not None:
            expected.append(_Expected(newest, self._root))
        had = await source.size()
        size = (newest.size if newest is not None else 0) if had is None else had
        frontier = await self._read(source, size, expected, watchers)
        for one in expected:
            if one.checkpoint.size > frontier.size:
                # A Vault shows what witnesses have seen, and its clients see more.
                if had is None and self._whole and not one.cosigned:
                    await self._beyond(source, frontier, one)
                else:
                    _cut_off(frontier, one)
        self._facts.root = frontier.root
        if newest is not None and newest.size < size:
            beyond = size - newest.size
            self._root.notice(f"{beyond} leaves are newer than the checkpoint: nothing vouches for them yet")
        covered = newest is not None and newest.size == frontier.size
        self._governance.end(self.rules, self.last, self._generation if covered else None)
        return Report(self._founding.cluster, self._facts, self.checks)

    @property
    def checks(self) -> list[Check]:
        first = [self._cluster, self._checkpoint, self._cosigned, self._root, self._since]
        return [*first, *self.rules.checks, *self._governance.checks]

    @property
    def last(self) -> CommitLeaf | None:
        """The last commit of the log; None if the log was not whole."""
        return self.rules.last if self._whole else None

    # --- what was signed ----------------------------------------------------------------------------------------

    def _verify_note(self, note: bytes | None) -> Checkpoint | None:
        if note is None:
            why = (
                "there is no checkpoint here: name one with --checkpoint, else nothing says that these leaves are true"
            )
            self._checkpoint.skip(why)
            self._cosigned.skip("there is no checkpoint")
            return None
        self._generation, founding = self._founding.named_by(note)
        try:
            signed = verify_checkpoint(note, founding.log)
        except Untrusted as error:
            self._checkpoint.fail(error.reason)
            self._cosigned.skip("the checkpoint is none of this log's")
            self._root.skip("the checkpoint is none of this log's")
            return None
        self._checkpoint.hold(f"{signed.checkpoint.size} leaves")
        self._verify_cosigned(signed, founding)
        return signed.checkpoint

    def _verify_cosigned(self, signed: SignedCheckpoint, founding: Founding) -> None:
        check = self._cosigned
        if not founding.witnesses:
            check.skip(
                "this cluster has no witnesses: a rollback of everything shows beside an earlier checkpoint only"
            )
            return
        valid = cosignatures(signed, founding.witnesses)
        for witness in founding.witnesses:
            for line in signed.lines:
                alone = SignedCheckpoint(signed.checkpoint, (line,))
                if line.startswith(f"\N{EM DASH} {witness.name} ") and not cosignatures(alone, [witness]):
                    check.fail(f"a cosignature in the name of {witness.name} is not one of this checkpoint")
        for one in valid:
            if one.time > self._now + _CLOCKS_DIFFER:
                check.fail(f"{one.witness.name} dates its cosignature into the future: {shown_time(one.time)}")
        needed = founding.cosignatures
        if len(valid) < needed:
            check.fail(f"{len(valid)} of {len(founding.witnesses)} witnesses have cosigned, and it takes {needed}")
            return
        witnessed = sorted((one.time for one in valid), reverse=True)[needed - 1]
        check.hold(f"{len(valid)} of {len(founding.witnesses)}, it takes {needed}; seen at {shown_time(witnessed)}")
        if witnessed + LEASE + _CLOCKS_DIFFER < self._now:
            old = f"nobody has seen it since {shown_time(witnessed)}: what came later is not here"
            if self._shows == "running":
                check.fail(old)
            else:
                check.notice(old)

    def _verify_since(self, note: bytes) -> _Expected | None:
        generation, founding = self._founding.named_by(note)
        try:
            signed = verify_checkpoint(note, founding.log)
            cosigned = len(cosignatures(signed, founding.witnesses)) >= founding.cosignatures
        except Untrusted as error:
            self._since.fail(f"the earlier checkpoint is none of this log's: {error.reason}")
            return None
        if generation > self._generation:
            self._since.fail(
                f"the log was at generation {generation}, and is shown at {self._generation}: it was put back"
            )
            return None
        if self._governance.is_cut(generation):
            self._since.fail(
                f"the earlier checkpoint is of generation {generation} of the log, and what custodians gave up first "
                "after it is not kept any more: audit without it, and from then on from there"
            )
            return None
        kept = self._governance.kept_of(generation)
        if kept is not None and signed.checkpoint.size > kept:
            self._since.notice(
                f"{signed.checkpoint.size - kept} leaves that were known before are gone: custodians gave them up"
            )
            return None
        return _Expected(signed.checkpoint, self._since, cosigned)

    # --- what is there ------------------------------------------------------------------------------------------

    async def _read(
        self, source: LogSource, size: int, expected: Sequence[_Expected], watchers: Sequence[Watcher]
    ) -> Frontier:
        frontier, tiles = Frontier(), HashTiles()
        self._compare(frontier, expected)
        try:
            async with aclosing(stream(source, 0, size)) as streaming:
                async for first, leaves in streaming:
                    full: list[HashTile] = []
                    for index, leaf in enumerate(leaves, first):
                        node = leaf_hash(leaf)
                        self.rules.take(index, leaf)
                        frontier.append(node)
                        full += tiles.append(node)
                        self._compare(frontier, expected)
                    await _watched(watchers, first, leaves, full)
                    self._progress(frontier.size, size)
        except Untrusted as error:
            self._root.fail(error.reason)
        else:
            self._whole = True
            self.rules.end(size, "the log")
            await _watched(watchers, size, [], list(tiles.partial()))
        return frontier

    async def _beyond(self, source: LogSource, frontier: Frontier, later: _Expected) -> None:
        """Whether the log extends to a checkpoint that is newer than its own, if the source shows leaves as far."""
        size, further = frontier.size, frontier.copy()
        try:
            async with aclosing(stream(source, size, later.checkpoint.size)) as streaming:
                async for _, leaves in streaming:
                    for leaf in leaves:
                        further.append(leaf_hash(leaf))
        except Untrusted:
            why = f"it is newer than what witnesses have seen ({size} of {later.checkpoint.size})"
            if later.check.count:
                later.check.notice(f"not checked: {why}")
            else:
                later.check.skip(why)
            return
        self._compare(further, [later])

    def _compare(self, frontier: Frontier, expected: Sequence[_Expected]) -> None:
        for checkpoint, check, _ in expected:
            if checkpoint.size != frontier.size:
                continue
            if checkpoint.root != frontier.root:
                check.fail(
                    f"the first {frontier.size} leaves have the root {frontier.root.hex()}, and the checkpoint says "
                    f"{checkpoint.root.hex()}: leaves were altered, left out or put in another order"
                )
                continue
            check.reach(max(1, frontier.size), f"{frontier.size} leaves, root {frontier.root.hex()}")
            self.rules.end(frontier.size, f"the checkpoint of {frontier.size} leaves")


def _cut_off(frontier: Frontier, expected: _Expected) -> None:
    expected.check.fail(
        f"a checkpoint covers {expected.checkpoint.size} leaves, and there are {frontier.size}: the log is cut off, "
        "or was rolled back"
    )


async def _watched(watchers: Sequence[Watcher], first: int, leaves: list[bytes], full: Sequence[HashTile]) -> None:
    for watcher in watchers:
        if leaves:
            watcher.leaves(first, leaves)
        for tile in full:
            await watcher.hashes(tile)
