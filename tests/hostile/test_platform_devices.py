"""Devices that lie, fail or are raced: what a host can do between an enclave and its processor."""

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from strongroom.enclave import entries
from strongroom.enclave.platform import pseudo_files
from strongroom.enclave.platform.gramine import Gramine
from strongroom.enclave.platform.snp import Snp
from strongroom.enclave.platform.snp_device import derived_key
from strongroom.enclave.platform.tdx import Tdx
from strongroom.protocol.errors import Number, Unavailable
from tests.support.fake_gramine import ROOT, FakeGramine
from tests.support.fake_sev_guest import FakeSevGuest
from tests.support.fake_tsm import FakeTsm, snp_report, tdx_quote

DATA = bytes(range(64))
ENTRIES = Path(entries.__file__).parent


@pytest.fixture
def sgx(monkeypatch):
    return FakeGramine().install(monkeypatch)


@pytest.fixture
def tdx(monkeypatch):
    return FakeTsm("tdx_guest", tdx_quote).install(monkeypatch)


@pytest.fixture
def snp(monkeypatch):
    return FakeTsm("sev_guest", snp_report).install(monkeypatch)


@pytest.fixture
def sev_guest(monkeypatch, tmp_path):
    return FakeSevGuest(tmp_path / "sev-guest").install(monkeypatch)


def refused(call, *fragments):
    with pytest.raises(Unavailable) as caught:
        call()
    assert caught.value.number is Number.QUOTE_UNAVAILABLE
    for fragment in fragments:
        assert fragment in caught.value.reason
    assert caught.value.reason.isprintable()


# --- SGX under Gramine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 432, 1000, 1011])
def test_a_short_quote_is_refused(sgx, length):
    platform = Gramine("vault")
    honest = sgx.quote
    sgx.files[ROOT / "quote"].made = lambda: honest()[:length]
    refused(lambda: platform.quote(DATA), f"{length} bytes is none")


def test_a_quote_without_end_is_refused(sgx):
    platform = Gramine("vault")
    sgx.files[ROOT / "quote"].made = lambda: bytes(40_000)
    refused(lambda: platform.quote(DATA), "more than 32768 bytes")


def test_a_quote_over_other_report_data_is_refused(sgx):
    platform = Gramine("vault")
    stale = platform.quote(bytes(64)).quote
    sgx.files[ROOT / "quote"].made = lambda: stale
    refused(lambda: platform.quote(DATA), "other report data")


def test_report_data_that_were_taken_in_part_are_refused(sgx):
    platform = Gramine("vault")
    file = sgx.files[ROOT / "user_report_data"]
    file.taken = lambda content: 32
    refused(lambda: platform.quote(DATA), "took 32 of 64")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EAGAIN])
def test_a_quoting_service_that_fails_is_said_so(sgx, number):
    platform = Gramine("vault")

    def fail():
        raise OSError(number, "it failed")

    sgx.files[ROOT / "quote"].made = fail
    refused(lambda: platform.quote(DATA), "it failed", "aesmd")


def test_two_threads_never_get_each_other_s_report_data(sgx):
    platform = Gramine("vault")
    honest = sgx.quote

    def slow():
        time.sleep(0.01)
        return honest()

    sgx.files[ROOT / "quote"].made = slow
    wrong = []

    def quote(data):
        for _ in range(5):
            try:
                platform.quote(data)
            except Unavailable as error:
                wrong.append(error)

    threads = [threading.Thread(target=quote, args=[bytes([n] * 64)]) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(16), bytes(range(17))])
def test_a_sealing_key_that_is_none_is_refused(sgx, key):
    platform = Gramine("vault")
    sgx.mrenclave_key = key
    refused(platform.sealing_key)


def test_the_signer_s_key_is_never_read(sgx):
    del sgx.files[ROOT / "keys" / "_sgx_mrsigner"]
    assert Gramine("vault").sealing_key().key
    del sgx.files[ROOT / "keys" / "_sgx_mrenclave"]
    refused(Gramine("vault").sealing_key, "no sealing key")


