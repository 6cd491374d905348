"""Public keys of passkeys: COSE_Key (RFC 9053 §7) of the three algorithms that passkeys have, and their signatures.

No CBOR parser: authenticators must write these maps in CTAP2's canonical form with no other member (WebAuthn Level 3
§6.5.1.1), so each kind of key is fixed bytes around its numbers. Nothing else is a key here.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from strongroom.protocol.errors import Misuse, Number, Untrusted

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

# {1: 2, 3: -7, -1: 1, -2: x (32), -3: y (32)}: EC2, ES256, P-256.
_ES256: Final = bytes.fromhex("a5010203262001215820")
_ES256_Y: Final = bytes.fromhex("225820")
# {1: 1, 3: -8, -1: 6, -2: x (32)}: OKP, EdDSA, Ed25519.
_EDDSA: Final = bytes.fromhex("a4010103272006215820")
# {1: 3, 3: -257, -1: n, -2: 65537}: RSA, RS256. Every TPM and Windows Hello use that exponent; others cost more time.
_RS256: Final = bytes.fromhex("a401030339010020" + "59")
_RS256_E: Final = bytes.fromhex("2143010001")
_MODULUS: Final = range(256, 512 + 1)
"""Bytes: 2,048 to 4,096 bits."""


def parse_public_key(cose_key: bytes) -> PublicKey:
    """Raises `Misuse` METHOD_INVALID for everything but an ES256, EdDSA or RS256 key in canonical form."""
    try:
        if cose_key.startswith(_ES256) and len(cose_key) == 77 and cose_key[42:45] == _ES256_Y:
            return ec.EllipticCurvePublicKey.from_encoded_point(
                ec.SECP256R1(), b"\x04" + cose_key[10:42] + cose_key[45:]
            )
        if cose_key.startswith(_EDDSA) and len(cose_key) == 42:
            return ed25519.Ed25519PublicKey.from_public_bytes(cose_key[10:])
        if cose_key.startswith(_RS256) and cose_key.endswith(_RS256_E):
            return _rsa(cose_key[9:11], cose_key[11 : -len(_RS256_E)])
    except ValueError:
        pass  # not a point of the curve
    raise Misuse(Number.METHOD_INVALID, "a public key is not a canonical COSE_Key of ES256, EdDSA or RS256 (2048 bits)")


def _rsa(length: bytes, modulus: bytes) -> rsa.RSAPublicKey:
    fits = len(modulus) in _MODULUS and len(modulus) == int.from_bytes(length, "big")
    if not fits or modulus[0] < 0x80 or not modulus[-1] & 1:
        raise ValueError
    return rsa.RSAPublicNumbers(65537, int.from_bytes(modulus, "big")).public_key()


def verify_signature(key: PublicKey, signature: bytes, signed: bytes) -> None:
    """Raises `Untrusted` TOKEN_UNTRUSTED unless `signature` is one of `signed` (WebAuthn §6.5.5: ES256 is DER)."""
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            case ed25519.Ed25519PublicKey():
                key.verify(signature, signed)
            case rsa.RSAPublicKey():
                key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise Untrusted(Number.TOKEN_UNTRUSTED, "bad signature") from None
