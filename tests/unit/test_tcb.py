"""What each enclave is made of is found by reading source, and a change of it is a line that a reviewer reads."""

import shutil

import grimp
import pytest

from strongroom.enclave.platform import measurement
from tools import tcb
from tools.closure import OWN, STANDARD, closure, code_lines, standard_library

ENTRIES = tcb.entries()


@pytest.fixture
def source(tmp_path):
    """Writes modules into a room of their own and says what `start` can import there."""

    def write(**modules):
        for name, code in modules.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        return sorted(closure(["start"], (tmp_path,)))

    return write


def test_an_import_inside_a_function_counts(source):
    assert source(start="def f():\n    try:\n        import lazy\n    finally:\n        pass", lazy="") == [
        "lazy",
        "start",
    ]


def test_an_import_for_type_checkers_does_not_count(source):
    code = "if TYPE_CHECKING:\n    import typed\nelse:\n    import real"
    assert source(start=code, typed="", real="") == ["real", "start"]


def test_a_package_is_run_before_what_is_in_it(source):
    found = source(start="import room.inner", room__in____init__="import around", room__in__inner="", around="")
    assert found == ["around", "room", "room.inner", "start"]


def test_a_module_named_as_an_attribute_or_by_dots_is_found(source):
    found = source(
        start="from room import one",
        room__in____init__="",
        room__in__one="from . import two\nfrom .three import *",
        room__in__two="",
        room__in__three="",
    )
    assert found == ["room", "room.one", "room.three", "room.two", "start"]


def test_words_change_no_lock_and_code_does(tmp_path):
    short, long, other = (tmp_path / name for name in ("short.py", "long.py", "other.py"))
    short.write_text("def f():\n    return 1\n")
    long.write_text('"""Why."""\n\n# how\ndef f():\n    """Words,\n\n    more words."""\n    return 1  # because\n')
    other.write_text("def f():\n    x = '''one\n    string'''\n    return x\n")
    assert code_lines(short) == code_lines(long) == 2
    assert code_lines(other) == 4


@pytest.mark.parametrize("name", ENTRIES)
def test_the_closure_is_the_one_that_the_import_linter_sees(name):
    graph = grimp.build_graph("strongroom", cache_dir=None, exclude_type_checking_imports=True)
    entry = ENTRIES[name]
    seen = {entry, *graph.find_upstream_modules(entry)}
    packages = {".".join(module.split(".")[:length]) for module in seen for length in range(1, module.count(".") + 1)}
    while more := {up for package in packages for up in graph.find_upstream_modules(package)} - seen:
        seen |= more  # importing a package runs its __init__, which grimp knows of no import
    assert set(tcb.tcb(entry).own) == seen | packages


def test_every_entry_is_locked():
    assert {path.stem for path in tcb.LOCKS.glob("*.lock")} == set(ENTRIES)
    for name, entry in ENTRIES.items():
        lock = tcb.read(name)
        assert lock.entry == entry
        assert tcb.parse(tcb.text(name, lock)) == lock


def test_only_the_software_platform_makes_its_own_quotes():
    for name in ENTRIES:
        synthetic = any("synthetic" in module or "insecure" in module for module in tcb.read(name).own)
        assert synthetic == name.startswith("insecure-software-"), name


def test_the_user_s_side_and_the_host_are_in_no_enclave():
    for name in ENTRIES:
        other = "authenticator" if name.endswith("vault") else "vault"
        for module in tcb.read(name).own:
            assert not module.startswith(("strongroom.cli", "strongroom.client", "strongroom.host")), (name, module)
            assert not module.startswith(f"strongroom.enclave.{other}"), (name, module)


@pytest.mark.parametrize("role", ["vault", "authenticator"])
def test_the_software_platform_measures_all_that_it_can_import(role):
    measured = set(measurement.measured_files(role))
    for module in tcb.read(f"insecure-software-{role}").own:
        stem = OWN.joinpath(*module.split("."))
        assert stem.with_suffix(".py") in measured or stem / "__init__.py" in measured, module
    assert measurement.CLOSURES[role] == tuple(tcb.read(f"insecure-software-{role}").distributions)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_locked_wheel_stands_in_uv_lock_and_runs_in_the_image(name):
    for distribution, (version, wheel, sha256) in tcb.read(name).distributions.items():
        package = tcb.locked(distribution)
        assert package["version"] == version
        assert {"path": wheel, "hash": f"sha256:{sha256}"}.items() <= next(
            w for w in package["wheels"] if w["path"] == wheel
        ).items()
        assert wheel.endswith(("x86_64.whl", "none-any.whl"))
        assert "musl" not in wheel


def test_a_module_that_comes_into_reach_is_a_line_of_the_difference(tmp_path, monkeypatch):
    name = "insecure-software-vault"
    locked = tcb.tcb(ENTRIES[name])
    shutil.copytree(tcb.LOCKS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(tcb, "LOCKS", tmp_path)
    was = locked._replace(
        own={m: n for m, n in locked.own.items() if m != "strongroom.protocol.codec"}
        | {"strongroom.gone": 3, "strongroom.protocol.link": 1},
        distributions={n: w for n, w in locked.distributions.items() if n != "msgspec"}
        | {"cffi": locked.distributions["cffi"]._replace(version="1.0")},
        standard_library=(*locked.standard_library, "xdrlib"),
    )
    (tmp_path / f"{name}.lock").write_text(tcb.text(name, was))
    (tmp_path / "sgx-nobody.lock").write_text("")
    lines = [line for line in tcb.drift() if line.startswith((f"{name}:", "sgx-nobody"))]
    codec, link = locked.own["strongroom.protocol.codec"], locked.own["strongroom.protocol.link"]
    cffi, msgspec = locked.distributions["cffi"], locked.distributions["msgspec"]
    assert lines == [
        f"{name}: - strongroom.gone (3 lines)",
        f"{name}: + strongroom.protocol.codec ({codec} lines)",
        f"{name}:   strongroom.protocol.link: 1 → {link} lines",
        f"{name}:   cffi: 1.0 → {cffi.version} ({cffi.wheel})",
        f"{name}: + msgspec {msgspec.version} from PyPI",
        f"{name}: - xdrlib of the standard library",
        "sgx-nobody: locked, but there is no such entry",
    ]


def test_a_change_in_every_enclave_is_one_line(tmp_path, monkeypatch):
    for name, entry in ENTRIES.items():
        was = tcb.tcb(entry)
        (tmp_path / f"{name}.lock").write_text(tcb.text(name, was._replace(own=was.own | {"strongroom.gone": 3})))
    monkeypatch.setattr(tcb, "LOCKS", tmp_path)
    assert next(iter(tcb.drift())) == "every enclave: - strongroom.gone (3 lines)"


def test_a_distribution_that_the_software_platform_forgot_is_noticed(tmp_path, monkeypatch):
    source = tmp_path / "measurement.py"
    source.write_text(tcb.MEASUREMENT.read_text().replace('        "msgspec",\n', ""))
    monkeypatch.setattr(tcb, "MEASUREMENT", source)
    monkeypatch.setattr(tcb, "ROOT", tmp_path)
    assert "measurement.py: CLOSURES is another one" in list(tcb.drift())


def test_the_interpreter_s_library_is_cut_to_what_is_imported():
    library = standard_library(["json", "ssl"])
    assert {"json.decoder", "_ssl", "encodings.utf_8", "runpy"} <= library.keys()
    assert not {"tkinter", "unittest", "pdb", "ctypes", "multiprocessing"} & library.keys()
    assert all(module.path is None or STANDARD in module.path.parents for module in library.values())
