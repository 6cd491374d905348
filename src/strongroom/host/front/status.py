"""How the instance stands: `/v1/status` for programs, `/v1/ready` for load balancers, `/status` for operators.

Anybody may ask, as often as they like. So the enclave is asked at most once a second, all who ask meanwhile get what it
said, and one that does not answer is given up for all of them together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from strongroom.host.backup.notes import Notes, read_notes
from strongroom.host.front.about import About, Lease
from strongroom.host.front.answers import After, document
from strongroom.host.front.status_page import CONTENT_POLICY, render
from strongroom.host.front.words import NO_ANSWER
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.link import Operation
from strongroom.protocol.status import Status, decode_status

if TYPE_CHECKING:
    from strongroom.host.front.http import Ask

FRESH_SECONDS: Final = 1.0
"""For which an answer of the enclave is given again."""
ANSWER_SECONDS: Final = 5.0
"""For which the enclave is waited for."""
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"
_SEALED_OFF: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"

Answered = Callable[[bytes], None]
"""Gets the whole HTTP answer, once."""


class View(Enum):
    """What is asked for."""

    JSON = b"/v1/status"
    READY = b"/v1/ready"
    PAGE = b"/status"


VIEWS: Final = {view.value: view for view in View}


class Known(NamedTuple):
    """What the enclave said when it was asked last."""

    state: str
    """Of `protocol.status`, or NO_ANSWER."""
    status: Status | None
    at: int
    """Unix time."""


class StatusDesk:
    """Asks the enclave, and answers everybody."""

    def __init__(self, ask: Ask, about: About) -> None:
        self.url = ""
        """Of the front, once it listens."""
        self.draining = False
        self._ask = ask
        self._about = about
        self._version = version("strongroom")
        self._known = Known(NO_ANSWER, None, 0)
        self._notes = Notes()
        self._lease: Lease | None = None
        self._until = 0.0
        self._waiting: list[tuple[View, After, Answered]] = []
        self._asking = False
        """There is a question at the enclave: one that hangs is not asked again and again."""
        self._giving_up: asyncio.TimerHandle | None = None

    def serve(self, view: View, after: After, answered: Answered) -> None:
        """Answer, at once or when the enclave has."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            answered(self._answer(view, after))
            return
        self._waiting.append((view, after, answered))
        if self._giving_up is None:
            self._giving_up = loop.call_later(ANSWER_SECONDS, self._know, Known(NO_ANSWER, None, int(time.time())))
        if not self._asking:
            self._asking = True
            self._ask(Operation.STATUS, b"", self._heard)

    def _heard(self, outcome: int, body: bytes) -> None:
        self._asking = False
        self._know(_known(outcome, body))

    def _know(self, known: Known) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        self._known = known
        self._lease = self._about.lease()
        self._notes = Notes() if self._about.data is None else read_notes(self._about.data)
        self._until = asyncio.get_running_loop().time() + FRESH_SECONDS
        waiting, self._waiting = self._waiting, []
        for view, after, answered in waiting:
            answered(self._answer(view, after))

    def _answer(self, view: View, after: After) -> bytes:
        known = self._known
        match view:
            case View.READY:
                said = self._readiness(known)
                status = "200 OK" if said == "serving" else "503 Service Unavailable"
                return document(status, _TEXT, f"{said}\n".encode(), after, _SEALED_OFF)
            case View.JSON:
                return document("200 OK", _JSON, self._json(known), after, _SEALED_OFF)
            case View.PAGE:
                page = render(known.state, known.status, self._host(), at=known.at)
                return document("200 OK", _HTML, page, after, CONTENT_POLICY)

    def _readiness(self, known: Known) -> str:
        if self.draining:
            return "stopping"
        if known.state == "serving" and self._lease is not None and not self._lease.held:
            return "standing-by"  # the enclave has not heard of it yet
        return known.state

    def _json(self, known: Known) -> bytes:
        enclave = {"state": known.state} if known.status is None else msgspec.to_builtins(known.status)
        return msgspec.json.encode({**enclave, "host": self._host()})

    def _host(self) -> dict[str, Any]:
        about, lease = self._about, self._lease
        return {
            "url": self.url,
            "version": self._version,
            "started": int(about.started),
            "uptime": max(0, int(time.time() - about.started)),
            "engine": about.engine,
            "where": about.where,
            "lease": None if lease is None else msgspec.to_builtins(lease),
            **msgspec.to_builtins(self._notes),
        }


def _known(outcome: int, body: bytes) -> Known:
    at = int(time.time())
    if outcome == Operation.OK:
        try:
            status = decode_status(body)
        except Misuse:
            return Known(NO_ANSWER, None, at)
        return Known(status.state, status, at)
    # What an enclave says that has not got so far as to have a state.
    starting = len(body) == 2 and int.from_bytes(body, "big") == Number.BUSY
    return Known("starting" if starting else NO_ANSWER, None, at)
