"""The loop: load, a kill at a random moment, a restart, a look at everything that may have suffered."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import StrongroomError, Unavailable
from strongroom.protocol.limits import MAX_BATCH
from strongroom.protocol.messages import ById
from strongroom.protocol.notes import parse_checkpoint
from tests.soak.cluster import Cluster, Database, Victim, cluster
from tests.soak.ledger import Record, Violation
from tests.soak.people import Person, Stranger, World, verify
from tests.support.command import ROOT, environment

MOST_WRITES = 40
"""Acknowledged between two kills: a random number up to this, and then a moment."""
LONGEST_LOAD = 15.0
"""Seconds for them."""
SAMPLE = 200
"""Records beside the touched ones that are looked at after each kill; at the end it is all."""
TRAILS = 40
"""Records whose whole trail is read at the end."""
HEALING_SECONDS = 60
"""For a Vault whose database server was killed and started again."""
WEIGHTS: dict[Database, dict[Victim, int]] = {
    "sqlite": {"enclave": 3, "host": 4, "both": 2, "starting": 1},
    "postgresql": {"enclave": 3, "host": 4, "both": 2, "starting": 1, "database": 2},
}


@dataclass(slots=True)
class Outcome:
    """What a run did."""

    kills: Counter[Victim] = field(default_factory=Counter)
    records: int = 0
    acknowledged: int = 0
    unknown: int = 0
    """Writes that were under way when something was killed."""
    log: int = 0
    """Leaves."""
    seconds: float = 0.0
    slowest_restart: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {victim}" for victim, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kinds}) in {self.seconds:.0f} s: {self.acknowledged} writes acknowledged, "
            f"{self.unknown} under way when something was killed, {self.records} records, {self.log} leaves of the "
            f"log; slowest restart {self.slowest_restart:.1f} s; nothing lost, half or invented"
        )


class Checkpoints(MemoryCheckpoints):
    """Of all people together; what was ever kept is compared with the log at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[bytes, None] = {}

    def keep(self, origin: str, note: bytes, over: bytes | None) -> bytes:
        kept = super().keep(origin, note, over)
        self.notes[kept] = None
        return kept


