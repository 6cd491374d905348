"""The import contracts in pyproject.toml are green, and each of them turns red when it is broken."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).parent / "lint-imports"
CONTRACTS = {
    c["id"]: c for c in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

# (contract, module that is planted, what it imports)
VIOLATIONS = [
    ("host-sealed", "host.front.planted", "from strongroom.protocol import messages"),
    ("host-sealed", "host.planted", "import strongroom.protocol.primitives"),
    ("host-sealed", "host.store.planted", "from strongroom.protocol import never_heard_of"),
    ("host-sealed", "host.front.planted", "from strongroom.protocol import blobs"),
    ("host-sealed", "host.front.planted", "from strongroom.protocol import cluster_messages"),
    ("host-sealed", "host.backup.planted", "from strongroom.protocol import governance"),
    ("host-sealed", "host.share.planted", "from strongroom.protocol import messages"),
    ("host-sealed", "host.front.planted", "from strongroom.protocol import notes"),
    ("host-sealed", "host.witness.planted", "from strongroom.protocol import evidence"),
    ("host-alone", "host.front.planted", "import strongroom.enclave.vault"),
    ("host-alone", "host.store.planted", "import strongroom.attestation"),
    ("host-alone", "host.supervisor.planted", "import strongroom.client"),
    ("host-alone", "host.supervisor.planted", "import strongroom.cli"),
    ("host-link", "protocol.link", "from strongroom.protocol import planted"),
    ("host-link", "protocol.status", "from strongroom.protocol import planted"),
    ("host-blobs", "protocol.blobs", "from strongroom.protocol import planted"),
    ("host-notes", "protocol.notes", "from strongroom.protocol import planted"),
    ("host-index", "protocol.index", "from strongroom.protocol import planted"),
    ("services-apart", "enclave.vault.planted", "import strongroom.enclave.authenticator"),
    ("services-apart", "enclave.authenticator.planted", "import strongroom.enclave.vault"),
    ("pure", "protocol.planted", "def now():\n    import time\n    return time.time()"),
    ("pure", "attestation.planted", "from os import urandom"),
    ("pure", "attestation.planted", "import asyncio"),
    ("pure", "protocol.planted", "import strongroom.client"),
    ("protocol-first", "protocol.planted", "import strongroom.attestation"),
    ("port-only", "enclave.vault.planted", "import time"),
    ("port-only", "enclave.authenticator.planted", "import socket"),
    ("port-only", "enclave.runtime.planted", "from secrets import token_bytes"),
    ("back-ends", "enclave.vault.planted", "import strongroom.enclave.platform.software"),
    ("back-ends", "host.supervisor.planted", "import strongroom.enclave.platform.software"),
    ("enclave-alone", "enclave.runtime.planted", "import strongroom.host.store"),
    ("enclave-alone", "enclave.entries.planted", "import strongroom.client"),
    ("client-alone", "client.planted", "import strongroom.enclave.vault"),
    ("client-alone", "client.planted", "import strongroom.host.front"),
]
ALLOWED = [
    ("host-sealed", "host.front.planted", "from strongroom.protocol import errors, limits, link, status"),
    ("host-sealed", "host.share.planted", "from strongroom.protocol import blobs, evidence"),
    ("host-sealed", "host.witness.planted", "from strongroom.protocol import notes, tlog"),
    ("back-ends", "enclave.vault.planted", "from strongroom.enclave.platform import port"),
    ("back-ends", "enclave.entries.planted", "import strongroom.enclave.platform.software"),
]


def lint(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(LINT), "--no-logo", "--no-cache", "--config", str(tree / "pyproject.toml"), *options]
    environment = {"PYTHONPATH": str(tree / "src"), "COLUMNS": "300"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(tree, module, code):
    room = tree / "src" / "strongroom"
    for name in ("protocol/never_heard_of.py", "protocol/planted.py"):  # import targets that the tree does not have
        (room / name).touch()
    share = room / "host" / "share"
    share.mkdir(exist_ok=True)
    (share / "__init__.py").touch()
    software = room / "enclave" / "platform" / "software"
    if not software.is_dir():
        software.with_suffix(".py").touch()
    with open(room.joinpath(*module.split(".")).with_suffix(".py"), "a") as file:
        file.write(f"\n{code}\n")


def test_the_tree_keeps_every_contract():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("contract", "module", "code"), VIOLATIONS)
def test_a_planted_violation_is_caught(tree, contract, module, code):
    plant(tree, module, code)
    result = lint(tree, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{CONTRACTS[contract]['name']} BROKEN" in result.stdout
    assert f"strongroom.{module}" in result.stdout


@pytest.mark.parametrize(("contract", "module", "code"), ALLOWED)
def test_what_a_contract_allows_stays_allowed(tree, contract, module, code):
    plant(tree, module, code)
    result = lint(tree, "--contract", contract)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_has_a_planted_violation():
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)
