"""Writes docs/cli.md from the real help texts: `python -m tools.cli_docs`; with `--check` only says whether it fits."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

HEAD = """\
# The command line

Written by `python -m tools.cli_docs`; a test compares it with what the program says.

Results go to standard output, everything else to standard error. Errors are two lines, `error:` and `hint:`, and the
exit status tells scripts who is to blame:

| status | meaning |
|---|---|
| 0 | done |
| 2 | misuse: correct the command or its files |
| 10 | refused: the answer is no, by the rules or by your trust policy; missing and forbidden look alike |
| 11 | untrusted: evidence, integrity or freshness did not hold; do not repeat blindly |
| 12 | unavailable: try again later |
| 130 | interrupted by Ctrl-C |
| 1 | anything else |

`strongroom.toml` in the current directory, or the file that `--config` names, holds defaults. Its paths are relative to
it:

```toml
vault = "https://vault.example.com"
trust = "trust.toml"
instructions = "instructions.toml"
namespace = "team"
```

A settings file that others may write is refused: it names the server and what is trusted.

Commands that sign in open a browser, or sign in by what you name: `--ssh-key`, `--user`, `--email`, `--workload-token`,
`--device`, `--no-browser`. Of several the first counts that the record takes: tokens of programs, keys, passwords,
codes, browsers. If none does, the hint says what the record takes and by which option. Providers, directories and
senders of codes that a stranger's record names are shown, and asked about, before you are sent there or type anything.
[Instructions](howto/instructions.md) says more of each.
"""


def commands() -> list[list[str]]:
    """All there are, in the order of the help: a list written by hand would miss the newest."""
    import typer

    from strongroom.cli.main import build_app

    def below(command: Any, path: list[str]) -> list[list[str]]:
        names: dict[str, Any] = getattr(command, "commands", {})
        return [path, *(found for name, one in names.items() for found in below(one, [*path, name]))]

    return below(typer.main.get_command(build_app()), [])


def help_of(command: list[str]) -> str:
    """What `strongroom COMMAND --help` prints on 80 columns without colour."""
    from strongroom.cli.main import run

    os.environ.update(COLUMNS="80", NO_COLOR="1", TERM="dumb")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = run([*command, "--help"])
    if status:
        raise SystemExit(f"error: strongroom {' '.join(command)} --help ended with {status}")
    return out.getvalue().rstrip()


def page() -> str:
    parts = [HEAD]
    for command in commands():
        title = " ".join(["strongroom", *command])
        parts.append(f"## `{title}`\n\n```text\n{help_of(command)}\n```\n")
    return "\n".join(parts)


def main() -> None:
    text = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != text:
            raise SystemExit("error: docs/cli.md differs from the program\nhint: python -m tools.cli_docs")
        return
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
