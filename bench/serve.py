"""`python -m bench.serve ROLE DATA PLATFORM OWNER_KEY_HEX PORT DATABASE WITNESSES`: one role until SIGTERM.

Prints its URL as JSON. DATABASE (a URL) and WITNESSES (a policy file) may be empty.
"""

import json
import sys
from pathlib import Path
from typing import Any

import uvloop

from strongroom.host.supervisor.serve import serve
from strongroom.protocol.link import Start

if __name__ == "__main__":
    role, data, platform, owner, listen, database, witnesses = sys.argv[1:]
    more: dict[str, Any] = {"database": database} if database else {}
    serving = serve(
        role,  # type: ignore[arg-type]
        data=Path(data),
        platform=Path(platform),
        host="127.0.0.1",
        port=int(listen),
        start=Start(True, bytes.fromhex(owner) or bytes(65), {}, [], 0),
        on_ready=lambda url: print(json.dumps({"url": url}), flush=True),
        **more,
    )
    uvloop.run(serving)
