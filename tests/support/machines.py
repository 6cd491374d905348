"""Clusters with named custodians on machines that can be destroyed: real `strongroom serve` processes, real age files.

A `Machine` is a platform directory, which stands in for a processor, and the data directories of what runs on it.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from bench.processes import children
from strongroom.attestation.policy import RolePolicy, TrustPolicy
from strongroom.client.cluster import ClusterSession, cluster_session
from strongroom.client.custodians import OpenShare, PendingCouncil, acceptance, open_share, verify_pending
from strongroom.client.keys import load_or_make_key
from strongroom.client.recovery import Look, approval, approve, look, seal_share, submit
from strongroom.client.share.age import generate_identity, parse_identity
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.measurement import measure
from strongroom.protocol.cluster_messages import (
    AskCharter,
    CharterIs,
    Convene,
    Convened,
    Nominee,
    Seated,
    ShareTaken,
)
from strongroom.protocol.evidence import Role
from tests.support import policies
from tests.support.command import ROOT, environment
from tests.support.site import free_port

SECONDS = 60


class Machine:
    """What is lost with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.platform = folder / "platform"
        self.roots = list(InsecureSoftware("vault", self.platform).roots)

    def data(self, role: Role) -> Path:
        return self.folder / role

    def destroy(self) -> None:
        shutil.rmtree(self.folder)


