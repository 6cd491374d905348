"""How the demo speaks: numbered steps, names and values below each other, the time each step took."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from strongroom.cli.terminal import printable

_NAME = 15
_INDENT = "   "
_COLUMNS = 80


class Teller:
    """Writes to a console; a step's time runs from its title to the next `took`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0
        self._since = time.perf_counter()

    def step(self, title: str) -> None:
        self._step += 1
        self._console.print()
        self._console.print(Text.assemble((f"{self._step}  ", "bold cyan"), (title, "bold")))
        self._since = time.perf_counter()

    def fact(self, name: str, value: str, note: str = "", *, style: str = "", width: int = _NAME) -> None:
        line = Text.assemble(_INDENT, (f"{name:<{width}}", "cyan"), (printable(value), style))
        if note:
            line.append("  " + printable(note), "dim")
        self._console.print(line)

    def text(self, text: str, style: str = "") -> None:
        self._console.print(Text(_INDENT + text, style=style))

    def lines(self, lines: Iterable[str], style: str = "dim") -> None:
        for line in lines:
            self._console.print(Text(_INDENT + printable(line), style=style))

    def output(self, lines: Iterable[str]) -> None:
        """What a program printed, set apart."""
        for line in lines:
            text = Text(printable(line))
            text.highlight_regex("^error:", "bold red")
            text.highlight_regex("^hint:", "bold")
            self._console.print(Text.assemble(_INDENT, ("│ ", "dim"), text))

    def took(self, what: str, *, since: float | None = None) -> None:
        seconds = time.perf_counter() - (self._since if since is None else since)
        self.fact("took", milliseconds(seconds), what, style="green")

    def commands(self, *commands: tuple[str, str]) -> None:
        """To copy: each alone on its line, so that a double click or a triple one takes it whole."""
        for command, note in commands:
            line = Text.assemble(_INDENT, (command, "bold"))
            remark = Text(f"# {note}", "dim") if note else Text()
            if note and len(line) + 3 + len(remark) > _COLUMNS:
                self._console.print(Text(_INDENT) + remark)
            elif note:
                line += Text("   ") + remark
            self._console.print(line)


def milliseconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def short(digest: bytes) -> str:
    """The beginning of a digest, enough to compare with another by eye."""
    return f"{digest.hex()[:16]}…"
