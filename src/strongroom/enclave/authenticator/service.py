"""What an Authenticator does for whoever opened a session with it."""

from __future__ import annotations

from typing import Any, Final

from strongroom.enclave.authenticator.decisions import Judge, verify_vault
from strongroom.enclave.authenticator.device import DevicePolls, begin_device_flow, poll_device_flow, verify_handle
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.authenticator.oidc import Provider, Providers
from strongroom.enclave.authenticator.tickets import Fact, Sealer
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.authenticator_messages import (
    AuthenticatorReply,
    AuthenticatorRequest,
    Begin,
    Decide,
    DeviceBegin,
    DevicePoll,
    Enclose,
    Enclosed,
    Redeem,
    SignedIn,
    Validate,
    Validated,
)
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import method_digest, parse_instructions, parse_method
from strongroom.protocol.messages import Prove
from strongroom.protocol.rules import verify_rules


class AuthenticatorService:
    """Signs people in, validates instructions, and decides for appraised Vaults."""

    requests: Any = AuthenticatorRequest

    def __init__(self, platform: Platform, clock: Clock, cluster_id: bytes, ticket_key: bytes) -> None:
        self._clock = clock
        self._egress: Final = Egress(platform)
        self._sealer = Sealer(platform, cluster_id, ticket_key)
        self._providers = Providers(self._egress, clock)
        self._polls = DevicePolls()
        self._judge = Judge(clock, self._sealer)

    async def handle(self, caller: Caller, request: AuthenticatorRequest) -> AuthenticatorReply:
        """Answer one request of a proved session. Raises `StrongroomError`."""
        match request:
            case Decide():
                return await self._judge.decide(verify_vault(caller), request)
            case Begin():
                provider = self._provider(request.capsule, request.vault_cluster, request.method)
                return await provider.begin(request.channel)
            case Redeem():
                if request.channel == "device":
                    raise Misuse(Number.MALFORMED, "the device channel is polled, not redeemed")
                provider = self._provider(request.capsule, request.vault_cluster, request.method)
                fact = await provider.redeem(request, caller.binding_key)
                return self._signed_in(caller, request.vault_cluster, fact)
            case DeviceBegin():
                return await begin_device_flow(
                    self._provider(request.capsule, request.vault_cluster, request.method),
                    self._egress,
                    self._sealer,
                    binding_key=caller.binding_key,
                    vault_cluster=request.vault_cluster,
                    now=self._clock.now(),
                )
            case DevicePoll():
                now = self._clock.now()
                flow = verify_handle(self._sealer, request.handle, binding_key=caller.binding_key, now=now)
                provider = self._provider(request.capsule, flow.vault_cluster, flow.method)
                self._polls.verify_pace(request.handle, flow, now)
                return self._signed_in(caller, flow.vault_cluster, await poll_device_flow(provider, flow))
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

    def _provider(self, capsule: bytes, vault_cluster: bytes, digest: bytes) -> Provider:
        """The method of this digest, which a Vault of that cluster gave to this Authenticator (RULES 9)."""
        for definition in self._sealer.open_capsule(capsule, vault_cluster, self._clock.now()):
            if method_digest(definition) == digest:
                return self._providers.get(digest, parse_method(definition))
        raise Misuse(Number.UNKNOWN_METHOD)

    def _signed_in(self, caller: Caller, vault_cluster: bytes, fact: Fact) -> SignedIn:
        ticket, expires_at = self._sealer.issue_ticket(caller.binding_key, vault_cluster, fact, self._clock.now())
        return SignedIn(ticket=ticket, expires_at=expires_at, subject=fact.subject, email=fact.email)

    def _validate(self, request: Validate) -> Validated:
        """Raises `Misuse` INSTRUCTIONS_INVALID, RULES_INVALID, METHOD_INVALID with the index of what is wrong."""
        instructions = parse_instructions(request.instructions)
        for index, definition in enumerate(instructions.methods):
            try:
                verify_method(parse_method(definition), self._egress)
            except Misuse as error:
                raise Misuse(error.number, error.reason, place=index) from None
        return Validated(permitted=verify_rules(instructions.rules).permitted)
