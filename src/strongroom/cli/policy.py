"""`strongroom policy check`, `explain` and `simulate`: what rules say, before anything is stored under them.

Not the trust policy: that is `strongroom trust`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from strongroom.attestation.policy import RolePolicy, TrustPolicy
from strongroom.cli import options
from strongroom.cli.connection import read_instructions
from strongroom.cli.files import read_text
from strongroom.cli.settings import load_settings, needed
from strongroom.cli.terminal import EXIT_REFUSED, Failure, bold_capitals, printable, result, result_json, stdout
from strongroom.client.files import load_trust
from strongroom.client.rules_explanation import Methods, explain_rules
from strongroom.client.rules_mistakes import verify_written_rules
from strongroom.client.rules_review import Finding, review, review_rules
from strongroom.client.simulation import (
    MAX_PEOPLE_FILE,
    Foretold,
    People,
    Record,
    parse_people,
    parse_person,
    simulate,
)
from strongroom.protocol.instructions import Action, Instructions, parse_instructions
from strongroom.protocol.limits import MAX_RULES
from strongroom.protocol.rules import ACTIONS, verify_rules

app = typer.Typer(help="What rules say, before anything is stored under them.", no_args_is_help=True)

FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The instructions. [default: as strongroom.toml says; none beside --rules]"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 10 if there is anything to think about.")]
PeopleFile = Annotated[
    Path | None, typer.Option("--people", metavar="FILE", help="People and record to try, as TOML, or JSON (*.json).")
]
Persons = Annotated[
    list[str] | None,
    typer.Option("--person", metavar="TEXT", help="One of them: 'name=bob email=bob@example.com'; repeat for more."),
]
Actions = Annotated[
    list[str] | None,
    typer.Option("--action", metavar="NAME", help="Only this action, status 10 if somebody is refused; repeatable."),
]
Depositor = Annotated[str | None, typer.Option("--depositor", metavar="NAME", help="Which of them stored the record.")]
ApprovedBy = Annotated[
    list[str] | None, typer.Option("--approved-by", metavar="NAME", help="Which of them approved; repeat for more.")
]
IdleDays = Annotated[
    int | None, typer.Option("--idle-days", min=0, metavar="N", help="Days since the depositor was here.")
]
At = Annotated[
    str | None, typer.Option("--time", metavar="TIME", help="Witnessed time, as 2026-11-26T09:30Z. [default: none]")
]

_NOTHING: Final = RolePolicy(
    clusters=[], config=[], sgx=None, tdx=None, snp=None, nitro=None, insecure_software=None, releases=None
)
_NO_TRUST: Final = TrustPolicy(
    version=1, name="none", vault=_NOTHING, authenticator=_NOTHING, witnesses=[], cosignatures=0
)
"""Rules can be read without: how the Vault recognises the Authenticators is another question."""


class _Read:
    """Rules, and what is known around them."""

    def __init__(self, instructions: Instructions | None, rules: str) -> None:
        self.instructions = instructions
        self.rules = rules
        self.methods = Methods(instructions.methods if instructions else ())

    def findings(self) -> list[Finding]:
        return review(self.instructions) if self.instructions else review_rules(self.rules)


@app.callback()
def policy() -> None:
    """What rules say, before anything is stored under them."""


@app.command("check")
def check(
    file: FileArgument = None,
    rules: options.Rules = None,
    emails: options.For = None,
    strict: Strict = False,
    trust: options.Trust = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> int:
    """Check rules as the Authenticator will, and say what is worth a second thought."""
    read = _read(file, rules, emails, trust, config)
    permitted, findings = verify_rules(read.rules).permitted, read.findings()
    if as_json:
        result_json({"permitted": permitted, "findings": _plain(findings)})
    else:
        result(f"valid: somebody may {', '.join(permitted)}")
        _print_findings(findings)
    return EXIT_REFUSED if strict and findings else 0


@app.command("explain")
def explain(
    file: FileArgument = None,
    rules: options.Rules = None,
    emails: options.For = None,
    trust: options.Trust = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Say in plain words who may do what, and what is worth a second thought."""
    read = _read(file, rules, emails, trust, config)
    policies, findings = explain_rules(read.rules, read.methods), read.findings()
    if as_json:
        result_json(
            {
                "policies": [
                    {
                        "policy": one.number,
                        "effect": "permit" if one.permits else "forbid",
                        "actions": list(one.actions),
                        "who": [line for clause in one.who for line in _indented(clause.lines())],
                    }
                    for one in policies
                ],
                "quorum": read.instructions.quorum if read.instructions else None,
                "findings": _plain(findings),
            }
        )
        return
    for one in policies:
        verb = "may" if one.permits else "may NOT"
        what = "do anything" if set(one.actions) == set(ACTIONS) else ", ".join(one.actions)
        result(f"policy {one.number}: {verb} {what}, if all of this holds:" if one.who else f"policy {one.number}:")
        for clause in one.who:
            for line in _indented(clause.lines(1)):
                stdout().print(bold_capitals(line))
        if not one.who:
            result(f"  whoever signed in {verb} {what}")
    if read.instructions and read.instructions.quorum > 1:
        result(f"each of {read.instructions.quorum} Authenticators must say so, each after a sign-in of its own")
    _print_findings(findings)


