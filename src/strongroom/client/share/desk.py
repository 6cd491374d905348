"""A sender's list of what was sent: pages of JSON in records of their own, kept by the Vault (`spec/share.md`).

A convenience, never an authority: what holds of a share is what its history says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.share.access import desk_instructions
from strongroom.client.share.format import FULL_DESK, MAX_ENTRY, DeskEntry, DeskPage, encode_json, parse_desk
from strongroom.client.share.site import Site
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.messages import ByPerson, OfNamespace

_MAX_PAGES: Final = 1_000
_TRIES: Final = 5
_ABSENT: Final = (Number.REFUSED, Number.THROTTLED)
"""Missing and refused look alike, and what is asked for in vain too often is throttled."""


@dataclass(frozen=True, slots=True)
class _Page:
    address: ByPerson
    version: int
    """0: not stored yet."""
    size: int
    entries: list[DeskEntry]


class Desk:
    """What the person signed in has sent from this site. Methods raise what `AsyncVault` does, and `Unreadable`."""

    def __init__(self, vault: AsyncVault, site: Site, trust: TrustPolicy) -> None:
        self._vault = vault
        self._site = site
        self._trust = trust

    async def entries(self) -> list[DeskEntry]:
        """All, newest first."""
        found = [entry for page in await self._pages() for entry in page.entries]
        return sorted(found, key=lambda entry: entry.sent_at, reverse=True)

    async def find(self, record_id: str) -> DeskEntry:
        """Raises `BadInput` for a share that is not on the list."""
        for page in await self._pages():
            for entry in page.entries:
                if entry.id == record_id:
                    return entry
        raise BadInput(f"you have sent no share {record_id}", "strongroom share list shows them, by who signed in")

    async def put(self, entry: DeskEntry) -> None:
        """Add an entry, or put it in the place of the one with its id."""
        if len(encode_json(entry)) > MAX_ENTRY:
            raise BadInput("this has too many recipients and passkeys for your list of shares", "name a group")
        await self._write(entry.id, lambda old: entry)

    async def change(self, record_id: str, **changes: object) -> None:
        """Change some fields of an entry; nothing if it is not on the list."""
        await self._write(record_id, lambda old: msgspec.structs.replace(old, **changes) if old else None)

    async def _write(self, record_id: str, new: Callable[[DeskEntry | None], DeskEntry | None]) -> None:
        for _ in range(_TRIES):
            pages = await self._pages()
            page, old = _place(pages, record_id)
            entry = new(old)
            if entry is None:
                return
            if page is None:
                page = _Page(await self._address(len(pages) + 1), 0, 0, [])
            kept = [entry if one.id == record_id else one for one in page.entries]
            data = encode_json(DeskPage(format="strongroom desk 1", entries=kept if old else [*kept, entry]))
            try:
                if page.version:
                    await self._vault.update(page.address, secret=data, replaces=page.version)
                else:
                    await self._vault.store(
                        data,
                        namespace=self._site.namespace,
                        instructions=desk_instructions(self._site, self._trust),
                        name=page.address.name,
                        person=page.address.person,
                    )
            except Misuse as error:
                if error.number is not Number.CONFLICT:
                    raise
                continue  # somebody, on another device, was quicker: look again
            return
        raise Unavailable(Number.BUSY, "your list of shares is being written elsewhere")

    async def _pages(self) -> list[_Page]:
        pages: list[_Page] = []
        while len(pages) < _MAX_PAGES:
            address = await self._address(len(pages) + 1)
            try:
                released = await self._vault.collect(address)
            except Refused as error:
                if error.number not in _ABSENT:
                    raise
                break
            size = len(released.secret)
            pages.append(_Page(address, released.version, size, parse_desk(released.secret).entries))
        return pages

    async def _address(self, number: int) -> ByPerson:
        people = await self._vault.sign_in(OfNamespace(namespace=self._site.namespace))
        return ByPerson(namespace=self._site.namespace, person=people[0].principal, name=f"desk-{number}")


def _place(pages: list[_Page], record_id: str) -> tuple[_Page | None, DeskEntry | None]:
    """The page that an entry is on or goes to, and the entry; no page: a new one is begun."""
    for page in pages:
        for entry in page.entries:
            if entry.id == record_id:
                return page, entry
    return (pages[-1] if pages and pages[-1].size <= FULL_DESK else None), None
