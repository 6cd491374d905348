"""What can be said of a backup without any key: for `verify-backup`, and for `restore` before it does anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from strongroom.client.audit.log import Audit, Founding, found
from strongroom.client.audit.report import Check, Facts, shown_time
from strongroom.client.audit.rows import KeptHashes, audit_rows
from strongroom.client.audit.sources import Missing
from strongroom.client.audit.tiles import WIDTH, Bundle
from strongroom.client.custody import Custody, verify_custody
from strongroom.host.backup.drafts import CannotBackUp
from strongroom.host.backup.file import Damaged, Manifest, read_manifest
from strongroom.host.backup.sources import SqliteSource
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.index import HEAD_KEY, RING_KEY
from strongroom.protocol.notes import SignedCheckpoint, verify_checkpoint

Watch = Callable[[str], Callable[[int, int], None]]
"""Given a word for what is counted: who is told how many are done, of how many."""

_PROBLEMS: Final = 3
"""Of SQLite's own check that are shown."""


@dataclass(slots=True)
class Verdict:
    """What was found."""

    manifest: Manifest
    checks: list[Check]
    custody: Custody | None = None
    facts: Facts = field(default_factory=Facts)
    behind: int = 0
    """Leaves by which the log has grown since, as far as a checkpoint tells."""

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.state == "fails"]

    @property
    def whose(self) -> Custody:
        """Of a verdict that holds."""
        if self.custody is None:
            raise ValueError("the charter could not be read")
        return self.custody

    @property
    def log_size(self) -> int:
        return self.manifest.log_size


class _BackupLog(SqliteSource):
    """The log in a backup, as an audit reads it."""

    async def checkpoint(self) -> bytes | None:
        return None

    async def bundle(self, wanted: Bundle) -> list[bytes]:
        first = wanted.number * WIDTH
        leaves = await self.leaves(first, wanted.width)
        if len(leaves) != wanted.width:
            raise Missing(f"leaf {first + len(leaves)} is not in the backup")
        return leaves


async def check_backup(
    path: Path, *, now: int, clusters: Collection[bytes] | None, known: Sequence[bytes], watch: Watch
) -> Verdict:
    """Look at everything. `clusters`: ids that it may be of; None: nobody said. `known`: signed checkpoints of its log.

    Raises `CannotBackUp` (`Damaged`) for what can't be looked at; what else is wrong is in the verdict.
    """
    manifest = read_manifest(path)
    _verify_pages(path)
    try:
        source = _BackupLog(path)
    except OSError as error:
        raise CannotBackUp(f"can't read {path}: {(error.strerror or '').lower()}", "name another file") from None
    try:
        return await _Look(source, manifest, clusters, known, now, watch).verdict()
    except sqlite3.Error as error:
        raise Damaged(f"{path} is damaged: {_line(error)}", "take another backup") from None
    finally:
        await source.close()


class _Known(NamedTuple):
    """Signed checkpoints, beside a backup."""

    newest: SignedCheckpoint | None
    """Of those that the log in it reaches."""
    earlier: list[SignedCheckpoint]
    newer: list[SignedCheckpoint]


