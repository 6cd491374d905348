"""Authenticator on the insecure software platform: `python -m … STATE_DIR LINK_FD`. This file fixes the back end."""

import socket
import sys
from functools import partial
from pathlib import Path

from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.process import run
from strongroom.enclave.runtime.enclave import Enclave

if __name__ == "__main__":
    platform = InsecureSoftware("authenticator", Path(sys.argv[1]))
    run(partial(Enclave, platform, "authenticator", build_authenticator), link=socket.socket(fileno=int(sys.argv[2])))
