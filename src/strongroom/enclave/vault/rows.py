"""Rows as the host keeps them: sealed to cluster, epoch, database key and version.

format (1) ‖ epoch (4, big-endian) ‖ salt (32) ‖ AES-256-GCM(padded payload). The associated data bind all four, so
a row that is moved to another key, put back in an older version's place or brought from another cluster does not
open. Whole-database rollback is another matter: `docs/limits.md`.

Entries of the log are sealed in the same way under a genesis secret, at epoch 0: the log is never written anew, so what
it says must open when all epochs of its time are gone (RULES 22). Neither opens in the place of the other.
"""

from __future__ import annotations

from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.ring import Ring, RingDraft
from strongroom.protocol.errors import Number, Unavailable, Untrusted
from strongroom.protocol.index import HEAD_KEY
from strongroom.protocol.link import Put, Row
from strongroom.protocol.primitives import Domain, derive_key, digest, frame_parts, open_once, pad, seal_once, unpad

FORMAT: Final = 1
LOG_EPOCH: Final = 0
"""Of what does not turn with epochs: the ring's begin at 1."""
ENTRY_KEY: Final = digest(Domain.LOG_ENTRY)
"""Stands where rows have their key; no row has this one."""
_SALT_AT: Final = 5
_SEALED_AT: Final = 37


def epoch_of(sealed: bytes) -> int:
    """What a row says of its epoch; true of one that the index lists."""
    return int.from_bytes(sealed[1:_SALT_AT], "big")


class RowSealer:
    """Seals payloads into rows and opens rows of this cluster; the same for entries of its log."""

    def __init__(self, platform: Platform, ring: Ring) -> None:
        self._platform = platform
        self._ring = ring
        self._log_root = derive_key(ring.handle_key, Domain.LOG_ENTRY)

    def seal(self, key: bytes, version: int, payload: bytes) -> bytes:
        """Seal `payload` as the row `key` (32 bytes) at `version`, in the newest epoch."""
        epoch = self._ring.epoch
        return self._seal(self._ring.epochs[epoch], epoch, key, version, payload)

    def seal_head(self, version: int, payload: bytes, ring: RingDraft | None) -> bytes:
        """Seal the head row of a commit, in the newest epoch; of the ring that is written with it, if one is."""
        newest = (self._ring.state if ring is None else ring.state).secrets.epochs[-1]
        return self._seal(newest.key, newest.number, HEAD_KEY, version, payload)

    def open_head(self, row: Row) -> bytes:
        """Payload of the head row. Raises `Untrusted`: ROLLED_BACK for one of an older epoch than the ring's newest,
        which whoever has an old ring can make, and INTEGRITY."""
        if epoch_of(row.sealed) != self._ring.epoch:
            raise Untrusted(Number.ROLLED_BACK, "the end of the log is sealed in another epoch than the newest")
        return self.open(HEAD_KEY, row)

    def open(self, key: bytes, row: Row) -> bytes:
        """Payload of a row that the host says lies under `key`. Raises `Untrusted` INTEGRITY."""
        return self._open(self._ring.epochs.get(epoch_of(row.sealed)), key, row)

    def renewed(self, put: Put) -> Put:
        """The same change, sealed in the newest epoch. Raises `Unavailable` BUSY when its own has ended."""
        epoch = epoch_of(put.sealed)
        if epoch == self._ring.epoch:
            return put
        if epoch not in self._ring.epochs:
            raise Unavailable(Number.BUSY, "it was sealed too long ago")
        payload = self.open(put.key, Row(put.version, put.sealed))
        return Put(put.key, put.replaces, put.version, self.seal(put.key, put.version, payload))

    def seal_entry(self, index: int, payload: bytes) -> bytes:
        """Seal `payload` as what the leaf at `index` says."""
        return self._seal(self._log_root, LOG_EPOCH, ENTRY_KEY, index, payload)

    def open_entry(self, index: int, sealed: bytes) -> bytes:
        """Payload of what the host says stands at `index` of the log. Raises `Untrusted` INTEGRITY."""
        root = self._log_root if epoch_of(sealed) == LOG_EPOCH else None
        return self._open(root, ENTRY_KEY, Row(index, sealed))

    def _seal(self, root: bytes, epoch: int, key: bytes, version: int, payload: bytes) -> bytes:
        salt = self._platform.random(32)
        record_key = derive_key(root, Domain.RECORD, salt=salt)
        sealed = seal_once(record_key, pad(payload), self._associated(epoch, key, version))
        return bytes([FORMAT]) + epoch.to_bytes(4, "big") + salt + sealed

    def _open(self, root: bytes | None, key: bytes, row: Row) -> bytes:
        sealed = row.sealed
        if len(sealed) < _SEALED_AT or sealed[0] != FORMAT or root is None:
            raise Untrusted(Number.INTEGRITY, "not a row of this cluster, or of an epoch that is erased")
        record_key = derive_key(root, Domain.RECORD, salt=sealed[_SALT_AT:_SEALED_AT])
        associated = self._associated(epoch_of(sealed), key, row.version)
        return unpad(open_once(record_key, sealed[_SEALED_AT:], associated))

    def _associated(self, epoch: int, key: bytes, version: int) -> bytes:
        return frame_parts(
            Domain.RECORD,
            bytes([FORMAT]),
            self._ring.cluster_id,
            epoch.to_bytes(4, "big"),
            key,
            version.to_bytes(8, "big"),
        )
