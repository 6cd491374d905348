"""A council in words, for whoever is to sign it and for whoever looks who governs a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from strongroom.client.explanation import Step
from strongroom.protocol.cluster_messages import Convene
from strongroom.protocol.errors import Misuse
from strongroom.protocol.evidence import Council, Genesis, cluster_id
from strongroom.protocol.governance import Charter, SignedGap, log_generation, named_watchers, parse_gap, watchers_of
from strongroom.protocol.sshsig import key_line

_SHOWN: Final = 30
"""Characters at each end of a post-quantum recipient, which has two thousand: 46 of them nobody can make the same."""
_DAY: Final = 24 * 3600
_NOBODY_APPROVES: Final = "a running enclave gives its keys to its own program only"


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
        steps.append(Step("approvers", "none", _NOBODY_APPROVES))
    return steps


def explain_change(before: Council, after: Council | Convene, serial: int) -> list[Step]:
    """The same of a council that follows `before`: what goes (-), what comes (+) and what stays (=).

    Whoever signs it agrees to what goes, too, which a list of those who come would not show.
    """
    steps = [Step("council", str(serial), f"follows council {serial - 1}: - goes, + comes, = stays")]
    steps += _change("threshold", _threshold(before), _threshold(after))
    steps += _change("custodian", _people(before), _people(after))
    steps += _change("approvals", _approvals(before), _approvals(after))
    steps += _change("delay", _delay(before), _delay(after))
    steps += _change("approver", _approvers(before), _approvers(after))
    if not after.approvers:
        steps.append(Step("= approvers" if not before.approvers else "+ approvers", "none", _NOBODY_APPROVES))
    return steps


def explain_standing(charter: Charter, councils: Sequence[Council]) -> list[Step]:
    """What has happened to a cluster since it was founded, from a verified charter."""
    steps = []
    for serial, one in enumerate(councils[:-1]):
        names = ", ".join(custodian.name for custodian in one.custodians)
        steps.append(Step("earlier", f"council {serial}", f"{_share(one.threshold, one.custodians)}: {names}"))
    generation = log_generation(charter)
    steps.append(Step("recoveries", str(charter.recoveries), "times that custodians brought the keys back"))
    steps.append(
        Step("generation", str(generation), "of the log" if generation else "of the log: nothing was given up")
    )
    named = named_watchers(charter)
    if named is not None:
        names = ", ".join(key.partition("+")[0] for key in named.witnesses)
        about = f"{names}: named by custodians at a recovery, in the place of those above"
        steps.append(Step("watched by", f"{named.cosignatures} of {len(named.witnesses)}", about))
    for signed in charter.gaps:
        gap = parse_gap(signed.statement)
        lost = max(0, gap.known_size - gap.found_size)
        given_up = f"{lost} {'line' if lost == 1 else 'lines'}" if gap.known_size else "what was after it"
        about = f"given up after line {gap.found_size} of the log, signed by {len(signed.signed)} of council"
        steps.append(Step("gap", given_up, f"{about} {signed.council}; generation {gap.generation} follows"))
    return steps


def charter_json(charter: Charter, genesis: Genesis, councils: Sequence[Council]) -> dict[str, Any]:
    """A verified charter, for programs: hex, seconds."""
    council, watching = councils[-1], watchers_of(charter)
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
        "witnesses": list(watching.witnesses),
        "cosignatures": watching.cosignatures,
        "earlier": [[custodian.name for custodian in one.custodians] for one in councils[:-1]],
        "gaps": [_gap_json(signed) for signed in charter.gaps],
    }


def shown_recipient(recipient: str) -> str:
    """An age recipient on one line."""
    return _short(recipient) or "none"


def _gap_json(signed: SignedGap) -> dict[str, int]:
    gap = parse_gap(signed.statement)
    return {
        "generation": gap.generation,
        "recoveries": gap.recoveries,
        "found_size": gap.found_size,
        "known_size": gap.known_size,
        "at": gap.at,
        "council": signed.council,
        "signed": len(signed.signed),
    }


_Part = tuple[str, str]
"""A value, and the whole recipient of a custodian's: what is shown of it somebody else may have, too."""


def _change(name: str, before: Sequence[_Part], after: Sequence[_Part]) -> list[Step]:
    steps = [Step(f"- {name}", value, _short(about)) for value, about in before if (value, about) not in after]
    for value, about in after:
        steps.append(Step(f"{'=' if (value, about) in before else '+'} {name}", value, _short(about)))
    return steps


def _threshold(council: Council | Convene) -> list[_Part]:
    return [(_share(council.threshold, council.custodians), "")]


def _people(council: Council | Convene) -> list[_Part]:
    return [(one.name, one.recipient) for one in council.custodians]


def _approvals(council: Council | Convene) -> list[_Part]:
    return [(_share(council.approvals, council.approvers), "")] if council.approvers else []


def _delay(council: Council | Convene) -> list[_Part]:
    return [(_span(council.release_delay), "")] if council.approvers else []


def _approvers(council: Council | Convene) -> list[_Part]:
    return [(_shown_key(key), "") for key in council.approvers]


def _short(text: str) -> str:
    return text if len(text) <= 2 * _SHOWN + 10 else f"{text[:_SHOWN]}…{text[-_SHOWN:]}"


def _share(number: int, of: Sequence[object]) -> str:
    return f"{number} of {len(of)}"


def _shown_key(key: bytes) -> str:
    try:
        return key_line(key)
    except (Misuse, ValueError):
        return key.hex()


def _span(seconds: int) -> str:
    if seconds % _DAY == 0:
        return f"{seconds // _DAY} days"
    return f"{seconds / 3600:.1f} hours"
