"""A lean client for the load generator: HTTP/1.1 by hand on one connection, the protocol from `strongroom.protocol`.

The SDK spends half a millisecond a request in its HTTP library; here the server is to be measured, on the same two
cores.
"""

import asyncio
import os
import time
from typing import Any
from urllib.parse import urlsplit

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.policy import RolePolicy
from strongroom.protocol.authenticator_messages import AuthenticatorReply
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import from_number
from strongroom.protocol.evidence import Role
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.messages import Error, Prove
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import ClientHandshake, split_reply
from strongroom.protocol.vault_messages import VaultReply


async def fetch_evidence(url: str) -> bytes:
    """Evidence as it comes, not appraised."""
    wire = Wire(url, "vault", None, None)  # type: ignore[arg-type]
    await wire.connect()
    evidence = await wire.request("GET", "/v1/evidence", b"")
    wire.close()
    return evidence


class Wire:
    """One keep-alive connection and one session over it."""

    def __init__(self, url: str, role: Role, policy: RolePolicy, binding: SigningKey) -> None:
        split = urlsplit(url)
        self._host, self._port = split.hostname or "", split.port or 80
        self._role: Role = role
        self._policy = policy
        self._binding = binding
        self._replies: Any = VaultReply if role == "vault" else AuthenticatorReply

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def open(self) -> "Wire":
        await self.connect()
        evidence = await self.request("GET", "/v1/evidence", b"")
        genuine = appraise(evidence, role=self._role, policy=self._policy, now=int(time.time())).genuine
        handshake = ClientHandshake(
            self._role,
            genuine.evidence_digest,
            genuine.claims.kem_key,
            self._binding.public,
            seed=os.urandom(32),
            kem_seed=os.urandom(32),
        )
        self._channel = handshake.finish(await self.request("POST", "/v1/session", handshake.hello))
        await self.ask(Prove(signature=self._binding.sign(Domain.PROOF, self._channel.transcript), evidence=None))
        return self

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: Message) -> Any:
        """One request, one reply; errors raise."""
        _, frame = self._channel.seal(encode(request))
        _, plaintext = self._channel.open(await self.request("POST", "/v1/frame", frame))
        reply = decode(split_reply(plaintext)[1], self._replies, limit=MAX_MESSAGE)
        if isinstance(reply, Error):
            raise from_number(reply.number, index=reply.index, version=reply.version)
        return reply

    async def request(self, method: str, path: str, body: bytes) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        status = await self._reader.readuntil(b"\r\n\r\n")
        fields = status.lower().split(b"content-length:", 1)
        answer = await self._reader.readexactly(int(fields[1].split(b"\r\n", 1)[0]))
        if not status.startswith(b"HTTP/1.1 200"):
            raise from_number(int.from_bytes(answer[:2], "big"))
        return answer
