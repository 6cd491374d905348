"""Sign-in with an OpenID Connect provider: discovery, authorization code with PKCE, bound nonce.

Everything learnt from a provider is kept per complete definition (RULES 5), so one depositor's definition never
answers for another's. A ready-made ID token is never taken: the Authenticator redeems the code itself (RULES 11).
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec

from strongroom.enclave.authenticator.jwks import MAX_AGE, KeyCache, UnknownKey
from strongroom.enclave.authenticator.methods import find_audience, verify_method, verify_redirect
from strongroom.enclave.authenticator.tokens import Expected, verify_id_token
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Answer, Egress, provider_deadline
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Audience, Channel, OidcMethod, bound_nonce
from strongroom.protocol.sign_in_messages import Begun, Push, Pushed, Redeem

MAX_PROVIDERS: Final = 256
"""Definitions remembered; the one not used for longest is forgotten first."""

# RFC 6749 §5.2 and RFC 8628 §3.5: only known words are repeated, a provider's own text never.
_KNOWN_ERRORS: Final = (
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope", "authorization_pending", "slow_down", "access_denied", "expired_token",
)  # fmt: skip


class Metadata(msgspec.Struct):
    """Discovery (OpenID Connect Discovery 1.0 §3); what is not listed is not used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    device_authorization_endpoint: str = ""
    authorization_response_iss_parameter_supported: Any = False


class _TokenAnswer(msgspec.Struct):
    id_token: str


class _ErrorAnswer(msgspec.Struct):
    error: str


class ProviderError(Refused):
    """The provider said no, in the words of RFC 6749."""

    default = Number.SIGN_IN_REFUSED


class Provider:
    """One complete method definition and what is known of its provider."""

    def __init__(self, egress: Egress, clock: Clock, digest: bytes, method: OidcMethod) -> None:
        self.digest: Final = digest
        self.method: Final = method
        self._egress = egress
        self._clock = clock
        self._keys = KeyCache(egress, clock)
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._learnt_at = 0

    async def begin(self, channel: Channel) -> Begun:
        """How to send the user to the provider. Raises `Misuse` UNKNOWN_METHOD, `Refused`, `Unavailable`."""
        audience = find_audience(self.method, channel)
        async with provider_deadline():
            metadata = await self.metadata()
        # The client opens this address in a browser.
        self._egress.verify_url(metadata.authorization_endpoint)
        return Begun(
            issuer=metadata.issuer,
            authorization_endpoint=metadata.authorization_endpoint,
            client_id=audience.client_id,
            redirect_uri=audience.redirect_uri,
            scope=self.scope,
            iss_in_redirect=metadata.authorization_response_iss_parameter_supported is True,
            acr_values=" ".join(self.method.acr_values),
            max_age=self.method.max_age,
            pushed=self.method.pushed,
        )

    async def push(self, request: Push, binding_key: bytes) -> Pushed:
        """Push an authorization request. Raises as `begin` does."""
        raise Misuse(Number.UNSUPPORTED)

    async def redeem(self, request: Redeem, binding_key: bytes) -> Fact:
        """Redeem the code with the client's verifier and say whom the ID token names. Raises `Refused`
        SIGN_IN_REFUSED, `Untrusted` TOKEN_UNTRUSTED, `Unavailable`, and as `begin` does."""
        audience = find_audience(self.method, request.channel)
        verify_redirect(audience, request.redirect_uri)
        form = {
            "grant_type": "authorization_code",
            "code": request.code,
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.code_verifier,
        }
        async with provider_deadline():
            token = await self.token(audience, form)
            return await self.identify(token, audience, bound_nonce(self.digest, binding_key, request.salt))

    @property
    def scope(self) -> str:
        return " ".join(dict.fromkeys(["openid", *self.method.public.scopes]))

    async def metadata(self) -> Metadata:
        """The provider's discovery document, at most an hour old."""
        async with self._lock:
            age = self._clock.now() - self._learnt_at
            if self._metadata is None or not 0 <= age < MAX_AGE:
                self._metadata = None
                self._metadata = await self._discover()
                self._learnt_at = self._clock.now()
            return self._metadata

    async def token(self, audience: Audience, form: Mapping[str, str]) -> str:
        """The ID token (untrusted) that the token endpoint gives for `form`."""
        metadata = await self.metadata()
        answer = await self.post(metadata.token_endpoint, audience, form)
        return answer.parse(_TokenAnswer).id_token

    async def post(self, url: str, audience: Audience, form: Mapping[str, str]) -> Answer:
        """POST `form` as this client: `client_secret_basic`, or `client_id` alone for a public client. Raises
        `ProviderError` whose reason is the provider's error word, `Unavailable`."""
        secret, authorization = self.method.secret.client_secret, ""
        if secret:
            pair = f"{quote_plus(audience.client_id)}:{quote_plus(secret)}"
            authorization = "Basic " + b64encode(pair.encode()).decode("ascii")
        else:
            form = {**form, "client_id": audience.client_id}
        answer = await self._egress.post(url, form, authorization)
        if answer.status in (400, 401, 403):
            word = answer.parse(_ErrorAnswer).error
            raise ProviderError(reason=word if word in _KNOWN_ERRORS else "an error of its own")
        if answer.status != 200:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"status {answer.status}")
        return answer

    async def identify(self, untrusted_token: str, audience: Audience, nonce: str | None) -> Fact:
        """Whom the token names; keys are fetched anew once when the token's is not known."""
        expected = Expected(
            method=self.digest,
            issuer=self.method.public.issuer,
            client_id=audience.client_id,
            channel=audience.channel,
            algorithms=self.method.algorithms,
            email_domains=self.method.email_domains,
            nonce=nonce,
        )
        jwks_uri = (await self.metadata()).jwks_uri
        keys = await self._keys.current(jwks_uri)
        try:
            return verify_id_token(untrusted_token, keys, expected, self._clock.now())
        except UnknownKey:
            newer = await self._keys.refetched(jwks_uri, keys)
            if newer is keys:
                raise
            return verify_id_token(untrusted_token, newer, expected, self._clock.now())

    async def _discover(self) -> Metadata:
        issuer = self.method.public.issuer
        answer = await self._egress.get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if answer.status != 200:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"discovery: status {answer.status}")
        metadata = answer.parse(Metadata)
        if metadata.issuer != issuer:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "discovery: the document is another issuer's")
        return metadata


class Providers:
    """Providers by the digest of their complete definition."""

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock
        self._providers: OrderedDict[bytes, Provider] = OrderedDict()

    def get(self, digest: bytes, method: OidcMethod) -> Provider:
        """Raises `Misuse` METHOD_INVALID."""
        provider = self._providers.get(digest)
        if provider is None:
            verify_method(method, self._egress)
            provider = self._providers[digest] = Provider(self._egress, self._clock, digest, method)
        self._providers.move_to_end(digest)
        if len(self._providers) > MAX_PROVIDERS:
            self._providers.popitem(last=False)
        return provider
