"""Files of `appraise`: told apart by their bytes, bounded, and put together as appraisal wants them."""

import base64
import struct
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.attestation.snp import verify_snp_report
from strongroom.cli.raw_quote import LIMIT, guess_kind, read_bounded, snp_collateral, without_padding
from strongroom.cli.terminal import Failure
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.protocol.errors import Untrusted
from tests.support.evidence import Cluster, pki
from tests.support.synthetic_nitro import SyntheticNitro
from tests.support.synthetic_snp import NOW as SNP_NOW
from tests.support.synthetic_snp import amd
from tests.support.synthetic_tdx import TDX_10, TDX_15, TdxPki, tdx_quote

SGX = synthetic_quote(pki(), EnclaveReport(bytes(32), bytes(32), 1, 1, bytes(64), 5))
TDX = tdx_quote(TdxPki(bytes(32), 1_790_000_000))
TDX_5 = [tdx_quote(TdxPki(bytes(32), 1_790_000_000), version=5, body=body) for body in (TDX_10, TDX_15)]
SNP = amd().report()
NITRO = SyntheticNitro().document()


@pytest.mark.parametrize(
    ("quote", "kind"),
    [(SGX, "sgx"), (TDX, "tdx"), (TDX_5[0], "tdx"), (TDX_5[1], "tdx"), (SNP, "snp"), (NITRO, "nitro")],
)
def test_a_platform_is_known_by_its_bytes(quote, kind):
    assert guess_kind(quote) == kind


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"\x03", "say --kind"),
        (SNP[:-1], "say --kind"),
        (SNP + b"\x00", "say --kind"),
        (bytes(1184)[:-4], "say --kind"),
        (b"\xff" * 1184, "say --kind"),
        (SGX.hex().encode(), "xxd -r -p"),
        (b"0x" + TDX.hex().upper().encode() + b"\n", "xxd -r -p"),
        (base64.encodebytes(SNP), "base64 -d"),
        (b"-----BEGIN CERTIFICATE-----\n", "that is a certificate"),
        (b"A" + b" " * (LIMIT - 2) + b"?", "say --kind"),
        (Cluster("vault").evidence(), "strongroom verify"),
    ],
)
def test_what_fits_no_platform_is_refused_with_what_it_may_be(data, hint):
    started = time.perf_counter()
    with pytest.raises(Failure, match="evidence of no platform") as caught:
        guess_kind(data)
    assert hint in caught.value.hint
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("quote", [SGX, TDX, *TDX_5])
def test_only_zeros_behind_a_quote_are_left_out(quote):
    assert without_padding(quote) == quote
    assert without_padding(quote + bytes(3065)) == quote
    for forged in (quote + bytes(10) + b"\x01", quote + b"\x01"):
        assert without_padding(forged) == forged
    for size in (0, 1, 47, 48, 100, 640, len(quote) - 1):
        assert without_padding(quote[:size]) == quote[:size]


def test_a_quote_that_claims_less_than_it_holds_is_not_cut_to_its_claim():
    short = bytearray(SGX)
    struct.pack_into("<I", short, 432, 8)
    assert without_padding(bytes(short)) == bytes(short)


# --- SNP: three files, one text -------------------------------------------------------------------------------

MADE = amd()
BLOCKS = x509.load_pem_x509_certificates(MADE.collateral())
LEAF, ASK, ARK = (one.public_bytes(Encoding.PEM) for one in BLOCKS)
LEAF_DER = BLOCKS[0].public_bytes(Encoding.DER)
CRL = MADE.crl()


@pytest.mark.parametrize("leaf", [LEAF, LEAF_DER, LEAF.replace(b"\n", b"\r\n"), b"\n" + LEAF + b"\n"])
@pytest.mark.parametrize("chain", [ASK + ARK, ARK + ASK, b"\n" + ARK + b"\n" + ASK])
@pytest.mark.parametrize("crl", [None, CRL.public_bytes(Encoding.PEM), CRL.public_bytes(Encoding.DER)])
def test_leaf_chain_and_list_make_the_text_that_appraisal_wants(leaf, chain, crl):
    text = snp_collateral(leaf, chain, crl)
    assert text.startswith(LEAF + ASK + ARK)
    assert verify_snp_report(SNP, text, SNP_NOW, chains=MADE.chains).crl_checked == (crl is not None)


@pytest.mark.parametrize(
    ("leaf", "chain", "crl", "error"),
    [
        (LEAF + LEAF, ASK + ARK, None, "--leaf is not one certificate"),
        (b"nothing", ASK + ARK, None, "--leaf is not one certificate"),
        (LEAF.replace(b"MII", b"=II", 1), ASK + ARK, None, "--leaf is not one certificate"),
        (LEAF, ARK, None, "--chain is not AMD's signing key"),
        (LEAF, ASK, None, "--chain is not AMD's signing key"),
        (LEAF, ARK + ARK, None, "--chain is not AMD's signing key"),
        (LEAF, LEAF + ASK + ARK, None, "--chain is not AMD's signing key"),
        (LEAF, b"nothing", None, "--chain is not AMD's signing key"),
        (LEAF, b"\x30garbage", None, "--chain does not parse"),
        (LEAF, ASK + ARK, b"nothing", "--crl is not one list"),
        (LEAF, ASK + ARK, ASK, "--crl is not one list"),
    ],
)
def test_files_that_are_something_else_are_named(leaf, chain, crl, error):
    with pytest.raises(Failure, match=error):
        snp_collateral(leaf, chain, crl)


def test_bytes_that_only_begin_like_a_certificate_are_left_to_appraisal():
    with pytest.raises(Untrusted):
        verify_snp_report(SNP, snp_collateral(b"\x30garbage", ASK + ARK, None), SNP_NOW, chains=MADE.chains)


# --- reading --------------------------------------------------------------------------------------------------


def test_files_are_bounded(tmp_path):
    for size, error in ((0, "the quote is empty"), (LIMIT + 1, "the quote is larger than 65,536 bytes")):
        (tmp_path / "file").write_bytes(bytes(size))
        with pytest.raises(Failure, match=error):
            read_bounded(str(tmp_path / "file"), "the quote")
    (tmp_path / "file").write_bytes(bytes(LIMIT))
    assert len(read_bounded(tmp_path / "file", "the quote")) == LIMIT


@pytest.mark.parametrize(
    ("name", "error"), [(".", "Is a directory"), ("/dev/zero", "larger"), ("a\0b", "no file name"), ("none", "No such")]
)
def test_what_is_no_small_file_is_refused(tmp_path, monkeypatch, name, error):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match=error):
        read_bounded(name, "the quote")
