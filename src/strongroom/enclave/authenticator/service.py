"""What an Authenticator does for whoever opened a session with it."""

from __future__ import annotations

from typing import Any, Final

from strongroom.enclave.authenticator.decisions import Judge, verify_vault
from strongroom.enclave.authenticator.device import DevicePolls, begin_device_flow, poll_device_flow, verify_handle
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.authenticator.oidc import Provider, Providers
from strongroom.enclave.authenticator.passkeys import begin_ceremony, verify_assertion, verify_ceremony
from strongroom.enclave.authenticator.tickets import SALT, Fact, Sealer, TicketContents
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
    PasskeyBegin,
    PasskeyBegun,
    PasskeySignIn,
    Redeem,
    SignedIn,
    Validate,
    Validated,
)
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import (
    Method,
    OidcMethod,
    PasskeyMethod,
    method_digest,
    parse_instructions,
    parse_method,
)
from strongroom.protocol.messages import Prove, Ticket
from strongroom.protocol.rules import verify_rules


class AuthenticatorService:
    """Signs people in, validates instructions, and decides for appraised Vaults."""

    requests: Any = AuthenticatorRequest

    def __init__(self, platform: Platform, clock: Clock, cluster_id: bytes, ticket_key: bytes) -> None:
        self._platform = platform
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
                # First, since a code can be redeemed once only.
                earlier = self._earlier(caller, request.vault_cluster, request.with_ticket)
                provider = self._provider(request.capsule, request.vault_cluster, request.method)
                fact = await provider.redeem(request, caller.binding_key)
                return self._signed_in(caller, request.vault_cluster, fact, earlier)
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
            case PasskeyBegin():
                return self._begin_passkey(caller, request)
            case PasskeySignIn():
                return self._passkey_sign_in(caller, request)
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
        method = self._method(capsule, vault_cluster, digest)
        if not isinstance(method, OidcMethod):
            raise Misuse(Number.UNKNOWN_METHOD, "the method has no provider")
        return self._providers.get(digest, method)

    def _passkeys(self, capsule: bytes, vault_cluster: bytes, digest: bytes) -> PasskeyMethod:
        """As `_provider`, of a passkey method. Raises `Misuse` METHOD_INVALID, too."""
        method = self._method(capsule, vault_cluster, digest)
        if not isinstance(method, PasskeyMethod):
            raise Misuse(Number.UNKNOWN_METHOD, "the method has no passkeys")
        verify_method(method, self._egress)
        return method

    def _method(self, capsule: bytes, vault_cluster: bytes, digest: bytes) -> Method:
        """The method of this digest, which a Vault of that cluster gave to this Authenticator (RULES 9)."""
        for definition in self._sealer.open_capsule(capsule, vault_cluster, self._clock.now()):
            if method_digest(definition) == digest:
                return parse_method(definition)
        raise Misuse(Number.UNKNOWN_METHOD)

    def _begin_passkey(self, caller: Caller, request: PasskeyBegin) -> PasskeyBegun:
        self._passkeys(request.capsule, request.vault_cluster, request.method)
        return begin_ceremony(
            self._sealer,
            method=request.method,
            binding_key=caller.binding_key,
            vault_cluster=request.vault_cluster,
            salt=self._platform.random(SALT),
            now=self._clock.now(),
        )

    def _passkey_sign_in(self, caller: Caller, request: PasskeySignIn) -> SignedIn:
        now = self._clock.now()
        ceremony = verify_ceremony(self._sealer, request.handle, binding_key=caller.binding_key, now=now)
        earlier = self._earlier(caller, ceremony.vault_cluster, request.with_ticket)
        method = self._passkeys(request.capsule, ceremony.vault_cluster, ceremony.method)
        fact = verify_assertion(request, method, ceremony)
        return self._signed_in(caller, ceremony.vault_cluster, fact, earlier)

    def _earlier(self, caller: Caller, vault_cluster: bytes, ticket: Ticket | None) -> TicketContents | None:
        """What the ticket says that the new one shall say, too. Raises as `Sealer.open_ticket` does."""
        if ticket is None:
            return None
        now = self._clock.now()
        return self._sealer.open_ticket(ticket, binding_key=caller.binding_key, vault_cluster=vault_cluster, now=now)

    def _signed_in(
        self, caller: Caller, vault_cluster: bytes, fact: Fact, earlier: TicketContents | None = None
    ) -> SignedIn:
        now = self._clock.now()
        ticket, expires_at = self._sealer.issue_ticket(caller.binding_key, vault_cluster, fact, now, earlier)
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
