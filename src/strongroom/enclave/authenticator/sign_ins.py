"""Signing people and programs in: every message of it, to the one part that knows the method."""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from strongroom.enclave.authenticator.ceremonies import begin_ceremony, verify_ceremony
from strongroom.enclave.authenticator.codes import Codes
from strongroom.enclave.authenticator.device import DevicePolls, begin_device_flow, poll_device_flow, verify_handle
from strongroom.enclave.authenticator.directory import Directories
from strongroom.enclave.authenticator.enclaves import verify_quote_of_workload
from strongroom.enclave.authenticator.keys import verify_key_signature
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.authenticator.oidc import Provider, Providers
from strongroom.enclave.authenticator.passkeys import verify_assertion
from strongroom.enclave.authenticator.provider_calls import ProviderCalls
from strongroom.enclave.authenticator.tickets import SALT, Sealer, TicketContents
from strongroom.enclave.authenticator.workloads import Workloads
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import (
    CodeMethod,
    DirectoryMethod,
    EnclaveMethod,
    KeysMethod,
    Method,
    OidcMethod,
    PasskeyMethod,
    WorkloadMethod,
    method_digest,
    parse_method,
)
from strongroom.protocol.messages import Ticket
from strongroom.protocol.sign_in_messages import (
    Begin,
    Challenge,
    CodeBegin,
    CodeSignIn,
    DeviceBegin,
    DevicePoll,
    EnclaveSignIn,
    KeySignIn,
    PasskeySignIn,
    PasswordSignIn,
    Push,
    Redeem,
    SignedIn,
    SignInReply,
    SignInRequest,
    TokenSignIn,
)

M = TypeVar("M", bound=Method)


