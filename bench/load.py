"""Load: many clients, each sending its next request as soon as it has an answer, and what that cost the servers."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

CLIENTS: Final = 32


async def load(
    seconds: float,
    request: Callable[[int], Awaitable[None]],
    cpu: Callable[[], dict[str, float]],
    clients: int = CLIENTS,
) -> dict[str, Any]:
    """`request(client)` again and again, for so long: how many, in what time, at what cost.

    `cpu` says the CPU seconds of each server so far. The result, as JSON has it: `count`, `seconds`, `cpu` (seconds of
    each server meanwhile), `median_ms` and `p99_ms` of a request.
    """
    times: list[float] = []
    before, began = cpu(), time.perf_counter()
    until = began + seconds

    async def one(client: int) -> None:
        sent = time.perf_counter()
        while sent < until:
            await request(client)
            answered = time.perf_counter()
            times.append(answered - sent)
            sent = answered

    await asyncio.gather(*(one(client) for client in range(clients)))
    elapsed, after = time.perf_counter() - began, cpu()
    return {
        "count": len(times),
        "seconds": elapsed,
        "cpu": {name: after[name] - before[name] for name in after},
        "median_ms": 1e3 * statistics.median(times),
        "p99_ms": 1e3 * statistics.quantiles(times, n=100)[-1] if len(times) > 1 else 1e3 * times[0],
    }
