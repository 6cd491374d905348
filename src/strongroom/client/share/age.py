"""age, version 1 (https://c2sp.org/age): header, hybrid and X25519 recipients, streaming payload.

Recipients and what encrypts to them stand in `protocol.age`, since an enclave needs them, too; identities, opening and
streams stand here. Bytes in, bytes out, in pieces of any size; at most one chunk of 64 KiB is held back. Whatever does
not verify is `Damaged`, and nothing of a chunk is handed out before its tag held.

age does not say who encrypted: whoever knows a recipient can make a valid file for it. Callers check digests first.

    recipient = parse_identity(generate_identity()).recipient
    sealer = Sealer(recipient)
    sealed = sealer.seal(b"some bytes") + sealer.finish()
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64decode
from hashlib import shake_256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from strongroom.client.errors import BadInput
from strongroom.client.share.errors import Damaged
from strongroom.protocol import age
from strongroom.protocol.age import CHUNK, COLUMNS, ENCAPSULATED, FILE_KEY, NONCE, VERSION_LINE, Recipient, Stanza
from strongroom.protocol.bech32 import decode_bech32, encode_bech32
from strongroom.protocol.errors import Misuse

__all__ = [
    "CHUNK",
    "HEADER",
    "MAX_HEADER",
    "NONCE",
    "TAG",
    "HybridIdentity",
    "Identity",
    "Opener",
    "Recipient",
    "Sealer",
    "X25519Identity",
    "age_length",
    "generate_identity",
    "parse_identity",
    "parse_recipient",
]

TAG: Final = 16
HEADER: Final = 1627
"""Bytes of a header whose only stanza is a hybrid one."""
MAX_HEADER: Final = 64 * 1024

_HYBRID_IDENTITY: Final = "AGE-SECRET-KEY-PQ-"
_X25519_IDENTITY: Final = "AGE-SECRET-KEY-"
_WRAPPED: Final = FILE_KEY + TAG

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*")
_ARGUMENTS: Final = re.compile(rb"-> [\x21-\x7e]+(?: [\x21-\x7e]+)*")


def age_length(size: int) -> int:
    """Bytes of the age file that holds `size` bytes, encrypted to one hybrid recipient."""
    return HEADER + NONCE + size + TAG * max(1, -(-size // CHUNK))


class HybridIdentity:
    """A private key of type `mlkem768x25519`, expanded from 32 bytes as X-Wing does."""

    __slots__ = ("_private", "recipient")

    def __init__(self, seed: bytes) -> None:
        expanded = shake_256(seed).digest(96)
        post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        classical = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private = MLKEM768X25519PrivateKey(post_quantum, classical)
        public = post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
        self.recipient: Final = Recipient(encode_bech32(age.HYBRID_RECIPIENT, public), self._private.public_key())

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or None if the stanza is for somebody else. Raises `Damaged` for one that is malformed."""
        if stanza.arguments[0] != age.HYBRID:
            return None
        encapsulated = _verified_arguments(stanza, ENCAPSULATED)
        try:
            return age.HPKE.decrypt(encapsulated + stanza.body, self._private, info=age.HYBRID_INFO)
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return "HybridIdentity(redacted)"


class X25519Identity:
    """A private key of type `X25519`, to read what other tools made for it."""

    __slots__ = ("_private", "_public", "recipient")

    def __init__(self, scalar: bytes) -> None:
        self._private = x25519.X25519PrivateKey.from_private_bytes(scalar)
        self._public = self._private.public_key().public_bytes_raw()
        self.recipient: Final = Recipient(encode_bech32(age.X25519_RECIPIENT, self._public), self._private.public_key())

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """As `HybridIdentity.unwrap`."""
        if stanza.arguments[0] != age.X25519:
            return None
        share = _verified_arguments(stanza, 32)
        try:
            shared = self._private.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise Damaged("its header holds a weak key share") from None
        key = age.derive(shared, share + self._public, age.X25519_INFO)
        try:
            return ChaCha20Poly1305(key).decrypt(bytes(12), stanza.body, None)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return "X25519Identity(redacted)"


