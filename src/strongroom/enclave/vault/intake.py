"""Instructions on their way in: every Authenticator they name must accept them (RULES 16).

A mistake is a clear error at `store`, never a locked-out key later.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.peers import Peers
from strongroom.enclave.vault.plans import WITNESSED, plan_of
from strongroom.enclave.vault.witnessed import WitnessedTime
from strongroom.protocol.authenticator_messages import Validate, Validated
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import AuthenticatorRef

REMEMBERED: Final = 4096
LIFE: Final = 600
"""Seconds for which exactly these instructions count as validated. Nothing is released by this: it is not an OK."""


class Intake:
    """Checks instructions before they are sealed into a record."""

    def __init__(self, clock: Clock, witnessed: WitnessedTime, peers: Peers) -> None:
        self._clock = clock
        self._witnessed = witnessed
        self._peers = peers
        self._accepted: OrderedDict[bytes, int] = OrderedDict()

    async def verify_instructions(self, data: bytes) -> None:
        """Raises `Misuse` INSTRUCTIONS_INVALID, RULES_INVALID, METHOD_INVALID, LOCKS_OUT or TIME_UNWITNESSED,
        `Untrusted` AUTHENTICATOR_UNTRUSTED, or `Unavailable` when an Authenticator can't be asked."""
        plan = plan_of(data)
        if plan.needs & WITNESSED and self._witnessed.now() is None:
            raise Misuse(Number.TIME_UNWITNESSED)
        name, instructions = plan.digest, plan.instructions
        if self._accepted.get(name, 0) > self._clock.now():
            return
        permitted = await asyncio.gather(
            *(self._validate_at(reference, data) for reference in instructions.authenticators)
        )
        clusters = {cluster for cluster, _ in permitted}
        if len(clusters) < instructions.quorum:
            raise Misuse(Number.INSTRUCTIONS_INVALID, "the authenticators are fewer distinct clusters than the quorum")
        for action in ("update", "delete"):
            if not instructions.permanent and not all(action in actions for _, actions in permitted):
                raise Misuse(Number.LOCKS_OUT, f"no rule permits {action}")
        self._accepted[name] = self._clock.now() + LIFE
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    async def _validate_at(self, reference: AuthenticatorRef, data: bytes) -> tuple[bytes, Sequence[str]]:
        request = Validate(instructions=data)
        cluster, reply = await self._peers.ask(reference.url, reference.policy, request, Validated)
        return cluster, reply.permitted
