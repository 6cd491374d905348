"""Real and broken evidence of SGX and TDX, gathered from other projects, through the functions that verify quotes."""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.attestation.intel import INTEL_ROOT, root_certificate
from strongroom.attestation.reports import TdxReport
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
INDEX: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text()) if VECTORS.is_dir() else []
DCAP = [vector for vector in INDEX if "collateral" in vector]
GOOD = [vector for vector in DCAP if not vector["name"].startswith("negative/")]
BAD = [vector for vector in DCAP if vector["name"].startswith("negative/")]
GENUINE_ROOT = "negative/synthetic/synthetic-root.der"

LENGTH = "not exactly as long as it says"
SHORT = "cut short"
DEBUG = "debug"
LEVEL = "No matching TCB level found"
SERVICE_TD = "a service TD"
REASONS = {
    "real/trustee-tdx-quote-5-586c2be0-at202606-eval19": SERVICE_TD,
    "real/zkdcap-quote-v4-94d26a4a-at202607-eval19": "SEPT_VE_DISABLE",
    "real/dcap-qvl-quote-from-tappd-219cafde-at202507-eval17": LENGTH,
    "real/oasis-core-quote-v4-tdx-ecdsa-p256-out-of-date-3507b5f7-at202510-eval17": "SEPT_VE_DISABLE",
    "real/dcap-qvl-tdx-quote-outdated-4c453ea4-at202606-eval19": LEVEL,
    "real/automata-dcap-attestation-quote-sgx-743a7a64-at202507-eval17": DEBUG,
    "real/openenclave-sgx-quote-ad730280-at202506-eval17": DEBUG,
    "real/trustee-tdx-quote-4-12b401a8-at202510-eval17": DEBUG,
    "real/automata-dcap-attestation-alibaba-quote-5-d0010db6-at202606-eval19": SERVICE_TD,
    "real/trustee-occlum-quote-77bcbdfa-at202508-eval17": DEBUG,
    "real/openenclave-tdx-quote-v5-67adfc4a-at202607-eval19": "moved to another machine",
    "real/go-tdx-guest-tdx-prod-quote-spr-e4-6dde5548-at202510-eval17": LENGTH,
    "derived/sgx-debug-bit-set-unsigned": "ISV enclave report signature is invalid",
    "derived/sgx-truncated-0": SHORT,
    "derived/sgx-truncated-1": SHORT,
    "derived/sgx-truncated-47": SHORT,
    "derived/sgx-truncated-48": SHORT,
    "derived/sgx-truncated-431": SHORT,
    "derived/sgx-truncated-435": SHORT,
    "derived/sgx-truncated-4599": SHORT,
    "derived/sgx-siglen-huge": SHORT,
    "derived/sgx-trailing-garbage": LENGTH,
    "derived/sgx-qe-report-flipped": "Signature is invalid for qe_report",
    "derived/sgx-qe-report-sig-flipped": "Signature is invalid for qe_report",
    "derived/sgx-mrenclave-flipped": "ISV enclave report signature is invalid",
    "derived/sgx-attkey-flipped": "QE report hash mismatch",
    "derived/sgx-version-4": "neither an SGX quote of version 3 nor",
    "derived/sgx-keytype-3": "Unsupported DCAP attestation key type",
    "derived/sgx-vendor-id": "Unknown QE vendor ID",
    "derived/sgx-pck-crl-bad-signature": "InvalidCrlSignatureForPublicKey",
    "derived/sgx-pck-crl-wrong-issuer": "UnknownRevocationStatus",
    "derived/sgx-pck-crl-garbage": "Failed to parse PCK CRL",
    "derived/sgx-root-crl-empty": "Failed to parse root CA CRL",
    "derived/sgx-qeid-tampered": "Signature is invalid for qe_identity",
    "derived/sgx-tcbinfo-tampered": "Signature is invalid for tcb_info",
    "derived/sgx-before-issue": "issue date is in the future",
    "derived/tdx-sgx-collateral": LENGTH,
    "derived/tdx-debug-bit-set-unsigned": LENGTH,
    "synthetic/tdx-debug": DEBUG,
    "synthetic/sgx-qe-mrsigner-mismatch": "QE MRSIGNER mismatch",
    "synthetic/sgx-qe-prodid-mismatch": "QE ISVPRODID mismatch",
    "synthetic/sgx-qe-svn-too-low": "QE ISVSVN 8 is below",
    "synthetic/sgx-qe-Revoked": "Revoked",
    "synthetic/sgx-tcb-Revoked": "Revoked",
    "synthetic/sgx-fmspc-mismatch": "Fmspc mismatch",
    "synthetic/sgx-intermediate-revoked": "CertRevoked",
    "synthetic/sgx-certs-expired": "a certificate has expired",
    "synthetic/sgx-collateral-expired": "revoked certificates has expired",
    "synthetic/sgx-other-root-same-names": "does not end in the root that is trusted",
}
"""Vector → part of the reason for which verification refuses it."""
PADDED_REASONS = {
    "real/dcap-qvl-quote-from-tappd-219cafde-at202507-eval17": LEVEL,
    "real/go-tdx-guest-tdx-prod-quote-spr-e4-6dde5548-at202510-eval17": "SEPT_VE_DISABLE",
    "derived/tdx-sgx-collateral": "Unsupported QE Identity id/version",
    "derived/tdx-debug-bit-set-unsigned": DEBUG,
}
"""What is wrong with those besides, once the padding that their cloud appended is off."""
STATUSES = {
    f"synthetic/sgx-{case}"
    for case in (
        "cpusvn-below-top-level",
        "qe-OutOfDate",
        "tcb-ConfigurationAndSWHardeningNeeded",
        "tcb-ConfigurationNeeded",
        "tcb-OutOfDate",
        "tcb-OutOfDateConfigurationNeeded",
        "tcb-SWHardeningNeeded",
    )
}
"""Nothing is wrong with those but the state of the machine, which is for a policy to refuse."""

