"""Every claim of the threat model names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLAIM = re.compile(r"^\d+\. .*?(?=^\d+\. |^#|\Z)", re.MULTILINE | re.DOTALL)


def test_each_claim_names_a_test_and_each_named_test_exists():
    claims = CLAIM.findall((ROOT / "docs" / "threat-model.md").read_text())
    written = "\n".join(path.read_text() for path in (ROOT / "tests").glob("*/**/test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", written))
    assert len(claims) > 30
    for claim in claims:
        named = set(re.findall(r"`(test_\w+)`", claim))
        assert named, f"no test attacks this claim: {claim}"
        assert named <= defined, f"no such test: {named - defined}"