def test_a_report_that_is_none_labels_nothing(sgx):
    honest = sgx.report
    sgx.files[ROOT / "report"].made = lambda: honest()[:431]
    refused(Gramine("vault").sealing_key, "431 bytes is none")


# --- configfs-tsm -----------------------------------------------------------------------------------------------


def test_another_provider_is_refused(tdx, snp):
    refused(lambda: Tdx().quote(DATA), "'sev_guest', not by tdx_guest")
    assert snp.open_directories == set()


def test_a_provider_that_would_steer_the_terminal_is_quoted_harmlessly(tdx):
    tdx.provider = "\x1b[2J"
    refused(lambda: Tdx().quote(DATA), r"'\x1b[2J'")


@pytest.mark.parametrize("lost", [["inblob"], ["privlevel"], ["privlevel", "inblob"]])
def test_a_lost_write_is_asked_again(snp, lost):
    Snp().quote(bytes(64))
    snp.make = lambda data: snp_report(data.ljust(64, b"\0"))
    snp.drops = list(lost)
    if "inblob" in lost:  # the kernel has nothing to report on
        refused(lambda: Snp().quote(DATA), "Invalid argument")
    else:
        assert Snp().quote(DATA).quote == snp_report(DATA)
        assert len(snp.requests) == 3, "one lost, one repeated"
    assert snp.open_directories == set()


def test_somebody_who_writes_into_the_request_is_noticed(tdx):
    def intrude(request):
        request.inblob = bytes(64)
        request.generation += 1

    tdx.before_outblob = intrude
    refused(lambda: Tdx().quote(DATA), "somebody else wrote")
    assert 1 < len(tdx.requests) <= 5, "again, but not for ever"
    assert tdx.open_directories == set()


def test_somebody_who_intrudes_once_costs_one_attempt(tdx):
    def intrude(request):
        if len(tdx.requests) == 1:
            request.inblob = bytes(64)
            request.generation += 1

    tdx.before_outblob = intrude
    assert Tdx().quote(DATA).quote == tdx_quote(DATA)


def test_a_report_over_other_report_data_is_refused(snp):
    snp.make = lambda data: snp_report(bytes(64))
    refused(lambda: Snp().quote(DATA), "other report data")


def test_a_quote_of_a_td_over_other_report_data_is_refused(tdx):
    for version in (4, 5):
        tdx.make = lambda data, version=version: tdx_quote(bytes(64), version)
        refused(lambda: Tdx().quote(DATA), "other report data")


@pytest.mark.parametrize(
    "quote",
    [
        b"",
        b"\x04",
        tdx_quote(DATA)[:-1],
        tdx_quote(DATA)[:636],
        tdx_quote(DATA) + b"\x01",
        tdx_quote(DATA)[:632] + bytes(4),
        tdx_quote(DATA)[:632] + b"\xff" * 4 + bytes(100),
        tdx_quote(DATA, 5)[:50] + b"\xff" * 4 + bytes(1000),
        tdx_quote(DATA, 5)[:50] + bytes(1000),
        b"\x03" + tdx_quote(DATA)[1:],
        b"\xff" * 32768,
    ],
)
def test_what_is_no_td_quote_is_refused(tdx, quote):
    tdx.make = lambda data: quote
    refused(lambda: Tdx().quote(DATA))


@pytest.mark.parametrize("length", [0, 1183, 1185, 4000])
def test_an_snp_report_of_another_length_is_refused(snp, length):
    snp.make = lambda data: (snp_report(data) + bytes(4000))[:length]
    refused(lambda: Snp().quote(DATA), f"{length} bytes")


def test_a_report_without_end_is_refused(snp):
    snp.make = lambda data: bytes(40_000)
    refused(lambda: Snp().quote(DATA), "more than 32768 bytes")


