"""Outbound connections: only public addresses, checked after resolution and then called, with TLS that verifies."""

import asyncio
import gc
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from strongroom.enclave.runtime import egress
from strongroom.enclave.runtime.destinations import verify_public
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.turns import CALLS_PER_SERVER
from strongroom.protocol.errors import Number, Refused, Unavailable
from tests.support.issuer import answer
from tests.support.world import Platform

DEFINITION = b"D" * 32
PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
    "", "localhost", "0x7f.1", "2130706433", "127.1", "010.0.0.1", "8.8.8.8 ", "1.1.1.1/8",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(Refused) as caught:
        verify_public(address)
    assert caught.value.number is Number.DESTINATION_REFUSED


@pytest.mark.parametrize("address", ["8.8.8.8", "100.63.255.255", "172.15.0.1", "172.32.0.1", "2606:4700::1111"])
def test_a_public_address_is_accepted(address):
    assert verify_public(address) == address


class Traced(Platform):
    """Resolves as a test says, and notes what is connected to."""

    addresses: tuple[str, ...] = ()
    role_kind = "insecure-software"

    def __init__(self, state):
        super().__init__("authenticator", state)
        self.connected: list[str] = []
        self.resolved = 0

    @property
    def kind(self):
        return self.role_kind

    async def resolve(self, host, port):
        self.resolved += 1
        return list(self.addresses)

    async def connect(self, host, port):
        self.connected.append(host)
        return await super().connect(host, port)


@pytest.fixture
def platform(tmp_path):
    return Traced(tmp_path / "machine")


async def refused(call):
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.number is Number.DESTINATION_REFUSED


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_resolves_inside_is_not_called(platform, address):
    platform.role_kind = "sgx"
    platform.addresses = (address,)
    await refused(Egress(platform).of(DEFINITION).get("https://login.example/"))
    assert platform.connected == []


async def test_loopback_is_refused_on_hardware(platform):
    platform.role_kind = "sgx"
    platform.addresses = ("127.0.0.1",)
    for url in ("https://localhost/", "http://localhost/", "http://127.0.0.1/", "https://127.0.0.1/"):
        await refused(Egress(platform).of(DEFINITION).get(url))
    assert platform.connected == []


@pytest.mark.parametrize(
    "address", [address for address in PRIVATE if address not in ("127.0.0.1", "127.255.255.254", "::1")]
)
async def test_the_insecure_platform_adds_loopback_and_nothing_else(platform, address):
    platform.addresses = (address,)
    await refused(Egress(platform).of(DEFINITION).get("https://login.example/"))
    await refused(Egress(platform).of(DEFINITION).get("http://login.example/"))
    assert platform.connected == []


async def test_http_is_for_loopback_only(platform):
    platform.addresses = ("8.8.8.8",)
    await refused(Egress(platform).of(DEFINITION).get("http://login.example/"))
    assert platform.connected == []


