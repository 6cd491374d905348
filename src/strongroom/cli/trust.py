"""`strongroom trust pin` and `strongroom trust show`: what this client trusts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from strongroom.attestation.appraisal import Genuine, appraise
from strongroom.attestation.policy import RolePolicy, TrustPolicy, sections_of
from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli import options
from strongroom.cli.evidence import claimed_kind, print_steps, verify_any_cluster
from strongroom.cli.files import replace_file, write_new
from strongroom.cli.pinning import Weakness, pin_exactly, pin_releases, verify_floors, verify_pinnable
from strongroom.cli.sessions import cluster_session
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import EXIT_REFUSED, Failure, confirm, printable, say, stderr, stdout
from strongroom.client.cluster import ask_charter, role_policy
from strongroom.client.errors import BadInput
from strongroom.client.explanation import Step, explain, explain_cluster
from strongroom.client.files import load_trust
from strongroom.client.policy_explanation import explain_role, explain_section, explain_witnesses
from strongroom.client.session import fetch_evidence
from strongroom.protocol.evidence import Council, Role

DEFAULT: Final = Path("trust.toml")
_NOT_PINNED: Final = (
    "advisories",
    "TCB date",
    "PPID",
    "CHIP_ID",
    "module",
    "ID key",
    "PCR8",
    "MRSIGNER",
    "revocations",
)
"""Shown beside the pins: what a person may want to know before trusting such a machine."""

app = typer.Typer(help="What this client trusts: trust.toml.", no_args_is_help=True)

VaultUrl = Annotated[str, typer.Option("--vault", metavar="URL", help="The Vault to pin.")]
AuthenticatorUrl = Annotated[str, typer.Option("--authenticator", metavar="URL", help="The Authenticator to pin.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Pin software evidence too: no protection from who runs that machine.")
]
Milan = Annotated[bool, typer.Option("--milan", help="Pin AMD Milan too, whose attestation keys software can extract.")]
Machines = Annotated[bool, typer.Option("--machines", help="Also pin the machines: no other one is accepted.")]
Releases = Annotated[
    bool,
    typer.Option("--releases", help="Pin who approves programs of these clusters, not the programs: upgrades go on."),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there; its floors are kept.")]
FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The policy. [default: as strongroom.toml says, else trust.toml]"),
]


@app.callback()
def trust() -> None:
    """What this client trusts: trust.toml."""


@app.command("pin")
def pin(
    vault: VaultUrl,
    authenticator: AuthenticatorUrl,
    insecure: Insecure = False,
    milan: Milan = False,
    machines: Machines = False,
    releases: Releases = False,
    output: Output = DEFAULT,
    yes: options.Yes = False,
    force: Force = False,
) -> None:
    """Trust exactly the programs and clusters that answer now, and nothing else.

    This trusts the first use: compare the digests with what the operator publishes elsewhere. Machines are accepted in
    the state seen or a better one.

    With --releases, a program counts that enough of the cluster's approvers have listed: they decide from then on.
    """
    if output.exists() and not force:
        raise Failure(f"{output} exists already", "compare it first; --force replaces it")
    old = _old_policy(output) if output.exists() else None
    named: tuple[tuple[bool, Weakness], ...] = ((insecure, "insecure"), (milan, "milan"))
    allowed = [weakness for asked, weakness in named if asked]
    seen = (look_at(vault, "vault", allowed), look_at(authenticator, "authenticator", allowed))
    policy = pin_exactly(*seen, machines=machines)
    if releases:
        policy = _by_releases(policy, (vault, authenticator), seen)
    changes = verify_floors(old, policy, output) if old is not None else []
    for url, genuine, role in zip((vault, authenticator), seen, (policy.vault, policy.authenticator), strict=True):
        say(f"{genuine.role} at {url}", "bold")
        print_steps(stderr(), [*_role_steps(role), *_beside(genuine)])
        say()
    say("the log of the Vault", "bold")
    print_steps(stderr(), explain_witnesses(policy))
    say()
    for change in changes:
        say(change)
    if not yes:
        confirm(f"Trust exactly these, and write {output}?", hint=f"{output} was not written; --yes doesn't ask")
    text = format_trust_policy(policy).encode()
    if force:
        replace_file(output, text)
    else:
        write_new(output, text, what="trust pin")
    say(f"{output} is written")


@app.command("show")
def show(file: FileArgument = None, config: options.Config = None) -> None:
    """Show a trust policy in words."""
    path = file or load_settings(config).trust or DEFAULT
    policy = load_trust(path)
    out = stdout()
    out.print(f"{path}: policy {printable(policy.name)}", style="bold")
    for role, accepted in (("vault", policy.vault), ("authenticator", policy.authenticator)):
        out.print(f"\n{role}", style="bold")
        print_steps(out, _role_steps(accepted))
    out.print("\nthe log of the Vault", style="bold")
    print_steps(out, explain_witnesses(policy))


def look_at(url: str, role: Role, allowed: Collection[Weakness]) -> Genuine:
    """What answers at `url` now, verified to be some enclave of this role. Raises `Failure` for what is trusted only by
    its name, unless that is `allowed`, and `Untrusted`."""
    evidence = asyncio.run(fetch_evidence(url))
    if claimed_kind(evidence) == "insecure-software" and "insecure" not in allowed:
        raise Failure(
            f"{url} shows software evidence: whoever runs that machine can read everything",
            "to develop with it nevertheless, say --insecure",
            status=EXIT_REFUSED,
        )
    genuine = verify_any_cluster(evidence, role)
    verify_pinnable(url, genuine, allowed)
    return genuine


def _by_releases(policy: TrustPolicy, urls: Sequence[str], seen: Sequence[Genuine]) -> TrustPolicy:
    """Approvers in the place of the programs, as each cluster's own charter names them."""
    roles: dict[str, RolePolicy] = {}
    for url, genuine in zip(urls, seen, strict=True):
        role = role_policy(policy, genuine.role)
        council, evidence = asyncio.run(_council(url, genuine.role, role))
        roles[genuine.role] = pin_releases(role, genuine, council)
        if not council.approvers:
            say(f"the cluster at {url} has no approvers: its program is pinned, and gives its keys to no other")
        # What is pinned accepts what answers: else the list was signed by others than are in office now.
        appraise(evidence, role=genuine.role, policy=roles[genuine.role], now=int(time.time()))
    if all(role.releases is None for role in roles.values()):
        raise Failure(
            "neither cluster has approvers: each gives its keys to one program only",
            "leave --releases out, which pins these programs",
            status=EXIT_REFUSED,
        )
    return msgspec.structs.replace(policy, **roles)


async def _council(url: str, role: Role, policy: RolePolicy) -> tuple[Council, bytes]:
    """The council in office, and the evidence of who says so."""
    async with cluster_session(url, role=role, policy=policy) as session:
        return (await ask_charter(session)).council, session.evidence


def _old_policy(path: Path) -> TrustPolicy:
    try:
        return load_trust(path)
    except BadInput as error:
        raise Failure(error.error, f"its floors would be lost: mend it, or move {path} away") from None


def _role_steps(accepted: RolePolicy) -> list[Step]:
    steps = explain_role(accepted)
    for kind, section in sections_of(accepted).items():
        steps += explain_section(kind, section)
    return steps if sections_of(accepted) else [*steps, Step("platforms", "none", "so nothing is accepted")]


def _beside(genuine: Genuine) -> list[Step]:
    """What was seen and is not pinned, or says whom one trusts with it."""
    steps = [step for step in explain(genuine, time.time()) if step.name in _NOT_PINNED]
    return [
        *(step._replace(name=f"seen: {step.name}") for step in steps),
        Step("seen: build", genuine.claims.build, "version as the program names itself"),
        Step("seen: custodians", str(len(genuine.genesis.council.custodians)), explain_cluster(genuine.genesis)),
    ]
