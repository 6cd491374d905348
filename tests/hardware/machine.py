"""What hardware this process runs on: for `NEEDS` in tests/conftest.py."""

import socket
from pathlib import Path

from strongroom.enclave.platform.vsock import dial

GRAMINE = Path("/dev/attestation/quote")
TSM = Path("/sys/kernel/config/tsm/report")
TDX_GUEST = Path("/dev/tdx_guest")
SEV_GUEST = Path("/dev/sev-guest")
NSM = Path("/dev/nsm")
VSOCK_LOOPBACK = 1  # VMADDR_CID_LOCAL
VSOCK_ANY = 0xFFFFFFFF  # VMADDR_CID_ANY, VMADDR_PORT_ANY


def sgx_missing():
    return None if GRAMINE.exists() else f"this is no SGX enclave under Gramine ({GRAMINE} is missing)"


def tdx_missing():
    if not TDX_GUEST.exists():
        return f"this is no TDX guest ({TDX_GUEST} is missing)"
    return None if TSM.is_dir() else f"configfs-tsm is missing ({TSM})"


def snp_missing():
    if not SEV_GUEST.exists():
        return f"this is no SEV-SNP guest ({SEV_GUEST} is missing)"
    return None if TSM.is_dir() else f"configfs-tsm is missing ({TSM})"


def nitro_missing():
    return None if NSM.exists() else f"this is no Nitro enclave ({NSM} is missing)"


def vsock_missing():
    """Only with the kernel's vsock_loopback does a vsock lead back to the machine itself."""
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as server:
            server.bind((VSOCK_ANY, VSOCK_ANY))
            server.listen()
            dial(VSOCK_LOOPBACK, server.getsockname()[1], attempts=1).close()
    except OSError as error:
        return f"no vsock leads back to this machine ({error.strerror or type(error).__name__})"
    return None


NEEDS = {"vsock": vsock_missing, "sgx": sgx_missing, "tdx": tdx_missing, "snp": snp_missing, "nitro": nitro_missing}
