"""Attested sessions, the client's side: nothing is sent before the evidence was accepted (RULES 1 to 3).

What a lying network can do here, and what stops it:

1. Answer with another enclave's evidence, or its own: appraised under the client's policy, before the hello.
2. Replay, swap or alter answers: each opens once, in this session, and names the request that it answers.
3. Say that the session is lost: one new handshake, with evidence appraised anew; the second time it is an error.
4. Say in clear what only an enclave may say, such as "refused": see `transport.Unsealed`.
5. Lose an answer: the same bytes go out once more, under a new counter. Their request id makes that harmless.

What whoever has the database of a Vault can do, and what stops that, stands in `client.freshness`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from strongroom.attestation.appraisal import Appraisal, appraise
from strongroom.attestation.floors import EvaluationFloors
from strongroom.attestation.policy import RolePolicy
from strongroom.attestation.reports import AnyReport
from strongroom.client.errors import Unanswered, Unreachable
from strongroom.client.freshness import WRITES, Watch, WatchedLog
from strongroom.client.meant import verify_meant
from strongroom.client.standings import Standings
from strongroom.client.transport import CONNECTIONS, Transport, Unsealed
from strongroom.protocol.authenticator_messages import AuthenticatorReply
from strongroom.protocol.cluster_messages import CharterIs
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted, from_number
from strongroom.protocol.evidence import Claims, Role
from strongroom.protocol.limits import MAX_MESSAGE, MAX_SESSION_LIFE
from strongroom.protocol.messages import Error, Prove, Proved
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import Channel, ClientHandshake, split_reply
from strongroom.protocol.vault_messages import VaultReply

R = TypeVar("R")
T = TypeVar("T", bound=Message)

MARGIN: Final = 30
"""Seconds before its end at which a session is replaced."""
IN_FLIGHT: Final = CONNECTIONS
"""Counters between the oldest unanswered request of a session and its newest: half a window, see `Window`."""

_REPLIES: Final[dict[Role, Any]] = {"vault": VaultReply | CharterIs, "authenticator": AuthenticatorReply}
_LOST: Final = (Number.UNKNOWN_SESSION, Number.STALE_KEY)


class Window:
    """Keeps frames that overtake each other within the receivers' windows, on both sides.

    A packet lost and sent again can hold one frame up while hundreds pass. No request goes out while one that is
    IN_FLIGHT counters older has no answer. So a request is overtaken by at most 31 others; and an answer by those to
    at most 31 older and 31 newer requests, fewer than the 64 after which it would look like a replay.
    """

    def __init__(self) -> None:
        self._next = 0
        self._unanswered: dict[int, None] = {}
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the next frame may go out; it is under way while this is entered."""
        while self._next - next(iter(self._unanswered), self._next) >= IN_FLIGHT:
            await self._moved.wait()
        number, self._next = self._next, self._next + 1
        self._unanswered[number] = None
        try:
            yield
        finally:
            del self._unanswered[number]
            self._moved.set()
            self._moved.clear()


@dataclass(frozen=True, slots=True)
class Shown:
    """Accepted evidence, and what a session needs of it."""

    evidence: bytes
    digest: bytes
    claims: Claims
    report: AnyReport
    appraisal: Appraisal | None
    """Of a member of a cluster."""


@dataclass(slots=True)
class Session:
    """A proved session."""

    channel: Channel
    shown: Shown
    until: float
    log: WatchedLog | None = None
    """Of a Vault."""
    window: Window = field(default_factory=Window)
    lost: bool = False
    """The server says that it does not know it."""


