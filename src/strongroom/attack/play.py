"""What an attack is given: a Vault that it may stop, start and lie to, its database, and people who use it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Protocol

from strongroom.attack.database import Database
from strongroom.attack.history import Cast, History
from strongroom.attack.network import Network
from strongroom.attack.outcomes import Seen
from strongroom.attack.promises import Scenario
from strongroom.client.vault import AsyncVault

HONEST: Final[Mapping[str, str]] = {}


class Memory(Enum):
    """What a client knows of the log from earlier."""

    WAS_THERE = auto()
    NEWCOMER = auto()


class Play(Protocol):
    """One deployment, in the state that `history.now` describes, with the Vault stopped. For one attack, unless that
    leaves no trace."""

    @property
    def scenario(self) -> Scenario:
        """Who else sees the log."""

    @property
    def history(self) -> History:
        """Raises `CannotRun` where nothing could be stored."""

    @property
    def cast(self) -> Cast:
        """Who uses it. Raises `CannotRun` where nobody is known."""

    @property
    def network(self) -> Network:
        """Between clients and the Vault."""

    @property
    def database(self) -> Database:
        """Raises `CannotRun` where there is none to be had."""

    @property
    def authenticator(self) -> str:
        """URL of a server in another role; empty where none is known."""

    async def stranger(self) -> str:
        """URL of a genuine Vault of another cluster."""

    async def audit(self) -> Seen:
        """What `strongroom audit` says of the log that the running Vault's host shows."""

    async def visit(self, client: AsyncVault) -> None:
        """One request whose true answer is known. Raises what the client raises, `SetUpFailed` for another answer."""

    def visitor(self) -> AsyncVault:
        """A client for `visit`, on the other side of `network`."""

    async def start(self, environment: Mapping[str, str] = HONEST) -> None:
        """Start the Vault on its database. Raises `DidNotStart`."""

    async def stop(self) -> None:
        """In order."""

    def client(self, name: str, memory: Memory = Memory.WAS_THERE, *, url: str = "") -> AsyncVault:
        """Of somebody; by default on the other side of `network`."""
