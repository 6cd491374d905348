"""`python -m bench.serve ROLE DATA PLATFORM OWNER_KEY_HEX PORT DATABASE WITNESSES`: one role until SIGTERM.

Prints its URL as JSON. DATABASE (a URL) and WITNESSES (a policy file) may be empty.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from msgspec.structs import replace

from strongroom.host.supervisor.serve import serve
from strongroom.host.witness.courier import Witnesses
from strongroom.host.witness.policy import read_policy
from strongroom.protocol.link import Start

if __name__ == "__main__":
    role, data, platform, owner, listen, database, witnesses = sys.argv[1:]
    more: dict[str, Any] = {"database": database} if database else {}
    policy = read_policy(Path(witnesses)) if witnesses else None
    start = Start("open", bytes.fromhex(owner) or bytes(65), {}, [], 0, "", b"", b"")
    if policy is not None:
        start = replace(start, witnesses=policy.vkeys, cosignatures=policy.cosignatures)
        more["witnesses"] = partial(Witnesses, policy)
    serving = serve(
        role,  # type: ignore[arg-type]
        data=Path(data),
        platform=Path(platform),
        host="127.0.0.1",
        port=int(listen),
        start=start,
        on_ready=lambda url: print(json.dumps({"url": url}), flush=True),
        **more,
    )
    uvloop.run(serving)
