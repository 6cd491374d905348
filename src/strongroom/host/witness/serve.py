"""A witness from start to end: data directory, key, name, server."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.host.instance import CannotServe, WrongSettings, cannot_listen, locked, raise_file_limit, stop_signals
from strongroom.host.share.http import Limits, Server
from strongroom.host.witness.server import Witness
from strongroom.host.witness.state import Identity, State, WrongState
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.notes import COSIGNATURE, ED25519, Verifier, parse_verifier
from strongroom.protocol.primitives import NoteKey

DRAIN_SECONDS: Final = 5.0
LIMITS: Final = Limits(
    head_seconds=5.0, stall_seconds=5.0, request_seconds=5.0, write_seconds=10.0, answer_pace=64,
    connections=512, connections_per_address=256,
)  # fmt: skip
"""Logs ask seldom and keep their connections; many of them may come through one proxy."""
_HEAD: Final = "# Strongroom witness key (Ed25519, private). Keep it to yourself.\n"
_KEY: Final = re.compile(rf"{re.escape(_HEAD)}([0-9a-f]{{64}})\n")
_ANOTHER: Final = "name another data directory, for a new witness"
_NEVER_BACK: Final = (
    "bring back the whole directory only if it is as it was last: a witness that forgets cosigns what it must not; "
    "else make a new witness in another one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who to be, and whom to watch."""

    data: Path
    host: str
    port: int
    name: str | None
    """Schema-less URL; None: as at the first start."""
    logs: Mapping[str, Sequence[Verifier]]
    """Keys by origin."""
    limits: Limits = field(default=LIMITS)
    clock: Callable[[], float] = time.time


class Ready(NamedTuple):
    """What an operator is told."""

    url: str
    verifier: Verifier


async def serve(settings: Settings, on_ready: Callable[[Ready], None]) -> None:
    """Serve until SIGINT or SIGTERM. Raises `CannotServe`."""
    stop = stop_signals()
    raise_file_limit()
    # Two of one directory would each cosign what the other has not seen.
    with locked(settings.data, what="witness", hint="stop the other one or name another directory"):
        state = _state(settings.data / "witness.sqlite3")
        try:
            witness = _witness(settings, state)
            server = Server(witness.handle, settings.limits)
            try:
                url = await server.listen(settings.host, settings.port)
            except OSError as error:
                raise cannot_listen(settings.host, settings.port, error) from None
            try:
                on_ready(Ready(url, witness.verifier))
                await stop.wait()
            finally:
                await server.stop(DRAIN_SECONDS)
        finally:
            state.close()


def logs_of(vkeys: Sequence[str]) -> dict[str, list[Verifier]]:
    """Verifier keys of logs by origin, which is their name. Raises `Misuse` MALFORMED."""
    logs: dict[str, list[Verifier]] = {}
    for vkey in vkeys:
        verifier = parse_verifier(vkey, ED25519)
        keys = logs.setdefault(verifier.name, [])
        if verifier not in keys:
            keys.append(verifier)
    return logs


def verify_name(name: str) -> None:
    """Raises `Misuse` MALFORMED for what is no schema-less URL."""
    if "://" in name:
        raise Misuse(Number.MALFORMED, "the name of a witness is a URL without its scheme")
    if "+" in name or any(one.isspace() for one in name):
        raise Misuse(Number.MALFORMED, "a name has no spaces and no +")
    try:
        parse_verifier(str(Verifier(name, COSIGNATURE, bytes(32))), COSIGNATURE)
    except UnicodeEncodeError:  # what the shell was given is no UTF-8
        raise Misuse(Number.MALFORMED, "the name of a witness is text") from None


def _witness(settings: Settings, state: State) -> Witness:
    """By the key and the name that were fixed at the first start. Raises `CannotServe`."""
    path = settings.data / "witness.key"
    known = state.identity()
    if known is None:
        if os.path.lexists(path):
            raise WrongSettings(f"there is a key in {path}, and nothing that says what it has cosigned", _NEVER_BACK)
        if settings.name is None:
            raise WrongSettings("a new witness needs a name", "give it with --name, as witness.example.com/w1")
        key = _make_key(path)
        known = Identity(settings.name, key.public)
        state.found(known)
    else:
        key = _load_key(path)
    if key.public != known.public:
        raise WrongSettings(f"{path} is the key of another witness", _NEVER_BACK)
    if settings.name not in (None, known.name):
        raise WrongSettings(
            f"the witness in {settings.data} is named {known.name}, for ever",
            "leave --name out, or name another data directory, for a new witness",
        )
    return Witness(key, known.name, settings.logs, state, settings.clock)


def _state(path: Path) -> State:
    """Raises `CannotServe`."""
    try:
        return State(path)
    except WrongState as error:
        raise WrongSettings(f"{path} can't be used: {error}", _ANOTHER) from None
    except sqlite3.Error as error:
        raise CannotServe(f"{path} can't be opened: {error}", "look at the disk") from None


def _make_key(path: Path) -> NoteKey:
    """Durable before the database names it. Raises `CannotServe`."""
    seed = secrets.token_bytes(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(f"{_HEAD}{seed.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WrongSettings(f"can't make the key {path}: {error.strerror}", _ANOTHER) from None
    return NoteKey(seed)


def _load_key(path: Path) -> NoteKey:
    """Raises `CannotServe`, also for a file that others can read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(4096)
    except OSError as error:
        raise WrongSettings(f"can't read the key {path}: {error.strerror}", _NEVER_BACK) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise WrongSettings(f"others can read the key {path}", f"chmod 600 {path}; if somebody has, make a new witness")
    found = _KEY.fullmatch(data.decode("ascii", "replace"))
    if found is None:
        raise WrongSettings(f"{path} is not a witness's key", _NEVER_BACK)
    return NoteKey(bytes.fromhex(found[1]))
