"""What happens on a deployment before it is attacked, so that there is something old to put back.

Each change is watched in the database: which rows a host has to put back to undo it, it sees for itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from strongroom.attack.database import Copy, Database, Row, payload_rows
from strongroom.attack.outcomes import CannotRun, SetUpFailed
from strongroom.attack.people import DEPOSITOR, OUTSIDER, RECIPIENT, TOUCHER, SecurityKey
from strongroom.client.addresses import format_address
from strongroom.client.policy import People, Policy
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Refused
from strongroom.protocol.messages import Terms

OLD_SECRET: Final = b"what it was before"
NEW_SECRET: Final = b"what it is now"
_NO_TERMS: Final = Terms(expires_at=0, max_opens=0, closed=False, fillable=False, blob=None, blob_bytes=0)


class Cast(Protocol):
    """Who acts, and how their clients are made."""

    namespace: str
    security_key: SecurityKey | None

    def has(self, name: str) -> bool:
        """Whether somebody of this name can sign in here."""

    def client(self, name: str) -> AsyncVault:
        """Of somebody who remembers what other clients of theirs saw."""

    def person(self, name: str) -> People:
        """As rules name them."""

    def instructions(self, rules: Policy) -> bytes:
        """Encoded, for records in the namespace."""


@dataclass(frozen=True, slots=True)
class History:
    """Two moments, and what changed between them."""

    before: Copy
    """When the recipient could still collect what was updated and deleted since."""
    now: Copy
    records: Mapping[str, str]
    """Addresses, by what they are for."""
    handles: Mapping[str, bytes]
    """Row keys of these records."""
    old: Mapping[str, Mapping[bytes, Row]]
    """Rows as they were before the last change of their kind."""
    leaves: Mapping[str, int]
    """Index of the first leaf of a change."""

    def address(self, name: str) -> str:
        """Raises `CannotRun` for what could not be made here."""
        if name not in self.records:
            raise CannotRun(f"nobody signs in here for whom there is a record to have {name}")
        return self.records[name]

    def rows(self, kind: str) -> Mapping[bytes, Row]:
        """Old rows to put back. Raises `CannotRun`."""
        if not self.old.get(kind):
            raise CannotRun(f"no change of this kind ({kind}) could be made here")
        return self.old[kind]


@dataclass
class _Maker:
    cast: Cast
    database: Database
    records: dict[str, str] = field(default_factory=dict)
    handles: dict[str, bytes] = field(default_factory=dict)
    old: dict[str, dict[bytes, Row]] = field(default_factory=dict)
    leaves: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def change(self, kind: str) -> AsyncIterator[None]:
        """Note which rows change meanwhile, and what they were."""
        before = await self.database.copy()
        yield
        after = await self.database.copy()
        changed = payload_rows(before.rows, after.rows)
        self.old[kind] = {key: before.rows[key] for key in changed if key in before.rows}
        self.leaves[kind] = len(before.leaves)

    async def store(self, alice: AsyncVault, name: str, rules: Policy, terms: Terms | None = None) -> None:
        """A record, and which row it is: the only new one, but for those that count what somebody stores."""
        before = await self.database.copy()
        instructions = self.cast.instructions(rules | Policy.depositor_may("update", "delete", "audit"))
        receipt = await alice.store(OLD_SECRET, namespace=self.cast.namespace, instructions=instructions, terms=terms)
        after = await self.database.copy()
        new = [key for key in payload_rows(before.rows, after.rows) if key not in before.rows]
        self.records[name] = format_address(receipt.address)
        self.handles[name] = max(new, key=lambda key: len(after.rows[key].sealed))


async def make_history(cast: Cast, database: Database) -> History:
    """Records, and a change of every kind that this cast can make. Raises `SetUpFailed`."""
    maker = _Maker(cast, database)
    reader = RECIPIENT if cast.has(RECIPIENT) else DEPOSITOR
    async with cast.client(DEPOSITOR) as alice:
        may_collect = cast.person(reader).may("collect")
        await maker.store(alice, "updated", may_collect)
        await maker.store(alice, "deleted", may_collect)
        await maker.store(alice, "kept", may_collect)
        await maker.store(alice, "tried", Policy(""))
        await maker.store(alice, "counted", may_collect, _NO_TERMS)
        await maker.store(alice, "asked", _under_approval(cast, reader))
        if cast.has(TOUCHER):
            await maker.store(alice, "touched", cast.person(TOUCHER).may("collect"))
        before = await database.copy()
        async with maker.change("record"):
            await alice.update(
                maker.records["updated"],
                secret=NEW_SECRET,
                instructions=cast.instructions(Policy.depositor_may("collect", "update", "delete", "audit")),
            )
        async with maker.change("deletion"):
            await alice.delete(maker.records["deleted"])
        async with maker.change("usage"):
            await maker.store(alice, "last", may_collect)
        await _ask(maker, alice, reader)
    await _try_in_vain(maker)
    await _collect_twice(maker, reader)
    if cast.security_key is not None:
        await _touch_twice(maker, cast.security_key)
    return History(before, await database.copy(), maker.records, maker.handles, maker.old, maker.leaves)


def _under_approval(cast: Cast, reader: str) -> Policy:
    asking = cast.person(reader)
    return (
        asking.may("ask")
        | asking.who("context.record.approval_count >= 1").may("collect")
        | cast.person(DEPOSITOR).may("approve")
    )


async def _ask(maker: _Maker, alice: AsyncVault, reader: str) -> None:
    """The row of what stands open: an approval that is used; where one person is all there is, a question anew."""
    where = maker.records["asked"]
    async with maker.cast.client(reader) as bob:
        asked = await bob.ask(where)
        if reader == DEPOSITOR:
            async with maker.change("standing"):
                await bob.ask(where)
            return
        await alice.approve(where, asked.question)
        async with maker.change("standing"):
            await bob.collect(where)


async def _try_in_vain(maker: _Maker) -> None:
    name = OUTSIDER if maker.cast.has(OUTSIDER) else DEPOSITOR
    async with maker.cast.client(name) as mallory:
        await _refused(mallory.collect(maker.records["tried"]))
        async with maker.change("attempts"):
            await _refused(mallory.collect(maker.records["tried"]))


async def _refused(work: Awaitable[object]) -> None:
    try:
        await work
    except Refused:
        return
    raise SetUpFailed("somebody whom the rules do not name was given a secret")


async def _collect_twice(maker: _Maker, reader: str) -> None:
    async with maker.cast.client(reader) as bob:
        await bob.collect(maker.records["counted"])
        async with maker.change("journal"):
            await bob.collect(maker.records["counted"])


async def _touch_twice(maker: _Maker, key: SecurityKey) -> None:
    async with maker.cast.client(TOUCHER) as dora:
        await dora.collect(maker.records["touched"])
        dora.sign_out()
        key.counter += 10
        async with maker.change("marks"):
            await dora.collect(maker.records["touched"])
        key.counter += 10
