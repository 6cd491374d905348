"""What every server process of the host is: it stops in order, has its files, and its data directory to itself."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

LOCK: Final = "lock"
"""File in a data directory, locked by whoever runs on it."""


class CannotServe(Exception):
    """The instance can't start, or can't go on; the text says why, `hint` what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        self.hint = hint
        super().__init__(reason)


class WrongSettings(CannotServe):
    """It never can as it was told to: the command or its files need correction."""


class WrongState(CannotServe):
    """It was rolled back, cloned or altered: starting it again does not help, and somebody should look."""


def stop_signals() -> asyncio.Event:
    """Set by SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def raise_file_limit() -> None:
    """The usual soft limit, 1,024 files, is below what the servers bound themselves to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def locked(data: Path, *, what: str, hint: str) -> Iterator[None]:
    """The data directory, made if absent, for this process alone. `CannotServe` if another `what` has it, too."""
    with take_lock(data, what=what, hint=hint):
        yield


def take_lock(data: Path, *, what: str, hint: str) -> IO[str]:
    """The same, until what is returned is closed."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data / LOCK).open("a")
    except OSError as error:
        raise WrongSettings(
            f"can't use the data directory {data}: {error.strerror}", "name another directory"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise CannotServe(f"another {what} runs on the data directory {data}", hint) from None
    return lock


def cannot_listen(host: str, port: int, error: OSError) -> CannotServe:
    """In our words: the error's own text repeats the address, as Python writes it."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return CannotServe(f"can't listen on {host} port {port}: {reason}", "choose another address or port")
