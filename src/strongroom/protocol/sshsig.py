"""Public keys and signatures as OpenSSH writes them (RFC 4253 §6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f and
PROTOCOL.sshsig): Ed25519 and P-256, as plain keys and as security keys (`sk-`).

A reader of its own, a few fields long, since a key is known by its exact bytes: OpenSSH's and other loaders drop the
application of a security key, or take several forms of one key. What they mean is left to `cryptography`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256, sha512
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from strongroom.protocol.errors import Misuse, Number, Untrusted

NAMESPACE: Final = b"strongroom"
"""So that nothing that was signed for a login, a commit or a file is ever a sign-in here, nor the other way round."""
PRESENT: Final = 0x01
VERIFIED: Final = 0x04

_ED25519: Final = b"ssh-ed25519"
_P256: Final = b"ecdsa-sha2-nistp256"
_SK_ED25519: Final = b"sk-ssh-ed25519@openssh.com"
_SK_P256: Final = b"sk-ecdsa-sha2-nistp256@openssh.com"
_CURVE: Final = b"nistp256"
_POINT: Final = 65
_MAX_INTEGER: Final = 33

_FIELD: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _FIELD) % _FIELD
_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER: Final = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""y of the eight points whose multiples are but a handful (RFC 7748 §7, RFC 8032 §5.1)."""


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key, and what its signatures look like."""

    kind: bytes
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    application: bytes | None
    """Of a security key: whom it makes signatures for. None for a plain key."""


@dataclass(frozen=True, slots=True)
class Touch:
    """What a security key says beside its signature, under it."""

    flags: int
    counter: int


@lru_cache(maxsize=1024)  # methods are verified at each message of a sign-in, and a square costs 0.2 ms to tell
def parse_ssh_key(public_key: bytes) -> SshKey:
    """Raises `Misuse` METHOD_INVALID for everything but a key of the four types in its one form."""
    try:
        return _parse_key(_Reader(public_key))
    except ValueError as error:
        raise Misuse(Number.METHOD_INVALID, str(error)) from None


def parse_key_line(line: str) -> bytes:
    """The key in a line of a `.pub` file (type, base64, and any name), as OpenSSH writes it. Raises `Misuse`
    METHOD_INVALID for everything but a key that `parse_ssh_key` takes."""
    kind, _, rest = line.strip().partition(" ")
    try:
        public_key = b64decode(rest.strip().partition(" ")[0], validate=True)
    except ValueError:
        public_key = b""
    if not public_key.startswith(_string(kind.encode())):
        raise Misuse(Number.METHOD_INVALID, "not a line of a .pub file, as: ssh-ed25519 AAAA… name")
    parse_ssh_key(public_key)
    return public_key


def key_line(public_key: bytes) -> str:
    """The same, without a name."""
    return f"{_Reader(public_key).string().decode()} {b64encode(public_key).decode()}"


def verify_sshsig(
    key: SshKey, untrusted_signature: bytes, message: bytes, namespace: bytes = NAMESPACE
) -> Touch | None:
    """Raises `Untrusted` TOKEN_UNTRUSTED unless this is a signature of `message` for this namespace. `Touch` of a
    security key: whether it is enough, the caller says."""
    signed = b"SSHSIG" + b"".join(map(_string, (namespace, b"", b"sha512", sha512(message).digest())))
    touch = None
    try:
        fields = _Reader(untrusted_signature)
        if fields.string() != key.kind:
            raise ValueError("the signature is of another type than the key")
        signature = fields.string()
        if key.application is not None:
            touch = Touch(fields.number(1), fields.number(4))
            said = bytes([touch.flags]) + touch.counter.to_bytes(4, "big")
            signed = sha256(key.application).digest() + said + sha256(signed).digest()
        fields.end()
        if isinstance(key.public, ed25519.Ed25519PublicKey):
            key.public.verify(signature, signed)
        else:
            key.public.verify(_der(_Reader(signature)), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Untrusted(Number.TOKEN_UNTRUSTED, "bad signature") from None
    except ValueError as error:
        raise Untrusted(Number.TOKEN_UNTRUSTED, str(error)) from None
    return touch


def _parse_key(fields: _Reader) -> SshKey:
    kind = fields.string()
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    if kind in (_ED25519, _SK_ED25519):
        public = _ed25519(fields.string())
    elif kind in (_P256, _SK_P256):
        if fields.string() != _CURVE:
            raise ValueError("an ecdsa key is not of the curve nistp256")
        public = _p256(fields.string())
    else:
        raise ValueError("a key is not ssh-ed25519, ecdsa-sha2-nistp256 or one of their sk- types")
    application = fields.string() if kind in (_SK_ED25519, _SK_P256) else None
    fields.end()
    if application is not None and not (application and all(0x20 <= byte < 0x7F for byte in application)):
        raise ValueError("the application of a security key is not printable ASCII")
    return SshKey(kind, public, application)


def _ed25519(point: bytes) -> ed25519.Ed25519PublicKey:
    """For a point of low order anybody can sign; for one off the curve nobody could, and its owner were locked out.
    The library looks at neither before it verifies."""
    if len(point) != 32:
        raise ValueError("an Ed25519 key is not 32 bytes long")
    y = int.from_bytes(point, "little") & (2**255 - 1)
    if y >= _FIELD or y in _LOW_ORDER:
        raise ValueError("an Ed25519 key is of low order, or not in its one form")
    # Euler's criterion for x² = (y² - 1) / (dy² + 1), RFC 8032 §5.1.3.
    if pow((y * y - 1) * (_D * y * y + 1), (_FIELD - 1) // 2, _FIELD) != 1:
        raise ValueError("an Ed25519 key is not a point of the curve")
    return ed25519.Ed25519PublicKey.from_public_bytes(point)


def _p256(point: bytes) -> ec.EllipticCurvePublicKey:
    if len(point) != _POINT or point[0] != 0x04:
        raise ValueError("a P-256 key is not an uncompressed point")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise ValueError("a P-256 key is not a point of the curve") from None


def _der(fields: _Reader) -> bytes:
    r, s = fields.integer(), fields.integer()
    fields.end()
    return encode_dss_signature(r, s)


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


class _Reader:
    """Fields of RFC 4251 §5, one after the other. Raises `ValueError`."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number(4))

    def integer(self) -> int:
        """A positive mpint in its one form: else one signature had several, and a mark would not know it again."""
        content = self.string()
        if not 0 < len(content) <= _MAX_INTEGER or content[0] >= 0x80 or (content[0] == 0 and content[1:2] < b"\x80"):
            raise ValueError("a number of a signature is not positive and in its one form")
        return int.from_bytes(content, "big")

    def end(self) -> None:
        if self._rest:
            raise ValueError("something follows a key or a signature")

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        if len(taken) != size:
            raise ValueError("a key or a signature is cut short")
        return taken
