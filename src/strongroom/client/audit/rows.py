"""Audits the rows of a database against its log: whether a backup is whole, and of one moment.

The last commit of a log names the root of the index, the index lists every row with version and digest. So an old row
beside newer ones, an old database beside a newer log, a lost row and a row too many are all found by whoever has both,
without any key. What stands in the rows stays sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from strongroom.client.audit.log import Progress
from strongroom.client.audit.report import Check, Facts
from strongroom.client.audit.sources import LogSource
from strongroom.client.audit.tiles import WIDTH, HashTile
from strongroom.protocol.index import (
    HEAD_KEY,
    KEY,
    LISTING,
    RING_KEY,
    Listing,
    bucket_digest,
    bucket_key,
    bucket_of,
    read_listing,
    row_digest,
)
from strongroom.protocol.leaves import CommitLeaf
from strongroom.protocol.link import Row
from strongroom.protocol.tlog import Frontier

AT_ONCE: Final = 256
"""Rows read together."""


class Snapshot(LogSource, Protocol):
    """A database as it was at one moment."""

    async def count(self) -> int:
        """Rows in all."""

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows by key; None for each that is absent."""

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Hashes of the log's tree that are kept for proofs: as many as there are."""


class Listed(NamedTuple):
    """What a bucket says of a row."""

    key: bytes
    says: Listing


def listings(content: bytes) -> list[Listed]:
    """What stands in a bucket. A rest that is no whole listing is left out: see `_Rows`."""
    places = range(0, len(content) - LISTING + 1, LISTING)
    return [Listed(content[at : at + KEY], read_listing(content, at)) for at in places]


class KeptHashes:
    """Whether the hashes in the database are those of its leaves: proofs are made of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.check = Check("hashes", "the hashes that proofs are made of are those of the leaves")

    def leaves(self, first: int, leaves: list[bytes]) -> None:
        """Seen by their hashes."""

    async def hashes(self, tile: HashTile) -> None:
        kept = await self._snapshot.hashes(tile.level, tile.number * WIDTH, len(tile.hashes))
        if kept == list(tile.hashes):
            self.check.hold(count=len(kept))
        else:
            self.check.fail(f"tile {tile.number} of level {tile.level} is another: proofs that need it will not hold")


async def audit_rows(
    snapshot: Snapshot, last: CommitLeaf | None, facts: Facts, progress: Progress = lambda done, of: None
) -> list[Check]:
    """Compare every row with the index, and the index with the `last` commit of the log with these `facts`; None: there
    is no whole log, so nothing says what there must be.

    `progress` is told the rows done. Raises `Unavailable`.
    """
    if last is None:
        check = Check("rows", "the rows are those that the log says were there last")
        check.skip("the log is not whole")
        return [check]
    return await _Rows(snapshot, last, facts, progress).audit()


class _Rows:
    def __init__(self, snapshot: Snapshot, last: CommitLeaf, facts: Facts, progress: Progress) -> None:
        self._snapshot = snapshot
        self._last = last
        self._facts = facts
        self._progress = progress
        self._index = Check("index", "the index is that of the last commit")
        self._buckets = Check("buckets", "each bucket of the index is there, in order, and lists its own rows")
        self._rows = Check("rows", "each row that the index lists is there, at its version, byte for byte")
        self._unlisted = Check("unlisted", "there is no row that the index does not list")
        self._ring = Check("sealed-ring", "the sealed key ring is that of the last commit")
        self._total = 0
        self._present = 0
        """Rows that are accounted for."""

    async def audit(self) -> list[Check]:
        total, buckets = await self._snapshot.count(), self._last.buckets
        self._total = total
        await self._audit_ring()
        if not 0 < buckets <= max(1, total):
            self._index.fail(f"the last commit has {buckets} buckets, and the database {total} rows")
            self._rows.skip("the index is not there")
        else:
            tree = Frontier()
            for first in range(0, buckets, AT_ONCE):
                await self._audit_buckets(range(first, min(first + AT_ONCE, buckets)), tree)
            if tree.root == self._last.index_root:
                self._index.hold(f"{buckets} buckets, root {tree.root.hex()}", count=buckets)
            else:
                self._index.fail(
                    f"the index has the root {tree.root.hex()}, and the last commit of the log says "
                    f"{self._last.index_root.hex()}: rows and log are of different times"
                )
            self._count_unlisted(total)
        return [self._ring, self._index, self._buckets, self._rows, self._unlisted]

    async def _audit_ring(self) -> None:
        ring, head = await self._snapshot.read([RING_KEY, HEAD_KEY])
        self._present += (ring is not None) + (head is not None)
        if ring is None or row_digest(ring.sealed) != self._last.ring:
            self._ring.fail("it is gone" if ring is None else "it is another than the one that was there last")
        else:
            self._ring.hold()
        if head is None:
            self._rows.fail("the head row is gone: the Vault will not start with this database")
        elif head.version != self._facts.commits:  # every commit writes it, and nothing else does
            age = "an older" if head.version < self._facts.commits else "a newer"
            self._rows.fail(
                f"the head row is {age} one: version {head.version}, and the log has {self._facts.commits} commits: "
                "the Vault will not start with this database"
            )

    async def _audit_buckets(self, numbers: range, tree: Frontier) -> None:
        """Buckets as they are; one that is absent is empty and was never written, which only the first may be."""
        for number, row in zip(
            numbers, await self._snapshot.read([bucket_key(number) for number in numbers]), strict=True
        ):
            content, version = (row.sealed, row.version) if row is not None else (b"", 0)
            tree.append(bucket_digest(number, version, content))
            self._present += row is not None
            listed = listings(content)
            self._audit_bucket(number, row, listed)
            for first in range(0, len(listed), AT_ONCE):
                await self._audit_listed(listed[first : first + AT_ONCE])
            self._progress(self._present, self._total)

    def _audit_bucket(self, number: int, row: Row | None, listed: Sequence[Listed]) -> None:
        keys = [one.key for one in listed]
        if row is None and (number or self._last.buckets > 1):
            self._buckets.fail(f"bucket {number} is gone")
        elif row is not None and len(row.sealed) % LISTING:
            self._buckets.fail(f"bucket {number} is not made of listings")
        elif keys != sorted(set(keys)) or any(bucket_of(key, self._last.buckets) != number for key in keys):
            self._buckets.fail(f"bucket {number} lists rows twice, in another order, or of another bucket")
        elif any(one.says.last > self._facts.size for one in listed):
            self._buckets.fail(f"bucket {number} names leaves that the log does not have: it is newer than the log")
        else:
            self._buckets.hold()

    async def _audit_listed(self, listed: Sequence[Listed]) -> None:
        for one, row in zip(listed, await self._snapshot.read([one.key for one in listed]), strict=True):
            self._present += row is not None
            version = 0 if row is None else row.version
            name = f"row {one.key.hex()}"
            if row is None and one.says.version:
                self._rows.fail(f"{name} is gone: version {one.says.version} was there last")
            elif version != one.says.version:
                age = "an older" if version < one.says.version else "a newer"
                self._rows.fail(f"{name} is {age} one: version {version}, and the index lists {one.says.version}")
            elif row is not None and row_digest(row.sealed) != one.says.digest:
                self._rows.fail(f"{name} was altered: version {version} has other bytes")
            else:
                self._rows.hold()

    def _count_unlisted(self, total: int) -> None:
        if total > self._present:
            self._unlisted.fail(
                f"{total - self._present} rows are listed nowhere: no Vault wrote them, or they are left over"
            )
        else:
            self._unlisted.hold(count=total)
