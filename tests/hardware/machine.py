"""What hardware this process runs on: for `NEEDS` in tests/conftest.py."""

from pathlib import Path

GRAMINE = Path("/dev/attestation/quote")
TSM = Path("/sys/kernel/config/tsm/report")
TDX_GUEST = Path("/dev/tdx_guest")
SEV_GUEST = Path("/dev/sev-guest")
NSM = Path("/dev/nsm")


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


NEEDS = {"sgx": sgx_missing, "tdx": tdx_missing, "snp": snp_missing, "nitro": nitro_missing}
