"""Sign-in of an enclave by its quote: a key is released to code, whoever runs it."""

from __future__ import annotations

from strongroom.enclave.authenticator.ceremonies import Ceremony
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import EnclaveMethod
from strongroom.protocol.sign_in_messages import EnclaveSignIn


def verify_enclaves(method: EnclaveMethod) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    raise Misuse(Number.METHOD_INVALID, "not supported yet")


def verify_quote_of_workload(untrusted: EnclaveSignIn, method: EnclaveMethod, ceremony: Ceremony, now: int) -> Fact:
    """Which workload made the quote. Raises `Refused` SIGN_IN_REFUSED, `Untrusted` EVIDENCE and POLICY."""
    raise Misuse(Number.UNSUPPORTED)
