"""Locks what each enclave is made of: `python -m tools.tcb` writes images/tcb, with `--check` it only compares.

Every measured entry has a lock, so that code which comes into reach of stored secrets is a line in a reviewed diff.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any, Final, NamedTuple

from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from tools.closure import OWN, ROOT, SITE, STANDARD, closure, code_lines, find, is_standard, named_by, tree

LOCKS: Final = ROOT / "images" / "tcb"
ENTRIES: Final = OWN / "strongroom" / "enclave" / "entries"
MEASUREMENT: Final = OWN / "strongroom" / "enclave" / "platform" / "measurement.py"

IMAGE_PYTHON: Final = (3, 11)
"""Of every image: Debian 12's, which its security team looks after and snapshot.debian.org keeps."""
IMAGE_GLIBC: Final = 36
"""Minor version of Debian 12's; wheels for newer ones don't run there."""
PLATFORMS: Final = [f"manylinux_2_{minor}_x86_64" for minor in range(IMAGE_GLIBC, 4, -1)]
_ENVIRONMENT: Final = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{IMAGE_PYTHON[0]}.{IMAGE_PYTHON[1]}.0",
    "python_version": f"{IMAGE_PYTHON[0]}.{IMAGE_PYTHON[1]}",
    "sys_platform": "linux",
    "extra": "",
}

HEAD: Final = """\
# What the {role} on {kind} is made of. `make tcb` writes it, `make lint` compares it; see docs/howto/measure.md.
# A line that a change adds here is code that comes into reach of what people store.
"""


class Wheel(NamedTuple):
    """One third-party distribution, as the images install it."""

    version: str
    wheel: str
    sha256: str


class Tcb(NamedTuple):
    """Trusted computing base of one enclave, the interpreter and what is below it apart."""

    entry: str
    own: dict[str, int]
    """Module of ours → code lines."""
    distributions: dict[str, Wheel]
    standard_library: tuple[str, ...]
    """Names that the modules of ours and of the distributions import; what these import is the interpreter's own."""


def entries() -> dict[str, str]:
    """Name of the lock, KIND-ROLE → entry module."""
    found = {}
    for path in sorted(ENTRIES.glob("*_*.py")):
        if path.name != "__init__.py":
            kind, _, role = path.stem.rpartition("_")
            found[f"{kind.replace('_', '-')}-{role}"] = f"strongroom.enclave.entries.{path.stem}"
    return found


@cache
def tcb(entry: str) -> Tcb:
    """What `entry` is made of, as the tree and uv.lock stand. Raises SystemExit for a module that nothing provides."""
    own = closure([entry], (OWN,), leave_out=lambda name: not name.startswith("strongroom"))
    outside = {name for module in own.values() for name in named_by(module) if not name.startswith("strongroom")}
    direct = {distribution(name) for name in outside if not is_standard(name)}
    distributions = with_dependencies(direct)
    everything = closure(
        [entry], (OWN, SITE), leave_out=lambda name: is_standard(name) or not _belongs(name, distributions)
    )
    named = {name for module in everything.values() for name in named_by(module)}
    return Tcb(
        entry,
        {name: code_lines(module.path) for name, module in sorted(own.items()) if module.path},
        {name: wheel(name) for name in sorted(distributions)},
        tuple(sorted(name for name in named if is_standard(name) and find(name, (STANDARD,)))),
    )


def distribution(module: str) -> str:
    """The installed distribution that brings a module."""
    top = module.partition(".")[0]
    if not (found := _brought_by().get(top)):
        raise SystemExit(f"error: no locked distribution brings the module {top}\nhint: does pyproject.toml name it?")
    return canonicalize_name(found[0])


def with_dependencies(names: set[str]) -> set[str]:
    """These distributions and everything that they require in an image, by uv.lock."""
    waiting, found = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            for needed in locked(name).get("dependencies", ()):
                if "marker" not in needed or Marker(needed["marker"]).evaluate(dict(_ENVIRONMENT)):
                    waiting.append(needed["name"])
    return found


def wheel(name: str) -> Wheel:
    """The wheel that the images install: of those in uv.lock the one that an installer would take there."""
    package = locked(name)
    cpython = f"cp{IMAGE_PYTHON[0]}{IMAGE_PYTHON[1]}"
    order = [*cpython_tags(IMAGE_PYTHON, platforms=PLATFORMS), *compatible_tags(IMAGE_PYTHON, cpython, PLATFORMS)]
    rank = {tag: place for place, tag in enumerate(order)}
    fitting = []
    for file in package.get("wheels", ()):
        tags = parse_wheel_filename(file["path"])[3]
        if places := [rank[tag] for tag in tags if tag in rank]:
            fitting.append((min(places), file["path"], file["hash"].removeprefix("sha256:")))
    if not fitting:
        raise SystemExit(
            f"error: uv.lock has no wheel of {name} for the images\nhint: see IMAGE_PYTHON in tools/tcb.py"
        )
    return Wheel(package["version"], *min(fitting)[1:])


