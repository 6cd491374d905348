"""`strongroom trust pin` and `strongroom trust show`: what this client trusts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from strongroom.attestation.appraisal import Genuine, Step
from strongroom.attestation.policy import RolePolicy, TcbStatus, TrustPolicy
from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli import options
from strongroom.cli.evidence import print_steps, verify_any_cluster
from strongroom.cli.files import replace_file, write_new
from strongroom.cli.settings import load_settings
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, confirm, say, stderr, stdout
from strongroom.client.files import load_trust
from strongroom.client.session import fetch_evidence
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import Role

DEFAULT: Final = Path("trust.toml")
_WARNING: Final = "NO HARDWARE: whoever runs such a machine can read everything"
_ALWAYS: Final = ("platforms", "measurements", "clusters", "TCB statuses")
"""Shown also when empty: an empty list accepts nothing."""

app = typer.Typer(help="What this client trusts: trust.toml.", no_args_is_help=True)

VaultUrl = Annotated[str, typer.Option("--vault", metavar="URL", help="The Vault to pin.")]
AuthenticatorUrl = Annotated[str, typer.Option("--authenticator", metavar="URL", help="The Authenticator to pin.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Pin software evidence too: no protection from who runs that machine.")
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]
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
    output: Output = DEFAULT,
    yes: options.Yes = False,
    force: Force = False,
) -> None:
    """Trust exactly the programs and clusters that answer now, and nothing else.

    This trusts the first use: compare the digests with what the operator publishes elsewhere.
    """
    if output.exists() and not force:
        raise Failure(f"{output} exists already", "compare it first; --force replaces it")
    seen = (
        look_at(vault, "vault", insecure=insecure),
        look_at(authenticator, "authenticator", insecure=insecure),
    )
    for url, genuine in zip((vault, authenticator), seen, strict=True):
        say(f"{genuine.role} at {url}", "bold")
        print_steps(stderr(), genuine.steps)
        say()
    policy = pin_exactly(*seen)
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
    out.print(f"{path}: policy {policy.name}", style="bold")
    for role, accepted in (("vault", policy.vault), ("authenticator", policy.authenticator)):
        out.print(f"\n{role}", style="bold")
        print_steps(out, _role_steps(accepted))


def look_at(url: str, role: Role, *, insecure: bool) -> Genuine:
    """What answers at `url` now, verified to be some enclave of this role. Raises `Failure` for software evidence
    unless `insecure`, and `Untrusted`."""
    try:
        return verify_any_cluster(asyncio.run(fetch_evidence(url)), role, software=insecure)
    except Untrusted as error:
        if not insecure and "software evidence" in error.reason:
            raise Failure(
                f"{url} shows software evidence: whoever runs that machine can read everything",
                "to develop with it nevertheless, say --insecure",
                status=EXIT_UNTRUSTED,
            ) from None
        raise


def pin_exactly(vault: Genuine, authenticator: Genuine) -> TrustPolicy:
    """A policy that accepts these two programs and clusters, and nothing else."""
    software = "insecure-software" in (vault.kind, authenticator.kind)
    return TrustPolicy(
        version=1,
        name="insecure-pinned" if software else "pinned",
        vault=_pinned(vault),
        authenticator=_pinned(authenticator),
    )


def _pinned(genuine: Genuine) -> RolePolicy:
    """Exactly what was seen; a machine that is up to date is as good as one in the state seen."""
    statuses: list[TcbStatus] = ["UpToDate"]
    if genuine.tcb_status != "UpToDate":
        statuses.append(genuine.tcb_status)  # type: ignore[arg-type]
    software = genuine.kind == "insecure-software"
    return RolePolicy(
        platforms=["insecure-software" if software else "sgx"],
        insecure_roots=[genuine.root] if software else [],
        measurements=[genuine.measurement],
        signers=[],
        clusters=[genuine.claims.cluster_id],
        tcb_statuses=statuses,
        refused_advisories=[],
        min_tcb_evaluation=genuine.tcb_evaluation_number,
        config=genuine.claims.config,
    )


def _role_steps(accepted: RolePolicy) -> list[Step]:
    def digests(values: list[bytes]) -> str:
        return "\n".join(value.hex() for value in values) or "none"

    signers = [
        f"{rule.signer.hex()} product {rule.product_id} from version {rule.min_svn}" for rule in accepted.signers
    ]
    config = [f"{value.name} = {value.value!r}" for value in accepted.config]
    software = "insecure-software" in accepted.platforms
    steps = [
        Step("platforms", ", ".join(accepted.platforms) or "none", _WARNING if software else "kinds of evidence"),
        Step("software roots", digests(accepted.insecure_roots), "of software evidence only"),
        Step("measurements", digests(accepted.measurements), "exactly these programs"),
        Step("signers", "\n".join(signers) or "none", "EACH CAN READ what is stored" if signers else ""),
        Step("clusters", digests(accepted.clusters), "and only these clusters of them"),
        Step(
            "TCB statuses", ", ".join(accepted.tcb_statuses) or "none", "states of the processor that are good enough"
        ),
        Step("refused advisories", ", ".join(accepted.refused_advisories) or "none", "known weaknesses that are not"),
        Step("TCB evaluation", str(accepted.min_tcb_evaluation), "lowest edition of the maker's assessment"),
        Step("configuration", "\n".join(config) or "all defaults", "anything else is refused"),
    ]
    return [step for step in steps if step.value != "none" or step.name in _ALWAYS]
