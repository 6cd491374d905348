"""The command `strongroom`: what there is to call, and the edge where errors become words and exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from strongroom.cli import namespace, serve, trust
from strongroom.cli.collect import collect
from strongroom.cli.delete import delete
from strongroom.cli.demo.command import demo
from strongroom.cli.describe import describe
from strongroom.cli.store import store
from strongroom.cli.terminal import EXIT_FAILED, EXIT_INTERRUPTED, Failure, exit_status, fail, say
from strongroom.cli.update import update
from strongroom.cli.verify import verify
from strongroom.protocol.errors import StrongroomError

app = typer.Typer(
    name="strongroom",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # its tracebacks show the values of variables: secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"strongroom {installed_version('strongroom')}\n")
        raise typer.Exit


@app.callback()
def strongroom(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Keep keys in the cloud so that only the people you name can read them."""


app.command()(demo)
app.command()(store)
app.command()(collect)
app.command()(update)
app.command()(delete)
app.command()(describe)
app.command()(verify)
app.add_typer(trust.app, name="trust")
app.add_typer(namespace.app, name="namespace")
app.add_typer(serve.app, name="serve")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process.

    Exit statuses: 0 done, 2 misuse, 10 refused, 11 untrusted, 12 unavailable, 130 interrupted, 1 anything else.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    try:
        status = app(list(arguments) if arguments is not None else None, prog_name="strongroom", standalone_mode=False)
    except StrongroomError as error:
        fail(error.error, error.hint)
        return exit_status(error)
    except Failure as error:
        fail(error.error, error.hint)
        return error.status
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
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
    return text[:1].lower() + text[1:].rstrip(".")
