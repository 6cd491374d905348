"""Rows as the host keeps them: sealed to cluster, epoch, database key and version.

format (1) ‖ epoch (4, big-endian) ‖ salt (32) ‖ AES-256-GCM(padded payload). The associated data bind all four, so
a row that is moved to another key, put back in an older version's place or brought from another cluster does not
open. Whole-database rollback is another matter: `docs/limits.md`.
"""

from __future__ import annotations

from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.ring import Ring
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.link import Row
from strongroom.protocol.primitives import Domain, derive_key, frame_parts, open_once, pad, seal_once, unpad

FORMAT: Final = 1
_SALT_AT: Final = 5
_SEALED_AT: Final = 37


class RowSealer:
    """Seals payloads into rows and opens rows of this cluster."""

    def __init__(self, platform: Platform, ring: Ring) -> None:
        self._platform = platform
        self._ring = ring

    @property
    def epoch(self) -> int:
        return self._ring.epoch

    def seal(self, key: bytes, version: int, payload: bytes) -> bytes:
        """Seal `payload` as the row `key` (32 bytes) at `version`, in the newest epoch."""
        salt, epoch = self._platform.random(32), self._ring.epoch
        record_key = derive_key(self._ring.epochs[epoch], Domain.RECORD, salt=salt)
        sealed = seal_once(record_key, pad(payload), self._associated(epoch, key, version))
        return bytes([FORMAT]) + epoch.to_bytes(4, "big") + salt + sealed

    def open(self, key: bytes, row: Row) -> bytes:
        """Payload of a row that the host says lies under `key`. Raises `Untrusted` INTEGRITY."""
        sealed = row.sealed
        epoch = int.from_bytes(sealed[1:_SALT_AT], "big")
        root = self._ring.epochs.get(epoch)
        if len(sealed) < _SEALED_AT or sealed[0] != FORMAT or root is None:
            raise Untrusted(Number.INTEGRITY, "not a row of this cluster")
        record_key = derive_key(root, Domain.RECORD, salt=sealed[_SALT_AT:_SEALED_AT])
        associated = self._associated(epoch, key, row.version)
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
