"""`strongroom serve …` as a process of the kit: started, watched, stopped, killed.

Each holds the end of a pipe and stops when that closes, so nothing outlives the kit, however it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from strongroom.host.witness.courier import Trouble
from strongroom.protocol.errors import WORDS, Number

READY_SECONDS: Final = 40.0
_STOP_SECONDS: Final = 10.0
_END_SECONDS: Final = 5.0
_ALARMS: Final = (
    *(WORDS[number][0] for number in (Number.INTEGRITY, Number.ROLLED_BACK, Number.CLOCK)),
    "parts of the database are of different times",
    "does not open on this platform",
)
"""What a Vault, and the host that starts it, say of a database that was tampered with."""
_REFUSED_BY_WITNESSES: Final = (Trouble.LATER.value, Trouble.FORKED.value)
_ERROR: Final = re.compile(r"^error: (.*)$", re.MULTILINE)


class DidNotStart(Exception):
    """A server ended, or hung, instead of serving; the text is its own last error."""

    def __init__(self, said: str, log: str | None) -> None:
        self.log = log
        """None: somebody else has it."""
        super().__init__(said)

    @property
    def is_alarm(self) -> bool:
        """Whether its log says that it was lied to, and not that something is down."""
        return any(words in (self.log or "") for words in _ALARMS)

    @property
    def by_witnesses(self) -> bool:
        """Whether it would have started, had its witnesses not refused."""
        return names_witnesses(self.log or "")


def names_witnesses(log: str) -> bool:
    """Whether a Vault's log says that a witness refuses: it has seen more than this Vault, or something else."""
    return any(words in log for words in _REFUSED_BY_WITNESSES)


class Server:
    """One `strongroom serve …` that is up."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.told: dict[str, Any] = {}
        """What it said when it was ready."""

    @classmethod
    async def start(cls, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Self:
        """`strongroom serve ARGUMENTS`, ready. Raises `DidNotStart`."""
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "strongroom.cli", "serve", *arguments, "--until-eof", "--json",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the kit, which then ends its servers in order
                env={**os.environ, "COLUMNS": "4096", "NO_COLOR": "1", **(environment or {})},
            )  # fmt: skip
        server = cls(process, log)
        try:
            async with asyncio.timeout(READY_SECONDS):
                server.told = await server._ready()
        except TimeoutError:
            await server.kill()
            raise DidNotStart(f"it was not ready within {READY_SECONDS:.0f} s", server.log) from None
        except BaseException:
            await server.kill()
            raise
        return server

    @property
    def url(self) -> str:
        return str(self.told["url"])

    @property
    def log(self) -> str:
        return read_log(self._log)

    async def ended_by_witnesses(self) -> bool:
        """Whether it has ended, or does so in a moment, because a witness refuses."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        return self._process.returncode is not None and names_witnesses(self.log)

    async def stop(self) -> None:
        """In order, as an operator would."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """At once, with its enclave."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def _ready(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 (it is a pipe)
        text = b""
        while chunk := await self._process.stdout.read(65536):
            text += chunk
            try:
                told: dict[str, Any] = json.loads(text)
            except ValueError:
                continue
            return told
        await self._process.wait()
        errors = _ERROR.findall(self.log)
        raise DidNotStart(errors[-1] if errors else f"exit status {self._process.returncode}", self.log)


def read_log(path: Path) -> str:
    """What a server wrote to standard error so far."""
    return path.read_text(errors="replace") if path.exists() else ""


async def command(*arguments: str) -> tuple[int, str]:
    """`strongroom ARGUMENTS`: its exit status, and what it wrote to standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "strongroom.cli", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "4096", "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(READY_SECONDS):
            _, errors = await process.communicate()
    except TimeoutError:
        return -1, "it did not end in time"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, errors.decode(errors="replace")
