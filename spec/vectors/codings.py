"""Vectors of the encoding: one good message or more of every type, and everything a decoder must refuse."""

from __future__ import annotations

from typing import Any

import msgspec
from basics import INSTRUCTIONS, METHOD
from case import Case, Cases, accepted, fixed, refused
from statements import LIVE
from wire import Type, classes, kinds, schema, to_json

from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import OidcMethod
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.limits import MAX_MESSAGE

SCHEMA = schema()["types"]
HERE = "encoding/"
REQUEST = fixed("request id", 16)

#: Fields whose bytes hold another message.
INSIDE = {
    ("Instructions", "methods"): [METHOD],
    ("Enclose", "methods"): [METHOD],
    ("StoreItem", "instructions"): encode(INSTRUCTIONS),
    ("CreateNamespace", "instructions"): encode(INSTRUCTIONS),
    ("BlobGranted", "statement"): encode(LIVE),
    ("PublicMethod", "public"): encode(decode(METHOD, OidcMethod, limit=MAX_MESSAGE).public),
}


def good() -> Cases:
    for name in classes():
        for suffix, rich in (("", True), ("-least", False)):
            message = msgspec.convert(_sample(name, rich), classes()[name], builtin_types=(bytes,))
            if rich or encode(message) != encode(
                msgspec.convert(_sample(name, True), classes()[name], builtin_types=(bytes,))
            ):
                what = f"{name}, with everything" if rich else f"{name}, with as little as may be"
                yield _good(f"good-{_dashed(name)}{suffix}", what, name, message)
    yield _good(
        "good-longest-name",
        "256 characters of four bytes each: text is measured in characters",
        "ByName",
        kinds.ByName(namespace="🔑" * 256, name="a"),
    )
    numbers = [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53, 2**63 - 1]
    yield _good("good-int-sizes", "each size of integer in its shortest form", "Stored", kinds.Stored(versions=numbers))
    sizes = kinds.Collect(
        request_id=REQUEST,
        tickets=[kinds.Ticket(authenticator=fixed("a"), sealed=bytes(size)) for size in (0, 255, 256, 4096)],
        addresses=[
            kinds.ByName(namespace="n" * 31, name="n" * 32),
            *(kinds.ById(id=fixed(str(i), 16)) for i in range(15)),
        ],
    )
    yield _good("good-size-borders", "each length of a bytes, text and list header", "Collect", sizes)
    yield _good(
        "good-not-normalised",
        "text is compared byte for byte: two ways to write é are two names",
        "Describe",
        kinds.Describe(address=kinds.ByName(namespace="é", name="e\u0301"), tickets=[]),
    )


def _good(name: str, what: str, kind: str, message: Any) -> Case:
    inputs = {"type": kind, "limit": MAX_MESSAGE, "message": encode(message)}
    return accepted(HERE + name, what, "decode", inputs, value=to_json(message))


def _dashed(name: str) -> str:
    return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")


def _sample(name: str, rich: bool) -> dict[str, Any]:
    described = SCHEMA[name]
    value: dict[str, Any] = {}
    if described["tag"]:
        value[described["tag"][0]] = described["tag"][1]
    for field, kind in described["fields"]:
        inside = INSIDE.get((name, field))
        value[field] = inside if inside is not None else _value(f"{name}.{field}", kind, rich, 0)
    return value


def _value(path: str, kind: Type, rich: bool, at: int) -> Any:
    """`rich`: the first choice and some of everything; otherwise the last choice and as little as may be."""
    match kind["is"]:
        case "bytes":
            most = 20 if kind["max"] is None else kind["max"]
            return fixed(f"{path} {at}", max(kind["min"], min(most, 20)) if rich else kind["min"])
        case "text":
            text = _text(path.rpartition(".")[2], at) if rich else ""
            return text.ljust(kind["min"], "a")[: kind["max"]]
        case "int":
            return min(int(kind["max"]), 1000 + at) if rich else kind["min"]
        case "bool":
            return rich
        case "nil":
            return None
        case "one of":
            return kind["values"][0 if rich else -1]
        case "list":
            size = max(kind["min"], 2) if rich else kind["min"]
            return [_value(path, kind["of"], rich, at) for at in range(min(size, kind["max"] or size))]
        case "map":
            return _sample(kind["type"], rich)
        case "either":
            choices = sorted(kind["of"], key=lambda one: one["is"] == "nil")
            return _value(path, choices[at % len(choices)] if rich else choices[-1], rich, at)
    raise TypeError(kind)


def _text(field: str, at: int) -> str:
    if any(word in field for word in ("url", "uri", "issuer", "endpoint")):
        return f"https://{field.replace('_', '-')}.example/{at}"
    return f"{field.replace('_', ' ')} {at}"


