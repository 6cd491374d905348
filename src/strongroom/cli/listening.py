"""What the commands that serve have in common: an address to listen on, and when to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from typing import Annotated

import typer

from strongroom.cli import terminal
from strongroom.cli.terminal import Failure
from strongroom.host.instance import CannotServe, WrongSettings, WrongState

Listen = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where to listen; port 0 takes a free one.")
]
UntilEof = Annotated[
    bool, typer.Option("--until-eof", help="Also stop when standard input ends: with the program that started this.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout when ready.")]


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port. Raises `Failure`."""
    address, _, port = text.rpartition(":")
    try:
        parsed = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        number = int(port)
    except ValueError:
        parsed, number = None, -1
    if parsed is None or not 0 <= number <= 65535:
        raise Failure(f"{text!r} is not an address to listen on", "write it as 127.0.0.1:8400 or [::1]:8400")
    return str(parsed), number


def failure_of(error: CannotServe) -> Failure:
    """With the status that tells a program which keeps services running whether to start this one again."""
    status = terminal.EXIT_UNAVAILABLE
    if isinstance(error, WrongSettings):
        status = terminal.EXIT_MISUSE
    elif isinstance(error, WrongState):
        status = terminal.EXIT_UNTRUSTED
    return Failure(str(error), error.hint, status=status)


def verify_free(host: str, port: int) -> None:
    """Before a data directory and an owner key are made for nothing. Raises `Failure`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else error
        raise Failure(
            f"can't listen on {host} port {port}: {reason}",
            "choose another address or port",
            status=terminal.EXIT_UNAVAILABLE,
        ) from None


def stop_at_end_of_stdin() -> None:
    """However the program that started us ends, also by SIGKILL, its end of the pipe closes."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(descriptor, readable)
