"""What goes into an image is what is locked, twice the same, and enough to run; nothing of the host's reaches it."""

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tomllib
import zipfile
from hashlib import sha256
from types import SimpleNamespace

import jinja2
import pytest
from shamir_mnemonic.wordlist import WORDLIST

from strongroom.client.release import parse_release
from tools import image, measure, tcb
from tools.image import File

NAMES = [name for name in tcb.entries() if not name.startswith("insecure-software")]
OF_THE_IMAGES = f"{tcb.IMAGE_PYTHON[0]}.{tcb.IMAGE_PYTHON[1]}"
SGX = ["sgx-vault", "sgx-authenticator"]
KEYS = {  # of graminelibos/manifest_check.py, Gramine 1.9: those that a manifest of ours may use
    "fs": {"mounts", "root"},
    "libos": {"entrypoint"},
    "loader": {"argv", "entrypoint", "env", "log_level"},
    "sgx": {
        "allowed_files", "debug", "edmm_enable", "enclave_size", "file_check_policy", "isvprodid", "isvsvn",
        "max_threads", "remote_attestation", "trusted_files",
    },
    "sys": {
        "disallow_subprocesses", "enable_extra_runtime_domain_names_conf", "enable_sigterm_injection",
        "insecure__allow_eventfd", "stack",
    },
}  # fmt: skip


def python():
    """An interpreter of the version that images have."""
    found = [image.PYTHON, os.path.realpath(sys.executable)]
    for path in found:
        if os.path.exists(path) and path.endswith(OF_THE_IMAGES):
            return path
    pytest.skip(f"images: skipped because there is no Python {OF_THE_IMAGES} here")


BUILT = "sgx-authenticator"
"""The image that the tests assemble in full: it has the most in it."""


@pytest.fixture(scope="module")
def tree():
    return image.root_tree(BUILT, python())


def unpack(archive):
    """Nodes of a newc archive: path → (mode, data, time, owners, device)."""
    nodes: dict[str, tuple] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 109 + fields[11]].decode()
        begin = -(-(at + 110 + fields[11]) // 4) * 4
        if name == "TRAILER!!!":
            return nodes
        nodes[name] = (fields[1], archive[begin : begin + fields[6]], fields[5], fields[2:4], fields[9:11])
        at = -(-(begin + fields[6]) // 4) * 4


# --- the archive ---


SMALL = {"usr/b.py": File(b"b"), "init": File(b"i" * 5, executable=True), "usr/lib/a.py": File(b"")}


def test_the_same_files_give_the_same_bytes_in_any_order():
    assert image.cpio(SMALL) == image.cpio(dict(reversed(SMALL.items())))
    assert image.listing(SMALL) == image.listing(dict(reversed(SMALL.items())))


def test_an_archive_says_nothing_of_when_and_by_whom_it_was_made():
    nodes = unpack(image.cpio(SMALL))
    assert list(nodes) == sorted(nodes), "a folder comes before what is in it"
    for path, (mode, data, time, owners, _) in nodes.items():
        assert time == 0, path
        assert owners == [0, 0], path
        if path in SMALL:
            assert (mode, data) == (0o100755 if path == "init" else 0o100644, SMALL[path].data)
    folders = {path for path, node in nodes.items() if stat.S_ISDIR(node[0])}
    assert folders == {"dev", "proc", "sys", "tmp", "usr", "usr/lib"}
    assert nodes["dev/console"][0] == stat.S_IFCHR | 0o600
    assert nodes["dev/console"][4] == [5, 1]


def test_two_sources_of_one_file_are_refused():
    tree = {"a": File(b"1")}
    image.add(tree, "a", File(b"1"))
    with pytest.raises(SystemExit, match="two different files want to be a"):
        image.add(tree, "a", File(b"2"))


# --- wheels ---


def wheel(path, *files):
    with zipfile.ZipFile(path, "w") as archive:
        for name in files:
            archive.writestr(name, name)
    return path


def test_of_a_wheel_only_what_can_be_imported_goes_in(tmp_path):
    files = ["p/a.py", "p/b.so", "p/py.typed", "p/a.pyi", "p/tests/t.py", "p/x.c", "p-1.dist-info/RECORD"]
    path = wheel(tmp_path / "p.whl", *files, "p/data.pem", "p.libs/l.so", "p-1.dist-info/METADATA")
    assert [name for name, _ in image.wheel_files(path)] == [
        "p-1.dist-info/METADATA",
        "p.libs/l.so",
        "p/a.py",
        "p/b.so",
        "p/data.pem",
    ]


@pytest.mark.parametrize("name", ["evil.pth", "../evil.py", "/evil.py", "p/../../evil.py", "p-1.data/scripts/x"])
def test_a_wheel_that_runs_or_writes_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(SystemExit, match="which no image may"):
        list(image.wheel_files(wheel(tmp_path / "p.whl", "p/a.py", name)))


def test_another_file_under_a_locked_wheel_s_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "WHEELS", tmp_path)
    locked = tcb.read("sgx-vault").distributions["msgspec"]
    fetched = []

    def fetch(missing):
        fetched.extend(missing)
        wheel(tmp_path / locked.wheel, "msgspec/__init__.py")

    monkeypatch.setattr(image, "_fetch", fetch)
    wheel(tmp_path / locked.wheel, "left/by/somebody.py")
    with pytest.raises(SystemExit, match=r"is not the file that uv\.lock names"):
        image.wheels([locked])
    assert fetched == [locked]


# --- the tree ---


def test_a_lock_that_is_not_the_tree_s_builds_no_image(tmp_path, monkeypatch):
    name = "sgx-vault"
    lock = tcb.read(name)
    stale = lock._replace(own={module: count + 1 for module, count in lock.own.items()})
    (tmp_path / f"{name}.lock").write_text(tcb.text(name, stale))
    monkeypatch.setattr(tcb, "LOCKS", tmp_path)
    with pytest.raises(SystemExit, match=r"hint: make tcb"):
        image.root_tree(name, python())


def test_an_image_holds_what_is_locked_and_nothing_else_of_ours(tree):
    lock = tcb.read(BUILT)
    inside = {path.removeprefix(f"{image.LIBRARY}/") for path in tree}
    ours = {path for path in inside if path.startswith("strongroom/")}
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in ours}
    assert modules == set(lock.own)
    stated = {path.split("/")[0] for path in inside if path.endswith(".dist-info/METADATA")}
    assert stated == {f"{n.replace('-', '_')}-{w.version}.dist-info" for n, w in lock.distributions.items()}


