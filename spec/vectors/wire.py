"""The message types as data, read from the classes that the implementation uses: what spec/messages.json holds."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace, UnionType
from typing import Any, get_args

import msgspec
from msgspec import inspect as shape

from strongroom.attestation import policy
from strongroom.protocol import (
    authenticator_messages,
    blobs,
    cluster_messages,
    evidence,
    governance,
    instructions,
    invitations,
    leaves,
    log_messages,
    messages,
    releases,
    session,
    sign_in_messages,
    vault_messages,
)
from strongroom.protocol.codec import Message

MODULES: tuple[ModuleType, ...] = (
    evidence,
    policy,
    instructions,
    session,
    messages,
    log_messages,
    vault_messages,
    sign_in_messages,
    authenticator_messages,
    blobs,
    governance,
    releases,
    invitations,
    cluster_messages,
    leaves,
)
"""Where the messages are defined: the one place to change when they move."""
kinds = SimpleNamespace(**{name: value for module in MODULES for name, value in vars(module).items()})
"""Everything defined there, by name."""
UNIONS = (
    "VaultRequest",
    "VaultReply",
    "AuthenticatorRequest",
    "AuthenticatorReply",
    "ClusterRequest",
    "ClusterReply",
    "NurseryRequest",
    "AnyLeaf",
)
SAFE = 2**53 - 1
"""The largest integer that every JSON parser keeps; larger ones are written as decimal text."""

Type = dict[str, Any]


def classes() -> dict[str, type[Message]]:
    """Every concrete message by name, in the order of definition."""
    found: dict[str, type[Message]] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, Message):
                here = (value.__module__, value.__name__) == (module.__name__, name)  # neither imported nor an alias
                found |= {name: value} if here else {}
    bases = {base for kind in found.values() for base in kind.__mro__[1:]}
    return {name: kind for name, kind in found.items() if kind not in bases}


def unions() -> dict[str, UnionType]:
    return {name: vars(kinds)[name] for name in UNIONS}


def number(value: int) -> int | str:
    return value if value <= SAFE else str(value)


def describe(kind: shape.Type) -> Type:
    """A type as JSON. Raises TypeError for what the encoding does not know."""
    match kind:
        case shape.Metadata():
            return describe(kind.type)
        case shape.BytesType() | shape.StrType():
            what = "bytes" if isinstance(kind, shape.BytesType) else "text"
            return {"is": what, "min": kind.min_length or 0, "max": kind.max_length}
        case shape.IntType():
            return {"is": "int", "min": kind.ge, "max": number(kind.le)}  # type: ignore[arg-type]
        case shape.BoolType():
            return {"is": "bool"}
        case shape.NoneType():
            return {"is": "nil"}
        case shape.LiteralType():
            return {"is": "one of", "values": list(kind.values)}
        case shape.ListType():
            return {"is": "list", "of": describe(kind.item_type), "min": kind.min_length or 0, "max": kind.max_length}
        case shape.StructType():
            return {"is": "map", "type": kind.cls.__name__}
        case shape.UnionType():
            return {"is": "either", "of": [describe(one) for one in kind.types]}
    raise TypeError(f"no such type in the encoding: {kind}")


def schema() -> dict[str, Any]:
    """{"types": {name: {"tag": [field, value] | null, "fields": [[name, type]]}}, "unions": {name: [type names]}}."""
    types: dict[str, Any] = {}
    for name, kind in classes().items():
        info = shape.type_info(kind)
        assert isinstance(info, shape.StructType)
        tag = [info.tag_field, info.tag] if info.tag_field else None
        types[name] = {"tag": tag, "fields": [[f.encode_name, describe(f.type)] for f in info.fields]}
    of = {name: [kind.__name__ for kind in get_args(union)] for name, union in unions().items()}
    return {"types": types, "unions": of}


def plain(text: str) -> str:
    """One line, without references to the design's rules."""
    return re.sub(r"\s*\(RULES [^)]*\)", "", " ".join(text.split())).replace("|", "\\|")


def texts_after(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """(name, text) of each assignment; the text is the string that stands below it, or empty."""
    for at, statement in enumerate(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        match body[at + 1 : at + 2]:
            case [ast.Expr(ast.Constant(str(text)))]:
                yield statement.target.id, plain(text)
            case _:
                yield statement.target.id, ""


def field_texts(kind: type[Message]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if one not in (object, Message) and issubclass(one, Message):
            (definition,) = ast.parse(inspect.getsource(one)).body
            assert isinstance(definition, ast.ClassDef)
            texts |= texts_after(definition.body)
    return texts


def to_json(value: Any) -> Any:
    """A message in the JSON form of the vectors: bytes as lower-case hex, large integers as decimal text."""
    match value:
        case bytes():
            return value.hex()
        case bool() | None | str():
            return value
        case int():
            return number(value)
        case list() | tuple():
            return [to_json(item) for item in value]
        case dict():
            return {str(name): to_json(item) for name, item in value.items()}
    return to_json(msgspec.to_builtins(value, builtin_types=(bytes,)))
