"""Commits to a store until killed: `python -m tests.support.write_for_ever DATABASE FIRST`. Prints what is done.

DATABASE is a file of SQLite or a URL of PostgreSQL. Each commit makes two rows and a leaf, so half a commit would show.
"""

import asyncio
import sys
from pathlib import Path

from strongroom.host.store.port import Store
from strongroom.host.store.postgres import PostgresStore
from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.link import Commit, Put


def twins(number: int) -> list[Put]:
    return [Put(half + number.to_bytes(31, "big"), 0, 1, half * 700) for half in (b"a", b"b")]


async def opened(database: str) -> Store:
    return await PostgresStore.open(database) if "://" in database else SqliteStore(Path(database))


async def write(store: Store, first: int) -> None:
    """Sixteen commits on their way at any time."""
    size = await store.size()
    waiting: list[tuple[int, asyncio.Future[None]]] = []
    for number in range(first, first + 1_000_000):
        waiting.append((number, store.commit(Commit(twins(number), size, [number.to_bytes(8, "big")]))))
        size += 1
        if len(waiting) == 16:
            done, commit = waiting.pop(0)
            await commit
            sys.stdout.write(f"{done}\n")
            sys.stdout.flush()


async def main(database: str, first: int) -> None:
    await write(await opened(database), first)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
