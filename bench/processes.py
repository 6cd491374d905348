"""Servers as processes of their own, and what they cost: CPU seconds and resident bytes from /proc."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")


def children(pid: int) -> list[int]:
    """Pids of the direct children, whichever thread started them."""
    listings = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for listing in listings for child in listing.split()]


def own_cpu_of(pid: int) -> float:
    """User and system seconds of a process, its children left out."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_of(pid: int) -> float:
    """User and system seconds of a process and of all that it has started, ended ones included."""
    fields = _stat(pid)
    found = sum(int(field) for field in fields[11:15]) / TICK
    for child in children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now, and counts from the next time on
            found += cpu_of(child)
    return found


def resident_of(pid: int) -> int:
    """Bytes in memory, those included that it shares with others."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat (proc(5)) from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class Server:
    """One `serve` process with its enclave process."""

    def __init__(
        self,
        role: str,
        data: Path,
        platform: Path,
        owner: str = "",
        port: int = 0,
        *,
        database: str = "",
        witnesses: Path | None = None,
        founded: Callable[[str], None] | None = None,
    ) -> None:
        """`database` is a URL; without one the rows are in `data`.

        `witnesses` is a policy file; with it comes what to do with the verifier key of a new Vault's log, which does
        not serve before the witnesses have heard of it.
        """
        self.role = role
        self._arguments = (data, platform, owner)
        self._database = database
        self._witnesses = witnesses
        messages = data.with_suffix(".stderr")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.serve", role, data, platform, owner, str(port)),
                *(database, "" if witnesses is None else witnesses),
            ],
            stdout=subprocess.PIPE,
            stderr=messages.open("w") if founded else None,
            text=True,
        )
        if founded is not None:
            founded(self._log_of(messages))
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {role} did not start")
        self.url: str = json.loads(line)["url"]
        self.start_seconds = time.perf_counter() - began
        self.pids = [self._process.pid, *children(self._process.pid)]

    def _log_of(self, messages: Path) -> str:
        """Verifier key of the log of a new Vault, as it tells its operator."""
        while not (found := re.search(r"the log's verifier key is (\S+)\n", messages.read_text())):
            if self._process.poll() is not None:
                raise RuntimeError(f"the {self.role} did not start: {messages.read_text()}")
            time.sleep(0.05)
        return found[1]

    def cpu_seconds(self) -> list[float]:
        """User and system time of the host process and of the enclave process."""
        return [own_cpu_of(pid) for pid in self.pids]

    def resident_bytes(self) -> list[int]:
        return [resident_of(pid) for pid in self.pids]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def again(self) -> "Server":
        """The same data served anew at the same address, once this process has ended."""
        data, platform, owner = self._arguments
        return Server(self.role, data, platform, owner, self.port, database=self._database, witnesses=self._witnesses)

    def ended(self) -> int:
        """Exit status, waited for."""
        return self._process.wait(20)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
