"""After an epoch has begun, what is sealed under older ones is sealed anew, while everything else goes on.

All rows that the index lists are looked at, one bucket after the other. One of an older epoch is sealed under the
newest at the same version, so that nobody who has read it, and no counter that is at hand, notices; unless it was
written meanwhile, then it is of the newest epoch already. That is also why one walk is enough: whatever the ledger
writes once an epoch has begun is of that one, or a newer one, and no row escapes by a split to where the walk has been.

After a restart the walk begins anew, and only looks at what is new already.

A host that withholds a row, or shows another, keeps the row's epoch in the ring, and gets nothing else by it: to let go
of the epoch would be to give up a row that may come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.vault.buckets import Reseal
from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.rows import RowSealer, epoch_of
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.index import row_digest
from strongroom.protocol.link import Put, Row

BUCKETS_AT_ONCE: Final = 16
"""Of one look, and of one commit if its rows are small: some two hundred rows."""
READ_AT_ONCE: Final = 64
"""Rows: as many of the largest (a quarter of a MiB) fit one frame of the link."""
SEALED_AT_ONCE: Final = 16
"""Rows sealed before requests get a turn: less than a millisecond of work for small ones."""
MAX_COMMIT_BYTES: Final = 1024 * 1024
"""Bytes of rows of one commit, about: everybody's commits wait for it."""
PAUSE: Final = 0.5
"""After each look, times what it took: the rest belongs to requests."""
GRACE_SECONDS: Final = 2.0
"""After a walk: whoever read a row before it was sealed anew, or sealed one before the epoch began, is done then."""


@dataclass(slots=True)
class _Walk:
    """Through all buckets."""

    oldest: int
    """Epoch before which nothing is to be left."""
    bucket: int = 0
    """That comes next."""
    seen: int = 0
    damaged: Untrusted | None = None


class Resealing:
    """Of one Vault."""

    def __init__(self, ring: Ring, sealer: RowSealer, ledger: Ledger, witnessing: Witnessing) -> None:
        self._ring = ring
        self._sealer = sealer
        self._ledger = ledger
        self._witnessing = witnessing
        self._walk: _Walk | None = None

    @property
    def seen(self) -> int:
        """Rows that the walk under way has looked at; 0 when there is none."""
        return 0 if self._walk is None else self._walk.seen

    async def run(self) -> int:
        """Returns the epoch that was the newest when the walk began, when no row is of an older one.

        Raises `Untrusted` for a row that the host withholds or altered, when all others are done; and `Unavailable`,
        then the next call goes on where this one was.
        """
        await self._ledger.listed(0)  # finds out how the last commit ended, which may have begun an epoch
        if self._walk is None and len(self._ring.epochs) > 1:
            self._walk = _Walk(self._ring.epoch)
        if self._walk is None:
            return self._ring.epoch
        walk = self._walk
        ended = False
        while not ended:
            keys, ended = await self._next(walk.bucket)
            walk.damaged = await self._look(keys, walk.oldest) or walk.damaged
            walk.bucket += BUCKETS_AT_ONCE
            walk.seen += len(keys)
        self._walk = None
        if walk.damaged is not None:
            raise walk.damaged
        await asyncio.sleep(GRACE_SECONDS)
        return walk.oldest

    async def _next(self, bucket: int) -> tuple[list[bytes], bool]:
        """Keys that a few buckets list, from this one on, and whether these were the last.

        What comes after them later is of the newest epoch, or split off from a bucket before: nobody waits for it.
        """
        keys: list[bytes] = []
        for number in range(bucket, bucket + BUCKETS_AT_ONCE):
            listed = await self._ledger.listed(number)
            if listed is None:
                return keys, True
            keys += listed
        return keys, False

    async def _look(self, keys: Sequence[bytes], oldest: int) -> Untrusted | None:
        """Have these rows of `oldest` or newer; why one is not to be believed, if one is not."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        damaged: Untrusted | None = None
        old: list[tuple[bytes, Row]] = []
        parts = [keys[at : at + READ_AT_ONCE] for at in range(0, len(keys), READ_AT_ONCE)]
        rows = chain.from_iterable(await asyncio.gather(*map(self._ledger.read_each, parts)))
        for key, row in zip(keys, rows, strict=True):
            if isinstance(row, Untrusted):
                damaged = row
            elif row is not None and epoch_of(row.sealed) < oldest:
                old.append((key, row))
        while old:
            # As long as requests may not write, for want of witnesses, this does not either.
            self._witnessing.verify_may_write()
            await self._ledger.reseal(await self._sealed(old))
        # When requests are many a look takes longer, and so does the pause.
        await asyncio.sleep(PAUSE * (loop.time() - began))
        return damaged

    async def _sealed(self, old: list[tuple[bytes, Row]]) -> list[Reseal]:
        """For one commit, taken from `old`."""
        sealed: list[Reseal] = []
        size = 0
        while old and size < MAX_COMMIT_BYTES:
            key, row = old.pop()
            put = Put(key, row.version, row.version, self._sealer.seal(key, row.version, self._sealer.open(key, row)))
            sealed.append(Reseal(put, row_digest(row.sealed)))
            size += len(put.sealed)
            if len(sealed) % SEALED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return sealed
