import asyncio
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import strongroom
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.enclave.platform import measurement
from strongroom.enclave.platform.insecure_software import SIGNER, InsecureSoftware
from strongroom.enclave.platform.measurement import PRODUCT_IDS
from strongroom.enclave.platform.port import Platform
from strongroom.protocol.errors import Untrusted

measure = measurement.measure.__wrapped__
"""Each time from the disk."""

FILE = "insecure-machine-secret"


@pytest.fixture
def platform(tmp_path) -> InsecureSoftware:
    return InsecureSoftware("vault", tmp_path / "machine")


@pytest.mark.parametrize("role", ["vault", "authenticator"])
def test_a_quote_verifies_under_the_machines_own_root(tmp_path, role):
    platform = InsecureSoftware(role, tmp_path)
    quoted = platform.quote(bytes(range(64)))
    root = platform._pki.root_der
    assert quoted.collateral is not None
    report = verify_sgx_quote(quoted.quote, quoted.collateral, root, int(platform.now()))
    assert (report.measurement, report.signer, report.report_data) == (measure(role), SIGNER, bytes(range(64)))
    assert (report.product_id, report.svn, report.intel.tcb_status) == (PRODUCT_IDS[role], 1, "UpToDate")
    assert platform.roots == (report.root,)
    with pytest.raises(Untrusted):  # Intel did not make it
        verify_sgx_quote(quoted.quote, quoted.collateral, None, int(platform.now()))


def test_the_back_end_fits_the_port(platform):
    port: Platform = platform
    assert port.kind == "insecure-software"


def test_the_automatic_custodian_outlives_a_change_of_code_and_belongs_to_one_role(tmp_path, monkeypatch):
    before = InsecureSoftware("vault", tmp_path)
    monkeypatch.setattr("strongroom.enclave.platform.insecure_software.measure", lambda role: bytes(32))
    after = InsecureSoftware("vault", tmp_path)
    assert before.sealing_key() != after.sealing_key()
    assert before.development_custodian() == after.development_custodian()
    assert InsecureSoftware("authenticator", tmp_path).development_custodian() != after.development_custodian()


def test_every_certificate_says_that_it_is_not_intels(platform):
    for certificate in (platform._pki.root, platform._pki._pck, platform._pki._issuer, platform._pki._tcb_signing):
        assert "INSECURE DEVELOPMENT ROOT - NOT INTEL - NO HARDWARE" in certificate.subject.rfc4514_string()


def test_the_secret_is_readable_by_its_owner_only(tmp_path):
    state = tmp_path / "a" / "machine"
    InsecureSoftware("vault", state)
    assert [path.name for path in state.iterdir()] == [FILE]
    assert stat.S_IMODE((state / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_enclaves_of_one_machine_share_its_root_and_not_their_sealing_keys(tmp_path):
    vault, authenticator = InsecureSoftware("vault", tmp_path), InsecureSoftware("authenticator", tmp_path)
    assert vault.roots == authenticator.roots
    assert vault.sealing_key() != authenticator.sealing_key()
    assert vault.sealing_key() == InsecureSoftware("vault", tmp_path).sealing_key()
    elsewhere = InsecureSoftware("vault", tmp_path / "other")
    assert elsewhere.roots != vault.roots
    assert elsewhere.sealing_key() != vault.sealing_key()


def test_processes_that_start_at_once_become_one_machine(tmp_path):
    """Each waits for the same instant, then founds the machine."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from strongroom.enclave.platform.insecure_software import _machine\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(_machine(Path(sys.argv[1]))[0].hex())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "machine")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(Path(strongroom.__file__).parent.parent)},
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    secrets = {process.communicate()[0].strip() for process in processes}
    assert len(secrets) == 1
    assert len(secrets.pop()) == 64
    assert [path.name for path in (tmp_path / "machine").iterdir()] == [FILE]


def test_a_damaged_machine_file_is_an_error_and_never_a_new_machine(tmp_path):
    (tmp_path / FILE).write_bytes(b"short")
    with pytest.raises(Untrusted, match="wrong size"):
        InsecureSoftware("vault", tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"short"


def test_a_quote_is_over_exactly_64_bytes(platform):
    for size in (0, 32, 63, 65):
        with pytest.raises(ValueError, match="64 bytes"):
            platform.quote(bytes(size))


def test_a_quote_takes_less_than_ten_milliseconds(platform):
    platform.quote(bytes(64))
    times = []
    for _ in range(9):
        start = time.process_time()
        platform.quote(bytes(64))
        times.append(time.process_time() - start)
    assert min(times) < 0.01


def test_clock_and_randomness(platform):
    assert abs(platform.now() - time.time()) < 5
    assert len(platform.random(48)) == 48
    assert platform.random(32) != platform.random(32)


async def test_names_are_not_connected_to(platform):
    """What was checked must be what is called: a name may resolve to another address the second time."""
    with pytest.raises(ValueError, match="localhost"):
        await platform.connect("localhost", 1)


async def test_connect_and_resolve(platform, monkeypatch):
    async def open_connection(host: str, port: int):
        return host, port

    def getaddrinfo(host: str, port: int, *, type: int):
        addresses = [("192.0.2.1", port), ("192.0.2.1", port), ("::1", port, 0, 0)]
        return [(0, 0, 0, "", address) for address in addresses]

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    assert await platform.connect("127.0.0.1", 443) == ("127.0.0.1", 443)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert await platform.resolve("issuer.example", 443) == ["192.0.2.1", "::1"]


async def test_a_host_name_that_is_none_is_a_failed_resolution(platform):
    with pytest.raises(OSError, match="not a host name"):
        await platform.resolve("a" * 64 + ".example", 443)


# --- measurement ----------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """The package copied, so that a test may change it."""
    package = tmp_path / "strongroom"
    shutil.copytree(Path(strongroom.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(strongroom, "__file__", str(package / "__init__.py"))
    return package


def test_the_measurement_does_not_depend_on_where_the_files_lie(copy, monkeypatch):
    here = measure("vault")
    monkeypatch.undo()
    assert measure("vault") == here


@pytest.mark.parametrize(
    "changed",
    [
        "__init__.py",
        "protocol/primitives.py",
        "attestation/appraisal.py",
        "enclave/__init__.py",
        "enclave/platform/measurement.py",
        "enclave/runtime/__init__.py",
        "enclave/vault/__init__.py",
        "enclave/entries/__init__.py",
        "enclave/entries/insecure_software_vault.py",
        "enclave/vault/new.py",
    ],
)
def test_any_change_of_measured_code_changes_the_measurement(copy, changed):
    before = measure("vault")
    with (copy / changed).open("a") as file:
        file.write("# changed\n")
    assert measure("vault") != before


def test_a_renamed_file_changes_the_measurement(copy):
    (copy / "enclave" / "vault" / "a.py").write_text("")
    before = measure("vault")
    (copy / "enclave" / "vault" / "a.py").rename(copy / "enclave" / "vault" / "b.py")
    assert measure("vault") != before


@pytest.mark.parametrize(
    "changed",
    ["enclave/authenticator/__init__.py", "enclave/entries/insecure_software_authenticator.py", "host/__init__.py"],
)
def test_what_the_vault_does_not_run_does_not_change_its_measurement(copy, changed):
    before = measure("vault")
    with (copy / changed).open("a") as file:
        file.write("# changed\n")
    assert measure("vault") == before


def test_roles_differ():
    assert measure("vault") != measure("authenticator")
