"""More than can be served, and clients that only cost: what is too much is shed at once, and memory stays bounded.

Real processes. Limits that need a front of their own are in tests/integration/test_front.py.
"""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from bench.http import Connection
from bench.processes import resident_of
from bench.wire import fetch_evidence
from strongroom.attestation.appraisal import appraise
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.host.front.http import Limits
from strongroom.host.instance import raise_file_limit
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.limits import MAX_SESSIONS_PER_KEY
from strongroom.protocol.messages import Prove
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import ClientHandshake
from tests.soak.cluster import cluster
from tests.soak.people import World

MIB = 2**20
LIMITS = Limits()
SESSIONS = 1_000
"""Enough to see what one costs; 10,000 take half a minute of two processors."""
MOST_FOR_10_000 = 100_000_000
IDLE = 2_000
MOST_FOR_AN_IDLE_CONNECTION = 12_000
"""Bytes of the host's memory."""
SLOW = 60
"""Clients that send a MiB each, and wait."""
PATIENCE = 60


@pytest.fixture(scope="module")
async def vault():
    raise_file_limit()
    async with cluster("sqlite") as made:
        yield made


def memory(it):
    """Resident bytes of the host process and of its enclave."""
    host, enclaves = it.vault.pids
    return [resident_of(pid) for pid in (host, *enclaves)]


@asynccontextmanager
async def connections(it, count):
    """As many TCP connections, opened a few at a time."""
    parts = urlsplit(it.vault.url)
    opened = []
    try:
        for _ in range(0, count, 100):
            some = [asyncio.open_connection(parts.hostname, parts.port) for _ in range(100)]
            opened += await asyncio.gather(*some)
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def still_serves(it):
    """How long an honest client's whole way takes: evidence, handshake, sign-in, a store, a collect."""
    began = time.monotonic()
    world = World(it, MemoryCheckpoints(), seed=0)
    async with world.sdk(it.alice) as alice:
        if not it.namespace_made:
            await world.namespace()
            it.namespace_made = True
        receipt = await alice.store(b"after all that", namespace="soak", instructions=world.private)
        assert (await alice.collect(receipt.address)).secret == b"after all that"
    return time.monotonic() - began


@pytest.fixture(scope="module")
async def served(vault):
    vault.namespace_made = False
    await still_serves(vault)
    return vault


class Handshakes:
    """Sessions by the dozen over one connection, each of them proved, and then left alone."""

    def __init__(self, it):
        self._it = it
        self._connection = Connection(it.vault.url)
        self._key = SigningKey.generate()
        self._made = 0

    async def begin(self):
        await self._connection.open()
        evidence = await fetch_evidence(self._it.vault.url)
        policy = self._it.policy("vault")
        self._genuine = appraise(evidence, role="vault", policy=policy, now=int(time.time())).genuine

    def hello(self):
        if self._made % MAX_SESSIONS_PER_KEY == 0:
            self._key = SigningKey.generate()
        self._made += 1
        return ClientHandshake(
            "vault",
            self._genuine.evidence_digest,
            self._genuine.claims.kem_key,
            self._key.public,
            seed=os.urandom(32),
            kem_seed=os.urandom(32),
        )

    async def open(self):
        handshake = self.hello()
        channel = handshake.finish(await self._post("/v1/session", handshake.hello))
        proof = Prove(signature=self._key.sign(Domain.PROOF, channel.transcript), evidence=None)
        _, frame = channel.seal(encode(proof))
        channel.open(await self._post("/v1/frame", frame))

    async def _post(self, path, body):
        status, answer = await self._connection.request("POST", path, body)
        assert status == 200, answer
        return answer

    def close(self):
        self._connection.close()


async def test_10_000_idle_sessions_take_less_than_100_mb(served):
    handshakes = Handshakes(served)
    await handshakes.begin()
    for _ in range(50):  # what is allocated once, whatever comes
        await handshakes.open()
    before = sum(memory(served))
    for _ in range(SESSIONS):
        await handshakes.open()
    each = (sum(memory(served)) - before) / SESSIONS
    handshakes.close()
    assert each > 1_000, "no memory was taken: were the sessions kept?"
    assert each * 10_000 < MOST_FOR_10_000, f"{each:.0f} bytes each"


async def test_idle_connections_cost_little_and_are_closed(served):
    before = memory(served)[0]
    async with connections(served, IDLE) as opened:
        await still_serves(served)
        each = (memory(served)[0] - before) / IDLE
        assert each < MOST_FOR_AN_IDLE_CONNECTION, f"{each:.0f} bytes each"
        async with asyncio.timeout(LIMITS.head_seconds + PATIENCE):
            for reader, _ in opened:
                await reader.read()  # a refusal perhaps, and the end
    await still_serves(served)


async def test_bodies_that_never_end_are_let_go(served):
    """Clients that send half of the longest frame, and no more: it is not held for long, nor many times over."""
    before = memory(served)[0]
    head = f"POST /v1/frame HTTP/1.1\r\nhost: x\r\ncontent-length: {2 * MIB}\r\n\r\n".encode()

    async def send(reader, writer):
        try:
            writer.write(head + bytes(MIB))
            await writer.drain()
            return (await reader.read()).split(b"\r\n", 1)[0]
        except ConnectionError:
            return b"closed"  # before the answer was read

    async with connections(served, SLOW) as opened, asyncio.timeout(LIMITS.request_seconds + PATIENCE):
        sending = asyncio.gather(*(send(*one) for one in opened))
        await asyncio.sleep(LIMITS.request_seconds / 2)
        assert memory(served)[0] - before < 2.5 * SLOW * MIB
        answers = await sending
    assert {b" 408 " in answer or answer == b"closed" for answer in answers} == {True}
    await still_serves(served)


async def test_more_calls_than_it_takes_are_shed_at_once_and_it_recovers(served):
    """The enclave stands still for a moment. So many calls wait as there are places, all others are told BUSY."""
    usual = await still_serves(served)
    more = 200
    handshakes = Handshakes(served)
    await handshakes.begin()
    hello = handshakes.hello().hello  # the same for all: a host can repeat it, too
    handshakes.close()
    request = f"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: {len(hello)}\r\n\r\n".encode() + hello
    parts = urlsplit(served.vault.url)
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def ask():
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request)
        await answers.put((await reader.readuntil(b"\r\n\r\n")).lower())
        writer.close()

    _, (enclave,) = served.vault.pids
    async with asyncio.timeout(PATIENCE):
        os.kill(enclave, signal.SIGSTOP)
        try:
            asking = asyncio.gather(*(ask() for _ in range(LIMITS.calls + more)))
            shed = [await answers.get() for _ in range(more)]
        finally:
            os.kill(enclave, signal.SIGCONT)
        await asking
    told = f"strongroom-error: {int(Number.BUSY)}\r\n".encode()
    assert all(told in answer for answer in shed), "who is shed is told so while the others wait"
    others = [answers.get_nowait() for _ in range(LIMITS.calls)]
    assert all(answer.startswith(b"http/1.1 200 ") for answer in others), "who waits is answered"
    assert await still_serves(served) < 5 * usual + 5
