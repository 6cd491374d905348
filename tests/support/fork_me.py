"""`python fork_me.py SOCKET ARGUMENTS…`: stands for a process that tests/support/forked.py forks, and ends as it does.

That process gets the streams, the environment and the directory of this one.
"""

import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    arguments, variables = sys.argv[2:], [f"{name}={value}" for name, value in os.environ.items()]
    asked = [os.getcwd(), str(len(arguments)), *arguments, *variables]
    socket.send_fds(server, [b"\0".join(map(os.fsencode, asked))], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    status = server.recv(1)
    server.recv(1)  # the end of the process
sys.exit(status[0] if status else "it ended without a status")
