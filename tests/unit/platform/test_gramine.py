"""SGX under Gramine, as its documentation says it behaves."""

import time

import pytest

from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.enclave.platform.gramine import Gramine
from strongroom.enclave.platform.port import Platform
from strongroom.protocol.errors import Number, Unavailable
from tests.support.fake_gramine import LABEL, MEASUREMENT, ROOT, SVN, FakeGramine

DATA = bytes(range(64))


@pytest.fixture
def machine(monkeypatch):
    return FakeGramine().install(monkeypatch)


@pytest.fixture
def platform(machine):
    return Gramine("vault")


def test_the_back_end_fits_the_port(platform):
    port: Platform = platform
    assert (port.kind, port.roots, port.development_custodian()) == ("sgx", (), None)
    assert abs(port.now() - time.time()) < 5
    assert len(port.random(32)) == 32


def test_a_quote_is_over_what_was_asked_for_and_the_host_has_its_collateral(machine, platform):
    quoted = platform.quote(DATA)
    assert quoted.collateral is None
    now = int(time.time())
    report = verify_sgx_quote(quoted.quote, machine.pki.collateral(now), machine.pki.root_der, now)
    assert (report.report_data, report.measurement, report.svn) == (DATA, MEASUREMENT, SVN)


def test_every_quote_is_made_anew(machine, platform):
    assert platform.quote(DATA).quote != platform.quote(bytes(64)).quote
    assert machine.os.opened == {}, "descriptors are left open"


def test_only_exactly_64_bytes_are_quoted(platform):
    for size in (0, 32, 63, 65):
        with pytest.raises(ValueError, match="64"):
            platform.quote(bytes(size))


def test_the_sealing_key_is_the_program_s_and_says_so(machine, platform):
    sealing = platform.sealing_key()
    assert len(sealing.key) == 32
    assert sealing.label == LABEL
    assert sealing.key.hex() not in repr(sealing)
    assert sealing == Gramine("vault").sealing_key()


def test_no_two_roles_or_programs_have_one_sealing_key(machine, platform):
    keys = {platform.sealing_key().key, Gramine("authenticator").sealing_key().key, machine.mrenclave_key}
    machine.mrenclave_key = bytes(range(16))
    keys.add(platform.sealing_key().key)
    assert len(keys) == 4


def test_outside_an_enclave_it_does_not_start(machine):
    for name in ("quote", "attestation_type"):
        kept = machine.files.pop(ROOT / name)
        with pytest.raises(Unavailable) as refused:
            Gramine("vault")
        assert refused.value.number is Number.QUOTE_UNAVAILABLE
        machine.files[ROOT / name] = kept


@pytest.mark.parametrize("kind", [b"none", b"epid", b"", b"dcap2"])
def test_other_attestation_than_dcap_does_not_start(machine, kind):
    machine.files[ROOT / "attestation_type"].made = lambda: kind
    with pytest.raises(Unavailable, match="not dcap"):
        Gramine("vault")
