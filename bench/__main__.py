"""`make bench`: the figures that the project promises, measured in one run.

Ratios are what counts: machines are noisy, so each run also measures two primitives and says how slow this machine
is now against the one that the design's figures come from ("at reference speed"). A figure per core divides by the
CPU seconds that the server processes themselves used (host and enclave of Vault and Authenticator), so the load
generator on the same machine does not distort it; figures "by the clock" share the cores with it.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from bench import appraisal, decisions, page
from bench.calibration import slowness
from bench.processes import Server
from bench.scene import RULES, Scene, scene
from bench.wire import Wire
from strongroom.protocol.messages import ById, Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item, Store

CLIENTS = 32
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
RECORDS = int(os.environ.get("BENCH_RECORDS", "100000"))


async def load(wires: list[Wire], request: Callable[[int], Any], check: Callable[[Any], None]) -> tuple[int, float]:
    """Requests answered and seconds, each wire sending the next as soon as it has an answer."""
    until = time.perf_counter() + SECONDS
    counts = [0] * len(wires)

    async def one(at: int) -> None:
        while time.perf_counter() < until:
            check(await wires[at].ask(request(at)))
            counts[at] += 1

    began = time.perf_counter()
    await asyncio.gather(*(one(at) for at in range(len(wires))))
    return sum(counts), time.perf_counter() - began


async def measured(servers: list[Server], work: Awaitable[tuple[int, float]]) -> tuple[int, float, list[float]]:
    """What `work` says, and CPU seconds of each server process meanwhile."""
    before = [seconds for server in servers for seconds in server.cpu_seconds()]
    count, elapsed = await work
    after = [seconds for server in servers for seconds in server.cpu_seconds()]
    return count, elapsed, [b - a for a, b in zip(before, after, strict=True)]


def report(name: str, count: int, elapsed: float, cpu: list[float]) -> None:
    slow, _ = slowness()
    parts = " + ".join(f"{1e6 * seconds / count:.0f}" for seconds in cpu)
    print(
        f"{name}: {count / elapsed:,.0f} a second by the clock with {CLIENTS} clients "
        f"({slow * count / elapsed:,.0f} at reference speed); "
        f"{count / sum(cpu):,.0f} a second per core of Vault plus Authenticator CPU "
        f"({slow * count / sum(cpu):,.0f} at reference speed; {1e6 * sum(cpu) / count:.0f} µs = {parts}: "
        "vault host, vault enclave, authenticator host, enclave)"
    )


def check_collected(reply: Any) -> None:
    if not isinstance(reply.results[0], Item):
        raise RuntimeError(f"refused with {reply.results[0].number}")


def check_stored(reply: Any) -> None:
    if reply.versions != [1]:
        raise RuntimeError("not stored")


async def cold_collects(it: Scene, ticket: Ticket, binding: SigningKey, record: bytes, rounds: int) -> list[float]:
    """Seconds from nothing to a secret: connect, evidence, appraisal, session, collect; sign-in excluded."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        wire = await it.wire("vault", binding)
        check_collected(await wire.ask(collect(ticket, record)))
        times.append(time.perf_counter() - began)
        wire.close()
    return times


def collect(ticket: Ticket, record: bytes) -> Collect:
    return Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[ById(id=record)])


async def main() -> None:
    async with scene() as it:
        servers = [it.vault, it.authenticator]
        print(
            f"start to ready: vault {it.vault.start_seconds:.2f} s, "
            f"authenticator {it.authenticator.start_seconds:.2f} s"
        )
        binding = SigningKey.generate()
        first = await it.wire("vault", binding)
        ticket = await it.ticket(binding, first)
        instructions = it.instructions(RULES)
        records = [os.urandom(16) for _ in range(CLIENTS)]
        await first.ask(it.store(ticket, records, instructions))
        wires = [await it.wire("vault", binding) for _ in range(CLIENTS)]

        work = load(wires, lambda at: collect(ticket, records[at]), check_collected)
        report("collect", *await measured(servers, work))

        def store(_: int) -> Store:
            return it.store(ticket, [os.urandom(16)], instructions)

        report("store 1 KiB", *await measured(servers, load(wires, store, check_stored)))

        cold = await cold_collects(it, ticket, binding, records[0], 40)
        print(f"cold first collect: {1e3 * statistics.median(cold):.1f} ms median of {len(cold)}")

        # A key keeps 64 sessions; the cold ones pushed out the oldest.
        wires = [await it.wire("vault", binding) for _ in range(CLIENTS)]
        batch = 128
        for _ in range(RECORDS // batch + 1):
            await wires[0].ask(it.store(ticket, [os.urandom(16) for _ in range(batch)], instructions, size=64))
        sizes = it.vault.resident_bytes()
        print(
            f"vault with {RECORDS:,} records: {sum(sizes) / 1e6:.0f} MB resident "
            f"(host {sizes[0] / 1e6:.0f}, enclave {sizes[1] / 1e6:.0f})"
        )
        work = load(wires, lambda at: collect(ticket, records[at]), check_collected)
        report("collect after that", *await measured(servers, work))


if __name__ == "__main__":
    if sys.argv[1:2] == ["page"]:
        sys.exit(page.main(*map(int, sys.argv[2:3])))
    if sys.argv[1:] == ["decisions"]:
        decisions.run()
        sys.exit()
    slow, primitives = slowness()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {SECONDS:g} s a figure")
    print(", ".join(f"{name} {value:.0f} µs" for name, value in primitives.items()), f"→ {slow:.1f} × the reference")
    appraisal.main()
    uvloop.run(main())
    decisions.run()
    page.main()
