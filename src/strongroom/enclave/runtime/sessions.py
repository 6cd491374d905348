"""The table of sessions: bounded, oldest unproven first out (RULES 21)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_SESSIONS
from strongroom.protocol.session import Channel


@dataclass(slots=True)
class Session:
    """One client's session. `caller` is None until the binding key has signed the transcript."""

    channel: Channel
    evidence: bytes
    kem_key: bytes
    binding_key: bytes
    expires_at: int
    caller: Caller | None = None


class Sessions:
    """Sessions of this process by id; they are lost with it, which costs clients a retry."""

    def __init__(self, capacity: int = MAX_SESSIONS) -> None:
        self._capacity: Final = capacity
        self._unproven: dict[bytes, Session] = {}
        self._proven: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._unproven) + len(self._proven)

    def add(self, session: Session) -> None:
        """Keep an unproven session. A flood of hellos pushes out other unproven ones, never a proven one first."""
        while len(self) >= self._capacity:
            victims = self._unproven or self._proven
            del victims[next(iter(victims))]
        self._unproven[session.channel.session_id] = session

    def find(self, session_id: bytes, now: int) -> Session:
        """Raises `Misuse` UNKNOWN_SESSION when there is none or it has expired."""
        for table in (self._proven, self._unproven):
            session = table.get(session_id)
            if session is not None:
                if session.expires_at > now:
                    return session
                del table[session_id]
        raise Misuse(Number.UNKNOWN_SESSION)

    def prove(self, session: Session, caller: Caller) -> None:
        """The binding key has signed: the session serves from now on."""
        session.caller = caller
        session_id = session.channel.session_id
        if self._unproven.pop(session_id, None) is not None:
            self._proven[session_id] = session
