"""Sign-in with a signature by an ssh key, or by a machine's key written like one."""

from __future__ import annotations

from strongroom.enclave.authenticator.ceremonies import Ceremony
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import KeysMethod
from strongroom.protocol.sign_in_messages import KeySignIn


def verify_keys(method: KeysMethod) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    raise Misuse(Number.METHOD_INVALID, "not supported yet")


def verify_key_signature(untrusted: KeySignIn, method: KeysMethod, ceremony: Ceremony) -> Fact:
    """Whose key signed. Raises `Refused` SIGN_IN_REFUSED, `Untrusted` TOKEN_UNTRUSTED."""
    raise Misuse(Number.UNSUPPORTED)
