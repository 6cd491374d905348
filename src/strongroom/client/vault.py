"""A Vault as its users see it: store, collect, update, fill, delete, approvals, history, describe.

Asyncio; `client.sync` is the other face.

    async with AsyncVault(url, load_trust("trust.toml"), sign_in=BrowserSignIn()) as vault:
        receipt = await vault.store(secret, namespace="team", instructions=instructions)
        released = await vault.collect(receipt.address)

Every request carries a random id, and every write the version it replaces: what is repeated has one effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from strongroom.attestation.appraisal import Appraisal
from strongroom.attestation.policy import TrustPolicy
from strongroom.client import results
from strongroom.client.access import Access, Answer, Anywhere
from strongroom.client.addresses import parse_address, verify_name
from strongroom.client.checkpoints import Checkpoints, own_checkpoints, warn
from strongroom.client.errors import BadInput
from strongroom.client.freshness import Watch
from strongroom.client.lockout import verify_changeable
from strongroom.client.requests import (
    merged,
    question_id,
    request_id_or_new,
    store_item,
    verify_sizes,
)
from strongroom.client.results import (
    Asked,
    Description,
    Erased,
    Grant,
    Journal,
    LogEntry,
    NewSecret,
    OpenQuestions,
    Person,
    Receipt,
    Released,
)
from strongroom.client.session import AttestedServer
from strongroom.client.sign_in import AnyWay, Approve, SignInDesk
from strongroom.client.trail import TrailReader
from strongroom.protocol import vault_messages
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted, from_number
from strongroom.protocol.instructions import Action
from strongroom.protocol.limits import MAX_APPROVAL_LIFE, MAX_BATCH, MAX_TRAIL
from strongroom.protocol.log_messages import Trail, TrailOf
from strongroom.protocol.messages import Address, ByPerson, OfNamespace, Terms, Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import (
    Approved,
    Ask,
    BlobGranted,
    Collect,
    Collected,
    CreateNamespace,
    Delete,
    Deleted,
    Fill,
    GrantBlob,
    History,
    HistoryOf,
    Item,
    NamespaceCreated,
    Questions,
    QuestionsOf,
    Store,
    Stored,
    Update,
    Updated,
)

T = TypeVar("T")
Result = Released | StrongroomError

DAY: Final = 24 * 3600
MIN_APPROVAL_LIFE: Final = 60


class AsyncVault:
    """The Vault at `url`, trusted only as far as `trust` says. An async context manager; parallel calls are fine.

    `binding_key` is whom tickets and namespaces are bound to; a fresh one by default. `sign_in` is how the user, or
    this program, can sign in, or several ways of which the first counts that a record takes; `issuer` is the name of
    the provider, or of another method, when there is a choice. `approve` is asked before the user is brought to a
    provider that is neither `issuer` nor one of a namespace that was named here: a record's depositor chose it, to fish
    for passwords perhaps. It raises what is to be raised then. Without it every provider will do, so that whoever takes
    addresses from strangers has to give `approve` or `issuer`; passwords and codes by e-mail are asked for by nobody
    without it, and a provider whose page to sign in is not on its issuer's origin then never is one. `signed_in` is
    told of each new sign-in. `checkpoints` is where the highest checkpoint that was seen of the Vault's log is kept, by
    which an older state of it is noticed; by default a folder of this user's, for all their programs on this machine
    (`docs/howto/freshness.md`). `notice` is told what the user should know and need not stop for, such as that the
    Vault was recovered by its custodians; a warning by default. `now` gives unix seconds.

    All methods raise `StrongroomError`s: `Untrusted` when the Vault or an Authenticator is not what `trust` demands
    or the network lies (ROLLED_BACK: the Vault shows another history than before), `Refused` for a no, `Misuse` for
    mistakes, `Unavailable` when it may work later.
    """

    def __init__(
        self,
        url: str,
        trust: TrustPolicy,
        *,
        binding_key: SigningKey | None = None,
        sign_in: AnyWay | Sequence[AnyWay] | None = None,
        issuer: str | None = None,
        approve: Approve | None = None,
        signed_in: Callable[[Person], None] = lambda person: None,
        checkpoints: Checkpoints | None = None,
        notice: Callable[[str], None] = warn,
        now: Callable[[], float] = time.time,
    ) -> None:
        key = binding_key or SigningKey.generate()
        watch = Watch(url, trust, checkpoints if checkpoints is not None else own_checkpoints(), now, notice)
        self._server = AttestedServer(url, role="vault", policy=trust.vault, binding_key=key, now=now, watch=watch)
        self._desk = SignInDesk(
            trust,
            key,
            sign_in=sign_in,
            issuer=issuer,
            approve=approve,
            signed_in=signed_in,
            now=now,
            standings=watch.standings,
        )
        self._access = Access(self._server, self._desk)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, and keep what was seen of the log. Tickets and session keys are forgotten.

        Raises `Untrusted` ROLLED_BACK where another program of this user was shown another history meanwhile.
        """
        await self._desk.aclose()
        await self._server.aclose()

    def sign_out(self) -> None:
        """Forget all tickets: what comes next is asked as whom the user signs in as then."""
        self._desk.discard(self._desk.all())

    async def sign_in_also(self, address: Address | str, *, issuer: str | None = None) -> None:
        """Have another person sign in on this device, beside whoever has: for a record whose rules ask for two.

        The provider is asked for a new sign-in, whatever its own session says; `issuer` names it if it is another
        one. What both may open together stays open for as long as the earlier sign-in counts.
        """
        await self._access.sign_in_also(_address(address), issuer)

    # --- who is there -----------------------------------------------------------------------------------------

    async def evidence(self) -> bytes:
        """The Vault's current evidence, appraised by nobody yet."""
        return await self._server.evidence()

    async def verify(self) -> Appraisal:
        """Fetch evidence and appraise it; no session is opened. Raises `Untrusted` EVIDENCE with the reason."""
        return await self._server.verify()

    # --- store ------------------------------------------------------------------------------------------------

    async def store(
        self,
        secret: bytes,
        *,
        namespace: str,
        instructions: bytes,
        name: str | None = None,
        metadata: bytes = b"",
        replaces: int = 0,
        record_id: bytes | None = None,
        terms: Terms | None = None,
        person: str | None = None,
        request_id: bytes | None = None,
    ) -> Receipt:
        """Create a record: under `name` in the namespace, or under `record_id` (16 random bytes, made by default).

        `terms` are what the Vault itself holds to, such as an expiry; a record that has them has a journal. With
        `person`, your own principal as `sign_in` gives it, nobody else can store under that name. `secret` has at
        most 64 KiB, `metadata` 4 KiB; `instructions` come from `client.policy` or `client.instructions_file`.
        `replaces` is 0, or the version of a deleted record of that address. To repeat a store whose outcome you don't
        know, give both ids again. Raises `Misuse` CONFLICT for an address in use, and LOCKS_OUT before anything is sent
        if only the depositor may update or delete, and you signed in by no method of these instructions.
        """
        item = NewSecret(secret, instructions, name, metadata, replaces, record_id, terms, person)
        return (await self.store_many([item], namespace=namespace, request_id=request_id))[0]

    async def store_many(
        self, items: Sequence[NewSecret], *, namespace: str, request_id: bytes | None = None
    ) -> list[Receipt]:
        """Create up to 256 records in one commit: all or none. Receipts are in the order of the items."""
        verify_name(namespace, "namespace")
        if not 1 <= len(items) <= MAX_BATCH:
            raise BadInput(f"one store takes 1 to {MAX_BATCH} records", "store them in several calls")
        parsed = [store_item(item, namespace) for item in items]
        request_id = request_id_or_new(request_id)

        own = next((item.address.person for item in parsed if isinstance(item.address, ByPerson)), "")

        async def attempt(tickets: list[Ticket]) -> Stored:
            tickets = self._desk.ordered(tickets, own)
            for instructions in {item.instructions for item in parsed}:
                verify_changeable(instructions, self._desk.holders(tickets))
            for item in parsed:
                if item.replaces:  # who may re-create what was deleted, its own instructions say
                    tickets = merged(tickets, await self._access.tickets(item.address))
            request = Store(request_id=request_id, namespace=namespace, tickets=tickets, items=parsed)
            return await self._server.ask(request, Stored)

        stored = await self._access.with_tickets(OfNamespace(namespace=namespace), attempt)
        if len(stored.versions) != len(parsed):
            raise Untrusted(Number.INTEGRITY, "the enclave answered for other records")
        return [Receipt(item.address, version) for item, version in zip(parsed, stored.versions, strict=True)]

    # --- collect ----------------------------------------------------------------------------------------------

    async def collect(self, address: Address | str, *, request_id: bytes | None = None) -> Released:
        """The secret at `address`, after a sign-in if need be. Raises `Refused` for a no and for what isn't there.

        Where the record's terms count openings: to repeat a collect whose answer was lost, give the same id again,
        from the same client, and it counts once.
        """
        where = _address(address)
        request_id = request_id_or_new(request_id)

        async def attempt(tickets: list[Ticket]) -> Released:
            result = (await self._collect([where], tickets, request_id))[where]
            if isinstance(result, StrongroomError):
                raise result
            return result

        return await self._access.with_tickets(where, attempt)

    async def collect_many(self, addresses: Sequence[Address | str]) -> list[Released | StrongroomError]:
        """Secrets, or why not, in the order of the addresses; as few round trips as the sign-ins allow.

        Raises only what concerns the whole: no connection, no trust, no sign-in.
        """
        wanted = [_address(address) for address in addresses]
        distinct = list(dict.fromkeys(wanted))
        results: dict[Address, Result] = {}
        for start in range(0, len(distinct), MAX_BATCH):
            results |= await self._collect_batch(distinct[start : start + MAX_BATCH])
        return [results[where] for where in wanted]

    async def _collect_batch(self, addresses: list[Address]) -> dict[Address, Result]:
        """All together with the tickets at hand; then once more those that turn out to need others.

        Not one by one until it works: each refusal is counted against whoever signed in.
        """
        results: dict[Address, Result] = {}
        own: list[Ticket] | StrongroomError = []
        while addresses and isinstance(own := await self._access.tickets_or_refusal(addresses[0]), StrongroomError):
            results[addresses[0]] = own
            addresses = addresses[1:]
        if not addresses or isinstance(own, StrongroomError):
            return results
        presented = merged(own, self._desk.all())
        first = await self._collect(addresses, presented)
        doubtful = [
            where
            for where, result in first.items()
            if isinstance(result, StrongroomError) and self._access.is_doubtful(where, result)
        ]
        found = await asyncio.gather(*(self._access.tickets_or_refusal(where) for where in doubtful))
        again: dict[tuple[bytes, ...], tuple[list[Ticket], list[Address]]] = {}
        for where, tickets in zip(doubtful, found, strict=True):
            if isinstance(tickets, StrongroomError):
                first[where] = tickets
            elif any(ticket not in presented for ticket in tickets):
                group = tuple(ticket.sealed for ticket in tickets)
                again.setdefault(group, (tickets, []))[1].append(where)
        for tickets, group_addresses in again.values():
            first |= await self._collect(group_addresses, tickets)
        return results | first

    async def _collect(
        self, addresses: list[Address], tickets: list[Ticket], request_id: bytes | None = None
    ) -> dict[Address, Result]:
        """One request; and further ones for what no longer fitted into the reply (TOO_LARGE)."""
        request = Collect(request_id=request_id_or_new(request_id), tickets=tickets, addresses=addresses)
        results = (await self._server.ask(request, Collected)).results
        if len(results) != len(addresses):
            raise Untrusted(Number.INTEGRITY, "the enclave answered for other records")
        found: dict[Address, Result] = {
            where: Released(result.secret, result.metadata, result.version, result.author, result.terms, result.opens)
            if isinstance(result, Item)
            else from_number(result.number)
            for where, result in zip(addresses, results, strict=True)
        }
        rest = [where for where, result in found.items() if _is_too_large(result)]
        return found | await self._collect(rest, tickets) if 0 < len(rest) < len(addresses) else found

    # --- update, fill and delete --------------------------------------------------------------------------------

    async def update(
        self,
        address: Address | str,
        *,
        secret: bytes | None = None,
        metadata: bytes | None = None,
        instructions: bytes | None = None,
        terms: Terms | None = None,
        replaces: int | None = None,
        request_id: bytes | None = None,
    ) -> Receipt:
        """Replace secret, metadata, instructions or terms; None leaves as it is.

        Only a record that was stored with terms has any; it keeps its blob, and once closed it stays closed.
        `replaces` is the version that you have seen, and CONFLICT is raised if somebody changed it since. Without it,
        whatever is there is replaced. Raises LOCKS_OUT for instructions as `store` does.
        """
        where = _address(address)
        if secret is None and metadata is None and instructions is None and terms is None:
            raise BadInput("there is nothing to update", "give a secret, metadata, instructions or terms")
        verify_sizes(secret or b"", metadata or b"", instructions or b"")
        request_id = request_id_or_new(request_id)

        def write(version: int, tickets: list[Ticket]) -> Answer[Updated]:
            if instructions is not None:
                verify_changeable(instructions, self._desk.holders(tickets))
            request = Update(
                request_id=request_id,
                address=where,
                replaces=version,
                tickets=tickets,
                secret=secret,
                metadata=metadata,
                instructions=instructions,
                terms=terms,
            )
            return self._server.ask(request, Updated)

        updated = await self._replacing(where, replaces, write)
        if instructions is not None:
            self._access.forget(where)
        return Receipt(where, updated.version)

    async def fill(
        self,
        address: Address | str,
        secret: bytes,
        *,
        metadata: bytes = b"",
        replaces: int | None = None,
        request_id: bytes | None = None,
    ) -> Receipt:
        """Set the secret of a record that waits for it: once, by whoever comes first of those who may.

        `replaces` as for `update`. Raises `Misuse` CONFLICT when somebody else has filled it.
        """
        where = _address(address)
        verify_sizes(secret, metadata, b"")
        request_id = request_id_or_new(request_id)

        def write(version: int, tickets: list[Ticket]) -> Answer[Updated]:
            request = Fill(
                request_id=request_id,
                address=where,
                replaces=version,
                tickets=tickets,
                secret=secret,
                metadata=metadata,
            )
            return self._server.ask(request, Updated)

        return Receipt(where, (await self._replacing(where, replaces, write)).version)

    async def delete(
        self, address: Address | str, *, replaces: int | None = None, request_id: bytes | None = None
    ) -> Erased:
        """Erase the secret at once; `replaces` as for `update`. The address stays taken by a tombstone."""
        where = _address(address)
        request_id = request_id_or_new(request_id)

        def write(version: int, tickets: list[Ticket]) -> Answer[Deleted]:
            request = Delete(request_id=request_id, address=where, replaces=version, tickets=tickets)
            return self._server.ask(request, Deleted)

        deleted = await self._replacing(where, replaces, write)
        return Erased(where, deleted.version, deleted.epoch)

    async def _replacing(
        self, where: Address, replaces: int | None, write: Callable[[int, list[Ticket]], Answer[T]]
    ) -> T:
        """`write` over version `replaces`, or over the one that the Vault says is there."""
        try:
            return await self._access.with_tickets(where, lambda tickets: write(replaces or 0, tickets))
        except Misuse as error:
            if replaces is not None or error.number is not Number.CONFLICT or not error.version:
                raise
            current = error.version
        return await self._access.with_tickets(where, lambda tickets: write(current, tickets))

    # --- approvals --------------------------------------------------------------------------------------------

    async def ask(
        self,
        address: Address | str,
        *,
        action: Action = "collect",
        seconds: int = DAY,
        request_id: bytes | None = None,
    ) -> Asked:
        """Ask others to approve that you do `action` once, within `seconds` (a minute to 30 days).

        What they approve counts for whoever you sign in as, with this client's `binding_key`, for the record as it is
        now: keep the key, and do it before the record changes. Another question of yours for the same action takes
        this one's place. Raises `Misuse` QUOTA_EXCEEDED when too many questions are open.
        """
        where = _address(address)
        if not MIN_APPROVAL_LIFE <= seconds <= MAX_APPROVAL_LIFE:
            raise BadInput("a question stands for a minute to 30 days", "choose a time in between")
        request_id = request_id_or_new(request_id)

        def send(tickets: list[Ticket]) -> Answer[vault_messages.Asked]:
            request = Ask(request_id=request_id, address=where, action=action, tickets=tickets, seconds=seconds)
            return self._server.ask(request, vault_messages.Asked)

        asked = await self._access.with_tickets(where, send)
        return Asked(where, asked.question, asked.version, asked.expires_at)

    async def questions(self, address: Address | str) -> OpenQuestions:
        """What waits for approvals at a record; needs the right to `approve`."""
        where = _address(address)
        found = await self._access.with_tickets(
            where, lambda tickets: self._server.ask(Questions(address=where, tickets=tickets), QuestionsOf)
        )
        return OpenQuestions(found.version, tuple(found.questions))

    async def approve(self, address: Address | str, question: bytes | str, *, request_id: bytes | None = None) -> int:
        """Say yes to a question (16 bytes, or 32 hex digits); how many have approved so far, each counted once.

        Raises `Refused` for a question that is not open, or not any more, and for your own.
        """
        where, number = _address(address), question_id(question)
        request_id = request_id_or_new(request_id)

        def send(tickets: list[Ticket]) -> Answer[Approved]:
            request = vault_messages.Approve(request_id=request_id, address=where, question=number, tickets=tickets)
            return self._server.ask(request, Approved)

        return (await self._access.with_tickets(where, send)).approvals

    # --- what the Vault says of a record ------------------------------------------------------------------------

    async def history(self, address: Address | str) -> Journal:
        """Who asked for a record that has terms, and what was answered; needs the right to `audit`."""
        where = _address(address)
        found = await self._access.with_tickets(
            where, lambda tickets: self._server.ask(History(address=where, tickets=tickets), HistoryOf)
        )
        return Journal(found.version, found.opens, found.terms, tuple(found.visits))

    async def trail(
        self, address: Address | str, *, before: LogEntry | None = None, limit: int | None = MAX_TRAIL
    ) -> results.Trail:
        """Who asked for a record, and what was answered, from the Vault's log: the newest `limit` entries, None for all
        of them; with `before` those that came before that one. Needs the right to `audit`, and is an entry itself.

        Each entry is proven to be in the log, and none is left out: `Untrusted` LOG_OMITTED is raised otherwise.
        """
        where = _address(address)
        if limit is not None and limit < 1:
            raise BadInput("no entries are asked for", "give a limit of 1 or more, or None for all entries")
        reader = TrailReader(before)
        while not reader.is_complete and (limit is None or len(reader.entries) < limit):
            wanted = MAX_TRAIL if limit is None else min(MAX_TRAIL, limit - len(reader.entries))

            def ask(tickets: list[Ticket], wanted: int = wanted) -> Answer[TrailOf]:
                request = Trail(address=where, tickets=tickets, place=reader.place, limit=wanted)
                return self._server.ask(request, TrailOf)

            reader.read(await self._access.with_tickets(where, ask), wanted)
        return results.Trail(reader.version, reader.size, tuple(reader.entries))

    async def grant_blob(self, address: Address | str) -> Grant:
        """What to show to the host about the record's blob: to upload it, to prolong it, or to have it erased.

        By who may `update` the record, or may still `fill` it. Raises `Misuse` UNSUPPORTED for a record without blob.
        """
        where = _address(address)
        granted = await self._access.with_tickets(
            where, lambda tickets: self._server.ask(GrantBlob(address=where, tickets=tickets), BlobGranted)
        )
        return Grant(granted.statement, granted.signature)

    # --- describe and namespaces ------------------------------------------------------------------------------

    async def describe(self, address: Anywhere | str) -> Description:
        """How to sign in for a record or a namespace. A random id is enough; for a name you sign in first."""
        return await self._access.describe(_address(address) if isinstance(address, str) else address)

    async def create_namespace(
        self,
        name: str,
        *,
        instructions: bytes,
        max_records: int,
        max_bytes: int,
        max_records_per_identity: int,
        max_bytes_per_identity: int,
        replaces: int = 0,
        request_id: bytes | None = None,
    ) -> int:
        """Make a namespace, or replace its version `replaces`; the new version. Only for the cluster's owner: the
        binding key must be the one that the genesis statement names. The limits are totals; 0 allows nothing."""
        verify_name(name, "namespace")
        verify_sizes(b"", b"", instructions)
        request = CreateNamespace(
            request_id=request_id_or_new(request_id),
            namespace=name,
            replaces=replaces,
            instructions=instructions,
            max_records=max_records,
            max_bytes=max_bytes,
            max_records_per_identity=max_records_per_identity,
            max_bytes_per_identity=max_bytes_per_identity,
        )
        created = await self._server.ask(request, NamespaceCreated)
        self._access.forget(OfNamespace(namespace=name))
        return created.version

    async def sign_in(self, address: Anywhere | str) -> list[Person]:
        """Sign in for a record or a namespace, if need be; as whom."""
        where = _address(address) if isinstance(address, str) else address
        await self._access.tickets(where)
        return self._access.people(where)


def _is_too_large(result: Result) -> bool:
    return isinstance(result, StrongroomError) and result.number is Number.TOO_LARGE


def _address(address: Address | str) -> Address:
    return parse_address(address) if isinstance(address, str) else address
