"""The list of releases that a cluster goes by, for people and for programs: `strongroom release status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from strongroom.client.explanation import Step, fingerprint_of, shown_utc
from strongroom.client.releases import is_in_office
from strongroom.protocol.evidence import Council
from strongroom.protocol.governance import Charter, Named
from strongroom.protocol.releases import SignedReleases, parse_releases
from strongroom.protocol.status import ReleaseStatus, Status


@dataclass(frozen=True, slots=True)
class ReleasesStatus:
    """What an appraised member shows."""

    charter: Charter
    """Verified."""
    council: Council
    """The one in office."""
    status: Status

    @property
    def signed(self) -> SignedReleases | None:
        return parse_releases(self.charter.releases)[0] if self.charter.releases else None

    @property
    def in_office(self) -> bool:
        return is_in_office(self.charter, self.council)


def explain_releases(shown: ReleasesStatus) -> list[Step]:
    """Who may approve, what is listed, what may have the keys, and who has them."""
    council = shown.council
    number = f"{council.approvals} of {len(council.approvers)}"
    steps = [Step("cluster", shown.status.cluster, f"of the {shown.status.role}")]
    if council.approvers:
        steps.append(Step("approvers", number, "must sign a list"))
        steps += [Step("", fingerprint_of(one), "") for one in council.approvers]
        steps.append(Step("delay", _span(council.release_delay), "for which a list stands before a new program counts"))
    else:
        steps.append(Step("approvers", "none", "so only the program that runs now gets its keys"))
    return [*steps, *_list(shown), *_instances(shown)]


def releases_json(shown: ReleasesStatus) -> dict[str, Any]:
    """The same for programs: hex, unix seconds."""
    signed = shown.signed
    return {
        "cluster": shown.status.cluster,
        "role": shown.status.role,
        "serial": shown.status.release,
        "min_svn": parse_releases(shown.charter.releases)[1].min_svn if signed else 0,
        "approvers": [fingerprint_of(one) for one in shown.council.approvers],
        "approvals_needed": shown.council.approvals,
        "approved_by": [fingerprint_of(one.key) for one in signed.approvals] if signed else [],
        "delay": shown.council.release_delay,
        "in_office": shown.in_office,
        "programs": [
            {
                "version": one.version,
                "svn": one.svn,
                "kind": one.kind,
                "measurement": one.measurement,
                "admitted": one.admitted,
                "listed_since": named.at if named else 0,
                "witnessed_since": named.witnessed if named else 0,
            }
            for one, named in _programs(shown)
        ],
        "instances": [
            {"label": one.label, "measurement": one.measurement, "since": one.since, "own": one.own}
            for one in shown.status.instances
        ],
    }


def _programs(shown: ReleasesStatus) -> list[tuple[ReleaseStatus, Named | None]]:
    named = {f"{one.kind} {one.measurement.hex()}": one for one in shown.charter.named}
    return [(one, named.get(f"{one.kind} {one.measurement}")) for one in shown.status.releases]


def _list(shown: ReleasesStatus) -> Iterator[Step]:
    signed = shown.signed
    if signed is None:
        yield Step("list", "none yet", "the program that runs is the only one that gets the keys")
        return
    releases = parse_releases(shown.charter.releases)[1]
    yield Step("list", str(releases.serial), f"nothing below security version {releases.min_svn} counts")
    if not shown.in_office:
        yield Step("", "of another council", "NOBODY NEW gets the keys until approvers in office have published a list")
    for at, one in enumerate(signed.approvals):
        yield Step("" if at else "approved by", fingerprint_of(one.key), "")
    for program, named in _programs(shown):
        yield Step(program.version, f"security version {program.svn}", _standing(program, named, shown))
        yield Step("", f"{program.kind} {program.measurement}", "")


def _standing(program: ReleaseStatus, named: Named | None, shown: ReleasesStatus) -> str:
    if named is None:
        return "BELOW THE FLOOR: gets nothing"
    if program.admitted:
        return f"may have the keys; listed since {shown_utc(named.at)}"
    if not shown.in_office:
        return "listed, and gets nothing new"
    if named.witnessed:
        return f"may have the keys from {shown_utc(named.witnessed + shown.council.release_delay)} on"
    return "waits: no witness has seen the list, and the delay is counted by them alone"


def _instances(shown: ReleasesStatus) -> Iterator[Step]:
    versions = {one.measurement: one.version for one in shown.status.releases}
    for one in shown.status.instances:
        which = versions.get(one.measurement, "not in the list" if shown.status.release else "no list yet")
        mine = ", answering" if one.own else ""
        yield Step("machine", which, f"{one.label}; since {shown_utc(one.since)}{mine}")
    if not shown.status.instances:
        yield Step("machines", "none", "that open the keys by themselves: after a restart custodians have to")


def _span(seconds: int) -> str:
    if not seconds:
        return "none"
    return f"{seconds // 86400} days" if seconds % 86400 == 0 else f"{seconds / 3600:.1f} hours"
