"""What to do about a conflict: each command knows what its user meant, the protocol does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strongroom.cli.terminal import Failure
from strongroom.protocol.errors import Misuse, Number


@contextmanager
def explained(words: Callable[[Misuse], tuple[str, str]]) -> Iterator[None]:
    """Within it, CONFLICT is told in `words`: what is wrong, and what to do. Raises `Failure`."""
    try:
        yield
    except Misuse as error:
        if error.number is not Number.CONFLICT:
            raise
        raise Failure(*words(error)) from None


def of_version(error: Misuse) -> tuple[str, str]:
    """For commands with --version."""
    if not error.version:
        return error.error, error.hint
    return error.error, f"it is at version {error.version} now: look at it, then repeat with --version {error.version}"
