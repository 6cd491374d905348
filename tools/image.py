"""Assembles what an enclave's image holds: `python -m tools.image KIND ROLE`, into dist/images/KIND-ROLE.

Exactly what images/tcb locks: our modules, the wheels whose hashes stand there, the part of the interpreter's library
that these import, and the shared libraries of all that. The same inputs give the same bytes: everything is sorted,
every time is 0, every owner is root, and nothing is compiled ahead (a .pyc is trusted by its time stamp).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from tools import tcb
from tools.closure import OWN, ROOT, Module, find

OUT: Final = ROOT / "dist" / "images"
WHEELS: Final = ROOT / ".image_cache"
GUEST: Final = ROOT / "images" / "guest"
PYTHON: Final = f"/usr/bin/python{tcb.IMAGE_PYTHON[0]}.{tcb.IMAGE_PYTHON[1]}"

LIBRARY: Final = f"usr/lib/python{tcb.IMAGE_PYTHON[0]}.{tcb.IMAGE_PYTHON[1]}"
"""Where the interpreter looks for its library. Ours and the wheels lie there too: then `site`, which runs what it finds
in .pth files, is not needed at all (`python -S`)."""
LOADER: Final = "ld-linux-x86-64.so.2"
GLIBC: Final = frozenset(
    [LOADER, *(f"lib{name}" for name in (
        "c.so.6", "dl.so.2", "m.so.6", "pthread.so.0", "resolv.so.2", "rt.so.1", "util.so.1",
    ))]
)  # fmt: skip
"""On SGX they come from Gramine instead, which brings a C library of its own."""

_NEVER: Final = re.compile(r"(^|/)(tests?|docs?|examples?|include)/|\.(pyi|pyx|pxd|c|h|md|rst|typed)$")
_CONSOLE: Final = (0o020600, 5, 1)


class File(NamedTuple):
    """One regular file."""

    data: bytes
    executable: bool = False


Tree = dict[str, File]
"""Path without leading slash → file. Directories are what the paths need."""


def root_tree(name: str, python: str = PYTHON) -> Tree:
    """Everything in the image KIND-ROLE but the kernel's side. Raises SystemExit with what is missing here."""
    lock = tcb.read(name)
    if tcb.tcb(lock.entry) != lock:
        raise SystemExit(f"error: images/tcb/{name}.lock is not what the tree holds\nhint: make tcb")
    tree = Tree()
    for module in lock.own:
        add(tree, *_own_module(module))
    for wheel in wheels(lock.distributions.values()):
        for path, file in wheel_files(wheel):
            add(tree, f"{LIBRARY}/{path}", file)
    for path, file in interpreter(lock.standard_library, python):
        add(tree, path, file)
    for path, file in list(shared_libraries(tree, python)):
        add(tree, path, file)
    add(tree, "etc/hosts", File(b"127.0.0.1 localhost\n"))
    return dict(sorted(tree.items()))


def add(tree: Tree, path: str, file: File) -> None:
    """Two sources of one path would make the image depend on their order."""
    if path in tree and tree[path] != file:
        raise SystemExit(f"error: two different files want to be {path} in the image")
    tree[path] = file


def wheels(wanted: Iterable[tcb.Wheel]) -> list[Path]:
    """These wheels on disk, each with exactly the hash of the lock; fetched once, by pip, from the usual registry."""
    wanted = list(wanted)
    WHEELS.mkdir(exist_ok=True)
    missing = [one for one in wanted if not _is(WHEELS / one.wheel, one.sha256)]
    if missing:
        _fetch(missing)
    for one in wanted:
        if not _is(WHEELS / one.wheel, one.sha256):
            raise SystemExit(f"error: {one.wheel} is not the file that uv.lock names\nhint: make lock, make tcb")
    return [WHEELS / one.wheel for one in wanted]


