"""The door of an enclave: bytes in, bytes out. The whole attack surface towards the host's front is this file.

Order of checks for a frame: size, session, tag, counter, codec, proof, service. Errors before the tag verifies go
out in clear as a number; after it, sealed inside the session like any answer.
"""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol, get_args

from strongroom.attestation.appraisal import Genuine, verify_peer
from strongroom.attestation.candidates import Candidate, verify_joining_peer
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity, peer_platforms
from strongroom.enclave.runtime.service import Caller, Served
from strongroom.enclave.runtime.sessions import Session, Sessions
from strongroom.protocol.cluster_messages import ClusterRequest
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.limits import MAX_FRAME, MAX_HELLO, MAX_MESSAGE, MAX_SESSION_LIFE
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import Error, Prove, Proved
from strongroom.protocol.primitives import Domain, verify_signature
from strongroom.protocol.session import SESSION_ID, answer_hello, open_hello, reply_message

_ABOUT_THE_CLUSTER: Final = frozenset(get_args(ClusterRequest))


class Desk(Protocol):
    """Answers what is asked about the cluster itself."""

    async def handle(self, caller: Caller, request: Any) -> Message:
        """Answer one request. Raises `StrongroomError`."""


class Door:
    """Serves one role's `service` to clients that came through the attested handshake."""

    def __init__(
        self, platform: Platform, clock: Clock, identity: Identity, service: Served, cluster: Desk | None = None
    ) -> None:
        """`cluster` answers what is asked about the cluster itself; None where the service does."""
        self._platform = platform
        self._clock = clock
        self._identity = identity
        self._service = service
        self._cluster = cluster
        self._requests: Any = service.requests if cluster is None else service.requests | ClusterRequest
        self._sessions = Sessions()

    async def handle(self, operation: Operation, body: bytes) -> bytes:
        """Answer one call of the host's front. Raises `StrongroomError`, whose number goes out in clear."""
        match operation:
            case Operation.EVIDENCE:
                return await self._identity.evidence()
            case Operation.SESSION:
                return self._open_session(body)
            case Operation.FRAME:
                return await self._answer_frame(body)
            case Operation.CHECKPOINT:
                return self._service.checkpoint()
            case _:
                raise Misuse(Number.UNSUPPORTED)

    def _open_session(self, sealed_hello: bytes) -> bytes:
        if len(sealed_hello) > MAX_HELLO:
            raise Misuse(Number.TOO_LARGE)
        hello = open_hello(self._identity.key_for(sealed_hello), sealed_hello)
        expires_at = self._identity.expiry_of(hello.evidence)
        if expires_at is None:
            raise Misuse(Number.STALE_KEY)
        now = self._clock.now()
        answer, channel = answer_hello(
            self._identity.role,
            sealed_hello,
            hello,
            session_id=self._platform.random(SESSION_ID),
            server_seed=self._platform.random(32),
            salt=self._platform.random(32),
        )
        self._sessions.add(
            Session(
                channel=channel,
                evidence=hello.evidence,
                kem_key=hello.kem_key,
                binding_key=hello.binding_key,
                expires_at=min(expires_at, now + MAX_SESSION_LIFE),
            ),
            now,
        )
        return answer

    async def _answer_frame(self, frame: bytes) -> bytes:
        if len(frame) > MAX_FRAME:
            raise Misuse(Number.TOO_LARGE)
        session = self._sessions.find(frame[:SESSION_ID], self._clock.now())
        counter, message = session.channel.open(frame)
        self._sessions.use(session)
        reply = await self._answer(session, message)
        return session.channel.seal(reply_message(counter, encode(reply)))[1]

    async def _answer(self, session: Session, message: bytes) -> Message:
        try:
            request = decode(message, self._requests, limit=MAX_MESSAGE)
            if isinstance(request, Prove):
                return self._prove(session, request)
            if session.caller is None:
                raise Misuse(Number.NOT_PROVED)
            if self._cluster is not None and type(request) in _ABOUT_THE_CLUSTER:
                return await self._cluster.handle(session.caller, request)
            return await self._service.handle(session.caller, request)
        except StrongroomError as error:
            return Error(number=int(error.number), index=error.index, place=error.place, version=error.version)
        except Exception as error:
            # The outermost edge: a defect must answer a number, and its text may hold a secret.
            print(f"internal error: {type(error).__name__}", file=sys.stderr, flush=True)
            return Error(number=int(Number.INTERNAL), index=0, place=0, version=0)

    def _prove(self, session: Session, request: Prove) -> Proved:
        if session.caller is not None:
            raise Misuse(Number.MALFORMED, "a session is proved once")
        try:
            caller = self._verify_caller(session, request)
        except StrongroomError:
            # One proof for one hello: else somebody has quote after quote verified in the same session.
            self._sessions.end(session)
            raise
        self._sessions.prove(session, caller)
        return Proved()

    def _verify_caller(self, session: Session, proof: Prove) -> Caller:
        verify_signature(session.binding_key, proof.signature, Domain.PROOF, session.channel.transcript)
        peer = joiner = None
        if proof.evidence is not None:
            if _is_candidate(proof.evidence):
                joiner = self._verify_joiner(session, proof.evidence)
            else:
                peer = self._verify_peer(session, proof.evidence)
        return Caller(session.binding_key, peer, joiner)

    def _verify_peer(self, session: Session, untrusted_evidence: bytes) -> Genuine:
        if self._identity.role != "authenticator":
            raise Refused(Number.PEER_REFUSED)
        return verify_peer(
            untrusted_evidence,
            role="vault",
            purpose="decide",
            kem_key=session.kem_key,
            binding_key=session.binding_key,
            peer_evidence=session.evidence,
            platforms=peer_platforms(self._platform.kind),
            insecure_roots=self._platform.roots,
            now=self._clock.now(),
        )

    def _verify_joiner(self, session: Session, untrusted_evidence: bytes) -> Candidate:
        """Of the same role, made for this handshake. Whether it gets anything is decided when it asks."""
        return verify_joining_peer(
            untrusted_evidence,
            role=self._identity.role,
            kem_key=session.kem_key,
            binding_key=session.binding_key,
            peer_evidence=session.evidence,
            platforms=peer_platforms(self._platform.kind),
            insecure_roots=self._platform.roots,
            now=self._clock.now(),
        )


def _is_candidate(untrusted_evidence: bytes) -> bool:
    return parse_any_evidence(untrusted_evidence)[1].stage != "member"
