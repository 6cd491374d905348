"""Ceremonies: sign-ins that answer a challenge, with a passkey, a key or an enclave's quote (RULES 10).

Attacks stopped here:

1. An answer made for somebody else's session: the challenge covers the binding key, and its salt comes back only
   inside a handle that names binding key, Vault and method, and lives five minutes.
2. A client that is made to answer for another session: it is told the salt, never the challenge, and computes that
   with its own binding key.

A handle serves the same binding key again within its life, for the same people: the Authenticator has no memory that
a host could not roll back, and what must be used once is marked and committed by the Vault (RULES 21).
"""

from __future__ import annotations

from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.runtime.clock import lasts
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.evidence import Bytes32, SigningPublicKey, UnixTime
from strongroom.protocol.instructions import Kind, sign_in_challenge
from strongroom.protocol.primitives import Domain
from strongroom.protocol.sign_in_messages import Challenged

MAX_LIFE = 300
"""Seconds for the user to answer."""


class Ceremony(Message):
    """What a handle seals: for whose session a challenge was made, and of what."""

    binding_key: SigningPublicKey
    vault_cluster: Bytes32
    method: Bytes32
    salt: Bytes32
    expires_at: UnixTime

    @property
    def begun_at(self) -> int:
        """The user proved who it is no longer ago: a handle serves again within its life."""
        return self.expires_at - MAX_LIFE

    def challenge(self, kind: Kind) -> bytes:
        """What must have been answered (32 bytes)."""
        return sign_in_challenge(kind, self.method, self.binding_key, self.salt)


def begin_ceremony(
    sealer: Sealer, *, method: bytes, binding_key: bytes, vault_cluster: bytes, salt: bytes, now: int
) -> Challenged:
    """`method` is a digest, `salt` 32 fresh random bytes."""
    ceremony = Ceremony(
        binding_key=binding_key, vault_cluster=vault_cluster, method=method, salt=salt, expires_at=now + MAX_LIFE
    )
    return Challenged(handle=sealer.seal(Domain.CEREMONY, ceremony), salt=salt)


def verify_ceremony(sealer: Sealer, untrusted_handle: bytes, *, binding_key: bytes, now: int) -> Ceremony:
    """The ceremony behind a handle. Raises `Refused`, SIGN_IN_REFUSED when it has expired."""
    ceremony = sealer.open(Domain.CEREMONY, untrusted_handle, Ceremony)
    if ceremony.binding_key != binding_key:
        raise Refused(reason="somebody else's sign-in")
    if not lasts(ceremony.expires_at, now, MAX_LIFE):
        raise Refused(Number.SIGN_IN_REFUSED, "the sign-in took longer than five minutes")
    return ceremony
