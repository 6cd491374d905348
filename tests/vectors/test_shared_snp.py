"""Real and broken SEV-SNP reports, gathered from other projects, under AMD's own chains."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.attestation.amd_roots import AMD_CHAINS
from strongroom.attestation.reports import SnpTcb
from strongroom.attestation.snp import verify_snp_report
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
INDEX: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text()) if VECTORS.is_dir() else []
SNP = {vector["name"].removeprefix("negative/"): vector for vector in INDEX if "snp" in vector}
GOOD = {
    "snp/virtee-sev-milan": ("Milan", "vcek"),
    "snp/trustee-milan": ("Milan", "vcek"),
    "snp/trustee-milan-vlek": ("Milan", "vlek"),
    "snp/trustee-azure-genoa": ("Genoa", "vcek"),
}
BAD = {
    "snp/derived-chip-id-flipped": "the certificate is for another chip",
    "snp/derived-policy-debug-set-unsigned": "not signed by the key",
    "snp/derived-report-data-flipped": "not signed by the key",
    "snp/derived-reported-tcb-raised": "for another TCB than REPORTED_TCB: microcode differs",
    "snp/derived-sigalgo-2": "not signed with ECDSA P-384 and SHA-384",
    "snp/derived-swapped-leaf": "the certificate is for another chip",
    "snp/derived-wrong-product-chain": "the attestation key's certificate is not signed by its issuer",
    "snp/trustee-foreign-vcek-new": "the attestation key's certificate is not signed by its issuer",
}

pytestmark = [pytest.mark.needs("shared"), pytest.mark.filterwarnings("ignore:Parsed a serial number")]


def verify(vector):
    leaf = x509.load_der_x509_certificate((VECTORS / vector["leaf"]).read_bytes()).public_bytes(Encoding.PEM)
    report = (VECTORS / vector["report"]).read_bytes()
    return verify_snp_report(report, leaf + (VECTORS / vector["chain"]).read_bytes(), vector["now"])


def test_the_collection_is_complete():
    assert set(SNP) == set(GOOD) | set(BAD)


@pytest.mark.parametrize("name", GOOD)
def test_real_reports_verify_with_the_facts_listed(name):
    vector = SNP[name]
    report = verify(vector)
    facts = vector["snp"]
    bootloader, tee, snp, microcode = vector["checks"]["cert_tcb(bl,tee,snp,ucode)"]
    assert (report.product, report.key) == GOOD[name]
    assert report.measurement.hex() == facts["measurement"]
    assert report.report_data.hex() == facts["report_data"]
    assert report.chip_id.hex() == facts["chip_id"]
    assert (report.guest_policy, report.vmpl) == (int(facts["policy"], 16), facts["vmpl"])
    assert report.guest_svn == facts["guest_svn"]
    assert report.tcb == SnpTcb(bootloader, tee, snp, microcode, 0)
    assert report.proven_at <= vector["now"] <= report.valid_until
    assert not report.crl_checked


@pytest.mark.parametrize("name", BAD)
def test_everything_else_is_refused_for_what_is_wrong_with_it(name):
    with pytest.raises(Untrusted, match=BAD[name]) as caught:
        verify(SNP[name])
    assert caught.value.number is Number.EVIDENCE


@pytest.mark.parametrize("chain", AMD_CHAINS, ids=lambda chain: f"{chain.product}-{chain.key}")
def test_pinned_chains_are_those_that_amd_publishes(chain):
    suffix = "-vlek" if chain.key == "vlek" else ""
    pem = (VECTORS / "snp" / "chains" / f"{chain.product.lower()}{suffix}.pem").read_bytes()
    ask, ark = x509.load_pem_x509_certificates(pem)
    assert fingerprint(ask.public_bytes(Encoding.DER)) == chain.ask
    assert fingerprint(ark.public_bytes(Encoding.DER)) == chain.ark
    ark.verify_directly_issued_by(ark)
    ask.verify_directly_issued_by(ark)
