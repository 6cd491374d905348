"""An enclave that is no child of its host: `python -m tests.support.connecting PORT [STATE_DIR]`.

It connects by TCP on loopback, as one under Gramine does. Without a state directory it echoes; with one it is a real
Vault on the software platform.
"""

import sys
from functools import partial
from pathlib import Path

from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.machine_network import dial_loopback
from strongroom.enclave.platform.process import run
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault import build_vault
from tests.support.echo_enclave import Echo

if __name__ == "__main__":
    link = dial_loopback(int(sys.argv[1]))
    if len(sys.argv) == 2:
        run(Echo, link=link)
    run(partial(Enclave, InsecureSoftware("vault", Path(sys.argv[2])), "vault", build_vault), link=link)
