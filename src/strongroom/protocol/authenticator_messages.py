"""Messages of an Authenticator and the Vaults that ask it (`spec/messages.md`). Field order is wire order."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes16, Bytes32, Count, ShortText, SigningPublicKey, UnixTime
from strongroom.protocol.instructions import Action
from strongroom.protocol.limits import MAX_APPROVERS, MAX_BATCH, MAX_METHODS, MAX_RULES, MAX_SIGN_INS
from strongroom.protocol.messages import (
    Capsule,
    Error,
    ErrorNumber,
    InstructionsBytes,
    MethodBytes,
    Principal,
    Prove,
    Proved,
    Tagged,
    Ticket,
)
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.sign_in_messages import SignInReply, SignInRequest


class RecordRef(Message):
    """A record as the Authenticator knows it: a keyed hash, never a name."""

    handle: Bytes32
    version: Count


class RecordFacts(Message):
    """What the Vault says about a record: `context.record` of the rules."""

    kind: Literal["secret", "namespace"]
    depositor: Annotated[str, Meta(max_length=512)]
    """Principal id of who stored it."""
    approvals: Annotated[list[Principal], Meta(max_length=MAX_APPROVERS)]
    """Sorted, each once: who approved that this binding key does this action at this version, and is not yet used."""
    idle_days: Count | None
    """Whole days since whoever stored it was last permitted anything; None where no rule asks, or nobody can tell."""
    time: UnixTime | None
    """Witnessed time (RULES 24), never the host's alone; None where no rule asks, or nobody witnesses it."""


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


class Mark(Message):
    """Something about a sign-in that must not come twice. The Authenticator keeps no memory that a host could not roll
    back, so the Vault commits it before anything leaves (RULES 21): of one name, `value` never falls, and at the same
    value `token` stays the same."""

    name: Bytes32
    value: Count
    """Counter of a passkey; 0 for what is used once."""
    token: Bytes32
    """Of what is used once: digest of the binding key that used it first."""
    expires_at: UnixTime
    """When it can be forgotten; 0: never."""


class PersonMark(Message):
    """A mark, and whose sign-in it is of: not always who was permitted, since a ticket may hold several sign-ins."""

    person: Principal
    mark: Mark


class Decision(Message):
    """The answer to one decision request."""

    request_digest: Bytes32
    number: ErrorNumber
    """0 is OK. Everything else is not: REFUSED, TICKET_EXPIRED, TICKET_MISSING, UNSUPPORTED, CLOCK …"""
    identity: Identity | None
    """Whom the ticket names, also when refused; None when the ticket was not accepted."""
    marks: Annotated[list[PersonMark], Meta(max_length=MAX_SIGN_INS)]
    """Of the sign-ins on the ticket."""


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


AuthenticatorRequest = Prove | SignInRequest | Decide | Validate | Enclose
AuthenticatorReply = Proved | SignInReply | Decisions | Validated | Enclosed | Error


def decision_digest(request: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of a decision request: what the answer repeats."""
    return digest(Domain.DECISION, request)


def context_digest(facts: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of record facts."""
    return digest(Domain.CONTEXT, facts)
