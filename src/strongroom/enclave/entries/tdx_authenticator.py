"""Authenticator in a TDX guest. This file fixes the back end, and where the host is."""

from functools import partial

from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.process import run
from strongroom.enclave.platform.tdx import Tdx
from strongroom.enclave.platform.vsock import HOST, dial
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.protocol.link import LINK_PORTS

if __name__ == "__main__":
    platform = Tdx()
    run(partial(Enclave, platform, "authenticator", build_authenticator), link=dial(HOST, LINK_PORTS["authenticator"]))
