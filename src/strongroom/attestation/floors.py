"""Editions of Intel's assessment that machines have shown: a machine never goes back to an older one.

Collateral is good for a month. A host that keeps the newest back hides from relying parties what became known of its
machine meanwhile, say that its keys can be taken out. A policy's floor is what its author knew; this one rises with
what was seen, machine by machine, since honest machines of one cluster learn of a new edition days apart.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from strongroom.attestation.reports import AnyReport, SgxReport, TdxReport
from strongroom.protocol.errors import Number, Untrusted

_Machine = tuple[type[AnyReport], bytes, bytes]

MACHINES: Final = 1024
"""Machines that are remembered; the least recently seen is forgotten first."""


class EvaluationFloors:
    """In memory only: what outlives the process is the policy's `min_tcb_evaluation`."""

    def __init__(self) -> None:
        self._highest: OrderedDict[_Machine, int] = OrderedDict()

    def verify(self, report: AnyReport, cluster: bytes) -> None:
        """Raises `Untrusted` POLICY when the machine of an enclave of `cluster` (its id) has shown a newer edition.

        Each cluster for itself, since two on one machine have hosts with a cache each.
        """
        if not isinstance(report, SgxReport | TdxReport):
            return
        shown, highest = report.intel.tcb_evaluation_number, self._highest.get(_machine(report, cluster), 0)
        if shown < highest:
            raise Untrusted(
                Number.POLICY, f"TCB evaluation number {shown}; this machine has shown {highest}: newer is kept back"
            )

    def note(self, report: AnyReport, cluster: bytes) -> None:
        """Take note of a report whose enclave has taken part in a handshake over this very evidence.

        Not before: collateral is outside of what the enclave signs, so anybody on the way could put in an edition that
        others don't have yet, and turn us away from the enclave for weeks.
        """
        if not isinstance(report, SgxReport | TdxReport):
            return
        machine = _machine(report, cluster)
        self._highest[machine] = max(report.intel.tcb_evaluation_number, self._highest.pop(machine, 0))
        if len(self._highest) > MACHINES:
            self._highest.popitem(last=False)


def _machine(report: SgxReport | TdxReport, cluster: bytes) -> _Machine:
    return (type(report), report.intel.platform_id, cluster)