class AttestedServer:
    """The server at `url` in one role, reached only through sessions with an enclave that `policy` accepts.

    A Vault needs a `watch` over its log, in which every answer of it comes.
    """

    def __init__(
        self,
        url: str,
        *,
        role: Role,
        policy: RolePolicy,
        binding_key: SigningKey,
        now: Callable[[], float],
        watch: Watch | None = None,
        standings: Standings | None = None,
    ) -> None:
        """`standings` is what is known of the cluster, and is told of what is seen; a `watch` has its own."""
        self._role: Role = role
        self._replies = _REPLIES[role]
        self._policy = policy
        self._key = binding_key
        self._now = now
        self._watch = watch
        self._standings = standings if watch is None else watch.standings
        self._floors = EvaluationFloors()
        self._transport = Transport(url)
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self._opening: asyncio.Task[Session] | None = None

    async def evidence(self) -> bytes:
        """The server's current evidence, appraised by nobody yet."""
        return await self._persist(self._fetch_evidence)

    async def verify(self) -> Appraisal:
        """Fetch evidence and appraise it; no session is opened. Raises `Untrusted` EVIDENCE with the reason."""
        return appraisal_of(self._accept(await self.evidence()))

    async def appraisal(self) -> Appraisal:
        """What the current session rests on; opens one if there is none."""
        return appraisal_of(await self.shown())

    async def shown(self) -> Shown:
        """The same, for an enclave at any stage."""
        return (await self._persist(self._current)).shown

    async def ask(self, request: Message, kind: type[T]) -> T:
        """One request, one reply of type `kind`. Raises what the enclave answered, `Untrusted`, or `Unavailable`:
        `Unanswered` for a change that may have been made."""
        message = encode(request)
        if len(message) > MAX_MESSAGE:
            raise Misuse(Number.TOO_LARGE)
        sent = False

        async def attempt() -> Message:
            nonlocal sent
            session = await self._current()
            try:
                return await self._exchange(session, message)
            except Unreachable as error:
                sent |= error.sent
                raise
            except Unsealed as error:
                # Said perhaps by one that took over, after the one before had done what was asked.
                sent |= error.number == Number.UNKNOWN_SESSION
                raise

        try:
            reply = await self._persist(attempt)
        except Unavailable as error:
            # What the last attempt says may hold for itself alone: the first one may have arrived.
            if sent and issubclass(kind, WRITES):
                raise Unanswered(error) from None
            raise
        if isinstance(reply, Error):
            raise from_number(reply.number, index=reply.index, place=reply.place, version=reply.version)
        if not isinstance(reply, kind):
            raise Untrusted(Number.INTEGRITY, "the enclave answered another kind of request")
        return reply

    async def aclose(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        try:
            if self._watch is not None:
                await self._watch.aclose()
        finally:
            await self._transport.aclose()

    # --- repeating --------------------------------------------------------------------------------------------

    async def _persist(self, attempt: Callable[[], Awaitable[R]]) -> R:
        """`attempt`, repeated at most once for each reason for which repeating may help."""
        excused: set[str] = set()
        while True:
            try:
                return await attempt()
            except Unsealed as error:
                reason = "session" if error.number in _LOST else "replay" if error.number == Number.REPLAYED else ""
                if not reason or reason in excused:
                    raise error.as_error() from None
                excused.add(reason)
            except Unreachable as error:
                if not error.broken or "network" in excused:
                    raise
                excused.add("network")

    async def _exchange(self, session: Session, message: bytes) -> Message:
        try:
            reply = await self._round_trip(session, message)
        except Unsealed as error:
            session.lost |= error.number in _LOST
            raise
        return reply if session.log is None else await session.log.open(reply)

    # --- one session ------------------------------------------------------------------------------------------

    async def _current(self) -> Session:
        """The session in use, or a new one; parallel requests share the handshake."""
        if self._opening is None or self._ended(self._opening):
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: one caller's time-out must not tear the handshake away from the others who wait for it.
        return await asyncio.shield(self._opening)

    def _ended(self, opening: asyncio.Task[Session]) -> bool:
        if not opening.done():
            return False
        if opening.cancelled() or opening.exception() is not None:
            return True
        session = opening.result()
        return session.lost or session.until <= self._now()

    async def _open(self) -> Session:
        evidence = await self._fetch_evidence()
        shown = self._accept(evidence)
        opened_at = self._now()
        handshake = ClientHandshake(
            self._role,
            shown.digest,
            shown.claims.kem_key,
            self._key.public,
            seed=secrets.token_bytes(32),
            kem_seed=secrets.token_bytes(32),
        )
        answer = await self._transport.hello(handshake.hello)
        try:
            channel = handshake.finish(answer)
        except (Misuse, Untrusted):
            raise Untrusted(Number.INTEGRITY, "the answer to the hello is not from the attested enclave") from None
        until = min(shown.claims.expires_at, opened_at + MAX_SESSION_LIFE) - MARGIN
        session = Session(channel, shown, until)
        proof = Prove(signature=self._key.sign(Domain.PROOF, channel.transcript), evidence=None)
        reply = await self._round_trip(session, encode(proof))
        if isinstance(reply, Error):
            raise from_number(reply.number)
        if not isinstance(reply, Proved):
            raise Untrusted(Number.INTEGRITY, "the enclave did not take the proof")
        self._floors.note(shown.report, shown.claims.cluster_id)
        await self._look_back(session)
        return session

    async def _look_back(self, session: Session) -> None:
        """What this session shows follows what was seen before, and is kept. Raises `Untrusted`."""
        shown = session.shown
        if self._watch is not None:
            session.log = await self._watch.begin(
                shown.evidence, appraisal_of(shown).genuine, lambda request: self._round_trip(session, encode(request))
            )
        if self._standings is not None:
            # Now that the log has been shown to go with it.
            await asyncio.to_thread(self._standings.keep, shown.claims)

    async def _fetch_evidence(self) -> bytes:
        try:
            return await self._transport.evidence()
        except Untrusted as error:
            raise Untrusted(Number.EVIDENCE, error.reason) from None

    def _accept(self, evidence: bytes) -> Shown:
        verify_meant(evidence, self._role)
        appraisal = appraise(evidence, role=self._role, policy=self._policy, now=int(self._now()))
        genuine = appraisal.genuine
        self._floors.verify(genuine.report, genuine.claims.cluster_id)
        if self._standings is not None:
            self._standings.verify(genuine.claims)
        if self._watch is not None:
            self._watch.accept(genuine)
        return Shown(evidence, genuine.evidence_digest, genuine.claims, genuine.report, appraisal)

    async def _round_trip(self, session: Session, message: bytes) -> Message:
        async with self._places, session.window.turn():
            counter, frame = session.channel.seal(message)
            answer = await self._transport.frame(frame)
            try:
                _, plaintext = session.channel.open(answer)
            except (Misuse, Untrusted):
                what = "an answer was altered, repeated or taken from another session"
                raise Untrusted(Number.INTEGRITY, what) from None
        replies_to, reply = split_reply(plaintext)
        if replies_to != counter:
            raise Untrusted(Number.INTEGRITY, "the network gave the answer to another request")
        try:
            found: Message = decode(reply, self._replies, limit=MAX_MESSAGE)
        except Misuse as error:
            if error.number is Number.TOO_LARGE:
                raise
            raise Misuse(Number.UNSUPPORTED, "the enclave's answer is none that this version knows") from None
        return found


def appraisal_of(shown: Shown) -> Appraisal:
    if shown.appraisal is None:
        raise Untrusted(Number.EVIDENCE, f"this enclave is no member of a cluster, it is {shown.claims.stage}")
    return shown.appraisal


async def fetch_evidence(url: str) -> bytes:
    """The evidence that the server at `url` shows now, appraised by nobody yet."""
    transport = Transport(url)
    try:
        return await transport.evidence()
    except Unsealed as error:
        raise error.as_error() from None
    finally:
        await transport.aclose()
