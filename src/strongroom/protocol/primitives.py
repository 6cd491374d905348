"""Every cryptographic call of Strongroom and every domain label, in one file.

Suite of protocol version 1, without options: SHA-256, HMAC-SHA256, HKDF-SHA256, AES-256-GCM, ECDSA P-256 with
SHA-256 (raw r ‖ s), HPKE (RFC 9180) with KEM MLKEM768-X25519 (0x647a), HKDF-SHA256 and AES-256-GCM. Checkpoints of the
log and their cosignatures are Ed25519, because C2SP says so.

Why each nonce is safe stands beside the call. Randomness is passed in, or drawn by `cryptography` when it makes
a key. `spec/primitives.md` is the prose, `spec/vectors/authenticated-bytes.txt` pins what is authenticated.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum, unique
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from strongroom.protocol.errors import Number, Untrusted

KEM_PUBLIC_KEY: Final = 1216
"""Bytes of an HPKE public key: ML-KEM-768 encapsulation key (1184) ‖ X25519 public key (32)."""
KEM_SEED: Final = 32
SIGNATURE: Final = 64
SIGNING_PUBLIC_KEY: Final = 65
"""Bytes of a P-256 public key, uncompressed SEC 1 form (first byte 04)."""
TAG: Final = 16


@unique
class Domain(Enum):
    """Domain labels: no bytes authenticated for one purpose are ever valid for another."""

    GENESIS = "genesis"
    REPORT_DATA = "report data"
    CLAIMS_SIGNATURE = "claims signature"
    EVIDENCE = "evidence"
    RATCHET_STEP = "ratchet step"
    RATCHET_KEY = "ratchet key"
    HELLO = "hello"
    ANSWER = "answer"
    SERVER_SEED = "server seed"
    TRANSCRIPT = "transcript"
    PROOF = "proof"
    TRAFFIC = "traffic"
    FRAME = "frame"
    RING = "ring"
    RING_TOKEN = "ring token"  # noqa: S105
    RING_WRAP = "ring wrap"
    INSTANCE_WRAP = "instance wrap"
    RECOVERY_WRAP = "recovery wrap"
    CUSTODIAN_KEY = "custodian key"
    COUNCIL = "council"
    ACCEPTANCE = "acceptance"
    ENDORSEMENT = "endorsement"
    SHARE = "share"
    ATTEMPT = "attempt"
    GAP = "gap"
    INVITATION = "invitation"
    RELEASES = "releases"
    RECORD_HANDLE = "record handle"
    NAMESPACE_HANDLE = "namespace handle"
    USAGE_HANDLE = "usage handle"
    ATTEMPTS_HANDLE = "attempts handle"
    JOURNAL_HANDLE = "journal handle"
    BLOB_HANDLE = "blob handle"
    RING_HANDLE = "ring handle"
    RECORD = "record"
    LOG_KEY = "log key"
    LOG_ENTRY = "log entry"
    LOG_COMMITMENT = "log commitment"
    HEAD_HANDLE = "head handle"
    BUCKET_HANDLE = "bucket handle"
    BUCKET = "bucket"
    ROW = "row"
    PAYLOAD = "payload"
    OPENING = "opening"
    INSTRUCTIONS = "instructions"
    METHOD = "method"
    RULES = "rules"
    CONTEXT = "context"
    POLICY = "policy"
    DECISION = "decision"
    NONCE = "nonce"
    CAPSULE = "capsule"
    TICKET = "ticket"
    DEVICE_FLOW = "device flow"
    CHALLENGE = "challenge"
    CEREMONY = "ceremony"
    WORKLOAD_AUDIENCE = "workload audience"
    EMAIL_CODE = "email code"
    STANDING_HANDLE = "standing handle"
    MARKS_HANDLE = "marks handle"
    MARK = "mark"
    BLOB = "blob"
    PLATFORM_SEALING = "platform sealing"
    MEASUREMENT = "measurement"
    SYNTHETIC_PKI = "synthetic pki"

    def __init__(self, purpose: str) -> None:
        self.prefix = b"strongroom/v1 " + purpose.encode("ascii") + b"\x00"
        """Label and its end: no label is the beginning of another one's framed parts."""


