"""Mail servers that lie, and a host between them and the enclave: no password in clear, no code to anybody else."""

import asyncio
from base64 import b64decode
from contextlib import suppress

import pytest

from strongroom.enclave.authenticator import codes, smtp
from strongroom.enclave.authenticator.codes import Codes
from strongroom.enclave.authenticator.smtp import MAX_LINE, MAX_REPLIES, submission
from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.runtime import egress
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.turns import CALLS_PER_SERVER
from strongroom.protocol.errors import Number, Refused, StrongroomError, Unavailable
from strongroom.protocol.instructions import CodeMethod
from tests.support.issuer import AUTHENTICATOR, VAULT
from tests.support.mail import BOB, HOST, PASSWORD, SENDER, USER, MachineWithMail, MailServer, code_method, scripted

HONEST = {
    b"EHLO": [b"250-mail.example greets you\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n"],
    b"AUTH": [b"235 welcome\r\n"],
    b"MAIL": [b"250 OK\r\n"],
    b"RCPT": [b"250 OK\r\n"],
    b"DATA": [b"354 go ahead\r\n"],
    b".": [b"250 queued\r\n"],
}
STARTTLS = {
    **HONEST,
    b"EHLO": [b"250-mail.example\r\n250 STARTTLS\r\n", *HONEST[b"EHLO"]],
    b"STARTTLS": [b"220 go\r\n"],
}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(codes, "ANSWER_STEP", 0.01)


@pytest.fixture
def platform(tmp_path):
    return MachineWithMail("authenticator", tmp_path / "machine")


@pytest.fixture
def server(tmp_path):
    return MailServer(tmp_path)


class Liar:
    """Speaks the replies of a table, each once and the last of each for ever; notes what it heard."""

    def __init__(self, replies, greeting=b"220 mail.example ESMTP\r\n", context=None):
        self.replies = {command: list(lines) for command, lines in replies.items()}
        self.greeting = greeting
        self.context = context
        self.heard = []
        self.in_clear = []

    async def __call__(self, reader, writer):
        writer.write(self.greeting)
        clear = writer.get_extra_info("ssl_object") is None
        in_data = False
        while line := await reader.readline():
            self.heard.append(line)
            if clear:
                self.in_clear.append(line)
            command = b"." if line == b".\r\n" else line.strip().split(b" ")[0]
            if in_data and command != b".":
                continue
            if command not in self.replies:
                return
            lines = self.replies[command]
            reply = lines.pop(0) if len(lines) > 1 else lines[0]
            in_data = reply[:3] == b"354"
            writer.write(reply)
            await writer.drain()
            if command == b"STARTTLS" and reply.startswith(b"220"):
                await writer.start_tls(self.context)
                clear = False


async def send(platform, method, email=BOB):
    clock = Clock(platform)
    codes_ = Codes(platform, Egress(platform), clock, Sealer(platform, AUTHENTICATOR, lambda: b"t" * 32))
    begun = await codes_.begin(b"m" * 32, method, email, binding_key=b"\x04" + bytes(64), vault_cluster=VAULT)
    await asyncio.gather(*codes_._conversations)
    return begun


