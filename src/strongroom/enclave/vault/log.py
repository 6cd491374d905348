"""The access log: one sealed batch a commit, chained within one run of the Vault (`spec/records.md`).

A batch whose commit failed may or may not be in the database. Its digest is named by the next one, so that a gap
in the sequence that the Vault knows of can be told from one that the host made by erasing.
"""

from __future__ import annotations

from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.vault.records import LogBatch, LogEntry
from strongroom.enclave.vault.rows import RowSealer
from strongroom.protocol.codec import encode
from strongroom.protocol.primitives import Domain, digest

MAX_ABANDONED: Final = 64


class Log:
    """Seals batches of entries."""

    def __init__(self, platform: Platform, sealer: RowSealer) -> None:
        self._sealer = sealer
        self._run: Final = platform.random(16)
        self._sequence = 0
        self._previous = bytes(32)
        self._abandoned: list[bytes] = []
        self._open: tuple[bytes, int] | None = None
        self.unticketed = 0
        """Requests without a valid ticket since the last batch."""

    def batch(self, entries: list[LogEntry]) -> bytes | None:
        """run (16) ‖ sequence (8) ‖ sealed batch; None without entries. Settle it with `keep` or `abandon`."""
        self._open = None
        if not entries:
            return None
        payload = encode(
            LogBatch(
                run=self._run,
                sequence=self._sequence,
                previous=self._previous,
                abandoned=self._abandoned,
                unticketed=self.unticketed,
                entries=entries,
            )
        )
        self._open = (digest(Domain.LOG_ENTRY, payload), self.unticketed)
        key = digest(Domain.LOG_RUN, self._run)
        return self._run + self._sequence.to_bytes(8, "big") + self._sealer.seal(key, self._sequence, payload)

    def keep(self) -> None:
        """The batch is durable."""
        if self._open is not None:
            self._previous, counted = self._open
            self.unticketed -= counted
            self._abandoned = []
            self._sequence += 1

    def abandon(self) -> None:
        """Whether the batch is in the database is unknown."""
        if self._open is not None:
            self._abandoned = [*self._abandoned, self._open[0]][-MAX_ABANDONED:]
            self._sequence += 1
