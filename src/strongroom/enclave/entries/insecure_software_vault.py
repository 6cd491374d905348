"""Vault on the insecure software platform: `python -m … STATE_DIR LINK_FD`. This file fixes the back end."""

import socket
import sys
from functools import partial
from pathlib import Path

from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.process import run
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault import build_vault

if __name__ == "__main__":
    platform = InsecureSoftware("vault", Path(sys.argv[1]))
    run(partial(Enclave, platform, "vault", build_vault), link=socket.socket(fileno=int(sys.argv[2])))