async def failure(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value


async def outcome(platform, server, liar, *, scheme="smtps", **changes) -> StrongroomError:
    async with scripted(liar, server.context if scheme == "smtps" else None) as port:
        method = code_method(f"{scheme}://{HOST}:{port}", server.certificates, **changes)
        return await failure(send(platform, method))


async def unavailable(*arguments, **changes):
    error = await outcome(*arguments, **changes)
    assert error.number is Number.PROVIDER_UNAVAILABLE
    return error.reason


async def test_the_liar_of_these_tests_is_believed_as_long_as_it_is_honest(platform, server):
    for scheme, replies in (("smtps", HONEST), ("smtp", STARTTLS)):
        liar = Liar(replies, context=server.context)
        async with scripted(liar, server.context if scheme == "smtps" else None) as port:
            await send(platform, code_method(f"{scheme}://{HOST}:{port}", server.certificates))
        assert b".\r\n" in liar.heard


async def test_a_multi_line_greeting_and_codes_without_text_are_read(platform, server):
    liar = Liar({**HONEST, b"MAIL": [b"250\r\n"]}, greeting=b"220-mail.example\r\n220-\r\n220 ready\r\n")
    async with scripted(liar, server.context) as port:
        await send(platform, code_method(f"smtps://{HOST}:{port}", server.certificates))


# --- the host between -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [b"250 mail.example\r\n", b"250-mail.example\r\n250 AUTH PLAIN LOGIN\r\n"])
async def test_striptls_a_server_without_starttls_never_hears_a_password(platform, server, extensions):
    liar = Liar({**HONEST, b"EHLO": [extensions]})
    assert await unavailable(platform, server, liar, scheme="smtp") == "the mail server offers no STARTTLS"
    assert liar.heard == [b"EHLO example.com\r\n"]


async def test_striptls_a_refused_starttls_ends_the_call(platform, server):
    liar = Liar({**STARTTLS, b"STARTTLS": [b"454 TLS not available\r\n"]})
    assert "454" in await unavailable(platform, server, liar, scheme="smtp")
    assert liar.heard == [b"EHLO example.com\r\n", b"STARTTLS\r\n"]


async def test_nothing_but_ehlo_and_starttls_is_said_in_clear(platform, server):
    liar = Liar(STARTTLS, context=server.context)
    async with scripted(liar) as port:
        await send(platform, code_method(f"smtp://{HOST}:{port}", server.certificates))
    assert liar.in_clear == [b"EHLO example.com\r\n", b"STARTTLS\r\n"]
    assert liar.heard[2] == b"EHLO example.com\r\n"


async def test_replies_put_in_before_tls_are_not_taken_for_the_server_s(platform, server):
    """CVE-2011-0411 and its kind, at the client."""
    liar = Liar({**STARTTLS, b"STARTTLS": [b"220 go\r\n250 AUTH PLAIN\r\n235 welcome\r\n"]}, context=server.context)
    assert await unavailable(platform, server, liar, scheme="smtp") == "bytes before TLS began"
    assert len(liar.heard) == 2


async def test_a_greeting_in_clear_is_not_taken_for_that_of_the_server(platform, server):
    """The host speaks before TLS begins. A server that speaks right after is heard."""
    connect, injected = platform.connect, asyncio.Event()

    async def connect_slowly(host, port):
        connection = await connect(host, port)
        await injected.wait()
        await asyncio.sleep(0.05)
        return connection

    platform.connect = connect_slowly

    async def meddle(reader, writer):
        writer.write(b"220 forged\r\n")
        await writer.drain()
        injected.set()
        with suppress(OSError):
            await writer.start_tls(server.context)
            await Liar(HONEST)(reader, writer)

    async with scripted(meddle) as port:
        error = await failure(send(platform, code_method(f"smtps://{HOST}:{port}", server.certificates)))
    assert error.reason == "bytes before TLS began"
    async with scripted(Liar(HONEST), server.context) as port:
        for _ in range(3):
            await send(platform, code_method(f"smtps://{HOST}:{port}", server.certificates))


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
async def test_a_server_that_cannot_prove_its_name_never_hears_a_password(platform, server, scheme):
    for host, certificates in (("other.example", server.certificates), (HOST, b"")):
        liar = Liar(HONEST if scheme == "smtps" else STARTTLS, context=server.context)
        async with scripted(liar, server.context if scheme == "smtps" else None) as port:
            error = await failure(send(platform, code_method(f"{scheme}://{host}:{port}", certificates)))
        assert error.number is Number.PROVIDER_UNAVAILABLE
        assert "SSLCertVerificationError" in error.reason
        assert not any(b"AUTH" in line for line in liar.heard)


@pytest.mark.parametrize("address", ["10.0.0.25", "169.254.169.254", "127.0.0.1", "::1"])
async def test_a_server_inside_the_operator_s_network_is_not_called(platform, address, monkeypatch):
    async def resolve(host, port):
        return [address]

    monkeypatch.setattr(type(platform), "kind", property(lambda self: "sgx"))
    monkeypatch.setattr(platform, "resolve", resolve)
    assert (await failure(send(platform, code_method(f"smtps://{HOST}")))).number is Number.DESTINATION_REFUSED


# --- servers that lie -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "greeting",
    [
        b"hello\r\n",
        b"250 OK\r\n",
        b"554 no service\r\n",
        b"421 busy\r\n",
        b"220 bare line feed\n",
        b"220 two\r lines\r\n",
        b"0220 long code\r\n",
        b"22 short code\r\n",
        b"120 preliminary\r\n",
        b"620 unknown\r\n",
        b"2\xb20 digits of Unicode\r\n",
        b"220_separator\r\n",
        b"220-first\r\n221 another code\r\n",
        b"221-first\r\n220 another code\r\n",
        b"\xff\xfe\r\n",
        b"220 " + b"x" * MAX_LINE + b"\r\n",
        b"220 " + b"x" * 100_000 + b"\r\n",
        b"220-more\r\n" * (MAX_REPLIES // 10 + 1) + b"220 enough\r\n",
    ],
)
async def test_what_is_no_greeting_ends_the_call(platform, server, greeting):
    liar = Liar(HONEST, greeting=greeting)
    await unavailable(platform, server, liar)
    assert liar.heard == []


@pytest.mark.parametrize("greeting", [b"", b"220", b"220 hello", b"220-never ends\r\n"])
async def test_a_server_that_hangs_up_in_the_middle_is_unavailable(platform, server, greeting):
    async def speak(reader, writer):
        writer.write(greeting)
        await writer.drain()

    assert await unavailable(platform, server, speak) == "the mail server hung up"


@pytest.mark.parametrize("command", [b"EHLO", b"AUTH", b"MAIL"])
@pytest.mark.parametrize(
    "reply", [b"500 no\r\n", b"421 closing\r\n", b"220 off by one\r\n", b"354 go\r\n", b"334 \r\n"]
)
async def test_a_reply_that_does_not_fit_the_question_ends_the_call(platform, server, command, reply):
    liar = Liar({**HONEST, command: [reply]})
    reason = await unavailable(platform, server, liar)
    assert reply[:3].decode() in reason
    assert liar.heard[-1].startswith(command)


@pytest.mark.parametrize("command", [b"RCPT", b"DATA", b"."])
@pytest.mark.parametrize("reply", [b"421 closing\r\n", b"220 off by one\r\n", b"452 mailbox full\r\n", b"650 ?\r\n"])
async def test_a_code_that_was_not_taken_is_told_to_the_operator(platform, server, command, reply, capsys):
    async with scripted(Liar({**HONEST, command: [reply]}), server.context) as port:
        await send(platform, code_method(f"smtps://{HOST}:{port}", server.certificates))
    assert "undelivered: the mail server" in capsys.readouterr().err


async def test_the_text_of_a_server_goes_nowhere(platform, server, capsys):
    for command in HONEST:
        for number in (b"421", b"550"):
            liar = Liar({**HONEST, command: [number + b" \x1b[31mforged: " + BOB.encode() + b"\r\n"]})
            async with scripted(liar, server.context) as port:
                method = code_method(f"smtps://{HOST}:{port}", server.certificates)
                told = ""
                try:
                    await send(platform, method)
                except Unavailable as error:
                    told = error.reason
                assert "forged" not in told
    assert "forged" not in capsys.readouterr().err


async def test_an_extension_that_only_looks_like_auth_is_none(platform, server):
    for extensions in (b"250 mail.example AUTH PLAIN\r\n", b"250-x\r\n250 XAUTH PLAIN\r\n", b"250-x\r\n250  \r\n"):
        liar = Liar({**HONEST, b"EHLO": [extensions]})
        assert "neither AUTH PLAIN nor LOGIN" in await unavailable(platform, server, liar)
    liar = Liar({**HONEST, b"EHLO": [b"250-x\r\n250 AUTH GSSAPI CRAM-MD5\r\n"]})
    assert "neither AUTH PLAIN nor LOGIN" in await unavailable(platform, server, liar)


async def test_a_server_without_a_sign_in_hears_none(platform, server):
    liar = Liar(HONEST)
    async with scripted(liar, server.context) as port:
        method = code_method(f"smtps://{HOST}:{port}", server.certificates, user="", password="")
        await send(platform, method)
    assert not any(b"AUTH" in line for line in liar.heard)


async def test_user_and_password_can_t_hold_commands(platform, server):
    user, password = "codes\r\nRCPT TO:<eve@example.com>", "p\r\nDATA"
    liar = Liar(HONEST)
    async with scripted(liar, server.context) as port:
        await send(platform, code_method(f"smtps://{HOST}:{port}", server.certificates, user=user, password=password))
    (auth,) = [line for line in liar.heard if line.startswith(b"AUTH")]
    assert b64decode(auth.split()[2]).decode() == f"\0{user}\0{password}"
    assert not any(b"eve@" in line for line in liar.heard)


async def test_a_line_of_one_dot_in_a_mail_does_not_end_it(platform, server):
    async with server.serving(), submission(Egress(platform).of(bytes(32)), server.method()) as call:
        await call.deliver(BOB, b".\r\nRSET\r\n..x\r\n")
    assert server.raw == [b".\r\nRSET\r\n..x\r\n"]


async def test_a_server_that_hangs_or_drips_is_given_up(platform, server, monkeypatch):
    monkeypatch.setattr(egress, "PROVIDER_TIMEOUT", 0.3)

    async def drip(reader, writer):
        while True:
            writer.write(b"2")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def hang(reader, writer):
        writer.write(b"220 hello\r\n")
        await reader.read(-1)

    for script in (drip, hang):
        assert (await outcome(platform, server, script)).number is Number.PROVIDER_SLOW


async def test_a_server_that_never_ends_is_cut_off(platform, server):
    sent = 0

    async def endless(reader, writer):
        nonlocal sent
        while True:
            writer.write(b"220-more of it\r\n" * 100)
            sent += 1600
            await writer.drain()

    assert await unavailable(platform, server, endless) == "the mail server's reply is too long"
    assert sent < 32 * 1024 * 1024  # what lies in the buffers of two sockets


async def test_the_limit_is_on_all_replies_together(platform, server, monkeypatch):
    monkeypatch.setattr(smtp, "MAX_REPLIES", 600)
    liar = Liar(
        {
            **HONEST,
            b"EHLO": [b"250-" + b"x" * 300 + b"\r\n250 AUTH PLAIN\r\n"],
            b"AUTH": [b"235 " + b"y" * 300 + b"\r\n"],
        }
    )
    assert await unavailable(platform, server, liar) == "the mail server's reply is too long"


async def test_few_calls_at_once_go_to_one_server(platform, server):
    at_once, most = 0, 0

    async def count(reader, writer):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.1)
        at_once -= 1

    outbound = Egress(platform).of(bytes(32))
    async with scripted(count, server.context) as port:
        method = code_method(f"smtps://{HOST}:{port}", server.certificates)

        async def call():
            with suppress(Unavailable):
                async with submission(outbound, method):
                    raise AssertionError("it greets nobody")

        await asyncio.gather(*(call() for _ in range(3 * CALLS_PER_SERVER)))
    assert most == CALLS_PER_SERVER


async def test_a_server_that_hangs_up_after_taking_the_mail_has_taken_it(platform, server):
    async def abrupt(reader, writer):
        await Liar(HONEST)(Until(reader, b".\r\n"), writer)
        writer.transport.abort()

    async with scripted(abrupt, server.context) as port:
        await send(platform, code_method(f"smtps://{HOST}:{port}", server.certificates))


class Until:
    """A reader that sees the end after one line."""

    def __init__(self, reader, last):
        self.reader, self.last, self.ended = reader, last, False

    async def readline(self):
        line = b"" if self.ended else await self.reader.readline()
        self.ended = line == self.last
        return line


def test_the_server_s_password_is_shown_to_nobody_who_describes():
    method = code_method(f"smtps://{HOST}")
    assert isinstance(method, CodeMethod)
    assert (method.public.sender, method.secret.user, method.secret.password) == (SENDER, USER, PASSWORD)
    assert PASSWORD not in repr(method.public)


async def test_a_definition_that_is_no_server_never_dials(platform):
    with pytest.raises(Refused):
        async with submission(Egress(platform).of(bytes(32)), code_method("https://mail.example")):
            raise AssertionError("dialled")
