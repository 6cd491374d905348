"""A host process around the echoing enclave: `python -m tests.support.serve_echo DATA`. Prints pid and URL."""

import asyncio
import sys
from pathlib import Path

from strongroom.host.instance import CannotServe
from strongroom.host.supervisor.serve import serve
from tests.support.starting import start as started


def ready(url: str) -> None:
    print(url, flush=True)


if __name__ == "__main__":
    start = started(mode="open")
    entry = sys.argv[2] if len(sys.argv) > 2 else "tests.support.echo_enclave"
    try:
        asyncio.run(
            serve(
                "vault",
                data=Path(sys.argv[1]),
                platform=Path(sys.argv[1]),
                host="127.0.0.1",
                port=0,
                start=start,
                on_ready=ready,
                entry=entry,
            )
        )
    except CannotServe as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        raise SystemExit(1) from None
