"""`strongroom approval`: ask others to agree, see what waits, agree."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from strongroom.cli import options
from strongroom.cli.connection import run_with_vault
from strongroom.cli.kept_key import kept_file
from strongroom.cli.settings import load_settings, needed
from strongroom.cli.sharing import shown_time
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import EXIT_REFUSED, Failure, confirm, named, result, result_json, say, stdout
from strongroom.client.addresses import parse_address
from strongroom.client.keys import load_or_make_key
from strongroom.client.requests import question_id
from strongroom.client.results import OpenQuestions
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.messages import Address, Person
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.vault_messages import Question

app = typer.Typer(help="Approvals: what takes the consent of others.", no_args_is_help=True)

_KEY_SHOWN = 16
"""Hex digits of a key that are shown to be compared."""
_GONE = "is it open still (`strongroom approval list`), and somebody else's? Nobody approves of their own"


class Action(Enum):
    """What can be asked for."""

    collect = "collect"
    update = "update"
    fill = "fill"
    delete = "delete"
    audit = "audit"


Asks = Annotated[Action, typer.Option("--action", metavar="ACTION", help="What for: collect, update, delete …")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long the question stands: 90m, 12h, 2d.")]
QuestionArgument = Annotated[
    str, typer.Argument(metavar="QUESTION", help="32 hex digits, as `approval ask` printed them.")
]


@app.callback()
def approval() -> None:
    """Approvals: what takes the consent of others."""


@app.command("ask")
@signs_in
def ask(
    address: options.AddressArgument,
    action: Asks = Action.collect,
    stands: For = "1d",
    key: options.Key = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Ask others to agree that you do something once.

    What they agree to counts for you with the same key only: this user's here, or that of --key. It counts while the
    record stays as it is. Nobody is told: pass the question on to them.
    """
    settings = load_settings(config)
    where, seconds = parse_address(address), options.seconds_of(stands, "--for")
    named_key = key or settings.key
    # Kept it must be: what is agreed to for a key that is gone helps nobody.
    binding_key = load_or_make_key(named_key or kept_file(needed(vault, settings.vault, "vault")))
    try:
        asked = run_with_vault(
            lambda opened: opened.ask(where, action=action.value, seconds=seconds),
            settings=settings,
            vault=vault,
            trust=trust,
            sign_in=login.ways(),
            issuer=login.issuer,
            binding_key=binding_key,
        )
    except Misuse as error:
        if error.number is not Number.QUOTA_EXCEEDED:
            raise
        hint = "wait until one of them is answered or has expired"
        raise Failure("as many questions are open as one record may have", hint, status=EXIT_REFUSED) from None
    number, shown = asked.question.hex(), fingerprint(binding_key.public).hex()
    if as_json:
        result_json(
            {
                "address": address,
                "question": number,
                "action": action.value,
                "version": asked.version,
                "expires_at": asked.expires_at,
                "key": shown,
            }
        )
        return
    result(number)
    say(f"it stands until {shown_time(asked.expires_at)}, or until the record changes; key {shown[:_KEY_SHOWN]}", "dim")
    say(f"they agree with:    strongroom approval approve {address} {number}")
    if action is Action.collect:
        say(f"then collect with:  strongroom collect {address}{f' --key {key}' if key else ''}")


@app.command("list")
@signs_in
def show(
    address: options.AddressArgument,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Show what waits for approval. Takes the right to approve."""
    where = parse_address(address)
    found: OpenQuestions = run_with_vault(
        lambda opened: opened.questions(where),
        settings=load_settings(config),
        vault=vault,
        trust=trust,
        sign_in=login.ways(),
        issuer=login.issuer,
    )
    if as_json:
        questions = [_as_json(one) for one in found.questions]
        result_json({"address": address, "version": found.version, "questions": questions})
        return
    if not found.questions:
        say("nothing waits for approval", "dim")
        return
    out = stdout()
    for one in found.questions:
        out.print(named("question", one.question.hex()))
        out.print(named("who", _name(one.person), indent=2))
        out.print(named("what", one.action, indent=2))
        out.print(named("until", shown_time(one.expires_at), indent=2))
        out.print(named("key", _key(one), indent=2))
        out.print(named("approved by", ", ".join(map(_name, one.approvals)) or "nobody yet", indent=2))


@app.command("approve")
@signs_in
def approve(
    address: options.AddressArgument,
    question: QuestionArgument,
    yes: options.Yes = False,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Agree to what somebody asks for. Shows who asks for what first."""
    where, number = parse_address(address), question_id(question)
    approvals = run_with_vault(
        lambda opened: _approve(opened, where, number, address, unasked=yes),
        settings=load_settings(config),
        vault=vault,
        trust=trust,
        sign_in=login.ways(),
        issuer=login.issuer,
    )
    if as_json:
        result_json({"address": address, "question": number.hex(), "approvals": approvals})
    else:
        say(f"approved; {approvals} {'has' if approvals == 1 else 'have'} approved so far")


async def _approve(vault: AsyncVault, where: Address, number: bytes, address: str, *, unasked: bool) -> int:
    found = await vault.questions(where)
    asked = next((one for one in found.questions if one.question == number), None)
    if asked is None:
        raise Failure("no such question is open at this record", _GONE, status=EXIT_REFUSED)
    what = f"{_name(asked.person)} may {asked.action} {address} once, with key {_key(asked)}"
    say(f"{what}, until {shown_time(asked.expires_at)}")
    if not unasked:
        confirm("Do you approve?", hint="nothing was approved; --yes doesn't ask")
    return await vault.approve(where, number)


def _name(person: Person) -> str:
    return person.email or person.principal or "somebody of whom the Authenticators say different names"


def _key(asked: Question) -> str:
    return asked.key.hex()[:_KEY_SHOWN]


def _as_json(asked: Question) -> dict[str, Any]:
    return {
        "question": asked.question.hex(),
        "action": asked.action,
        "principal": asked.person.principal,
        "email": asked.person.email,
        "key": asked.key.hex(),
        "asked_at": asked.asked_at,
        "expires_at": asked.expires_at,
        "approvals": [{"principal": one.principal, "email": one.email} for one in asked.approvals],
    }