def frame_parts(domain: Domain, *parts: bytes) -> bytes:
    """label ‖ 00 ‖ (length of part, 8 bytes big-endian ‖ part)*: injective, so no two lists of parts collide."""
    framed = [domain.prefix]
    for part in parts:
        framed += (len(part).to_bytes(8, "big"), part)
    return b"".join(framed)


def digest(domain: Domain, *parts: bytes) -> bytes:
    """SHA-256 (32 bytes) over the framed parts."""
    return hashlib.sha256(frame_parts(domain, *parts)).digest()


def fingerprint(der: bytes) -> bytes:
    """SHA-256 (32 bytes) of a certificate's DER, without label, so that it equals what other tools print."""
    return hashlib.sha256(der).digest()


def keyed_hash(key: bytes, domain: Domain, *parts: bytes) -> bytes:
    """HMAC-SHA256 (32 bytes) over the framed parts."""
    return hmac.digest(key, frame_parts(domain, *parts), "sha256")


def derive_key(secret: bytes, domain: Domain, *parts: bytes, salt: bytes = b"", length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869) with the framed parts as info."""
    return HKDF(hashes.SHA256(), length, salt or None, frame_parts(domain, *parts)).derive(secret)


def expand_key(key: bytes, domain: Domain, *parts: bytes) -> bytes:
    """HKDF-Expand alone (RFC 5869 §2.3) to 32 bytes: for a `key` that is uniformly random already."""
    return HKDFExpand(hashes.SHA256(), 32, frame_parts(domain, *parts)).derive(key)


def equal(a: bytes, b: bytes) -> bool:
    """Comparison in constant time."""
    return hmac.compare_digest(a, b)


# --- AES-256-GCM ----------------------------------------------------------------------------------------------

_ZERO_NONCE: Final = bytes(12)


def seal_once(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM with the all-zero nonce. Safe only because every `key` given here is derived with a fresh
    random salt and seals exactly one message: callers are listed in `spec/primitives.md`."""
    return AESGCM(key).encrypt(_ZERO_NONCE, plaintext, associated)


def open_once(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The inverse of `seal_once`. Raises `Untrusted` INTEGRITY."""
    try:
        return AESGCM(key).decrypt(_ZERO_NONCE, sealed, associated)
    except (InvalidTag, ValueError):
        raise Untrusted(Number.INTEGRITY) from None


class FrameCipher:
    """AES-256-GCM of one direction of one session: nonce = 32 zero bits ‖ 64-bit counter.

    The key is fresh per session and direction, and a sender's counter never repeats, so no nonce repeats.
    """

    __slots__ = ("_aead", "_associated")

    def __init__(self, key: bytes, session_id: bytes, direction: bytes) -> None:
        self._aead = AESGCM(key)
        self._associated = frame_parts(Domain.FRAME, session_id, direction)

    def seal(self, counter: int, plaintext: bytes) -> bytes:
        n = counter.to_bytes(8, "big")
        return self._aead.encrypt(b"\x00\x00\x00\x00" + n, plaintext, self._associated + n)

    def open(self, counter: int, sealed: bytes) -> bytes:
        n = counter.to_bytes(8, "big")
        try:
            return self._aead.decrypt(b"\x00\x00\x00\x00" + n, sealed, self._associated + n)
        except (InvalidTag, ValueError):
            raise Untrusted(Number.INTEGRITY) from None


# --- HPKE -----------------------------------------------------------------------------------------------------

_HPKE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class KemKey:
    """An HPKE private key, expanded from a 32-byte seed as X-Wing does: SHAKE-256(seed, 96) =
    ML-KEM seed d ‖ z (64) ‖ X25519 private key (32)."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEM_SEED:
            raise ValueError("a KEM seed is 32 bytes")
        expanded = hashlib.shake_256(seed).digest(96)
        post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        classical = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private = MLKEM768X25519PrivateKey(post_quantum, classical)
        self.public: Final = post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()

    def open(self, sealed: bytes, domain: Domain, *info: bytes) -> bytes:
        """Open `enc (1120) ‖ ciphertext`. Raises `Untrusted` INTEGRITY."""
        try:
            return _HPKE.decrypt(sealed, self._private, info=frame_parts(domain, *info))
        except (InvalidTag, ValueError):
            raise Untrusted(Number.INTEGRITY) from None

    def __repr__(self) -> str:
        return "KemKey(redacted)"


def kem_seal(public: bytes, plaintext: bytes, domain: Domain, *info: bytes) -> bytes:
    """HPKE base mode, single shot: `enc (1120) ‖ ciphertext`. Raises `Untrusted` for a public key that is none."""
    try:
        key = MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]),
            x25519.X25519PublicKey.from_public_bytes(public[1184:]),
        )
        return _HPKE.encrypt(plaintext, key, info=frame_parts(domain, *info))
    except ValueError:
        raise Untrusted(Number.EVIDENCE, "not an HPKE public key") from None


