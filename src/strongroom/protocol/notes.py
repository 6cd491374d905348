"""Signed checkpoints of the log and their cosignatures, by the letter of C2SP (`spec/log.md`).

signed-note, tlog-checkpoint and tlog-cosignature (Ed25519, cosignature/v1), so that public witnesses and monitors work
with a Vault as they are. Their bytes are text. Attacks that a lax reader would let through, refused here:

1. One key whose name another signature line bears: a line counts for exactly the verifier key that was configured.
2. Two spellings of one checkpoint (leading zeros, other base64, text after the third line): there is one. Logs of
   others may have extension lines; a witness takes those (`verify_log_of_others`), a client of a Vault never.
3. A cosignature made for another checkpoint, or whose time was changed: both are signed.
4. One witness that counts twice: cosignatures are counted by key, since they do not sign the witness's name.
5. Terminal codes, or an end of line that only some readers see, in a text that is signed: no control characters.

Cosignatures by ML-DSA-44 (type 6) are lines of keys that nobody here knows: ignored, like all such.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.limits import MAX_CHECKPOINT
from strongroom.protocol.primitives import NoteKey, verify_note_signature

ED25519: Final = 0x01
"""Type of a log's key."""
COSIGNATURE: Final = 0x04
"""Type of a witness's key."""

MAX_FOREIGN_NOTE: Final = 128 * 1024
"""Bytes of a signed checkpoint of anybody's log: room for the 16 signatures that signed-note wants read."""

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_MAX_WITNESS_NAME: Final = 128
"""Bytes: with MAX_WITNESSES of them a checkpoint fits into MAX_CHECKPOINT."""
_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")
_MAX_SIZE: Final = 2**63 - 1
_KEY_ID: Final = 4
_MARK: Final = "\N{EM DASH} "
_LINE: Final = re.compile(rf"{_MARK}({_NAME.pattern}) ([0-9A-Za-z+/]+={{0,2}})")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


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
    if not raw or not _NAME.fullmatch(name):
        raise Misuse(Number.MALFORMED, "a verifier key is NAME+HASH+KEY")
    if kind == COSIGNATURE and len(name.encode()) > _MAX_WITNESS_NAME:
        raise Misuse(Number.MALFORMED, f"the name of a witness has at most {_MAX_WITNESS_NAME} bytes")
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
    extensions: tuple[str, ...] = ()
    """Further lines, which no Vault's log has."""

    @property
    def body(self) -> str:
        """What is signed."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint with its signature lines, none of them believed."""

    checkpoint: Checkpoint
    lines: tuple[str, ...]

    @cached_property
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
    """Of a Vault's log. Raises `Untrusted` INTEGRITY for what is no signed checkpoint in its one spelling."""
    signed = _parsed(note, MAX_CHECKPOINT)
    if signed.checkpoint.extensions:
        raise _bad("it says more than a log, a size and a root hash")
    return signed


def _parsed(note: bytes, limit: int) -> SignedCheckpoint:
    body, separator, signatures = _text(note, limit).rpartition("\n\n")
    fields = body.split("\n")
    if not separator or len(fields) < 3 or not all(fields):
        raise _bad("it is not three lines or more, an empty one, and signatures")
    origin, size, root, *extensions = fields
    decoded = _decoded(root)
    if not _SIZE.fullmatch(size) or int(size) > _MAX_SIZE or decoded is None or len(decoded) != 32:
        raise _bad("it does not name a log, a size and a root hash")
    return SignedCheckpoint(Checkpoint(origin, int(size), decoded, tuple(extensions)), _signature_lines(signatures))


def sign_checkpoint(key: NoteKey, checkpoint: Checkpoint) -> SignedCheckpoint:
    """Signed by its log, whose key has the name of its origin."""
    verifier = Verifier(checkpoint.origin, ED25519, key.public)
    return SignedCheckpoint(checkpoint, (_line(verifier, key.sign(checkpoint.body.encode())),))


def verify_checkpoint(note: bytes, log: Verifier) -> SignedCheckpoint:
    """Of exactly this log, signed by it. Raises `Untrusted` INTEGRITY."""
    signed = parse_checkpoint(note)
    if signed.checkpoint.origin != log.name:
        raise _bad("it is of another log")
    _verify_log_lines(signed, [log])
    return signed


def parse_checkpoint_of_others(note: bytes) -> SignedCheckpoint:
    """Of any log, with extension lines if it has some. Raises `Untrusted` INTEGRITY."""
    return _parsed(note, MAX_FOREIGN_NOTE)


def verify_log_of_others(signed: SignedCheckpoint, keys: Sequence[Verifier]) -> SignedCheckpoint:
    """Signed by one of a log's `keys` at least, and by none of them wrongly; the lines are those of `keys`, each once.

    For witnesses. Whose origin it is, the caller has looked up. Raises `Untrusted` INTEGRITY.
    """
    return SignedCheckpoint(signed.checkpoint, _verify_log_lines(signed, keys))


def _verify_log_lines(signed: SignedCheckpoint, keys: Sequence[Verifier]) -> tuple[str, ...]:
    """The first line of each key: the same again costs who sends it nothing, and would cost us a verification."""
    message = signed.checkpoint.body.encode()
    found: dict[bytes, str] = {}
    for line in signed.lines:
        for key in keys:
            signature = _signature_of(line, key, 64)
            if signature is not None and key.public not in found:
                verify_note_signature(key.public, signature, message)
                found[key.public] = line
    if not found:
        raise _bad("its log has not signed it")
    return tuple(found.values())


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
            if not 0 < time < 2**63:  # none at all: no word about what the witness saw last
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
    return list(_signature_lines(_text(text, MAX_CHECKPOINT)))


def _text(note: bytes, limit: int) -> str:
    if len(note) > limit:
        raise _bad("it is too long")
    try:
        text = note.decode()
    except UnicodeDecodeError:
        raise _bad("it is not UTF-8") from None
    if _CONTROL.search(text):
        raise _bad("it holds a control character")
    return text


def _signature_lines(text: str) -> tuple[str, ...]:
    lines = text.split("\n")
    if lines.pop() != "" or not lines:
        raise _bad("it does not end with signature lines")
    for line in lines:
        found = _LINE.fullmatch(line)
        raw = _decoded(found[2]) if found else None
        if raw is None or len(raw) <= _KEY_ID:
            raise _bad("a line is not a signature")
    return tuple(lines)


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
