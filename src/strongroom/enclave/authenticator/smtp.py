"""Handing one mail to a provider's server (RFC 5321, RFC 6409), over TLS that ends inside the enclave.

Attacks stopped here:

1. STRIPTLS: a host that takes STARTTLS out of the server's greeting, or answers it with an error, ends the call.
   Nothing but EHLO and STARTTLS is ever said in clear, and what was heard in clear is forgotten.
2. Commands put into a command: what is sent is made of plain addresses and base64.
3. A server that lies in its replies: their lines, and all of them together, are bounded; each must be the reply to
   what was asked. No text of a server's goes anywhere; its numbers do.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from strongroom.enclave.platform.port import Connection
from strongroom.enclave.runtime.egress import Calls, provider_deadline, roots_of, verify_server
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.instructions import CodeMethod

PORTS: Final = {"smtps": 465, "smtp": 587}
"""TLS from the first byte (RFC 8314), and STARTTLS, which is demanded."""
MAX_LINE: Final = 512
"""Bytes of a reply line, its end included (RFC 5321 §4.5.3.1.5)."""
MAX_REPLIES: Final = 32 * 1024
"""Bytes of all replies of a call."""
_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r\n]*))?\r\n")


class Undelivered(Exception):
    """The server takes mail, but not this one: that is told to the operator, never to a stranger."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"reply {code}")


@dataclass(frozen=True, slots=True)
class _Reply:
    code: int
    lines: list[bytes]
    """What follows the code."""


class Submission:
    """A server that has taken sender and password. It takes one mail."""

    def __init__(self, connection: Connection) -> None:
        self._reader, self._writer = connection
        self._left = MAX_REPLIES

    async def deliver(self, recipient: str, mail: bytes) -> None:
        """`mail`: ASCII lines that end in CRLF. Raises `Undelivered`, `Unavailable` PROVIDER_UNAVAILABLE, OSError."""
        await self._tell(f"RCPT TO:<{recipient}>", 250, 251)
        await self._tell("DATA", 354)
        self._writer.write((b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:])
        await self._tell(".", 250)

    async def _tell(self, command: str, *wanted: int) -> None:
        reply = await self._ask(command)
        if reply.code not in wanted:
            raise Undelivered(reply.code)

    async def begin(self, method: CodeMethod) -> None:
        """Sign in and name the sender. Raises `Unavailable` PROVIDER_UNAVAILABLE, OSError."""
        sender, user, password = method.public.sender, method.secret.user.encode(), method.secret.password.encode()
        mechanisms = _mechanisms(await self.greet(sender))
        if not user:
            pass
        elif b"PLAIN" in mechanisms:
            _verify(await self._ask("AUTH PLAIN " + _base64(b"\0" + user + b"\0" + password)), 235)
        elif b"LOGIN" in mechanisms:
            _verify(await self._ask("AUTH LOGIN"), 334)
            _verify(await self._ask(_base64(user)), 334)
            _verify(await self._ask(_base64(password)), 235)
        else:
            raise _unavailable("the mail server offers neither AUTH PLAIN nor LOGIN")
        _verify(await self._ask(f"MAIL FROM:<{sender}>"), 250)

    async def ask_for_tls(self, sender: str) -> None:
        """In clear, as far as the server's consent. Raises `Unavailable` PROVIDER_UNAVAILABLE, OSError."""
        await self.hear_greeting()
        if b"STARTTLS" not in [line.upper() for line in (await self.greet(sender)).lines[1:]]:
            raise _unavailable("the mail server offers no STARTTLS")
        _verify(await self._ask("STARTTLS"), 220)

    async def hear_greeting(self) -> None:
        """The server speaks first. Raises as `begin` does."""
        _verify(await self._reply(), 220)

    async def greet(self, sender: str) -> _Reply:
        """By the name of the sender's domain: what machine this is concerns nobody."""
        reply = await self._ask(f"EHLO {sender.partition('@')[2]}")
        _verify(reply, 250)
        return reply

    def leave(self) -> None:
        """Whether it hears this, and what it answers, doesn't matter any more."""
        self._writer.write(b"QUIT\r\n")

    async def _ask(self, command: str) -> _Reply:
        self._writer.write(command.encode("ascii") + b"\r\n")
        await self._writer.drain()
        return await self._reply()

    async def _reply(self) -> _Reply:
        """One reply, of one or more lines with the same code. Raises `Unavailable` PROVIDER_UNAVAILABLE, OSError."""
        codes: set[bytes] = set()
        lines: list[bytes] = []
        while True:
            found = _LINE.fullmatch(await self._line())
            if found is None:
                raise _unavailable("the mail server speaks no SMTP")
            codes.add(found[1])
            lines.append(found[3] or b"")
            if len(codes) > 1:
                raise _unavailable("the mail server's reply has two codes")
            if found[2] != b"-":
                return _Reply(int(found[1]), lines)

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise _unavailable("the mail server hung up") from None
        except asyncio.LimitOverrunError:
            raise _unavailable("the mail server's reply is too long") from None
        self._left -= len(line)
        if len(line) > MAX_LINE or self._left < 0:
            raise _unavailable("the mail server's reply is too long")
        return line


@asynccontextmanager
async def submission(calls: Calls, method: CodeMethod) -> AsyncIterator[Submission]:
    """A call to the method's server, all of which takes at most PROVIDER_TIMEOUT.

    Raises `Refused` DESTINATION_REFUSED, `Unavailable` PROVIDER_UNAVAILABLE or PROVIDER_SLOW.
    """
    server = verify_server(method.secret.server, PORTS)
    roots, sender = roots_of(method.certificates), method.public.sender
    async with provider_deadline(), calls.turn(server.host, server.port):
        try:
            connection = await calls.dial(server.host, server.port, tls=True)
            try:
                if server.scheme == "smtp":
                    await Submission(connection).ask_for_tls(sender)
                await calls.start_tls(connection, server.host, roots)
                call = Submission(connection)
                if server.scheme == "smtps":
                    await call.hear_greeting()
                await call.begin(method)
                yield call
                call.leave()
            finally:
                connection[1].transport.abort()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise _unavailable(f"the mail server: {type(error).__name__}") from None


def _mechanisms(reply: _Reply) -> list[bytes]:
    for line in reply.lines[1:]:
        words = line.upper().split()
        if words[:1] == [b"AUTH"]:
            return words[1:]
    return []


def _verify(reply: _Reply, *wanted: int) -> None:
    """Raises `Unavailable` PROVIDER_UNAVAILABLE. What the server says beside the number stays unsaid."""
    if reply.code not in wanted:
        raise _unavailable(f"the mail server replied {reply.code} in place of {wanted[0]}")


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _unavailable(reason: str) -> Unavailable:
    return Unavailable(Number.PROVIDER_UNAVAILABLE, reason)
