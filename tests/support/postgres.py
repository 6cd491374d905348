"""A real PostgreSQL server for tests: private, durable as in service, killed and started again at will."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.postgres import programs

PASSWORD = "swordfish"
_SECONDS = 30


def missing() -> str | None:
    """Why tests can't start a server, or None."""
    return None if programs() else "there is no PostgreSQL server here (`make test` installs it where it is root)"


class Server:
    """One server, reached on `port` of 127.0.0.1 with a password and by a Unix socket in `sockets` without.

    The server refuses to run as root; where tests do, it is another user's.
    """

    def __init__(self, folder: Path, settings: tuple[str, ...] = ()) -> None:
        self.data = folder / "data"
        self.sockets = folder
        self.log = folder / "log"
        self.port = _free_port()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        password = self.sockets / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self.run(
            "initdb", "--pgdata", str(self.data), "--username", "strongroom", "--pwfile", str(password),
            "--auth-local", "trust", "--auth-host", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
        )  # fmt: skip

    def start(self) -> None:
        """Returns when it answers."""
        command = [_program("postgres"), "-D", str(self.data), "-k", str(self.sockets), "-p", str(self.port)]
        settings = ["listen_addresses=127.0.0.1", "max_connections=40", *self._settings]
        deadline = time.monotonic() + _SECONDS
        while True:  # what remains of a killed server takes a moment to be gone
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, *(part for setting in settings for part in ("-c", setting))],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.sockets, **_unprivileged(),
                )  # fmt: skip
            while self._process.poll() is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(self.log.read_text())
                if self._ready():
                    return
                time.sleep(0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(self.log.read_text())
            time.sleep(0.2)

    def kill(self) -> None:
        """As a power loss would, as far as a process can: SIGKILL to all its processes at once."""
        assert self._process is not None
        for pid in [self._process.pid, *_children(self._process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            self._process.wait(_SECONDS)

    def url(self, database: str, *more: "Server") -> str:
        """By TCP, where it takes PASSWORD; `more` servers are tried after this one."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self, *more))
        return f"postgresql://strongroom@{hosts}/{database}"

    def local_url(self, database: str) -> str:
        return f"postgresql://strongroom@/{database}?host={self.sockets}&port={self.port}"

    def database(self) -> str:
        """Name of a new one."""
        name = f"test_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def sql(self, text: str, database: str = "postgres") -> str:
        """What psql prints, a line for a row."""
        return self.run(
            "psql", "-h", str(self.sockets), "-p", str(self.port), "-U", "strongroom", "-d", database,
            "-v", "ON_ERROR_STOP=1", "-qAtc", text,
        ).strip()  # fmt: skip

    def set(self, name: str, value: str) -> None:
        """A setting that needs no restart, for sessions from now on."""
        self.sql(f"ALTER SYSTEM SET {name} = {value}")
        self.sql("SELECT pg_reload_conf()")
        for _ in range(200):
            if self.sql(f"SHOW {name}") == value:
                return
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [_program(program), *arguments],
            cwd=self.sockets, capture_output=True, text=True, timeout=_SECONDS,
            **_unprivileged(),
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout

    def _ready(self) -> bool:
        status = subprocess.run(
            [_program("pg_isready"), "-q", "-h", str(self.sockets), "-p", str(self.port)], check=False
        ).returncode
        return status == 0


@contextmanager
def folder() -> Iterator[Path]:
    """A directory of the server's user; its path is short, because a Unix socket's must be."""
    path = Path(tempfile.mkdtemp(prefix="sr-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(path, "nobody", "nogroup")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    """A new one that runs."""
    with folder() as path:
        made = Server(path, settings)
        made.create()
        made.start()
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def standby_of(primary: Server, *settings: str) -> Iterator[Server]:
    """A copy that follows `primary`'s log under the name `standby`."""
    with folder() as path:
        made = Server(path, settings)
        made.run(
            "pg_basebackup", "-D", str(made.data), "-R", "-X", "stream", "--checkpoint", "fast", "-d",
            f"host={primary.sockets} port={primary.port} user=strongroom application_name=standby",
        )  # fmt: skip
        made.start()
        try:
            yield made
        finally:
            made.stop()


def _program(name: str) -> str:
    found = programs()
    assert found is not None
    return str(found / name)


def _unprivileged() -> dict[str, Any]:
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found
