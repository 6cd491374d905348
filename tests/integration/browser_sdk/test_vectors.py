"""The vectors of the specification, as the browser SDK reads them."""

import json
import subprocess
from pathlib import Path

import pytest

from strongroom.protocol.codec import encode
from strongroom.protocol.primitives import Domain, KemKey, verify_signature
from strongroom.protocol.session import open_hello
from tests.support.page import WEB, driven

VECTORS = Path(__file__).resolve().parents[3] / "spec" / "vectors"


@pytest.fixture(scope="module")
def said():
    """What the SDK says of each vector: lines by their first word."""
    done = subprocess.run(driven("second_client.ts"), cwd=WEB, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    lines: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        lines.setdefault(word, []).append(rest)
    return lines


OF_OTHERS = {"verify rules", "share", "combine shares", "releases follow", "verify candidate"}
"""What only enclaves, custodians and approvers do: Cedar, shares, following lists, enclaves without a ring."""


def test_the_sdk_reads_every_vector_that_a_page_can_meet(said):
    vectors = {path.relative_to(VECTORS).as_posix(): json.loads(path.read_text()) for path in VECTORS.rglob("*.json")}
    read = [path for path, vector in vectors.items() if vector["run"] not in OF_OTHERS]
    assert sorted(said["ok"]) == sorted(read)


def test_a_hello_and_a_proof_of_the_sdk_are_accepted(said):
    vector = json.loads((VECTORS / "handshake" / "complete.json").read_text())
    given, outputs = vector["inputs"], vector["outputs"]
    (made,) = map(json.loads, said["made"])
    opened = open_hello(KemKey(bytes.fromhex(given["server_kem_seed"])), bytes.fromhex(made["hello"]))
    assert encode(opened).hex() == outputs["hello_message"]
    binding, transcript = bytes.fromhex(outputs["binding_key"]), bytes.fromhex(outputs["transcript"])
    verify_signature(binding, bytes.fromhex(made["proof"]), Domain.PROOF, transcript)
