"""The public facts of a log, for programs that watch it: one record a leaf, none before a checkpoint covers it.

A record says when something was decided and by how much the log grew. Who asked for what is sealed: only the owner of
the record can see it, and ask the Vault for proof (`strongroom history`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final, Protocol

from strongroom.client.audit.log import Founding
from strongroom.client.audit.report import shown_time
from strongroom.client.audit.sources import LogSource, stream
from strongroom.client.audit.tiles import WIDTH, join_bundle
from strongroom.client.errors import BadInput
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.leaves import CommitLeaf, EntryLeaf, LifeLeaf, parse_leaf
from strongroom.protocol.notes import verify_checkpoint
from strongroom.protocol.tlog import Frontier, leaf_hash, node_hash

SEALED: Final = "who asked for what, and the answer, is sealed: a record's owner sees it with `strongroom history`"
_MAX_ENTRIES: Final = 1 << 16
"""Of one commit."""

Record = dict[str, Any]


class TiledLog(LogSource, Protocol):
    """A source with tiles of hashes, from which one can start anywhere."""

    async def hash_tile(self, level: int, number: int, width: int) -> list[bytes]: ...


class Export:
    """Goes through a log once, from leaf `first` on."""

    def __init__(self, founding: Founding, source: TiledLog, first: int) -> None:
        self._founding = founding
        self._log = founding.log
        """Of the generation that the newest checkpoint names."""
        self._source = source
        self._frontier: Frontier | None = None
        """Of the leaves before `next`, where it is known."""
        self.next = first
        """Index of the first leaf that was not handed out: where to go on."""
        self._reached = False
        """Whether the log once had all leaves before `next`: else it is the word of who asked for it."""

    async def up_to(self, note: bytes) -> AsyncIterator[Record]:
        """Records of all leaves that this checkpoint covers and that were not handed out before.

        All are read before the first is handed out: what does not fit the checkpoint is not. Raises `Untrusted`:
        INTEGRITY, LOG_OMITTED for what is missing, ROLLED_BACK when the log is shorter than it was;
        `BadInput` when it never had as many leaves.
        """
        self._log = self._founding.named_by(note)[1].log
        checkpoint = verify_checkpoint(note, self._log).checkpoint
        if checkpoint.size < self.next:
            if not self._reached:
                raise BadInput(
                    f"the log has {checkpoint.size} leaves; is --from right?",
                    "give the leaf that the last export named; if this is the one, the log was cut off or rolled back",
                )
            raise Untrusted(Number.ROLLED_BACK, f"the log had {self.next} leaves, and now has {checkpoint.size}")
        self._reached = True
        before = self._frontier or await _edge(self._source, self.next, checkpoint.size)
        after, seen = before.copy(), []
        async with aclosing(stream(self._source, self.next, checkpoint.size)) as streaming:
            async for _, leaves in streaming:
                seen.append(_digest(leaves))
                for leaf in leaves:
                    after.append(leaf_hash(leaf))
        if after.root != checkpoint.root:
            raise Untrusted(
                Number.INTEGRITY, f"leaves {self.next} to {checkpoint.size - 1} are not those of the checkpoint"
            )
        self._frontier = None  # until all is handed out: what fails on the way leaves `next` somewhere between
        waiting: list[tuple[int, EntryLeaf | LifeLeaf]] = []
        async with aclosing(stream(self._source, self.next, checkpoint.size)) as streaming:
            async for first, leaves in streaming:
                if _digest(leaves) != seen.pop(0):
                    raise Untrusted(Number.INTEGRITY, "the source shows other leaves than a moment ago")
                for index, leaf in enumerate(leaves, first):
                    parsed = parse_leaf(leaf)
                    if isinstance(parsed, EntryLeaf | LifeLeaf):
                        waiting.append((index, parsed))
                        if len(waiting) > _MAX_ENTRIES:
                            raise Untrusted(Number.INTEGRITY, "a commit with more entries than a Vault writes")
                        continue
                    for record in self._records(waiting, index, parsed):
                        yield record
                    waiting.clear()
                    self.next = index + 1
        self._frontier = after if self.next == checkpoint.size else None

    def _records(
        self, before: list[tuple[int, EntryLeaf | LifeLeaf]], place: int, commit: CommitLeaf
    ) -> Iterator[Record]:
        """Entries have no time in clear; that of their commit is at most a moment later."""
        common = {"log": self._log.name, "time": shown_time(commit.at)}
        for index, entry in before:
            if isinstance(entry, LifeLeaf):
                yield {
                    "log": self._log.name,
                    "time": shown_time(entry.at),
                    "leaf": "life",
                    "index": index,
                    "commit": place,
                    "event": entry.event,
                    "number": entry.number,
                    "about": entry.about.hex(),
                    "text": entry.text,
                }
                continue
            yield common | {
                "leaf": "entry",
                "index": index,
                "commit": place,
                "commitment": entry.commitment.hex(),
                "bytes": len(entry.sealed),
            }
        yield common | {
            "leaf": "commit",
            "index": place,
            "run": commit.owner.hex(),
            "start": commit.start,
            "changes": commit.changes,
            "unticketed": commit.unticketed,
            "clock_floor": commit.clock_floor,
            "index_root": commit.index_root.hex(),
            "buckets": commit.buckets,
            "ring": commit.ring.hex(),
            "generation": commit.generation,
            "release": commit.release,
            "recoveries": commit.recoveries,
        }


async def _edge(source: TiledLog, first: int, size: int) -> Frontier:
    """The right edge of the tree of `first` leaves, as the tiles of the log of `size` say: right, if what follows on it
    has the root of a checkpoint."""
    hashes: list[bytes] = []
    end = 0
    for height in reversed(range(first.bit_length())):
        if not first >> height & 1:
            continue
        level, above = divmod(height, 8)
        start = (end >> height) << above
        end += 1 << height
        number = start // WIDTH
        width = min(WIDTH, (size >> 8 * level) - number * WIDTH)
        tile = await source.hash_tile(level, number, width)
        nodes = tile[start % WIDTH : start % WIDTH + (1 << above)]
        while len(nodes) > 1:
            nodes = [node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
        hashes += nodes
    return Frontier(first, hashes)


def _digest(leaves: list[bytes]) -> bytes:
    return sha256(join_bundle(leaves)).digest()
