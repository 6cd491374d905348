"""What a record holds, and how the database finds it (`spec/records.md`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from strongroom.enclave.vault.terms import kept_bytes
from strongroom.protocol.authenticator_messages import RecordFacts
from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Bytes16, Bytes32, Count, UnixTime
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.messages import Address, ById, ByName, ByPerson, OfNamespace, Person, Principal, Terms
from strongroom.protocol.primitives import Domain, keyed_hash

T = TypeVar("T", bound=Message)


class Quota(Message):
    """What a namespace allows; 0 allows nothing."""

    max_records: Count
    max_bytes: Count
    max_records_per_identity: Count
    max_bytes_per_identity: Count


class LastWrite(Message):
    """Makes a retry the same success: same request, same payload, same person (RULES 19)."""

    request_id: Bytes16
    payload: Bytes32
    identity: Principal


class Record(Message):
    """Payload of a record's row. A tombstone keeps instructions and version, never the secret."""

    kind: Literal["secret", "namespace"]
    deleted: bool
    namespace: str
    secret: bytes
    metadata: bytes
    instructions: bytes
    depositor: Principal
    author: Person
    """Who last set the secret."""
    terms: Terms | None
    quota: Quota | None
    created_at: UnixTime
    updated_at: UnixTime
    last: LastWrite

    @property
    def size(self) -> int:
        """Bytes that count against a quota. A tombstone goes on counting: else a loop of `store` and `delete` would
        fill the database for nothing."""
        return len(self.secret) + len(self.metadata) + len(self.instructions) + kept_bytes(self.terms)

    @property
    def facts(self) -> RecordFacts:
        """What every rule may know about this record."""
        return RecordFacts(kind=self.kind, depositor=self.depositor, approvals=[], idle_days=None, time=None)


class BlobClaim(Message):
    """Payload of the row that says whose a blob is: the record that named it first, for ever."""

    handle: Bytes32


class Usage(Message):
    """Payload of a usage row: what a namespace, or one identity in it, has stored."""

    records: Count
    bytes: Count


NO_USAGE: Final = Usage(records=0, bytes=0)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a change adds to a usage row, and how much that row may reach (records, bytes)."""

    key: bytes
    records: int
    size: int
    max_records: int
    max_size: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One decision for the access log. `identity` is empty when no ticket was accepted."""

    at: int
    handle: bytes
    version: int
    action: str
    identity: str
    number: int
    """0 for OK, else the error number answered."""


class Handles:
    """Database keys: keyed hashes, so names and ids never reach the host."""

    def __init__(self, handle_key: bytes) -> None:
        self._key = handle_key

    def of(self, address: Address | OfNamespace) -> bytes:
        """Row key (32 bytes) of a record."""
        match address:
            case ById(id=record_id):
                return keyed_hash(self._key, Domain.RECORD_HANDLE, b"id", record_id)
            case ByName(namespace=namespace, name=name):
                return keyed_hash(self._key, Domain.RECORD_HANDLE, b"name", namespace.encode(), name.encode())
            case ByPerson(namespace=namespace, person=person, name=name):
                parts = (b"person", namespace.encode(), person.encode(), name.encode())
                return keyed_hash(self._key, Domain.RECORD_HANDLE, *parts)
            case OfNamespace(namespace=namespace):
                return keyed_hash(self._key, Domain.NAMESPACE_HANDLE, namespace.encode())

    def usage(self, namespace: str, identity: str) -> bytes:
        """Row key of a usage row; identity "" is the namespace as a whole."""
        return keyed_hash(self._key, Domain.USAGE_HANDLE, namespace.encode(), identity.encode())

    def marks_usage(self, namespace: str, identity: str) -> bytes:
        """Row key of a usage row for rows of marks; identity "" is the namespace as a whole."""
        return keyed_hash(self._key, Domain.USAGE_HANDLE, namespace.encode(), identity.encode(), b"marks")

    def attempts(self, handle: bytes) -> bytes:
        """Row key of the attempts row of a record."""
        return keyed_hash(self._key, Domain.ATTEMPTS_HANDLE, handle)

    def journal(self, handle: bytes) -> bytes:
        """Row key of the journal of a record."""
        return keyed_hash(self._key, Domain.JOURNAL_HANDLE, handle)

    def standing(self, handle: bytes) -> bytes:
        """Row key of what stands open at a record."""
        return keyed_hash(self._key, Domain.STANDING_HANDLE, handle)

    def marks(self, cluster: bytes, principal: str) -> bytes:
        """Row key of what one Authenticator cluster says of a person's sign-ins."""
        return keyed_hash(self._key, Domain.MARKS_HANDLE, cluster, principal.encode())

    def claim(self, blob: bytes) -> bytes:
        """Row key of the claim to a blob (id of 16 bytes)."""
        return keyed_hash(self._key, Domain.BLOB_HANDLE, blob)


def parse_payload(payload: bytes, kind: type[T]) -> T:
    """Decode the payload of an opened row."""
    try:
        return decode(payload, kind, limit=MAX_MESSAGE)
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "a row of another format") from None
