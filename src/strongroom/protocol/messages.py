"""Every message that travels inside a session (`spec/messages.md`). Field order is wire order."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import (
    Bytes16,
    Bytes32,
    Bytes64,
    Count,
    ShortText,
    SigningPublicKey,
    UnixTime,
)
from strongroom.protocol.instructions import Action, Channel, Url
from strongroom.protocol.limits import (
    MAX_AUTHENTICATORS,
    MAX_BATCH,
    MAX_CAPSULE,
    MAX_EVIDENCE,
    MAX_INSTRUCTIONS,
    MAX_METADATA,
    MAX_METHOD,
    MAX_METHODS,
    MAX_NAME,
    MAX_RULES,
    MAX_SECRET,
    MAX_TICKET,
    MAX_TICKETS,
)
from strongroom.protocol.primitives import Domain, digest

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Secret = Annotated[bytes, Meta(max_length=MAX_SECRET)]
Metadata = Annotated[bytes, Meta(max_length=MAX_METADATA)]
InstructionsBytes = Annotated[bytes, Meta(max_length=MAX_INSTRUCTIONS)]
MethodBytes = Annotated[bytes, Meta(max_length=MAX_METHOD)]
Capsule = Annotated[bytes, Meta(max_length=MAX_CAPSULE)]
ErrorNumber = Annotated[int, Meta(ge=0, le=999)]


class Tagged(Message, tag_field="type"):
    """A message that stands at the top of a frame: its first field `type` names it."""


# --- any role -------------------------------------------------------------------------------------------------


class Prove(Tagged, tag="prove"):
    """First message of every session: signature by the binding key over the transcript hash (RULES 3)."""

    signature: Bytes64
    evidence: Annotated[bytes, Meta(max_length=MAX_EVIDENCE)] | None
    """Of an enclave that acts as client, made for this handshake (RULES 4)."""


class Proved(Tagged, tag="proved"):
    """The session serves requests from now on."""


class Error(Tagged, tag="error"):
    """A request failed. Numbers only; words stay on each side."""

    number: ErrorNumber
    index: Count
    """Item of the batch, policy of the rules or place in a list that the error is about; 0 otherwise."""
    version: Count
    """CONFLICT: the record's current version, shown to who may change it; 0 otherwise."""


# --- client to Vault ------------------------------------------------------------------------------------------


class ById(Message, tag="id", tag_field="by"):
    """A record by its random id: whoever knows the id may describe it."""

    id: Bytes16


class ByName(Message, tag="name", tag_field="by"):
    """A record by its name inside a namespace: described only after a sign-in."""

    namespace: Name
    name: Name


class OfNamespace(Message, tag="namespace", tag_field="by"):
    """The namespace itself."""

    namespace: Name


Address = ById | ByName
"""`store`, `collect`, `update`, `delete`."""


class Ticket(Message):
    """Proof of a sign-in, opaque to all but the Authenticator that issued it."""

    authenticator: Bytes32
    """Cluster id of the issuer."""
    sealed: Annotated[bytes, Meta(max_length=MAX_TICKET)]


Tickets = Annotated[list[Ticket], Meta(max_length=MAX_TICKETS)]


class StoreItem(Message):
    """One record to create, or a tombstone to revive."""

    address: Address
    replaces: Count
    """0 to create; a tombstone's version to re-create what was deleted (RULES 19)."""
    secret: Secret
    metadata: Metadata
    """Sealed with the secret and returned with it: content type, file name."""
    instructions: InstructionsBytes


class Store(Tagged, tag="store"):
    """Create records in one namespace: one commit, all or none."""

    request_id: Bytes16
    namespace: Name
    tickets: Tickets
    items: Annotated[list[StoreItem], Meta(min_length=1, max_length=MAX_BATCH)]


class Stored(Tagged, tag="stored"):
    """Durable. Versions in the order of the items."""

    versions: list[Count]


class Collect(Tagged, tag="collect"):
    """Release secrets: one decision per distinct set of rules, one result per address."""

    request_id: Bytes16
    tickets: Tickets
    addresses: Annotated[list[Address], Meta(min_length=1, max_length=MAX_BATCH)]


