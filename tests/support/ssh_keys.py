"""Ssh keys in software, plain ones and security keys: they sign as `ssh-keygen -Y sign` does, and can be bent.

Every part of what is signed can be changed, and is signed as changed. What real OpenSSH makes of it is compared in
tests/integration/test_ssh_keys.py.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import KeyOfPerson, KeysMethod, KeysPublic, method_digest
from strongroom.protocol.sign_in_messages import KeySignIn, SignedIn
from tests.support.passkeys import Begun, ChallengeDesk
from tests.support.world import Platform

KeyType = Literal[
    "ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
]
KEY_TYPES: tuple[KeyType, ...] = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
PRESENT, VERIFIED = 0x01, 0x04


def string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def mpint(value: int) -> bytes:
    """Of a positive number (RFC 4251 §5)."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


@dataclass
class SshKey:
    """One key with its private half."""

    person: str = "bob@example.com"
    kind: KeyType = "ssh-ed25519"
    application: str = "ssh:"
    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        if "ed25519" in self.kind:
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def is_security_key(self) -> bool:
        return self.kind.startswith("sk-")

    @property
    def point(self) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.public_key().public_bytes_raw()
        return self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def public_key(self) -> bytes:
        return self.written()

    def written(self, *, curve: bytes = b"nistp256", point: bytes | None = None, end: bytes = b"") -> bytes:
        """The public key, as it is or bent."""
        fields = [self.kind.encode()]
        if "ecdsa" in self.kind:
            fields.append(curve)
        fields.append(self.point if point is None else point)
        if self.is_security_key:
            fields.append(self.application.encode())
        return b"".join(map(string, fields)) + end

    @property
    def line(self) -> str:
        """As in an `authorized_keys` file."""
        return f"{self.kind} {b64encode(self.public_key).decode()} {self.person}"

    @property
    def listed(self) -> KeyOfPerson:
        return KeyOfPerson(person=self.person, public_key=self.public_key)

    def sign(
        self,
        message: bytes,
        *,
        namespace: bytes = b"strongroom",
        reserved: bytes = b"",
        algorithm: bytes = b"sha512",
        magic: bytes = b"SSHSIG",
        flags: int = PRESENT | VERIFIED,
        counter: int = 0,
        application: str | None = None,
        kind: str | None = None,
        end: bytes = b"",
    ) -> bytes:
        """The signature as it stands in the blob of `ssh-keygen -Y sign`."""
        hashed = {b"sha256": sha256, b"sha512": sha512}[algorithm](message).digest()
        signed = magic + b"".join(map(string, (namespace, reserved, algorithm, hashed)))
        said = b""
        if self.is_security_key:
            said = bytes([flags]) + counter.to_bytes(4, "big")
            signed = sha256((application or self.application).encode()).digest() + said + sha256(signed).digest()
        return string((kind or self.kind).encode()) + string(self.raw(signed)) + said + end

    def raw(self, signed: bytes) -> bytes:
        """The signature proper: 64 bytes of Ed25519, or two numbers."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(signed)
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
        return mpint(r) + mpint(s)


def keys_of(*keys: SshKey, verified: bool = False) -> KeysMethod:
    """A method that lists these keys."""
    return listing(*(key.listed for key in keys), verified=verified)


def listing(*listed: KeyOfPerson, verified: bool = False) -> KeysMethod:
    fingerprints = [sha256(one.public_key).digest() for one in listed]
    return KeysMethod(public=KeysPublic(fingerprints=fingerprints), keys=list(listed), verified=verified)


class KeyDesk(ChallengeDesk):
    """An Authenticator and a client whose user has ssh keys."""

    def __init__(self, platform: Platform, keys: KeysMethod) -> None:
        super().__init__(platform)
        self.keys = keys

    @property
    def keys_digest(self) -> bytes:
        return method_digest(encode(self.keys))

    async def key_begin(self, **changes: Any) -> Begun:
        return await self.challenged("keys", self.keys, **changes)

    async def key_finish(self, begun: Begun, key: SshKey, signature: bytes, **changes: Any) -> SignedIn:
        fields = {
            "capsule": self.capsule(self.keys),
            "handle": begun.handle,
            "public_key": key.public_key,
            "signature": signature,
            "with_ticket": None,
        }
        reply = await self.service.handle(self.caller(), KeySignIn(**fields | changes))
        assert isinstance(reply, SignedIn)
        return reply

    async def key_sign_in(self, key: SshKey, **bent: Any) -> SignedIn:
        begun = await self.key_begin()
        return await self.key_finish(begun, key, key.sign(begun.challenge, **bent))
