"""The load: people who store, update, delete, collect, race with themselves, and are refused, until they are stopped.

Each person owns their records: nobody else writes them, so the ledger knows what may be there. Whatever fails without
a word of the Vault itself stays unknown. All share what was seen of the log: a log that is shorter than what one of
them saw is noticed by every other (`client.freshness`).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from strongroom.client.checkpoints import Checkpoints
from strongroom.client.policy import Policy
from strongroom.client.results import NewSecret, Receipt, Released
from strongroom.client.sign_in import KeySignIn
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable
from strongroom.protocol.limits import FREE_ATTEMPTS, MAX_ATTEMPT_DELAY
from strongroom.protocol.messages import ById, Terms
from tests.soak.cluster import Cluster, Identity
from tests.soak.ledger import Batch, Ledger, Record, Violation, Write

NAMESPACE = "soak"
LONGEST = 2000
"""Bytes of a secret."""
KEPT = 150
"""Records of one person that still live; then they store no more."""
SOON_GUESSED = FREE_ATTEMPTS + 5
"""Guesses that mallory makes one after another; then there is half a minute to wait."""
COUNTED = Terms(expires_at=0, max_opens=2**30, closed=False, fillable=False, blob=None, blob_bytes=0)


@dataclass(slots=True)
class Again:
    """A write whose outcome is unknown, to be sent once more, word for word."""

    records: list[Record]
    writes: list[Write]
    send: Callable[[], Awaitable[list[Receipt]]]


class World:
    """What all people share."""

    def __init__(self, cluster: Cluster, checkpoints: Checkpoints, seed: int) -> None:
        self.cluster = cluster
        self.checkpoints = checkpoints
        self.ledger = Ledger()
        self.chance = random.Random(seed)
        self.stopped = False
        """They finish what they are at, and begin nothing."""
        self.written = asyncio.Event()
        """Set whenever a write is acknowledged."""
        alice = Policy.listed(cluster.method, "alice").may("collect", "update", "delete", "audit")
        others = Policy.listed(cluster.method, "mallory").may("audit")
        self.private = cluster.instructions(alice)
        self.counted = cluster.instructions(alice | Policy.listed(cluster.method, "mallory").may("collect") | others)
        self._numbers = itertools.count(1)

    def sdk(self, identity: Identity) -> AsyncVault:
        return AsyncVault(
            self.cluster.vault.url,
            self.cluster.trust,
            sign_in=KeySignIn(identity.key),
            checkpoints=self.checkpoints,
        )

    def secret(self) -> bytes:
        """Never the same twice."""
        return f"secret {next(self._numbers)} ".encode() + self.chance.randbytes(self.chance.randrange(LONGEST))

    async def namespace(self) -> None:
        everybody = Policy.namespace(create=Policy.anyone_signed_in(self.cluster.method))
        big = 2**40
        async with AsyncVault(
            self.cluster.vault.url, self.cluster.trust, binding_key=self.cluster.owner, checkpoints=self.checkpoints
        ) as owner:
            await owner.create_namespace(
                NAMESPACE,
                instructions=self.cluster.instructions(everybody, permanent=True),
                max_records=big,
                max_bytes=big,
                max_records_per_identity=big,
                max_bytes_per_identity=big,
            )


class Person:
    """Somebody at work, signed in as alice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = world.ledger
        self._chance = world.chance
        self._vault = world.sdk(world.cluster.alice)
        self._own: list[Record] = []
        self._again: list[Again] = []

    async def work(self) -> None:
        """Until the Vault is gone, or all are stopped."""
        ways = [self._store, self._update, self._race, self._delete, self._revive, self._collect]
        weights = [30, 30, 8, 6, 4, 22]
        while not self._world.stopped:
            (way,) = self._chance.choices(ways, weights)
            try:
                await way()
            except Unavailable:
                return

    async def insist(self) -> None:
        """Send what is unknown once more, word for word: it is done once, whether it was done before or not."""
        again, self._again = self._again, []
        for one in again:
            with suppress(Unavailable):
                await self._outcome(one, later=False)

    def let_be(self) -> None:
        """Send nothing of it again: what was done is seen as it is."""
        self._again.clear()

    async def aclose(self) -> None:
        await self._vault.aclose()

    async def _outcome(self, one: Again, *, later: bool = True) -> None:
        try:
            receipts = await one.send()
        except Unavailable:
            if later:
                self._again.append(one)
            raise
        except (Refused, Misuse) as error:
            for record, write in zip(one.records, one.writes, strict=True):
                record.refuted(write)
            if error.number is not Number.CONFLICT:
                raise
            return
        for record, write, receipt in zip(one.records, one.writes, receipts, strict=True):
            self._ledger.acknowledged += 1
            record.acknowledged(write, receipt.version)
        self._world.written.set()

    async def _store(self) -> None:
        if sum(record.content is not None for record in self._own) >= KEPT:
            return await self._delete()
        count = self._chance.choice([1, 2, 8, 8])
        records = [self._ledger.new(self._chance.randbytes(16)) for _ in range(count)]
        self._own += records
        batch = Batch(f"a batch of {count}", records)
        await self._create(records, batch)

    async def _revive(self) -> None:
        record = self._pick(lambda one: one.content is None and one.version > 0)
        if record is not None:
            await self._create([record], None)

    async def _create(self, records: list[Record], batch: Batch | None) -> None:
        secrets = [self._world.secret() for _ in records]
        items = [
            NewSecret(secret, self._world.private, replaces=record.version, record_id=record.id)
            for record, secret in zip(records, secrets, strict=True)
        ]
        request_id = self._chance.randbytes(16)
        writes = [self._begin(record, secret, batch) for record, secret in zip(records, secrets, strict=True)]

        def send() -> Awaitable[list[Receipt]]:
            return self._vault.store_many(items, namespace=NAMESPACE, request_id=request_id)

        await self._outcome(Again(records, writes, send))

    async def _update(self) -> None:
        record = self._pick(lambda one: one.content is not None)
        if record is not None:
            await self._outcome(self._updating(record))

    async def _race(self) -> None:
        """Two updates of one version at the same time: one wins."""
        record = self._pick(lambda one: one.content is not None)
        if record is None:
            return
        racers = [self._outcome(self._updating(record)) for _ in range(2)]
        for result in await asyncio.gather(*racers, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _updating(self, record: Record) -> Again:
        secret, replaces, request_id = self._world.secret(), record.version, self._chance.randbytes(16)

        async def send() -> list[Receipt]:
            where = ById(id=record.id)
            return [await self._vault.update(where, secret=secret, replaces=replaces, request_id=request_id)]

        return Again([record], [self._begin(record, secret)], send)

    async def _delete(self) -> None:
        record = self._pick(lambda one: one.content is not None)
        if record is None:
            return
        replaces, request_id = record.version, self._chance.randbytes(16)

        async def send() -> list[Receipt]:
            erased = await self._vault.delete(ById(id=record.id), replaces=replaces, request_id=request_id)
            return [Receipt(erased.address, erased.version)]

        await self._outcome(Again([record], [self._begin(record, None)], send))

    async def _collect(self) -> None:
        """Own records, on which nothing is under way: exactly what is acknowledged."""
        quiet = [record for record in self._own if not record.unknown]
        if quiet:
            await verify(self._ledger, self._vault, self._chance.sample(quiet, min(len(quiet), 8)))

    def _begin(self, record: Record, secret: bytes | None, batch: Batch | None = None) -> Write:
        self._ledger.touch(record)
        return record.begin(secret, batch)

    def _pick(self, fits: Callable[[Record], bool]) -> Record | None:
        found = [record for record in self._own if not record.unknown and fits(record)]
        return self._chance.choice(found) if found else None


class Stranger:
    """Mallory: refused at alice's records, let in at one that counts its openings, and slowed down at one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._vault = world.sdk(world.cluster.mallory)
        self._counted: Record | None = None
        self._guessed: Record | None = None
        self._guesses = 0
        """That were answered with a refusal."""
        self._last_guess = 0.0

    async def prepare(self) -> None:
        """Alice stores the records that mallory asks for."""
        async with self._world.sdk(self._world.cluster.alice) as alice:
            self._counted, self._guessed = (self._world.ledger.new(self._world.chance.randbytes(16)) for _ in range(2))
            for record, text, terms in (
                (self._counted, self._world.counted, COUNTED),
                (self._guessed, self._world.counted, None),
            ):
                secret = self._world.secret()
                write = record.begin(secret)
                item = NewSecret(secret, text, record_id=record.id, terms=terms)
                (receipt,) = await alice.store_many([item], namespace=NAMESPACE)
                record.acknowledged(write, receipt.version)

    async def work(self) -> None:
        while not self._world.stopped:
            try:
                await self._world.chance.choice([self._refused, self._open, self._guess, self._guess])()
            except Unavailable:
                return

    async def aclose(self) -> None:
        await self._vault.aclose()

    async def _refused(self) -> None:
        known = [record for record in self._world.ledger.records if record.content is not None]
        record = self._world.chance.choice(known)
        if record not in (self._counted, self._guessed):
            await self._ask(record)

    async def _guess(self) -> None:
        """Mallory may collect this record, and not delete it. From the fifth try to delete it on, each costs twice the
        wait of the one before, in which nothing is permitted: no crash takes that back."""
        record = self._guessed
        assert record is not None
        if self._guesses < SOON_GUESSED or self._world.chance.random() < 0.1:
            try:
                await self._vault.delete(ById(id=record.id), replaces=record.version)
            except Refused:
                self._guesses, self._last_guess = self._guesses + 1, time.monotonic()
                return
            raise Violation(f"{record.name} was deleted by mallory")
        record.asked += 1
        wait = 0 if self._guesses < FREE_ATTEMPTS else min(2 ** (self._guesses - FREE_ATTEMPTS), MAX_ATTEMPT_DELAY)
        try:
            await self._vault.collect(ById(id=record.id))
        except Refused as error:
            if error.number is Number.THROTTLED:
                return
            raise
        waited = time.monotonic() - self._last_guess
        if waited + 1 < wait:  # the Vault counts whole seconds
            raise Violation(f"{record.name} was given to mallory {waited:.1f} s after guess {self._guesses}")

    async def _ask(self, record: Record) -> Number:
        record.asked += 1
        before = (record.version, len(record.unknown))
        try:
            await self._vault.collect(ById(id=record.id))
        except Refused as error:
            if error.number is Number.REFUSED and before == (record.version, len(record.unknown)) == (before[0], 0):
                record.refused += 1  # of what was not being deleted meanwhile
            return error.number
        raise Violation(f"{record.name} was given to mallory")

    async def _open(self) -> None:
        record = self._counted
        assert record is not None
        before = record.opens
        record.opens_asked += 1
        released = await self._vault.collect(ById(id=record.id))
        if released.secret != record.content:
            raise Violation(f"{record.name} has another secret")
        if released.opens <= before:
            raise Violation(f"{record.name}: opening {released.opens} after opening {before}")
        record.opened(released.opens)


async def verify(ledger: Ledger, vault: AsyncVault, records: Sequence[Record]) -> None:
    """Look at them, and compare. Raises `Violation`, and `Unavailable` if the Vault is gone."""
    found = await vault.collect_many([ById(id=record.id) for record in records])
    shown: list[tuple[Record, int | None, bytes | None]] = []
    for record, result in zip(records, found, strict=True):
        match result:
            case Released():
                shown.append((record, result.version, result.secret))
            case Refused(number=Number.REFUSED):
                shown.append((record, None, None))
            case StrongroomError():
                raise result
    ledger.verify(shown)
