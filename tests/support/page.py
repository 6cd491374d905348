"""The browser SDK of `web/sdk` as a client in tests: a Node process that runs `web/sdk/test/driver.ts`.

`Page` calls its Vault by the names of `web/sdk/src/client/vault.ts`. Errors are raised as Python's own of that number.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from strongroom.attestation.policy import TrustPolicy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import from_number
from tools.node import commands

WEB = Path(__file__).resolve().parents[2] / "web"
LINE = 16 * 1024 * 1024
Event = Callable[[dict[str, Any]], Awaitable[Any]]


def driven(module: str) -> list[str]:
    """The command that runs a TypeScript module of `web/sdk/test`, in `WEB`."""
    found = commands()
    assert found is not None
    return [*found[0], "sdk/test/run.mjs", f"sdk/test/{module}"]


@cache
def driver() -> list[str]:
    """The command that runs `driver.ts`, bundled once: reading it anew takes each page seconds."""
    found = commands()
    assert found is not None
    folder = tempfile.mkdtemp(prefix="strongroom-driver-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bundling = [*found[0], "sdk/test/bundle.mjs", "sdk/test/driver.ts", folder]
    subprocess.run(bundling, cwd=WEB, check=True, timeout=120)
    return [*found[0], str(Path(folder) / "driver.js")]


def as_json(value: Any) -> Any:
    """Bytes as `{"hex": …}`, the form that the driver reads."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return value


def from_json(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else value


class Page:
    """One page. `authorize`, `assert`, `code` and `password` events go to `events`, by name."""

    def __init__(self, process: asyncio.subprocess.Process, events: dict[str, Event]) -> None:
        self._process = process
        self._events = events
        self._given: dict[str, Any] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        trust: TrustPolicy,
        events: dict[str, Event],
        return_to: str | None = None,
        directories: Sequence[str] = (),
    ) -> AsyncIterator[Page]:
        process = await asyncio.create_subprocess_exec(
            *driver(),
            cwd=WEB,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
        )
        page = cls(process, events)
        try:
            page._given = {"url": url, "policy": encode(trust), "returnTo": return_to, "directories": directories}
            await page.load()
            yield page
        finally:
            page._reading.cancel()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def load(self) -> None:
        """The page, loaded anew: of what was before it knows what browsers keep."""
        await self.call("open", self._given)

    async def call(self, name: str, *arguments: Any) -> Any:
        """What the call gives. Raises the `StrongroomError` of its number; a test fails on anything else."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._say({"id": number, "call": name, "args": arguments})
        return await self._answers[number]

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(as_json(message)).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line, object_hook=from_json)
            if "event" in message:
                self._say({"answer": await self._events[message["event"]](message)})
                continue
            answer = self._answers[message["id"]]
            if "error" in message:
                error = message["error"]
                assert error["family"] != "crash", error["message"]
                answer.set_exception(from_number(error["number"], error["message"], version=error["version"]))
            else:
                answer.set_result(message["result"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError("the page's process has ended"))