class Serving:
    """One `strongroom serve` process with its enclave process."""

    def __init__(self, machine: Machine, role: Role, port: int, *options: str, program: Path = ROOT / "src") -> None:
        """`options` are read after those that are given anyway, and by somebody in the machine's folder.

        `program`: another one than this is a copy of the sources with something changed.
        """
        self.role, self.url = role, f"http://127.0.0.1:{port}"
        self.log = machine.folder / f"{role}.log"
        command = [sys.executable, "-m", "strongroom.cli", "serve", role, "--data", str(machine.data(role))]
        command += ["--platform", str(machine.platform), "--listen", f"127.0.0.1:{port}", "--json", *options]
        with self.log.open("ab") as log:
            # What is compiled is kept: it starts so often.
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=machine.folder,
                env=environment(PYTHONDONTWRITEBYTECODE="", PYTHONPATH=os.pathsep.join([str(program), str(ROOT)])),
            )
        self._said = ""

    def says(self, **expected: str) -> dict[str, Any]:
        """The next thing that it says on standard output, which has these values."""
        assert self.process.stdout is not None
        found: dict[str, Any] | None = None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + SECONDS
            while found is None:
                with suppress(json.JSONDecodeError):
                    found, end = json.JSONDecoder().raw_decode(self._said)
                    self._said = self._said[end:].lstrip()
                    break
                if not waiting.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(self.log.read_text())
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    raise RuntimeError(f"exit status {self.process.wait()}: {self.log.read_text()}")
                self._said += piece.decode()
        assert found is not None
        assert {name: found.get(name) for name in expected} == expected, self.log.read_text()
        return found

    def kill(self) -> None:
        """SIGKILL to host and enclave at once, as when the power goes."""
        self.signal(signal.SIGKILL)
        self.end()

    def signal(self, number: signal.Signals) -> None:
        """To host and enclave at once."""
        for pid in [self.process.pid, *children(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def ended(self) -> int:
        """Exit status, waited for."""
        status = self.process.wait(SECONDS)
        self.end()
        return status

    def end(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)  # what is suspended hears nothing
            self.process.terminate()
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class People:
    """Custodians, each with an age identity and the file of a share; the owner; and whom all of them trust."""

    folder: Path
    """At home, not on any of the machines."""
    count: int
    threshold: int
    roots: list[bytes]
    """Of all machines that may ever serve: those of processors' makers, were these real ones."""
    identities: list[str] = field(default_factory=list)
    files: dict[Role, list[bytes]] = field(default_factory=dict)
    clusters: dict[Role, bytes] = field(default_factory=dict)
    witnesses: list[str] = field(default_factory=list)
    """Keys of those who are to watch a Vault that is founded from here on; more than half of them must."""

    def __post_init__(self) -> None:
        self.identities = [generate_identity() for _ in range(self.count)]
        self.owner = load_or_make_key(self.folder / "owner.key")

    def policy(self, role: Role) -> RolePolicy:
        program = policies.software(roots=self.roots, measurements=[measure(role)])
        clusters = [self.clusters[role]] if role in self.clusters else []
        return policies.role(clusters=clusters, insecure_software=program)

    @property
    def trust(self) -> TrustPolicy:
        named = policies.trust(self.policy("vault"), self.policy("authenticator"))
        return replace(named, witnesses=self.witnesses, cosignatures=self._cosignatures)

    async def found(self, serving: Serving) -> None:
        """The ceremony: the owner names custodians, each opens a share and accepts."""
        role, policy = serving.role, self.policy(serving.role)
        async with cluster_session(serving.url, role=role, policy=policy, stage="founding", key=self.owner) as session:
            pending = await self.convened(session, role)
            for share in self.open(role):
                await session.ask(acceptance(pending, share), Seated)
        self.clusters[role] = pending.cluster

    async def convened(self, session: ClusterSession, role: Role, cluster: bytes | None = None) -> PendingCouncil:
        """The owner names these custodians, of a new cluster or of the one that is there, and each is sent a share."""
        self.files[role] = (await session.ask(self._convene(), Convened)).shares
        return verify_pending(await session.ask(AskCharter(), CharterIs), cluster)

    def open(self, role: Role) -> list[OpenShare]:
        """Every custodian's share, decrypted."""
        return [
            open_share(file, [parse_identity(identity)])
            for file, identity in zip(self.files[role], self.identities, strict=True)
        ]

    async def recover(self, serving: Serving, who: Sequence[int]) -> None:
        """So many custodians that it serves."""
        await self.submit(serving, who)
        if serving.role == "vault":
            await self.sign_gap(serving, who)
        await asyncio.to_thread(serving.says, role=serving.role, cluster_id=self.clusters[serving.role].hex())

    async def asked_to_sign(self, serving: Serving) -> Look:
        """What custodians are shown when the ring is open."""
        policy = self.policy(serving.role)
        async with cluster_session(serving.url, role=serving.role, policy=policy, stage="recovering") as session:
            return await _gap_in(session)

    async def sign_gap(self, serving: Serving, who: Sequence[int]) -> None:
        """These custodians sign what is given up."""
        policy = self.policy(serving.role)
        async with cluster_session(serving.url, role=serving.role, policy=policy, stage="recovering") as session:
            found = await _gap_in(session)
            shares = self.open(serving.role)
            for index in who:
                await approve(session, approval(found, shares[index]))

    async def submit(self, serving: Serving, who: Sequence[int]) -> ShareTaken | None:
        """These custodians look at the enclave that recovers, and hand it their shares."""
        taken = None
        for index in who:
            policy = self.policy(serving.role)
            async with cluster_session(serving.url, role=serving.role, policy=policy, stage="recovering") as session:
                await look(session)
                share = open_share(self.files[serving.role][index], [parse_identity(self.identities[index])])
                taken = await submit(session, seal_share(session.claims, share))
        return taken

    @property
    def _cosignatures(self) -> int:
        return len(self.witnesses) // 2 + 1 if self.witnesses else 0

    def _convene(self) -> Convene:
        people = [
            Nominee(name=f"custodian-{at}", recipient=parse_identity(identity).recipient.text)
            for at, identity in enumerate(self.identities)
        ]
        return Convene(
            custodians=people,
            threshold=self.threshold,
            approvers=[],
            approvals=0,
            release_delay=0,
            witnesses=self.witnesses,
            cosignatures=self._cosignatures,
        )


async def _gap_in(session: ClusterSession) -> Look:
    async with asyncio.timeout(SECONDS):
        while (found := await look(session)).gap is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found


async def founded(machine: Machine, people: People, role: Role, port: int, *options: str) -> Serving:
    """A new cluster, which serves."""
    serving = Serving(machine, role, port, "--found", "--owner-key", str(people.folder / "owner.key"), *options)
    await asyncio.to_thread(serving.says, state="founding")
    await people.found(serving)
    await asyncio.to_thread(serving.says, role=role, cluster_id=people.clusters[role].hex())
    return serving


async def recovering(machine: Machine, role: Role, port: int, *options: str) -> Serving:
    """On a machine with a restored database: waits for custodians."""
    serving = Serving(machine, role, port, "--recover", *options)
    await asyncio.to_thread(serving.says, state="recovering")
    return serving


async def drilling(machine: Machine, role: Role, port: int) -> Serving:
    """The same, and never serves."""
    serving = Serving(machine, role, port, "--drill")
    await asyncio.to_thread(serving.says, state="drilling")
    return serving


async def drilled(serving: Serving) -> None:
    """Until a drill is done."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(SECONDS):
        while (await client.get(f"{serving.url}/v1/status")).json()["state"] != "drilled":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]
