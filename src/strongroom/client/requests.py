"""What requests to a Vault are made of, checked before anything is sent."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from strongroom.client.addresses import verify_name, verify_principal
from strongroom.client.errors import BadInput
from strongroom.client.results import KINDS, Description, Method, NewSecret, Place
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_INSTRUCTIONS, MAX_METADATA, MAX_METHOD, MAX_SECRET, MAX_TICKETS
from strongroom.protocol.messages import Address, ById, ByName, ByPerson, Ticket
from strongroom.protocol.vault_messages import Described, PublicMethod, StoreItem

REQUEST_ID: Final = 16
RECORD_ID: Final = 16


def request_id_or_new(given: bytes | None) -> bytes:
    """Raises `BadInput` for an id of another length."""
    if given is not None and len(given) != REQUEST_ID:
        raise BadInput(f"a request id has {REQUEST_ID} bytes", "draw them with secrets.token_bytes(16)")
    return given or secrets.token_bytes(REQUEST_ID)


def question_id(question: bytes | str) -> bytes:
    """16 bytes, or their 32 hex digits. Raises `BadInput`."""
    try:
        parsed = bytes.fromhex(question) if isinstance(question, str) else question
    except ValueError:
        parsed = b""
    if len(parsed) != REQUEST_ID:
        raise BadInput("that is not the id of a question", "it has 32 hex digits, as whoever asks was shown them")
    return parsed


def verify_sizes(secret: bytes, metadata: bytes, instructions: bytes) -> None:
    """Raises `BadInput` for what no record can hold."""
    for what, value, limit in (
        ("the secret", secret, MAX_SECRET),
        ("the metadata", metadata, MAX_METADATA),
        ("the instructions", instructions, MAX_INSTRUCTIONS),
    ):
        if len(value) > limit:
            raise BadInput(f"{what} is longer than {limit:,} bytes", "store a key, and what it encrypts elsewhere")


def store_item(item: NewSecret, namespace: str) -> StoreItem:
    """The record to create in `namespace`. Raises `BadInput`."""
    verify_sizes(item.secret, item.metadata, item.instructions)
    return StoreItem(
        address=_new_address(item, namespace),
        replaces=item.replaces,
        secret=item.secret,
        metadata=item.metadata,
        instructions=item.instructions,
        terms=item.terms,
    )


def _new_address(item: NewSecret, namespace: str) -> Address:
    if item.name is None:
        if item.person is not None:
            raise BadInput("a record of one person's own needs a name", "give name as well")
        if item.record_id is not None and len(item.record_id) != RECORD_ID:
            raise BadInput(f"a record id has {RECORD_ID} bytes", "draw them with secrets.token_bytes(16)")
        return ById(id=item.record_id or secrets.token_bytes(RECORD_ID))
    if item.record_id is not None:
        raise BadInput("a record has a name or an id, not both", "leave one of them out")
    verify_name(item.name, "name")
    if item.person is None:
        return ByName(namespace=namespace, name=item.name)
    verify_principal(item.person)
    return ByPerson(namespace=namespace, person=item.person, name=item.name)


def merged(first: Sequence[Ticket], more: Sequence[Ticket]) -> list[Ticket]:
    """Each once, the first first, as many as one request takes."""
    return [*first, *(ticket for ticket in more if ticket not in first)][:MAX_TICKETS]


def description_of(described: Described) -> Description:
    """Raises `Misuse` UNSUPPORTED for a sign-in method that can't be read."""
    places = tuple(Place(one.url, one.cluster_id, one.capsule) for one in described.authenticators)
    return Description(places, described.quorum, tuple(_method(method) for method in described.methods))


def _method(method: PublicMethod) -> Method:
    public = next((part for part, kind in KINDS.items() if kind == method.kind), None)
    if public is None:
        raise Misuse(Number.UNSUPPORTED, "a sign-in method that this version does not know")
    try:
        return Method(method.digest, decode(method.public, public, limit=MAX_METHOD))
    except Misuse:
        raise Misuse(Number.UNSUPPORTED, "a sign-in method that this version can't read") from None
