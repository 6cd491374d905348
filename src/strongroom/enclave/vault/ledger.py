"""Between the Vault and its database: every row that is read is the last one written, every commit is in the log.

The host keeps rows, buckets and leaves; this keeps the tree over the buckets, the right edge of the log and the version
of the *head row*, in which all three are written down with every commit. Attacks stopped here:

1. An old row in its place, or one that is said to be absent: it is not what its bucket lists.
2. An old bucket: its digest is not in the tree. An old head: its version is not the one written last, and every commit
   replaces that one.
3. A commit that is said to have failed and turns up later, or that is said to have been made and was not: before
   anything else is read or written the head row tells which; nothing but that commit, whole, is taken for an answer.
4. Two histories under one checkpoint: what is not durable is not signed.

A database that is rolled back as a whole, with its head, is noticed by witnesses (`witnesses.py`) and by clients.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.ring import Ring, RingDraft, SealedState
from strongroom.enclave.vault.buckets import Draft, Index, Reseal, checked, find, keys_of, may_exist
from strongroom.enclave.vault.head import Head
from strongroom.enclave.vault.log import Log
from strongroom.enclave.vault.records import LogEntry, parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted
from strongroom.protocol.index import HEAD_KEY, Listing, bucket_key, bucket_of, row_digest
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.link import Put, Row
from strongroom.protocol.tlog import Frontier, leaf_hash

READ_AT_ONCE: Final = 512
"""Buckets that are read together at the start: less than a megabyte."""
MOVING: Final = 64
"""Times that rows are read anew because a commit changed them meanwhile."""
MAX_CANDIDATES: Final = 16
"""Commits that seemed to fail and may still be made, late, since the last one that was: the most recent ones."""


@dataclass(slots=True)
class _Candidate:
    """A commit under way, or of which it is not known whether it was made."""

    draft: Draft
    ring: RingDraft | None
    """Written with it."""
    frontier: Frontier
    head: Row
    touched: frozenset[bytes]
    """Keys of the rows that it writes."""
    critical: frozenset[bytes]
    """Those of them whose change waits for witnesses."""


class Ledger:
    """Reads and commits for one run of a Vault."""

    def __init__(
        self,
        clock: Clock,
        sealer: RowSealer,
        link: HostLink,
        ring: Ring,
        log: Log,
        witnessing: Witnessing,
    ) -> None:
        self._witnessing = witnessing
        self._open_ring = ring
        self._clock = clock
        self._sealer = sealer
        self.log: Final = log
        self._link = link
        self._index = Index()
        self._head: Row | None = None
        self._ring = bytes(32)
        self._one_commit = asyncio.Lock()
        self._one_inquiry = asyncio.Lock()
        self._under_way: _Candidate | None = None
        self._settled = asyncio.Event()
        self._candidates: list[_Candidate] = []
        self._in_doubt = False
        self._reading: list[list[frozenset[bytes]]] = []
        """For each reading under way, the keys that commits have touched since it began."""

    # --- start --------------------------------------------------------------------------------------------------

    async def take_up(self, state: SealedState) -> None:
        """Go on where the head row says, if there is one. Nothing is written.

        Raises `Untrusted` ROLLED_BACK when parts of the database are of different times, or it is another one than was
        surveyed.
        """
        row = (await self._link.read([HEAD_KEY]))[0]
        if state.found is not None:
            await self._take_up(row, state.found)
            if state.surveyed not in (None, (self.log.size, self.log.frontier.root)):
                raise Untrusted(Number.ROLLED_BACK, "the database is not the one that was looked at for this recovery")
            self._ring = row_digest(state.found)
        elif row is not None:
            raise Untrusted(Number.ROLLED_BACK, "a new cluster finds the log of another one")

    async def begin(self, state: SealedState) -> None:
        """Write the first commit of this run, and with it what the ring needs written.

        Raises `Untrusted` ROLLED_BACK when the log is not the head's, and as `commit`.
        """
        try:
            await self._commit([], [], frozenset(), unticketed=0, ring=state.draft, life=state.life, starts=True)
        except Misuse as error:
            if error.number is Number.CONFLICT:
                raise Untrusted(Number.ROLLED_BACK, "the log has another length than its head says") from None
            raise

    async def _take_up(self, row: Row | None, ring: bytes) -> None:
        if row is None:
            raise Untrusted(Number.ROLLED_BACK, "the database has a key ring and no log")
        head = parse_payload(self._sealer.open_head(row), Head)
        if row_digest(ring) != head.ring:
            raise Untrusted(Number.ROLLED_BACK, "the sealed key ring is not the one that was there last")
        self._clock.restore_floor(head.clock_floor)
        self._index = Index.of(await self._buckets(head.buckets), head.listings)
        if self._index.root != head.index_root:
            raise Untrusted(Number.ROLLED_BACK, "the index is not the one that was there last")
        self.log.frontier = Frontier(head.size, head.frontier)
        self._head = row

    async def _buckets(self, count: int) -> list[Row | None]:
        rows: list[Row | None] = []
        for at in range(0, count, READ_AT_ONCE):
            rows += await self._link.read([bucket_key(number) for number in range(at, min(at + READ_AT_ONCE, count))])
            if count > 8 * READ_AT_ONCE and (at // READ_AT_ONCE) % 16 == 15:
                print(f"index: read {len(rows):,} of {count:,} buckets", file=sys.stderr, flush=True)
        return rows

    @property
    def listings(self) -> int:
        """Rows that the index lists."""
        return self._index.listings

    # --- reading ------------------------------------------------------------------------------------------------

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows of one moment, each the last one written. Raises `Untrusted` for the first that is not; see
        `read_each`."""
        rows = []
        for row in await self.read_each(keys):
            if isinstance(row, Untrusted):
                raise row
            rows.append(row)
        return rows

    async def read_each(self, keys: Sequence[bytes]) -> list[Row | Untrusted | None]:
        """As `read`; in the place of a row that is not the last one written why: ROLLED_BACK, or INTEGRITY when its
        version is right and its bytes are not."""
        looked = False
        for _ in range(MOVING):
            if self._in_doubt or self._under_way is not None:
                await self._rest(keys)
            moved: list[frozenset[bytes]] = []
            self._reading.append(moved)
            try:
                found, excused = await self._read_once(keys, moved)
            finally:
                # By identity: those of two readings may well be equal.
                self._reading = [one for one in self._reading if one is not moved]
            if not excused and not looked and self._candidates and any(isinstance(one, Untrusted) for one in found):
                # A commit that was not made when the head row told so may have been made since.
                looked = self._in_doubt = excused = True
            if not excused:
                # Now, not before: what was read may be newer than what was asked for.
                self._witnessing.rest_on(keys)
                return found
        raise Unavailable(Number.BUSY, "the rows keep changing")

    async def listing(self, key: bytes) -> Listing:
        """What the index knows of the row `key`: with the last entry of the log about it."""
        for _ in range(MOVING):
            await self._rest([key])
            content = self._index.content(bucket_of(key, self._index.buckets))
            if content is not None:
                return find(content, key)
            await self.read_each([key])  # brings its bucket along
        raise Unavailable(Number.BUSY, "the index keeps changing")

    async def listed(self, number: int) -> list[bytes] | None:
        """Keys of the rows that this bucket lists; None when it is one too many.

        One bucket after the other shows every row that there was at the first call: what a split takes from a bucket
        goes to a new one at the end.
        """
        any_key = number.to_bytes(8, "big") + bytes(24)
        for _ in range(MOVING):
            await self._rest([any_key])
            if number >= self._index.buckets:
                return None
            content = self._index.content(number)
            if content is not None:
                return keys_of(content)
            await self.read([any_key])  # brings its bucket along
        raise Unavailable(Number.BUSY, "the index keeps changing")

    async def _read_once(
        self, keys: Sequence[bytes], moved: Sequence[frozenset[bytes]]
    ) -> tuple[list[Row | Untrusted | None], bool]:
        """What the host shows now; and whether something of it is wrong that a commit has changed meanwhile."""
        index = self._index
        numbers = {key: bucket_of(key, index.buckets) for key in keys}
        unknown = [number for number in dict.fromkeys(numbers.values()) if index.content(number) is None]
        # What is listed as absent nobody needs to be asked for.
        asked = [key for key, number in numbers.items() if may_exist(key, index.content(number))]
        rows = await self._link.read([*asked, *map(bucket_key, unknown)]) if asked or unknown else []
        wrong: dict[int, Untrusted] = {}
        for number, row in zip(unknown, rows[len(asked) :], strict=True):
            try:
                index.learn(number, row)
            except Untrusted as error:
                wrong[number] = error
        shown = dict(zip(asked, rows, strict=False))
        found: list[Row | Untrusted | None] = []
        excused = False
        for key in keys:
            # By the index as it is now: what was at hand before may be from before a commit.
            number, content = numbers[key], index.content(bucket_of(key, index.buckets))
            if content is None:
                # Not at hand any more, for want of room, or never: then it was wrong.
                excused |= number not in wrong
                one: Row | Untrusted | None = wrong.get(number)
            else:
                one = checked(shown.get(key), find(content, key))
            if isinstance(one, Untrusted):
                excused |= any(key in touched or bucket_key(number) in touched for touched in moved)
            found.append(one)
        return found, excused

    async def _rest(self, keys: Sequence[bytes]) -> None:
        """Until no commit under way touches these rows, and it is known how the last one ended."""
        while True:
            if self._in_doubt:
                await self._inquire()
            candidate = self._under_way
            if candidate is None or candidate.touched.isdisjoint(keys):
                return
            await self._settled.wait()

    # --- writing ------------------------------------------------------------------------------------------------

    async def commit(
        self,
        puts: Sequence[Put],
        entries: Sequence[LogEntry],
        *,
        unticketed: int = 0,
        critical: frozenset[bytes] = frozenset(),
    ) -> None:
        """One transaction: rows, and entries of the access log; durable when this returns.

        `critical` are keys of rows whose change must not be lost with a rollback: what rests on it waits for witnesses.
        Raises `Unavailable` STORE_UNAVAILABLE (whether it was made is unknown, and found out before anything else is
        read or written), STORE_FULL, or `Untrusted` when the database is not in the state that this Vault left it in.
        """
        await self._commit(puts, entries, critical, unticketed=unticketed, starts=False)

    async def reseal(self, reseals: Sequence[Reseal]) -> None:
        """Write rows sealed anew; one that was written since it was read stays as it is. Raises as `commit`."""
        await self._commit([], [], frozenset(), unticketed=0, reseals=reseals, starts=False)

    async def keep(self, ring: RingDraft | None, life: Sequence[LifeLeaf]) -> None:
        """Write a changed ring, and what happened to it. Raises as `commit`."""
        await self._commit([], [], frozenset(), unticketed=0, ring=ring, life=life, starts=False)

    async def _commit(
        self,
        puts: Sequence[Put],
        entries: Sequence[LogEntry],
        critical: frozenset[bytes],
        *,
        unticketed: int,
        ring: RingDraft | None = None,
        life: Sequence[LifeLeaf] = (),
        reseals: Sequence[Reseal] = (),
        starts: bool,
    ) -> None:
        async with self._one_commit:
            if self._in_doubt:
                await self._inquire()
            if ring is not None and ring.replaces != self._open_ring.version:
                raise Unavailable(Number.BUSY, "drafted before it was known that another change of the ring was made")
            keys = [*(put.key for put in puts), *(entry.handle for entry in entries)]
            draft = await self._draft([*keys, *(one.put.key for one in reseals)])
            # What was sealed before an epoch began is sealed anew: once it has begun, nothing older is written.
            puts = [*map(self._sealer.renewed, puts), *(one.put for one in reseals if draft.fits(one))]
            for put in puts:
                draft.put(put.key, put.version, row_digest(put.sealed))
            leaves = [*self.log.entries(draft, entries), *map(encode, life)]
            buckets, root = draft.finish()
            sealed = self._ring if ring is None else row_digest(ring.row)
            facts = self._open_ring.facts if ring is None else ring.facts
            leaves.append(self.log.commit(draft, root, sealed, facts, len(puts), unticketed=unticketed, starts=starts))
            written = [*puts, *buckets] if ring is None else [*puts, *buckets, ring.put]
            candidate = self._candidate(draft, ring, sealed, root, leaves, written, critical)
            await self._write(written, candidate, leaves)

    async def _draft(self, keys: Sequence[bytes]) -> Draft:
        draft = self._index.draft()
        wanted = draft.wanted(keys)
        if wanted:
            rows = await self._link.read([bucket_key(number) for number in wanted])
            for number, row in zip(wanted, rows, strict=True):
                draft.learn(number, row)
        return draft

    def _candidate(
        self,
        draft: Draft,
        ring: RingDraft | None,
        sealed: bytes,
        root: bytes,
        leaves: Sequence[bytes],
        puts: Sequence[Put],
        critical: frozenset[bytes],
    ) -> _Candidate:
        frontier = self.log.frontier.copy()
        for leaf in leaves:
            frontier.append(leaf_hash(leaf))
        head = Head(
            version=1,
            size=frontier.size,
            frontier=frontier.hashes,
            buckets=draft.buckets,
            listings=draft.listings,
            index_root=root,
            ring=sealed,
            clock_floor=self._clock.floor,
        )
        version = 1 if self._head is None else self._head.version + 1
        row = Row(version, self._sealer.seal_head(version, encode(head), ring))
        return _Candidate(draft, ring, frontier, row, frozenset(put.key for put in puts), critical)

    async def _write(self, puts: list[Put], candidate: _Candidate, leaves: Sequence[bytes]) -> None:
        head = candidate.head
        puts.append(Put(HEAD_KEY, head.version - 1, head.version, head.sealed))
        self._under_way = candidate
        self._settled.clear()
        for moved in self._reading:
            moved.append(candidate.touched)
        try:
            await self._link.commit(puts, self.log.size, leaves)
        except BaseException:
            # Also when whoever waited was cancelled: the host may have made it all the same.
            self._candidates = [*self._candidates, candidate][-MAX_CANDIDATES:]
            self._in_doubt = True
            raise
        else:
            self._adopt(candidate)
        finally:
            self._under_way = None
            self._settled.set()

    def _adopt(self, candidate: _Candidate) -> None:
        candidate.draft.adopt()
        self.log.frontier = candidate.frontier
        self._head = candidate.head
        if candidate.ring is not None:
            self._open_ring.adopt(candidate.ring)
            self._ring = row_digest(candidate.ring.row)
        self._candidates = []
        self._in_doubt = False
        self._witnessing.committed(self.log.size, candidate.critical)

    async def _inquire(self) -> None:
        """Find out by the head row how commits ended of which that is unknown.

        One that was not made may still be made, late; so it stays a candidate until another one is durable.
        """
        async with self._one_inquiry:
            if not self._in_doubt:
                return
            row = (await self._link.read([HEAD_KEY]))[0]
            if row == self._head:
                self._in_doubt = False
                return
            for candidate in self._candidates:
                if row == candidate.head:
                    self._adopt(candidate)
                    return
            raise Untrusted(Number.ROLLED_BACK, "the database is in a state that this Vault did not leave it in")