def test_the_words_of_shares_are_in_the_image_and_so_measured(tree):
    """A module reads them when it is imported: from a file that nobody measures, a host would choose them."""
    words = tree[f"{image.LIBRARY}/shamir_mnemonic/wordlist.txt"].data.split()
    assert [word.decode() for word in words] == WORDLIST


def test_nothing_in_an_image_is_compiled_ahead_tested_or_run_by_itself(tree):
    for path in tree:
        assert not path.endswith((".pyc", ".pth", ".pyi", ".a", ".h")), path
        assert "__pycache__" not in path
        assert not {"test", "tests", "idlelib", "tkinter", "ensurepip", "unittest"} & {*path.split("/")}, path
        assert not path.endswith(("/site.py", "/sitecustomize.py", "/usercustomize.py")), path


def test_an_image_built_twice_is_the_same(tree):
    assert image.cpio(image.root_tree(BUILT, python())) == image.cpio(tree)


def chroot(folder, *command):
    found = shutil.which("chroot", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None
    return [found, str(folder), *command]


@pytest.mark.needs("root")
def test_an_image_has_all_that_its_entry_imports(tree, tmp_path):
    image.write(tree, tmp_path)
    imports = [*tcb.read(BUILT).own, "encodings.idna", "_strptime"]
    code = f"import importlib, sys\nfor name in {imports}: importlib.import_module(name)\nprint(sys.path)"
    command = chroot(tmp_path, "/usr/bin/python3", "-I", "-S", "-B", "-X", "utf8", "-c", code)
    done = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
    assert done.returncode == 0, done.stderr
    assert "site-packages" not in done.stdout


# --- process 1 of a guest ---


@pytest.mark.needs("cc")
@pytest.mark.parametrize("kind", ["tdx", "snp", "nitro"])
def test_process_1_is_small_static_and_twice_the_same(kind):
    entry = f"strongroom.enclave.entries.{kind}_vault"
    init = image.guest_init(kind, entry).data
    assert init == image.guest_init(kind, entry).data
    assert len(init) < 16_384
    assert b"/lib64/ld-linux" not in init
    assert entry.encode() in init
    assert (b"configfs" in init) == (kind != "nitro")


@pytest.mark.needs("cc", "root")
def test_process_1_ends_when_it_cannot_mount(tmp_path):
    init = tmp_path / "init"
    init.write_bytes(image.guest_init("tdx", "no.such.module").data)
    init.chmod(0o755)
    assert subprocess.run(chroot(tmp_path, "/init"), check=False).returncode == 1


# --- SGX: the manifest ---


def manifest(name, listing):
    gramine = SimpleNamespace(libos="/gramine/libsysdb.so", runtimedir=lambda: "/gramine/runtime")
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(measure.TEMPLATE.read_text())
    return tomllib.loads(template.render(gramine=gramine, **measure.manifest_variables(name, listing)))


LISTING = image.listing({"usr/bin/python3": File(b"p", executable=True), "etc/hosts": File(b"h")})


@pytest.fixture(params=SGX)
def rendered(request):
    return request.param, manifest(request.param, LISTING)


def test_the_manifest_trusts_exactly_the_files_of_the_image(tree):
    held = {path: file for path, file in tree.items() if path.rpartition("/")[2] not in image.GLIBC}
    trusted = manifest(BUILT, image.listing(held))["sgx"]["trusted_files"]
    ours = {file["uri"]: file["sha256"] for file in trusted if isinstance(file, dict)}
    assert ours == {f"file:root/{path}": sha256(file.data).hexdigest() for path, file in held.items()}
    others = [file for file in trusted if not isinstance(file, dict)]
    assert others == [f"file:/gramine/runtime/{name}" for name in sorted(image.GLIBC)]


def test_no_file_of_the_host_is_let_in_unmeasured(rendered):
    _, found = rendered
    assert found["sgx"]["allowed_files"] == []
    assert found["sgx"]["file_check_policy"] == "strict"
    assert found["fs"]["root"] == {"type": "tmpfs"}, "by default the host's directory would be the root"
    for file in found["sgx"]["trusted_files"]:
        assert not (file if isinstance(file, str) else file["uri"]).endswith("/"), "a whole folder"
    assert {mount["path"]: mount["uri"] for mount in found["fs"]["mounts"]} == {
        "/lib": "file:/gramine/runtime",
        "/usr": "file:root/usr",
        "/etc/hosts": "file:root/etc/hosts",
    }
    assert all(mount.get("type", "chroot") == "chroot" for mount in found["fs"]["mounts"])


def test_arguments_and_environment_are_not_the_host_s(rendered):
    name, found = rendered
    entry = f"strongroom.enclave.entries.{name.replace('-', '_')}"
    assert found["loader"]["argv"] == ["python3", "-I", "-S", "-B", "-X", "utf8", "-m", entry]
    assert found["loader"]["env"].keys() == {"LD_LIBRARY_PATH", "MALLOC_ARENA_MAX"}
    assert all(isinstance(value, str) for value in found["loader"]["env"].values()), "nothing passes through"


def test_the_enclave_is_a_production_enclave_of_its_role(rendered):
    name, found = rendered
    sgx = found["sgx"]
    assert sgx["debug"] is False
    assert sgx["remote_attestation"] == "dcap"
    assert (sgx["isvprodid"], sgx["isvsvn"]) == ({"vault": 1, "authenticator": 2}[name[4:]], measure.SVN)
    assert found["loader"]["log_level"] == "error", "other levels may print memory"
    assert found["sys"]["enable_extra_runtime_domain_names_conf"] is (name == "sgx-authenticator")


def test_the_manifest_asks_for_nothing_that_gramine_calls_insecure(rendered):
    _, found = rendered
    for section, fields in found.items():
        assert fields.keys() <= KEYS[section], section
        for key, value in fields.items():
            assert not key.startswith("insecure__") or value is False, key


# --- measuring ---


def sigstruct(*, flags=4, product=1, svn=1):
    data = bytearray(1808)
    data[:16] = bytes.fromhex("06000000e10000000000010000000000")
    data[24:40] = bytes.fromhex("01010000600000006000000001000000")
    data[128:512] = b"\x07" * 384
    struct.pack_into("<Q", data, 928, flags)
    data[960:992] = bytes(range(32))
    struct.pack_into("<HH", data, 1024, product, svn)
    return bytes(data)


def test_a_signature_of_sgx_is_read():
    found = measure.parse_sigstruct(sigstruct(product=2, svn=3))
    assert (found.mrenclave, found.product, found.svn, found.debug) == (bytes(range(32)), 2, 3, False)
    assert found.mrsigner.hex() == sha256(b"\x07" * 384).hexdigest()
    assert measure.parse_sigstruct(sigstruct(flags=6)).debug
    for other in (b"", sigstruct()[:-1], bytes(1808), sigstruct()[:24] + bytes(16) + sigstruct()[40:]):
        with pytest.raises(ValueError, match="not a SIGSTRUCT"):
            measure.parse_sigstruct(other)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Runs `tools.measure` on an image of two files, with only the tools on PATH that the test writes."""
    out, path = tmp_path / "out", tmp_path / "bin"
    out.mkdir()
    path.mkdir()
    (out / "root.list").write_text(LISTING)
    monkeypatch.setattr(measure, "build", lambda name, python: out)
    monkeypatch.setattr(measure, "_dirty", lambda: False)
    git = shutil.which("git")
    assert git is not None
    (path / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(path))

    def run(*arguments, **tools):
        for name, code in tools.items():
            tool = path / (name if name == "eif_build" else name.replace("_", "-"))
            tool.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
            tool.chmod(0o755)
        monkeypatch.setattr(sys, "argv", ["measure", *arguments])
        with pytest.raises(SystemExit) as ended:
            measure.main()
        releases = list(out.glob("*.toml"))
        return ended.value.code, capsys.readouterr().out, releases

    return run


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_measured_here_is_said_and_has_a_status_of_its_own(here, name):
    status, said, releases = here(name)
    assert status == 3
    assert said.count("not measured:") == 1
    assert releases == []


def test_an_sgx_enclave_is_rendered_signed_and_released(here, tmp_path):
    sign = f"open('strongroom.sig', 'wb').write({sigstruct()!r}); open('asked', 'w').write(' '.join(sys.argv))"
    render = "open(sys.argv[-1], 'w').write('\\n'.join(sys.argv[1:-2]))"
    status, said, releases = here("sgx-vault", "--key", "k.pem", gramine_manifest=render, gramine_sgx_sign=sign)
    assert status == 0
    assert f"MRENCLAVE    {bytes(range(32)).hex()}" in said
    assert "--key k.pem --manifest strongroom.manifest" in (tmp_path / "out" / "asked").read_text()
    assert "-Drole=vault" in (tmp_path / "out" / "strongroom.manifest").read_text().splitlines()
    (file,) = releases
    release = parse_release(file.read_text(), file.name)
    assert (release.kind, release.role, release.product, release.svn) == ("sgx", "vault", 1, 1)


def test_a_debug_enclave_is_not_released(here):
    sign = f"open('strongroom.sig', 'wb').write({sigstruct(flags=6)!r})"
    status, _, releases = here("sgx-vault", gramine_manifest="open(sys.argv[-1], 'w')", gramine_sgx_sign=sign)
    assert "debug enclave" in str(status)
    assert releases == []


def test_a_source_that_is_not_its_commit_is_not_released(here, monkeypatch):
    monkeypatch.setattr(measure, "_dirty", lambda: True)
    sign = f"open('strongroom.sig', 'wb').write({sigstruct()!r})"
    status, said, releases = here("sgx-vault", gramine_manifest="open(sys.argv[-1], 'w')", gramine_sgx_sign=sign)
    assert status == 0
    assert "no release file: the source differs from its commit" in said
    assert releases == []


def test_a_guest_is_measured_with_the_operator_s_kernel(here):
    status, _, releases = here("snp-vault", "--kernel", "/k", "--ovmf", "/o", sev_snp_measure=f"print({'ab' * 48!r})")
    assert status == 0
    assert [file.name for file in releases] == [f"{'ab' * 48}.toml"]


def test_a_nitro_image_is_measured_by_what_builds_it(here):
    pcrs = json.dumps({"HashAlgorithm": "Sha384 { ... }", "PCR0": "aa" * 48, "PCR1": "bb" * 48, "PCR2": "cc" * 48})
    status, said, releases = here("nitro-vault", "--kernel", "/k", eif_build=f"print('Output file: x');print({pcrs!r})")
    assert status == 0
    assert f"PCR2         {'cc' * 48}" in said
    assert len(releases) == 1