def wheel_files(wheel: Path) -> Iterator[tuple[str, File]]:
    """What a wheel installs that can be imported. Of its metadata only METADATA, which states name and version."""
    with zipfile.ZipFile(wheel) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            path = PurePosixPath(info.filename)
            top = path.parts[0]
            if path.is_absolute() or ".." in path.parts or path.suffix == ".pth" or top.endswith(".data"):
                raise SystemExit(f"error: {wheel.name} holds {info.filename}, which no image may")
            metadata = top.endswith(".dist-info") and path.name != "METADATA"
            if not info.is_dir() and not metadata and not _NEVER.search(info.filename):
                yield info.filename, File(archive.read(info))


def interpreter(names: Iterable[str], python: str) -> Iterator[tuple[str, File]]:
    """An interpreter and the part of its library that these names need, as that interpreter itself finds it."""
    if not Path(python).exists():
        raise SystemExit(f"error: there is no {python}\nhint: Debian 12 has it, or name another one with --python")
    command = [python, "-I", "-S", str(ROOT / "tools" / "closure.py"), *names]
    about = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    yield "usr/bin/python3", File(Path(about["executable"]).read_bytes(), executable=True)
    standard = Path(about["standard"])
    for path in filter(None, about["modules"].values()):
        yield f"{LIBRARY}/{Path(path).relative_to(standard).as_posix()}", File(Path(path).read_bytes())


def shared_libraries(tree: Tree, python: str) -> Iterator[tuple[str, File]]:
    """What the loader of this machine finds for the interpreter and every compiled module."""
    with tempfile.TemporaryDirectory() as folder:
        write(tree, Path(folder))
        compiled = [str(Path(folder, path)) for path, file in tree.items() if file.data.startswith(b"\x7fELF")]
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        said = subprocess.run(["ldd", *compiled], env=environment, check=False, capture_output=True, text=True).stdout
        for line in sorted(set(said.splitlines())):
            words = line.split()
            if "not found" in line:
                raise SystemExit(f"error: the loader of this machine does not find {words[0]} for {python}")
            path = next((Path(word) for word in words if word.startswith("/") and not word.endswith(":")), None)
            if path is not None and Path(folder) not in path.parents:
                library = Path(words[0]).name
                # The kernel itself starts the loader, so that one must be executable.
                yield f"{_place(library)}/{library}", File(path.resolve().read_bytes(), library == LOADER)


