"""Addresses as people write them.

32 hex digits for a random id, `namespace/name` for a named record, `/namespace/person/name` for a person's own. The
person is the principal, with everything percent-encoded in it that could end it: no namespace is empty, so that the
leading slash stands for nothing else.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from strongroom.client.errors import BadInput
from strongroom.protocol.limits import MAX_NAME
from strongroom.protocol.messages import Address, ById, ByName, ByPerson

_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_PRINCIPAL: Final = re.compile(r"[0-9a-f]{64}:.{1,256}", re.DOTALL)


def parse_address(text: str) -> Address:
    """The address that `text` names. The first slash ends the namespace; a name may hold more. Raises `BadInput`, for
    a URL, too: `strongroom://team/report` would be a record in a namespace `strongroom:`."""
    if text.startswith("/"):
        return _parse_own(text)
    namespace, slash, name = text.partition("/")
    if namespace.endswith(":") and name.startswith("/"):
        raise BadInput(f"{text[:80]!r} is a URL, not an address", "write 32 hex digits, or namespace/name")
    if not slash:
        if _ID.fullmatch(text):
            return ById(id=bytes.fromhex(text))
        raise BadInput(f"{text[:80]!r} is not an address", "write 32 hex digits, or namespace/name")
    verify_name(namespace, "namespace")
    if not name:
        raise BadInput(f"{text[:80]!r} is a namespace, not a record in it", f"write {text[:80]}NAME")
    verify_name(name, "name")
    return ByName(namespace=namespace, name=name)


def format_address(address: Address) -> str:
    """The text that `parse_address` reads back."""
    match address:
        case ById(id=record_id):
            return record_id.hex()
        case ByName(namespace=namespace, name=name):
            return f"{namespace}/{name}"
        case ByPerson(namespace=namespace, person=person, name=name):
            return f"/{namespace}/{quote(person, safe=':@')}/{name}"


def _parse_own(text: str) -> ByPerson:
    try:
        namespace, person, name = text[1:].split("/", 2)
        address = ByPerson(namespace=namespace, person=unquote(person, errors="strict"), name=name)
    except ValueError:
        raise BadInput(f"{text[:80]!r} is not an address", "write /namespace/person/name") from None
    verify_name(namespace, "namespace")
    verify_principal(address.person)
    verify_name(name, "name")
    return address


def verify_principal(person: str) -> None:
    """Raises `BadInput` for what can't be a principal: method digest in hex, colon, subject."""
    if not _PRINCIPAL.fullmatch(person):
        raise BadInput(f"{person[:80]!r} is not a principal", "take it from what a sign-in or a history shows")


def verify_name(name: str, what: str) -> None:
    """Raises `BadInput` for a name that no record could be found under again."""
    if not 1 <= len(name) <= MAX_NAME:
        raise BadInput(f"a {what} has 1 to {MAX_NAME} characters", "choose another one")
    if what == "namespace" and "/" in name:
        raise BadInput(f"{name[:80]!r} can't be a namespace", "leave out the slash: it ends the namespace in addresses")
    if what == "namespace" and name.endswith(":"):
        raise BadInput(
            f"{name[:80]!r} can't be a namespace", "leave out the colon: addresses in it would look like URLs"
        )
    # Control characters, direction marks and lone surrogates make two different names look the same, or unprintable.
    if not name.isprintable():
        raise BadInput(f"{name[:80]!r} holds a character that can't be seen", "leave it out")