ID = b"\xc4\x10" + REQUEST
ADDRESS = b"\x82\xa2by\xa2id\xa2id" + ID
COLLECT = (b"\x84", b"\xa4type\xa7collect", b"\xaarequest_id" + ID, b"\xa7tickets\x90", b"\xa9addresses\x91" + ADDRESS)
STORED = b"\x82\xa4type\xa6stored\xa8versions"


def bad() -> Cases:
    """Each differs in one place from the encoding of a `collect`, a `stored` or a `describe`."""
    head, tag, request, tickets, addresses = COLLECT
    plain = b"".join(COLLECT)
    collects = {
        "unknown-field": ("a field that the type does not have", b"\x85" + plain[1:] + b"\xa4more\x01"),
        "missing-field": ("no tickets", b"\x83" + tag + request + addresses),
        "other-order": ("two fields swapped", head + tag + tickets + request + addresses),
        "tag-not-first": ("the tag stands last", head + request + tickets + addresses + tag),
        "no-tag": ("no tag", b"\x83" + request + tickets + addresses),
        "duplicate-key": ("tickets twice", b"\x85" + tag + request + tickets + tickets + addresses),
        "duplicate-key-same-count": ("tickets twice and no addresses", head + tag + request + tickets + tickets),
        "key-as-bytes": ("a field name in bytes", head + tag + request + b"\xc4\x07tickets\x90" + addresses),
        "array-for-map": ("the values without names", b"\x94\xa7collect" + ID + b"\x90\x91" + ADDRESS),
        "trailing-byte": ("a byte after the end", plain + b"\xc0"),
        "two-messages": ("a second message after the end", plain + plain),
        "cut-short": ("the last byte is missing", plain[:-1]),
        "empty": ("no bytes", b""),
        "nil-for-message": ("nil alone", b"\xc0"),
        "wrong-tag": ("a tag that no message has", plain.replace(b"\xa7collect", b"\xa7Collect")),
        "long-map-header": ("map header in three bytes", b"\xde\x00\x04" + plain[1:]),
        "long-list-header": ("list header in three bytes", plain.replace(b"\x90", b"\xdc\x00\x00")),
        "long-text-header": ("text header in two bytes", plain.replace(b"\xa7collect", b"\xd9\x07collect")),
        "long-bytes-header": ("bytes header in three bytes", plain.replace(b"\xc4\x10", b"\xc5\x00\x10")),
        "text-for-bytes": ("request id as text", plain.replace(ID, b"\xb0" + b"a" * 16, 1)),
        "bytes-for-text": ("address tag as bytes", plain.replace(b"\xa2by\xa2id", b"\xa2by\xc4\x02id")),
        "bytes-too-long": ("17 bytes of id", plain.replace(ID, b"\xc4\x11" + REQUEST + b"\x00", 1)),
        "bytes-too-short": ("15 bytes of id", plain.replace(ID, b"\xc4\x0f" + REQUEST[:15], 1)),
        "list-too-short": ("no addresses", head + tag + request + tickets + b"\xa9addresses\x90"),
        "list-too-long": (
            "257 addresses",
            head + tag + request + tickets + b"\xa9addresses\xdc\x01\x01" + ADDRESS * 257,
        ),
        "nil-for-list": ("nil instead of no tickets", head + tag + request + b"\xa7tickets\xc0" + addresses),
        "list-longer-than-it-is": (
            "a list header that promises one more",
            plain.replace(b"addresses\x91", b"addresses\x92"),
        ),
        "list-of-four-billion": (
            "a list header without the list",
            head + tag + request + b"\xa7tickets\xdd" + b"\xff" * 4,
        ),
        "bytes-of-four-gigabytes": ("a bytes header without the bytes", plain[:25] + b"\xc6" + b"\xff" * 4),
        "wrong-type-deep-nesting": (
            "ten thousand lists in one another",
            head + tag + request + b"\xa7tickets" + b"\x91" * 10_000 + b"\xc0",
        ),
        "unknown-deep-nesting": (
            "an unknown field with ten thousand maps",
            b"\x85" + plain[1:] + b"\xa4more" + b"\x81\xa1a" * 10_000 + b"\xc0",
        ),
        "extension": ("a timestamp extension for a list", head + tag + request + b"\xa7tickets\xd6\xff" + bytes(4)),
    }
    for name, (what, message) in collects.items():
        yield _bad(name, what, "Collect", message)
    stored = {
        "long-int": ("1 in two bytes", b"\x91\xcc\x01"),
        "long-int-64": ("1 in nine bytes", b"\x91\xcf" + bytes(7) + b"\x01"),
        "signed-int": ("1 as a signed integer", b"\x91\xd0\x01"),
        "negative-int": ("−1", b"\x91\xff"),
        "int-too-large": ("2^63", b"\x91\xcf\x80" + bytes(7)),
        "float-for-int": ("1.0", b"\x91\xcb\x3f\xf0" + bytes(6)),
        "bool-for-int": ("true", b"\x91\xc3"),
        "text-for-int": ('"1"', b"\x91\xa11"),
        "nil-for-int": ("nil", b"\x91\xc0"),
    }
    for name, (what, versions) in stored.items():
        yield _bad(name, f"version {what}", "Stored", STORED + versions)
    described = b"\x83\xa4type\xa8describe\xa7address\x83\xa2by\xa4name\xa9namespace%b\xa4name\xa1a\xa7tickets\x90"
    texts = {
        "text-not-utf8": ("not UTF-8", b"\xa1\xff"),
        "text-overlong-utf8": ("a slash in two bytes", b"\xa2\xc0\xaf"),
        "text-surrogate": ("half of a surrogate pair", b"\xa3\xed\xa0\x80"),
        "text-empty": ("empty where at least one character must be", b"\xa0"),
        "text-too-long": ("257 characters", b"\xda\x01\x01" + b"a" * 257),
    }
    for name, (what, namespace) in texts.items():
        yield _bad(name, f"namespace {what}", "Describe", described % namespace)
    swapped = encode(
        kinds.Update(
            request_id=REQUEST,
            address=kinds.ById(id=REQUEST),
            replaces=1,
            tickets=[],
            secret=b"",
            metadata=None,
            instructions=None,
            terms=None,
        )
    ).replace(b"\xa2id\xa2id", b"\xa9namespace\xa2id")
    yield _bad("address-of-another-kind", "an id under the tag of a namespace", "Update", swapped)
    yield _bad("tag-of-another-role", "a request to an Authenticator", "VaultRequest", _encoded("Validate"))
    yield _bad("reply-as-request", "a reply where a request must be", "VaultRequest", _encoded("Stored"))
    yield _bad(
        "other-version",
        "a hello of protocol version 2",
        "Hello",
        _encoded("Hello").replace(b"\xa7version\x01", b"\xa7version\x02"),
    )
    inputs = {"type": "Collect", "limit": len(plain) - 1, "message": plain}
    yield refused(
        HERE + "bad-over-the-limit",
        "one byte more than the limit; refused before it is parsed",
        "decode",
        inputs,
        Number.TOO_LARGE,
        "size",
    )


