"""TDX and SEV-SNP on Linux's configfs-tsm, as the kernel behaves."""

import time
from pathlib import Path

import pytest

from strongroom.enclave.platform import snp_device
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.platform.snp import Snp
from strongroom.enclave.platform.tdx import Tdx
from tests.support.fake_sev_guest import KEY, FakeSevGuest, table
from tests.support.fake_tsm import MEASUREMENT, POLICY, FakeTsm, snp_report, tdx_quote

DATA = bytes(range(64))


@pytest.fixture
def tdx(monkeypatch):
    return FakeTsm("tdx_guest", tdx_quote).install(monkeypatch)


@pytest.fixture
def snp(monkeypatch):
    return FakeTsm("sev_guest", snp_report).install(monkeypatch)


def test_the_back_ends_fit_the_port(tdx):
    for port, kind in ((Tdx(), "tdx"), (Snp(), "snp")):
        platform: Platform = port
        assert (platform.kind, platform.roots, platform.development_custodian()) == (kind, (), None)
        assert abs(platform.now() - time.time()) < 5
        assert len(platform.random(32)) == 32


def test_a_tdx_machine_has_no_sealing_key(tdx):
    platform: Platform = Tdx()
    assert platform.sealing_key() is None


@pytest.mark.parametrize("version", [4, 5])
def test_a_tdx_quote(tdx, version):
    tdx.make = lambda data: tdx_quote(data, version)
    quoted = Tdx().quote(DATA)
    assert quoted.quote == tdx_quote(DATA, version)
    assert quoted.collateral is None


def test_a_tdx_quote_sheds_the_zeros_that_a_host_pads_it_with(tdx):
    tdx.make = lambda data: tdx_quote(data) + bytes(3000)
    assert Tdx().quote(DATA).quote == tdx_quote(DATA)


def test_an_snp_report_is_asked_for_at_privilege_level_0(snp):
    assert Snp().quote(DATA).quote == snp_report(DATA)
    (request,) = snp.requests
    assert (request.privlevel, request.generation) == (0, 2)


def test_each_quote_is_a_request_of_its_own_and_leaves_nothing_behind(snp):
    for _ in range(3):
        Snp().quote(DATA)
    assert len(snp.requests) == 3
    assert snp.open_directories == set()
    assert snp.os.opened == {}


def test_only_exactly_64_bytes_are_quoted(tdx):
    for size in (0, 63, 65):
        with pytest.raises(ValueError, match="64"):
            Tdx().quote(bytes(size))


def test_the_table_of_certificates_goes_to_the_host_as_it_came(snp):
    """What to make of it is the host's affair; the enclave appraises what comes back."""
    snp.auxblob = table(("VLEK", b"leaf"))
    assert (Snp().quote(DATA).collateral, Snp().quote(DATA).endorsements) == (None, snp.auxblob)


def test_the_snp_sealing_key_says_what_it_is_bound_to(snp, monkeypatch):
    asked = []

    def derived(device, vmpl):
        asked.append((device, vmpl))
        return bytes(range(32))

    monkeypatch.setattr("strongroom.enclave.platform.snp.derived_key", derived)
    sealing = Snp().sealing_key()
    assert asked == [(Path("/dev/sev-guest"), 0)]
    assert sealing.label == f"SEV-SNP, MEASUREMENT {MEASUREMENT.hex()}, POLICY {POLICY:#x}, this chip and its firmware"
    assert len(sealing.key) == 32
    assert sealing.key != bytes(range(32)), "the processor's key itself seals nothing"


# --- the ioctl --------------------------------------------------------------------------------------------------


@pytest.fixture
def ioctl(monkeypatch, tmp_path):
    return FakeSevGuest(tmp_path / "sev-guest").install(monkeypatch)


def test_the_ioctl_byte_by_byte(ioctl):
    assert snp_device.derived_key(ioctl.device, 0) == KEY
    ((number, version, request),) = ioctl.calls
    assert number == 3 << 30 | 32 << 16 | ord("S") << 8 | 1
    assert version == b"\x01"
    assert request.hex() == (
        "02000000"  # KEY_SEL 1: the chip's own key, whatever the provider has installed; root key VCEK
        "00000000"
        "0900000000000000"  # guest policy and measurement
        "00000000"  # VMPL 0
        "00000000"
        "0000000000000000"
    )


def test_a_key_for_another_privilege_level(ioctl):
    snp_device.derived_key(ioctl.device, 2)
    assert ioctl.calls[0][2][16:20] == b"\x02\0\0\0"
