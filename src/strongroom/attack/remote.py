"""A deployment that somebody else started: attacked as far as its owner lets the kit reach.

With no more than a URL that is the network; with somebody who may store there, the database and commands that stop and
start the Vault also what the host of that database could do. What the kit wrote over it puts back: not the copy that it
made first, since the Vault goes on over what was tampered with, and its witnesses with it, but row by row.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from strongroom.attack.audit import audited
from strongroom.attack.database import Copy, Database, Row
from strongroom.attack.history import Cast, History, make_history
from strongroom.attack.liar import LOOPBACK
from strongroom.attack.network import Network, network
from strongroom.attack.outcomes import CannotRun, Seen, SetUpFailed
from strongroom.attack.people import DEPOSITOR, SecurityKey
from strongroom.attack.play import HONEST, Memory
from strongroom.attack.processes import DidNotStart, Server
from strongroom.attack.promises import Scenario
from strongroom.attack.registry import Reach
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.policy import People, Policy
from strongroom.client.session import fetch_evidence
from strongroom.client.sign_in import AnyWay
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Refused, StrongroomError
from strongroom.protocol.instructions import parse_instructions
from strongroom.protocol.messages import ById
from strongroom.protocol.primitives import SigningKey

START_SECONDS: Final = 60.0
"""For a Vault to answer after the command that starts it."""
_POLL_SECONDS: Final = 0.5
_SILENT_SECONDS: Final = 2.0
"""Of waiting, before it is said."""


@dataclass(frozen=True, slots=True)
class Depositor:
    """Who may store in a namespace of that deployment."""

    namespace: str
    sign_in: AnyWay
    instructions: Callable[[Policy], bytes]
    """Encoded: its Authenticators and methods, with these rules."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What the owner of a deployment hands to the kit."""

    database: Database
    stop: str
    start: str
    """Commands for a shell. `start` may return at once, or stay."""
    tell: Callable[[str], None]
    """Given what the owner may want to know while nothing else happens."""


class RemoteCast:
    """One person, whom the deployment knows."""

    security_key: SecurityKey | None = None

    def __init__(self, url: str, trust: TrustPolicy, depositor: Depositor) -> None:
        self.namespace = depositor.namespace
        self.checkpoints = MemoryCheckpoints()
        self._url = url
        self._trust = trust
        self._depositor = depositor
        self._key = SigningKey.generate()

    def has(self, name: str) -> bool:
        return name == DEPOSITOR

    def client(self, name: str) -> AsyncVault:
        return self.client_at(self._url, self.checkpoints)

    def client_at(self, url: str, checkpoints: MemoryCheckpoints) -> AsyncVault:
        sign_in = self._depositor.sign_in
        return AsyncVault(url, self._trust, binding_key=self._key, sign_in=sign_in, checkpoints=checkpoints)

    def person(self, name: str) -> People:
        return Policy.depositor()

    def instructions(self, rules: Policy) -> bytes:
        return self._depositor.instructions(rules)


