"""A deployment of the kit's own: real servers on loopback, one Authenticator for all, a Vault and witnesses a play.

For each scenario a Vault is founded and used (`history.py`) once. Every attack then gets copies of all that was kept by
then: the database, what the witnesses cosigned, what clients had seen. So no attack meets what another one left.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.attack.audit import audited
from strongroom.attack.database import SQLITE_FILE, SqliteDatabase
from strongroom.attack.history import History, make_history
from strongroom.attack.liar import LOOPBACK, muted_witness
from strongroom.attack.network import Network, network
from strongroom.attack.outcomes import Seen, SetUpFailed
from strongroom.attack.people import DEPOSITOR, TOUCHER, SecurityKey
from strongroom.attack.people import People as Keys
from strongroom.attack.play import HONEST, Memory
from strongroom.attack.processes import Server, read_log
from strongroom.attack.promises import Scenario
from strongroom.attestation.policy import TrustPolicy
from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.pinning import pin_exactly
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.keys import load_key
from strongroom.client.policy import People, Policy, instructions
from strongroom.client.session import fetch_evidence
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.instructions import AuthenticatorRef, method_digest
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.primitives import SigningKey

NAMESPACE: Final = "attacked"
WITNESSES: Final[Mapping[Scenario, tuple[int, int]]] = {
    Scenario.ALONE: (0, 0),
    Scenario.ONE: (1, 1),
    Scenario.TWO_OF_THREE: (3, 2),
}
"""How many there are, and how many it takes."""
_MUCH: Final = 1_000_000
_LOG_KEY: Final = re.compile(r"strongroom/[0-9a-f]{64}/0/0\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+")
"""Verifier key of the log of a Vault, wherever it is printed."""
_FOUNDING_SECONDS: Final = 25.0


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """One witness of a scenario, for ever."""

    name: str
    verifier: str


class LocalCast:
    """The kit's own people, at its own Authenticator."""

    namespace = NAMESPACE

    def __init__(self, keys: Keys, authenticator: str, trust: TrustPolicy) -> None:
        self.security_key: SecurityKey | None = keys.security_key
        self.keys = keys
        self.trust = trust
        self.method = keys.method
        self.checkpoints = MemoryCheckpoints()
        """What all of them have seen of the Vault's log: they tell each other."""
        self.url = ""
        self._reference = AuthenticatorRef(url=authenticator, policy=encode(trust.authenticator))
        self._binding = {name: SigningKey.generate() for name in (*keys.names, TOUCHER)}

    def has(self, name: str) -> bool:
        return name in self._binding

    def client(self, name: str) -> AsyncVault:
        return self.client_at(self.url, name, self.checkpoints)

    def client_at(
        self, url: str, name: str, checkpoints: MemoryCheckpoints, now: Callable[[], float] = time.time
    ) -> AsyncVault:
        """Of somebody who has seen what is in `checkpoints`."""
        return AsyncVault(
            url,
            self.trust,
            binding_key=self._binding[name],
            sign_in=self.keys.way(name),
            checkpoints=checkpoints,
            now=now,
        )

    def person(self, name: str) -> People:
        return Policy.person(self.method, name)

    def instructions(self, rules: Policy) -> bytes:
        return instructions(authenticators=[self._reference], methods=[self.method], rules=rules)

    async def open_namespace(self, owner: SigningKey) -> None:
        rules = Policy.namespace(create=Policy.anyone_signed_in(self.method))
        encoded = instructions(authenticators=[self._reference], methods=[self.method], rules=rules, permanent=True)
        async with AsyncVault(self.url, self.trust, binding_key=owner, checkpoints=self.checkpoints) as vault:
            await vault.create_namespace(
                NAMESPACE,
                instructions=encoded,
                max_records=_MUCH,
                max_bytes=_MUCH,
                max_records_per_identity=_MUCH,
                max_bytes_per_identity=_MUCH,
            )


@dataclass(frozen=True, slots=True)
class Founded:
    """A scenario's deployment as it was when the attacks begin; nothing of it runs."""

    scenario: Scenario
    directory: Path
    """`vault` and `witness-1`… in it are copied for each attack."""
    witnesses: tuple[WitnessKey, ...]
    log_key: str
    """Verifier key of the log."""
    cast: LocalCast
    history: History
    checkpoint: bytes | None
    """What clients had seen last."""

    @property
    def origin(self) -> str:
        (cluster,) = self.cast.trust.vault.clusters
        return log_origin(cluster)


