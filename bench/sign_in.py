"""CPU of a whole sign-in with an OpenID Connect provider: the provider runs in a thread of its own and is left out.

Counted: `describe` at the Vault, `begin` and `redeem` at the Authenticator, by servers and client, in sessions that
stand, and the two handshakes before them apart. The provider's keys are known already, as they are for all but the
first sign-in of an hour.
"""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvloop

from bench.calibration import slowness
from bench.processes import Server
from bench.scene import NAMESPACE, Scene, scene
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.messages import OfNamespace
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import Begin
from strongroom.protocol.vault_messages import Describe
from tests.support.issuer import Issuer

ROUNDS = 200


@contextmanager
def provider(clock: Clock) -> Iterator[Issuer]:
    """An issuer on a loop of its own, in a thread of its own."""
    issuer, ready, done = Issuer(clock), threading.Event(), threading.Event()

    async def serve() -> None:
        async with issuer.serving():
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield issuer
    finally:
        done.set()
        thread.join()


class Visit:
    """One client: its sessions, and its sign-in."""

    def __init__(self, it: Scene) -> None:
        self._it = it
        self._binding = SigningKey.generate()

    async def arrive(self) -> None:
        self._vault = await self._it.wire("vault", self._binding)
        self._desk = await self._it.wire("authenticator", self._binding)

    async def sign_in(self) -> None:
        it, digest = self._it, method_digest(encode(self._it.method))
        described = await self._vault.ask(Describe(address=OfNamespace(namespace=NAMESPACE), tickets=[]))
        cluster, capsule = it.clusters["vault"], described.authenticators[0].capsule
        await self._desk.ask(Begin(vault_cluster=cluster, capsule=capsule, method=digest, channel="native"))
        await it.redeem(self._desk, self._binding, capsule)

    def leave(self) -> None:
        self._vault.close()
        self._desk.close()


async def cost(servers: list[Server], visits: list[Visit], what: Callable[[Visit], Awaitable[None]]) -> str:
    """Milliseconds of CPU of one: servers, and client."""
    before, began = sum(sum(server.cpu_seconds()) for server in servers), time.thread_time()
    for visit in visits:
        await what(visit)
    mine = 1e3 * (time.thread_time() - began) / len(visits)
    theirs = 1e3 * (sum(sum(server.cpu_seconds()) for server in servers) - before) / len(visits)
    slow, _ = slowness()
    return (
        f"{theirs + mine:.1f} ms of CPU ({(theirs + mine) / slow:.1f} at reference speed): "
        f"servers {theirs:.1f}, client {mine:.1f}"
    )


async def measure() -> None:
    async with scene() as it:
        with provider(Clock(it.platform)) as issuer:
            it.use(issuer)
            owner = await it.wire("vault", it.owner)
            await owner.ask(it.namespace(NAMESPACE, replaces=1))
            servers, visits = [it.vault, it.authenticator], [Visit(it) for _ in range(ROUNDS)]
            print("two attested sessions:", await cost(servers, visits, Visit.arrive))
            await visits[0].sign_in()
            print("sign-in with a provider:", await cost(servers, visits, Visit.sign_in))
            for visit in visits:
                visit.leave()


def main() -> None:
    uvloop.run(measure())


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores")
    main()