Identity = HybridIdentity | X25519Identity


def generate_identity() -> str:
    """A new hybrid identity as text, `AGE-SECRET-KEY-PQ-1…`."""
    return encode_bech32(_HYBRID_IDENTITY.lower(), secrets.token_bytes(32)).upper()


def parse_identity(text: str) -> Identity:
    """The identity that `text` writes: hybrid or X25519. Raises `BadInput`, whose words never quote the text."""
    try:
        prefix, seed = decode_bech32(text)
    except ValueError:
        prefix, seed = "", b""
    if text.isupper() and len(seed) == 32:
        if prefix == _HYBRID_IDENTITY.lower():
            return HybridIdentity(seed)
        if prefix == _X25519_IDENTITY.lower():
            return X25519Identity(seed)
    raise BadInput("this is not an age identity", "it begins with AGE-SECRET-KEY-PQ-1 or AGE-SECRET-KEY-1")


def parse_recipient(text: str) -> Recipient:
    """The recipient that `text` writes: hybrid or X25519. Raises `BadInput`."""
    try:
        return age.parse_recipient(text)
    except Misuse:
        raise BadInput("this is not an age recipient", "it begins with age1pq1 or age1") from None


class Sealer:
    """Encrypts one stream. `seal` any number of times, then `finish` once; their answers one behind the other are the
    age file."""

    def __init__(self, recipient: Recipient) -> None:
        file_key = secrets.token_bytes(FILE_KEY)
        nonce = secrets.token_bytes(NONCE)
        self._payload = _Payload(file_key, nonce)
        self._ready = age.write_header(file_key, recipient.wrap(file_key)) + nonce
        self._held = bytearray()

    def seal(self, data: bytes) -> bytes:
        """Ciphertext of all but what may turn out to be the last chunk."""
        self._held += data
        out = [self._ready]
        self._ready = b""
        at = 0
        with memoryview(self._held) as held:
            while len(held) - at > CHUNK:  # the last chunk is sealed as such, so it is never sealed here
                out.append(self._payload.seal(held[at : at + CHUNK], last=False))
                at += CHUNK
        del self._held[:at]
        return b"".join(out)

    def finish(self) -> bytes:
        """The rest."""
        return self._ready + self._payload.seal(bytes(self._held), last=True)


class Opener:
    """Decrypts one stream. `open` any number of times, then `finish` once. Both raise `Damaged`."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._held = bytearray()
        self._file_key: bytes | None = None
        self._payload: _Payload | None = None

    def open(self, data: bytes) -> bytes:
        """Plaintext of all but what may turn out to be the last chunk."""
        self._held += data
        payload = self._begun()
        if payload is None:
            return b""
        out = []
        at = 0
        with memoryview(self._held) as held:
            while len(held) - at > CHUNK + TAG:
                out.append(payload.open(held[at : at + CHUNK + TAG], last=False))
                at += CHUNK + TAG
        del self._held[:at]
        return b"".join(out)

    def finish(self) -> bytes:
        """The last chunk. Only now is it sure that nothing was cut off."""
        payload = self._begun()
        if payload is None:
            raise Damaged("it ends within its header")
        last = payload.open(bytes(self._held), last=True)
        if not last and payload.counter > 1:
            raise Damaged("its last chunk is empty")
        return last

    def _begun(self) -> _Payload | None:
        """The payload's cipher as soon as header and nonce are there."""
        if self._payload is not None:
            return self._payload
        if self._file_key is None:
            end = _end_of_header(self._held)
            if end is None:
                if len(self._held) > MAX_HEADER:
                    raise Damaged("its header has no end")
                return None
            self._file_key = _open_header(bytes(self._held[:end]), self._identity)
            del self._held[:end]
        if len(self._held) < NONCE:
            return None
        self._payload = _Payload(self._file_key, bytes(self._held[:NONCE]))
        del self._held[:NONCE]
        return self._payload


