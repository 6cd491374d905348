"""Logs made by hand, leaf by leaf, with checkpoints and cosignatures: what auditors are shown, and what liars make."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from strongroom.client.audit.log import Audit, Founding, Shows, found
from strongroom.client.audit.sources import Missing
from strongroom.client.audit.tiles import WIDTH, Bundle, HashTiles
from strongroom.protocol.codec import encode
from strongroom.protocol.leaves import CommitLeaf, EntryLeaf, log_origin
from strongroom.protocol.notes import COSIGNATURE, Checkpoint, SignedCheckpoint, Verifier, cosign, sign_checkpoint
from strongroom.protocol.primitives import NoteKey
from strongroom.protocol.tlog import Frontier, leaf_hash
from tests.support.evidence import Cluster

START = 1_790_000_000
RING = b"r" * 32


class Witness:
    def __init__(self, name):
        self.name = name
        self.key = NoteKey(os.urandom(32))

    @property
    def vkey(self) -> str:
        return str(Verifier(self.name, COSIGNATURE, self.key.public))

    def line(self, checkpoint: Checkpoint, time: int) -> str:
        return cosign(self.key, self.name, checkpoint, time)


class MadeLog:
    """A cluster's log; `leaves` may be bent by a test, `note()` signs what it is then."""

    def __init__(self, witnesses: Sequence[Witness] = (), cosignatures: int = 0) -> None:
        self.witnesses = witnesses
        self.cluster = Cluster("vault", witnesses=[one.vkey for one in witnesses], cosignatures=cosignatures)
        self.leaves: list[bytes] = []
        self.owner = os.urandom(16)
        self.at = START
        self.generation = 0

    @property
    def founding(self) -> Founding:
        return found(self.cluster.genesis, {self.cluster.id})

    def commit(self, entries: int = 0, **fields: Any) -> None:
        """Append one commit with so many entries."""
        self.leaves += [encode(EntryLeaf(commitment=os.urandom(32), sealed=os.urandom(300))) for _ in range(entries)]
        self.at += 10
        values: dict[str, Any] = {
            "version": 1,
            "shard": 0,
            "generation": self.generation,
            "owner": self.owner,
            "start": False,
            "nonce": os.urandom(16),
            "at": self.at,
            "clock_floor": 0,
            "index_root": os.urandom(32),
            "buckets": 1,
            "ring": RING,
            "release": 0,
            "recoveries": 0,
            "unticketed": 0,
            "changes": entries,
        }
        self.leaves.append(encode(CommitLeaf(**values | fields)))

    def start(self, **fields: Any) -> None:
        """Another run of the Vault takes over."""
        self.owner = os.urandom(16)
        self.commit(start=True, **fields)

    def grow(self, commits: int = 5, entries: int = 2) -> MadeLog:
        """An honest run."""
        self.start()
        for _ in range(commits):
            self.commit(entries)
        return self

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        frontier = Frontier()
        for leaf in self.leaves[:size]:
            frontier.append(leaf_hash(leaf))
        return Checkpoint(log_origin(self.cluster.id, generation=self.generation), frontier.size, frontier.root)

    def signed(self, size: int | None = None, by: Sequence[Witness] = ()) -> SignedCheckpoint:
        checkpoint = self.checkpoint(size)
        lines = [one.line(checkpoint, self.at + 1) for one in by]
        return sign_checkpoint(self.cluster.log_key, checkpoint).with_lines(lines)

    def note(self, size: int | None = None, by: Sequence[Witness] = ()) -> bytes:
        return self.signed(size, by).note


class Shown:
    """A log as somebody shows it: these leaves, whatever else there was."""

    def __init__(self, leaves: Sequence[bytes], note: bytes | None = None) -> None:
        self.shown = list(leaves)
        self.note = note

    async def checkpoint(self) -> bytes | None:
        return self.note

    async def size(self) -> int | None:
        return None

    async def bundle(self, wanted: Bundle) -> list[bytes]:
        first = wanted.number * WIDTH
        found = self.shown[first : first + wanted.width]
        if len(found) < wanted.width:
            raise Missing(f"no leaves from {first} on")
        return found


class Tiled(Shown):
    """With the tiles of hashes that these leaves have."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        super().__init__(leaves)
        self.tiles: dict[tuple[int, int], list[bytes]] = {}
        tiles = HashTiles()
        for leaf in leaves:
            for tile in tiles.append(leaf_hash(leaf)):
                self.tiles[tile.level, tile.number] = list(tile.hashes)
        for tile in tiles.partial():
            self.tiles[tile.level, tile.number] = list(tile.hashes)

    async def hash_tile(self, level: int, number: int, width: int) -> list[bytes]:
        return self.tiles[level, number][:width]


async def audited(
    made: MadeLog,
    leaves: Sequence[bytes] | None = None,
    note: bytes | None = None,
    *,
    later: int = 60,
    shows: Shows = "copy",
    charter: bytes | None = None,
    **more: Any,
) -> Any:
    """The report about these leaves under this checkpoint, so many seconds later; what is not named is honest."""
    audit = Audit(made.founding, now=made.at + later, charter=charter, shows=shows)
    return await audit.run(Shown(made.leaves if leaves is None else leaves), note=note or made.note(), **more)


def states(report: Any) -> dict[str, str]:
    return {check.name: check.state for check in report.checks}


def findings(report: Any, name: str) -> str:
    return "\n".join(next(check for check in report.checks if check.name == name).findings)