class SignIns:
    """Sign-ins by methods that Vaults gave to this Authenticator in capsules (RULES 9)."""

    def __init__(self, platform: Platform, clock: Clock, egress: Egress, sealer: Sealer, cluster_id: bytes) -> None:
        self._platform = platform
        self._clock = clock
        self._egress: Final = egress
        self._sealer = sealer
        self._providers = Providers(egress, clock)
        self._polls = DevicePolls()
        self._directories = Directories(egress, clock)
        self._workloads = Workloads(egress, clock, cluster_id)
        self._codes = Codes(platform, egress, clock, sealer)
        self._calls = ProviderCalls(clock)

    async def handle(self, caller: Caller, request: SignInRequest) -> SignInReply:
        """Answer one request of a proved session. Raises `StrongroomError`."""
        match request:
            case Begin():
                return await self._provider(request).begin(request.channel)
            case Push():
                provider = self._provider(request)
                self._calls.take(request.method, caller.binding_key)
                return await provider.push(request, caller.binding_key)
            case DeviceBegin():
                provider = self._provider(request)
                self._calls.take(request.method, caller.binding_key)
                return await begin_device_flow(
                    provider,
                    self._egress,
                    self._sealer,
                    binding_key=caller.binding_key,
                    vault_cluster=request.vault_cluster,
                    salt=self._platform.random(SALT),
                    secret=self._platform.random(SALT),
                    now=self._clock.now(),
                )
            case Challenge():
                self._method(request.capsule, request.vault_cluster, request.method)
                return begin_ceremony(
                    self._sealer,
                    method=request.method,
                    binding_key=caller.binding_key,
                    vault_cluster=request.vault_cluster,
                    salt=self._platform.random(SALT),
                    now=self._clock.now(),
                )
            case CodeBegin():
                return await self._codes.begin(
                    request.method,
                    self._method_of(CodeMethod, request.capsule, request.vault_cluster, request.method),
                    request.email,
                    binding_key=caller.binding_key,
                    vault_cluster=request.vault_cluster,
                )
            case Redeem() | PasswordSignIn() | TokenSignIn():
                # First, since a code can be redeemed once only.
                earlier = self._earlier(caller, request.vault_cluster, request.with_ticket)
                fact = await self._ask_provider(caller, request)
                return self._signed_in(caller, request.vault_cluster, fact, earlier)
            case PasskeySignIn() | KeySignIn() | EnclaveSignIn():
                return self._answer_challenge(caller, request)
            case DevicePoll():
                return await self._poll(caller, request)
            case CodeSignIn():
                sent = self._codes.verify_handle(request.handle, caller.binding_key)
                earlier = self._earlier(caller, sent.vault_cluster, request.with_ticket)
                # Still what the record says: who takes an address off its list has taken it off.
                self._method_of(CodeMethod, request.capsule, sent.vault_cluster, sent.method)
                return self._signed_in(caller, sent.vault_cluster, self._codes.sign_in(sent, request.code), earlier)

    async def _ask_provider(self, caller: Caller, request: Redeem | PasswordSignIn | TokenSignIn) -> Fact:
        match request:
            case Redeem():
                if request.channel == "device":
                    raise Misuse(Number.MALFORMED, "the device channel is polled, not redeemed")
                provider = self._provider(request)
                self._calls.take(request.method, caller.binding_key)
                fact = await provider.redeem(request, caller.binding_key)
                self._calls.signed_in(request.method, caller.binding_key)
                return fact
            case TokenSignIn():
                workload = self._method_of(WorkloadMethod, request.capsule, request.vault_cluster, request.method)
                return await self._workloads.sign_in(request.method, workload, request.token, caller.binding_key)
            case PasswordSignIn():
                directory = self._method_of(DirectoryMethod, request.capsule, request.vault_cluster, request.method)
                return await self._directories.sign_in(
                    request.method, directory, request.user, request.password, caller.binding_key
                )

    def _answer_challenge(self, caller: Caller, request: PasskeySignIn | KeySignIn | EnclaveSignIn) -> SignedIn:
        now = self._clock.now()
        ceremony = verify_ceremony(self._sealer, request.handle, binding_key=caller.binding_key, now=now)
        earlier = self._earlier(caller, ceremony.vault_cluster, request.with_ticket)
        method = self._method(request.capsule, ceremony.vault_cluster, ceremony.method)
        match request, method:
            case PasskeySignIn(), PasskeyMethod():
                fact = verify_assertion(request, method, ceremony)
            case KeySignIn(), KeysMethod():
                fact = verify_key_signature(request, method, ceremony)
            case EnclaveSignIn(), EnclaveMethod():
                fact = verify_quote_of_workload(request, method, ceremony, now)
            case _:
                raise Misuse(Number.UNKNOWN_METHOD, "the method is of another kind")
        fresh = replace(fact, auth_time=ceremony.begun_at)
        return self._signed_in(caller, ceremony.vault_cluster, fresh, earlier)

    async def _poll(self, caller: Caller, request: DevicePoll) -> SignedIn:
        now = self._clock.now()
        flow = verify_handle(self._sealer, request.handle, binding_key=caller.binding_key, now=now)
        method = self._method_of(OidcMethod, request.capsule, flow.vault_cluster, flow.method)
        provider = self._providers.get(flow.method, method)
        self._polls.verify_pace(request.handle, flow, now)
        fact = await poll_device_flow(provider, flow)
        self._calls.signed_in(flow.method, caller.binding_key)
        return self._signed_in(caller, flow.vault_cluster, fact)

    def _provider(self, request: Begin | Push | Redeem | DeviceBegin) -> Provider:
        method = self._method_of(OidcMethod, request.capsule, request.vault_cluster, request.method)
        return self._providers.get(request.method, method)

    def _method_of(self, kind: type[M], capsule: bytes, vault_cluster: bytes, untrusted_digest: bytes) -> M:
        """As `_method`, of one kind."""
        method = self._method(capsule, vault_cluster, untrusted_digest)
        if not isinstance(method, kind):
            raise Misuse(Number.UNKNOWN_METHOD, "the method is of another kind")
        return method

    def _method(self, capsule: bytes, vault_cluster: bytes, untrusted_digest: bytes) -> Method:
        """The method of this digest, which a Vault of that cluster gave to this Authenticator (RULES 9). Raises
        `Misuse` UNKNOWN_METHOD and METHOD_INVALID, and as `Sealer.open_capsule` does."""
        for definition in self._sealer.open_capsule(capsule, vault_cluster, self._clock.now()):
            if method_digest(definition) == untrusted_digest:
                method = parse_method(definition)
                verify_method(method, self._egress)
                return method
        raise Misuse(Number.UNKNOWN_METHOD)

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
