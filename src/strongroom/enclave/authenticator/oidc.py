"""Sign-in with an OpenID Connect provider: authorization code with PKCE, bound nonce, pushed requests.

Everything learnt from a provider is kept per complete definition (RULES 5), so one depositor's definition never
answers for another's. A ready-made ID token is never taken: the Authenticator redeems the code itself (RULES 11).
"""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote_plus

import msgspec
from msgspec import Meta

from strongroom.enclave.authenticator import jwks
from strongroom.enclave.authenticator.jwks import Discovery, KeyCache, calling
from strongroom.enclave.authenticator.methods import find_audience, verify_method, verify_redirect
from strongroom.enclave.authenticator.tokens import Expected, verify_id_token
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress, provider_deadline
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Audience, Channel, OidcMethod, bound_nonce
from strongroom.protocol.sign_in_messages import Begun, Push, Pushed, Redeem

MAX_PROVIDERS: Final = 256
"""Definitions remembered; the one not used for longest is forgotten first."""

# RFC 6749 §4.1.2.1 and §5.2, RFC 8628 §3.5, OpenID Connect Core Unmet Authentication Requirements §2: only known words
# are repeated, a provider's own text never.
_KNOWN_ERRORS: Final = (
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope", "authorization_pending", "slow_down", "access_denied", "expired_token",
    "unsupported_response_type", "unmet_authentication_requirements",
)  # fmt: skip

T = TypeVar("T")


class Metadata(jwks.Metadata):
    """Discovery of a provider that signs people in."""

    authorization_endpoint: str
    token_endpoint: str
    device_authorization_endpoint: str = ""
    pushed_authorization_request_endpoint: str = ""
    require_pushed_authorization_requests: Any = False
    authorization_response_iss_parameter_supported: Any = False


class _TokenAnswer(msgspec.Struct):
    id_token: str


class _PushedAnswer(msgspec.Struct):
    request_uri: Annotated[str, Meta(pattern=r"\A[!-~]{1,512}\Z")]


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
        self._calls = egress.of(digest)
        self._clock = clock
        self._discovery = Discovery(self._calls, clock, method.public.issuer, Metadata)
        self._keys = KeyCache(self._calls, clock)

    async def begin(self, channel: Channel) -> Begun:
        """How to send the user to the provider. Raises `Misuse` UNKNOWN_METHOD, `Refused`, `Unavailable`."""
        audience = find_audience(self.method, channel)
        async with provider_deadline():
            metadata = await self.metadata()
        # The client opens this address in a browser.
        with calling("authorization endpoint"):
            self._egress.verify_url(metadata.authorization_endpoint)
        pushed = self.method.pushed or metadata.require_pushed_authorization_requests is True
        if pushed:
            _push_endpoint(metadata)
        return Begun(
            issuer=metadata.issuer,
            authorization_endpoint=metadata.authorization_endpoint,
            client_id=audience.client_id,
            redirect_uri=audience.redirect_uri,
            scope=self.scope,
            iss_in_redirect=metadata.authorization_response_iss_parameter_supported is True,
            acr_values=" ".join(self.method.acr_values),
            max_age=self.method.max_age,
            pushed=pushed,
        )

    async def push(self, request: Push, binding_key: bytes) -> Pushed:
        """Hand the provider the authorization request itself (RFC 9126), so that nobody at the browser reads or alters
        it, and the nonce is computed here. Raises `Refused` SIGN_IN_REFUSED, and as `begin` does."""
        if request.channel == "device":
            raise Misuse(Number.MALFORMED, "the device channel has no authorization request")
        audience = find_audience(self.method, request.channel)
        verify_redirect(audience, request.redirect_uri)
        form = {
            "client_id": audience.client_id,
            "response_type": "code",
            "redirect_uri": request.redirect_uri,
            "scope": self.scope,
            "state": request.state,
            "nonce": bound_nonce(self.digest, binding_key, request.salt),
            "code_challenge": request.code_challenge,
            "code_challenge_method": "S256",
            **self.strength,
            **({"prompt": "login"} if request.anew else {}),
        }
        async with provider_deadline():
            endpoint = _push_endpoint(await self.metadata())
            answer = await self.post("pushed request", endpoint, audience, form, _PushedAnswer)
            return Pushed(request_uri=answer.request_uri)

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

    @property
    def strength(self) -> dict[str, str]:
        """Parameters that ask for the sign-in that the token must then prove."""
        asked = {"acr_values": " ".join(self.method.acr_values), "max_age": str(self.method.max_age or "")}
        return {name: value for name, value in asked.items() if value}

    async def metadata(self) -> Metadata:
        """The provider's discovery document. Raises as `Discovery.current` does."""
        return await self._discovery.current()

    async def token(self, audience: Audience, form: Mapping[str, str]) -> str:
        """The ID token (untrusted) that the token endpoint gives for `form`."""
        metadata = await self.metadata()
        answer = await self.post("token endpoint", metadata.token_endpoint, audience, form, _TokenAnswer)
        return answer.id_token

    async def post(self, part: str, url: str, audience: Audience, form: Mapping[str, str], kind: type[T]) -> T:
        """The answer to `form`, sent as this client: `client_secret_basic`, or `client_id` alone for a public client.
        Raises `ProviderError` whose reason is the provider's error word; of others the reason names the `part`."""
        secret, authorization = self.method.secret.client_secret, ""
        if secret:
            pair = f"{quote_plus(audience.client_id)}:{quote_plus(secret)}"
            authorization = "Basic " + b64encode(pair.encode()).decode("ascii")
        else:
            form = {**form, "client_id": audience.client_id}
        with calling(part):
            answer = await self._calls.post(url, form, authorization)
            if answer.status in (200, 201):  # 201: of a pushed request
                return answer.parse(kind)
            if answer.status not in (400, 401, 403):
                raise Unavailable(Number.PROVIDER_UNAVAILABLE, f"status {answer.status}")
            word = answer.parse(_ErrorAnswer).error
        raise ProviderError(reason=word if word in _KNOWN_ERRORS else "an error of its own")

    async def identify(self, untrusted_token: str, audience: Audience, nonce: str) -> Fact:
        """Whom the token names. Raises `Untrusted` TOKEN_UNTRUSTED, and what fetching keys raises."""
        expected = Expected(
            method=self.digest,
            issuer=self.method.public.issuer,
            client_id=audience.client_id,
            channel=audience.channel,
            algorithms=self.method.algorithms,
            email_domains=self.method.email_domains,
            acr_values=self.method.acr_values,
            max_age=self.method.max_age,
            nonce=nonce,
        )
        jwks_uri = (await self.metadata()).jwks_uri
        return await self._keys.verified(
            jwks_uri, lambda keys: verify_id_token(untrusted_token, keys, expected, self._clock.now())
        )


def _push_endpoint(metadata: Metadata) -> str:
    """Raises `Misuse` UNKNOWN_METHOD when there is none."""
    if not metadata.pushed_authorization_request_endpoint:
        raise Misuse(Number.UNKNOWN_METHOD, "the provider takes no pushed requests; the method asks for them")
    return metadata.pushed_authorization_request_endpoint


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
