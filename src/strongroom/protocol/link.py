"""The link between an enclave process and its host process: opaque bytes with a call number.

`length (4, big-endian, of what follows) ‖ call id (4) ‖ operation (1) ‖ body`. Both sides call each other over one
stream; an answer carries the call id of its call and operation OK or ERROR (body: error number, 2 bytes). The
same framing serves a Unix socket and, on Nitro, a vsock. Host code may import this file and no other message.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_FRAME

HEADER: Final = 9
MAX_BODY: Final = 16 * MAX_FRAME
"""A group commit may hold several messages' worth of rows."""


class Operation(IntEnum):
    """What is called. Below 16: host calls enclave. From 16: enclave calls host."""

    OK = 0
    ERROR = 1
    START = 2
    """Once, first: body is a `Start`; answered when the enclave is ready to serve."""
    EVIDENCE = 3
    SESSION = 4
    FRAME = 5
    CHECKPOINT = 6
    """The newest signed checkpoint of the log, for whoever may see it."""
    SERVE = 7
    """Once, after a START that did not found or open a ring by itself: answered when there is one and it is served. A
    host that has several instances calls it when the database is this one's to write."""
    STATUS = 8
    """How the enclave stands, in every state: JSON (`protocol.status`)."""
    READ = 16
    COMMIT = 17
    POST = 18
    COLLATERAL = 19
    LEAVES = 20
    INCLUSION = 21
    CONSISTENCY = 22
    COSIGN = 23
    """Have the signed checkpoint in the body cosigned by the witnesses; the answer is their signature lines, as many as
    came in time. What they are worth, the enclave finds out."""
    WITNESSED = 24
    """The newest cosigned checkpoints that the witnesses have of the log of this name (the body); the answer is a
    `Notes`."""


RowKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Version = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
LogHash = Annotated[bytes, Meta(min_length=32, max_length=32)]


Mode = Literal["open", "develop", "found", "join", "recover", "drill"]
"""`open`: by this machine's own key. `develop`: found a cluster with an automatic custodian, on the insecure platform.
`found`: wait for its owner. `join`: have a member give the ring. `recover`: wait for custodians. `drill`: the same, to
see that their shares open the ring, and never serve it."""


class Start(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """How to start. Nothing here is trusted: a wrong value makes an enclave that no policy accepts."""

    mode: Mode
    """`develop` and `found` fail where the database has a ring, the others (but `join`) where it has none. `open` and
    `develop` are answered when the enclave serves; after the others the host calls SERVE, which is never answered OK in
    a `drill`."""
    owner_key: bytes
    """P-256 public key (65) of who makes namespaces; only read at genesis."""
    config: dict[str, str]
    """Configuration values that differ from the default; they become claims."""
    witnesses: list[str]
    """Verifier keys of the witnesses, and how many of them it takes: fixed at genesis, and later the same."""
    cosignatures: Annotated[int, Meta(ge=0, le=64)]
    peer: str
    """URL of a member's front, to join; else empty."""
    cluster: bytes
    """Id of the cluster to join (32 bytes); else empty."""
    invitation: bytes
    """Of that cluster's owner, to join: encoded `Invitation`; empty: none."""


class Put(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Replace the row `key` (32 bytes) at version `replaces` (0: absent) by `sealed` at `version`."""

    key: RowKey
    replaces: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    version: Version
    sealed: bytes


class Commit(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One transaction: all puts and leaves, or none. An answer OK means durable."""

    puts: list[Put]
    size: Position
    """Leaves of the log before this; another number in the database is a CONFLICT."""
    leaves: list[bytes]


class Read(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Rows by key; the answer is a `Rows` with None for each that is absent."""

    keys: list[RowKey]


class Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: Version
    sealed: bytes


class Rows(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    rows: list[Row | None]


class Leaves(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Leaves of the log by index; the answer is a `LeavesFound` with None for each that is absent."""

    indexes: list[Position]


class LeavesFound(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    leaves: list[bytes | None]


class Inclusion(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Proofs (RFC 6962 2.1.1) that these leaves are in the log of `size` leaves; the answer is a `Proofs`, in order."""

    indexes: list[Position]
    size: Position


class Consistency(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A proof (RFC 6962 2.1.2) that the log of `size` leaves extends that of `old`; the answer is a `Proofs` of one."""

    old: Position
    size: Position


class Proofs(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    proofs: list[list[LogHash]]


class Notes(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Signed notes, as text in bytes."""

    notes: list[bytes]


class Post(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Carry opaque bytes to another enclave: POST (GET when `body` is None) to `url`, answer body back."""

    url: str
    body: bytes | None


class Collateral(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a quote of platform `kind` is appraised with; the answer is the bytes for `Evidence.collateral`."""

    kind: str
    quote: bytes
    endorsements: bytes
    """What the machine gave along with the quote, such as a table of certificates; may be empty."""


LINK_PORTS: Final = {"vault": 8410, "authenticator": 8411}
"""Where an enclave that is no child process of its host finds it: TCP on loopback, or vsock. Measured, so that no
argument or environment has to tell; it need not be secret or true, since the host is not trusted anyway."""
EGRESS_PORT: Final = 8412
"""vsock port of the host's way out to the network, for enclaves that have none of their own."""

T = TypeVar("T", bound=msgspec.Struct)

_encoder = msgspec.msgpack.Encoder()


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, strict=True)


def encode(message: msgspec.Struct) -> bytes:
    """A body of one of the types above."""
    return _encoder.encode(message)


def decode(body: bytes, kind: type[T]) -> T:
    """The inverse. Raises `Misuse` MALFORMED. Nothing digests these bytes, so any encoding of the message will do."""
    try:
        return _decoder(kind).decode(body)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        raise Misuse(Number.MALFORMED, "link body") from None


class Frame(NamedTuple):
    call: int
    operation: int
    body: bytes


def pack(call: int, operation: int, body: bytes) -> bytes:
    """One framed message. Raises `Misuse` TOO_LARGE above MAX_BODY."""
    if len(body) > MAX_BODY:
        raise Misuse(Number.TOO_LARGE, "link body")
    return (5 + len(body)).to_bytes(4, "big") + call.to_bytes(4, "big") + bytes([operation]) + body


class Splitter:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by `data`. Raises `Misuse` when a length is out of bounds: the stream is lost then."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        at = 0
        while len(buffer) - at >= HEADER:
            size = int.from_bytes(buffer[at : at + 4], "big")
            if not 5 <= size <= MAX_BODY + 5:
                raise Misuse(Number.TOO_LARGE, "link frame out of bounds")
            if len(buffer) - at < 4 + size:
                break
            call = int.from_bytes(buffer[at + 4 : at + 8], "big")
            frames.append(Frame(call, buffer[at + 8], bytes(buffer[at + HEADER : at + 4 + size])))
            at += 4 + size
        del buffer[:at]
        return frames


def parse_start(body: bytes) -> Start:
    """Raises `Misuse` MALFORMED."""
    try:
        return msgspec.msgpack.decode(body, type=Start)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Misuse(Number.MALFORMED, "not a start message") from None
