"""What the door passes to a service, and what a service is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.candidates import Candidate
from strongroom.enclave.runtime.ring import RingDraft, SealedState
from strongroom.protocol.codec import Message
from strongroom.protocol.leaves import LifeLeaf


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks in a proved session."""

    binding_key: bytes
    """P-256 public key (65 bytes) that signed the session's transcript."""
    peer: Genuine | None
    """Of a Vault that asks for decisions: its evidence, verified as made for this handshake."""
    joiner: Candidate | None = None
    """Of an enclave that joins, the same."""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the status says of a service; zeros for what it does not have."""

    log_size: int = 0
    witnessed: int = 0
    """Unix time that the witnesses vouch for: it is not earlier."""
    seen_size: int = 0
    """Leaves of the log that the witnesses have seen."""
    seen_at: int = 0
    """Unix time by which they had: it was not later. 0: not yet, or nobody can say."""
    rows: int = 0
    resealed: int = 0
    """Rows looked at since the current epoch began; 0 when there is nothing to do."""


class Served(Protocol):
    """What a door needs of what stands behind it."""

    requests: Any
    """Type (a union of messages) of what it accepts, `Prove` included."""

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint of this role's log, for anybody. Raises `Misuse` UNSUPPORTED without a log."""

    async def handle(self, caller: Caller, request: Any) -> Message:
        """Answer one request. Raises `StrongroomError`; the door turns it into an `Error` message."""


class Service(Served, Protocol):
    """One role's operations."""

    async def start(self, state: SealedState) -> None:
        """Before anything is handled, once: write what opening the ring needs written, and be ready. Raises
        `StrongroomError`."""

    async def survey(self, found: bytes) -> tuple[int, bytes]:
        """Size and root of the log in the database, whose row of the ring is `found`; (0, empty) without a log. Before
        `start`, and nothing is written. Raises `Untrusted` ROLLED_BACK when parts of it are of different times."""

    async def keep(self, draft: RingDraft | None, life: Sequence[LifeLeaf]) -> None:
        """Write a changed ring and what the log says of it. Returns when that is durable, the ring is the changed one,
        and witnesses have seen it where there are any. Raises `StrongroomError`."""

    async def reseal(self) -> int:
        """Seal anew, at leisure, what was sealed under an older epoch than the ring's newest at the time of the call.

        Returns the number of that one, when all that is kept is of it or of newer ones. Raises `StrongroomError` when
        that can't be said: call again later.
        """

    def facts(self) -> ServiceFacts:
        """For the status."""
