"""Vault in an AWS Nitro enclave: `python -m …`, without arguments. This file fixes the back end."""

from functools import partial

from strongroom.enclave.platform.nitro import Nitro
from strongroom.enclave.platform.process import run
from strongroom.enclave.platform.vsock import NITRO_PARENT, dial
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault import build_vault
from strongroom.protocol.link import LINK_PORTS

if __name__ == "__main__":
    enclave = partial(Enclave, Nitro.open(), "vault", build_vault)
    run(enclave, link=dial(NITRO_PARENT, LINK_PORTS["vault"]))
