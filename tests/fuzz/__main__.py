"""`python -m tests.fuzz [SUBJECT …]`: coverage-guided fuzzing of the parsers of evidence with atheris (libFuzzer).

Each subject of `subjects.py`, or each that is named, runs for FUZZ_SECONDS (20) in a process of its own, from good
input and, where they are there, the vectors of `spec/vectors/attestation` and of real hardware. An input that breaks a
promise is written to a folder that is named, and the status is 1. Only Python is instrumented: inside of the libraries
in C and Rust the inputs are guided by luck.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
INSTRUMENTED = ["strongroom.attestation", "strongroom.host.collateral", "strongroom.client.release", "tomllib"]
ONE = "--one"
"""This process is to fuzz: the subject and the folder of its corpus follow."""


def frame(parts: tuple[bytes, ...]) -> bytes:
    """Parts as one input: the length of each but the last in front of it."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts[:-1]) + parts[-1]


def unframe(data: bytes, count: int) -> tuple[bytes, ...]:
    """`count` parts of any bytes."""
    parts = []
    for _ in range(count - 1):
        size = int.from_bytes(data[:4], "little")
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return (*parts, data)


def published(name: str) -> Iterator[tuple[bytes, ...]]:
    """Quote and collateral of the published vectors of a platform; of every platform and with the time for `quote`."""
    from tests.fuzz.subjects import KINDS, ROOT, time

    folder = ROOT / "spec" / "vectors" / "attestation"
    for path in sorted(folder.glob("*.json")):
        inputs = json.loads(path.read_text())["inputs"]
        for field in ("quote", "collateral"):
            if str(inputs[field]).startswith("@"):  # the vector of that name has it
                inputs[field] = json.loads((folder / f"{inputs[field][1:]}.json").read_text())["inputs"][field]
        quote, collateral = (bytes.fromhex(inputs[field]) for field in ("quote", "collateral"))
        kind = inputs["kind"]
        if name == "quote":
            yield bytes((KINDS.index(kind),)), time(inputs["now"]), quote, collateral
        elif name == kind:
            yield (quote,) if kind == "nitro" else (quote, collateral)


def fuzz(name: str, corpus: Path) -> None:
    """Never comes back: libFuzzer ends the process."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # not on every machine

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.mutants import mutant
        from tests.fuzz.subjects import LIMIT, SUBJECTS

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    subject = SUBJECTS[name]()
    assert subject.said
    count = len(subject.seeds[0])
    others = list(published(name))
    for one in others:
        with contextlib.suppress(*subject.declared):  # many are to be refused
            subject.said.append(subject.read(*one))
    for seed in map(frame, [*subject.seeds, *others]):
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = Random(seed)
        parts = list(unframe(data, count))
        if rng.random() < 0.5:
            parts = list(mutant(rng, [tuple(parts), *subject.seeds]))
        else:
            at = rng.randrange(count)
            # libFuzzer's own changes, which know what the code has compared with.
            parts[at] = atheris.Mutate(parts[at] or b"\x00", min(LIMIT, 2 * len(parts[at]) + 64))
        return frame(tuple(parts))[:max_size]

    def test(data: bytes) -> None:
        subject.feed(*unframe(data, count))

    options = [
        sys.argv[0],
        f"-max_total_time={SECONDS}",
        f"-max_len={count * (LIMIT + 4)}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-verbosity=0",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus.parent}/broken-",
        str(corpus),
    ]
    atheris.Setup(options, test, custom_mutator=mutate)
    atheris.Fuzz()


def run(name: str) -> bool:
    """Fuzz one subject in another process; whether it kept its promises."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    (folder / "corpus").mkdir()
    command = [sys.executable, "-u", "-m", "tests.fuzz", ONE, name, str(folder / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    runs = next((line.split()[-1] for line in lines if "stat::number_of_executed_units" in line), "no")
    kept = len(list((folder / "corpus").iterdir()))
    print(f"{name}: {runs} inputs in {SECONDS} s, {kept} of them reach something of their own", flush=True)
    if done.returncode == 0:
        shutil.rmtree(folder)
        return True
    print("\n".join(line for line in lines if not line.startswith("INFO:")))
    print(f"error: {name} broke its promise\nhint: the input is in {folder}")
    return False


def main() -> int:
    if importlib.util.find_spec("atheris") is None:
        print("error: nothing was fuzzed: atheris is not installed")
        print("hint: it is made for Linux on x86-64 only; the tests in tests/property bend the same input by chance")
        return 1
    from tests.fuzz.subjects import SUBJECTS

    chosen = sys.argv[1:] or list(SUBJECTS)
    if unknown := set(chosen) - set(SUBJECTS):
        print(f"error: no such subject: {', '.join(sorted(unknown))}\nhint: there are {', '.join(SUBJECTS)}")
        return 1
    failed = [name for name in chosen if not run(name)]
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == [ONE]:
        fuzz(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main())
