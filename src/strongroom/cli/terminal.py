"""What people see: plain lines, `error:` and `hint:`, tables. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import getpass
import json
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from strongroom.protocol.errors import Number, StrongroomError

EXIT_MISUSE, EXIT_FAILED, EXIT_REFUSED, EXIT_UNTRUSTED, EXIT_UNAVAILABLE, EXIT_INTERRUPTED = 2, 1, 10, 11, 12, 130

_EXIT_STATUS = {1: EXIT_MISUSE, 2: EXIT_REFUSED, 3: EXIT_UNTRUSTED, 4: EXIT_UNAVAILABLE}

_NAME = 15
"""Columns for a name, and the blanks behind it."""


class Failure(Exception):
    """A mistake that the command line itself finds, with what to do about it."""

    def __init__(self, error: str, hint: str, *, status: int = EXIT_MISUSE) -> None:
        self.error = error
        self.hint = hint
        self.status = status
        super().__init__(error)


def exit_status(error: StrongroomError) -> int:
    """2 misuse, 10 refused, 11 untrusted, 12 unavailable: scripts tell them apart without reading.

    Genuine evidence that the user's own policy does not accept is a refusal, not a lie.
    """
    if error.number == Number.POLICY:
        return EXIT_REFUSED
    return _EXIT_STATUS.get(int(error.number) // 100, EXIT_FAILED)


def stdout() -> Console:
    # Made anew each time: tests and callers replace sys.stdout.
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)


def stderr() -> Console:
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def printable(untrusted_text: str) -> str:
    """Control characters written out: a server's text must not move the cursor or rename the window."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in untrusted_text)


def say(text: str = "", style: str = "") -> None:
    """One line for people, on stderr."""
    stderr().print(Text(printable(text), style=style))


def notice(text: str) -> None:
    """What the user should know and need not stop for, on stderr."""
    stderr().print(Text.assemble(("notice: ", "bold yellow"), printable(text)))


def result(text: str) -> None:
    """One line of the result, on stdout."""
    stdout().print(printable(text))


def result_json(value: Mapping[str, Any]) -> None:
    """The result for programs: one JSON object, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def fail(error: str, hint: str) -> None:
    """`error:` and `hint:`, on stderr."""
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), printable(error)))
    console.print(Text.assemble(("hint: ", "bold"), printable(hint)))


def confirm(question: str, *, hint: str) -> None:
    """Ask on the terminal; anything but yes is no. Raises `Failure`, also where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise Failure("there is no terminal to confirm this on", hint)
    if ask(f"{question} [y/N]", hint=hint).lower() not in ("y", "yes"):
        raise Failure("not confirmed", hint)


def ask(question: str, *, hint: str) -> str:
    """A line that somebody types in, without blanks around it. Raises `Failure` where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise Failure("there is no terminal to ask on", hint)
    stderr().print(f"{printable(question)} ", end="")
    with _interruptible():
        return sys.stdin.readline().strip()


def ask_secretly(question: str, *, hint: str) -> str:
    """The same, and it is not shown. From the terminal also where standard input is something else. Raises `Failure`
    where it would be shown."""
    try:
        with _interruptible(), warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(f"{printable(question)} ", stream=sys.stderr)
    except getpass.GetPassWarning:
        raise Failure("there is no terminal to ask on", hint) from None
    except EOFError:
        return ""


@contextmanager
def _interruptible() -> Iterator[None]:
    """asyncio would take the first Ctrl-C for itself, and whoever waits for a line would not hear of it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def named(name: str, value: str, *, indent: int = 0) -> Text:
    """A value behind its name. A digest of 64 digits still fits into a line of 80."""
    return Text.assemble((f"{' ' * indent}{name}".ljust(_NAME), "bold"), printable(value))


def bold_capitals(text: str) -> Text:
    """Warnings are written in capitals by who words them: make them stand out."""
    styled = Text(printable(text))
    styled.highlight_regex(r"\b[A-Z]{2,}(?: [A-Z]{2,})+|\bDEVELOPMENT\b|\bINSECURE\b", "bold yellow")
    return styled
