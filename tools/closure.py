"""What a Python module can import, found by reading source and never by running it.

Imports inside functions count, since they run one day; imports under `TYPE_CHECKING` don't, since they never do. What
compiled modules import can't be read: `HIDDEN` names it, and a test compares what a running enclave has really loaded.
"""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import sysconfig
import tokenize
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
OWN: Final = ROOT / "src"
SITE: Final = Path(sysconfig.get_path("purelib"))
STANDARD: Final = Path(sysconfig.get_path("stdlib"))

HIDDEN: Final[dict[str, tuple[str, ...]]] = {
    "_cbor2": ("datetime", "decimal", "email.message", "fractions", "ipaddress", "re", "uuid"),
    "cryptography.hazmat.bindings._rust": ("_cffi_backend", "datetime", "ipaddress", "os", "warnings"),
    "dcap_qvl._dcap_qvl": ("json",),
    "msgspec._core": (
        "abc", "base64", "collections", "dataclasses", "datetime", "decimal", "enum", "msgspec._utils", "re", "types",
        "typing", "uuid",
    ),
    # The codecs that text and host names ask for by name.
    "codecs": (
        "encodings", "encodings.aliases", "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8",
    ),
    "datetime": ("_strptime",),
    "sysconfig": tuple(path.stem for path in sorted(STANDARD.glob("_sysconfigdata_*.py"))),
    "time": ("_strptime",),
}  # fmt: skip
"""What modules import that no source shows."""


class Module(NamedTuple):
    """One module that can be imported: its file, or None where it is built into the interpreter."""

    name: str
    path: Path | None


def closure(
    start: Iterable[str], rooms: tuple[Path, ...], *, leave_out: Callable[[str], bool] = lambda _: False
) -> dict[str, Module]:
    """Every module that the modules `start` may import, directly or not, with every package around them.

    Modules are looked for in `rooms`, in that order, then among those built into the interpreter; what is found
    nowhere (another operating system's module, an optional dependency) is left out, as is what `leave_out` names.
    """
    found: dict[str, Module] = {}
    waiting = [name for module in start for name in _with_packages(module)]
    while waiting:
        name = waiting.pop()
        if name in found or leave_out(name) or (module := find(name, rooms)) is None:
            continue
        found[name] = module
        waiting += [around for wanted in named_by(module) for around in _with_packages(wanted)]
    return found


def named_by(module: Module) -> Collection[str]:
    """Every name that a module may import, found or not, its hidden ones included."""
    hidden = HIDDEN.get(module.name, ())
    if module.path is None or module.path.suffix != ".py":
        return hidden
    return {*hidden, *imports(*module)}


@cache
def find(name: str, rooms: tuple[Path, ...]) -> Module | None:
    """The module of this dotted name."""
    inner = Path(*name.split("."))
    for room in rooms:
        for folder in (room, room / "lib-dynload") if room == STANDARD else (room,):
            for file in (inner / "__init__.py", inner.with_name(f"{inner.name}.py"), *_extensions(inner)):
                if (folder / file).is_file():
                    return Module(name, folder / file)
    return Module(name, None) if name in sys.builtin_module_names else None


@cache
def imports(name: str, path: Path) -> Collection[str]:
    """Names that a module's source imports; `from a import b` is both a and a.b, whichever b turns out to be."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    names: set[str] = set()
    for node in _run_by(tree(path).body, own=OWN in path.parents):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
            continue
        around = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*around, *([node.module] if node.module else [])])
        names.update((base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")))
    return names


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def code_lines(path: Path) -> int:
    """Lines that hold code: no blank ones, no comments, no docstrings, so that words alone change no lock."""
    words = {
        line
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - words)


def standard_library(names: Iterable[str]) -> dict[str, Module]:
    """What this interpreter loads for itself and for these names of its library."""
    return closure((*AT_START, *names), (STANDARD,), leave_out=lambda name: name.partition(".")[0] in SHUNNED)


def is_standard(name: str) -> bool:
    """Whether a name belongs to the standard library, of whichever operating system."""
    return name.partition(".")[0] in sys.stdlib_module_names


AT_START: Final = ("codecs", "encodings", "io", "os", "runpy", "sys", "warnings", "zipimport")
"""What an interpreter that is called with `-S -m` loads before it comes to the module."""
SHUNNED: Final = (
    "_aix_support", "_osx_support", "ctypes", "distutils", "doctest", "ensurepip", "lib2to3", "multiprocessing", "pdb",
    "plistlib", "pydoc", "readline", "rlcompleter", "site", "sitecustomize", "test", "tkinter", "turtle", "unittest",
    "usercustomize", "webbrowser", "xmlrpc",
)  # fmt: skip
"""What the library itself turns to only for a person who debugs, for another process or on another system: in no image.
`site` is among them: it runs what it finds beside the modules."""


def _extensions(inner: Path) -> Iterator[Path]:
    yield from (inner.with_name(f"{inner.name}{suffix}") for suffix in EXTENSION_SUFFIXES)


def _with_packages(name: str) -> Iterator[str]:
    """a.b.c imports a and a.b first."""
    parts = name.split(".")
    yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


def _run_by(statements: Iterable[ast.AST], *, own: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that may run: not for type checkers, nor of libraries on Windows or called as programs."""
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and _never(statement.test, own=own):
            yield from _run_by(statement.orelse, own=own)
        else:
            for block in ("body", "orelse", "handlers", "finalbody", "cases"):
                yield from _run_by(getattr(statement, block, ()), own=own)


def _never(test: ast.expr, *, own: bool) -> bool:
    if not isinstance(test, ast.Name | ast.Attribute | ast.Compare):
        return False
    text = ast.unparse(test)
    if text in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        return True
    return not own and text in ("__name__ == '__main__'", "sys.platform == 'win32'")


if __name__ == "__main__":
    # `PYTHON -I -S tools/closure.py NAME…`, as tools/image.py calls the interpreter of an image, which may be another.
    found = {name: str(path) if path else None for name, path in sorted(standard_library(sys.argv[1:]).values())}
    about = {"version": sys.version, "executable": os.path.realpath(sys.executable), "standard": str(STANDARD)}
    json.dump({**about, "modules": found}, sys.stdout)
