"""Sign-in of a program by the token that its platform gives it."""

from __future__ import annotations

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import WorkloadMethod


def verify_workloads(method: WorkloadMethod, egress: Egress) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    raise Misuse(Number.METHOD_INVALID, "not supported yet")


class Workloads:
    """Issuers of tokens for workloads, and what is known of them, per complete definition (RULES 5)."""

    def __init__(self, egress: Egress, clock: Clock, cluster_id: bytes) -> None:
        self._egress = egress
        self._clock = clock
        self._cluster_id = cluster_id

    async def sign_in(self, digest: bytes, method: WorkloadMethod, untrusted_token: str, binding_key: bytes) -> Fact:
        """Which workload the token names. Raises `Untrusted` TOKEN_UNTRUSTED, `Unavailable`."""
        raise Misuse(Number.UNSUPPORTED)
