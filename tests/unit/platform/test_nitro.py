"""The Nitro back end: what it asks of the security module, and that it believes no answer that is none."""

import ctypes
import errno
import fcntl
import runpy
import struct
import sys
import time
from typing import Any

import cbor2
import pytest

from strongroom.attestation.nitro import verify_nitro_document
from strongroom.enclave.platform import nitro, process, vsock
from strongroom.enclave.platform.nitro import Nitro, NsmDevice, seed_kernel
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.platform.vsock import HostNetwork
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.protocol.errors import Number, Unavailable
from tests.support.fake_nsm import FakeNsm
from tests.support.synthetic_nitro import NOW, SyntheticNitro

DATA = bytes(range(100, 164))


def no_network():
    raise OSError("no network")


def platform(nsm):
    return Nitro(nsm.exchange, HostNetwork(no_network))


def unavailable(reason, call):
    with pytest.raises(Unavailable) as caught:
        call()
    assert caught.value.number is Number.QUOTE_UNAVAILABLE
    assert reason in caught.value.reason
    assert caught.value.reason.isascii()
    assert caught.value.reason.isprintable()


# --- the platform --------------------------------------------------------------------------------------------------


def test_a_quote_is_a_document_over_exactly_the_data():
    nsm = FakeNsm()
    quoted = platform(nsm).quote(DATA)
    assert quoted.collateral == b""
    report = verify_nitro_document(quoted.quote, NOW, root=nsm.pki.root)
    assert report.report_data == DATA
    assert nsm.requests == [{"Attestation": {"user_data": DATA, "nonce": None, "public_key": None}}]


@pytest.mark.parametrize("size", [0, 63, 65])
def test_only_64_bytes_are_quoted(size):
    with pytest.raises(ValueError, match="64 bytes"):
        platform(FakeNsm()).quote(bytes(size))


def test_a_document_over_other_data_is_refused():
    unavailable("over other data", lambda: platform(FakeNsm(user_data=bytes(64))).quote(DATA))
    unavailable("over other data", lambda: platform(FakeNsm(user_data=None)).quote(DATA))


def test_an_enclave_in_debug_mode_says_so_itself():
    """Nobody would accept its evidence; its operator should not have to find out from a client."""
    registers = dict.fromkeys(range(16), bytes(48))
    unavailable("this is a debug enclave", lambda: platform(FakeNsm(pcrs=registers)).quote(DATA))


DOCUMENT = SyntheticNitro("fake nsm").document(payload={"user_data": DATA})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"Error": "InvalidArgument"}, "InvalidArgument"),
        ({"Error": "\x1b[2J"}, "the answer is none"),
        ({"Error": 1}, "the answer is none"),
        ({"GetRandom": {"random": bytes(256)}}, "the answer is none"),
        ({"Attestation": {"document": DOCUMENT}, "GetRandom": {}}, "the answer is none"),
        ({"Attestation": {"document": "text"}}, "the answer is none"),
        ({"Attestation": {}}, "the answer is none"),
        ({"Attestation": DOCUMENT}, "the answer is none"),
        ({}, "the answer is none"),
        ("Attestation", "the answer is none"),
        (None, "the answer is none"),
        (b"", "not CBOR"),
        (b"\xa1", "not CBOR"),
        (cbor2.dumps({"Attestation": {"document": DOCUMENT}})[:-1], "not CBOR"),
        (b"\x81" * 1000, "not CBOR"),
        ({"Attestation": {"document": b""}}, "the document is not CBOR"),
        ({"Attestation": {"document": DOCUMENT + b"\x00"}}, "bytes follow its end"),
        (OSError(errno.ETIMEDOUT, "timed out"), "Connection timed out"),
        (OSError("without a number"), "OSError"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer, reason):
    unavailable(reason, lambda: platform(FakeNsm({"Attestation": answer})).quote(DATA))


def test_entropy_comes_from_the_hypervisor_and_too_little_is_refused():
    assert platform(FakeNsm()).entropy() == bytes(range(256))
    for short in (b"", bytes(31)):
        unavailable(
            "too few", lambda short=short: platform(FakeNsm({"GetRandom": {"GetRandom": {"random": short}}})).entropy()
        )
    unavailable("InternalError", platform(FakeNsm({"GetRandom": {"Error": "InternalError"}})).entropy)


def test_the_rest_of_the_port():
    found: Platform = platform(FakeNsm())
    assert found.kind == "nitro"
    assert found.roots == ()
    assert found.sealing_key() is None
    assert found.development_custodian() is None
    assert len(found.random(48)) == 48
    assert found.random(32) != found.random(32)
    assert abs(found.now() - time.time()) < 5


async def test_the_network_is_the_hosts():
    found = platform(FakeNsm())
    with pytest.raises(OSError, match="no network"):
        await found.connect("192.0.2.1", 443)
    with pytest.raises(OSError, match="no network"):
        await found.resolve("id.example", 443)


