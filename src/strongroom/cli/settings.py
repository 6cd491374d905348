"""`strongroom.toml`: defaults that make daily commands short. Options given on the command line win."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from strongroom.attestation.toml_text import parse_toml
from strongroom.cli.files import read_text
from strongroom.cli.terminal import Failure, say

FILE = "strongroom.toml"
_LIMIT = 64 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Values of the file; None where it says nothing. Paths are relative to the file."""

    vault: str | None = None
    trust: Path | None = None
    key: Path | None = None
    instructions: Path | None = None
    namespace: str | None = None
    site: str | None = None
    statement: str | None = None


def _say(text: str) -> None:
    say(text, "dim")


def load_settings(config: Path | None, tell: Callable[[str], None] = _say) -> Settings:
    """From `config`, or from `strongroom.toml` in the current directory if it is there; `tell` is told which. Raises
    `Failure`."""
    path = config or Path(FILE)
    if config is None and not path.exists():
        return Settings()
    hint = f"it may hold {', '.join(field.name for field in fields(Settings))}, each once"
    _verify_owner(path)
    text = read_text(path, limit=_LIMIT, what="the settings file", hint="name another with --config")
    try:
        values = parse_toml(text)
    except ValueError as error:
        raise Failure(f"{path} is not TOML: {error}", hint) from None
    known = {field.name for field in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise Failure(f"{path}: unknown setting {name!r}", hint)
        if not isinstance(value, str):
            raise Failure(f"{path}: {name} must be a text in quotes", hint)
    # Said aloud: the file names the server and what is trusted.
    tell(f"settings from {path}")

    def file(name: str) -> Path | None:
        return path.parent / values[name] if name in values else None

    return Settings(
        vault=values.get("vault"),
        trust=file("trust"),
        key=file("key"),
        instructions=file("instructions"),
        namespace=values.get("namespace"),
        site=values.get("site"),
        statement=values.get("statement"),
    )


def needed(value: T | None, setting: T | None, name: str) -> T:
    """An option's value, else the setting's. Raises `Failure` when neither is there."""
    found = value if value is not None else setting
    if found is None:
        raise Failure(f"--{name} is missing", f'give --{name}, or write {name} = "…" into {FILE}')
    return found


def _verify_owner(path: Path) -> None:
    """A file that others can write names *their* server and trust policy: whoever stores with it, stores for them."""
    try:
        found = path.stat()
    except OSError as error:
        raise Failure(f"can't read the settings file {path}: {error.strerror}", "name another with --config") from None
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
        raise Failure(
            f"others may write {path}, so it could name their server as yours", f"chown it to you and chmod o-w {path}"
        )
