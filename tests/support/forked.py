"""`strongroom` in processes of their own that need not import anew what all commands share: each is forked here.

Importing is most of what a command does: a tenth of a second is left of a whole one. What a command alone needs is
imported by each process for itself; so are the entry point and the exit of the interpreter its own. Whole starts, with
every import, are what tests of `serve`, of the demo and of the pages of the documentation see.
"""

import fcntl
import gc
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress

import strongroom.cli.sessions
import strongroom.cli.sharing  # noqa: F401 (both are here to be imported before anything is forked)
from strongroom.cli.main import run

STREAMS = 3


def serve(listening: socket.socket) -> None:
    """Until stdin closes: whoever started this has ended."""
    assert threading.active_count() == 1, "a fork has one thread only"
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a child
    print(flush=True)  # ready
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            return command(connection)
        connection.close()


def command(connection: socket.socket) -> None:
    """Become the command that is asked for, and say how it ended. It is killed when nobody waits for it any more."""
    asked, streams, _, _ = socket.recv_fds(connection, 1 << 20, STREAMS)
    while piece := connection.recv(1 << 20):
        asked += piece
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, os.O_ASYNC)  # SIGIO ends a process

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1, errors="backslashreplace")

    folder, count, *words = map(os.fsdecode, asked.split(b"\0"))
    os.chdir(folder)
    os.environ.clear()
    for name, _, value in (word.partition("=") for word in words[int(count) :]):
        os.environ[name] = value
    status = run(words[: int(count)])
    connection.send(bytes([status]))
    sys.exit(status)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve(socket.socket(fileno=int(sys.argv[1])))