@asynccontextmanager
async def server(handle, context=None):
    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handle(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


async def hello(writer):
    await answer(writer, {"hello": 1})


async def test_what_was_checked_is_what_is_called_and_nothing_is_resolved_twice(platform):
    """DNS rebinding: a name that answered with a public address first has no second chance."""
    platform.addresses = ("127.0.0.1",)
    async with server(hello) as port:
        assert (await Egress(platform).of(DEFINITION).get(f"http://rebinding.example:{port}/")).parse(dict) == {
            "hello": 1
        }
    assert (platform.connected, platform.resolved) == (["127.0.0.1"], 1)


async def test_of_mixed_addresses_only_those_allowed_are_called(platform):
    platform.addresses = ("10.0.0.1", "127.0.0.1", "192.168.0.1")
    async with server(hello) as port:
        await Egress(platform).of(DEFINITION).get(f"http://mixed.example:{port}/")
    assert platform.connected == ["127.0.0.1"]


def certificate(tmp_path, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / f"{name}.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(made.public_bytes(encoding) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    roots = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    roots.load_verify_locations(file)
    return context, roots


async def test_tls_ends_inside_the_enclave_and_verifies(platform, tmp_path):
    platform.addresses = ("127.0.0.1",)
    context, roots = certificate(tmp_path, "login.example")
    async with server(hello, context) as port:
        found = await Egress(platform, roots).of(DEFINITION).get(f"https://login.example:{port}/")
        assert found.parse(dict) == {"hello": 1}
        for call, trusted in ((f"https://other.example:{port}/", roots), (f"https://login.example:{port}/", None)):
            with pytest.raises(Unavailable) as caught:
                await Egress(platform, trusted).of(DEFINITION).get(call)
            assert caught.value.number is Number.PROVIDER_UNAVAILABLE


async def test_what_a_host_puts_in_before_tls_begins_is_not_read_as_the_answer(platform, tmp_path):
    platform.addresses = ("127.0.0.1",)
    context, roots = certificate(tmp_path, "login.example")
    injected = asyncio.Event()

    async def meddle(reader, writer):
        forged = b'{"forged": 1}'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(forged)}\r\n\r\n"
        writer.write(head.encode() + forged)
        await writer.drain()
        injected.set()
        with suppress(OSError, asyncio.IncompleteReadError):
            await writer.start_tls(context)
            await reader.readuntil(b"\r\n\r\n")
            await hello(writer)
        writer.close()

    connect = platform.connect

    async def connect_slowly(host, port):
        """As long as the code between connecting and TLS never waits, a host must be lucky; it is here."""
        connection = await connect(host, port)
        await injected.wait()
        await asyncio.sleep(0.05)
        return connection

    platform.connect = connect_slowly
    listening = await asyncio.start_server(meddle, "127.0.0.1", 0)
    with pytest.raises(Unavailable, match="before TLS"):
        await (
            Egress(platform, roots)
            .of(DEFINITION)
            .get(f"https://login.example:{listening.sockets[0].getsockname()[1]}/")
        )
    listening.close()


async def test_a_large_answer_over_tls_arrives_whole(platform, tmp_path):
    platform.addresses = ("127.0.0.1",)
    context, roots = certificate(tmp_path, "login.example")

    async def large(writer):
        await answer(writer, ["x" * 250_000])

    async with server(large, context) as port:
        assert (await Egress(platform, roots).of(DEFINITION).get(f"https://login.example:{port}/")).parse(list) == [
            "x" * 250_000
        ]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: application/json\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\ncontent-type: application/json\r\n\r\n{} ",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nfffffffffffffffff\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}",
    ],
)
async def test_an_answer_that_is_no_honest_http_is_unavailable(platform, reply):
    platform.addresses = ("127.0.0.1",)

    async def speak(writer):
        writer.write(reply)
        await writer.drain()

    async with server(speak) as port:
        with pytest.raises(Unavailable) as caught:
            await Egress(platform).of(DEFINITION).get(f"http://odd.example:{port}/")
    assert caught.value.number is Number.PROVIDER_UNAVAILABLE


async def test_an_answer_without_end_is_cut_off(platform):
    platform.addresses = ("127.0.0.1",)
    sent = 0

    async def endless(writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()
            sent += 65_536

    async with server(endless) as port:
        with pytest.raises(Unavailable, match="405"):
            await Egress(platform).of(DEFINITION).get(f"http://endless.example:{port}/")
    assert sent < 16 * 1024 * 1024


async def test_few_calls_at_once_go_to_one_host_and_others_are_not_held_up(platform, monkeypatch):
    platform.addresses = ("127.0.0.1",)
    monkeypatch.setattr(egress, "PROVIDER_TIMEOUT", 0.5)
    waiting, released = 0, asyncio.Event()

    async def silent(writer):
        nonlocal waiting
        waiting += 1
        await released.wait()

    out = Egress(platform)
    calls = out.of(DEFINITION)
    async with server(silent) as slow, server(hello) as fast:
        stuck = [asyncio.ensure_future(calls.get(f"http://slow.example:{slow}/")) for _ in range(40)]
        await asyncio.sleep(0.2)
        assert waiting == CALLS_PER_SERVER
        assert (await calls.get(f"http://fast.example:{fast}/")).status == 200
        results = await asyncio.gather(*stuck, return_exceptions=True)
        released.set()
        await asyncio.sleep(0.05)
    assert {getattr(result, "number", None) for result in results} == {Number.PROVIDER_SLOW}
    del stuck, results
    gc.collect()
    assert not out.turns._servers