# --- the device ----------------------------------------------------------------------------------------------------


class FakeDriver:
    """`fcntl.ioctl` as the kernel's nsm driver implements it, with memory read and written at the addresses given."""

    def __init__(self, answer, error=0):
        self.answer = answer
        self.error = error
        self.request = None

    def ioctl(self, descriptor, operation, message):
        assert descriptor >= 0
        assert operation == 0xC0200A00  # _IOWR(0x0A, 0, 32 bytes)
        assert isinstance(message, bytearray)  # it is written back
        asked, asked_size, answer, capacity = struct.unpack("=QQQQ", message)
        assert capacity == 0x3000
        if self.error:
            raise OSError(self.error, "driver")
        self.request = ctypes.string_at(asked, asked_size)
        written = self.answer[:capacity]
        ctypes.memmove(answer, written, len(written))
        message[:] = struct.pack("=QQQQ", asked, asked_size, answer, len(written))
        return 0


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "nsm"
    path.touch()
    return NsmDevice(path)


@pytest.mark.skipif(sys.byteorder != "little", reason="the driver exists on little-endian machines only")
def test_the_request_reaches_the_driver_byte_by_byte_and_so_does_the_answer_us(device, monkeypatch):
    driver = FakeDriver(b"\xa1answer\x00\x00")
    monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
    assert device.exchange(b"\x00request\x00") == b"\xa1answer\x00\x00"
    assert driver.request == b"\x00request\x00"
    driver.answer = b"\x01"
    assert device.exchange(b"") == b"\x01"  # nothing is left of the answer before
    driver.answer = bytes(0x4000)
    assert len(device.exchange(b"\x00" * 0x1000)) == 0x3000


def test_the_platform_speaks_through_the_driver(device, monkeypatch):
    driver = FakeDriver(cbor2.dumps({"Attestation": {"document": DOCUMENT}}))
    monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
    assert Nitro(device.exchange, HostNetwork(no_network)).quote(DATA).quote == DOCUMENT
    assert driver.request == bytes.fromhex(
        "a1" "6b" "4174746573746174696f6e"  # Attestation
        "a3" "69" "757365725f64617461" "5840" + DATA.hex() +  # user_data
        "65" "6e6f6e6365" "f6"  # nonce
        "6a" "7075626c69635f6b6579" "f6"  # public_key
    )  # fmt: skip


def test_a_driver_that_fails_is_an_unavailable_quote(device, monkeypatch):
    monkeypatch.setattr(fcntl, "ioctl", FakeDriver(b"", errno.EMSGSIZE).ioctl)
    unavailable("Message too long", lambda: Nitro(device.exchange, HostNetwork(no_network)).quote(DATA))


def test_a_request_larger_than_the_driver_takes_is_not_sent(device, monkeypatch):
    monkeypatch.setattr(fcntl, "ioctl", None)
    with pytest.raises(ValueError, match="larger than any request"):
        device.exchange(bytes(0x1001))


def test_no_device_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        NsmDevice(tmp_path / "nsm")


def test_the_kernel_is_seeded_with_credit_and_starts_anew(tmp_path, monkeypatch):
    """Without the credit a young kernel would go on waiting; without the new start it would use the numbers later."""
    calls = []
    monkeypatch.setattr(fcntl, "ioctl", lambda descriptor, *call: calls.append(call))
    path = tmp_path / "random"
    path.touch()
    seed_kernel(b"entropy!", path)
    assert calls == [(0x40085203, struct.pack("=ii", 64, 8) + b"entropy!"), (0x5207,)]


def test_a_kernel_that_refuses_the_seed_stops_the_start(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    path = tmp_path / "random"
    path.touch()
    with pytest.raises(PermissionError):
        seed_kernel(bytes(32), path)


def test_opening_the_platform_seeds_the_kernel_first(monkeypatch):
    nsm = FakeNsm()
    seeded: list[Any] = []
    monkeypatch.setattr(nitro, "NsmDevice", lambda: nsm)
    monkeypatch.setattr(nitro, "seed_kernel", seeded.append)
    Nitro.open()
    assert seeded == [bytes(range(256))]
    assert nsm.requests == ["GetRandom"]


@pytest.mark.parametrize("role", ["vault", "authenticator"])
def test_an_entry_serves_its_own_role_on_its_own_port_of_the_parent(monkeypatch, role):
    served: list[Any] = []
    monkeypatch.setattr(Nitro, "open", lambda: "platform")
    monkeypatch.setattr(vsock, "dial", lambda cid, port: (cid, port))
    monkeypatch.setattr(process, "run", lambda build, *, link: served.append((build, link)))
    runpy.run_module(f"strongroom.enclave.entries.nitro_{role}", run_name="__main__")
    ((build, link),) = served
    assert link == (3, {"vault": 8410, "authenticator": 8411}[role])
    assert build.func is Enclave
    assert build.args[:2] == ("platform", role)
    assert build.args[2].__name__ == f"build_{role}"
