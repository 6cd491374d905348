"""`python -m bench decisions`: decisions with a ticket, a second and core of the Authenticator.

Vault, Authenticator and clients share one process, and only what runs between a frame's arrival at the Authenticator's
door and the sealed answer is counted. Rules and tickets are at hand, as they are for all but the first request of a
record or a person. With one client each frame holds one question; with many the Vault puts those that wait into one.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import uvloop

from bench.calibration import slowness
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import ById
from strongroom.protocol.vault_messages import Item
from tests.support.world import AUTHENTICATOR_URL, World, for_bob

CLIENTS = (1, 32)
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))


class Watch:
    """Carries frames to the Authenticator, and counts the CPU between the way in and the way out."""

    def __init__(self, world: World) -> None:
        self._enclave = world.authenticator.enclave
        world.vault.host.routes[AUTHENTICATOR_URL] = self.carry
        self.reset()

    def reset(self) -> None:
        self.frames, self.seconds = 0, 0.0

    async def carry(self, operation: Operation, body: bytes) -> bytes:
        began = time.process_time()
        answer = await self._enclave.handle(operation, body)
        self.frames += 1
        self.seconds += time.process_time() - began
        return answer


async def decisions(world: World, watch: Watch, clients: int) -> int:
    """Decisions of so many people who collect a record each, again and again."""
    people = [await world.client("bob") for _ in range(clients)]
    alice = await world.client("alice")
    records = [ById(id=os.urandom(16)) for _ in people]
    for record in records:
        await alice.store(record, b"secret", world.instructions(for_bob()))
    until, count = 0.0, 0

    async def one(at: int) -> None:
        nonlocal count
        while time.perf_counter() < until:
            (result,) = await people[at].collect(records[at])
            if not isinstance(result, Item):
                raise RuntimeError("refused")
            count += 1

    await asyncio.gather(*(one(at) for at in range(clients)))
    until = time.perf_counter() + SECONDS
    watch.reset()
    await asyncio.gather(*(one(at) for at in range(clients)))
    return count


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = await World(Path(directory)).start()
        await world.namespace()
        watch = Watch(world)
        for clients in CLIENTS:
            count = await decisions(world, watch, clients)
            slow, _ = slowness()
            print(
                f"decision, {clients} clients: {count / watch.seconds:,.0f} a second per core of the Authenticator "
                f"({slow * count / watch.seconds:,.0f} at reference speed; {1e6 * watch.seconds / count:.0f} µs each, "
                f"{count / watch.frames:.1f} in a frame; this machine is {slow:.1f} × the reference)"
            )


def run() -> None:
    uvloop.run(main())
