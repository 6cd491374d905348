"""Sign-in with a signature by an ssh key, or by a machine's key written like one, over a challenge that is bound to the
session (RULES 10).

Attacks stopped here:

1. A signature made for somebody else's session: see `ceremonies`. One that the key made for a login, a commit or a
   file: it was made for another namespace (`sshsig`).
2. A key that is listed and that everybody can sign for, or that the writer of the instructions sees as another one:
   one form of each key, points of the curve, none of low order, and fingerprints that are theirs.
3. A security key that lies in a drawer of somebody else: it must have been touched, and where the method says so, have
   verified its user.
4. A copy of a security key: its counter is a mark, which the Vault commits and lets rise only (RULES 21).
"""

from __future__ import annotations

import msgspec

from strongroom.enclave.authenticator.ceremonies import Ceremony
from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.errors import Misuse, Number, Refused, Untrusted
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import KeyOfPerson, KeysMethod
from strongroom.protocol.primitives import Domain, digest, fingerprint
from strongroom.protocol.sign_in_messages import KeySignIn
from strongroom.protocol.sshsig import PRESENT, VERIFIED, Touch, parse_ssh_key, verify_sshsig
from strongroom.protocol.subjects import MAX_SUBJECT, is_subject


def verify_keys(method: KeysMethod) -> None:
    """Raises `Misuse` METHOD_INVALID with the place and the reason."""
    listed = [one.public_key for one in method.keys]
    for at, one in enumerate(method.keys):
        if not is_subject(one.person):
            raise _invalid(f"keys[{at}].person: not 1 to {MAX_SUBJECT} printable ASCII characters")
        try:
            key = parse_ssh_key(one.public_key)
        except Misuse as error:
            raise _invalid(f"keys[{at}].public_key: {error.reason}") from None
        if method.verified and key.application is None:
            raise _invalid(f"keys[{at}].public_key: only security keys (sk-) verify their user, as `verified` demands")
        if one.public_key in listed[:at]:
            raise _invalid(f"keys[{at}].public_key: listed twice")
    if method.public.fingerprints != [fingerprint(key) for key in listed]:
        raise _invalid("public.fingerprints: not those of the keys, in their order")


def verify_key_signature(untrusted: KeySignIn, method: KeysMethod, ceremony: Ceremony) -> Fact:
    """Whose key signed. Raises `Refused` SIGN_IN_REFUSED when the method does not list it, `Untrusted` TOKEN_UNTRUSTED
    with the reason when the signature does not hold."""
    listed = _find(method, untrusted.public_key)
    touch = verify_sshsig(parse_ssh_key(listed.public_key), untrusted.signature, ceremony.challenge("keys"))
    _verify_touch(touch, method)
    return msgspec.structs.replace(
        fact(ceremony.method, "keys", listed.person),
        # RFC 8176. Not "hwk": without attestation nobody knows whether hardware holds the key.
        amr=_amr(touch),
        mark=_mark(touch, ceremony.method, untrusted),
    )


def _find(method: KeysMethod, public_key: bytes) -> KeyOfPerson:
    for one in method.keys:
        if one.public_key == public_key:
            return one
    raise Refused(Number.SIGN_IN_REFUSED, "the method does not list this key")


def _verify_touch(touch: Touch | None, method: KeysMethod) -> None:
    if touch is not None and not touch.flags & PRESENT:
        raise Untrusted(Number.TOKEN_UNTRUSTED, "nobody touched the security key")
    if method.verified and (touch is None or not touch.flags & VERIFIED):
        raise Untrusted(Number.TOKEN_UNTRUSTED, "the security key did not verify its user")


def _amr(touch: Touch | None) -> list[str]:
    if touch is None:
        return ["pop"]
    return ["mfa", "pop", "user"] if touch.flags & VERIFIED else ["pop", "user"]


def _mark(touch: Touch | None, method: bytes, untrusted: KeySignIn) -> Mark | None:
    """A key whose counter stays at 0 has none."""
    if touch is None or touch.counter == 0:
        return None
    return Mark(
        name=digest(Domain.MARK, method, fingerprint(untrusted.public_key)),
        value=touch.counter,
        token=digest(Domain.MARK, untrusted.signature),
        expires_at=0,
    )


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)