@app.command("simulate")
def simulate_(
    file: FileArgument = None,
    rules: options.Rules = None,
    emails: options.For = None,
    people: PeopleFile = None,
    persons: Persons = None,
    actions: Actions = None,
    depositor: Depositor = None,
    approved_by: ApprovedBy = None,
    idle_days: IdleDays = None,
    at: At = None,
    trust: options.Trust = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> int:
    """Show who would get in, and which policy says so, by the evaluation that the Authenticator runs."""
    unknown = sorted(set(actions or ()) - set(ACTIONS))
    if unknown:
        raise Failure(f"there is no action {', '.join(unknown)}", f"the actions are {', '.join(ACTIONS)}")
    read = _read(file, rules, emails, trust, config)
    described = _people(people, persons)
    _set_record(described.record, depositor, approved_by, idle_days, at)
    wanted = cast("Sequence[Action]", actions or verify_rules(read.rules).permitted)
    foretold = simulate(read.rules, read.methods, described, wanted, int(time.time()))
    if as_json:
        result_json({"results": [one._asdict() for one in foretold]})
    else:
        _print_foretold(foretold)
        if read.instructions and read.instructions.quorum > 1:
            result(f"so say all Authenticators alike; {read.instructions.quorum} of them have to")
    return EXIT_REFUSED if actions and not all(one.allowed for one in foretold) else 0


def _read(
    file: Path | None, rules: Path | None, emails: list[str] | None, trust: Path | None, config: Path | None
) -> _Read:
    """Raises `Failure` and `Misuse`."""
    if file is None and rules is not None and not emails:
        text = read_text(rules, limit=MAX_RULES, what="the rules", hint="write Cedar, see docs/howto/rules.md")
        verify_written_rules(text)
        return _Read(None, text)
    settings = load_settings(config)
    file = needed(file, settings.instructions, "instructions")
    trusted = trust or settings.trust
    encoded = read_instructions(file, load_trust(trusted) if trusted else _NO_TRUST, emails, rules)
    instructions = parse_instructions(encoded)
    return _Read(instructions, instructions.rules)


def _people(file: Path | None, persons: list[str] | None) -> People:
    found = People()
    if file is not None:
        text = read_text(file, limit=MAX_PEOPLE_FILE, what="the people", hint="docs/howto/rules.md shows such a file")
        found = parse_people(text, as_json=file.suffix == ".json")
    found.person += [parse_person(text) for text in persons or ()]
    if not found.person:
        raise Failure("there is nobody to try", "describe people with --person TEXT or --people FILE")
    return found


def _set_record(
    record: Record, depositor: str | None, approved_by: list[str] | None, idle_days: int | None, at: str | None
) -> None:
    """Options go before the file."""
    if depositor is not None:
        record.depositor = depositor
    if approved_by:
        record.approvals = approved_by
    if idle_days is not None:
        record.idle_days = idle_days
    if at is not None:
        try:
            record.time = datetime.fromisoformat(at)
        except ValueError:
            raise Failure(f"--time: {at[:40]!r} is not a time", "write it as 2026-11-26T09:30Z") from None


def _plain(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [finding._asdict() for finding in findings]


def _print_findings(findings: Sequence[Finding]) -> None:
    grouped: dict[str, list[int]] = {}
    for finding in findings:
        grouped.setdefault(finding.text, []).extend([] if finding.policy is None else [finding.policy])
    for text, policies in grouped.items():
        where = f"{_policies(policies)}: " if policies else ""
        stdout().print(bold_capitals(f"think about it: {where}{text}"))


def _policies(numbers: Sequence[int]) -> str:
    return f"policy {numbers[0]}" if len(numbers) == 1 else f"policies {', '.join(map(str, numbers))}"


def _print_foretold(foretold: Sequence[Foretold]) -> None:
    person = None
    for one in foretold:
        if one.person != person:
            person = one.person
            stdout().print(printable(person), style="bold")
        why = one.why or f"permitted by {_policies(one.policies)}"
        result(f"  {one.action:<10} {'yes' if one.allowed else 'no':<4} {why}")


def _indented(lines: Iterator[tuple[int, str]]) -> list[str]:
    return [f"{'  ' * depth}{text}" for depth, text in lines]
