"""The command `strongroom`: what there is to call, and the edge where errors become words and exit statuses."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated, Final

import typer

from strongroom.cli.terminal import EXIT_FAILED, EXIT_INTERRUPTED, Failure, exit_status, fail, say
from strongroom.protocol.errors import StrongroomError

COMMANDS: Final = (
    "demo",
    "store",
    "collect",
    "update",
    "delete",
    "describe",
    "history",
    "approval",
    "verify",
    "status",
    "appraise",
    "audit",
    "trust",
    "policy",
    "namespace",
    "cluster",
    "recover",
    "release",
    "share",
    "verify-page",
    "serve",
    "backup",
    "verify-backup",
    "restore",
    "attack",
)
"""In the order of the help. Each is a module of this package (with _ for -), with a function of its name, or `app` for
a group."""


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"strongroom {installed_version('strongroom')}\n")
        raise typer.Exit


def _callback(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Keep keys in the cloud so that only the people you name can read them."""


def build_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # its tracebacks show the values of variables: secrets
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_callback)
    for name in names:
        function = name.replace("-", "_")
        module = import_module(f"strongroom.cli.{function}")
        group = getattr(module, "app", None)
        if group is not None:
            app.add_typer(group, name=name)
        else:
            app.command(name)(getattr(module, function))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process.

    Exit statuses: 0 done, 2 misuse, 10 refused, 11 untrusted, 12 unavailable, 130 interrupted, 1 anything else.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # Each command imports a good deal: a command that is named comes alone, and starts in half the time.
    names = [name for name in arguments[:1] if name in COMMANDS] or COMMANDS
    try:
        status = build_app(names)(arguments, prog_name="strongroom", standalone_mode=False)
    except StrongroomError as error:
        fail(error.error, error.hint)
        return exit_status(error)
    except Failure as error:
        fail(error.error, error.hint)
        return error.status
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if context is not None and error.format_message() == context.get_help():
            sys.stderr.write(f"{context.get_help()}\n")  # a group without a command: no_args_is_help
            return error.exit_code
        command = context.command_path if context is not None else "strongroom"
        fail(_sentence(error.format_message()), f"{command} --help shows what there is")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted", "dim")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said, not even by the interpreter at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return status if isinstance(status, int) else 0


def _sentence(text: str) -> str:
    # A stray argument may be a secret that its owner meant to store: it is not repeated.
    text = re.sub(r"(unexpected extra argument\(s\)) .*", r"\1", text, flags=re.DOTALL)
    return text[:1].lower() + text[1:].rstrip(".")
