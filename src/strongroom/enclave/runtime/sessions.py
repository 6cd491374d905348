"""The table of sessions: bounded, oldest unproven first out (RULES 21).

A session costs nothing to open or to prove: whoever makes a key proves it. So what a flood can take is shared out:

1. Hellos without proofs crowd out each other only: unproven sessions have a quarter of the table to themselves.
   Nor can proven ones shut newcomers out: nobody takes that quarter from them.
2. Proofs crowd out the session used longest ago, so a client that is at work stays; one key has 64 at most.
3. The dead crowd out nobody: sessions that have ended make room first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.runtime.clock import lasts
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_SESSION_LIFE, MAX_SESSIONS, MAX_SESSIONS_PER_KEY
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
        self._max_unproven: Final = capacity // 4
        self._max_proven: Final = capacity - self._max_unproven
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        """All, oldest first, which is about the order in which they end: none lasts longer than an hour."""
        self._unproven: OrderedDict[bytes, None] = OrderedDict()
        """Oldest first."""
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        """Least recently used first."""
        self._of_key: dict[bytes, OrderedDict[bytes, None]] = {}
        """Proven ones of each binding key, oldest first."""

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session, now: int) -> None:
        """Keep an unproven session."""
        while self._sessions and not _serves(next(iter(self._sessions.values())), now):
            self._remove(next(iter(self._sessions)))
        if len(self._unproven) >= self._max_unproven:
            self._remove(next(iter(self._unproven)))
        self._sessions[session.channel.session_id] = session
        self._unproven[session.channel.session_id] = None

    def find(self, session_id: bytes, now: int) -> Session:
        """Raises `Misuse` UNKNOWN_SESSION when there is none or it has ended."""
        session = self._sessions.get(session_id)
        if session is None:
            raise Misuse(Number.UNKNOWN_SESSION)
        if not _serves(session, now):
            self._remove(session_id)
            raise Misuse(Number.UNKNOWN_SESSION)
        return session

    def use(self, session: Session) -> None:
        """A frame of this session has opened. Not before: anybody who saw a session's id can send frames that don't."""
        if session.channel.session_id in self._proven:
            self._proven.move_to_end(session.channel.session_id)

    def prove(self, session: Session, caller: Caller) -> None:
        """The binding key has signed: the session serves from now on. What only a proof needs is not kept: a session is
        proved once, and thousands of them lie idle."""
        session.caller = caller
        session.kem_key = session.evidence = b""
        session_id = session.channel.session_id
        if session_id not in self._unproven:
            return
        # Only what a key has signed counts as its own, or a stranger's hellos in its name would end its sessions.
        of_key = self._of_key.get(session.binding_key, ())
        if len(of_key) >= MAX_SESSIONS_PER_KEY:
            self._remove(next(iter(of_key)))
        elif len(self._proven) >= self._max_proven:
            self._remove(next(iter(self._proven)))
        del self._unproven[session_id]
        self._proven[session_id] = None
        self._of_key.setdefault(session.binding_key, OrderedDict())[session_id] = None

    def end(self, session: Session) -> None:
        """It serves nobody any more."""
        if session.channel.session_id in self._sessions:
            self._remove(session.channel.session_id)

    def _remove(self, session_id: bytes) -> None:
        session = self._sessions.pop(session_id)
        if session.caller is None:
            del self._unproven[session_id]
            return
        del self._proven[session_id]
        of_key = self._of_key[session.binding_key]
        del of_key[session_id]
        if not of_key:
            del self._of_key[session.binding_key]


def _serves(session: Session, now: int) -> bool:
    return lasts(session.expires_at, now, MAX_SESSION_LIFE)
