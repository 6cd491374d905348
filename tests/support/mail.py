"""A real mail server (aiosmtpd) in the test's own process, one that says what a test writes, and a desk for codes."""

from __future__ import annotations

import asyncio
import re
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from strongroom.protocol.codec import encode
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import CodeMethod, CodePublic, CodeSecret, method_digest
from strongroom.protocol.sign_in_messages import CodeBegin, CodeBegun, CodeSignIn, SignedIn
from tests.hostile.test_egress import certificate
from tests.support.evidence import changed
from tests.support.issuer import VAULT, Desk
from tests.support.world import Platform

HOST = "mail.example"
SENDER = "codes@example.com"
BOB = "bob@example.com"
USER, PASSWORD = "codes", "correct horse"
CODE = re.compile(r"^ {4}([0-9]{8})\r?$", re.MULTILINE)
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class MachineWithMail(Platform):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int) -> list[str]:
        return ["127.0.0.1"]


class MailServer:
    """Keeps what it is given; refuses what a test says. `implicit` and `starttls` are its ports."""

    def __init__(self, folder: Path) -> None:
        self.context, _ = certificate(folder, HOST)
        pem = (folder / f"{HOST}.pem").read_bytes()
        self.certificates = pem[: pem.index(b"-----BEGIN PRIVATE")]
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.conversations = 0
        self.sign_ins: list[str] = []
        self.recipient_reply = ""
        self.data_reply = ""
        self.mechanisms = {"PLAIN", "LOGIN"}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[MailServer]:
        loop = asyncio.get_running_loop()
        common: dict[str, Any] = {
            "hostname": HOST,
            "authenticator": self._authenticate,
            "auth_required": True,
            "auth_exclude_mechanism": {"PLAIN", "LOGIN"} - self.mechanisms,
            "loop": loop,
        }

        def implicit() -> SMTP:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it knows of no TLS but that of STARTTLS
                return SMTP(self, auth_require_tls=False, **common)

        def starttls() -> SMTP:
            return SMTP(self, tls_context=self.context, require_starttls=True, **common)

        servers = [
            await loop.create_server(implicit, "127.0.0.1", 0, ssl=self.context),
            await loop.create_server(starttls, "127.0.0.1", 0),
        ]
        self.implicit, self.starttls = (server.sockets[0].getsockname()[1] for server in servers)
        try:
            yield self
        finally:
            for server in servers:
                server.close()

    def method(self, **changes: Any) -> CodeMethod:
        """Codes to Bob, by this server."""
        return code_method(f"smtps://{HOST}:{self.implicit}", self.certificates, **changes)

    def code(self) -> str:
        """What stands in the last mail."""
        found = CODE.search(self.mails[-1].get_content())
        assert found is not None
        return found[1]

    # --- what aiosmtpd calls ----------------------------------------------------------------------------------

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.conversations += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient_reply:
            return self.recipient_reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data_reply:
            return self.data_reply
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        parsed = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return "250 Queued"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.sign_ins.append(mechanism)
        success = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=success, handled=False)


def code_method(server: str, certificates: bytes = b"", /, **changes: Any) -> CodeMethod:
    """Codes to Bob. Fields of the public and the secret part may be named, too."""
    honest = CodeMethod(
        public=CodePublic(sender=SENDER),
        secret=CodeSecret(server=server, user=USER, password=PASSWORD),
        certificates=certificates,
        addresses=[BOB],
        domains=[],
    )
    secret = {key: changes.pop(key) for key in ("server", "user", "password") if key in changes}
    public = {key: changes.pop(key) for key in ("sender",) if key in changes}
    return changed(honest, public=changed(honest.public, **public), secret=changed(honest.secret, **secret), **changes)


@asynccontextmanager
async def scripted(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that does what `script` says with each connection; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the Authenticator hangs up on what it does not like
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class CodeDesk(Desk):
    """An Authenticator, and a client whose user has a mailbox."""

    def __init__(self, platform: Platform, codes: CodeMethod) -> None:
        super().__init__(platform)
        self.codes = codes

    @property
    def code_digest(self) -> bytes:
        return method_digest(encode(self.codes))

    async def code_begin(self, email: str = BOB, **changes: Any) -> CodeBegun:
        fields = {
            "vault_cluster": VAULT,
            "capsule": self.capsule(self.codes),
            "method": self.code_digest,
            "email": email,
        }
        reply = await self.service.handle(self.caller(), CodeBegin(**fields | changes))
        assert isinstance(reply, CodeBegun)
        await self.delivered()
        return reply

    async def delivered(self) -> None:
        """What follows an answer has come to its end."""
        await asyncio.gather(*self.service._sign_ins._codes._conversations, return_exceptions=True)

    async def code_finish(self, begun: CodeBegun, code: str, **changes: Any) -> SignedIn:
        fields = {"capsule": self.capsule(self.codes), "handle": begun.handle, "code": code, "with_ticket": None}
        reply = await self.service.handle(self.caller(), CodeSignIn(**fields | changes))
        assert isinstance(reply, SignedIn)
        return reply

    def facts(self, signed_in: SignedIn) -> list[Fact]:
        """What the ticket says to the Authenticator."""
        return self.sealer.verify_ticket(
            signed_in.ticket, binding_key=self.binding_key, vault_cluster=VAULT, now=self.clock.now()
        )
