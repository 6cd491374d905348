"""What the door passes to a service, and what a service is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from strongroom.attestation.appraisal import Genuine
from strongroom.enclave.runtime.ring import SealedState
from strongroom.protocol.codec import Message


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks in a proved session."""

    binding_key: bytes
    """P-256 public key (65 bytes) that signed the session's transcript."""
    peer: Genuine | None
    """Of an enclave that acts as client: its evidence, verified as made for this handshake."""


class Service(Protocol):
    """One role's operations."""

    requests: Any
    """Type (a union of messages) of what it accepts, `Prove` included."""

    async def start(self, state: SealedState) -> None:
        """Before anything is handled, once: write what opening the ring needs written, and be ready. Raises
        `StrongroomError`."""

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint of this role's log, for anybody. Raises `Misuse` UNSUPPORTED without a log."""

    async def handle(self, caller: Caller, request: Any) -> Message:
        """Answer one request. Raises `StrongroomError`; the door turns it into an `Error` message."""
