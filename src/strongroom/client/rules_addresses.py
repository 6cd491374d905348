"""Which facts a sign-in method can prove at all: rules that ask for others permit nobody, without a word.

A key, a passkey, an enclave and a workload have no address; a directory vouches for those of its `email_domains` alone
and tells of no groups but those that it lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from strongroom.client.rules_tree import flat, path_of, values_of
from strongroom.protocol.instructions import (
    CodeMethod,
    DirectoryMethod,
    EnclaveMethod,
    KeysMethod,
    Method,
    OidcMethod,
    PasskeyMethod,
    WorkloadMethod,
)

_ADDRESS: Final = frozenset({"context.identity.email", "context.identity.domain"})


def gives_address(method: Method) -> bool:
    """Whether some sign-in by it proves an address."""
    match method:
        case OidcMethod() | CodeMethod():
            return True
        case DirectoryMethod():
            return bool(method.email_domains)
    return False


def may_give(method: Method, address: str) -> bool:
    """Whether this address may be proven by it."""
    domain = address.rpartition("@")[2]
    match method:
        case OidcMethod():
            return True
        case DirectoryMethod():
            return domain in method.email_domains
        case CodeMethod():
            return address in method.addresses or domain in method.domains
    return False


def listed_names(method: Method) -> set[str] | None:
    """The subjects that it can prove; None: those that its provider has."""
    match method:
        case KeysMethod():
            return {key.person for key in method.keys}
        case PasskeyMethod():
            return {passkey.person for passkey in method.passkeys}
        case EnclaveMethod():
            return {workload.name for workload in method.workloads}
    return None


def listed_groups(method: Method) -> set[str] | None:
    """The groups that it can tell of; None: any."""
    match method:
        case OidcMethod():
            return None
        case DirectoryMethod():
            return set(method.groups)
    return set()


def gives_claims(method: Method, names: Sequence[str]) -> bool:
    """Whether it can prove workload claims of these names. What an enclave proves of itself has names of its own."""
    match method:
        case WorkloadMethod():
            return set(names) <= set(method.claims)
        case EnclaveMethod():
            return True
    return not names


def asks_for_address(conditions: Sequence[Any]) -> bool:
    """Whether these conditions, which all must hold, hold for nobody without a verified address."""
    return any(map(_asks, conditions))


def _asks(expression: Any) -> bool:
    match expression:
        case {"has": {"left": left, "attr": str(attribute)}}:
            return f"{path_of(left)}.{attribute}" in _ADDRESS
        case {"&&": _}:
            return any(map(_asks, flat(expression, "&&")))
        case {"||": _}:
            return all(map(_asks, flat(expression, "||")))
    return False


def addresses_in_capitals(policy: dict[str, Any]) -> list[str]:
    """Addresses and domains that a policy compares verified ones with, which are in lower case. Sorted."""
    return sorted({text for text in _compared(policy["conditions"]) if text != text.lower()})


def _compared(tree: Any) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        match node:
            case {"==": {"left": left, "right": right}}:
                for path, other in ((left, right), (right, left)):
                    match other:
                        case {"Value": str(text)} if path_of(path) in _ADDRESS:
                            yield text
            case {"contains": {"left": left, "right": right}} if path_of(right) in _ADDRESS:
                yield from (value for value in values_of(left) or () if isinstance(value, str))
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