# --- ECDSA P-256 ----------------------------------------------------------------------------------------------


class SigningKey:
    """An ECDSA P-256 private key; signatures are raw r ‖ s (64 bytes), as WebCrypto makes them."""

    __slots__ = ("_private", "public")

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        numbers = private.public_key().public_numbers()
        self.public: Final = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_scalar(cls, scalar: bytes) -> SigningKey:
        """From the 32-byte private scalar. Raises ValueError when it is out of range."""
        return cls(ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1()))

    @property
    def scalar(self) -> bytes:
        return self._private.private_numbers().private_value.to_bytes(32, "big")

    def sign(self, domain: Domain, *parts: bytes) -> bytes:
        signature = self._private.sign(frame_parts(domain, *parts), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def __repr__(self) -> str:
        return "SigningKey(redacted)"


def verify_signature(public: bytes, signature: bytes, domain: Domain, *parts: bytes) -> None:
    """Raises `Untrusted` unless `signature` (64 bytes) is one of the framed parts under `public` (65 bytes)."""
    try:
        if len(signature) != SIGNATURE or len(public) != SIGNING_PUBLIC_KEY or public[0] != 4:
            raise ValueError
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        key.verify(der, frame_parts(domain, *parts), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        raise Untrusted(Number.INTEGRITY, "bad signature") from None


# --- Ed25519 --------------------------------------------------------------------------------------------------

NOTE_PUBLIC_KEY: Final = 32
NOTE_SEED: Final = 32


class NoteKey:
    """An Ed25519 private key (RFC 8032) for one purpose: checkpoints of one log, or one witness's cosignatures.

    What it signs has no label of `Domain`: C2SP prescribes every byte (`protocol.notes`). So no other purpose may
    ever have the same key.
    """

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        """From 32 random bytes."""
        self._private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return "NoteKey(redacted)"


def verify_note_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Raises `Untrusted` INTEGRITY unless `signature` (64 bytes) is one of `message` under `public` (32 bytes)."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Untrusted(Number.INTEGRITY, "bad signature") from None


# --- padding --------------------------------------------------------------------------------------------------

_SMALLEST_BUCKET: Final = 256


def _bucket(size: int) -> int:
    return max(_SMALLEST_BUCKET, 1 << size.bit_length())


def pad(message: bytes) -> bytes:
    """ISO/IEC 7816-4 padding (80 00…) up to the next power of two, at least 256: sizes tell buckets only."""
    return (message + b"\x80").ljust(_bucket(len(message)), b"\x00")


def unpad(padded: bytes) -> bytes:
    """The inverse of `pad`, given authentic bytes. Raises `Untrusted` unless they are exactly one padding."""
    end = padded.rfind(b"\x80")
    if end < 0 or len(padded) != _bucket(end) or padded[end + 1 :] != bytes(len(padded) - end - 1):
        raise Untrusted(Number.INTEGRITY, "bad padding")
    return padded[:end]
