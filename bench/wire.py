"""A lean client for the load generator: one connection by hand, the protocol from `strongroom.protocol`.

The SDK spends half a millisecond a request in its HTTP library; here the server is to be measured, on the same two
cores.
"""

import os
import time
from typing import Any, Final

from bench.http import Connection
from strongroom.attestation.appraisal import appraise
from strongroom.attestation.policy import RolePolicy
from strongroom.protocol.authenticator_messages import AuthenticatorReply
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import from_number
from strongroom.protocol.evidence import Role
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.log_messages import Freshen, Logged
from strongroom.protocol.messages import Error, Prove
from strongroom.protocol.notes import verify_checkpoint
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import ClientHandshake, split_reply
from strongroom.protocol.vault_messages import VaultReply

VERIFIED: Final = 64
"""One of so many checkpoints is verified, to show that they are what they should be. A client verifies each; here that
would take the servers' cores from them."""


async def fetch_evidence(url: str) -> bytes:
    """Evidence as it comes, not appraised."""
    connection = Connection(url)
    await connection.open()
    status, evidence = await connection.request("GET", "/v1/evidence", b"")
    connection.close()
    if status != 200:
        raise from_number(int.from_bytes(evidence[:2], "big"))
    return evidence


class Wire:
    """One keep-alive connection and one session over it."""

    def __init__(self, url: str, role: Role, policy: RolePolicy, binding: SigningKey) -> None:
        self._connection = Connection(url)
        self._role: Role = role
        self._policy = policy
        self._binding = binding
        self._replies: Any = VaultReply if role == "vault" else AuthenticatorReply
        self._checkpoints = 0

    async def open(self) -> "Wire":
        await self._connection.open()
        evidence = await self._request("GET", "/v1/evidence", b"")
        genuine = appraise(evidence, role=self._role, policy=self._policy, now=int(time.time())).genuine
        handshake = ClientHandshake(
            self._role,
            genuine.evidence_digest,
            genuine.claims.kem_key,
            self._binding.public,
            seed=os.urandom(32),
            kem_seed=os.urandom(32),
        )
        self._channel = handshake.finish(await self._request("POST", "/v1/session", handshake.hello))
        await self.ask(Prove(signature=self._binding.sign(Domain.PROOF, self._channel.transcript), evidence=None))
        if self._role == "vault":
            self._log = log_verifier(genuine.claims.cluster_id, genuine.genesis.log_key)
            await self.ask(Freshen(size=0))
        return self

    def close(self) -> None:
        self._connection.close()

    async def ask(self, request: Message) -> Any:
        """One request, one reply; errors raise."""
        _, frame = self._channel.seal(encode(request))
        _, plaintext = self._channel.open(await self._request("POST", "/v1/frame", frame))
        reply = decode(split_reply(plaintext)[1], self._replies, limit=MAX_MESSAGE)
        if isinstance(reply, Logged):
            self._checkpoints += 1
            if self._checkpoints % VERIFIED == 0:
                verify_checkpoint(reply.checkpoint, self._log)
            reply = decode(reply.reply, self._replies, limit=MAX_MESSAGE)
        if isinstance(reply, Error):
            raise from_number(reply.number, index=reply.index, version=reply.version)
        return reply

    async def _request(self, method: str, path: str, body: bytes) -> bytes:
        status, answer = await self._connection.request(method, path, body)
        if status != 200:
            raise from_number(int.from_bytes(answer[:2], "big"))
        return answer
