"""Messages of every role, and of a Vault and its clients (`spec/messages.md`). Field order is wire order."""

from __future__ import annotations

from typing import Annotated

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
from strongroom.protocol.limits import (
    MAX_CAPSULE,
    MAX_EVIDENCE,
    MAX_INSTRUCTIONS,
    MAX_METADATA,
    MAX_METHOD,
    MAX_NAME,
    MAX_SECRET,
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
