"""What the demo plays on: a directory, and three servers on free loopback ports."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from strongroom.cli.demo.processes import Child
from strongroom.cli.terminal import Failure
from strongroom.client.page import SHIPPED, read_built_page

COMMAND: Final = "strongroom"
USUAL_PORTS: Final = (8400, 8401, 8402, 8403)
"""Of Vault, Authenticator, sign-in provider and the page for sharing."""


class Stage:
    """Servers in `root`/servers, the clients' files in `root`/client; ends with everything stopped.

    A directory that the demo made itself is removed at the end.
    """

    def __init__(self, data: Path | None) -> None:
        self._temporary = data is None
        self.root: Final = _make_root(data)
        self.servers: Final = self.root / "servers"
        self.client: Final = self.root / "client"
        self._children: list[Child] = []
        self._claim: Final = socket.socket(socket.AF_UNIX)
        self.started_at = time.perf_counter()
        self.vault: dict[str, Any] = {}
        self.authenticator: dict[str, Any] = {}
        self.issuer = ""
        self.origin = ""
        """Of the page. A name, not a number: passkeys belong to names."""

    def __enter__(self) -> Self:
        self.client.mkdir(mode=0o700)
        return self

    def start(self) -> None:
        """Start all three at once."""
        vault, authenticator, issuer, page = _claim_ports(self._claim)
        self._page_port = page
        self.origin = f"http://localhost:{page}"
        provider = self._child("sign-in provider", ["strongroom.cli.demo.provider", str(issuer)])
        self._starting = (self._serve("vault", vault), self._serve("authenticator", authenticator), provider)

    def wait(self) -> None:
        """Wait until all are ready. Raises `Failure`."""
        vault, authenticator, provider = self._starting
        self.vault, self.authenticator = vault.ready(), authenticator.ready()
        self.issuer = provider.ready()["issuer"]

    def share(self, statement: Path) -> None:
        """Serve the page with this site statement, and wait until it is served. Raises `Failure`."""
        vault, authenticator = self.vault["url"], self.authenticator["url"]
        servers = ["--vault", vault, "--authenticator", authenticator, "--trust", str(statement)]
        where = ["--data", str(self.servers / "share"), "--listen", f"127.0.0.1:{self._page_port}"]
        self._child("page", ["strongroom.cli", "serve", "share", *servers, *where, "--until-eof", "--json"]).ready()

    def _serve(self, role: str, port: int) -> Child:
        where = ["--data", str(self.servers / role), "--platform", str(self.servers / "platform")]
        page = ["--page", page_digest()] if role == "vault" and is_page_built() else []
        listen = ["--listen", f"127.0.0.1:{port}", "--until-eof", "--json"]
        return self._child(role, ["strongroom.cli", "serve", role, *where, *listen, *page])

    def _child(self, name: str, arguments: list[str]) -> Child:
        child = Child(name, arguments)
        self._children.append(child)
        return child

    def ended(self) -> Child | None:
        """A server that has ended by itself, if any."""
        return next((child for child in self._children if child.ended), None)

    @property
    def command(self) -> str:
        """How to call this program from another terminal."""
        beside = Path(sys.executable).with_name(COMMAND)
        found = shutil.which(COMMAND)
        if found is not None and Path(found).resolve() == beside.resolve():
            return COMMAND
        return str(beside)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.stop()
        self._claim.close()
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)


def _claim_ports(claim: socket.socket) -> tuple[int, ...]:
    """The ports that the README names, if all are free and no other demo is about to take them; else 0 for each but the
    page, whose address stands in what sign-in methods allow and so must be known first.

    `claim` is a Unix socket, whose name is this demo's until it ends, however it ends.
    """
    try:
        claim.bind(f"\0strongroom-demo-{os.getuid()}")
        for port in USUAL_PORTS:
            with socket.socket() as probe:
                # As the servers do: what an earlier demo left to time out is no hindrance.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
    except OSError:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return (0, 0, 0, free.getsockname()[1])
    return USUAL_PORTS


def is_page_built() -> bool:
    return (SHIPPED / "page.json").is_file()


def page_digest() -> str:
    """What the Vault claims of the page that it is used from."""
    return read_built_page(SHIPPED).digest.hex()


def _make_root(data: Path | None) -> Path:
    if data is None:
        return Path(tempfile.mkdtemp(prefix="strongroom-demo-"))
    if data.exists() and any(data.iterdir()):
        raise Failure(f"{data} is not empty", "the demo founds new clusters: name a new directory with --data")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data.resolve()
