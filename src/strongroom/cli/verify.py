"""`strongroom verify`: appraise a server's evidence and show the chain, step by step."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from strongroom.attestation.appraisal import Step, appraise
from strongroom.cli import options
from strongroom.cli.evidence import claimed_role, print_steps, verify_any_cluster
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, printable, result_json, stdout
from strongroom.client.files import load_trust
from strongroom.client.session import fetch_evidence
from strongroom.protocol.errors import StrongroomError, Untrusted
from strongroom.protocol.evidence import Role

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="A Vault or an Authenticator.")]
RoleOption = Annotated[
    Literal["vault", "authenticator"] | None,
    typer.Option("--role", help="What it must be. [default: what it says it is]"),
]
TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", metavar="FILE", help="Your trust policy; without one there is no verdict, only facts."),
]


def verify(
    url: UrlArgument,
    role: RoleOption = None,
    trust: TrustOption = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Appraise a server's evidence, step by step.

    The exit status is 0 only for what your trust policy accepts; 11 means refused, or that there is no policy.
    """
    settings = load_settings(config)
    file = trust or settings.trust
    policy = load_trust(file) if file else None
    evidence = asyncio.run(fetch_evidence(url))
    steps: tuple[Step, ...] = ()
    refusal: StrongroomError | None = None
    try:
        found: Role = role or claimed_role(evidence)
        steps = verify_any_cluster(evidence, found).steps
        if policy is not None:
            accepted = policy.vault if found == "vault" else policy.authenticator
            steps = appraise(evidence, role=found, policy=accepted, now=int(time.time())).steps
    except Untrusted as error:
        refusal = error
    verdict = "refused" if refusal else "trusted" if policy is not None else "not appraised"
    if as_json:
        result_json(_as_json(url, verdict, refusal, steps))
    else:
        out = stdout()
        print_steps(out, steps)
        style = {"trusted": "bold green", "refused": "bold red"}.get(verdict, "bold yellow")
        reason = refusal.reason if refusal else f"by {file}" if file else "no trust policy was named"
        out.print()
        out.print(f"{verdict}: {printable(reason)}", style=style)
    if refusal is not None:
        raise refusal
    if policy is None:
        raise Failure(
            "there is no trust policy to appraise this by",
            "name one with --trust, or make one: strongroom trust pin",
            status=EXIT_UNTRUSTED,
        )


def _as_json(url: str, verdict: str, refusal: StrongroomError | None, steps: tuple[Step, ...]) -> dict[str, Any]:
    return {
        "url": url,
        "verdict": verdict,
        "number": int(refusal.number) if refusal else 0,
        "reason": refusal.reason if refusal else "",
        "steps": [{"name": step.name, "value": step.value, "explanation": step.explanation} for step in steps],
    }
