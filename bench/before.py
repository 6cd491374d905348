"""`python -m bench before [COMMIT] [--json FILE]`: what index and log cost, against the last commit without them.

The product has no switch for them, and should have none. So both run, each from its own source tree: this one, and that
of COMMIT, with the few files of bench/ that both need.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

from bench.figures import Figures, by_clock, finish, per_core
from bench.turns import Contender

COMMIT = "703579a"
ROOT = Path(__file__).resolve().parent.parent
CONTENDER = ("load.py", "strongroom.py", "turns.py")
STORE, COLLECT = 0.30, 0.15
"""What they may cost."""


def tree_of(commit: str, folder: Path) -> Path:
    """The source tree of `commit` in `folder`, able to contend. Raises CalledProcessError where git has it not."""
    packed = subprocess.run(
        ["git", "archive", commit, "src", "bench", "tests"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")
    for name in CONTENDER:
        shutil.copy(ROOT / "bench" / name, folder / "bench")
    return folder


def main() -> int:
    commit = next((argument for argument in sys.argv[2:3] if not argument.startswith("--")), COMMIT)
    figures = Figures()
    now, before = "with index and log", f"before ({commit})"
    with ExitStack() as stack:
        tree = tree_of(commit, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        contenders = [Contender(before, "bench.strongroom", tree=tree), Contender(now, "bench.strongroom")]
        for contender in contenders:
            stack.callback(contender.close)
        figures.rounds(contenders, ("store", "collect"))
    figures.table()
    for operation, bound in (("store", STORE), ("collect", COLLECT)):
        for reading in (by_clock, per_core):
            found = figures.ratio(now, before, operation, reading)
            figures.promise(
                f"{operation}, {found.reading}: index and log leave at least {1 - bound:.2f} of it",
                found,
                found.median > 1 - bound,
            )
    return finish(figures)
