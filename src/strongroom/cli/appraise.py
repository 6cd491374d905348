"""`strongroom appraise`: appraise a raw quote, report or document of any platform, without a server and a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from strongroom.attestation.acceptance import accept_platform, accept_program
from strongroom.attestation.default_policy import accept_platform_by_default
from strongroom.attestation.policy import RolePolicy, sections_of
from strongroom.attestation.reports import AnyReport, SnpReport
from strongroom.attestation.verification import verify_quote
from strongroom.cli import options
from strongroom.cli.evidence import print_verdict, refused_by, report_json, steps_json
from strongroom.cli.raw_quote import guess_kind, read_bounded, snp_collateral, verify_is_collateral, without_padding
from strongroom.cli.terminal import Failure, exit_status, result_json, say, stdout
from strongroom.client.explanation import Step, explain_report
from strongroom.client.files import load_trust
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import PlatformKind

FileArgument = Annotated[
    str,
    typer.Argument(metavar="FILE", help="The quote, report or document, as the hardware gave it; - for stdin."),
]
KindOption = Annotated[
    Literal["sgx", "tdx", "snp", "nitro", "insecure-software"] | None,
    typer.Option("--kind", help="The platform that it is of. [default: what it looks like]"),
]
CollateralOption = Annotated[
    Path | None,
    typer.Option(
        "--collateral",
        metavar="FILE",
        help="SGX, TDX: Intel's collateral, JSON (spec/evidence.md).",
    ),
]
LeafOption = Annotated[
    Path | None, typer.Option("--leaf", metavar="FILE", help="SNP: certificate of the VCEK or VLEK, DER or PEM.")
]
ChainOption = Annotated[
    Path | None, typer.Option("--chain", metavar="FILE", help="SNP: AMD's signing key and root, PEM, in either order.")
]
CrlOption = Annotated[
    Path | None, typer.Option("--crl", metavar="FILE", help="SNP: AMD's list of revoked certificates, DER or PEM.")
]
AtOption = Annotated[
    int | None,
    typer.Option("--at", metavar="UNIXTIME", min=0, max=2**40, help="The time to appraise it at. [default: now]"),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="A trust policy, as `trust pin` makes one."),
]
RoleOption = Annotated[
    Literal["vault", "authenticator"] | None,
    typer.Option("--role", help="With --policy: whose section of it to use."),
]

_NEEDS: Final[dict[PlatformKind, str]] = {
    "sgx": "sgx needs --collateral",
    "tdx": "tdx needs --collateral",
    "insecure-software": "insecure-software needs --collateral",
    "snp": "snp needs --leaf and --chain, and may have --crl",
    "nitro": "nitro needs no other file",
}
_OUTSIDE: Final = "the cluster and its configuration, which a raw quote does not show"
_PROGRAM: Final = "which program this is (--policy would say)"
_REVOCATION: Final = "revocation, since AMD's list is not there (--crl)"
_FLOORS: Final = "the security versions of AMD's parts (--policy would set floors)"


class _Files(NamedTuple):
    """What comes with a quote."""

    collateral: Path | None
    leaf: Path | None
    chain: Path | None
    crl: Path | None


def appraise(
    file: FileArgument,
    kind: KindOption = None,
    collateral: CollateralOption = None,
    leaf: LeafOption = None,
    chain: ChainOption = None,
    crl: CrlOption = None,
    at: AtOption = None,
    policy: PolicyOption = None,
    role: RoleOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Appraise a raw quote, report or document of any platform, offline.

    Without --policy the machine must be in the best state that its maker knows; which program runs there is then not
    judged. Exit status: 0 accepted, 10 genuine but refused by the policy, 11 untrusted: altered, forged, not at this
    time, or open to its host whatever a policy says.
    """
    accepted = _section(policy, role)
    quote = read_bounded(file, "the quote")
    found: PlatformKind = kind or guess_kind(quote)
    if found in ("sgx", "tdx", "insecure-software"):
        padded, quote = len(quote), without_padding(quote)
        if len(quote) < padded:
            say(f"{padded - len(quote)} zero bytes behind the quote are left out", "dim")
    text = _collateral(found, _Files(collateral, leaf, chain, crl))
    roots = _software_roots(found, accepted)
    now = int(time.time()) if at is None else at
    by = f"{policy}, section [{role}]" if policy else "the default rules"
    report: AnyReport | None = None
    refusal: Untrusted | None = None
    verdict, said = "accepted", ""
    try:
        report = verify_quote(found, quote, text, platforms=(found,), insecure_roots=roots, now=now)
        said = f"{_accept(found, report, accepted, now)} by {by}"
    except Untrusted as error:
        refusal, said = error, error.reason
        verdict = "refused" if error.number == Number.POLICY else "untrusted"
    unjudged = [] if report is None else _unjudged(report, accepted)
    if as_json:
        result_json(_as_json(found, verdict, refusal, report, unjudged))
    else:
        print_verdict(stdout(), _steps(found, report), verdict, said, unjudged)
    if refusal is not None:
        raise _failure(refusal, by)


