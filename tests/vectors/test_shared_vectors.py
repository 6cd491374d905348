"""Real and broken SGX evidence, gathered from other projects, through the one function that verifies quotes."""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.attestation.sgx import INTEL_ROOT, root_certificate, verify_sgx_quote
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.primitives import fingerprint

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
INDEX: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text()) if VECTORS.is_dir() else []
DCAP = [vector for vector in INDEX if "collateral" in vector]
GOOD = [vector for vector in DCAP if vector["name"].startswith("sgx/")]
BAD = [vector for vector in DCAP if not vector["name"].startswith("sgx/")]
GENUINE_ROOT = "negative/synthetic/synthetic-root.der"
REFUSED_BY_STATUS = {
    f"negative/synthetic/sgx-{case}"
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

pytestmark = pytest.mark.needs("shared")


def verify(vector):
    root = vector.get("rootfile")
    if root and vector["name"].startswith("negative/synthetic/"):
        root = GENUINE_ROOT  # also where the vector brings the attacker's own
    return verify_sgx_quote(
        (VECTORS / vector["quote"]).read_bytes(),
        (VECTORS / vector["collateral"]).read_bytes(),
        (VECTORS / root).read_bytes() if root else None,
        vector["now"],
    )


def name(vector):
    return vector["name"]


def test_the_collection_is_complete():
    assert len(GOOD) == 7
    assert len(BAD) >= 60
    assert {name(vector) for vector in BAD} >= REFUSED_BY_STATUS


@pytest.mark.parametrize("vector", GOOD, ids=name)
def test_real_quotes_verify_with_the_status_listed(vector):
    report = verify(vector)
    assert report.tcb_status == vector["py"]
    assert report.measurement.hex() == vector["mr_enclave"]
    assert report.signer.hex() == vector["mr_signer"]
    assert report.report_data.hex() == vector["report_data"]
    assert sorted(report.advisories) == sorted(vector.get("adv", []))
    assert report.collateral_date <= vector["now"]
    root = root_certificate((VECTORS / vector["quote"]).read_bytes())
    assert report.root == fingerprint(root)
    assert (report.root == INTEL_ROOT) == vector["kind"].startswith("real")


@pytest.mark.parametrize("vector", BAD, ids=name)
def test_everything_else_is_refused(vector):
    """By the verification itself; where nothing is wrong but the platform's state, by its status."""
    if vector["name"] not in REFUSED_BY_STATUS:
        with pytest.raises(Untrusted):
            verify(vector)
    else:
        assert verify(vector).tcb_status == vector["py"] != "UpToDate"
