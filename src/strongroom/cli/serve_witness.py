"""`strongroom serve witness`: says of logs that they only grow, so that a Vault's host can't roll it back."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from strongroom.cli import terminal
from strongroom.cli.listening import (
    AsJson,
    Listen,
    UntilEof,
    failure_of,
    parse_listen,
    stop_at_end_of_stdin,
    verify_free,
)
from strongroom.cli.terminal import Failure, printable, say
from strongroom.host.instance import CannotServe
from strongroom.protocol.errors import Misuse

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Key, and what was cosigned; made at the first start. Never bring an old copy back.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="A URL without its scheme, as witness.example.com/w1; fixed at the first start."
    ),
]
Logs = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="VKEY", help="Verifier key of a log that is cosigned; may be repeated."),
]


def witness(
    data: Data,
    name: Name = None,
    log: Logs = None,
    listen: Listen = "127.0.0.1:8600",
    until_eof: UntilEof = False,
    as_json: AsJson = False,
) -> None:
    """Serve a witness: it cosigns what a log shows as long as that only grows. For any log, by C2SP tlog-witness."""
    from strongroom.host.witness.serve import Ready, Settings, logs_of, serve  # not for the other roles

    host, port = parse_listen(listen)
    logs = _logs(log or [])
    if name is not None:
        _verify_name(name)
    verify_free(host, port)
    settings = Settings(data=data, host=host, port=port, name=name, logs=logs_of(log or []))

    def ready(found: Ready) -> None:
        if as_json:
            result = {"role": "witness", "url": found.url, "verifier_key": str(found.verifier), "log_keys": logs}
            terminal.result_json(result)
            sys.stdout.flush()
            return
        out = terminal.stdout()
        out.print("witness ready", style="bold green")
        rows = [("url", found.url), ("verifier key", str(found.verifier)), *(("log key", vkey) for vkey in logs)]
        for label, value in rows:
            out.print(f"  {label:<12} {printable(value)}", soft_wrap=True)
        if not logs:
            say("no log is cosigned yet: name one with --log VKEY", "yellow")
        if not ipaddress.ip_address(host).is_loopback:
            say("anybody may ask this witness; a proxy with HTTPS in front keeps who asks to itself", "yellow")
        say("Ctrl-C stops it", "dim")

    async def run() -> None:
        if until_eof:
            stop_at_end_of_stdin()
        await serve(settings, ready)

    try:
        uvloop.run(run())
    except CannotServe as error:
        raise failure_of(error) from None
    say("witness stopped", "dim")


def _logs(vkeys: Sequence[str]) -> list[str]:
    """Each once. Raises `Failure`."""
    from strongroom.host.witness.serve import logs_of

    for vkey in vkeys:
        try:
            logs_of([vkey])
        except Misuse as error:
            raise Failure(
                f"--log {printable(vkey)}: {error.reason}",
                "give the log's verifier key, NAME+HASH+KEY in one piece, as who runs the log publishes it",
            ) from None
    return list(dict.fromkeys(vkeys))


def _verify_name(name: str) -> None:
    from strongroom.host.witness.serve import verify_name

    try:
        verify_name(name)
    except Misuse as error:
        raise Failure(f"--name {printable(name)}: {error.reason}", "write it as witness.example.com/w1") from None
