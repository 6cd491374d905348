"""Makes a backup: all of a database, or what has changed in it since an earlier backup.

What has changed is found by the index that the Vault keeps there in clear (`protocol/index.py`): each of its buckets is
a row whose version rises with every change of a row that it lists. So versions of buckets are compared, listings of
those that differ are read, and of the rows those whose version or digest is another. The log only grows; that the
earlier backup's log is where this one's begins is seen by the hashes of its tree, which both keep.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.host.backup.drafts import CannotBackUp, IfThere, copy_file, drafting, full_or
from strongroom.host.backup.file import DENSE, FORMAT, Based, Manifest, Stored, Tables, read_manifest, writing
from strongroom.host.backup.sources import AT_ONCE, Source
from strongroom.host.log.tree import TILE_BITS, complete_subtrees, span
from strongroom.protocol.index import HEAD_KEY, KEY, LISTING, RING_KEY, bucket_key, read_listing, row_digest

_LEAVES_AT_ONCE: Final = 4096
_LEVELS: Final = 64 // TILE_BITS
_FULL: Final = "make a full backup: leave --onto out"

Progress = Callable[[int, int], None]
"""Told how many rows and leaves are done, of how many."""


class Charter(NamedTuple):
    """What the row of the key ring says in clear."""

    role: str
    cluster: str


@dataclass(slots=True)
class Tally:
    """What was read from the database."""

    rows: int = 0
    leaves: int = 0
    bytes: int = 0
    """Of rows, leaves, hashes, and of keys and versions that were only compared."""

    def read(self, rows: Sequence[Stored]) -> None:
        self.rows += len(rows)
        self.bytes += sum(KEY + 8 + len(row.sealed) for row in rows)


class Order(NamedTuple):
    """What is to be made."""

    target: Path
    if_there: IfThere
    onto: Path | None
    """An earlier backup of the same cluster; None: read everything."""
    at: int
    """Unix time."""
    checkpoint: str
    """The newest signed checkpoint from before the source was opened; empty: none."""
    made_by: str


class Made(NamedTuple):
    """A backup that is there."""

    manifest: Manifest
    tally: Tally
    bytes: int
    """Of the file."""


async def make_backup(
    source: Source, order: Order, charter_of: Callable[[bytes], Charter], progress: Progress = lambda done, of: None
) -> Made:
    """`charter_of` reads the row of the key ring as far as it is in clear.

    Raises `CannotBackUp`, `CannotOpen`, `Unavailable`; then there is no file, and those that were there are as before.
    """
    based = None if order.onto is None else _verify_base(order.onto, read_manifest(order.onto))
    ring = (await source.read([RING_KEY]))[0]
    if ring is None:
        raise CannotBackUp("there is no cluster in this database", "name the database of an instance that has served")
    charter = charter_of(ring.sealed)
    if based is not None and (based.role, based.cluster) != charter:
        raise CannotBackUp(f"{order.onto} is a backup of another cluster", _FULL)
    tally = Tally()
    with drafting(order.target, order.if_there) as draft:
        try:
            if order.onto is not None and based is not None:
                copy_file(order.onto, draft)
            with writing(draft, DENSE) as tables:
                if based is None:
                    await copy_all(source, tables, tally, progress)
                else:
                    await _Changes(source, tables, tally, progress).copy()
                manifest = await _manifest(source, order, charter, based)
                tables.sign_off(manifest)
        except sqlite3.Error as error:
            raise full_or(error, order.target) from None
        length = draft.stat().st_size
    return Made(manifest, tally, length)


async def read_all(source: Source, tally: Tally) -> AsyncIterator[list[Stored]]:
    """All rows, counted."""
    async for rows in source.rows():
        tally.read(rows)
        yield rows


async def read_leaves(source: Source, first: int, size: int, tally: Tally) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Leaves `first` to before `size`, counted, each piece with the index of its first. Raises `CannotBackUp`."""
    while first < size:
        leaves = await source.leaves(first, min(_LEAVES_AT_ONCE, size - first))
        if not leaves:
            raise CannotBackUp(f"leaf {first} of the log is missing in the database", "see `strongroom audit`")
        tally.leaves += len(leaves)
        tally.bytes += sum(map(len, leaves))
        yield first, leaves
        first += len(leaves)


async def read_hashes(
    source: Source, before: int, size: int, tally: Tally
) -> AsyncIterator[tuple[int, int, list[bytes]]]:
    """Hashes that a log keeps as it grows from `before` to `size` leaves: level, index of the first, hashes.

    Raises `CannotBackUp`.
    """
    for level in range(_LEVELS):
        first, end = before >> level * TILE_BITS, size >> level * TILE_BITS
        while first < end:
            hashes = await source.hashes(level, first, min(_LEAVES_AT_ONCE, end - first))
            if not hashes:
                raise CannotBackUp("hashes of the log are missing in the database", "see `strongroom audit`")
            tally.bytes += 32 * len(hashes)
            yield level, first, hashes
            first += len(hashes)