@pytest.mark.parametrize(
    ("number", "attempts", "says"),
    [
        (errno.EBUSY, 4, "earlier request"),
        (errno.EINTR, 4, "it failed"),
        (errno.ENXIO, 1, "guest driver"),
        (errno.EFBIG, 1, "it failed"),
        (errno.ETIMEDOUT, 1, "it failed"),
        (errno.EIO, 1, "it failed"),
    ],
)
def test_a_busy_machine_is_asked_again_and_a_broken_one_is_not(tdx, number, attempts, says):
    def fail(data):
        raise OSError(number, "it failed")

    tdx.make = fail
    refused(lambda: Tdx().quote(DATA), says)
    assert len(tdx.requests) == attempts
    assert tdx.open_directories == set()
    assert tdx.os.opened == {}


def test_a_machine_that_was_busy_for_a_moment_answers(tdx):
    def once_busy(data):
        if len(tdx.requests) == 1:
            raise OSError(errno.EBUSY, "busy")
        return tdx_quote(data)

    tdx.make = once_busy
    assert Tdx().quote(DATA).quote == tdx_quote(DATA)
    assert tdx.pauses == [0.25]


def test_no_configfs_is_said_so(tdx, tmp_path):
    refused(lambda: Tdx(tmp_path / "absent").quote(DATA), "is configfs mounted")


def test_a_generation_that_is_no_number_is_refused(tdx, monkeypatch):
    honest = tdx.mkdir

    def mkdir(path, mode):
        honest(path, mode)
        tdx.os.files[path / "generation"].made = lambda: b"many\n"

    tdx.os.mkdir = mkdir
    refused(lambda: Tdx().quote(DATA), "generation is no number")


# --- the key of an SNP guest --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    {
        "status": b"\x16\0\0\0" + bytes(28) + bytes(range(32)),
        "only the status": b"\x27\0\0\0" + bytes(60),
        "nothing": bytes(64),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_derived_key_that_is_none_is_refused(sev_guest, answer):
    sev_guest.answer = answer[1]
    refused(lambda: derived_key(sev_guest.device, 0), "no sealing key")


def test_a_host_that_refuses_the_key_is_said_so(sev_guest):
    sev_guest.failure, sev_guest.error = errno.EIO, 2 << 32 | 0xFF
    refused(lambda: derived_key(sev_guest.device, 0), "it failed", "0x2000000ff")


def test_no_device_no_key(tmp_path):
    refused(lambda: derived_key(tmp_path / "absent", 0), "No such file")


# --- pseudo-files -----------------------------------------------------------------------------------------------


def test_a_write_that_is_cut_is_no_write(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(pseudo_files.os, "write", lambda descriptor, content: len(content) - 1)  # type: ignore[attr-defined]
    refused(lambda: pseudo_files.write_pseudo_file(path, DATA), "took 63 of 64")


def test_whoever_runs_the_machine_is_told_once_what_to_look_at(tdx, capsys):
    def busy(data):
        raise OSError(errno.EBUSY, "busy")

    tdx.make = busy
    refused(lambda: Tdx().quote(DATA))
    said = capsys.readouterr().err
    assert said == "strongroom: no quote or sealing key: the machine still answers an earlier request\n"


# --- entries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", sorted(ENTRIES.glob("*_*.py")), ids=lambda path: path.stem)
def test_no_argument_and_no_environment_reaches_a_measured_entry(entry):
    text = entry.read_text()
    if entry.stem.startswith("insecure_software_"):
        assert "INSECURE" in text.upper()
    else:
        assert "argv" not in text
        assert "environ" not in text
        assert "getenv" not in text
        assert "insecure" not in text.lower()


def test_an_entry_for_hardware_does_not_run_without_it():
    command = [sys.executable, "-m", "strongroom.enclave.entries.sgx_vault"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert "this is no SGX enclave" in ran.stderr
