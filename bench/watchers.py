"""Witnesses as processes of their own, on this machine: `strongroom serve witness`."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Watcher:
    """One witness. It has to be told of a log before it cosigns that."""

    def __init__(self, data: Path, name: str) -> None:
        self._data = data
        self._name = name
        self._port = 0
        self._start()

    def tell(self, log: str) -> None:
        """Start it anew as one that knows the log of this verifier key."""
        self.stop()
        self._start("--log", log)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _start(self, *options: str) -> None:
        command = [sys.executable, "-m", "strongroom.cli", "serve", "witness", "--json", "--name", self._name]
        command += ["--data", str(self._data), "--listen", f"127.0.0.1:{self._port}", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("a witness did not start")
            text += line
        ready = json.loads(text)
        self.url, self.key = ready["url"], ready["verifier_key"]
        self._port = int(self.url.rsplit(":", 1)[1])
        self.pid = self._process.pid


@contextmanager
def watchers(root: Path, count: int) -> Iterator[list[Watcher]]:
    """So many that run, and know no log."""
    running = [Watcher(root / f"witness{number}", f"witness.example/w{number}") for number in range(count)]
    try:
        yield running
    finally:
        for one in running:
            one.stop()


def tell(watched: Sequence[Watcher], log: str) -> None:
    """All of them of the log of this verifier key."""
    for one in watched:
        one.tell(log)


def policy_of(watched: Sequence[Watcher], cosignatures: int) -> str:
    """A policy file that takes so many of them (C2SP tlog-policy)."""
    lines = [f"witness w{number} {one.key} {one.url}" for number, one in enumerate(watched)]
    names = " ".join(f"w{number}" for number in range(len(watched)))
    return "\n".join([*lines, f"group all {cosignatures} {names}", "quorum all", ""])
