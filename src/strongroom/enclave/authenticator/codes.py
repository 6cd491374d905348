"""Sign-in with a code sent by e-mail, for people who have no account anywhere."""

from __future__ import annotations

from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Bytes32, SigningPublicKey, UnixTime
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import CodeMethod
from strongroom.protocol.sign_in_messages import CodeBegun


class SentCode(Message):
    """What a handle seals."""

    binding_key: SigningPublicKey
    vault_cluster: Bytes32
    method: Bytes32
    expires_at: UnixTime


def verify_codes(method: CodeMethod, egress: Egress) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    raise Misuse(Number.METHOD_INVALID, "not supported yet")


class Codes:
    """Codes on their way."""

    def __init__(self, platform: Platform, egress: Egress, clock: Clock, sealer: Sealer) -> None:
        self._platform = platform
        self._egress = egress
        self._clock = clock
        self._sealer = sealer

    async def begin(
        self, digest: bytes, method: CodeMethod, email: str, *, binding_key: bytes, vault_cluster: bytes
    ) -> CodeBegun:
        """Send a code, if the method lets one be sent there. Raises `Refused` THROTTLED, `Unavailable`."""
        raise Misuse(Number.UNSUPPORTED)

    def verify_handle(self, untrusted_handle: bytes, binding_key: bytes) -> SentCode:
        """The code behind a handle. Raises `Refused`, SIGN_IN_REFUSED when it has expired."""
        raise Misuse(Number.UNSUPPORTED)

    def sign_in(self, sent: SentCode, untrusted_code: str) -> Fact:
        """Whose mailbox the code came to. Counts the try first. Raises `Refused` SIGN_IN_REFUSED."""
        raise Misuse(Number.UNSUPPORTED)