class Stage:
    """What outlives single attacks. An async context manager: at its end nothing runs any more."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.platform = root / "platform"
        self._opened = AsyncExitStack()
        self._started: list[Server] = []
        self._keys: Final = Keys(root)

    @property
    def authenticator(self) -> str:
        """URL of the Authenticator."""
        return self._started[0].url

    async def __aenter__(self) -> Stage:
        arguments = ["authenticator", *self.where(self.root / "authenticator")]
        self._started.append(await Server.start(arguments, self.root / "authenticator.log"))
        self._opened.push_async_callback(self._started[0].stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    def where(self, data: Path) -> list[str]:
        """Options of a server of this stage."""
        return ["--data", str(data), "--platform", str(self.platform), "--listen", f"{LOOPBACK}:0"]

    async def found(self, scenario: Scenario) -> Founded:
        """Found a cluster with the witnesses of this scenario, use it, stop it. Raises `SetUpFailed`."""
        directory = self.root / scenario
        directory.mkdir()
        count, _ = WITNESSES[scenario]
        async with AsyncExitStack() as running:
            names = [f"w{number}.attack.example" for number in range(1, count + 1)]
            keys = await asyncio.gather(*(self._make_witness(directory, name) for name in names))
            ports = [free_port() for _ in names]
            policy = write_witness_policy(directory / "witnesses", scenario, keys, ports)
            starting = asyncio.ensure_future(self.start_vault(directory / "vault", policy))
            try:
                log_key = await _log_key(directory / "vault.log", starting) if keys else ""
                for key, port in zip(keys, ports, strict=True):
                    await self.start_witness(running, directory / key.name, port, log_key)
                vault = await starting
            except BaseException:
                starting.cancel()
                raise
            running.push_async_callback(vault.stop)
            return await self._use(scenario, directory, vault, tuple(keys), log_key)

    async def _use(
        self, scenario: Scenario, directory: Path, vault: Server, witnesses: tuple[WitnessKey, ...], log_key: str
    ) -> Founded:
        seen = [
            verify_any_cluster(await fetch_evidence(vault.url), "vault"),
            verify_any_cluster(await fetch_evidence(self.authenticator), "authenticator"),
        ]
        cast = LocalCast(self._keys, self.authenticator, pin_exactly(seen[0], seen[1]))
        cast.url = vault.url
        try:
            await cast.open_namespace(load_key(directory / "vault" / "owner.key"))
            history = await make_history(cast, SqliteDatabase(directory / "vault" / SQLITE_FILE))
        except StrongroomError as error:
            raise SetUpFailed(f"before any attack: {error.error}") from None
        checkpoint = cast.checkpoints.highest(log_origin(seen[0].claims.cluster_id))
        return Founded(scenario, directory, witnesses, log_key, cast, history, checkpoint)

    async def start_vault(
        self, data: Path, witness_policy: Path | None = None, environment: Mapping[str, str] = HONEST
    ) -> Server:
        """Raises `DidNotStart`."""
        witnessed = ["--witnesses", str(witness_policy)] if witness_policy is not None else []
        arguments = ["vault", *self.where(data), *witnessed]
        return await Server.start(arguments, data.with_name(f"{data.name}.log"), environment)

    async def start_witness(self, running: AsyncExitStack, data: Path, port: int, log_key: str) -> Server:
        """Until `running` ends."""
        logs = ["--log", log_key] if log_key else []
        where = ["--data", str(data), "--listen", f"{LOOPBACK}:{port}"]
        witness = await Server.start(["witness", *where, *logs], data.with_name(f"{data.name}.log"))
        running.push_async_callback(witness.stop)
        return witness

    async def _make_witness(self, directory: Path, name: str) -> WitnessKey:
        where = ["--data", str(directory / name), "--listen", f"{LOOPBACK}:0", "--name", name]
        witness = await Server.start(["witness", *where], directory / f"{name}.log")
        await witness.stop()
        return WitnessKey(name, str(witness.told["verifier_key"]))


class LocalPlay:
    """`Play` on copies of what a scenario's deployment kept."""

    def __init__(self, stage: Stage, founded: Founded, directory: Path, lying: Network) -> None:
        self.stage = stage
        self.founded = founded
        self.directory = directory
        self.scenario = founded.scenario
        self.history = founded.history
        self.cast = founded.cast
        self.network = lying
        self.database = SqliteDatabase(directory / "vault" / SQLITE_FILE)
        self.running = AsyncExitStack()
        self.witnesses: dict[str, Server] = {}
        self.witness_policy: Path | None = None
        self.checkpoints = MemoryCheckpoints()
        self.vault: Server | None = None
        self._stranger = ""
        if founded.checkpoint is not None:
            self.checkpoints.keep(founded.origin, founded.checkpoint, None)

    async def start_witnesses(self) -> None:
        """All of them, as they were."""
        keys = self.founded.witnesses
        ports = [free_port() for _ in keys]
        started = await asyncio.gather(
            *(
                self.stage.start_witness(self.running, self.directory / key.name, port, self.founded.log_key)
                for key, port in zip(keys, ports, strict=True)
            )
        )
        self.witnesses = {key.name: server for key, server in zip(keys, started, strict=True)}
        self.witness_policy = write_witness_policy(self.directory / "witnesses", self.scenario, keys, ports)

    async def mute_witnesses(self) -> None:
        """From the next start on, this host hears of its witnesses only what it likes to hear."""
        ports = []
        for witness in self.witnesses.values():
            muted = await self.running.enter_async_context(muted_witness(witness.url))
            ports.append(int(muted.rpartition(":")[2]))
        path = self.directory / "witnesses"
        self.witness_policy = write_witness_policy(path, self.scenario, self.founded.witnesses, ports)

    async def start(self, environment: Mapping[str, str] = HONEST) -> None:
        self.vault = await self.another_vault(self.directory / "vault", environment)
        self.network.upstream = self.vault.url

    async def another_vault(self, data: Path, environment: Mapping[str, str] = HONEST) -> Server:
        """A Vault on this data directory, with the witnesses of this play. Raises `DidNotStart`."""
        vault = await self.stage.start_vault(data, self.witness_policy, environment)
        self.running.push_async_callback(vault.stop)
        return vault

    @property
    def authenticator(self) -> str:
        return self.stage.authenticator

    async def stranger(self) -> str:
        if not self._stranger:
            vault = await self.stage.start_vault(self.directory / "stranger")
            self.running.push_async_callback(vault.stop)
            self._stranger = vault.url
        return self._stranger

    async def audit(self) -> Seen:
        (cluster,) = self.cast.trust.vault.clusters
        return await audited(self.network.upstream, cluster)

    async def visit(self, client: AsyncVault) -> None:
        described = await client.describe(self.history.address("kept"))
        if [method.digest for method in described.methods] != [method_digest(encode(self.cast.method))]:
            raise SetUpFailed("a record was described otherwise than it was stored")

    def visitor(self) -> AsyncVault:
        return self.client(DEPOSITOR)

    async def stop(self) -> None:
        if self.vault is not None:
            await self.vault.stop()

    def client(self, name: str, memory: Memory = Memory.WAS_THERE, *, url: str = "") -> AsyncVault:
        checkpoints = self.checkpoints if memory is Memory.WAS_THERE else MemoryCheckpoints()
        return self.cast.client_at(url or self.network.url, name, checkpoints)


