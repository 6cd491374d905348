"""What an Authenticator does for whoever opened a session with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from strongroom.enclave.authenticator.decisions import Judge, verify_vault
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.authenticator.sign_ins import SignIns
from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.events import Events
from strongroom.enclave.runtime.ring import Ring, RingDraft, SealedState
from strongroom.enclave.runtime.service import Caller, ServiceFacts
from strongroom.protocol.authenticator_messages import (
    AuthenticatorReply,
    AuthenticatorRequest,
    Decide,
    Enclose,
    Enclosed,
    Validate,
    Validated,
)
from strongroom.protocol.errors import Misuse, Number, StrongroomError
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.instructions import parse_instructions, parse_method
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.link import Put, Row
from strongroom.protocol.messages import Prove
from strongroom.protocol.primitives import Domain, digest, expand_key
from strongroom.protocol.rules import verify_rules
from strongroom.protocol.sign_in_messages import SignInReply, SignInRequest


class Rows(Protocol):
    """What the host keeps for it: `HostLink`."""

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]: ...

    async def commit(self, puts: Sequence[Put], size: int, leaves: Sequence[bytes]) -> None: ...


class AuthenticatorService:
    """Signs people in, validates instructions, and decides for appraised Vaults."""

    requests: Any = AuthenticatorRequest

    def __init__(
        self, platform: Platform, clock: Clock, ring: Ring, config: Mapping[str, str], egress: Egress, rows: Rows
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._rows = rows
        self._settings = digest(Domain.TICKET, *(part.encode() for item in sorted(config.items()) for part in item))
        self._egress = egress
        self._sealer = Sealer(platform, ring.cluster_id, self._ticket_key)
        self._judge = Judge(clock, self._sealer)
        self._sign_ins = SignIns(platform, clock, egress, self._sealer, ring.cluster_id)
        self._events = Events(clock)

    def _ticket_key(self) -> bytes:
        """Of the newest epoch: what is sealed lives an hour at most, so a new epoch costs a sign-in and leaves no old
        key in use. And of this configuration: a host must not have tickets issued by one that may call other
        destinations, and then start it as policies expect it."""
        return expand_key(self._ring.epochs[self._ring.epoch], Domain.TICKET, self._settings)

    async def start(self, state: SealedState) -> None:
        """An Authenticator keeps its ring and nothing else."""
        if state.draft is not None:
            await self.keep(state.draft, state.life)

    async def _write(self, draft: RingDraft) -> None:
        """An answer may be lost, or be a lie: the row itself tells whether it was written. Raises `StrongroomError`."""
        try:
            await self._rows.commit([draft.put], 0, [])
        except StrongroomError:
            row = (await self._rows.read([RING_KEY]))[0]
            if row is None or row.sealed != draft.row:
                raise

    async def survey(self, found: bytes) -> tuple[int, bytes]:
        return 0, b""

    async def keep(self, draft: RingDraft | None, life: Sequence[LifeLeaf]) -> None:
        """It has no log: what happened to the ring, its operator reads."""
        if draft is not None:
            await self._write(draft)
            self._ring.adopt(draft)
        for leaf in life:
            print(f"key ring: {leaf.event} {leaf.number} {leaf.text}".rstrip(), file=sys.stderr, flush=True)

    async def reseal(self) -> int:
        """It keeps nothing sealed: what it hands out lives an hour at most, and is of the newest epoch only."""
        return self._ring.epoch

    def facts(self) -> ServiceFacts:
        return ServiceFacts()

    def checkpoint(self) -> bytes:
        """It has no log either."""
        raise Misuse(Number.UNSUPPORTED)

    async def handle(self, caller: Caller, request: AuthenticatorRequest) -> AuthenticatorReply:
        """Answer one request of a proved session. Raises `StrongroomError`."""
        match request:
            case Decide():
                return await self._judge.decide(verify_vault(caller), request)
            case Validate():
                verify_vault(caller)
                return self._validate(request)
            case Enclose():
                # Anybody may describe and so obtain a capsule; only a Vault says what stands in it.
                return Enclosed(
                    capsule=self._sealer.seal_capsule(request.methods, verify_vault(caller), self._clock.now())
                )
            case Prove():
                raise Misuse(Number.MALFORMED, "a session is proved once, at its door")
            case _:
                return await self._sign_in(caller, request)

    async def _sign_in(self, caller: Caller, request: SignInRequest) -> SignInReply:
        try:
            return await self._sign_ins.handle(caller, request)
        except StrongroomError as error:
            # Strangers are told a number; the operator sees why: a provider that lies, an account that is locked.
            self._events.refused(request, error)
            raise

    def _validate(self, request: Validate) -> Validated:
        """Raises `Misuse` INSTRUCTIONS_INVALID, RULES_INVALID, METHOD_INVALID with the index of what is wrong."""
        instructions = parse_instructions(request.instructions)
        for index, definition in enumerate(instructions.methods):
            try:
                verify_method(parse_method(definition), self._egress)
            except Misuse as error:
                raise Misuse(error.number, error.reason, place=index) from None
        return Validated(permitted=verify_rules(instructions.rules).permitted)