class Item(Message, tag="item", tag_field="result"):
    """A released secret."""

    version: Count
    secret: Secret
    metadata: Metadata


class ItemError(Message, tag="error", tag_field="result"):
    """This address was not released. TOO_LARGE: it did not fit into this reply; ask for it in another request."""

    number: ErrorNumber


class Collected(Tagged, tag="collected"):
    """Results in the order of the addresses."""

    results: list[Item | ItemError]


class Update(Tagged, tag="update"):
    """Replace secret, metadata or instructions; None leaves as it is."""

    request_id: Bytes16
    address: Address
    replaces: Count
    tickets: Tickets
    secret: Secret | None
    metadata: Metadata | None
    instructions: InstructionsBytes | None


class Updated(Tagged, tag="updated"):
    """Durable at this version."""

    version: Count


class Delete(Tagged, tag="delete"):
    """Erase the secret; a tombstone keeps the version and who may re-create."""

    request_id: Bytes16
    address: Address
    replaces: Count
    tickets: Tickets


class Deleted(Tagged, tag="deleted"):
    """Durable. Copies kept by the host stay readable to this Vault until `epoch` leaves its ring (RULES 22)."""

    version: Count
    epoch: Count


class Describe(Tagged, tag="describe"):
    """How to sign in for a record or a namespace. Never the rules."""

    address: ById | ByName | OfNamespace
    tickets: Tickets
    """Needed for `ByName` only."""


class PublicMethod(Message):
    """One sign-in method as shown to whoever may describe."""

    digest: Bytes32
    kind: Literal["oidc"]
    public: MethodBytes
    """Encoded public part."""


class SignInAt(Message):
    """One Authenticator, appraised by the Vault under the record's instructions."""

    url: Url
    cluster_id: Bytes32
    capsule: Capsule
    """The complete method definitions, sealed to this Authenticator (RULES 9)."""


class Described(Tagged, tag="described"):
    """How to sign in."""

    authenticators: Annotated[list[SignInAt], Meta(max_length=MAX_AUTHENTICATORS)]
    quorum: Count
    methods: Annotated[list[PublicMethod], Meta(max_length=MAX_METHODS)]


class CreateNamespace(Tagged, tag="create-namespace"):
    """By the owner only: the session's binding key is the genesis statement's owner key (RULES 20)."""

    request_id: Bytes16
    namespace: Name
    replaces: Count
    instructions: InstructionsBytes
    max_records: Count
    max_bytes: Count
    max_records_per_identity: Count
    max_bytes_per_identity: Count


class NamespaceCreated(Tagged, tag="namespace-created"):
    """Durable at this version."""

    version: Count


VaultRequest = Prove | Store | Collect | Update | Delete | Describe | CreateNamespace
VaultReply = Proved | Stored | Collected | Updated | Deleted | Described | NamespaceCreated | Error


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
    """Valid. Errors are RULES_INVALID or METHOD_INVALID with the index of the policy or method."""

    permitted: Annotated[list[Action], Meta(max_length=16)]
    """Sorted: actions that some policy permits to somebody."""


AuthenticatorRequest = Prove | Begin | Redeem | DeviceBegin | DevicePoll | Decide | Validate
AuthenticatorReply = Proved | Begun | SignedIn | DeviceBegun | Decisions | Validated | Error


def decision_digest(request: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of a decision request: what the answer repeats."""
    return digest(Domain.DECISION, request)


def context_digest(facts: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of record facts."""
    return digest(Domain.CONTEXT, facts)


# --- Vault to Authenticator, carried by the client ------------------------------------------------------------


class CapsuleContents(Message):
    """What a capsule seals: HPKE to the Authenticator's attested key, info = the Vault's cluster id (RULES 9)."""

    vault_cluster: Bytes32
    methods: Annotated[list[MethodBytes], Meta(min_length=1, max_length=MAX_METHODS)]
    """The complete definitions that stand in the record's instructions."""
