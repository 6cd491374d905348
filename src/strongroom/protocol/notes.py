"""Signed checkpoints of the log and their cosignatures, by the letter of C2SP (`spec/log.md`).

signed-note, tlog-checkpoint and tlog-cosignature (Ed25519, cosignature/v1), so that public witnesses and monitors work
with a Vault as they are. Their bytes are text. Attacks that a lax reader would let through, refused here:

1. One key whose name another signature line bears: a line counts for exactly the verifier key that was configured.
2. Two spellings of one checkpoint (leading zeros, other base64, text after the third line): there is one.
3. A cosignature made for another checkpoint, or whose time was changed: both are signed.
4. One witness that counts twice: cosignatures are counted by key.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.limits import MAX_CHECKPOINT
from strongroom.protocol.primitives import NoteKey, verify_note_signature

ED25519: Final = 0x01
"""Type of a log's key."""
COSIGNATURE: Final = 0x04
"""Type of a witness's key."""

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")
_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")
_KEY_ID: Final = 4
_MARK: Final = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verifier key: who may sign, by name, type and public key (32 bytes)."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes that signature lines begin with: a hint, not a proof."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:_KEY_ID]

    def __str__(self) -> str:
        """As signed-note writes it: `NAME+HASH+KEY`."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes([self.kind]) + self.public).decode()}"


def parse_verifier(text: str, kind: int) -> Verifier:
    """A verifier key of this type. Raises `Misuse` MALFORMED with the reason."""
    name, _, rest = text.partition("+")
    key_id, _, key = rest.partition("+")
    raw = _decoded(key)
    if raw is None or not _NAME.fullmatch(name):
        raise Misuse(Number.MALFORMED, "a verifier key is NAME+HASH+KEY")
    if raw[:1] != bytes([kind]) or len(raw) != 33:
        what = "a witness's (Ed25519 cosignatures, type 4)" if kind == COSIGNATURE else "a log's (Ed25519, type 1)"
        raise Misuse(Number.MALFORMED, f"the verifier key {name} is not {what}")
    verifier = Verifier(name, kind, raw[1:])
    if key_id != verifier.key_id.hex():
        raise Misuse(Number.MALFORMED, f"the hash in the verifier key {name} does not fit its key")
    return verifier


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many leaves, root hash (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with its signature lines, none of them believed."""

    checkpoint: Checkpoint
    lines: tuple[str, ...]

    @property
    def note(self) -> bytes:
        return (self.checkpoint.body + "\n" + "".join(f"{line}\n" for line in self.lines)).encode()

    def with_lines(self, lines: Sequence[str]) -> SignedCheckpoint:
        return SignedCheckpoint(self.checkpoint, tuple(dict.fromkeys((*self.lines, *lines))))


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A witness's verified word: it saw this checkpoint, as the largest of this log, at `time` (unix seconds)."""

    witness: Verifier
    time: int
    line: str


def parse_checkpoint(note: bytes) -> SignedCheckpoint:
    """Raises `Untrusted` INTEGRITY for anything that is not a signed checkpoint in its one spelling."""
    if len(note) > MAX_CHECKPOINT:
        raise _bad("it is too long")
    try:
        body, separator, signatures = note.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise _bad("it is not UTF-8") from None
    fields, lines = body.split("\n"), signatures.split("\n")
    if not separator or len(fields) != 3 or lines.pop() != "" or not lines:
        raise _bad("it is not three lines, an empty one, and signatures")
    origin, size, root = fields
    decoded = _decoded(root)
    if not origin or not _SIZE.fullmatch(size) or decoded is None or len(decoded) != 32:
        raise _bad("it does not name a log, a size and a root hash")
    if not all(line.startswith(_MARK) for line in lines):
        raise _bad("a line is not a signature")
    return SignedCheckpoint(Checkpoint(origin, int(size), decoded), tuple(lines))


def sign_checkpoint(key: NoteKey, checkpoint: Checkpoint) -> SignedCheckpoint:
    """Signed by its log, whose key has the name of its origin."""
    verifier = Verifier(checkpoint.origin, ED25519, key.public)
    return SignedCheckpoint(checkpoint, (_line(verifier, key.sign(checkpoint.body.encode())),))


def verify_checkpoint(note: bytes, log: Verifier) -> SignedCheckpoint:
    """Of exactly this log, signed by it. Raises `Untrusted` INTEGRITY."""
    signed = parse_checkpoint(note)
    if signed.checkpoint.origin != log.name:
        raise _bad("it is of another log")
    message = signed.checkpoint.body.encode()
    for line in signed.lines:
        signature = _signature_of(line, log, 64)
        if signature is not None:
            verify_note_signature(log.public, signature, message)
            return signed
    raise _bad("its log has not signed it")


def cosign(key: NoteKey, name: str, checkpoint: Checkpoint, time: int) -> str:
    """A witness's signature line. What the witness has to verify before is `host/witness`'s business."""
    signature = key.sign(_cosigned_message(checkpoint, time))
    return _line(Verifier(name, COSIGNATURE, key.public), time.to_bytes(8, "big") + signature)


def cosignatures(signed: SignedCheckpoint, witnesses: Sequence[Verifier]) -> list[Cosignature]:
    """Those of these witnesses that hold, one a key. Lines of others, and lines that do not hold, count for nothing."""
    found: dict[bytes, Cosignature] = {}
    for line in signed.lines:
        for witness in witnesses:
            signature = _signature_of(line, witness, 72)
            if signature is None:
                continue
            time = int.from_bytes(signature[:8], "big")
            if time >= 2**63:
                continue
            try:
                verify_note_signature(witness.public, signature[8:], _cosigned_message(signed.checkpoint, time))
            except Untrusted:
                continue
            earlier = found.get(witness.public)
            if earlier is None or earlier.time < time:
                found[witness.public] = Cosignature(witness, time, line)
    return list(found.values())


def parse_signature_lines(text: bytes) -> list[str]:
    """What a witness answers: one signature line or more. Raises `Untrusted` INTEGRITY."""
    if len(text) > MAX_CHECKPOINT:
        raise _bad("the answer of a witness is too long")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        raise _bad("the answer of a witness is not UTF-8") from None
    if lines.pop() != "" or not lines or not all(line.startswith(_MARK) for line in lines):
        raise _bad("the answer of a witness is not signature lines")
    return lines


def _cosigned_message(checkpoint: Checkpoint, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{checkpoint.body}".encode()


def _line(verifier: Verifier, signature: bytes) -> str:
    return f"{_MARK}{verifier.name} {b64encode(verifier.key_id + signature).decode()}"


def _signature_of(line: str, verifier: Verifier, length: int) -> bytes | None:
    """The signature in a line, if it bears this verifier's name and key id and is this long."""
    prefix = f"{_MARK}{verifier.name} "
    raw = _decoded(line[len(prefix) :]) if line.startswith(prefix) else None
    if raw is None or len(raw) != _KEY_ID + length or raw[:_KEY_ID] != verifier.key_id:
        return None
    return raw[_KEY_ID:]


def _decoded(text: str) -> bytes | None:
    """Base64 in its one spelling."""
    try:
        raw = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        return None
    return raw if b64encode(raw).decode() == text else None


def _bad(why: str) -> Untrusted:
    return Untrusted(Number.INTEGRITY, f"not a checkpoint: {why}")
