"""age, version 1 (https://c2sp.org/age), as far as encrypting goes: recipients, header, and a payload of one chunk.

The enclave encrypts custodians' shares with it, so that its host never sees one; `client.share.age` builds on it what
opens files and streams them. Here and not from a library, since none for Python knows the hybrid recipient
(`mlkem768x25519`). Only the format is ours: every primitive is a call of `cryptography`. Randomness is passed in, or
drawn by `cryptography` where it makes a key.

Attack stopped here: a recipient of low order, for which anybody who sees the file could open it.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.protocol.bech32 import decode_bech32
from strongroom.protocol.errors import Misuse, Number

CHUNK: Final = 64 * 1024
NONCE: Final = 16
FILE_KEY: Final = 16
VERSION_LINE: Final = b"age-encryption.org/v1\n"
HYBRID: Final = "mlkem768x25519"
X25519: Final = "X25519"
HYBRID_INFO: Final = b"age-encryption.org/mlkem768x25519"
X25519_INFO: Final = b"age-encryption.org/v1/X25519"
HYBRID_RECIPIENT: Final = "age1pq"
X25519_RECIPIENT: Final = "age"
ENCAPSULATED: Final = 1120
COLUMNS: Final = 64
HPKE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)

_MLKEM_PUBLIC: Final = 1184


class Stanza(NamedTuple):
    """One wrapping of the file key."""

    arguments: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom to encrypt to. `text` is what is passed on: `age1pq1…` or `age1…`."""

    text: str
    _public: MLKEM768X25519PublicKey | x25519.X25519PublicKey = field(repr=False, compare=False)

    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza from which only the identity gets the file key."""
        if isinstance(self._public, MLKEM768X25519PublicKey):
            sealed = HPKE.encrypt(file_key, self._public, info=HYBRID_INFO)
            return Stanza((HYBRID, encode64(sealed[:ENCAPSULATED])), sealed[ENCAPSULATED:])
        ephemeral = x25519.X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        key = derive(ephemeral.exchange(self._public), share + self._public.public_bytes_raw(), X25519_INFO)
        # One message under a key derived from a fresh ephemeral share: the nonce is never used again with it.
        return Stanza((X25519, encode64(share)), ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))


def parse_recipient(text: str) -> Recipient:
    """The recipient that `text` writes: hybrid or X25519, in its one form. Raises `Misuse` COUNCIL_INVALID."""
    try:
        prefix, key = decode_bech32(text)
        if text.islower() and prefix == HYBRID_RECIPIENT and len(key) == _MLKEM_PUBLIC + 32:
            post_quantum = mlkem.MLKEM768PublicKey.from_public_bytes(key[:_MLKEM_PUBLIC])
            hybrid = MLKEM768X25519PublicKey(post_quantum, _x25519(key[_MLKEM_PUBLIC:]))
            return Recipient(text, hybrid)
        if text.islower() and prefix == X25519_RECIPIENT and len(key) == 32:
            return Recipient(text, _x25519(key))
    except ValueError:
        pass
    raise Misuse(Number.COUNCIL_INVALID, "this is not an age recipient: it begins with age1pq1 or age1")


def seal_age(recipient: Recipient, plaintext: bytes, *, file_key: bytes, nonce: bytes) -> bytes:
    """An age file of at most one chunk, encrypted to `recipient`. `file_key` and `nonce` are 16 fresh random bytes
    each."""
    if len(plaintext) > CHUNK or (len(file_key), len(nonce)) != (FILE_KEY, NONCE):
        raise ValueError("this is for small payloads, and fresh keys of 16 bytes")
    # The key is derived from a fresh file key and nonce, and seals this one chunk.
    payload = payload_cipher(file_key, nonce).encrypt(chunk_nonce(0, last=True), plaintext, None)
    return write_header(file_key, recipient.wrap(file_key)) + nonce + payload


def write_header(file_key: bytes, stanza: Stanza) -> bytes:
    """The header of a file with one recipient."""
    body = encode64(stanza.body)
    lines = [VERSION_LINE, f"-> {' '.join(stanza.arguments)}\n".encode()]
    # The line that ends a body is shorter than the others, and may be empty.
    lines += [f"{body[at : at + COLUMNS]}\n".encode() for at in range(0, len(body) + 1, COLUMNS)]
    head = b"".join([*lines, b"---"])
    return head + b" " + encode64(header_mac(file_key, head)).encode() + b"\n"


def header_mac(file_key: bytes, head: bytes) -> bytes:
    """MAC (32 bytes) of a header up to and with `---`."""
    return hmac.digest(derive(file_key, b"", b"header"), head, "sha256")


def payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    """The cipher of a payload's chunks, each under its `chunk_nonce`."""
    return ChaCha20Poly1305(derive(file_key, nonce, b"payload"))


def chunk_nonce(counter: int, *, last: bool) -> bytes:
    """STREAM: an 88-bit counter, then 01 for the last chunk, 00 for all others."""
    return counter.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 to 32 bytes: age's labels, not ours."""
    return HKDF(hashes.SHA256(), 32, salt or None, info).derive(secret)


def encode64(data: bytes) -> str:
    """Base64 without padding."""
    return b64encode(data).rstrip(b"=").decode("ascii")


def _x25519(raw: bytes) -> x25519.X25519PublicKey:
    """Raises ValueError for a point of low order: what is agreed on with it, everybody knows."""
    key = x25519.X25519PublicKey.from_public_bytes(raw)
    x25519.X25519PrivateKey.generate().exchange(key)  # the library refuses when the outcome is zero
    return key