class _Look:
    def __init__(
        self,
        source: _BackupLog,
        manifest: Manifest,
        clusters: Collection[bytes] | None,
        known: Sequence[bytes],
        now: int,
        watch: Watch,
    ) -> None:
        self._source = source
        self._manifest = manifest
        self._clusters = clusters
        self._known = known
        self._now = now
        self._watch = watch
        self._named = Check("named", "it is of the cluster that was named")
        self._charter = Check("charter", "who governs the cluster is signed, from its founding on")
        self._recovery = Check("recovery", "custodians can bring the key ring back")
        self._said = Check("manifest", "what it says of itself is what is in it")
        self._newest = Check("newest", "nothing newer is known")
        self._verdict = Verdict(manifest, [self._said, self._named, self._charter, self._recovery])

    async def verdict(self) -> Verdict:
        ring = (await self._source.read([RING_KEY]))[0]
        if ring is None:
            self._charter.fail("the row of the key ring is gone")
            return self._verdict
        try:
            custody = verify_custody(ring.sealed)
        except Untrusted as error:
            self._charter.fail(error.reason)
            return self._verdict
        self._verdict.custody = custody
        self._charter.hold(_charter_in_words(custody))
        self._recovery.hold(custody.who_recovers)
        if custody.founding.development:
            self._recovery.notice("no custodian holds a share: without the machine's own secret nobody opens this")
        self._compare_named(custody)
        await self._compare_manifest(custody)
        if custody.founding.role == "vault":
            await self._audit(custody)
        else:
            await self._count_rows()
        return self._verdict

    def _compare_named(self, custody: Custody) -> None:
        if self._clusters is None:
            self._named.skip("nobody said which: compare the id, or give --cluster or --trust")
        elif custody.cluster in self._clusters:
            self._named.hold(custody.cluster.hex())
        else:
            self._named.fail(f"it is of another one, {custody.cluster.hex()}")

    async def _compare_manifest(self, custody: Custody) -> None:
        said, head = self._manifest, (await self._source.read([HEAD_KEY]))[0]
        for what, written, there in (
            ("role", said.role, custody.founding.role),
            ("cluster", said.cluster, custody.cluster.hex()),
            ("rows", said.rows, await self._source.count()),
            ("log_size", said.log_size, await self._source.size()),
            ("head", said.head, 0 if head is None else head.version),
        ):
            if written != there:
                self._said.fail(f"{what}: it says {written}, and there is {there}: something was added or taken away")
        if not self._said.failures:
            self._said.hold()

    async def _count_rows(self) -> None:
        """An Authenticator has one row, which only its ring's own seal vouches for."""
        check = Check("rows", "there is the row of the key ring, and no other")
        rows, leaves = await self._source.count(), await self._source.size()
        if (rows, leaves) == (1, 0):
            check.hold("that row is the sealed ring: whether it is whole shows when it is opened")
        else:
            check.fail(f"there are {rows} rows and {leaves} leaves of a log: an Authenticator writes neither")
        self._verdict.checks.append(check)

    async def _audit(self, custody: Custody) -> None:
        founding = found(custody.genesis, [custody.cluster], custody.encoded).of(custody.generation)
        size = await self._source.size()
        known = self._compared(custody.generation, founding, size)
        kept = KeptHashes(self._source)
        looking = Audit(founding, now=self._now, charter=custody.encoded, progress=self._watch("leaves"))
        report = await looking.run(
            self._source,
            note=None if known.newest is None else known.newest.note,
            since=[one.note for one in known.earlier],
            watchers=[kept],
        )
        self._verdict.facts = report.facts
        rows = await audit_rows(self._source, looking.last, report.facts, self._watch("rows"))
        self._verdict.checks += [
            *(check for check in report.checks if check.name != "cluster"), kept.check, *rows, self._newest
        ]  # fmt: skip
        self._tell_behind(size, known)

    def _compared(self, generation: int, founding: Founding, size: int) -> _Known:
        """What is known of the log, beside the log that is here: of this generation, with so many leaves."""
        covered: list[SignedCheckpoint] = []
        known = _Known(None, [], [])
        own = self._manifest.checkpoint.encode()
        for note in [*([own] if own else []), *self._known]:
            number, named = founding.named_by(note)
            try:
                signed = verify_checkpoint(note, named.log)
            except Untrusted as error:
                self._newest.fail(f"a checkpoint is not one of this log: {error.reason}")
                continue
            if number < generation:
                known.earlier.append(signed)
            elif number == generation and signed.checkpoint.size <= size:
                covered.append(signed)
            elif note == own:
                self._said.fail("its checkpoint is of a log that is longer than the one in it: it is cut off")
            else:
                known.newer.append(signed)
        covered.sort(key=lambda one: one.checkpoint.size)
        return known._replace(newest=covered[-1] if covered else None, earlier=[*known.earlier, *covered[:-1]])

    def _tell_behind(self, size: int, known: _Known) -> None:
        if known.newer:
            most = max(known.newer, key=lambda one: one.checkpoint.size)
            self._verdict.behind = max(1, most.checkpoint.size - size)
            self._newest.notice(
                f"it is older than what is known: the log has grown from {size} to {most.checkpoint.size} leaves "
                f"({self._verdict.behind} more); to restore it is to go back to {shown_time(self._manifest.at)}"
            )
        elif self._known and known.newest is not None:
            self._newest.hold(f"{known.newest.checkpoint.size} leaves were known, and {size} are here")
        elif not self._known:
            self._newest.skip("nothing was named to compare with: give --checkpoint or --url")


def _charter_in_words(custody: Custody) -> str:
    serial = len(custody.councils) - 1
    council = "that of the founding" if serial == 0 else f"number {serial}"
    recovered = custody.charter.recoveries
    return f"council: {council}; recovered {recovered} time{'' if recovered == 1 else 's'}"


def _verify_pages(path: Path) -> None:
    """By SQLite's own check. Raises `Damaged`."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            found = [text for (text,) in connection.execute(f"PRAGMA integrity_check({_PROBLEMS})")]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise Damaged(
            f"{path} is damaged: {'; '.join(map(_line, found))}", "copy it again from where it came, or take another"
        )


def _line(text: object) -> str:
    """SQLite's own words, which may be several lines."""
    return " ".join(str(text).split())


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """For programs."""
    custody = verdict.custody
    shown: dict[str, Any] = {
        "verdict": "fails" if verdict.failed else "holds",
        "role": verdict.manifest.role,
        "cluster": verdict.manifest.cluster,
        "made": verdict.manifest.at,
        "rows": verdict.manifest.rows,
        "log_size": verdict.log_size,
        "behind": verdict.behind,
        "root": verdict.facts.root.hex(),
        "checks": [asdict(check) | {"state": check.state} for check in verdict.checks],
    }
    if custody is not None:
        shown |= {
            "cluster": custody.cluster.hex(),
            "custodians": [one.name for one in custody.council.custodians],
            "threshold": custody.council.threshold,
            "development": custody.founding.development,
            "recoveries": custody.charter.recoveries,
            "generation": custody.generation,
        }
    return shown
