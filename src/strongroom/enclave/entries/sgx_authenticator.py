"""Authenticator in SGX, under Gramine. This file fixes the back end, and where the host is."""

from functools import partial

from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.gramine import Gramine
from strongroom.enclave.platform.machine_network import dial_loopback
from strongroom.enclave.platform.process import run
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.protocol.link import LINK_PORTS

if __name__ == "__main__":
    platform = Gramine("authenticator")
    run(
        partial(Enclave, platform, "authenticator", build_authenticator),
        link=dial_loopback(LINK_PORTS["authenticator"]),
    )
