"""Errors that arise on the user's own machine. They never cross the wire, so each brings its own words."""

from __future__ import annotations

from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable, Untrusted

__all__ = ["BadInput", "Misuse", "Refused", "StrongroomError", "Unavailable", "Unreachable", "Untrusted"]


class BadInput(Misuse):
    """A file, address or option on this machine is wrong; `error` and `hint` are whole sentences of their own."""

    def __init__(self, error: str, hint: str) -> None:
        self._hint = hint
        super().__init__(Number.MALFORMED, error)

    @property
    def error(self) -> str:
        return self.reason

    @property
    def hint(self) -> str:
        return self._hint


class Unreachable(Unavailable):
    """No answer of a Strongroom server came back. A request may have been carried out nevertheless."""

    def __init__(self, error: str, hint: str, *, broken: bool) -> None:
        self._hint = hint
        self.broken = broken
        """The connection ended under a request, as idle ones do: repeating it at once may help."""
        super().__init__(Number.INTERNAL, error)

    @property
    def error(self) -> str:
        return self.reason

    @property
    def hint(self) -> str:
        return self._hint
