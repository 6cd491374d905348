"""Messages of every role, and of a Vault and its clients (`spec/messages.md`). Field order is wire order."""

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
    UnixTime,
)
from strongroom.protocol.instructions import Action, Url
from strongroom.protocol.limits import (
    MAX_AUTHENTICATORS,
    MAX_BATCH,
    MAX_CAPSULE,
    MAX_EVIDENCE,
    MAX_INSTRUCTIONS,
    MAX_JOURNAL,
    MAX_METADATA,
    MAX_METHOD,
    MAX_METHODS,
    MAX_NAME,
    MAX_SECRET,
    MAX_STATEMENT,
    MAX_TICKET,
    MAX_TICKETS,
)

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Secret = Annotated[bytes, Meta(max_length=MAX_SECRET)]
Metadata = Annotated[bytes, Meta(max_length=MAX_METADATA)]
InstructionsBytes = Annotated[bytes, Meta(max_length=MAX_INSTRUCTIONS)]
MethodBytes = Annotated[bytes, Meta(max_length=MAX_METHOD)]
Capsule = Annotated[bytes, Meta(max_length=MAX_CAPSULE)]
ErrorNumber = Annotated[int, Meta(ge=0, le=999)]
Principal = Annotated[str, Meta(max_length=512)]
"""`METHOD:SUBJECT`: hex digest of a sign-in method, and its stable subject."""


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
    """Item of the batch that the error is about; 0 otherwise."""
    place: Count
    """RULES_INVALID: policy of the rules, METHOD_INVALID: method of the instructions that it is about; 0 otherwise."""
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


class ByPerson(Message, tag="person", tag_field="by"):
    """A record of one person's own, by a name inside a namespace: nobody else can have stored it (RULES 19)."""

    namespace: Name
    person: Principal
    name: Name


Address = ById | ByName | ByPerson
"""`store`, `collect`, `update`, `delete`."""


class Terms(Message):
    """What the Vault itself holds to, whatever the rules say. A record that has terms has a journal.

    They bind everybody but who stored the record, and only who has not yet collected (RULES 27).
    """

    expires_at: UnixTime
    """From then on nothing is released, by the Vault's clock; 0: never."""
    max_opens: Count
    """Releases to others than who stored it; 0: any number."""
    closed: bool
    """Revoked: nothing is released any more."""
    fillable: bool
    """Whoever the rules permit `fill` may set the secret, once: the first to do so clears this."""
    blob: Bytes16 | None
    """Id of the bytes that the host keeps for this record."""
    blob_bytes: Count
    """How many they may be; count against the quotas."""


class Person(Message):
    """Somebody as an Authenticator recognised them."""

    principal: Principal
    email: ShortText
    """Verified address at that time, or empty."""


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
    terms: Terms | None


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
    author: Person
    """Who last set the secret."""
    terms: Terms | None
    opens: Count
    """Releases that count against `terms.max_opens`, this one included."""


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
    terms: Terms | None
    """Only of a record that was stored with terms."""


class Fill(Tagged, tag="fill"):
    """Set the secret of a record whose terms are `fillable`: the answer to a request, given once."""

    request_id: Bytes16
    address: Address
    replaces: Count
    tickets: Tickets
    secret: Secret
    metadata: Metadata


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


class History(Tagged, tag="history"):
    """Who asked for a record that has terms, with what answer."""

    address: Address
    tickets: Tickets


class Visit(Message):
    """One decision on a record."""

    number: Count
    """Counted from 1, without gaps, since the record has terms."""
    at: UnixTime
    action: Action
    person: Person
    version: Count
    outcome: ErrorNumber
    """0 for OK, else the error that was answered."""


class HistoryOf(Tagged, tag="history-of"):
    """The journal: the most recent visits, oldest first."""

    version: Count
    opens: Count
    terms: Terms
    visits: Annotated[list[Visit], Meta(max_length=MAX_JOURNAL)]


class GrantBlob(Tagged, tag="grant-blob"):
    """Ask for a statement to the host about the record's blob: by who may `update`, or `fill` while it is fillable."""

    address: Address
    tickets: Tickets


class BlobGranted(Tagged, tag="blob-granted"):
    """For the host, which can check it: it holds no secret."""

    statement: Annotated[bytes, Meta(max_length=MAX_STATEMENT)]
    """An encoded `blobs.BlobStatement`."""
    signature: Bytes64
    """By the cluster key."""


class Describe(Tagged, tag="describe"):
    """How to sign in for a record or a namespace. Never the rules."""

    address: ById | ByName | ByPerson | OfNamespace
    tickets: Tickets
    """Needed for `ByName` and `ByPerson` only."""


class PublicMethod(Message):
    """One sign-in method as shown to whoever may describe."""

    digest: Bytes32
    kind: Literal["oidc", "passkey"]
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


VaultRequest = Prove | Store | Collect | Update | Fill | Delete | History | GrantBlob | Describe | CreateNamespace
VaultReply = (
    Proved | Stored | Collected | Updated | Deleted | HistoryOf | BlobGranted | Described | NamespaceCreated | Error
)
