"""Errors that arise on the user's own machine. They never cross the wire, so each brings its own words."""

from __future__ import annotations

from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable, Untrusted

__all__ = ["BadInput", "InOwnWords", "Misuse", "Refused", "StrongroomError", "Unavailable", "Unreachable", "Untrusted"]


class InOwnWords(StrongroomError):
    """`error` and `hint` are whole sentences of its own, not those of its number. Beside a family of errors."""

    def __init__(self, number: Number, error: str, hint: str) -> None:
        self._hint = hint
        super().__init__(number, error)

    @property
    def error(self) -> str:
        return self.reason

    @property
    def hint(self) -> str:
        return self._hint


class BadInput(InOwnWords, Misuse):
    """A file, address or option on this machine is wrong."""

    def __init__(self, error: str, hint: str) -> None:
        super().__init__(Number.MALFORMED, error, hint)


class NotSignedIn(InOwnWords, Refused):
    """Whoever decides about sign-ins said no."""

    def __init__(self, error: str, hint: str) -> None:
        super().__init__(Number.SIGN_IN_REFUSED, error, hint)


class Unpinned(InOwnWords, Untrusted):
    """The Vault has witnesses, and the policy names none: it may be older than they are, or than this program."""

    def __init__(self, error: str) -> None:
        super().__init__(
            Number.POLICY,
            error,
            "compare its witnesses with what the operator publishes, then pin them: `strongroom trust pin --force`",
        )


class SpentToken(InOwnWords, Untrusted):
    """A token that counts once came before, with another binding key (RULES 12)."""

    def __init__(self) -> None:
        super().__init__(
            Number.TOKEN_UNTRUSTED,
            "this token was used by another key",
            "get a new one, or give both commands the same --key FILE",
        )


class Unreachable(InOwnWords, Unavailable):
    """No answer of a Strongroom server came back. A request may have been carried out nevertheless."""

    def __init__(
        self, error: str, hint: str, *, broken: bool, sent: bool = True, number: Number = Number.INTERNAL
    ) -> None:
        self.broken = broken
        """The connection ended under a request, as idle ones do: repeating it at once may help."""
        self.sent = sent
        """Something may have arrived; False: there was not even a connection."""
        super().__init__(number, error, hint)


class Unanswered(Unreachable):
    """A change was sent, and no answer came. It may have been made: to repeat it, give the same ids again."""

    def __init__(self, why: Unavailable) -> None:
        super().__init__(
            f"no answer came to a change that was sent, and it may have been made: {why.error}",
            "look whether it was made, and try again",
            broken=False,
            number=why.number,
        )