class _Payload:
    """STREAM: chunk n under nonce = 88-bit counter ‖ 01 for the last chunk, 00 for all others.

    The key is derived from a fresh file key and nonce, and the counter never repeats, so no nonce does. Chunks can't
    change places, and a file that was cut off has no chunk that opens as the last.
    """

    __slots__ = ("_aead", "counter")

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._aead = age.payload_cipher(file_key, nonce)
        self.counter = 0
        """Chunks so far."""

    def seal(self, chunk: bytes | memoryview, *, last: bool) -> bytes:
        return self._aead.encrypt(self._nonce(last=last), chunk, None)

    def open(self, chunk: bytes | memoryview, *, last: bool) -> bytes:
        try:
            return self._aead.decrypt(self._nonce(last=last), chunk, None)
        except (InvalidTag, ValueError):
            raise Damaged(f"chunk {self.counter} does not open") from None

    def _nonce(self, *, last: bool) -> bytes:
        nonce = age.chunk_nonce(self.counter, last=last)
        self.counter += 1
        return nonce


# --- header ---------------------------------------------------------------------------------------------------


def _end_of_header(data: bytearray) -> int | None:
    """Bytes up to and with the line of the MAC; None if it is not there yet. Raises `Damaged` for other formats."""
    if not VERSION_LINE.startswith(bytes(data[: len(VERSION_LINE)])):
        raise Damaged("it is not an age file of version 1")
    at = data.find(b"\n--- ", 0, MAX_HEADER)
    end = data.find(b"\n", at + 5, MAX_HEADER) if at >= 0 else -1
    return end + 1 if end >= 0 else None


def _open_header(header: bytes, identity: Identity) -> bytes:
    """The file key. Raises `Damaged`, also where no stanza is for this identity."""
    stanzas, head, mac = _parse_header(header)
    for stanza in stanzas:
        file_key = identity.unwrap(stanza)
        if file_key is None:
            continue
        if not hmac.compare_digest(age.header_mac(file_key, head), mac):
            raise Damaged("its header was altered")
        return file_key
    raise Damaged("it is encrypted to another key")


def _parse_header(header: bytes) -> tuple[list[Stanza], bytes, bytes]:
    """Stanzas, the bytes under the MAC, the MAC."""
    lines = header.split(b"\n")[1:-1]  # without the version, and what follows the last line feed: nothing
    stanzas = []
    while lines and lines[0].startswith(b"->"):
        first = lines.pop(0)
        if not _ARGUMENTS.fullmatch(first):
            raise Damaged("its header has a malformed stanza")
        body = []
        while lines:
            body.append(lines.pop(0))
            if len(body[-1]) < COLUMNS:
                break
        if not body or len(body[-1]) >= COLUMNS or any(len(line) > COLUMNS for line in body):
            raise Damaged("its header has a stanza without an end")
        stanzas.append(Stanza(tuple(first.decode("ascii").split(" ")[1:]), _decode64(b"".join(body))))
    if not stanzas or len(lines) != 1 or not lines[0].startswith(b"--- "):
        raise Damaged("its header is malformed")
    mac = _decode64(lines[0][4:])
    if len(mac) != 32:
        raise Damaged("its header has no whole MAC")
    return stanzas, header[: -len(lines[0]) - 1 + 3], mac


def _verified_arguments(stanza: Stanza, size: int) -> bytes:
    """The one argument besides the type, decoded. The lengths are fixed, so that no guess tells which key opened it."""
    if len(stanza.arguments) != 2:
        raise Damaged("its header has a malformed stanza")
    argument = _decode64(stanza.arguments[1].encode())
    if len(argument) != size or len(stanza.body) != _WRAPPED:
        raise Damaged("its header has a malformed stanza")
    return argument


def _decode64(text: bytes) -> bytes:
    """Only what `age.encode64` writes. Raises `Damaged`."""
    if not _BASE64.fullmatch(text) or len(text) % 4 == 1:
        raise Damaged("its header holds what is not base64")
    data = b64decode(text + b"=" * (-len(text) % 4))
    if age.encode64(data).encode() != text:
        raise Damaged("its header holds what is not base64")
    return data
