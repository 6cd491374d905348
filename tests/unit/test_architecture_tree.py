"""What the tree promises about itself: small files, locks without hosts, locks that fit pyproject.toml."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MEASURED = ("protocol", "attestation", "enclave")
MEASURED_LINES, OTHER_LINES = 400, 600


def most_lines(path: Path) -> int:
    room = path.relative_to(ROOT / "src" / "strongroom").parts[0]
    return MEASURED_LINES if room in MEASURED else OTHER_LINES


def too_long(paths):
    return {path.name: lines for path in paths if (lines := len(path.read_text().splitlines())) > most_lines(path)}


def test_files_are_small():
    assert SOURCES
    assert too_long(SOURCES) == {}


def test_measured_rooms_are_held_to_fewer_lines():
    room = ROOT / "src" / "strongroom"
    assert most_lines(room / "enclave" / "vault" / "records.py") == MEASURED_LINES
    assert most_lines(room / "host" / "front" / "app.py") == OTHER_LINES


def test_files_of_the_web_are_small():
    generated = "messages.ts"
    written = [path for path in (ROOT / "web").glob("*/src/**/*.ts*") if path.name != generated]
    assert len(written) > 50
    assert {path.name: lines for path in written if (lines := len(path.read_text().splitlines())) > OTHER_LINES} == {}


@pytest.mark.parametrize("name", ["uv.lock", "tests/idp/package-lock.json", "web/package-lock.json"])
def test_a_lock_names_no_host(name):
    assert "://" not in (ROOT / name).read_text()


def test_uv_lock_fits_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = {
        p["name"]: p["version"] for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"] if "version" in p
    }
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["demo"],
        *[line for group in project["dependency-groups"].values() for line in group],
    ]
    assert locked["strongroom"] == project["project"]["version"]
    for requirement in map(Requirement, wanted):
        assert locked.get(requirement.name, "0") in requirement.specifier, f"{requirement}: run `make lock`"
