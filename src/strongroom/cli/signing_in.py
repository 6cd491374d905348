"""How commands sign in: the options for it, and the ways that they stand for.

A password is typed where nobody sees it, or comes by standard input: never among the arguments, which every process of
the machine can read, nor from a variable.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from strongroom.cli import options
from strongroom.cli.terminal import Failure, ask, ask_secretly, say
from strongroom.client.results import Method
from strongroom.client.sign_in import (
    AnyWay,
    BrowserSignIn,
    CodeSent,
    CodeSignIn,
    Credentials,
    KeySignIn,
    NoWay,
    PasswordSignIn,
    PrintingDeviceSignIn,
    PrintingSignIn,
    TokenSignIn,
    token_of_environment,
    token_of_file,
    token_of_github,
)
from strongroom.client.sign_in.code import TRIES
from strongroom.client.sign_in.password import MAX_PASSWORD
from strongroom.protocol.instructions import Kind

User = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Sign in at a directory as this user; the password is asked for."),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password of --user from standard input, one line.")
]
SshKey = Annotated[
    Path | None,
    typer.Option("--ssh-key", metavar="FILE", help="Sign in with this ssh key; name the .pub of one in an agent."),
]
Email = Annotated[
    str | None,
    typer.Option("--email", metavar="ADDRESS", help="Sign in with a code that is sent to this address."),
]
WorkloadToken = Annotated[
    str | None,
    typer.Option(
        "--workload-token",
        metavar="SOURCE",
        help="Sign in as a program: github, env:NAME, or the file that holds its token.",
    ),
]

_GITHUB: Final = "github"
_VARIABLE: Final = "env:"
_OPTIONS: Final[dict[Kind, str]] = {
    "oidc": "as usual",
    "passkey": "in a browser only",
    "workload": "--workload-token",
    "directory": "--user NAME",
    "keys": "--ssh-key FILE",
    "enclave": "from that code only",
    "email-code": "--email ADDRESS",
}


@dataclass(frozen=True, slots=True)
class Login:
    """What was said about signing in."""

    issuer: options.Issuer = None
    no_browser: options.NoBrowser = False
    device: options.Device = False
    user: User = None
    password_stdin: PasswordStdin = False
    ssh_key: SshKey = None
    email: Email = None
    workload_token: WorkloadToken = None

    def ways(self, *, stdin_is_taken: bool = False) -> list[AnyWay]:
        """Those that were named; if none was, a browser, and on a terminal whatever can be typed in there. Raises
        `Failure` and `BadInput`."""
        if self.no_browser and self.device:
            raise Failure("--no-browser and --device exclude each other", "choose one")
        if self.password_stdin and self.user is None:
            raise Failure("--password-stdin goes with --user only", "say whose password it is with --user NAME")
        if self.password_stdin and stdin_is_taken:
            raise Failure("standard input holds the secret already", "name a FILE for it, or type the password")
        named: list[AnyWay] = []
        if self.workload_token is not None:
            named.append(TokenSignIn(_token(self.workload_token)))
        if self.ssh_key is not None:
            named.append(KeySignIn(self.ssh_key))
        if self.user is not None:
            named.append(PasswordSignIn(_Passwords(self.user, from_stdin=self.password_stdin).ask))
        if self.email is not None:
            named.append(CodeSignIn(_Mailbox(self.email).ask, _ask_code))
        if self.device:
            named.append(PrintingDeviceSignIn())
        if self.no_browser:
            named.append(PrintingSignIn())
        if named:
            return named
        typed: list[AnyWay] = [PasswordSignIn(_Passwords(None).ask), CodeSignIn(_Mailbox(None).ask, _ask_code)]
        return [BrowserSignIn(), *(typed if sys.stdin.isatty() else [])]


UNASKED: Final = Login()


def signs_in(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of `Login`, in place of its parameter `login`."""
    own = inspect.signature(command, eval_str=True)
    added = inspect.signature(Login, eval_str=True).parameters
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += added.values() if parameter.name == "login" else [parameter]

    @wraps(command)
    def with_options(**given: Any) -> None:
        login = Login(**{name: given.pop(name) for name in added})
        command(**given, login=login)

    vars(with_options)["__signature__"] = own.replace(parameters=parameters)
    return with_options


def explained(error: NoWay) -> Failure:
    """With the options that would do."""
    return Failure(error.error, f"it takes: {'; '.join(dict.fromkeys(map(_offer, error.offered)))}")


def _offer(method: Method) -> str:
    if method.kind == "oidc" and "native" not in method.channels:
        return f"{method.title}: {'--device' if 'device' in method.channels else 'on its page only'}"
    return f"{method.title}: {_OPTIONS[method.kind]}"


def _token(source: str) -> Callable[[str], Any]:
    if source == _GITHUB:
        return token_of_github()
    if source.startswith(_VARIABLE):
        return token_of_environment(source.removeprefix(_VARIABLE))
    return token_of_file(Path(source))


@dataclass(frozen=True, slots=True)
class _Passwords:
    user: str | None
    from_stdin: bool = False

    async def ask(self, directory: str) -> Credentials:
        hint = "--user NAME --password-stdin reads it from standard input"
        if self.from_stdin:
            # A terminal's line is not hidden here, and there is none: whoever has one leaves the option out.
            return Credentials(self.user or "", sys.stdin.readline(MAX_PASSWORD + 2).rstrip("\r\n"))
        user = self.user or ask(f"User name at {directory}:", hint=hint)
        return Credentials(user, ask_secretly(f"Password of {user} at {directory}:", hint=hint))


@dataclass(frozen=True, slots=True)
class _Mailbox:
    email: str | None

    async def ask(self, sender: str) -> str:
        return self.email or ask(f"Your address, for a code from {sender}:", hint="give it with --email ADDRESS")


async def _ask_code(sent: CodeSent) -> str:
    if sent.tries_left == TRIES:
        until = datetime.fromtimestamp(sent.expires_at, UTC).astimezone().strftime("%H:%M")
        say(f"{sent.sender} sends a code to {sent.email}, if it knows that address; the code counts until {until}")
    else:
        say(f"that is not the code; tries left: {sent.tries_left}")
    return ask("Code:", hint="a code can be typed in on a terminal only")
