"""Sign-in with a passkey: an assertion (WebAuthn Level 3 §7.2) whose challenge is bound to the session (RULES 10).

Attacks stopped here:

1. An assertion made for somebody else's session: see `ceremonies`.
2. A page elsewhere that asks for the passkey, or puts a page of ours into a frame: the browser writes origin and
   framing into what is signed, and the authenticator the relying party.
3. A found or borrowed device, a key that is merely touched: user verification (PIN, biometrics) is always demanded.
4. Another passkey than the method lists, or a registration or payment passed off as a sign-in.
5. A copy of a passkey that counts its signatures: the counter is a mark, which the Vault commits and lets rise only
   (§6.1.1, RULES 21). Passkeys that several devices share don't count.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

import msgspec

from strongroom.enclave.authenticator.ceremonies import Ceremony
from strongroom.enclave.authenticator.cose import parse_public_key, verify_signature
from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.errors import Number, Refused, Untrusted
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import Passkey, PasskeyMethod
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.sign_in_messages import PasskeySignIn

MIN_AUTHENTICATOR_DATA: Final = 37
"""Digest of the relying party's id (32) ‖ flags (1) ‖ counter (4); extensions may follow."""
_COUNTER: Final = slice(33, 37)
PRESENT: Final = 0x01
VERIFIED: Final = 0x04
BACKUP_ELIGIBLE: Final = 0x08
BACKED_UP: Final = 0x10


class _ClientData(msgspec.Struct, rename="camel"):
    """CollectedClientData (WebAuthn §5.8.1). Browsers may add members."""

    type: str
    challenge: str
    origin: str
    cross_origin: bool = False
    top_origin: Any = None


def verify_assertion(untrusted: PasskeySignIn, method: PasskeyMethod, ceremony: Ceremony) -> Fact:
    """Whose passkey made the assertion. Raises `Refused` SIGN_IN_REFUSED when the method does not list it, `Untrusted`
    TOKEN_UNTRUSTED with the reason when it does not hold."""
    passkey = _find(method, untrusted.credential_id)
    _verify_client_data(untrusted.client_data, ceremony.challenge("passkey"), method.public.origins)
    _verify_authenticator_data(untrusted.authenticator_data, method.public.rp_id)
    signed = untrusted.authenticator_data + sha256(untrusted.client_data).digest()
    verify_signature(parse_public_key(passkey.public_key), untrusted.signature, signed)
    return msgspec.structs.replace(
        fact(ceremony.method, "passkey", passkey.person),
        # RFC 8176. Not "hwk": without attestation nobody knows whether hardware holds the key.
        amr=["mfa", "pop", "user"],
        channel="web",
        mark=_mark(untrusted, ceremony.method),
    )


def _mark(verified: PasskeySignIn, method: bytes) -> Mark | None:
    counter = int.from_bytes(verified.authenticator_data[_COUNTER], "big")
    if counter == 0:
        return None
    return Mark(
        name=digest(Domain.MARK, method, verified.credential_id),
        value=counter,
        token=digest(Domain.MARK, verified.signature),
        expires_at=0,
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