def _section(policy: Path | None, role: Literal["vault", "authenticator"] | None) -> RolePolicy | None:
    if policy is None:
        if role is not None:
            raise Failure("--role chooses a section of --policy, which is missing", "give --policy too, or neither")
        return None
    if role is None:
        raise Failure("--role is missing: a raw quote does not say what it serves as", "--role vault or authenticator")
    trust = load_trust(policy)
    return trust.vault if role == "vault" else trust.authenticator


def _collateral(kind: PlatformKind, files: _Files) -> bytes:
    """What the quote is appraised with. Raises `Failure` for files that are missing or belong to another platform."""
    match kind:
        case "nitro":
            _verify_no_more(kind, files, ())
            return b""
        case "snp":
            _verify_no_more(kind, files, ("leaf", "chain", "crl"))
            leaf = read_bounded(_needed(kind, files.leaf, "leaf"), "the leaf")
            chain = read_bounded(_needed(kind, files.chain, "chain"), "the chain")
            return snp_collateral(leaf, chain, None if files.crl is None else read_bounded(files.crl, "AMD's list"))
        case _:
            _verify_no_more(kind, files, ("collateral",))
            found = read_bounded(_needed(kind, files.collateral, "collateral"), "the collateral")
            verify_is_collateral(found)
            return found


def _needed(kind: PlatformKind, file: Path | None, name: str) -> Path:
    if file is None:
        raise Failure(f"--{name} is missing: this is appraised as {kind}", _NEEDS[kind])
    return file


def _verify_no_more(kind: PlatformKind, files: _Files, known: tuple[str, ...]) -> None:
    """A file that nothing would look at must not seem to count."""
    for name, given in files._asdict().items():
        if given is not None and name not in known:
            raise Failure(f"--{name} does not go with {kind}", f"{_NEEDS[kind]}; --kind says what it is")


def _software_roots(kind: PlatformKind, accepted: RolePolicy | None) -> tuple[bytes, ...]:
    if kind != "insecure-software":
        return ()
    if accepted is None or accepted.insecure_software is None:
        raise Failure(
            "software evidence is appraised only by a policy that names its root",
            "give --policy and --role, and [ROLE.insecure_software] in that file",
        )
    return tuple(accepted.insecure_software.roots)


def _accept(kind: PlatformKind, report: AnyReport, accepted: RolePolicy | None, now: int) -> str:
    """How it is accepted, in words. Raises `Untrusted` POLICY."""
    if accepted is None:
        accept_platform_by_default(kind, report, now)
        return "genuine, and good enough"
    section = sections_of(accepted).get(kind)
    if section is None:
        raise Untrusted(Number.POLICY, f"the policy does not name {kind}")
    accepted_by = accept_program(report, section)
    accept_platform(report, section, now)
    return "known by its measurement" if accepted_by == "measurement" else "known by its signer, WHO CAN READ,"


def _unjudged(report: AnyReport, accepted: RolePolicy | None) -> list[str]:
    """What nobody looked at, so that a verdict does not seem to cover it."""
    found = [] if accepted is not None else [_PROGRAM]
    if isinstance(report, SnpReport):
        found += [_FLOORS] if accepted is None else []
        found += [] if report.crl_checked else [_REVOCATION]
    return [*found, _OUTSIDE]


def _steps(kind: PlatformKind, report: AnyReport | None) -> list[Step]:
    if report is None:
        return []
    said = Step("report data", report.report_data.hex() or "none", "what the program commits to")
    return [*explain_report(kind, report), said]


def _failure(refusal: Untrusted, by: str) -> Failure:
    if refusal.number == Number.POLICY:
        return refused_by(
            by, refusal, "if it is good enough for you, write a policy that says so (docs/howto/policy.md): --policy"
        )
    return Failure(
        f"not to be trusted: {refusal.reason}",
        "do the files belong together, and is --at right? If so, it was altered or forged, or its host can look inside",
        status=exit_status(refusal),
    )


def _as_json(
    kind: PlatformKind,
    verdict: str,
    refusal: Untrusted | None,
    report: AnyReport | None,
    unjudged: list[str],
) -> dict[str, Any]:
    return {
        "kind": kind,
        "verdict": verdict,
        "number": int(refusal.number) if refusal else 0,
        "reason": refusal.reason if refusal else "",
        "not_judged": unjudged,
        "report": None if report is None else report_json(report),
        "steps": steps_json(_steps(kind, report)),
    }
