"""Messages of an Authenticator: sign-in by clients, decisions for Vaults (`spec/messages.md`)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes16, Bytes32, Count, ShortText, SigningPublicKey, UnixTime
from strongroom.protocol.instructions import Action, Channel, Url
from strongroom.protocol.limits import MAX_BATCH, MAX_METHODS, MAX_RULES, MAX_TICKET
from strongroom.protocol.messages import (
    Capsule,
    Error,
    ErrorNumber,
    InstructionsBytes,
    MethodBytes,
    Prove,
    Proved,
    Tagged,
    Ticket,
)
from strongroom.protocol.primitives import Domain, digest

# --- client to Authenticator ----------------------------------------------------------------------------------


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

    handle: Annotated[bytes, Meta(max_length=MAX_TICKET)]
    user_code: ShortText
    verification_uri: Url
    verification_uri_complete: Url
    interval: Count
    """Seconds between polls."""
    expires_at: UnixTime


class DevicePoll(Tagged, tag="device-poll"):
    """Answered `signed-in`, or error SIGN_IN_PENDING."""

    capsule: Capsule
    handle: Annotated[bytes, Meta(max_length=MAX_TICKET)]


class PasskeyBegin(Tagged, tag="passkey-begin"):
    """Start a sign-in with a passkey."""

    vault_cluster: Bytes32
    capsule: Capsule
    method: Bytes32


class PasskeyBegun(Tagged, tag="passkey-begun"):
    """What the assertion must be made over; counts for this binding key, a few minutes."""

    handle: Annotated[bytes, Meta(max_length=MAX_TICKET)]
    challenge: Bytes32


class PasskeySignIn(Tagged, tag="passkey-sign-in"):
    """An assertion (WebAuthn §6.3.3), as the browser gave it."""

    capsule: Capsule
    handle: Annotated[bytes, Meta(max_length=MAX_TICKET)]
    credential_id: Annotated[bytes, Meta(min_length=1, max_length=1023)]
    authenticator_data: Annotated[bytes, Meta(max_length=1024)]
    client_data: Annotated[bytes, Meta(max_length=4096)]
    """clientDataJSON."""
    signature: Annotated[bytes, Meta(max_length=1024)]
    with_ticket: Ticket | None
    """As of `redeem`."""


# --- Vault to Authenticator -----------------------------------------------------------------------------------


class RecordRef(Message):
    """A record as the Authenticator knows it: a keyed hash, never a name."""

    handle: Bytes32
    version: Count


class RecordFacts(Message):
    """What the Vault says about a record: `context.record` of the rules."""

    kind: Literal["secret", "namespace"]
    depositor: Annotated[str, Meta(max_length=512)]
    """Principal id of who stored it."""


class DecisionRequest(Message):
    """Exactly what an answer covers (RULES 15)."""

    request_id: Bytes16
    vault_cluster: Bytes32
    binding_key: SigningPublicKey
    action: Action
    rules_digest: Bytes32
    instructions_digest: Bytes32
    context_digest: Bytes32
    records: Annotated[list[RecordRef], Meta(min_length=1, max_length=MAX_BATCH)]


class DecideItem(Message):
    """A decision request and what it digests."""

    request: Annotated[bytes, Meta(max_length=64 * 1024)]
    """Encoded `DecisionRequest`."""
    schema_version: Count
    rules: Annotated[str, Meta(max_length=MAX_RULES)]
    methods: Annotated[list[Bytes32], Meta(max_length=MAX_METHODS)]
    """Digests of the methods that stand in the record's instructions."""
    facts: Annotated[bytes, Meta(max_length=4 * 1024)]
    """Encoded `RecordFacts`."""
    ticket: Ticket


class Decide(Tagged, tag="decide"):
    """Several independent requests of one Vault in one frame."""

    items: Annotated[list[DecideItem], Meta(min_length=1, max_length=MAX_BATCH)]


class Identity(Message):
    """Who was recognised: the Cedar principal is method digest and stable subject (RULES 9)."""

    method: Bytes32
    subject: ShortText
    email: ShortText
    """Verified address, or empty: for the journal of the record, never for a decision of the Vault."""

    @property
    def principal(self) -> str:
        """Principal id as rules and the access log write it."""
        return f"{self.method.hex()}:{self.subject}"


class Decision(Message):
    """The answer to one decision request."""

    request_digest: Bytes32
    number: ErrorNumber
    """0 is OK. Everything else is not: REFUSED, TICKET_EXPIRED, TICKET_MISSING, UNSUPPORTED, CLOCK …"""
    identity: Identity | None
    """Whom the ticket names, also when refused; None when the ticket was not accepted."""


class Decisions(Tagged, tag="decisions"):
    """In the order of the items."""

    decisions: list[Decision]


class Validate(Tagged, tag="validate"):
    """At `store`: are rules and methods valid, and which actions can anybody be permitted? (RULES 16)"""

    instructions: InstructionsBytes


class Validated(Tagged, tag="validated"):
    """Valid. Errors are RULES_INVALID or METHOD_INVALID with the place: policy or method."""

    permitted: Annotated[list[Action], Meta(max_length=16)]
    """Sorted: actions that some policy permits to somebody."""


class Enclose(Tagged, tag="enclose"):
    """At `describe`: seal these complete definitions, so that the client can carry them here (RULES 9)."""

    methods: Annotated[list[MethodBytes], Meta(min_length=1, max_length=MAX_METHODS)]


class Enclosed(Tagged, tag="enclosed"):
    """Opaque to everybody but this Authenticator's cluster; names the Vault cluster of the session that asked."""

    capsule: Capsule


AuthenticatorRequest = (
    Prove | Begin | Redeem | DeviceBegin | DevicePoll | PasskeyBegin | PasskeySignIn | Decide | Validate | Enclose
)
AuthenticatorReply = Proved | Begun | SignedIn | DeviceBegun | PasskeyBegun | Decisions | Validated | Enclosed | Error


def decision_digest(request: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of a decision request: what the answer repeats."""
    return digest(Domain.DECISION, request)


def context_digest(facts: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of record facts."""
    return digest(Domain.CONTEXT, facts)
