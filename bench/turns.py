"""Contenders that take turns, so that what a machine does meanwhile happens to all of them.

Each contender is a process of its own that has its servers and is their load generator. It does what lines of JSON on
its standard input say, one at a time, and answers each with a line. While one has its turn the others' servers idle.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Commands = dict[str, Callable[..., Awaitable[dict[str, Any]]]]


class Contender:
    """One that runs as a process: module `module` with `arguments`, from the source tree `tree` if it is not this."""

    def __init__(self, name: str, module: str, *arguments: str, tree: Path | None = None) -> None:
        self.name = name
        environment = dict(os.environ)
        if tree is not None:
            environment["PYTHONPATH"] = f"{tree / 'src'}{os.pathsep}{tree}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env=environment,
        )
        self._answer()

    def turn(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What `command` came to."""
        assert self._process.stdin is not None
        print(json.dumps([command, arguments]), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with status {self._process.wait()}; it says why above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, and with it its servers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


async def take_turns(commands: Commands) -> None:
    """A contender's side: answer until standard input ends."""
    loop = asyncio.get_running_loop()
    print("{}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, arguments = json.loads(line)
        print(json.dumps(await commands[name](**arguments)), flush=True)