def guest_init(kind: str, entry: str) -> File:
    """Process 1 of a guest. Raises SystemExit where there is no C compiler."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "init"
        options = ["-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"]
        options += [
            "-fcf-protection=none",
            "-fno-asynchronous-unwind-tables",
            "-Wl,--build-id=none,-z,noexecstack",
            "-s",
        ]
        options += ["-Wall", "-Wextra", "-Werror", f'-DENTRY="{entry}"', *(["-DNITRO"] if kind == "nitro" else [])]
        try:
            subprocess.run(["cc", *options, "-o", str(out), "init.c"], cwd=GUEST, check=True)
        except FileNotFoundError:
            raise SystemExit("error: there is no C compiler for images/guest/init.c\nhint: install gcc") from None
        return File(out.read_bytes(), executable=True)


def cpio(tree: Tree) -> bytes:
    """The tree as the kernel unpacks it: `newc`, see Documentation/driver-api/early-userspace/buffer-format.rst."""
    out = io.BytesIO()
    folders = {str(parent) for path in tree for parent in PurePosixPath(path).parents} - {"."}
    nodes: list[tuple[str, int, bytes, int, int]] = [(folder, 0o040755, b"", 0, 0) for folder in folders]
    if "init" in tree:
        nodes += [(folder, 0o040755, b"", 0, 0) for folder in {"dev", "proc", "sys", "tmp"} - folders]
        nodes.append(("dev/console", _CONSOLE[0], b"", *_CONSOLE[1:]))
    nodes += [(path, 0o100755 if file.executable else 0o100644, file.data, 0, 0) for path, file in tree.items()]
    for number, (path, mode, data, major, minor) in enumerate(sorted(nodes), 1):
        _write_node(out, path, data, number, mode, major, minor)
    _write_node(out, "TRAILER!!!", b"", 0, 0, 0, 0)
    out.write(bytes(-out.tell() % 512))
    return out.getvalue()


def listing(tree: Tree) -> str:
    """`SHA256  MODE  PATH` a line: what two people compare when their measurements differ."""
    rows = (
        f"{hashlib.sha256(file.data).hexdigest()}  {'755' if file.executable else '644'}  {path}\n"
        for path, file in sorted(tree.items())
    )
    return "".join(rows)


def write(tree: Tree, folder: Path) -> None:
    """The tree as files."""
    for path, file in tree.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(0o755 if file.executable else 0o644)


def build(name: str, python: str = PYTHON) -> Path:
    """Assemble the image KIND-ROLE. Its folder holds `root/` for SGX, two ramdisks for Nitro, else `initramfs.cpio`."""
    kind = name.rpartition("-")[0]
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    tree = root_tree(name, python)
    if kind == "sgx":
        tree = {path: file for path, file in tree.items() if PurePosixPath(path).name not in GLIBC}
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            write(tree, Path(fresh) / "root")
            _replace(Path(fresh) / "root", folder / "root")
    else:
        boot = {"init": guest_init(kind, tcb.read(name).entry)}
        if kind == "nitro":  # PCR1 measures kernel and first ramdisk, PCR2 the others
            (folder / "boot.cpio").write_bytes(cpio(boot))
            (folder / "program.cpio").write_bytes(cpio(tree))
        else:
            (folder / "initramfs.cpio").write_bytes(cpio(boot | tree))
        tree = boot | tree
    (folder / "root.list").write_text(listing(tree))
    return folder


def _own_module(name: str) -> tuple[str, File]:
    module = find(name, (OWN,)) or Module(name, None)
    if module.path is None:
        raise SystemExit(f"error: {name} is locked, but not there\nhint: make tcb")
    return f"{LIBRARY}/{module.path.relative_to(OWN).as_posix()}", File(module.path.read_bytes())


def _is(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _fetch(missing: Iterable[tcb.Wheel]) -> None:
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", "--dest", str(WHEELS)]
    command += [f"--python-version={tcb.IMAGE_PYTHON[0]}.{tcb.IMAGE_PYTHON[1]}"]
    command += [f"--abi={abi}" for abi in (f"cp{tcb.IMAGE_PYTHON[0]}{tcb.IMAGE_PYTHON[1]}", "abi3", "none")]
    command += [f"--platform={platform}" for platform in (*tcb.PLATFORMS, "any")]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        for one in missing:
            name = one.wheel.partition("-")[0]
            print(f"{name}=={one.version} --hash=sha256:{one.sha256}", file=pins)
        pins.flush()
        if subprocess.run([*command, "-r", pins.name], check=False).returncode:
            raise SystemExit("error: the locked wheels can't be fetched\nhint: see the lines above")


def _place(library: str) -> str:
    if library == LOADER:
        return "lib64"
    return "lib/x86_64-linux-gnu" if library in GLIBC else "usr/lib/x86_64-linux-gnu"


def _write_node(out: io.BytesIO, path: str, data: bytes, number: int, mode: int, major: int, minor: int) -> None:
    name = path.encode() + b"\0"
    links, owner, time, device, checksum = 1, 0, 0, 0, 0
    fields = (number, mode, owner, owner, links, time, len(data), device, device, major, minor, len(name), checksum)
    out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
    out.write(bytes(-out.tell() % 4))
    out.write(data + bytes(-len(data) % 4))


def _replace(fresh: Path, old: Path) -> None:
    """A folder by another: a file that is no longer in the image must not stay behind."""
    if old.exists():
        old.rename(fresh.parent / "old")
    fresh.rename(old)


def main() -> None:
    names = [name for name in tcb.entries() if not name.startswith("insecure")]
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=names, metavar="KIND-ROLE", help=", ".join(names))
    parser.add_argument("--python", default=PYTHON, help="interpreter of the image [%(default)s]")
    arguments = parser.parse_args()
    print(build(arguments.name, arguments.python))


if __name__ == "__main__":
    main()
