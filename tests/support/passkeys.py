"""An authenticator in software: makes passkeys and signs assertions as a browser and a security key do together.

Honest until bent: every part of what is signed can be changed, and is signed as changed.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from strongroom.client.methods import passkey_method
from strongroom.protocol.codec import encode
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Kind, Method, Passkey, PasskeyMethod, method_digest, sign_in_challenge
from strongroom.protocol.sign_in_messages import Challenge, Challenged, PasskeySignIn, SignedIn
from tests.support.issuer import VAULT, Desk, Issuer
from tests.support.world import Platform

RP_ID = "share.test"
ORIGIN = "https://share.test"
PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP = 0x01, 0x04, 0x08, 0x10
Algorithm = Literal["ES256", "EdDSA", "RS256"]
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Assertion:
    """What `navigator.credentials.get` gives."""

    credential_id: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes


@dataclass
class SoftwarePasskey:
    """One passkey with its private key."""

    person: str = "bob@example.com"
    algorithm: Algorithm = "ES256"
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    private: Private = field(init=False)

    def __post_init__(self) -> None:
        match self.algorithm:
            case "ES256":
                self.private = ec.generate_private_key(ec.SECP256R1())
            case "EdDSA":
                self.private = ed25519.Ed25519PrivateKey.generate()
            case "RS256":
                self.private = rsa.generate_private_key(65537, 2048)

    @property
    def cose_key(self) -> bytes:
        match self.private:
            case ec.EllipticCurvePrivateKey():
                point = self.private.public_key().public_numbers()
                return cose({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
            case ed25519.Ed25519PrivateKey():
                return cose({1: 1, 3: -8, -1: 6, -2: self.private.public_key().public_bytes_raw()})
            case rsa.RSAPrivateKey():
                public = self.private.public_key().public_numbers()
                size = (public.n.bit_length() + 7) // 8
                return cose({1: 3, 3: -257, -1: public.n.to_bytes(size, "big"), -2: public.e.to_bytes(3, "big")})

    @property
    def public(self) -> Passkey:
        """As a method lists it."""
        return Passkey(person=self.person, credential_id=self.credential_id, public_key=self.cose_key)

    def sign_in(
        self,
        challenge: bytes,
        /,
        *,
        origin: str = ORIGIN,
        rp_id: str = RP_ID,
        flags: int = PRESENT | VERIFIED,
        counter: int = 0,
        **members: Any,
    ) -> Assertion:
        """An assertion over `challenge`; `members` are added to the client data or replace what stands there."""
        said = {
            "type": "webauthn.get",
            "challenge": urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "origin": origin,
            "crossOrigin": False,
            **members,
        }
        client_data = json.dumps(said).encode()
        authenticator_data = sha256(rp_id.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big")
        signature = self.sign(authenticator_data + sha256(client_data).digest())
        return Assertion(self.credential_id, authenticator_data, client_data, signature)

    def sign(self, data: bytes) -> bytes:
        match self.private:
            case ec.EllipticCurvePrivateKey():
                return self.private.sign(data, ec.ECDSA(hashes.SHA256()))
            case ed25519.Ed25519PrivateKey():
                return self.private.sign(data)
            case rsa.RSAPrivateKey():
                return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def cose(members: dict[int, Any]) -> bytes:
    """A COSE_Key, members in the order given."""
    return cbor2.dumps(members)


def method_of(*passkeys: SoftwarePasskey, rp_id: str = RP_ID, origin: str = ORIGIN) -> PasskeyMethod:
    """A method that lists these passkeys."""
    return passkey_method(rp_id, [origin], [passkey.public for passkey in passkeys])


@dataclass(frozen=True)
class Begun:
    """A sign-in that has begun, and the challenge that the client computed for it."""

    handle: bytes
    challenge: bytes


class ChallengeDesk(Desk):
    """An Authenticator and a client who answers challenges."""

    async def challenged(self, kind: Kind, method: Method, **changes: Any) -> Begun:
        """`changes`: other fields of the request."""
        digest = method_digest(encode(method))
        fields = {"vault_cluster": VAULT, "capsule": self.capsule(method), "method": digest}
        reply = await self.service.handle(self.caller(), Challenge(**fields | changes))
        assert isinstance(reply, Challenged)
        return Begun(reply.handle, sign_in_challenge(kind, digest, self.binding_key, reply.salt))

    def facts(self, signed_in: SignedIn) -> list[Fact]:
        """What the ticket says to the Authenticator."""
        return self.sealer.verify_ticket(
            signed_in.ticket, binding_key=self.binding_key, vault_cluster=VAULT, now=self.clock.now()
        )


class PasskeyDesk(ChallengeDesk):
    """An Authenticator and a client whose user has passkeys."""

    def __init__(self, platform: Platform, passkeys: PasskeyMethod, issuer: Issuer | None = None) -> None:
        super().__init__(platform, issuer)
        self.passkeys = passkeys

    @property
    def passkey_digest(self) -> bytes:
        return method_digest(encode(self.passkeys))

    async def passkey_begin(self, **changes: Any) -> Begun:
        return await self.challenged("passkey", self.passkeys, **changes)

    async def passkey_finish(self, begun: Begun, assertion: Assertion, **changes: Any) -> SignedIn:
        fields = {"capsule": self.capsule(self.passkeys), "handle": begun.handle, "with_ticket": None}
        request = PasskeySignIn(**fields | vars(assertion) | changes)
        reply = await self.service.handle(self.caller(), request)
        assert isinstance(reply, SignedIn)
        return reply

    async def passkey_sign_in(self, passkey: SoftwarePasskey, **bent: Any) -> SignedIn:
        begun = await self.passkey_begin()
        return await self.passkey_finish(begun, passkey.sign_in(begun.challenge, **bent))
