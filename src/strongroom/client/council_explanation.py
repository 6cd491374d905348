"""A council in words, for whoever is to sign it and for whoever looks who governs a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from strongroom.client.custody import log_generation
from strongroom.client.explanation import Step
from strongroom.protocol.errors import Misuse
from strongroom.protocol.evidence import Council, Genesis, cluster_id
from strongroom.protocol.governance import Charter
from strongroom.protocol.sshsig import key_line

_SHOWN: Final = 30
"""Characters at each end of a post-quantum recipient, which has two thousand: 46 of them nobody can make the same."""
_DAY: Final = 24 * 3600


def explain_genesis(cluster: bytes, genesis: Genesis) -> list[Step]:
    """What a genesis statement says beside its council."""
    watched = f"{genesis.cosignatures} of {len(genesis.witnesses)}" if genesis.witnesses else "none"
    names = ", ".join(key.partition("+")[0] for key in genesis.witnesses)
    return [
        Step("cluster", cluster.hex(), "digest of the statement: everything below goes into it"),
        Step("role", genesis.role, "what its enclaves do"),
        Step("owner", genesis.owner_key.hex(), "public key of who makes namespaces and convenes councils"),
        Step("witnesses", watched, names or "whole-database rollback is noticed by clients alone"),
    ]


def explain_council(council: Council, serial: int) -> list[Step]:
    """Who is in a council, and what it takes."""
    count = len(council.custodians)
    steps = [
        Step("council", str(serial), "the first one of the cluster" if serial == 0 else "follows the one before"),
        Step("threshold", f"{council.threshold} of {count}", "custodians bring the keys back, and agree to a council"),
    ]
    steps += [Step("custodian", one.name, shown_recipient(one.recipient)) for one in council.custodians]
    if council.approvers:
        steps.append(Step("approvals", f"{council.approvals} of {len(council.approvers)}", "approve programs"))
        steps.append(Step("delay", _span(council.release_delay), "until a newly listed program gets the keys"))
        steps += [Step("approver", _shown_key(key), "") for key in council.approvers]
    else:
        steps.append(Step("approvers", "none", "a running enclave gives its keys to its own program only"))
    return steps


def charter_json(charter: Charter, genesis: Genesis, councils: Sequence[Council]) -> dict[str, Any]:
    """A verified charter, for programs: hex, seconds."""
    council = councils[-1]
    return {
        "cluster": cluster_id(charter.genesis.statement).hex(),
        "role": genesis.role,
        "development": genesis.development,
        "council": len(councils) - 1,
        "threshold": council.threshold,
        "custodians": [{"name": one.name, "recipient": one.recipient} for one in council.custodians],
        "approvers": [key.hex() for key in council.approvers],
        "approvals": council.approvals,
        "release_delay": council.release_delay,
        "recoveries": charter.recoveries,
        "generation": log_generation(charter),
    }


def shown_recipient(recipient: str) -> str:
    """An age recipient on one line."""
    if len(recipient) <= 2 * _SHOWN + 10:
        return recipient or "none"
    return f"{recipient[:_SHOWN]}…{recipient[-_SHOWN:]}"


def _shown_key(key: bytes) -> str:
    try:
        return key_line(key)
    except (Misuse, ValueError):
        return key.hex()


def _span(seconds: int) -> str:
    if seconds % _DAY == 0:
        return f"{seconds // _DAY} days"
    return f"{seconds / 3600:.1f} hours"
