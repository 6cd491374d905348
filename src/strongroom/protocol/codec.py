"""The one codec: MessagePack maps with named fields, exactly one encoding a message (`spec/encoding.md`).

A message is accepted only if encoding what was decoded gives the same bytes again. That refuses duplicate keys,
other field orders, numbers in longer forms, and trailing bytes in one check: two parsers can never read one
message in two ways, and a digest over the bytes is a digest over the meaning.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, TypeVar, dataclass_transform, overload

import msgspec

from strongroom.protocol.errors import Misuse, Number


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class _FrozenMeta(msgspec.StructMeta):
    """Tells type checkers that subclasses are frozen too, as msgspec makes them."""


class Message(msgspec.Struct, metaclass=_FrozenMeta, forbid_unknown_fields=True, frozen=True):
    """Base of everything that is encoded: unknown fields are refused, every field is always present."""


T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.msgpack.Decoder(kind, strict=True)
    return _decoders[kind]


def encode(message: Message) -> bytes:
    """The one encoding of a message."""
    return _encoder.encode(message)


@overload
def decode(data: bytes, kind: type[T], *, limit: int) -> T: ...


@overload
def decode(data: bytes, kind: UnionType, *, limit: int) -> Any: ...


def decode(data: bytes, kind: Any, *, limit: int) -> Any:
    """Decode `data` as a message of type `kind` (a `Message` or a union of them).

    Raises `Misuse`: TOO_LARGE above `limit` bytes (checked before parsing), MALFORMED for anything that is not
    the one encoding of such a message.
    """
    if len(data) > limit:
        raise Misuse(Number.TOO_LARGE)
    try:
        message = _decoder(kind).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        # No text of the library: it may quote the bytes.
        raise Misuse(Number.MALFORMED) from None
    if _encoder.encode(message) != data:
        raise Misuse(Number.MALFORMED, "not the canonical encoding")
    return message
