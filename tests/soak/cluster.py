"""One Vault and one Authenticator, real processes that are killed and started again, over SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bench.processes import children
from bench.wire import fetch_evidence
from strongroom.attestation.policy import RolePolicy, TrustPolicy
from strongroom.client.methods import keys_method
from strongroom.client.policy import Policy, instructions
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.measurement import measure
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Role, parse_evidence
from strongroom.protocol.instructions import AuthenticatorRef, KeysMethod
from strongroom.protocol.primitives import SigningKey
from tests.support import policies, postgres
from tests.support.command import environment
from tests.support.site import free_port

Database = Literal["sqlite", "postgresql"]
Victim = Literal["enclave", "host", "both", "starting", "database"]
"""`starting`: host and enclave while they come up. `database`: the server of PostgreSQL, under a Vault that stays."""

START_SECONDS = 60
GONE_SECONDS = 20


class Process:
    """One `serve` process with its enclave process, at a port of its own."""

    def __init__(self, role: Role, data: Path, platform: Path, owner: bytes, port: int, database: str) -> None:
        self.role = role
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "bench.serve", role, str(data), str(platform), owner.hex(), str(port)]
        self._command += [database, ""]
        self.environment = environment(PYTHONDONTWRITEBYTECODE="")  # what is compiled is kept: it starts so often
        self.log = data.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> subprocess.Popen[bytes]:
        """Start, and do not wait for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, env=self.environment)
        return self._process

    def start(self) -> None:
        """Start; returns when it serves."""
        process = self.begin()
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            end = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the {self.role} did not start; exit status {process.wait()}; its log ends with: {end}")
        assert json.loads(line)["url"] == self.url

    @property
    def pids(self) -> tuple[int, list[int]]:
        """Of the host process and of what it has started."""
        assert self._process is not None
        return self._process.pid, children(self._process.pid)

    def kill(self, victim: Victim) -> None:
        """SIGKILL, and see all of it gone: the one that was not hit ends by itself."""
        host, enclaves = self.pids
        targets = {"enclave": enclaves, "host": [host]}.get(victim, [host, *enclaves])
        for pid in targets:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.gone(enclaves)

    def gone(self, enclaves: list[int]) -> None:
        assert self._process is not None
        self._process.wait(GONE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        for enclave in enclaves:
            _wait_for_end(enclave)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(GONE_SECONDS)


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who signs in with an ssh key, whose private half is in a file."""

    name: str
    key: Path
    line: str


class Cluster:
    """What runs, and how to use it."""

    def __init__(self, root: Path, kind: Database, server: postgres.Server | None, stack: ExitStack) -> None:
        self.kind = kind
        self.closing = stack
        self.root = root
        self.owner = SigningKey.generate()
        self.server = server
        self.platform = InsecureSoftware("vault", root / "platform")
        self.data = root / "vault"
        self.data.mkdir()
        self.database = "" if server is None else server.local_url(server.database())
        common = (root / "platform", self.owner.public)
        self.vault = Process("vault", self.data, *common, free_port(), self.database)
        self.authenticator = Process("authenticator", root / "authenticator", *common, free_port(), "")
        for process in (self.authenticator, self.vault):
            stack.callback(process.stop)
        self.alice, self.mallory = (_identity(root, name) for name in ("alice", "mallory"))
        self.clusters: dict[Role, bytes] = {}

    async def found(self) -> None:
        for process in (self.authenticator, self.vault):
            await asyncio.to_thread(process.start)
            evidence = await fetch_evidence(process.url)
            self.clusters[process.role] = parse_evidence(evidence)[1].cluster_id

    def policy(self, role: Role) -> RolePolicy:
        program = policies.software(roots=list(self.platform.roots), measurements=[measure(role)])
        return policies.role(clusters=[self.clusters[role]], insecure_software=program)

    @property
    def trust(self) -> TrustPolicy:
        return TrustPolicy(
            version=1,
            name="insecure soak",
            vault=self.policy("vault"),
            authenticator=self.policy("authenticator"),
            witnesses=[],
            cosignatures=0,
        )

    @property
    def method(self) -> KeysMethod:
        return keys_method({one.name: one.line for one in (self.alice, self.mallory)})

    def instructions(self, rules: Policy, *, permanent: bool = False) -> bytes:
        reference = AuthenticatorRef(url=self.authenticator.url, policy=encode(self.policy("authenticator")))
        return instructions(authenticators=[reference], methods=[self.method], rules=rules, permanent=permanent)

    @property
    def database_argument(self) -> str:
        """As `strongroom audit --database` takes it."""
        return self.database or str(self.data)


@asynccontextmanager
async def cluster(kind: Database, *, before: Callable[[Cluster], None] = lambda made: None) -> AsyncIterator[Cluster]:
    """A new one, with empty databases. `before` is told before anything is started."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strongroom-soak-")))
        server = stack.enter_context(postgres.server()) if kind == "postgresql" else None
        made = Cluster(root, kind, server, stack)
        before(made)
        await made.found()
        yield made


def _identity(root: Path, name: str) -> Identity:
    private, path = Ed25519PrivateKey.generate(), root / f"{name}.key"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return Identity(name, path, private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


def _wait_for_end(pid: int) -> None:
    """Of a process that is not our child any more."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], GONE_SECONDS)[0]:
            raise TimeoutError(f"process {pid} goes on without its host")
    finally:
        os.close(descriptor)
