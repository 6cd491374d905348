"""Writes every vector, messages.json and the tables of the specification; `--check` says what has drifted instead.

    python spec/vectors/generate.py [--check]

All of it is deterministic but HPKE's encapsulations and the signatures inside quotes: what stands in a vector is kept
while it still opens, or verifies, as the vector says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import approved
import attestation_intel
import attestation_nitro
import attestation_snp
import basics
import candidates
import checkpoints
import codings
import councils
import domains
import evidences
import releasing
import sessions
import statements
import tables
import texts
import wire
from case import VECTORS

from strongroom.protocol.rules import RULES_SCHEMA_V1

SPEC = VECTORS.parent


def wanted() -> dict[Path, str]:
    """Every generated file and what must be in it."""
    files = {
        SPEC / "messages.json": json.dumps(wire.schema(), indent=1) + "\n",
        SPEC / "rules.cedarschema": RULES_SCHEMA_V1,
        VECTORS / "authenticated-bytes.txt": domains.golden(),
    }
    prose = {path: path.read_text() for path in sorted(SPEC.glob("*.md"))}
    files |= {path: tables.filled(text) for path, text in prose.items()}
    if missing := tables.undocumented(list(prose.values())):
        raise SystemExit(f"error: no page of spec/ has a table of {', '.join(missing)}")
    kinds = (
        approved,
        basics,
        candidates,
        checkpoints,
        codings,
        councils,
        evidences,
        releasing,
        sessions,
        statements,
        texts,
    )
    for module in (attestation_intel, attestation_nitro, attestation_snp, *kinds):
        for case in module.every():
            path = VECTORS / f"{case.name}.json"
            if path in files:
                raise SystemExit(f"error: two vectors are named {case.name}")
            files[path] = case.text()
    return files


def main() -> None:
    files = wanted()
    surplus = [path for path in sorted(VECTORS.rglob("*.json")) if path not in files]
    drifted = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        for path in sorted([*drifted, *surplus]):
            print(f"{path.relative_to(SPEC.parent)} differs from what the code says", file=sys.stderr)
        if drifted or surplus:
            raise SystemExit("hint: look at the difference that `make vectors` makes, then commit both")
        return
    for path in drifted:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path])
    for path in surplus:
        path.unlink()


if __name__ == "__main__":
    main()