async def copy_all(source: Source, tables: Tables, tally: Tally, progress: Progress) -> None:
    """Everything, into empty tables. Raises `CannotBackUp`, `Unavailable`, sqlite3.Error."""
    size = await source.size()
    total = await source.count() + size
    async for rows in read_all(source, tally):
        tables.add(rows)
        progress(tally.rows, total)
    await _copy_log(source, tables, 0, size, tally)


async def _copy_log(source: Source, tables: Tables, before: int, size: int, tally: Tally) -> None:
    async for first, leaves in read_leaves(source, before, size, tally):
        tables.append(first, leaves)
    async for level, first, hashes in read_hashes(source, before, size, tally):
        tables.keep(level, first, hashes)


class _Changes:
    """What a database has and an earlier backup of it has not, put into a copy of that backup."""

    def __init__(self, source: Source, tables: Tables, tally: Tally, progress: Progress) -> None:
        self._source = source
        self._tables = tables
        self._tally = tally
        self._progress = progress

    async def copy(self) -> None:
        """Raises `CannotBackUp` where the database does not go on from the backup."""
        before, size = self._tables.size(), await self._source.size()
        if size < before:
            raise CannotBackUp(
                f"the database is older than the backup: {size} leaves of the log, and the backup has {before}",
                "find out who put an old database back; to back it up all the same, leave --onto out",
            )
        await self._verify_same_log(before)
        await self._fetch([RING_KEY, HEAD_KEY])
        number, found = 0, AT_ONCE
        while found == AT_ONCE:
            found = await self._compare_buckets(range(number, number + AT_ONCE))
            number += AT_ONCE
            self._progress(number, 0)
        await _copy_log(self._source, self._tables, before, size, self._tally)
        if self._tables.count() != await self._source.count():
            raise CannotBackUp("the database has rows that its index does not list", _FULL)

    async def _verify_same_log(self, before: int) -> None:
        """The backup's log is the beginning of the database's: their trees over as many leaves have the same nodes."""
        for one in map(span, complete_subtrees(0, before)):
            theirs = await self._source.hashes(*one)
            self._tally.bytes += 32 * len(theirs)
            if theirs != self._tables.hashes(*one):
                raise CannotBackUp("the log of the database is not the one that the backup has the beginning of", _FULL)

    async def _compare_buckets(self, numbers: range) -> int:
        """How many of these buckets there are."""
        keys = [bucket_key(number) for number in numbers]
        theirs = await self._source.versions(keys)
        ours = self._tables.read(keys)
        self._tally.bytes += (KEY + 8) * len(theirs)
        changed = [key for key in keys if key in theirs and (key not in ours or ours[key].version != theirs[key])]
        for content in await self._fetch(changed):
            await self._fetch(self._unlike(content))
        return len(theirs)

    def _unlike(self, content: bytes) -> list[bytes]:
        """Keys of the rows that a bucket lists and the backup does not have in this way."""
        listed = {
            content[at : at + KEY]: read_listing(content, at) for at in range(0, len(content) - LISTING + 1, LISTING)
        }
        unlike = []
        keys = list(listed)
        for first in range(0, len(keys), AT_ONCE):
            ours = self._tables.read(keys[first : first + AT_ONCE])
            for key in keys[first : first + AT_ONCE]:
                row, listing = ours.get(key), listed[key]
                if listing.version == 0:
                    continue  # there is none
                if row is None or row.version != listing.version or row_digest(row.sealed) != listing.digest:
                    unlike.append(key)
        return unlike

    async def _fetch(self, keys: Sequence[bytes]) -> list[bytes]:
        """Copy rows; what stands in them, without those that are absent."""
        contents = []
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            found = zip(some, await self._source.read(some), strict=True)
            rows = [Stored(key, row.version, row.sealed) for key, row in found if row is not None]
            self._tally.read(rows)
            self._tables.put(rows)
            contents += [row.sealed for row in rows]
        return contents


def _verify_base(path: Path, manifest: Manifest) -> Manifest:
    if not manifest.cluster:
        raise CannotBackUp(f"{path} does not say which cluster it is of", _FULL)
    return manifest


async def _manifest(source: Source, order: Order, charter: Charter, based: Manifest | None) -> Manifest:
    head = (await source.read([HEAD_KEY]))[0]
    return Manifest(
        format=FORMAT,
        role=charter.role,
        cluster=charter.cluster,
        at=order.at,
        engine=source.engine,
        rows=await source.count(),
        log_size=await source.size(),
        head=0 if head is None else head.version,
        checkpoint=order.checkpoint,
        based_on=None
        if based is None or order.onto is None
        else Based(at=based.at, log_size=based.log_size, name=order.onto.name),
        made_by=order.made_by,
    )
