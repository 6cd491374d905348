"""The log of this Vault: what it says of each commit and of each line of the access log (`spec/log.md`).

An entry is sealed to its place in the log, so that no host can show another one in its stead, and names the entry
before it about the same record, so that it can leave none out. What is not durable is not signed: else a failed commit
would leave two histories under one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.ring import Ring, RingFacts
from strongroom.enclave.vault.buckets import Draft
from strongroom.enclave.vault.records import LogEntry, parse_payload
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.leaves import CommitLeaf, Entry, EntryLeaf, commitment, log_verifier, parse_leaf
from strongroom.protocol.notes import Checkpoint, SignedCheckpoint, sign_checkpoint
from strongroom.protocol.tlog import Frontier


class Log:
    """What is durable of the log, and leaves to append to it."""

    def __init__(self, platform: Platform, clock: Clock, ring: Ring, sealer: RowSealer) -> None:
        self._platform = platform
        self._clock = clock
        self._sealer = sealer
        self.verifier: Final = log_verifier(ring.cluster_id, ring.log_key.public, ring.generation)
        self._log_key = ring.log_key
        self._owner: Final = platform.random(16)
        self._signed: SignedCheckpoint | None = None
        self.frontier = Frontier()
        """Of all that is durable."""

    @property
    def size(self) -> int:
        """Leaves that are durable."""
        return self.frontier.size

    @property
    def checkpoint(self) -> SignedCheckpoint:
        """Of all that is durable, signed by the log; without cosignatures."""
        if self._signed is None or self._signed.checkpoint.size != self.size:
            self._signed = sign_checkpoint(self._log_key, Checkpoint(self.verifier.name, self.size, self.frontier.root))
        return self._signed

    def entries(self, draft: Draft, entries: Sequence[LogEntry]) -> list[bytes]:
        """The next leaves: of these entries, each listed with its record in `draft`."""
        leaves: list[bytes] = []
        for entry in entries:
            index = self.size + len(leaves)
            before = draft.log(entry.handle, index)
            leaves.append(self._entry(entry, index, before.entries + 1, before.last))
        return leaves

    def _entry(self, entry: LogEntry, index: int, number: int, previous: int) -> bytes:
        opened = encode(
            Entry(
                handle=entry.handle,
                number=number,
                previous=previous,
                at=entry.at,
                version=entry.version,
                action=entry.action,
                identity=entry.identity,
                outcome=entry.number,
                blinding=self._platform.random(32),
            )
        )
        return encode(EntryLeaf(commitment=commitment(opened), sealed=self._sealer.seal_entry(index, opened)))

    def commit(
        self, draft: Draft, root: bytes, ring: bytes, facts: RingFacts, changes: int, *, unticketed: int, starts: bool
    ) -> bytes:
        """The leaf that ends a commit after which the index has this root."""
        return encode(
            CommitLeaf(
                version=1,
                shard=0,
                generation=facts.generation,
                owner=self._owner,
                start=starts,
                nonce=self._platform.random(16),
                at=self._clock.now(),
                clock_floor=self._clock.floor,
                index_root=root,
                buckets=draft.buckets,
                ring=ring,
                release=facts.release,
                recoveries=facts.recoveries,
                unticketed=unticketed,
                changes=changes,
            )
        )

    def open(self, leaf: bytes, index: int) -> tuple[bytes, Entry]:
        """The encoded entry to which a leaf is committed that the host says stands at `index`, and what it says.

        Raises `Untrusted` INTEGRITY for a leaf that this Vault did not write as an entry in this place.
        """
        parsed = parse_leaf(leaf)
        if not isinstance(parsed, EntryLeaf):
            raise Untrusted(Number.INTEGRITY, "the leaf is not an entry")
        opened = self._sealer.open_entry(index, parsed.sealed)
        if commitment(opened) != parsed.commitment:
            raise Untrusted(Number.INTEGRITY, "the leaf is not committed to what it holds")
        return opened, parse_payload(opened, Entry)
