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

MACHINES: Final = 1024
"""Machines that are remembered; the least recently seen is forgotten first."""


class EvaluationFloors:
    """In memory only: what outlives the process is the policy's `min_tcb_evaluation`."""

    def __init__(self) -> None:
        self._highest: OrderedDict[tuple[type[AnyReport], bytes, bytes], int] = OrderedDict()

    def raise_by(self, report: AnyReport, cluster: bytes) -> None:
        """Take note of an accepted report of an enclave of `cluster` (its id). Raises `Untrusted` POLICY when its
        machine has shown a newer edition there: two clusters on one machine have hosts with a cache each."""
        if not isinstance(report, SgxReport | TdxReport):
            return
        machine = (type(report), report.intel.platform_id, cluster)
        shown, highest = report.intel.tcb_evaluation_number, self._highest.pop(machine, 0)
        self._highest[machine] = max(shown, highest)
        if len(self._highest) > MACHINES:
            self._highest.popitem(last=False)
        if shown < highest:
            raise Untrusted(
                Number.POLICY, f"TCB evaluation number {shown}; this machine has shown {highest}: newer is kept back"
            )
