"""`python -m bench.serve ROLE DATA PLATFORM OWNER_KEY_HEX PORT`: one role until SIGTERM; prints its URL as JSON."""

import json
import sys
from pathlib import Path

import uvloop

from strongroom.host.supervisor.serve import serve
from strongroom.protocol.link import Start

if __name__ == "__main__":
    role, data, platform, owner, listen = sys.argv[1:]
    start = Start(True, bytes.fromhex(owner) or bytes(65), {}, [], 0)
    serving = serve(
        role,  # type: ignore[arg-type]
        data=Path(data),
        platform=Path(platform),
        host="127.0.0.1",
        port=int(listen),
        start=start,
        on_ready=lambda url: print(json.dumps({"url": url}), flush=True),
    )
    uvloop.run(serving)
