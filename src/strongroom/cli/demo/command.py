"""`strongroom demo`: start everything, tell the story, then stay up for whoever wants to go on."""

from __future__ import annotations

import importlib.util
import signal
import time
import webbrowser
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from strongroom.cli.demo.stage import Stage
from strongroom.cli.terminal import EXIT_FAILED, Failure, bold_capitals, stdout

Once = Annotated[bool, typer.Option("--once", help="End after the story instead of staying up.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="New directory to keep everything in. [default: a temporary one]"),
]
_TERMINATED = 128 + signal.SIGTERM


def demo(once: Once = False, data: Data = None) -> None:
    """Watch it work: store a key as one user, collect it as another.

    Starts a Vault, an Authenticator and a sign-in provider on this machine, signs in by itself, shows that an
    outsider is refused and what the host holds, and stays up until Ctrl-C.
    """
    if importlib.util.find_spec("oidc_provider_mock") is None:
        raise Failure(
            "the demo's sign-in provider is not installed", "pip install 'strongroom[demo]'", status=EXIT_FAILED
        )
    with Stage(data) as stage:
        signal.signal(signal.SIGTERM, _terminate)
        console = stdout()
        console.print("Strongroom: a key that only the people you name can read", style="bold")
        console.print(bold_capitals("INSECURE: this runs without hardware enclaves, to show how it works. Keep no"))
        console.print("real keys in it. Everything else below is real, and happens while you read.")
        stage.start()
        # Imported here: other commands need none of it, and the servers start meanwhile.
        from strongroom.cli.demo.story import how_to_go_on, tell
        from strongroom.cli.demo.teller import Teller

        teller = Teller(console)
        link = tell(stage, teller)
        if once:
            return
        try:
            how_to_go_on(stage, teller, data, link)
            if link is not None:
                webbrowser.open(str(link))
            while (ended := stage.ended()) is None:
                time.sleep(0.5)
        except KeyboardInterrupt:
            return  # what it said would end it
        raise Failure(f"the demo's {ended.name} ended by itself", "run the demo again", status=EXIT_FAILED)


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(_TERMINATED)  # by way of every `finally`, so that nothing is left running
