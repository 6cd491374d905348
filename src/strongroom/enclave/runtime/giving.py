"""The ring, given to an enclave that joins (RULES 4 and 7).

Whom the cluster's owner has invited gets it: sealed to the key in evidence that was made for the handshake of this very
session, of a program that the cluster's approvers have released, on a machine in a state that the default rules accept,
with the configuration of this instance: a ticket that an Authenticator with other destinations issues would be good at
this one, too.

Attacks stopped here: a stranger who rents a machine, runs the released program and pushes the owner's machines out of
the ring; a machine whose maker says that its secrets can be read, or whose host may read it; a host that relays a
genuine joiner's evidence, and so takes the ring itself; a program that nobody released, or that was retired; a debug
enclave, or software, that asks a member on hardware; an enclave of another role, cluster or configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from strongroom.attestation.acceptance import accept_platform
from strongroom.attestation.candidates import Candidate
from strongroom.attestation.default_policy import default_section
from strongroom.attestation.verification import HARDWARE
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity, peer_platforms
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.releasing import Releasing
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.sealed_ring import Instance, seal_ring
from strongroom.enclave.runtime.service import Caller
from strongroom.protocol.cluster_messages import RingGiven, TakeRing
from strongroom.protocol.errors import Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.invitations import verify_invitation
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.limits import MAX_INSTANCES
from strongroom.protocol.primitives import Domain, digest

GUEST: Final = "nothing that outlives its process"
"""Label of an instance whose key ends with it."""
_HEX: Final = 96
"""Bytes of a measurement that a line of the log shows whole."""


class Giving:
    """Of one member."""

    def __init__(
        self,
        platform: Platform,
        clock: Clock,
        ring: Ring,
        identity: Identity,
        keeping: Keeping,
        releasing: Releasing,
    ) -> None:
        self._platform = platform
        self._clock = clock
        self._ring = ring
        self._identity = identity
        self._keeping = keeping
        self._releasing = releasing
        self.handovers = 0
        """By this process."""

    async def give(self, caller: Caller, request: TakeRing) -> RingGiven:
        """The row of the ring with a wrap for who asks; as often as it asks.

        Raises `Refused` PEER_REFUSED, NOT_OWNER_KEY or NOT_RELEASED, and as `Keeping.change`.
        """
        joiner = caller.joiner
        if joiner is None:
            raise Refused(Number.PEER_REFUSED)
        try:
            # Who was not invited keeps nobody waiting.
            verify_invitation(
                request.invitation, self._ring.statement.owner_key, self._ring.cluster_id, self._clock.now()
            )
            async with self._keeping.one_change:
                # While nobody else changes the ring: a list that retires this program may have been on its way.
                self._verify(joiner)
                row = await self._given(joiner, request.label)
        except StrongroomError as error:
            # Who joins is told a number; the operator here sees why.
            print(
                f"key ring: not given to {_described(joiner)}: {error.reason or error.error}",
                file=sys.stderr,
                flush=True,
            )
            raise
        self.handovers += 1
        return RingGiven(ring=row)

    def _verify(self, joiner: Candidate) -> None:
        """Whom the door let in was made for this handshake, of this role, and no debug enclave. Raises `Refused`."""
        if joiner.claims.cluster_id != self._ring.cluster_id:
            raise Refused(Number.PEER_REFUSED, "it wants to be in another cluster")
        if joiner.kind not in peer_platforms(self._platform.kind):
            raise Refused(Number.PEER_REFUSED, "software gets nothing from hardware")
        if joiner.claims.config != self._identity.config:
            # To every policy that would be another service, and it could say what this one may not.
            raise Refused(Number.PEER_REFUSED, "its configuration is another")
        self._releasing.verify_admitted(joiner.kind, joiner.report.measurement)
        if joiner.kind in HARDWARE:  # there is no state of a machine to software, which gives to software only
            try:
                accept_platform(joiner.report, default_section(joiner.kind), self._clock.now())
            except Untrusted as error:
                raise Refused(Number.PEER_REFUSED, error.reason) from None

    async def _given(self, joiner: Candidate, label: str) -> bytes:
        kind, measurement = joiner.kind, joiner.report.measurement
        instance = Instance(label or GUEST, kind, measurement, joiner.claims.kem_key, self._clock.now())
        if not label:
            # Its key dies with it: kept among the others, it would push machines out that come back.
            await self._keeping.note([self._life(joiner, self._ring.state.instances)])
            return seal_ring(self._platform, self._ring.state, self._ring.council.recovery_key, guest=(instance,))
        others = [one for one in self._ring.state.instances if one.key != instance.key]
        instances = (*others, instance)
        return (await self._keeping.change([self._life(joiner, instances)], instances=instances)).row

    def _life(self, joiner: Candidate, instances: Sequence[Instance]) -> LifeLeaf:
        number = min(len(instances), MAX_INSTANCES)
        return self._keeping.life("given", joiner.evidence_digest, number, _described(joiner))


def _described(joiner: Candidate) -> str:
    """Platform and program, in as much as a line of the log holds."""
    measurement = joiner.report.measurement
    if len(measurement) > _HEX:  # several registers
        return f"{joiner.kind} digest {digest(Domain.MEASUREMENT, measurement).hex()}"
    return f"{joiner.kind} {measurement.hex()}"
