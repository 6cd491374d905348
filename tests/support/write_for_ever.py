"""Commits to a store until killed: `python -m tests.support.write_for_ever PATH FIRST`. Prints what is acknowledged.

Each commit makes two rows and a log entry, so half a commit would show.
"""

import asyncio
import sys
from pathlib import Path

from strongroom.host.store.sqlite import SqliteStore
from strongroom.protocol.link import Commit, Put


def twins(number: int) -> list[Put]:
    return [Put(half + number.to_bytes(31, "big"), 0, 1, half * 700) for half in (b"a", b"b")]


async def main(path: Path, first: int) -> None:
    store = SqliteStore(path)

    async def write(number: int) -> None:
        while True:
            await store.commit(Commit(twins(number), [number.to_bytes(8, "big")]))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            number += 16

    await asyncio.gather(*(write(first + offset) for offset in range(16)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
