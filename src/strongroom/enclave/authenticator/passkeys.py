"""Sign-in with a passkey: an assertion (WebAuthn Level 3 §7.2) whose challenge is bound to the session (RULES 10).

Attacks stopped here:

1. An assertion made for somebody else's session: the challenge covers the binding key, and its salt comes back only
   inside a handle that names binding key, Vault and method, and lives five minutes.
2. A page elsewhere that asks for the passkey, or puts a page of ours into a frame: the browser writes origin and
   framing into what is signed, and the authenticator the relying party.
3. A found or borrowed device, a key that is merely touched: user verification (PIN, biometrics) is always demanded.
4. Another passkey than the method lists, or a registration or payment passed off as a sign-in.

What is not kept: the signature counter, and whether a handle was used. The Authenticator has no memory that a host
could not roll back. A handle serves the same binding key again within its life, for the same people; copies of a
passkey are what synchronised passkeys are made of, and their counters stand at zero.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

import msgspec

from strongroom.enclave.authenticator.cose import parse_public_key, verify_signature
from strongroom.enclave.authenticator.tickets import Fact, Sealer
from strongroom.enclave.runtime.clock import lasts
from strongroom.protocol.authenticator_messages import PasskeyBegun, PasskeySignIn
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Number, Refused, Untrusted
from strongroom.protocol.evidence import Bytes32, SigningPublicKey, UnixTime
from strongroom.protocol.instructions import Passkey, PasskeyMethod, passkey_challenge
from strongroom.protocol.primitives import Domain

MAX_LIFE: Final = 300
"""Seconds for the user to answer the browser."""
MIN_AUTHENTICATOR_DATA: Final = 37
"""Digest of the relying party's id (32) ‖ flags (1) ‖ counter (4); extensions may follow."""
PRESENT: Final = 0x01
VERIFIED: Final = 0x04
BACKUP_ELIGIBLE: Final = 0x08
BACKED_UP: Final = 0x10


class Ceremony(Message):
    """What a handle seals: for whose session a challenge was made, and of what."""

    binding_key: SigningPublicKey
    vault_cluster: Bytes32
    method: Bytes32
    salt: Bytes32
    expires_at: UnixTime


class _ClientData(msgspec.Struct, rename="camel"):
    """CollectedClientData (WebAuthn §5.8.1). Browsers may add members."""

    type: str
    challenge: str
    origin: str
    cross_origin: bool = False
    top_origin: Any = None


def begin_ceremony(
    sealer: Sealer, *, method: bytes, binding_key: bytes, vault_cluster: bytes, salt: bytes, now: int
) -> PasskeyBegun:
    """`method` is a digest, `salt` 32 fresh random bytes."""
    ceremony = Ceremony(
        binding_key=binding_key, vault_cluster=vault_cluster, method=method, salt=salt, expires_at=now + MAX_LIFE
    )
    return PasskeyBegun(
        handle=sealer.seal(Domain.PASSKEY_CEREMONY, ceremony), challenge=passkey_challenge(method, binding_key, salt)
    )


def verify_ceremony(sealer: Sealer, untrusted_handle: bytes, *, binding_key: bytes, now: int) -> Ceremony:
    """The ceremony behind a handle. Raises `Refused`, SIGN_IN_REFUSED when it has expired."""
    ceremony = sealer.open(Domain.PASSKEY_CEREMONY, untrusted_handle, Ceremony)
    if ceremony.binding_key != binding_key:
        raise Refused(reason="somebody else's sign-in")
    if not lasts(ceremony.expires_at, now, MAX_LIFE):
        raise Refused(Number.SIGN_IN_REFUSED, "the sign-in took longer than five minutes")
    return ceremony


def verify_assertion(untrusted: PasskeySignIn, method: PasskeyMethod, ceremony: Ceremony) -> Fact:
    """Whose passkey made the assertion. Raises `Refused` SIGN_IN_REFUSED when the method does not list it, `Untrusted`
    TOKEN_UNTRUSTED with the reason when it does not hold."""
    passkey = _find(method, untrusted.credential_id)
    challenge = passkey_challenge(ceremony.method, ceremony.binding_key, ceremony.salt)
    _verify_client_data(untrusted.client_data, challenge, method.public.origins)
    _verify_authenticator_data(untrusted.authenticator_data, method.public.rp_id)
    signed = untrusted.authenticator_data + sha256(untrusted.client_data).digest()
    verify_signature(parse_public_key(passkey.public_key), untrusted.signature, signed)
    return Fact(
        method=ceremony.method,
        issuer="",
        subject=passkey.person,
        email="",
        groups=[],
        hd="",
        tid="",
        oid="",
        acr="",
        # RFC 8176. Not "hwk": without attestation nobody knows whether hardware holds the key.
        amr=["mfa", "pop", "user"],
        auth_time=None,
        channel="web",
        phishable=False,
    )


def _untrusted(reason: str) -> Untrusted:
    return Untrusted(Number.TOKEN_UNTRUSTED, reason)


def _find(method: PasskeyMethod, credential_id: bytes) -> Passkey:
    for passkey in method.passkeys:
        if passkey.credential_id == credential_id:
            return passkey
    raise Refused(Number.SIGN_IN_REFUSED, "the method does not list this passkey")


def _verify_client_data(untrusted_client_data: bytes, challenge: bytes, origins: list[str]) -> None:
    try:
        data = msgspec.json.decode(untrusted_client_data, type=_ClientData)
    except (ValueError, RecursionError):
        raise _untrusted("the client data can't be read") from None
    if data.type != "webauthn.get":
        raise _untrusted("made for something else than a sign-in")
    if data.challenge != urlsafe_b64encode(challenge).rstrip(b"=").decode("ascii"):
        raise _untrusted("the challenge is another session's")
    if data.origin not in origins:
        raise _untrusted("made on a page that the method does not list")
    if data.cross_origin or data.top_origin is not None:
        raise _untrusted("made inside a frame of another page")


def _verify_authenticator_data(untrusted_data: bytes, rp_id: str) -> None:
    if len(untrusted_data) < MIN_AUTHENTICATOR_DATA:
        raise _untrusted("the authenticator data is too short")
    if untrusted_data[:32] != sha256(rp_id.encode()).digest():
        raise _untrusted("made for another relying party")
    flags = untrusted_data[32]
    if not flags & PRESENT or not flags & VERIFIED:
        raise _untrusted("the user was not verified")
    if flags & BACKED_UP and not flags & BACKUP_ELIGIBLE:
        raise _untrusted("backed up, and yet not eligible for it")
