"""`python -m tests.soak --kills N --database sqlite|postgresql`: says what it did; exit status 1 for a violation."""

import argparse
import asyncio
import sys
import time

from tests.soak.kills import soak
from tests.soak.ledger import Violation


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Kill -9 under load, and look.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    began = time.monotonic()

    def told(number: int, victim: str) -> None:
        if number % 10 == 0 or number == options.kills:
            print(f"{number} kills, {time.monotonic() - began:.0f} s, last: {victim}", file=sys.stderr, flush=True)

    try:
        done = asyncio.run(soak(options.database, options.kills, people=options.people, seed=options.seed, told=told))
    except Violation as violation:
        print(f"violation: {violation}", file=sys.stderr)
        return 1
    print(f"{options.database}: {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
