"""An enclave process that echoes, and does on its link what a body tells it to: `python -m … STATE_DIR LINK_FD`."""

import socket
import sys

from strongroom.enclave.platform.process import run
from strongroom.enclave.runtime.link import HostLink
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.link import Operation, Put


class Echo:
    def __init__(self, link: HostLink) -> None:
        self.link = link

    async def handle(self, operation: Operation, body: bytes) -> bytes:
        if operation is Operation.START:
            return b""
        match body[:5]:
            case b"read ":
                (row,) = await self.link.read([body[5:37]])
                return b"none" if row is None else b"%d " % row.version + row.sealed
            case b"make ":
                await self.link.commit([Put(body[5:37], 0, 1, body[37:])], 0, [])
            case b"post ":
                return await self.link.post(body[5:].decode(), b"carried")
            case b"coll ":
                return await self.link.collateral("sgx", body[5:], b"")
            case b"deny ":
                raise Misuse(Number(int(body[5:])))
            case b"fail ":
                raise ValueError(body[5:].decode())
            case b"hang ":
                await self.link.closed
        return body


if __name__ == "__main__":
    run(Echo, link=socket.socket(fileno=int(sys.argv[2])))
