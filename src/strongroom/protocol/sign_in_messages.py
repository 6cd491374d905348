"""Messages of clients that sign in with an Authenticator (`spec/messages.md`). Field order is wire order."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from strongroom.protocol.evidence import Bytes32, Count, PlatformKind, ShortText, UnixTime
from strongroom.protocol.instructions import Channel, Url
from strongroom.protocol.limits import MAX_TICKET
from strongroom.protocol.messages import Capsule, Tagged, Ticket

Handle = Annotated[bytes, Meta(max_length=MAX_TICKET)]
"""What the Authenticator sealed to itself about a sign-in that has begun, for this binding key alone."""


class Begin(Tagged, tag="begin"):
    """Ask how to send the user to the provider of `method`, on `channel`."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32
    channel: Channel


class Begun(Tagged, tag="begun"):
    """What the client needs to build the authorization request; the nonce it derives itself."""

    issuer: Url
    authorization_endpoint: Url
    client_id: ShortText
    redirect_uri: Url
    scope: Annotated[str, Meta(max_length=2048)]
    iss_in_redirect: bool
    """True: the redirect must carry `iss` (RFC 9207)."""
    acr_values: Annotated[str, Meta(max_length=2304)]
    """Separated by spaces; empty: none are asked for."""
    max_age: Count
    """Seconds; 0: not asked for."""
    pushed: bool
    """True: the request is not for the browser to carry. Send it by `push`."""


class Push(Tagged, tag="push"):
    """Push an authorization request to the provider (RFC 9126)."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32
    channel: Channel
    redirect_uri: Url
    state: Annotated[str, Meta(min_length=1, max_length=128)]
    salt: Bytes32
    """As of `redeem`, which it is the same for."""
    code_challenge: Annotated[str, Meta(min_length=43, max_length=43)]
    """S256 (RFC 7636)."""
    anew: bool
    """True: the provider is to ask who it is, whatever its own session says (`prompt=login`)."""


class Pushed(Tagged, tag="pushed"):
    """What stands in the browser's request in place of everything but `client_id`."""

    request_uri: Url


class Redeem(Tagged, tag="redeem"):
    """Redeem an authorization code. Ready-made ID tokens are never taken (RULES 11)."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32
    channel: Channel
    redirect_uri: Url
    code: Annotated[str, Meta(min_length=1, max_length=4096)]
    code_verifier: Annotated[str, Meta(min_length=43, max_length=128)]
    salt: Bytes32
    """With method digest and binding key it gives the nonce."""
    with_ticket: Ticket | None
    """Of this Authenticator, binding key and Vault cluster: the new one holds its facts, too, and expires no later."""


class SignedIn(Tagged, tag="signed-in"):
    """A ticket, and whom it names, to show to the user."""

    ticket: Ticket
    expires_at: UnixTime
    subject: ShortText
    email: ShortText
    """Verified address, or empty."""


class DeviceBegin(Tagged, tag="device-begin"):
    """Start a device flow (RFC 8628), run by the Authenticator; only when the method has a device audience."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32


class DeviceBegun(Tagged, tag="device-begun"):
    """What to show to the user, and a handle bound to this binding key for `device-poll`."""

    handle: Handle
    user_code: ShortText
    verification_uri: Url
    verification_uri_complete: Url
    interval: Count
    """Seconds between polls."""
    expires_at: UnixTime


class DevicePoll(Tagged, tag="device-poll"):
    """Answered `signed-in`, or error SIGN_IN_PENDING."""

    capsule: Capsule
    handle: Handle


class Challenge(Tagged, tag="challenge"):
    """Start a sign-in with a passkey, a key or an enclave's evidence."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32


class Challenged(Tagged, tag="challenged"):
    """Of what the challenge is made (`instructions.sign_in_challenge`): the client computes it with its own binding
    key, so that nobody has it answer for another session. Counts for five minutes."""

    handle: Handle
    salt: Bytes32


class PasskeySignIn(Tagged, tag="passkey-sign-in"):
    """An assertion (WebAuthn §6.3.3), as the browser gave it."""

    capsule: Capsule
    handle: Handle
    credential_id: Annotated[bytes, Meta(min_length=1, max_length=1023)]
    authenticator_data: Annotated[bytes, Meta(max_length=1024)]
    client_data: Annotated[bytes, Meta(max_length=4096)]
    """clientDataJSON."""
    signature: Annotated[bytes, Meta(max_length=1024)]
    with_ticket: Ticket | None
    """As of `redeem`."""


class KeySignIn(Tagged, tag="key-sign-in"):
    """A signature over the challenge (OpenSSH's PROTOCOL.sshsig, namespace `strongroom`, hash sha512)."""

    capsule: Capsule
    handle: Handle
    public_key: Annotated[bytes, Meta(min_length=1, max_length=512)]
    signature: Annotated[bytes, Meta(min_length=1, max_length=1024)]
    """The `signature` field of the blob that ssh-keygen writes: its type, and what that type holds."""
    with_ticket: Ticket | None
    """As of `redeem`."""


class EnclaveSignIn(Tagged, tag="enclave-sign-in"):
    """A quote whose 64 bytes of report data are the challenge ‖ 32 zero bytes."""

    capsule: Capsule
    handle: Handle
    kind: PlatformKind
    quote: Annotated[bytes, Meta(max_length=32 * 1024)]
    collateral: Annotated[bytes, Meta(max_length=64 * 1024)]
    """As in `Evidence`."""
    with_ticket: Ticket | None
    """As of `redeem`."""


class PasswordSignIn(Tagged, tag="password-sign-in"):
    """User name and password of a directory. Sent only where the user has approved of both places (RULES 14)."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32
    user: Annotated[str, Meta(min_length=1, max_length=256)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    with_ticket: Ticket | None
    """As of `redeem`."""


class TokenSignIn(Tagged, tag="token-sign-in"):
    """A workload's token, as its platform gave it."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32
    token: Annotated[str, Meta(min_length=1, max_length=16 * 1024)]
    with_ticket: Ticket | None
    """As of `redeem`."""


class CodeBegin(Tagged, tag="code-begin"):
    """Have a code sent to an address that the method names. Who asks for another one is answered alike."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32
    email: ShortText


class CodeBegun(Tagged, tag="code-begun"):
    """A code is on its way, if one may be sent; counts for this binding key, ten minutes, five tries, once."""

    handle: Handle
    expires_at: UnixTime


class CodeSignIn(Tagged, tag="code-sign-in"):
    """The code that came by e-mail."""

    capsule: Capsule
    handle: Handle
    code: Annotated[str, Meta(min_length=8, max_length=8)]
    with_ticket: Ticket | None
    """As of `redeem`."""


SignInRequest = (
    Begin
    | Push
    | Redeem
    | DeviceBegin
    | DevicePoll
    | Challenge
    | PasskeySignIn
    | KeySignIn
    | EnclaveSignIn
    | PasswordSignIn
    | TokenSignIn
    | CodeBegin
    | CodeSignIn
)
SignInReply = Begun | Pushed | DeviceBegun | Challenged | CodeBegun | SignedIn