class Soak:
    """One run against one cluster."""

    def __init__(self, it: Cluster, *, people: int, seed: int) -> None:
        self._cluster = it
        self._checkpoints = Checkpoints()
        self._world = World(it, self._checkpoints, seed)
        self._chance = random.Random(seed)
        self._people = [Person(self._world) for _ in range(people)]
        self._stranger = Stranger(self._world)
        self._looker: AsyncVault = self._world.sdk(it.alice)
        self.outcome = Outcome()

    async def run(self, kills: int, told: Callable[[int, Victim], None]) -> None:
        began = time.monotonic()
        await self._world.namespace()
        await self._stranger.prepare()
        weights = WEIGHTS[self._cluster.kind]
        for number in range(1, kills + 1):
            (victim,) = self._chance.choices(list(weights), list(weights.values()))
            await self._load_and_kill(victim)
            await self._look(self._world.ledger.recent())
            self.outcome.kills[victim] += 1
            told(number, victim)
        await self._look(self._world.ledger.records)
        await self._read_trails()
        await asyncio.gather(
            self._stranger.aclose(), self._looker.aclose(), *(person.aclose() for person in self._people)
        )
        await asyncio.to_thread(self._audit)
        ledger = self._world.ledger
        self.outcome.records, self.outcome.acknowledged = len(ledger.records), ledger.acknowledged
        self.outcome.unknown = ledger.unknown
        self.outcome.seconds = time.monotonic() - began

    async def _load_and_kill(self, victim: Victim) -> None:
        self._world.stopped = False
        working = asyncio.gather(self._stranger.work(), *(person.work() for person in self._people))
        await self._writes(self._chance.randint(0, MOST_WRITES))
        if victim == "database":
            await self._kill_database(working)
            return
        vault = self._cluster.vault
        await asyncio.to_thread(vault.kill, "both" if victim == "starting" else victim)
        await working
        if victim == "starting":
            process = vault.begin()
            await asyncio.sleep(self._chance.uniform(0.0, 1.5))
            assert process.poll() is None, "it ended by itself while it was starting"
            await asyncio.to_thread(vault.kill, "both")
        before = time.monotonic()
        await asyncio.to_thread(vault.start)
        self.outcome.slowest_restart = max(self.outcome.slowest_restart, time.monotonic() - before)
        await self._insist_or_let_be()

    async def _writes(self, count: int) -> None:
        """Wait until so many more are acknowledged, or as long as one waits for them."""
        wanted = self._world.ledger.acknowledged + count
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_LOAD):
                while self._world.ledger.acknowledged < wanted:
                    self._world.written.clear()
                    await self._world.written.wait()
        await asyncio.sleep(self._chance.uniform(0.0, 0.02))

    async def _kill_database(self, working: asyncio.Future[list[None]]) -> None:
        """The Vault lives on and asks again; people may notice nothing, or hear that it can't now."""
        server = self._cluster.server
        assert server is not None
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        await asyncio.to_thread(server.start)
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        self._world.stopped = True
        await working
        await self._insist_or_let_be()

    async def _insist_or_let_be(self) -> None:
        if self._chance.random() < 0.5:
            await asyncio.gather(*(person.insist() for person in self._people))
        for person in self._people:
            person.let_be()

    async def _look(self, records: list[Record]) -> None:
        if len(records) < len(self._world.ledger.records):
            everything = self._world.ledger.records
            seen = set(records)
            records = records + [
                one for one in self._chance.sample(everything, min(len(everything), SAMPLE)) if one not in seen
            ]
        for start in range(0, len(records), MAX_BATCH):
            await self._patiently(records[start : start + MAX_BATCH])

    async def _patiently(self, records: list[Record]) -> None:
        deadline = time.monotonic() + HEALING_SECONDS
        while True:
            try:
                return await verify(self._world.ledger, self._looker, records)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def _read_trails(self) -> None:
        """The log of some records: no refusal is missing that was answered, none is there that nobody asked for."""
        records = self._world.ledger.records
        for record in self._chance.sample(records, min(len(records), TRAILS)):
            try:
                trail = await self._looker.trail(ById(id=record.id), limit=None)
            except StrongroomError as error:
                if record.content is None:
                    continue  # there is nothing to read about
                raise Violation(f"{record.name} has no trail: {error}") from error
            refused = sum(entry.action == "collect" and entry.outcome != 0 for entry in trail.entries)
            if not record.refused <= refused <= record.asked:
                raise Violation(
                    f"{record.name}: {refused} refusals stand in the log, of {record.asked} collects that were sent; "
                    f"{record.refused} were answered"
                )
            if trail.version != record.version:
                raise Violation(f"{record.name}: version {trail.version} in its trail, not {record.version}")

    def _audit(self) -> None:
        """`strongroom audit`: every leaf, every row, and every checkpoint that somebody was ever shown."""
        folder = self._cluster.root / "checkpoints"
        folder.mkdir()
        since: list[str] = []
        for number, note in enumerate(self._checkpoints.notes):
            path = folder / f"{number}"
            path.write_bytes(note)
            since += ["--since", str(path)]
        self.outcome.log = max((parse_checkpoint(note).checkpoint.size for note in self._checkpoints.notes), default=0)
        newest = self._cluster.root / "newest"
        newest.write_bytes(next(reversed(self._checkpoints.notes)))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "strongroom.cli", "audit", "--database", self._cluster.database_argument),
                *("--cluster", self._cluster.clusters["vault"].hex(), "--checkpoint", str(newest), *since),
            ],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Violation(f"the audit of the database fails:\n{done.stdout}\n{done.stderr}")


async def soak(
    database: Database,
    kills: int,
    *,
    people: int = 6,
    seed: int | None = None,
    told: Callable[[int, Victim], None] = lambda number, victim: None,
) -> Outcome:
    """Kill so often, and look each time. Raises `Violation`; what it left behind is then in the folder it names."""
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    async with cluster(database) as it:
        run = Soak(it, people=people, seed=seed)
        await run.run(kills, told)
        return run.outcome
