"""`python -m strongroom.cli.demo.leash …`: the command line, ending when its standard input does.

However the demo ends, also by SIGKILL, the kernel closes its end of the pipe: nothing stays behind, waiting for a
sign-in that nobody will finish.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn


def hold() -> None:
    """End this process at once when standard input ends."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> NoReturn:
    # Not by sys.stdin: its lock, held here, would hang the interpreter's own end.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    from strongroom.cli.main import main

    hold()
    main(sys.argv[1:])
