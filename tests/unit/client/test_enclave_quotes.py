"""A program in an enclave has its machine quote the challenge, whole and in the form that verifiers take."""

import pytest

from strongroom.client.errors import BadInput
from strongroom.client.sign_in import enclaves
from strongroom.client.sign_in.enclaves import GramineQuoter, Quoter, TsmQuoter, collateral_of_file
from tests.support.fake_gramine import FakeGramine
from tests.support.fake_tsm import FakeTsm, snp_report, tdx_quote

DATA = bytes(range(32)) + bytes(32)


@pytest.fixture
def collateral(tmp_path):
    path = tmp_path / "collateral"
    path.write_bytes(b"what the maker says")
    return collateral_of_file(path)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("padding", [b"", bytes(3000)])
async def test_a_tdx_machine_quotes_without_the_padding_that_hosts_add(monkeypatch, collateral, version, padding):
    kernel = FakeTsm("tdx_guest", lambda data: tdx_quote(data, version) + padding)
    monkeypatch.setattr(enclaves, "os", kernel.os)
    quoter = TsmQuoter("tdx", collateral)
    assert isinstance(quoter, Quoter)
    quoted = await quoter.quote(DATA)
    assert (quoted.kind, quoted.quote) == ("tdx", tdx_quote(DATA, version))
    assert quoted.collateral == b"what the maker says"
    assert not kernel.open_directories


async def test_what_is_no_quote_is_left_for_the_verifier_to_refuse(monkeypatch, collateral):
    for made in (b"", b"\x04", tdx_quote(DATA) + b"\x00\x01", tdx_quote(DATA)[:500]):
        kernel = FakeTsm("tdx_guest", {DATA: made}.__getitem__)
        monkeypatch.setattr(enclaves, "os", kernel.os)
        assert (await TsmQuoter("tdx", collateral).quote(DATA)).quote == made


async def test_an_snp_machine_reports(monkeypatch, collateral):
    kernel = FakeTsm("sev_guest", snp_report)
    monkeypatch.setattr(enclaves, "os", kernel.os)
    quoted = await TsmQuoter("snp", collateral).quote(DATA)
    assert (quoted.kind, quoted.quote) == ("snp", snp_report(DATA))


async def test_an_sgx_enclave_quotes(monkeypatch, collateral):
    gramine = FakeGramine()
    monkeypatch.setattr(enclaves, "os", gramine.os)
    quoted = await GramineQuoter(collateral).quote(DATA)
    assert gramine.user_report_data == DATA
    assert (quoted.kind, quoted.quote) == ("sgx", gramine.quote())


async def test_a_machine_without_such_a_device_is_told_so(collateral):
    for quoter, words in (
        (TsmQuoter("snp", collateral), "no report from /sys/kernel/config/tsm/report"),
        (GramineQuoter(collateral), "no quote from /dev/attestation"),
    ):
        with pytest.raises(BadInput, match=words) as caught:
            await quoter.quote(DATA)
        assert "inside of an enclave" in caught.value.hint


async def test_a_request_that_fails_is_not_left_lying(monkeypatch, collateral):
    kernel = FakeTsm("tdx_guest", tdx_quote)
    kernel.drops = ["inblob"]
    monkeypatch.setattr(enclaves, "os", kernel.os)
    with pytest.raises(BadInput, match="no report"):
        await TsmQuoter("tdx", collateral).quote(DATA)
    assert len(kernel.requests) == 1
    assert not kernel.open_directories


async def test_collateral_that_is_not_there_or_has_no_end_is_refused(tmp_path):
    with pytest.raises(BadInput, match="can't read the collateral"):
        await collateral_of_file(tmp_path / "missing")("tdx", b"")
    (tmp_path / "long").write_bytes(bytes(64 * 1024 + 1))
    with pytest.raises(BadInput, match="too large"):
        await collateral_of_file(tmp_path / "long")("tdx", b"")