def _encoded(name: str) -> bytes:
    return encode(msgspec.convert(_sample(name, True), classes()[name], builtin_types=(bytes,)))


def _bad(name: str, what: str, kind: str, message: bytes) -> Case:
    inputs = {"type": kind, "limit": MAX_MESSAGE, "message": message}
    return refused(f"{HERE}bad-{name}", what, "decode", inputs, Number.MALFORMED, "encoding")


def leaves() -> Cases:
    """Lines about a key ring: each event, and what no Vault writes into its log."""
    about, at = fixed("about"), 1_790_000_000
    events = {
        "given": (2, "sgx " + fixed("measurement").hex()),
        "rotated": (2, ""),
        "erased": (2, ""),
        "released": (7, "1.4.0, 1.5.0"),
        "governed": (1, ""),
        "recovered": (1, ""),
    }
    for event, (number, text) in events.items():
        leaf = LifeLeaf(event=event, at=at, about=about, number=number, text=text)  # type: ignore[arg-type]
        yield _good(f"life-{event}", f"a line of the log: {event}", "AnyLeaf", leaf)
    good = encode(LifeLeaf(event="given", at=at, about=about, number=2, text=""))
    wrong = {
        "unknown-event": ("an event that there is not", good.replace(b"\xa5given", b"\xa5taken")),
        "short-about": ("a digest of 31 bytes", good.replace(b"\xc4\x20" + about, b"\xc4\x1f" + about[1:])),
        "as-entry": ("the tag of another leaf", good.replace(b"\xa4life", b"\xa5entry")),
        "untagged": ("no tag", b"\x85" + good[1:].replace(b"\xa4leaf\xa4life", b"")),
        "number-below-0": ("a negative number", good.replace(b"\xa6number\x02", b"\xa6number\xff")),
        "trailing-byte": ("a byte after the end", good + b"\x00"),
    }
    for name, (what, message) in wrong.items():
        assert message != good
        yield _bad(f"life-{name}", what, "AnyLeaf", message)


def every() -> list[Case]:
    return [*good(), *bad(), *leaves()]
