"""`python -m bench.strongroom [OPTION=VALUE …]`: a Vault and its Authenticator as a contender (`bench.turns`).

Runs in source trees from before the log, too (`bench.before`): so it asks of `bench.scene` what those have, and for
more only when told to.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop

from bench.load import CLIENTS, load
from bench.scene import RULES, Scene, scene
from bench.turns import take_turns
from bench.wire import Wire
from strongroom.protocol.messages import ById, Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item, Store, Update

SECRET: Final = 1024
MANY: Final = 32
"""Records of a message, where a client stores many."""
BATCH: Final = 128
FILLERS: Final = 8
TICKET_SECONDS: Final = 480
"""A ticket is good for ten minutes."""


class Ours:
    """The commands of this contender."""

    def __init__(self, it: Scene) -> None:
        self._it = it
        self._instructions = it.instructions(RULES)
        self._ids: list[bytes] = []
        self._since = 0.0

    async def open(self) -> "Ours":
        """Sessions and a ticket, anew after a restart or when they grow old."""
        self._binding = SigningKey.generate()
        self._wires = [await self.wire() for _ in range(CLIENTS)]
        self._ticket: Ticket = await self._it.ticket(self._binding, self._wires[0])
        self._since = time.monotonic()
        return self

    def cpu(self) -> dict[str, float]:
        vault, authenticator = self._it.vault.cpu_seconds(), self._it.authenticator.cpu_seconds()
        found = {"vault host": vault[0], "vault enclave": vault[1], "authenticator": sum(authenticator)}
        return found | getattr(self._it, "others_cpu", dict)()

    async def store(self, seconds: float, clients: int = CLIENTS) -> dict[str, Any]:
        """Records of 1 KiB, durable; by as many clients."""

        async def store(client: int) -> None:
            await self._stored(client, [os.urandom(16)], SECRET)

        return await self._load(seconds, store, clients)

    async def batches(self, seconds: float) -> dict[str, Any]:
        """The same records, many in a message; what is counted is records."""

        async def batch(client: int) -> None:
            await self._stored(client, [os.urandom(16) for _ in range(MANY)], SECRET)

        turn = await self._load(seconds, batch, CLIENTS)
        return turn | {"count": turn["count"] * MANY}

    async def collect(self, seconds: float, clients: int = CLIENTS) -> dict[str, Any]:
        """Any of the records that there are, with a decision on each."""

        async def collect(client: int) -> None:
            await self.collected(self._wires[client])

        return await self._load(seconds, collect, clients)

    async def update(self, seconds: float, clients: int = CLIENTS) -> dict[str, Any]:
        """Each client its own record: what a rollback would undo, so witnesses are waited for."""
        names = [os.urandom(16) for _ in range(clients)]
        await self._stored(0, names, SECRET)
        versions = [1] * clients

        async def update(client: int) -> None:
            request = Update(
                request_id=os.urandom(16),
                address=ById(id=names[client]),
                replaces=versions[client],
                tickets=[self._ticket],
                secret=os.urandom(SECRET),
                metadata=None,
                instructions=None,
                terms=None,
            )
            versions[client] = (await self._wires[client].ask(request)).version

        return await self._load(seconds, update, clients)

    async def alone(self, seconds: float) -> dict[str, Any]:
        """Updates by one client."""
        return await self.update(seconds, clients=1)

    async def fill(self, count: int) -> dict[str, Any]:
        """Store records until there are `count`: by the front door, many in a message."""
        began = time.monotonic()

        async def fill(client: int) -> None:
            while (missing := count - len(self._ids) - sum(pending)) > 0:
                pending[client] = min(BATCH, missing)
                await self._renew()
                await self._stored(client, [os.urandom(16) for _ in range(pending[client])], 64)
                pending[client] = 0

        pending = [0] * FILLERS
        await asyncio.gather(*(fill(client) for client in range(FILLERS)))
        return {"records": len(self._ids), "seconds": time.monotonic() - began}

    async def restart(self) -> dict[str, Any]:
        """Stop the Vault and start it again: seconds until it serves."""
        for wire in self._wires:
            wire.close()
        self._it.vault.stop()
        self._it.restart_vault()
        await self.open()
        return {"seconds": self._it.vault.start_seconds}

    async def memory(self) -> dict[str, Any]:
        """Bytes in memory."""
        host, enclave = self._it.vault.resident_bytes()
        return {"vault host": host, "vault enclave": enclave}

    async def wire(self) -> Wire:
        """A new session."""
        return await self._it.wire("vault", self._binding)

    async def collected(self, wire: Wire) -> None:
        """Have one of the records."""
        address = ById(id=random.choice(self._ids))
        request = Collect(request_id=os.urandom(16), tickets=[self._ticket], addresses=[address])
        (result,) = (await wire.ask(request)).results
        if not isinstance(result, Item):
            raise RuntimeError(f"not collected: {result}")

    async def _load(self, seconds: float, request: Callable[[int], Any], clients: int) -> dict[str, Any]:
        await self._renew()
        return await load(seconds, request, self.cpu, clients)

    async def _renew(self) -> None:
        if time.monotonic() - self._since > TICKET_SECONDS:
            self._since = time.monotonic()
            self._ticket = await self._it.ticket(self._binding, self._wires[-1])

    async def _stored(self, client: int, names: list[bytes], size: int) -> None:
        request: Store = self._it.store(self._ticket, names, self._instructions, size)
        reply = await self._wires[client].ask(request)
        if reply.versions != [1] * len(names):
            raise RuntimeError("not stored")
        self._ids += names


async def main(options: dict[str, str]) -> None:
    async with scene(**options) as it:
        ours = await Ours(it).open()
        names = ("store", "batches", "collect", "update", "alone", "fill", "restart", "memory")
        await take_turns({name: getattr(ours, name) for name in names})


if __name__ == "__main__":
    uvloop.run(main(dict(argument.split("=", 1) for argument in sys.argv[1:])))
