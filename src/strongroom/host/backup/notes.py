"""What an operator did last about backups, beside the database: for the status page, and for nothing else.

Whoever can write the data directory can write anything here. So nothing is decided by these notes, and where they can't
be read, nothing is said.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

NOTES: Final = "operations.json"
_MAX_NOTES: Final = 64 * 1024


class BackupNote(msgspec.Struct, frozen=True):
    """The last backup of this database (`strongroom backup`)."""

    at: int
    """Unix time of what is in it."""
    path: str
    kind: Literal["full", "incremental"]
    bytes: int
    rows: int
    log_size: int
    """Leaves; 0 of an Authenticator, which has no log."""


class VerifyNote(msgspec.Struct, frozen=True):
    """The last look at a backup (`strongroom verify-backup`)."""

    at: int
    path: str
    holds: bool
    made: int
    """Unix time of what is in it."""
    log_size: int


class RestoreNote(msgspec.Struct, frozen=True):
    """This database came out of a backup (`strongroom restore`)."""

    at: int
    path: str
    made: int
    """Unix time of what is in it."""
    log_size: int


class DrillNote(msgspec.Struct, frozen=True):
    """The last time that custodians brought a backup of this cluster back in another place, and an enclave there proved
    it (`strongroom verify-backup --drilled`). Reading a backup is no drill."""

    at: int
    path: str
    made: int
    """Unix time of what was in the backup."""
    log_size: int
    recoveries: int
    """How often the ring there was recovered. A drill does not count, and a recovery of another copy does."""


class Notes(msgspec.Struct, frozen=True):
    """All of it; None for what was never done, or on another machine."""

    backup: BackupNote | None = None
    verify: VerifyNote | None = None
    restore: RestoreNote | None = None
    drill: DrillNote | None = None

    def with_(self, note: BackupNote | VerifyNote | RestoreNote | DrillNote) -> Self:
        """The same with this in place of the one before it."""
        match note:
            case BackupNote():
                return msgspec.structs.replace(self, backup=note)
            case VerifyNote():
                return msgspec.structs.replace(self, verify=note)
            case RestoreNote():
                return msgspec.structs.replace(self, restore=note)
            case DrillNote():
                return msgspec.structs.replace(self, drill=note)


def read_notes(data: Path) -> Notes:
    """The notes in data directory `data`; none of them where there are none, or what is there is no such file."""
    try:
        with (data / NOTES).open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_NOTES), type=Notes)
    except (OSError, msgspec.DecodeError):
        return Notes()


def write_note(data: Path, note: BackupNote | VerifyNote | RestoreNote | DrillNote) -> None:
    """Put `note` in place of the one before it; all of the file or none. Raises OSError."""
    draft = data / f".{NOTES}.{os.getpid()}"
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(read_notes(data).with_(note)), indent=2) + b"\n")
        draft.replace(data / NOTES)
    finally:
        draft.unlink(missing_ok=True)
