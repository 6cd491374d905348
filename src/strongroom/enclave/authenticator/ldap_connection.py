"""One conversation with an LDAP server: over TLS before anything secret is said, and bounded in every way.

Attacks stopped here:

1. A server, or a host between, that answers what was not asked: every message must carry the number of a request that
   is open, and be of a kind that answers it.
2. Answers without end: one limit of bytes over the whole conversation, one of entries over each search. That time is
   limited is up to whoever opens the conversation.
3. A host that speaks before TLS: whatever has come in clear ends it (`Calls.start_tls`).
4. Referrals: other servers are never asked. Those of a search are passed over; a referral in place of an answer ends
   the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from strongroom.enclave.authenticator import ldap
from strongroom.enclave.authenticator.ldap import Answer, Entry, Result, nonsense, parse_entry, parse_result
from strongroom.enclave.platform.port import Connection
from strongroom.enclave.runtime.egress import Calls, Server
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.limits import MAX_PROVIDER_ANSWER

if TYPE_CHECKING:
    from ssl import SSLContext

MAX_ENTRIES: Final = 512
"""That one search may find."""

_SEQUENCE: Final = 0x30


class Conversation:
    """With one server, one request or one row of searches at a time."""

    def __init__(self, connection: Connection) -> None:
        self._reader, self._writer = connection
        self._last = 0
        self._left = MAX_PROVIDER_ANSWER

    async def bind(self, name: str, password: str) -> Result:
        return await self._ask_one(ldap.bind(name, password), ldap.BIND_RESPONSE)

    async def start_tls(self) -> Result:
        return await self._ask_one(ldap.start_tls(), ldap.EXTENDED_RESPONSE)

    async def who_am_i(self) -> Result:
        return await self._ask_one(ldap.who_am_i(), ldap.EXTENDED_RESPONSE)

    async def search(self, request: bytes) -> tuple[list[Entry], Result]:
        return (await self.search_each([request]))[0]

    async def search_each(self, requests: Sequence[bytes]) -> list[tuple[list[Entry], Result]]:
        """What each of these searches found, asked all at once."""
        found: dict[int, list[Entry]] = {self._send(request): [] for request in requests}
        ended: dict[int, Result] = {}
        await self._writer.drain()
        while len(ended) < len(found):
            answer = await self._receive()
            if answer.message_id not in found or answer.message_id in ended:
                raise nonsense("to a question that was not asked")
            entries = found[answer.message_id]
            match answer.operation:
                case ldap.SEARCH_ENTRY:
                    if len(entries) == MAX_ENTRIES:
                        raise nonsense("too many entries")
                    entries.append(parse_entry(answer))
                    await asyncio.sleep(0)  # whoever names the directory chooses what there is to parse
                case ldap.SEARCH_REFERENCE:
                    continue
                case ldap.SEARCH_DONE:
                    ended[answer.message_id] = parse_result(answer)
                case _:
                    raise nonsense("of another kind than was asked for")
        return [(found[message_id], ended[message_id]) for message_id in found]

    async def unbind(self) -> None:
        """Say goodbye. There is no answer to it, and nothing is waited for: a server that no longer reads must not
        keep us beyond the deadline."""
        self._send(ldap.unbind())
        await asyncio.sleep(0)  # the loop may send only when it turns

    async def _ask_one(self, operation: bytes, kind: int) -> Result:
        message_id = self._send(operation)
        await self._writer.drain()
        answer = await self._receive()
        if answer.message_id != message_id or answer.operation != kind:
            raise nonsense("to a question that was not asked")
        return parse_result(answer)

    def _send(self, operation: bytes) -> int:
        self._last += 1
        self._writer.write(ldap.message(self._last, operation))
        return self._last

    async def _receive(self) -> Answer:
        """The next message. A server that ends the conversation by itself says so in a message with number 0."""
        tag, first = await self._read(2)
        if tag != _SEQUENCE:
            raise nonsense("not a message")
        size = ldap.length_size(first)
        length = int.from_bytes(await self._read(size), "big") if size else first
        answer = ldap.parse_answer(await self._read(length))
        if answer.message_id == 0:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the directory ended the conversation")
        return answer

    async def _read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise nonsense("too large")
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the directory hung up") from None


@asynccontextmanager
async def conversation(calls: Calls, server: Server, roots: SSLContext | None) -> AsyncIterator[Conversation]:
    """With `server`, over TLS under `roots` (`egress.roots_of`). Raises OSError, `Refused` DESTINATION_REFUSED,
    `Unavailable`."""
    async with calls.turn(server.host, server.port):
        connection = await calls.dial(server.host, server.port, tls=True)
        try:
            if server.scheme == "ldap" and (await Conversation(connection).start_tls()).code != ldap.SUCCESS:
                raise Unavailable(Number.PROVIDER_UNAVAILABLE, "the directory does not start TLS")
            try:
                await calls.start_tls(connection, server.host, roots)
            except OSError as error:
                reason = f"no TLS with the directory: {type(error).__name__}"
                raise Unavailable(Number.PROVIDER_UNAVAILABLE, reason) from None
            # A new one after TLS: what was counted and numbered in clear is forgotten.
            secured = Conversation(connection)
            try:
                yield secured
            finally:
                await secured.unbind()
        finally:
            connection[1].transport.abort()
