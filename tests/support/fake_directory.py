"""An LDAP server in this process that lies as a test tells it to. It speaks BER by hand, unlike the product's own code.

`bind`, `root`, `person`, `group` and `extended` get a request and yield the answers' bytes: by default those of an
honest Active Directory, or of an honest LDAP server, that has one person.
"""

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.idp.certificates import Authority

SID = bytes([1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0])
GUID = bytes(range(16))
PERSON = "CN=Alice Liddell,CN=Users,DC=ad,DC=test"
UID = "uid=alice,ou=people,dc=example,dc=test"

BIND, UNBIND, SEARCH, EXTENDED = 0x60, 0x42, 0x63, 0x77


def tlv(tag, *contents, size=None):
    """`size`: in how many bytes the length is written; Active Directory takes four."""
    content = b"".join(contents)
    if size is None and len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = size or 4
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content


def number(value, tag=2):
    return tlv(tag, value.to_bytes(max(1, (value.bit_length() + 8) // 8), "big"))


def text(value, tag=4):
    return tlv(tag, value if isinstance(value, bytes) else value.encode())


def message(message_id, operation, *more):
    return tlv(0x30, number(message_id), operation, *more, size=4)


def result(message_id, tag, code=0, diagnostics="", *more):
    return message(message_id, tlv(tag, number(code, 0x0A), text(""), text(diagnostics), *more))


def entry(message_id, name, **attributes):
    rows = [tlv(0x30, text(kind), tlv(0x31, *(text(value) for value in values))) for kind, values in attributes.items()]
    return message(message_id, tlv(0x64, text(name), tlv(0x30, *rows)))


def elements(data):
    """Tag and content of what stands beside each other."""
    found = []
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    return found


@dataclass
class Request:
    """What came."""

    message_id: int
    kind: int
    parts: list

    @property
    def base(self):
        return self.parts[0][1].decode()

    @property
    def wanted(self):
        """Names of the attributes that a search asks for."""
        return [content.decode().lower() for _, content in elements(self.parts[7][1])]


class FakeDirectory:
    """One server for as long as `serving` lasts."""

    def __init__(self, authority=None):
        self.authority = authority or Authority()
        self.ca = self.authority.pem
        self.requests = []
        self.bound = []
        """Names and passwords of binds, as they came."""
        self.closed = 0
        """Conversations that ended with an unbind."""
        self.connections = 0
        # What tests replace; below is how an honest server does it.
        self.bind: Any = self.honest_bind
        self.root: Any = self.honest_root
        self.person: Any = self.honest_person
        self.group: Any = self.honest_group
        self.extended: Any = self.honest_extended
        self.answer: Any = self.honest_answer
        self.send: Any = self.honest_send

    def honest_bind(self, request):
        yield result(request.message_id, 0x61)

    def honest_root(self, request):
        yield entry(request.message_id, "", tokenGroups=[SID, b"another"])
        yield result(request.message_id, 0x65)

    def honest_person(self, request):
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[SID], mail=["alice@ad.test"])
        yield message(request.message_id, tlv(0x73, text("ldap://elsewhere.example/DC=ad,DC=test")))
        yield result(request.message_id, 0x65)

    def honest_group(self, request):
        yield entry(request.message_id, request.base)
        yield result(request.message_id, 0x65)

    def honest_extended(self, request):
        if request.parts[0][1].endswith(b".20037"):
            yield result(request.message_id, 0x78)
        else:
            yield result(request.message_id, 0x78, 0, "", text("dn:" + UID, 0x8B))

    def honest_answer(self, request):
        match request.kind:
            case 0x60:
                return self.bind(request)
            case 0x77:
                return self.extended(request)
            case _ if request.wanted == ["tokengroups"]:
                return self.root(request)
            case _ if request.wanted == ["1.1"]:
                return self.group(request)
            case _:
                return self.person(request)

    async def honest_send(self, writer, data):
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0)  # drain alone never ends an endless answer when the connection is just being lost

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readexactly(2)
                size = head[1] & 0x7F if head[1] & 0x80 else 0
                length = int.from_bytes(await reader.readexactly(size), "big") if size else head[1]
                parts = elements(await reader.readexactly(length))
                request = Request(int.from_bytes(parts[0][1], "big"), parts[1][0], elements(parts[1][1]))
                self.requests.append(request)
                if request.kind == UNBIND:
                    self.closed += 1
                    return
                if request.kind == BIND:
                    self.bound.append((request.parts[1][1].decode(), request.parts[2][1].decode()))
                for data in self.answer(request):
                    await self.send(writer, data)
                if request.kind == EXTENDED and request.parts[0][1].endswith(b".20037"):
                    await writer.start_tls(self._tls)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def serving(self, folder, *, scheme="ldaps"):
        """Yields its URL."""
        self.authority.issue(folder, "127.0.0.1")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        tls = self._tls if scheme == "ldaps" else None
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        try:
            yield f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finally:
            listening.close()
