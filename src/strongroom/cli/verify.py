"""`strongroom verify`: appraise a server's evidence and show the chain, step by step."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from strongroom.attestation.appraisal import Genuine, appraise
from strongroom.attestation.default_policy import accept_platform_by_default
from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.reports import AnyReport
from strongroom.attestation.witnessing import accept_witnesses
from strongroom.cli import options
from strongroom.cli.evidence import (
    claimed_role,
    print_verdict,
    refused_by,
    report_json,
    steps_json,
    verify_any_cluster,
)
from strongroom.cli.files import read_text
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, result_json, stdout
from strongroom.client.explanation import Step, explain, explain_acceptance, explain_untrusted
from strongroom.client.files import load_trust
from strongroom.client.release import Release, parse_release, verify_is_release
from strongroom.client.session import fetch_evidence
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import Role

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="A Vault or an Authenticator.")]
RoleOption = Annotated[
    Literal["vault", "authenticator"] | None,
    typer.Option("--role", help="What it must be. [default: what it says it is]"),
]
TrustOption = Annotated[Path | None, typer.Option("--trust", metavar="FILE", help="Your trust policy.")]
ReleaseOption = Annotated[
    Path | None,
    typer.Option("--release", metavar="FILE", help="The program that it must be, as measured by whoever built it."),
]

_RELEASE_FILE: Final = 16 * 1024
_UNJUDGED: Final = [
    "whose cluster this is: without a trust policy, its keys may be anybody's",
    "its configuration",
]


@dataclass(slots=True)
class Finding:
    """What was found, as far as it went."""

    steps: list[Step] = field(default_factory=list)
    report: AnyReport | None = None
    refusal: Untrusted | None = None
    by: str = ""
    """Who refuses, where the evidence is genuine."""


def verify(
    url: UrlArgument,
    role: RoleOption = None,
    trust: TrustOption = None,
    release: ReleaseOption = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Appraise a server's evidence, step by step.

    With a trust policy the verdict covers everything. With --release alone it covers the program, and the machine by
    default rules. With both, both must accept; with none there are only facts.

    Exit status: 0 accepted, 10 genuine but refused, 11 not genuine, or nothing to appraise it by, 12 no answer.
    """
    settings = load_settings(config)
    file = trust or settings.trust
    policy = load_trust(file) if file else None
    released = load_release(release) if release else None
    found = look(asyncio.run(fetch_evidence(url)), role, policy, released, int(time.time()))
    verdict, said, unjudged = _verdict(found, file, released)
    if as_json:
        result_json({"url": url} | _as_json(found, verdict, unjudged))
    else:
        print_verdict(stdout(), found.steps, verdict, said, unjudged)
    if verdict == "refused" and found.refusal is not None:
        raise refused_by(found.by, found.refusal, "compare with what the operator publishes: program, cluster, machine")
    if found.refusal is not None:
        raise found.refusal
    if verdict == "not appraised":
        raise Failure(
            "there is no trust policy to appraise this by",
            "name one with --trust, or make one: strongroom trust pin",
            status=EXIT_UNTRUSTED,
        )


def load_release(path: Path) -> Release:
    """The release in a file, which is named after its content. Raises `BadInput` and `Failure`."""
    text = read_text(
        path, limit=_RELEASE_FILE, what="the release file", hint="operators and builders publish such files"
    )
    return parse_release(text, path.name)


def look(
    untrusted_evidence: bytes, role: Role | None, policy: TrustPolicy | None, release: Release | None, now: int
) -> Finding:
    """Appraise evidence by all that is there to appraise it by, at `now` (unix seconds).

    A refusal is part of the finding, since what was found until then is shown too.
    """
    found = Finding()
    try:
        role = role or claimed_role(untrusted_evidence)
        genuine = verify_any_cluster(untrusted_evidence, role, now)
        found.report = genuine.report
        found.steps = explain(genuine, now)
        if release is not None:
            found.by = f"release {release.version}"
            found.steps.append(_released(genuine, release))
        if policy is not None:
            found.by = f"the trust policy {policy.name}"
            accepted = policy.vault if role == "vault" else policy.authenticator
            appraisal = appraise(untrusted_evidence, role=role, policy=accepted, now=now)
            if role == "vault":
                accept_witnesses(appraisal.genuine.genesis, appraisal.genuine.claims.watchers, policy)
            found.steps += explain_acceptance(appraisal)
        elif release is not None:
            found.by = "the default rules"
            accept_platform_by_default(genuine.kind, genuine.report, now)
    except Untrusted as error:
        found.refusal = error
        found.steps = found.steps or explain_untrusted(untrusted_evidence)
    return found


def _released(genuine: Genuine, release: Release) -> Step:
    # Software evidence has the form of SGX, and can show the measurement of any release.
    if genuine.kind != release.kind:
        raise Untrusted(Number.POLICY, f"this is {genuine.kind} evidence, and the release is for {release.kind}")
    verify_is_release(genuine.report, release, role=genuine.role)
    claimed = next((value.value for value in genuine.claims.config if value.name == "page"), None)
    if release.page is not None and claimed != release.page.hex():
        raise Untrusted(
            Number.POLICY, f"it claims to be used from the page {claimed or '(none)'}, not the released one"
        )
    return Step("released program", release.version, f"the {release.role} built from commit {release.built}")


def _verdict(found: Finding, file: Path | None, release: Release | None) -> tuple[str, str, list[str]]:
    """The verdict, what is said of it, and what it does not cover."""
    if found.refusal is not None:
        return "refused" if found.refusal.number == Number.POLICY else "untrusted", found.refusal.reason, []
    if file is not None:
        return "trusted", f"by {file}", []
    if release is not None:
        return "released program", f"this is {release.version}, on a machine in good state", list(_UNJUDGED)
    return "not appraised", "no trust policy was named", list(_UNJUDGED)


def _as_json(found: Finding, verdict: str, unjudged: list[str]) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "number": int(found.refusal.number) if found.refusal else 0,
        "reason": found.refusal.reason if found.refusal else "",
        "not_judged": unjudged,
        "report": None if found.report is None else report_json(found.report),
        "steps": steps_json(found.steps),
    }
