"""Messages of a Vault and its clients (`spec/messages.md`). Field order is wire order."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes16, Bytes32, Bytes64, Count, UnixTime
from strongroom.protocol.instructions import Action, Kind, Url
from strongroom.protocol.limits import (
    MAX_APPROVAL_LIFE,
    MAX_APPROVALS,
    MAX_APPROVERS,
    MAX_AUTHENTICATORS,
    MAX_BATCH,
    MAX_JOURNAL,
    MAX_METHODS,
    MAX_STATEMENT,
)
from strongroom.protocol.log_messages import Freshen, Freshness, Logged, Trail, TrailOf
from strongroom.protocol.messages import (
    Address,
    ById,
    ByName,
    ByPerson,
    Capsule,
    Error,
    ErrorNumber,
    InstructionsBytes,
    Metadata,
    MethodBytes,
    Name,
    OfNamespace,
    Person,
    Prove,
    Proved,
    Secret,
    Tagged,
    Terms,
    Tickets,
)


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
    """Durable. A copy that the host kept opens until `epoch` has left the ring (RULES 22); after that only with an
    older copy of the ring, and a machine or custodians to open it."""

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


class Ask(Tagged, tag="ask"):
    """Ask others to approve that the session's binding key does `action` once, for whoever the tickets name."""

    request_id: Bytes16
    address: Address
    action: Action
    tickets: Tickets
    seconds: Annotated[int, Meta(ge=60, le=MAX_APPROVAL_LIFE)]
    """How long the question stands."""


class Asked(Tagged, tag="asked"):
    """Durable. To be passed on to those who are to approve."""

    question: Bytes16
    version: Count
    """Of the record: any change of it ends the question (RULES 17)."""
    expires_at: UnixTime


class Questions(Tagged, tag="questions"):
    """What stands open at a record, for whoever may `approve`."""

    address: Address
    tickets: Tickets


class Question(Message):
    """One question, and who has approved so far."""

    question: Bytes16
    action: Action
    person: Person
    """Who asks."""
    key: Bytes32
    """Digest of the binding key that asks: what is approved counts for nobody else."""
    asked_at: UnixTime
    expires_at: UnixTime
    approvals: Annotated[list[Person], Meta(max_length=MAX_APPROVERS)]


class QuestionsOf(Tagged, tag="questions-of"):
    """Oldest first."""

    version: Count
    questions: Annotated[list[Question], Meta(max_length=MAX_APPROVALS)]


class Approve(Tagged, tag="approve"):
    """Say yes to a question. Who asked can't."""

    request_id: Bytes16
    address: Address
    question: Bytes16
    tickets: Tickets


class Approved(Tagged, tag="approved"):
    """Durable."""

    approvals: Count
    """How many have approved so far."""


class Describe(Tagged, tag="describe"):
    """How to sign in for a record or a namespace. Never the rules."""

    address: ById | ByName | ByPerson | OfNamespace
    tickets: Tickets
    """Needed for `ByName` and `ByPerson` only."""


class PublicMethod(Message):
    """One sign-in method as shown to whoever may describe."""

    digest: Bytes32
    kind: Kind
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


VaultRequest = (
    Prove
    | Freshen
    | Store
    | Collect
    | Update
    | Fill
    | Delete
    | History
    | Trail
    | GrantBlob
    | Ask
    | Questions
    | Approve
    | Describe
    | CreateNamespace
)
VaultReply = (
    Proved
    | Freshness
    | Logged
    | Stored
    | Collected
    | Updated
    | Deleted
    | HistoryOf
    | TrailOf
    | BlobGranted
    | Asked
    | QuestionsOf
    | Approved
    | Described
    | NamespaceCreated
    | Error
)