def text(name: str, base: Tcb) -> str:
    """The lock, byte for byte."""
    kind, _, role = name.rpartition("-")
    lines = [HEAD.format(role=role, kind=kind)]
    lines += [f'entry = "{base.entry}"', f"code_lines = {sum(base.own.values())}", ""]
    lines += ["[own] # code lines, without blank ones, comments and docstrings"]
    lines += [f'"{module}" = {count}' for module, count in base.own.items()]
    for title, one in base.distributions.items():
        lines += ["", f"[distributions.{title}]", *(f'{key} = "{value}"' for key, value in one._asdict().items())]
    lines += ["", "[standard_library]", "modules = ["]
    lines += [f'    "{module}",' for module in base.standard_library]
    return "\n".join([*lines, "]", ""])


def parse(lock: str) -> Tcb:
    """A lock as `text` wrote it."""
    data = tomllib.loads(lock)
    wheels = {name: Wheel(**fields) for name, fields in data.get("distributions", {}).items()}
    return Tcb(data["entry"], data["own"], wheels, tuple(data["standard_library"]["modules"]))


def read(name: str) -> Tcb:
    """The committed lock KIND-ROLE. Raises OSError."""
    return parse((LOCKS / f"{name}.lock").read_text())


def difference(was: Tcb, now: Tcb) -> Iterator[str]:
    """What changed, a line each, for a reviewer."""
    for module in sorted(was.own.keys() | now.own.keys()):
        before, after = was.own.get(module), now.own.get(module)
        if before is None:
            yield f"+ {module} ({after} lines)"
        elif after is None:
            yield f"- {module} ({before} lines)"
        elif before != after:
            yield f"  {module}: {before} → {after} lines"
    for name in sorted(was.distributions.keys() | now.distributions.keys()):
        old, new = was.distributions.get(name), now.distributions.get(name)
        if old is None and new is not None:
            yield f"+ {name} {new.version} from PyPI"
        elif new is None and old is not None:
            yield f"- {name} {old.version} from PyPI"
        elif old != new and old is not None and new is not None:
            yield f"  {name}: {old.version} → {new.version} ({new.wheel})"
    for module in sorted({*was.standard_library} ^ {*now.standard_library}):
        yield f"{'+' if module in now.standard_library else '-'} {module} of the standard library"


def drift() -> Iterator[str]:
    """How the committed locks differ from the tree: a line for each difference, with the enclaves that it is in."""
    wanted = entries()
    places: dict[str, list[str]] = {}
    for name in sorted({path.stem for path in LOCKS.glob("*.lock")} | wanted.keys()):
        for line in _drift_of(name, wanted.get(name)):
            places.setdefault(line, []).append(name)
    for line, names in places.items():
        yield f"{'every enclave' if len(names) == len(wanted) > 1 else ', '.join(names)}: {line}"
    if MEASUREMENT.read_text() != with_closures():
        yield f"{MEASUREMENT.relative_to(ROOT)}: CLOSURES is another one"


def _drift_of(name: str, entry: str | None) -> Iterator[str]:
    path = LOCKS / f"{name}.lock"
    if entry is None:
        yield "locked, but there is no such entry"
        return
    now = tcb(entry)
    if not path.exists():
        yield f"not locked yet, {sum(now.own.values())} lines of ours"
    elif (written := path.read_text()) != text(name, now):
        yield from list(difference(parse(written), now)) or ["other words"]


def with_closures() -> str:
    """The source of the software platform's measurement with the distributions of its two enclaves.

    An enclave must not read the locks, which nothing measures; so it has a copy, written here.
    """
    source = MEASUREMENT.read_text()
    node = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CLOSURES"
    )
    lines = [f"CLOSURES: {ast.unparse(node.annotation)} = {{"]
    for role in ("authenticator", "vault"):
        names = tcb(entries()[f"insecure-software-{role}"]).distributions
        lines += [f'    "{role}": (', *(f'        "{name}",' for name in names), "    ),"]
    before, after = source.splitlines()[: node.lineno - 1], source.splitlines()[node.end_lineno :]
    return "\n".join([*before, *lines, "}", *after, ""])


def _belongs(name: str, distributions: set[str]) -> bool:
    top = name.partition(".")[0]
    return top == "strongroom" or any(canonicalize_name(one) in distributions for one in _brought_by().get(top, ()))


@cache
def _brought_by() -> dict[str, list[str]]:
    return {top: sorted({*found}) for top, found in packages_distributions().items()}


@cache
def _lock() -> dict[str, dict[str, Any]]:
    return {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}


def locked(name: str) -> dict[str, Any]:
    """One package of uv.lock."""
    try:
        return _lock()[name]
    except KeyError:
        raise SystemExit(f"error: {name} does not stand in uv.lock\nhint: make lock") from None


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        if lines := list(drift()):
            print(*lines, sep="\n", file=sys.stderr)
            raise SystemExit("error: images/tcb differs from the tree\nhint: `make tcb`, and look at the difference")
        return
    LOCKS.mkdir(parents=True, exist_ok=True)
    wanted = entries()
    for path in LOCKS.glob("*.lock"):
        if path.stem not in wanted:
            path.unlink()
    MEASUREMENT.write_text(with_closures())
    for remembered in (tcb, code_lines, tree):
        remembered.cache_clear()  # what was just written is measured itself
    for name, entry in wanted.items():
        base = tcb(entry)
        (LOCKS / f"{name}.lock").write_text(text(name, base))
        print(f"{name}: {sum(base.own.values())} lines of ours in {len(base.own)} modules, "
              f"{len(base.distributions)} distributions")  # fmt: skip


if __name__ == "__main__":
    main()
