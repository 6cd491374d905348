"""Real and broken Nitro attestation documents, gathered from other projects, through the one function for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.attestation.nitro import AWS_ROOT, CLOCK_SKEW, verify_nitro_document
from strongroom.protocol.errors import Number, Untrusted

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
INDEX: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text()) if VECTORS.is_dir() else []
GOOD = [vector for vector in INDEX if vector["name"].startswith("nitro/")]
BAD = [vector for vector in INDEX if vector["name"].startswith("negative/nitro/")]
REASONS = {
    "anjuna-full-2024-debug": "debug enclave",
    "derived-alg-es256": "does not say ES384",
    "derived-cabundle-dropped-root": "does not rest on the root certificate of AWS",
    "derived-not-array": "not a COSE_Sign1 structure",
    "derived-pcr0-changed": "signature is not that",
    "derived-sig-zero": "signature is not that of its certificate",
    "derived-timestamp-changed": "not valid now",
    "derived-trailing": "bytes follow its end",
    "derived-userdata-changed": "signature is not that of its certificate",
    "fortanix-2021-debug": "debug enclave",
    "fortanix-tampered-signature": "signature is not that",
    "synthetic-fake-root": "does not rest on the root certificate of AWS",
}

pytestmark = pytest.mark.needs("shared")


def name(vector):
    return vector["name"]


def verify(vector, now=None):
    return verify_nitro_document((VECTORS / vector["doc"]).read_bytes(), now or vector["now"] or 0)


def test_the_collection_is_complete():
    assert len(GOOD) == 5
    assert {Path(vector["name"]).name for vector in BAD} == set(REASONS)


@pytest.mark.parametrize("vector", GOOD, ids=name)
def test_real_documents_verify_with_the_facts_listed(vector):
    report, facts = verify(vector), vector["nitro"]
    assert report.module_id == facts["module"]
    assert report.signed_at == facts["ts"] // 1000
    assert report.pcrs[0].hex() == facts["pcr0"] == vector["measurement"]
    assert report.pcrs[8].hex().startswith(facts["pcr8"])
    assert len(report.pcrs) == facts["npcrs"]
    assert len(report.report_data) == (facts["ud"] or 0)
    assert report.root == AWS_ROOT
    assert report.valid_until == vector["window"][1]


@pytest.mark.parametrize("vector", GOOD, ids=name)
def test_real_documents_verify_only_while_their_certificates_are_valid(vector):
    first, last = vector["window"]
    assert verify(vector, first).module_id == verify(vector, last).module_id
    for now in (first - CLOCK_SKEW - 1, last + 1):
        with pytest.raises(Untrusted, match="not valid now"):
            verify(vector, now)


@pytest.mark.parametrize("vector", BAD, ids=name)
def test_everything_else_is_refused_for_what_is_wrong_with_it(vector):
    with pytest.raises(Untrusted) as caught:
        verify(vector)
    assert caught.value.number is Number.EVIDENCE
    assert REASONS[Path(vector["name"]).name] in caught.value.reason
