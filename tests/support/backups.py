"""A database as a Vault keeps it, but for that nothing in it is sealed: rows, their index, a log. For backups of it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from strongroom.host.backup.making import Charter, Order
from strongroom.host.store.port import Store
from strongroom.protocol.index import (
    HEAD_KEY,
    KEY,
    LISTING,
    RING_KEY,
    Listing,
    bucket_key,
    bucket_of,
    row_digest,
    write_listing,
)
from strongroom.protocol.link import Commit, Put

NOW = 1_800_000_000


def charter_of(row: bytes) -> Charter:
    return Charter("vault", row[:4].hex())


class Writer:
    """Writes to a store as a Vault does."""

    def __init__(self, store: Store, seed: int = 1, buckets: int = 4) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.versions: dict[bytes, int] = {}
        self.keys: list[bytes] = []
        """Of rows that were there first."""
        self._listings: dict[bytes, Listing] = {}
        self._buckets = buckets
        self._size = 0

    async def found(self) -> None:
        await self._commit({RING_KEY: b"ring" + self.chance.randbytes(60)}, leaves=1)

    async def add(self, count: int, size: int = 500) -> list[bytes]:
        """New rows in one commit; their keys."""
        keys = [self.chance.randbytes(KEY) for _ in range(count)]
        await self.change(keys, size)
        return keys

    async def change(self, keys: list[bytes], size: int = 500) -> None:
        await self._commit({key: self.chance.randbytes(size) for key in keys}, leaves=len(keys) + 1)

    async def seal_ring_anew(self) -> None:
        await self._commit({RING_KEY: b"ring" + self.chance.randbytes(60)}, leaves=1)

    async def split(self) -> None:
        """More buckets: rows are listed elsewhere."""
        self._buckets *= 2
        await self._commit({}, leaves=1, all_buckets=True)

    async def _commit(self, contents: dict[bytes, bytes], *, leaves: int, all_buckets: bool = False) -> None:
        touched = set(range(self._buckets)) if all_buckets else set()
        puts = []
        for key, sealed in contents.items():
            puts.append(self._put(key, sealed))
            if key != RING_KEY:
                self._listings[key] = Listing(self.versions[key], row_digest(sealed), 1, self._size + 1)
                touched.add(bucket_of(key, self._buckets))
        for number in sorted(touched):
            listed = sorted(key for key in self._listings if bucket_of(key, self._buckets) == number)
            content = b"".join(write_listing(key, self._listings[key]) for key in listed)
            assert len(content) == LISTING * len(listed)
            puts.append(self._put(bucket_key(number), content))
        puts.append(self._put(HEAD_KEY, b"head" + self.chance.randbytes(100)))
        await self.store.commit(Commit(puts, self._size, [self.chance.randbytes(200) for _ in range(leaves)]))
        self._size += leaves

    def _put(self, key: bytes, sealed: bytes) -> Put:
        before = self.versions.get(key, 0)
        self.versions[key] = before + 1
        return Put(key, before, before + 1, sealed)


def order(target: Path, onto: Path | None = None, **changes: object) -> Order:
    return Order(target, "refuse", onto, NOW, "", "test")._replace(**changes)  # type: ignore[arg-type]


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that a file of SQLite holds but its manifest and the order of its rows."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            "rows": sorted(connection.execute("SELECT key, version, sealed FROM rows")),
            "log": sorted(connection.execute("SELECT seq, leaf FROM log")),
            "log_hashes": sorted(connection.execute("SELECT level, idx, hash FROM log_hashes")),
        }
