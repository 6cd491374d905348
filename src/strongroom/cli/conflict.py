"""What to do about a conflict, or without an answer: each command knows what its user meant, the protocol does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strongroom.cli.terminal import Failure, exit_status
from strongroom.client.errors import Unanswered
from strongroom.protocol.errors import Misuse, Number, Unavailable


@contextmanager
def explained(words: Callable[[Misuse], tuple[str, str]]) -> Iterator[None]:
    """Within it, CONFLICT is told in `words`: what is wrong, and what to do. Raises `Failure`."""
    try:
        yield
    except Misuse as error:
        if error.number is not Number.CONFLICT:
            raise
        raise Failure(*words(error)) from None


@contextmanager
def unanswered(where: str, hint: str) -> Iterator[None]:
    """Within it, a change of which nobody knows whether it was made is told with `where` to look, and `hint`. Raises
    `Failure`."""
    try:
        yield
    except Unavailable as error:
        if not isinstance(error, Unanswered) and error.number is not Number.WITNESSES_UNAVAILABLE:
            raise
        raise Failure(f"{error.error}; {where}", hint, status=exit_status(error)) from None


def of_version(error: Misuse) -> tuple[str, str]:
    """For commands with --version."""
    if not error.version:
        return error.error, error.hint
    return error.error, f"it is at version {error.version} now: look at it, then repeat with --version {error.version}"