@asynccontextmanager
async def local_play(stage: Stage, founded: Founded, name: str) -> AsyncIterator[LocalPlay]:
    """Fresh copies, with witnesses up and the Vault stopped."""
    directory = stage.root / "plays" / f"{founded.scenario}-{name}"
    shutil.copytree(founded.directory / "vault", directory / "vault")
    for key in founded.witnesses:
        shutil.copytree(founded.directory / key.name, directory / key.name)
    async with network("") as lying:
        play = LocalPlay(stage, founded, directory, lying)
        async with play.running:
            await play.start_witnesses()
            yield play
    shutil.rmtree(directory, ignore_errors=True)


def write_witness_policy(
    path: Path, scenario: Scenario, keys: list[WitnessKey] | tuple[WitnessKey, ...], ports: list[int]
) -> Path | None:
    """A policy of C2SP tlog-policy; None without witnesses."""
    if not keys:
        return None
    _, quorum = WITNESSES[scenario]
    named = [
        f"witness {key.name} {key.verifier} http://{LOOPBACK}:{port}" for key, port in zip(keys, ports, strict=True)
    ]
    group = f"group all {quorum} {' '.join(key.name for key in keys)}"
    path.write_text("\n".join([*named, group, "quorum all", ""]))
    return path


def free_port() -> int:
    """Free a moment ago: whoever is named by it before it listens needs one."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


async def _log_key(log: Path, starting: asyncio.Future[Server]) -> str:
    """What a Vault that waits for its witnesses tells its operator to configure there."""
    deadline = time.monotonic() + _FOUNDING_SECONDS
    while time.monotonic() < deadline:
        if starting.done():
            starting.result()
        found = _LOG_KEY.search(read_log(log))
        if found is not None:
            return found[0]
        await asyncio.sleep(0.1)
    raise SetUpFailed("the Vault did not say which log its witnesses are to know")