class Guarded:
    """A database that remembers what it was before it was tampered with."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._untouched: Copy | None = None
        self._tampered: set[bytes] = set()

    async def copy(self) -> Copy:
        return await self._database.copy()

    async def restore(self, copy: Copy) -> None:
        untouched = await self._remember()
        keys = untouched.rows.keys() | copy.rows.keys()
        self._tampered |= {key for key in keys if untouched.rows.get(key) != copy.rows.get(key)}
        await self._database.restore(copy)

    async def put(self, key: bytes, row: Row | None) -> None:
        await self._remember()
        self._tampered.add(key)
        await self._database.put(key, row)

    async def verify_unused(self) -> None:
        await self._database.verify_unused()

    async def _remember(self) -> Copy:
        if self._untouched is None:
            self._untouched = await self._database.copy()
        return self._untouched

    async def put_back(self) -> None:
        """As if nobody had tampered, with what the Vault has written since where it went on from the true log."""
        if self._untouched is None:
            return
        now, true = await self._database.copy(), self._untouched
        size = len(true.leaves)
        went_on = len(now.leaves) > size and all(
            leaf in (None, kept) for leaf, kept in zip(now.leaves, true.leaves, strict=False)
        )
        if went_on:
            rows = {key: true.rows.get(key) for key in self._tampered if now.rows.get(key) != true.rows.get(key)}
            true = now.with_rows(rows).with_log((*true.leaves, *now.leaves[size:]))
        await self._database.restore(true)
        self._untouched = None
        self._tampered = set()


class RemotePlay:
    """`Play` on a deployment elsewhere; the same one for every attack, put back after each."""

    def __init__(self, url: str, trust: TrustPolicy, lying: Network, hold: Hold | None, directory: Path) -> None:
        self.network = lying
        self.authenticator = ""
        self.running = AsyncExitStack()
        self._url = url
        self._trust = trust
        self._hold = hold
        self._guarded = None if hold is None else Guarded(hold.database)
        self._directory = directory
        self._cast: RemoteCast | None = None
        self._history: History | None = None
        self._stranger = ""

    async def use(self, depositor: Depositor) -> None:
        """Make records, and changes that can be undone. Raises `SetUpFailed`."""
        cast = RemoteCast(self._url, self._trust, depositor)
        named = parse_instructions(depositor.instructions(Policy.depositor_may("update", "delete")))
        self.authenticator = named.authenticators[0].url
        if self._hold is None:
            return
        try:
            self._history = await make_history(cast, self._hold.database)
        except StrongroomError as error:
            raise SetUpFailed(f"before any attack: {error.error}") from None
        self._cast = cast

    @property
    def is_held(self) -> bool:
        """Whether its owner has handed over database and commands, and there is something to attack."""
        return self._history is not None

    def verify_reach(self, reach: Reach) -> None:
        """Raises `CannotRun`, naming everything that is missing, where such an attack is out of reach."""
        if reach is Reach.MACHINE:
            raise CannotRun(_NO_MACHINE)
        if reach is Reach.DATABASE and not self.is_held:
            raise CannotRun(_NO_HOLD)

    @property
    def scenario(self) -> Scenario:
        count = len(self._trust.witnesses)
        return Scenario.TWO_OF_THREE if count > 1 else Scenario.ONE if count else Scenario.ALONE

    @property
    def cast(self) -> Cast:
        return self._people()

    def _people(self) -> RemoteCast:
        if self._cast is None:
            raise CannotRun(_NO_HOLD)
        return self._cast

    @property
    def history(self) -> History:
        self._people()
        if self._history is None:
            raise CannotRun(_NO_HOLD)
        return self._history

    @property
    def database(self) -> Database:
        if self._guarded is None:
            raise CannotRun(_NO_HOLD)
        return self._guarded

    async def begin(self) -> None:
        """The Vault stopped, and the newest true state taken for what is now."""
        await self.stop()
        if self._history is not None:
            self._history = replace(self._history, now=await self.database.copy())

    async def put_back(self) -> None:
        """As it was, and served. Raises `SetUpFailed` when that fails: then its owner has to look."""
        if self._guarded is None:
            return
        await self.stop()
        await self._guarded.put_back()
        try:
            await self.start()
        except DidNotStart as error:
            raise SetUpFailed(f"THE DEPLOYMENT IS NOT AS IT WAS: it does not start after the attack: {error}") from None

    async def start(self, environment: Mapping[str, str] = HONEST) -> None:
        if environment:
            raise CannotRun(_NO_MACHINE)
        process = await asyncio.create_subprocess_shell(
            self._held().start,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        loop = asyncio.get_running_loop()
        began, is_said = loop.time(), False
        while (waited := loop.time() - began) < START_SECONDS:
            if waited > _SILENT_SECONDS and not is_said:
                self._held().tell(f"waiting up to {START_SECONDS:.0f} s for the Vault")
                is_said = True
            try:
                await fetch_evidence(self._url)
            except StrongroomError:
                if process.returncode not in (None, 0):
                    raise DidNotStart(f"its command ended with status {process.returncode}", None) from None
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return
        raise DidNotStart(f"it does not answer {START_SECONDS:.0f} s after it was started", None)

    async def stop(self) -> None:
        process = await asyncio.create_subprocess_shell(
            self._held().stop,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the kit, which puts back what it did before it ends
        )
        await process.wait()

    def _held(self) -> Hold:
        if self._hold is None:
            raise CannotRun(_NO_HOLD)
        return self._hold

    def client(self, name: str, memory: Memory = Memory.WAS_THERE, *, url: str = "") -> AsyncVault:
        people = self._people()
        checkpoints = people.checkpoints if memory is Memory.WAS_THERE else MemoryCheckpoints()
        return people.client_at(url or self.network.url, checkpoints)

    def visitor(self) -> AsyncVault:
        return AsyncVault(self.network.url, self._trust, checkpoints=MemoryCheckpoints())

    async def visit(self, client: AsyncVault) -> None:
        """The one request that a Vault answers to anybody: that there is no record of a random id."""
        try:
            await client.describe(ById(id=secrets.token_bytes(16)))
        except Refused:
            return
        raise SetUpFailed("a record that does not exist was described")

    async def audit(self) -> Seen:
        (cluster,) = self._trust.vault.clusters
        return await audited(self._url, cluster)

    async def stranger(self) -> str:
        if not self._stranger:
            where = ["--data", str(self._directory / "stranger"), "--platform", str(self._directory / "platform")]
            arguments = ["vault", *where, "--listen", f"{LOOPBACK}:0"]
            vault = await Server.start(arguments, self._directory / "stranger.log")
            self.running.push_async_callback(vault.stop)
            self._stranger = vault.url
        return self._stranger


_NO_HOLD: Final = (
    "it takes --database, --stop and --start, and --trust, --namespace, --instructions and --ssh-key of who may store"
)
_NO_MACHINE: Final = "it takes a machine of the kit's own: --local"


@asynccontextmanager
async def remote_play(url: str, trust: TrustPolicy, hold: Hold | None, directory: Path) -> AsyncIterator[RemotePlay]:
    """The deployment at `url`, through a network of the kit's own."""
    async with network(url) as lying:
        play = RemotePlay(url, trust, lying, hold, directory)
        async with play.running:
            yield play