pytestmark = pytest.mark.needs("shared")


def name(vector):
    return vector["name"]


def short(vector):
    return vector["name"].removeprefix("negative/")


def is_tdx(vector):
    return "tdx" in vector["kind"].lower() or short(vector).startswith(("tdx/", "derived/tdx", "synthetic/tdx"))


def quote_of(vector):
    return (VECTORS / vector["quote"]).read_bytes()


def unpadded(quote):
    """A quote of TDX without what its cloud appended: the signature data's size says where it ends."""
    at = 48 + (6 + int.from_bytes(quote[50:54], "little") if quote[0] == 5 else 584)
    return quote[: at + 4 + int.from_bytes(quote[at : at + 4], "little")]


def verify(vector, quote=None):
    root = vector.get("rootfile")
    if root and short(vector).startswith("synthetic/"):
        root = GENUINE_ROOT  # also where the vector brings the attacker's own
    return (verify_tdx_quote if is_tdx(vector) else verify_sgx_quote)(
        quote or quote_of(vector),
        (VECTORS / vector["collateral"]).read_bytes(),
        (VECTORS / root).read_bytes() if root else None,
        vector["now"],
    )


def test_the_collection_is_complete_and_every_vector_has_its_reason():
    assert len([vector for vector in GOOD if is_tdx(vector)]) == 8
    assert len([vector for vector in GOOD if not is_tdx(vector)]) == 7
    assert {short(vector) for vector in BAD} == STATUSES | set(REASONS)
    assert set(PADDED_REASONS) < set(REASONS)


@pytest.mark.parametrize("vector", GOOD, ids=name)
def test_real_quotes_verify_with_what_is_listed(vector):
    quote = unpadded(quote_of(vector)) if is_tdx(vector) else quote_of(vector)
    report = verify(vector, quote)
    assert report.intel.tcb_status == vector["py"]
    assert sorted(report.intel.advisories) == sorted(vector.get("adv", []))
    assert report.measurement.hex().startswith(vector["mr_td" if is_tdx(vector) else "mr_enclave"])
    assert report.report_data.hex() == vector["report_data"]
    assert report.proven_at <= vector["now"] <= report.valid_until
    assert report.root == fingerprint(root_certificate(quote))
    assert (report.root == INTEL_ROOT) == vector["kind"].startswith("real")
    if isinstance(report, TdxReport):
        assert len(report.measurement) == 240
        assert len(report.mr_seam) == 48
        assert report.intel.smt is not vector["kind"].startswith("synthetic")
    else:
        assert report.signer.hex() == vector["mr_signer"]
    assert len(report.intel.platform_id) == 16
    assert report.intel.tcb_date < vector["now"]


@pytest.mark.parametrize("vector", [vector for vector in GOOD if is_tdx(vector)], ids=name)
def test_padding_that_a_cloud_appends_is_refused(vector):
    quote = quote_of(vector)
    if unpadded(quote) == quote:
        quote += bytes(1)
    with pytest.raises(Untrusted, match=LENGTH):
        verify(vector, quote)


@pytest.mark.parametrize("vector", BAD, ids=name)
def test_everything_else_is_refused_for_what_is_wrong_with_it(vector):
    """By the verification itself; where nothing is wrong but the platform's state, by its status."""
    if short(vector) in STATUSES:
        assert verify(vector).intel.tcb_status == vector["py"] != "UpToDate"
        return
    with pytest.raises(Untrusted, match=REASONS[short(vector)]) as refusal:
        verify(vector)
    assert refusal.value.number is Number.EVIDENCE
    if short(vector) in PADDED_REASONS:
        with pytest.raises(Untrusted, match=PADDED_REASONS[short(vector)]):
            verify(vector, unpadded(quote_of(vector)))
