"""Vault in SGX, under Gramine. This file fixes the back end, and where the host is."""

from functools import partial

from strongroom.enclave.platform.gramine import Gramine
from strongroom.enclave.platform.machine_network import dial_loopback
from strongroom.enclave.platform.process import run
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.vault import build_vault
from strongroom.protocol.link import LINK_PORTS

if __name__ == "__main__":
    platform = Gramine("vault")
    run(partial(Enclave, platform, "vault", build_vault), link=dial_loopback(LINK_PORTS["vault"]))
