"""Two programs on one machine, people who approve them, and clients that do not care which of them serves."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from strongroom.attestation.policy import ReleaseAuthority, RolePolicy
from strongroom.client.cluster import cluster_session
from strongroom.client.vault import AsyncVault
from strongroom.protocol.cluster_messages import Convene, Publish, Published
from strongroom.protocol.evidence import Role
from strongroom.protocol.messages import ById
from strongroom.protocol.releases import ListedRelease, Program
from tests.support import policies
from tests.support.command import ROOT, environment
from tests.support.machines import People, Serving
from tests.support.releases import listing, signed
from tests.support.ssh_keys import SshKey

T = TypeVar("T")
_CHANGED = "enclave/runtime/clock.py"
"""In every measured program."""


def another_program(folder: Path) -> Path:
    """The same but for a comment: another program to every measurement."""
    copied = shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (copied / "strongroom" / _CHANGED).open("a") as file:
        file.write("# the next version\n")
    return copied


def measurement_of(program: Path, role: Role) -> bytes:
    code = f"from strongroom.enclave.platform.measurement import measure; print(measure({role!r}).hex())"
    return bytes.fromhex(
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment(PYTHONPATH=os.pathsep.join([str(program), str(ROOT)])),
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    )


class Approved(People):
    """One of whom approves programs; clients go by what is approved."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.approver = SshKey()
        self.serial = 0

    def _convene(self) -> Convene:
        return replace(super()._convene(), approvers=[self.approver.public_key], approvals=1)

    def by_releases(self, role: Role) -> RolePolicy:
        """Names no program."""
        authority = ReleaseAuthority(approvers=[self.approver.public_key], approvals=1, min_serial=1)
        program = policies.software(roots=self.roots)
        return policies.role(clusters=[self.clusters[role]], insecure_software=program, releases=authority)

    async def publish(self, serving: Serving, *measurements: bytes) -> None:
        """From now on these programs and no other."""
        self.serial += 1
        released = [
            ListedRelease(str(at), 1, [Program("insecure-software", one)]) for at, one in enumerate(measurements)
        ]
        releases = listing(self.clusters[serving.role], self.serial, *released, role=serving.role)
        policy = self.policy(serving.role) if self.serial == 1 else self.by_releases(serving.role)
        async with cluster_session(serving.url, role=serving.role, policy=policy) as session:
            await session.ask(Publish(releases=signed(releases, [self.approver])), Published)


class Load:
    """Somebody who stores, changes and collects all the while, and whom no request may fail."""

    def __init__(self, vault: AsyncVault, namespace: str, instructions: bytes) -> None:
        self.vault = vault
        self.namespace = namespace
        self.instructions = instructions
        self.secrets: dict[bytes, bytes] = {}
        """What was acknowledged last, by record."""
        self.longest = 0.0
        """Seconds of a request."""
        self._round = asyncio.Event()
        self._stopped = False
        self.working = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._stopped:
            record, secret, next_one = os.urandom(16), os.urandom(300), os.urandom(300)
            storing = self.vault.store(
                secret, instructions=self.instructions, namespace=self.namespace, record_id=record
            )
            assert (await self._timed(storing)).version == 1
            self.secrets[record] = secret
            receipt = await self._timed(self.vault.update(ById(record), secret=next_one, replaces=1))
            assert receipt.version == 2
            self.secrets[record] = next_one
            assert (await self._timed(self.vault.collect(ById(record)))).secret == next_one
            self._round.set()
            await asyncio.sleep(0.02)

    async def _timed(self, request: Awaitable[T]) -> T:
        began = time.monotonic()
        answer = await request
        self.longest = max(self.longest, time.monotonic() - began)
        return answer

    async def more(self, rounds: int) -> None:
        """Return when it has done so many more. Raises what failed it."""
        for _ in range(rounds):
            self._round.clear()
            waiting = asyncio.ensure_future(self._round.wait())
            await asyncio.wait({waiting, self.working}, return_when=asyncio.FIRST_COMPLETED)
            if self.working.done():
                waiting.cancel()
                await self.working

    async def stop(self) -> None:
        self._stopped = True
        await self.working

    async def verify(self, vault: AsyncVault) -> None:
        """All that was acknowledged is there as it was, and the log has each change once. Needs the right to `audit`.

        When nothing is under way.
        """

        async def once(record: bytes, secret: bytes) -> None:
            assert (await vault.collect(ById(record))).secret == secret
            entries = (await vault.trail(ById(record))).entries
            done = Counter(entry.action for entry in entries if entry.outcome == 0)
            assert (done["create"], done["update"]) == (1, 1), entries

        await asyncio.gather(*(once(*each) for each in self.secrets.items()))


class Balancer:
    """One address before several: a connection goes to the first that takes it, and stays there."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self.used: Counter[int] = Counter()
        """Connections to each."""
        self.url = ""

    @asynccontextmanager
    async def open(self):
        serving: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            serving.add(task)
            task.add_done_callback(serving.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    def _order(self) -> list[int]:
        return list(self.ports)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._order():
            with suppress(OSError):
                back, front = await asyncio.open_connection("127.0.0.1", port)
                self.used[port] += 1
                break
        else:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, front))
                both.create_task(_copy(back, writer))
        except* OSError:
            pass
        finally:
            front.close()
            writer.close()


class InTurn(Balancer):
    """Each connection goes to another one than the one before."""

    def _order(self) -> list[int]:
        self.ports.append(self.ports.pop(0))
        return list(self.ports)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65536):
        sink.write(piece)
        await sink.drain()
    sink.close()  # whoever hung up hung up on both
