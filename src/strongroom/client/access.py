"""What it takes to be let in somewhere in a Vault: how to sign in there, and the tickets that come of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from strongroom.client.requests import description_of
from strongroom.client.results import Description, Person
from strongroom.client.session import AttestedServer
from strongroom.client.sign_in import SignInDesk, Ways
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.messages import Address, ByName, ByPerson, OfNamespace, Ticket
from strongroom.protocol.vault_messages import Describe, Described

T = TypeVar("T")
Answer = Coroutine[Any, Any, T]
Anywhere = Address | OfNamespace

REMEMBERED: Final = 4096
"""Addresses whose ways to sign in are kept in mind."""

_BAD_TICKET: Final = (Number.TICKET_MISSING, Number.TICKET_EXPIRED, Number.TOKEN_UNTRUSTED)
"""Of the last: it counted until a later sign-in, with the same passkey in another client perhaps, overtook it."""


class Access:
    """Signs the user in where that is needed, and remembers how. Methods raise as `AsyncVault`'s do."""

    def __init__(self, server: AttestedServer, desk: SignInDesk) -> None:
        self._server = server
        self._desk = desk
        self._ways: OrderedDict[Anywhere, Ways] = OrderedDict()

    async def describe(self, where: Anywhere) -> Description:
        """How to sign in there. For a name one signs in to its namespace first."""
        if isinstance(where, ByName | ByPerson):
            described = await self.with_tickets(
                OfNamespace(namespace=where.namespace), lambda tickets: self._describe(where, tickets)
            )
        else:
            described = await self._describe(where, [])
        description = description_of(described)
        if isinstance(where, OfNamespace):
            self._desk.approved(description)
        self._ways[where] = self._desk.ways(description)
        self._ways.move_to_end(where)
        if len(self._ways) > REMEMBERED:
            self._ways.popitem(last=False)
        return description

    async def with_tickets(self, where: Anywhere, attempt: Callable[[list[Ticket]], Answer[T]]) -> T:
        """`attempt` with tickets that fit `where`; once more if they had expired, or if others fit by now because
        somebody changed the instructions."""
        tickets = await self.tickets(where)
        try:
            return await attempt(tickets)
        except (Misuse, Refused, Untrusted) as error:
            if error.number in _BAD_TICKET:
                self._desk.discard(tickets)
            elif error.number is not Number.REFUSED:
                raise
            self.forget(where)
            others = await self.tickets(where)
            if others == tickets:
                raise
        try:
            return await attempt(others)
        except Untrusted as error:
            raise self._desk.explained(error, others) from None

    async def tickets(self, where: Anywhere) -> list[Ticket]:
        """Tickets that fit `where`, after a sign-in if need be."""
        ways = self._ways.get(where)
        if ways is not None and (tickets := self._desk.find(ways)):
            return tickets
        try:
            return await self._sign_in(where)
        except Misuse as error:
            if error.number is not Number.STALE_KEY:
                raise
        return await self._sign_in(where)  # the capsule has expired

    async def tickets_or_refusal(self, where: Address) -> list[Ticket] | StrongroomError:
        """As `tickets`; what concerns this one record only is returned, not raised."""
        try:
            return await self.tickets(where)
        except Refused as error:
            if error.number not in (Number.REFUSED, Number.THROTTLED):
                raise
            return error

    async def sign_in_also(self, where: Anywhere, issuer: str | None) -> None:
        """Have somebody sign in beside whoever has."""
        await self.tickets(where)
        description = await self.describe(where)
        await self._desk.sign_in_also(description, await self._vault(), issuer=issuer)

    def people(self, where: Anywhere) -> list[Person]:
        """As whom the user has signed in there."""
        return self._desk.people(self._ways[where])

    def forget(self, where: Anywhere) -> None:
        """How to sign in there may have changed."""
        self._ways.pop(where, None)

    def is_doubtful(self, where: Address, error: StrongroomError) -> bool:
        """Whether other tickets might change this answer; forgets what was known, and tickets that did not serve."""
        if error.number not in (*_BAD_TICKET, Number.REFUSED):
            return False
        ways = self._ways.pop(where, None)
        if ways is not None and error.number in _BAD_TICKET:
            self._desk.discard(self._desk.find(ways))
        return True

    async def _sign_in(self, where: Anywhere) -> list[Ticket]:
        description = await self.describe(where)
        return await self._desk.sign_in(description, await self._vault())

    async def _vault(self) -> bytes:
        return (await self._server.appraisal()).genuine.claims.cluster_id

    def _describe(self, where: Anywhere, tickets: list[Ticket]) -> Answer[Described]:
        return self._server.ask(Describe(address=where, tickets=tickets), Described)
