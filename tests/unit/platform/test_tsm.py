"""TDX and SEV-SNP on Linux's configfs-tsm, as the kernel behaves."""

import struct
import time
from pathlib import Path

import pytest

from strongroom.enclave.platform import snp_device
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.platform.snp import Snp
from strongroom.enclave.platform.snp_certificates import collateral_of_table
from strongroom.enclave.platform.tdx import Tdx
from tests.support.fake_sev_guest import KEY, FakeSevGuest
from tests.support.fake_tsm import MEASUREMENT, POLICY, FakeTsm, snp_report, tdx_quote

DATA = bytes(range(64))
GUIDS = {  # in the order of their text: "SEV-ES Guest-Hypervisor Communication Block Standardization", 4.1.8.1
    "VCEK": "63da758de6644564adc5f4b93be8accd",
    "VLEK": "a8074bc2a25a483eaae639c045a0b8a1",
    "ASK": "4ab7b379bbac4fe4a02f05aef327c782",
    "ARK": "c0b406a4a80349529743" + "3fb6014cd0ae",
    "CRL": "92f81bc358114d3d97ffd19f88dc67ea",
    "other": "00112233445566778899aabbccddeeff",
}


def table(*entries):
    """The host's certificate table of (name, DER)."""
    offset = (len(entries) + 1) * 24
    head, body = b"", b""
    for name, der in entries:
        head += bytes.fromhex(GUIDS[name]) + struct.pack("<II", offset + len(body), len(der))
        body += der
    return head + bytes(24) + body


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


@pytest.mark.parametrize("leaf", ["VCEK", "VLEK"])
def test_a_whole_chain_from_the_host_becomes_collateral(snp, leaf):
    snp.auxblob = table(("ARK", b"ark"), ("other", b"?"), (leaf, b"l" * 100), ("ASK", b"ask"))
    collateral = Snp().quote(DATA).collateral
    assert collateral is not None
    blocks = collateral.decode().split("-----BEGIN CERTIFICATE-----\n")[1:]
    assert [block.splitlines()[0][:4] for block in blocks] == ["bGxs", "YXNr", "YXJr"]
    assert max(map(len, collateral.splitlines())) <= 64


def test_a_list_of_revocations_comes_last(snp):
    collateral = collateral_of_table(table(("CRL", b"crl"), ("VCEK", b"l"), ("ASK", b"s"), ("ARK", b"r")))
    assert collateral is not None
    assert collateral.endswith(b"-----BEGIN X509 CRL-----\nY3Js\n-----END X509 CRL-----\n")


@pytest.mark.parametrize(
    "untrusted_table",
    [
        b"",
        bytes(24),
        table(("VCEK", b"l"), ("ASK", b"s")),
        table(("VCEK", b"l"), ("ASK", b"s"), ("ARK", b"")),
        table(("VCEK", b"l"), ("VCEK", b"m"), ("ASK", b"s"), ("ARK", b"r")),
        table(("VCEK", b"l"), ("VLEK", b"m"), ("ASK", b"s"), ("ARK", b"r")),
        table(("VCEK", b"l"), ("ASK", b"s"), ("ARK", b"rrr"))[:-1],
        bytes.fromhex(GUIDS["VCEK"]) + b"\xff" * 8,
        b"\xff" * 32768,
    ],
)
def test_anything_less_leaves_the_collateral_to_the_host_s_service(untrusted_table):
    assert collateral_of_table(untrusted_table) is None


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
