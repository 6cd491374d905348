"""Builds the web page into src/strongroom/page_dist, unless its sources are what they were when it was built last.

    python -m tools.page [--check]

The bundle is a function of the sources and of web/package-lock.json alone: two builds give the same bytes, whose digest
`strongroom verify-page` compares with what a server delivers. `--check` builds twice, elsewhere, and says so if not.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from strongroom.client.page import SHIPPED, read_built_page
from tools.node import commands, install

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
DIST = SHIPPED
STAMP = ".stamp"
_GENERATED = {"node_modules", "dist", "test"}


def sources() -> str:
    """Digest of everything that the bundle is made of."""
    digest = hashlib.sha256()
    for path in sorted(WEB.rglob("*")):
        parts = path.relative_to(WEB).parts
        if path.is_file() and not _GENERATED & set(parts) and not path.name.endswith(".tsbuildinfo"):
            digest.update("/".join(parts).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def page_digest(folder: Path) -> str:
    """What a release names, in hex; the files are what page.json lists."""
    return read_built_page(folder).digest.hex()


def build(into: Path) -> None:
    found = commands()
    if found is None:
        raise SystemExit("error: there is no Node.js to build the page with\nhint: `make ready` installs one")
    install(WEB)
    node = shutil.which(found[0][0]) or found[0][0]
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])
    vite = WEB / "node_modules" / "vite" / "bin" / "vite.js"
    command = [node, str(vite), "build", "page", "--outDir", str(into), "--emptyOutDir", "--logLevel", "error"]
    environment = {**os.environ, "PATH": path, "NODE_ENV": "production"}
    if subprocess.run(command, cwd=WEB, env=environment, check=False).returncode != 0:
        raise SystemExit("error: the page does not build\nhint: see the lines above")


def check() -> None:
    """Two builds from the same sources are the same bytes. Raises SystemExit if not."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        digests = []
        for folder in (Path(one) / "dist", Path(other) / "elsewhere"):
            build(folder)
            digests.append(page_digest(folder))
    if len(set(digests)) != 1:
        raise SystemExit(f"error: two builds of the page differ: {' and '.join(digests)}")
    print(f"page {digests[0]}")


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        check()
        return
    stamp = DIST / STAMP
    wanted = sources()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("page: building it (some seconds)", file=sys.stderr, flush=True)
        build(DIST)
        stamp.write_text(wanted)
        print(f"page {page_digest(DIST)}")


if __name__ == "__main__":
    main()
