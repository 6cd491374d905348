"""Device flow (RFC 8628), for where there is no browser. Off unless the method has a device audience (RULES 12).

Nonce and PKCE verifier cover the binding key, as in a browser: where the provider takes them (few say so), whoever
learns the device code, or the token, can't use either in another session. Others ignore them (RFC 6749 §3.1), so a
token without a nonce is taken here, and here only: the Authenticator has it from the provider itself.

Why its facts are marked phishable all the same: there is no redirect. Whoever starts a flow may send the code to
somebody else, who sees the real provider's real page, types it in, and has signed in the sender. All that binds the
flow binds it to the binding key that began it, which is the sender's. So builders of rules deny these facts unless
they are asked for by name.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from strongroom.enclave.authenticator.jwks import calling
from strongroom.enclave.authenticator.methods import find_audience
from strongroom.enclave.authenticator.oidc import Provider, ProviderError
from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.runtime.clock import lasts
from strongroom.enclave.runtime.egress import Egress, provider_deadline
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.evidence import Bytes32, Count, SigningPublicKey, UnixTime
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import bound_nonce
from strongroom.protocol.primitives import Domain
from strongroom.protocol.sign_in_messages import DeviceBegun

MAX_LIFE: Final = 900
MAX_POLLS: Final = 16_384
"""Flows whose next poll is remembered; the one polled longest ago is forgotten first."""
GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


class DeviceFlow(Message):
    """What a handle seals: whose flow it is, and the code that only the Authenticator may redeem."""

    binding_key: SigningPublicKey
    vault_cluster: Bytes32
    method: Bytes32
    expires_at: UnixTime
    device_code: Annotated[str, Meta(max_length=2048)]
    nonce: Annotated[str, Meta(max_length=43)]
    code_verifier: Annotated[str, Meta(max_length=43)]
    interval: Count
    """Seconds between polls, as the provider asked."""


class _Started(msgspec.Struct):
    device_code: Annotated[str, Meta(min_length=1, max_length=2048)]
    user_code: Annotated[str, Meta(min_length=1, max_length=64)]
    verification_uri: Annotated[str, Meta(max_length=512)]
    expires_in: int | float
    verification_uri_complete: Annotated[str, Meta(max_length=512)] = ""
    interval: Annotated[int, Meta(ge=1, le=60)] = 5


async def begin_device_flow(
    provider: Provider,
    egress: Egress,
    sealer: Sealer,
    *,
    binding_key: bytes,
    vault_cluster: bytes,
    salt: bytes,
    secret: bytes,
    now: int,
) -> DeviceBegun:
    """`salt` and `secret` are 32 fresh random bytes each. Raises `Misuse` UNKNOWN_METHOD when the method has no device
    audience or the provider no such flow, otherwise as `Provider.begin`."""
    audience = find_audience(provider.method, "device")
    nonce = bound_nonce(provider.digest, binding_key, salt)
    code_verifier = bound_nonce(provider.digest, binding_key, secret)  # as long as RFC 7636 §4.1 asks
    form = {
        "scope": provider.scope,
        "nonce": nonce,
        "code_challenge": urlsafe_b64encode(sha256(code_verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **provider.strength,
    }
    async with provider_deadline():
        url = (await provider.metadata()).device_authorization_endpoint
        if not url:
            raise Misuse(Number.UNKNOWN_METHOD, "the provider offers no device flow")
        started = await provider.post("device authorization", url, audience, form, _Started)
    # The client shows these to a person, or opens them.
    with calling("device authorization"):
        egress.verify_url(started.verification_uri)
        if started.verification_uri_complete:
            egress.verify_url(started.verification_uri_complete)
    if not started.user_code.isascii() or not started.user_code.isprintable() or not started.expires_in > 0:
        raise Unavailable(Number.PROVIDER_UNAVAILABLE, "device authorization: not a device flow")
    expires_at = now + int(min(started.expires_in, MAX_LIFE))
    flow = DeviceFlow(
        binding_key=binding_key,
        vault_cluster=vault_cluster,
        method=provider.digest,
        expires_at=expires_at,
        device_code=started.device_code,
        nonce=nonce,
        code_verifier=code_verifier,
        interval=started.interval,
    )
    return DeviceBegun(
        handle=sealer.seal(Domain.DEVICE_FLOW, flow),
        user_code=started.user_code,
        verification_uri=started.verification_uri,
        verification_uri_complete=started.verification_uri_complete,
        interval=started.interval,
        expires_at=expires_at,
    )


def verify_handle(sealer: Sealer, untrusted_handle: bytes, *, binding_key: bytes, now: int) -> DeviceFlow:
    """The flow behind a handle. Raises `Refused`, SIGN_IN_REFUSED when it has expired."""
    flow = sealer.open(Domain.DEVICE_FLOW, untrusted_handle, DeviceFlow)
    if flow.binding_key != binding_key:
        raise Refused(reason="somebody else's device flow")
    if not lasts(flow.expires_at, now, MAX_LIFE):
        raise Refused(Number.SIGN_IN_REFUSED, "the device flow has expired")
    return flow


class DevicePolls:
    """When each flow may be polled next. Else one stranger, polling as fast as he likes, would have the provider
    block this Authenticator for everybody. In memory only: what is forgotten costs one poll too many, no secret."""

    def __init__(self) -> None:
        self._next: OrderedDict[bytes, int] = OrderedDict()

    def verify_pace(self, handle: bytes, flow: DeviceFlow, now: int) -> None:
        """Takes this turn. Raises `Refused` SIGN_IN_PENDING when it comes too early. The handle is verified."""
        name = sha256(handle).digest()
        if lasts(self._next.get(name, 0), now, flow.interval):
            raise Refused(Number.SIGN_IN_PENDING)
        self._next[name] = now + flow.interval
        self._next.move_to_end(name)
        if len(self._next) > MAX_POLLS:
            self._next.popitem(last=False)


async def poll_device_flow(provider: Provider, flow: DeviceFlow) -> Fact:
    """Whom the user signed in as. Raises `Refused` SIGN_IN_PENDING or SIGN_IN_REFUSED, and as `Provider.redeem`."""
    audience = find_audience(provider.method, "device")
    try:
        async with provider_deadline():
            form = {"grant_type": GRANT, "device_code": flow.device_code, "code_verifier": flow.code_verifier}
            token = await provider.token(audience, form)
            return await provider.identify(token, audience, flow.nonce)
    except ProviderError as error:
        if error.reason in ("authorization_pending", "slow_down"):
            raise Refused(Number.SIGN_IN_PENDING) from None
        raise
