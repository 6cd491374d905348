"""Send files, receive them, and keep what was sent in hand. Asyncio.

    async with AsyncVault(site.vault, trust, sign_in=BrowserSignIn()) as vault:
        shares = Shares(vault, trust, site)
        sent = await shares.send(find_sources([Path("report.pdf")]), Draft(title="Report", recipients=…, expires_at=…))
        opened = await Receiver(vault).open(parse_link(str(sent.link)))

Encryption and its check happen here; the host gets ciphertext, and the link holds an id, never a key.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.results import Journal, NewSecret, Released
from strongroom.client.share.access import (
    Recipients,
    box_instructions,
    invitation_instructions,
    recipients_of,
    share_instructions,
)
from strongroom.client.share.age import generate_identity, parse_identity
from strongroom.client.share.blobs import BlobHost, Progress
from strongroom.client.share.desk import Desk
from strongroom.client.share.errors import NotReady, Unreadable
from strongroom.client.share.format import (
    MAX_MESSAGE,
    MAX_TITLE,
    DeskEntry,
    FileEntry,
    Manifest,
    ManifestPlace,
    RequestSecret,
    ShareSecret,
    encode_json,
    parse_request,
    parse_share,
    verify_texts,
)
from strongroom.client.share.pack import Pack, Source, open_file, open_manifest
from strongroom.client.share.site import Link, Site
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.messages import ById, OfNamespace, Person, Terms

DAY: Final = 86_400
KEPT_DAYS: Final = 14
"""For which the answer to a request is kept beyond the time until which it was wanted."""
_ID: Final = 16


def _nothing(done: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What to say with a share or a request, to whom, and for how long."""

    title: str
    message: str = ""
    recipients: Recipients
    expires_at: int
    """Unix seconds."""
    max_opens: int = 0
    """0: any number."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A share or a request that is in place."""

    link: Link
    size: int
    """Bytes that the host keeps, or may come to keep."""
    expires_at: int


class Shares:
    """What the person signed in sends from a site, whose statement they have approved.

    Methods raise what `AsyncVault` and `BlobHost` do, and `BadInput`.
    """

    def __init__(
        self, vault: AsyncVault, trust: TrustPolicy, site: Site, *, now: Callable[[], float] = time.time
    ) -> None:
        self._vault = vault
        self._trust = trust
        self._site = site
        self._now = now
        self.desk: Final = Desk(vault, site, trust)

    # --- send -------------------------------------------------------------------------------------------------

    async def send(self, sources: Sequence[Source], draft: Draft, progress: Progress = _nothing) -> Sent:
        """Encrypt and upload files; then they are there for the recipients. `progress` gets bytes uploaded in all."""
        self._verify_draft(draft)
        pack = Pack(sources)
        if pack.size > self._site.max_bytes:
            raise BadInput(
                f"these files make {pack.size:,} bytes, and the site takes {self._site.max_bytes:,}",
                "send less at a time, or compress it",
            )
        await self._verify_methods()
        record_id, blob = secrets.token_bytes(_ID), secrets.token_bytes(_ID)
        where = ById(id=record_id)
        identity = generate_identity()
        secret = _share_secret(draft.title, draft.message, identity, blob, pack, int(self._now()))
        entry = self._entry("share", record_id, draft, blob, pack.size, len(pack.sources))
        await self.desk.put(entry)
        stored = await self._vault.store(
            encode_json(secret),
            namespace=self._site.namespace,
            instructions=share_instructions(self._site, self._trust, draft.recipients),
            record_id=record_id,
            terms=_terms(draft, blob, pack.size),
        )
        place = await _upload(self._vault, self._site.origin, where, blob, pack, identity, progress)
        whole = msgspec.structs.replace(secret, manifest=place)
        await self._vault.update(where, secret=encode_json(whole), replaces=stored.version)
        await self.desk.change(entry.id, state="sent")
        return Sent(self._site.link("share", record_id), pack.size, draft.expires_at)

    # --- keep in hand -----------------------------------------------------------------------------------------

    async def history(self, record_id: bytes) -> Journal:
        """Who asked for a share of one's own, with what answer; of a request, who asked for its box."""
        entry = await self.desk.find(record_id.hex())
        return await self._vault.history(ById(id=bytes.fromhex(entry.box or entry.id)))

    async def revoke(self, record_id: bytes) -> None:
        """From now on nobody opens it; the host erases the blob. Who has opened it already keeps what they have.

        The Vault is told first. When the host can't be reached after that, `Unreachable` is raised, and to repeat this
        is all there is to do.
        """
        entry = await self.desk.find(record_id.hex())
        for one in filter(None, (entry.id, entry.box)):
            where = ById(id=bytes.fromhex(one))
            terms = (await self._vault.history(where)).terms
            if not terms.closed:
                await self._vault.update(where, secret=b"", terms=msgspec.structs.replace(terms, closed=True))
        await self.desk.change(entry.id, state="revoked")
        await self._show_grant(entry)

    async def extend(
        self,
        record_id: bytes,
        *,
        expires_at: int | None = None,
        max_opens: int | None = None,
        recipients: Sequence[str] = (),
    ) -> DeskEntry:
        """Another expiry, another number of opens (0: any), further recipients; the entry as it is then."""
        entry = await self.desk.find(record_id.hex())
        if entry.state == "revoked":
            raise BadInput("this share was revoked, for good", "send the files again")
        if expires_at is not None:
            self._verify_expiry(expires_at)
        if recipients:
            entry = msgspec.structs.replace(entry, recipients=sorted({*entry.recipients, *map(str.lower, recipients)}))
        # Those who were recipients before stay so: what is built anew is built from the whole entry.
        people = recipients_of(entry.recipients, entry.groups, entry.second, entry.passkeys)
        for one in filter(None, (entry.id, entry.box)):
            where = ById(id=bytes.fromhex(one))
            terms = (await self._vault.history(where)).terms
            kept = KEPT_DAYS * DAY if one == entry.box else 0
            changed = msgspec.structs.replace(
                terms,
                expires_at=terms.expires_at if expires_at is None else expires_at + kept,
                max_opens=terms.max_opens if max_opens is None or one == entry.box else max_opens,
            )
            build = box_instructions if one == entry.box else share_instructions
            await self._vault.update(
                where,
                terms=changed if changed != terms else None,
                instructions=build(self._site, self._trust, people) if recipients or changed == terms else None,
            )
        entry = msgspec.structs.replace(
            entry,
            expires_at=entry.expires_at if expires_at is None else expires_at,
            max_opens=entry.max_opens if max_opens is None else max_opens,
        )
        await self.desk.put(entry)
        if expires_at is not None:
            await self._show_grant(entry)
        return entry

    # --- ask for files ----------------------------------------------------------------------------------------

    async def request(self, draft: Draft, max_bytes: int) -> Sent:
        """Ask somebody for files, of at most `max_bytes` as a pack: what they send opens for the asker alone."""
        self._verify_draft(draft)
        if not 0 < max_bytes <= self._site.max_bytes:
            raise BadInput(f"the site takes at most {self._site.max_bytes:,} bytes", "ask for less")
        await self._verify_methods()
        invitation, box, blob = (secrets.token_bytes(_ID) for _ in range(3))
        secret = RequestSecret(
            format="strongroom request 1",
            title=draft.title,
            message=draft.message,
            box=box.hex(),
            box_version=1,
            blob=blob.hex(),
            max_bytes=max_bytes,
            expires_at=draft.expires_at,
        )
        box_terms = msgspec.structs.replace(
            _terms(draft, blob, max_bytes), expires_at=draft.expires_at + KEPT_DAYS * DAY, max_opens=0, fillable=True
        )
        entry = self._entry("request", invitation, draft, blob, max_bytes, 0)
        entry = msgspec.structs.replace(entry, box=box.hex())
        await self.desk.put(entry)
        await self._vault.store_many(
            [
                NewSecret(
                    b"",
                    box_instructions(self._site, self._trust, draft.recipients),
                    record_id=box,
                    terms=box_terms,
                ),
                NewSecret(
                    encode_json(secret),
                    invitation_instructions(self._site, self._trust, draft.recipients),
                    record_id=invitation,
                    terms=Terms(
                        expires_at=draft.expires_at, max_opens=0, closed=False, fillable=False, blob=None, blob_bytes=0
                    ),
                ),
            ],
            namespace=self._site.namespace,
        )
        await self.desk.change(entry.id, state="sent")
        return Sent(self._site.link("request", invitation), max_bytes, draft.expires_at)

    # --- parts ------------------------------------------------------------------------------------------------

    async def _verify_methods(self) -> None:
        """Who stores by one method is nobody by another: they could never revoke what they sent."""
        described = await self._vault.describe(OfNamespace(namespace=self._site.namespace))
        known = {method.digest for method in described.methods}
        if not {method_digest(encode(method)) for method in self._site.methods} <= known:
            raise BadInput(
                "the site's statement has sign-in methods that its namespace does not have",
                "its operator must make both from the same instructions file",
            )

    async def _show_grant(self, entry: DeskEntry) -> None:
        where = ById(id=bytes.fromhex(entry.box or entry.id))
        grant = await self._vault.grant_blob(where)
        async with BlobHost(self._site.origin) as host:
            await host.show_grant(bytes.fromhex(entry.blob), grant)

    def _entry(self, kind: str, record_id: bytes, draft: Draft, blob: bytes, size: int, files: int) -> DeskEntry:
        people = draft.recipients
        return msgspec.convert(
            {
                "id": record_id.hex(),
                "kind": kind,
                "title": draft.title,
                "recipients": list(people.emails),
                "groups": list(people.groups),
                "second": people.second,
                "passkeys": [msgspec.structs.asdict(card) for card in people.cards],
                "expires_at": draft.expires_at,
                "max_opens": draft.max_opens,
                "sent_at": int(self._now()),
                "size": size,
                "files": files,
                "blob": blob.hex(),
                "box": None,
                "state": "uploading",
            },
            DeskEntry,
        )

    def _verify_draft(self, draft: Draft) -> None:
        if not 1 <= len(draft.title) <= MAX_TITLE or len(draft.message) > MAX_MESSAGE:
            raise BadInput(
                f"a title has 1 to {MAX_TITLE} characters, a message at most {MAX_MESSAGE:,}", "write a shorter one"
            )
        try:
            verify_texts(draft.title, draft.message)
        except Unreadable as error:
            raise BadInput(f"this can't be sent: {error.reason}", "write another title or message") from None
        self._verify_expiry(draft.expires_at)

    def _verify_expiry(self, expires_at: int) -> None:
        days = (expires_at - self._now()) / DAY
        if not 0 < days <= self._site.max_days + 0.01:
            raise BadInput(f"shares of this site last at most {self._site.max_days} days", "choose another expiry")


# --- receive --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenShare:
    """A share that the Vault released and whose list of files has been verified."""

    link: Link
    title: str
    message: str
    sender: Person
    """Who sent it: the Vault's word, not the sender's own."""
    sent_at: int
    """By the sender's clock."""
    terms: Terms
    opens: int
    size: int
    manifest: Manifest
    blob: bytes = field(repr=False)
    identity: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A request for files that the Vault released."""

    link: Link
    asker: Person
    """Who asks: the Vault's word."""
    request: RequestSecret


class Receiver:
    """What others sent. No site statement is needed for it: what counts is the user's own trust policy."""

    def __init__(self, vault: AsyncVault, *, now: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._now = now

    async def open(self, link: Link, host: BlobHost) -> OpenShare:
        """Collect a share, which counts as opening it, and get its list of files.

        Raises what `AsyncVault` does (CLOSED, EXPIRED, OPENED_OUT, …), `NotReady`, `Damaged`, `Unreadable`.
        """
        released, terms = await self._collect(link)
        if not released.secret:
            raise _empty(terms)
        share = parse_share(released.secret)
        blob = bytes.fromhex(share.blob)
        if terms.blob != blob or terms.blob_bytes < share.size:
            raise Unreadable("it points at the blob of another record")
        if share.manifest is None:
            raise NotReady("the files are still being uploaded", "ask the sender, or try again in a while")
        listed = bytearray()
        async with aclosing(host.read(blob, share.manifest.offset, share.manifest.length)) as pieces:
            async for piece in pieces:
                listed += piece
        manifest = open_manifest(share, parse_identity(share.identity), bytes(listed))
        return OpenShare(
            link=link,
            title=share.title,
            message=share.message,
            sender=released.author,
            sent_at=share.sent_at,
            terms=terms,
            opens=released.opens,
            size=share.size,
            manifest=manifest,
            blob=blob,
            identity=share.identity,
        )

    async def read(self, share: OpenShare, entry: FileEntry, host: BlobHost) -> AsyncIterator[bytes]:
        """The plaintext of one file, verified piece by piece; whole only when this ends. Raises `Damaged`."""
        async with aclosing(host.read(share.blob, entry.offset, entry.length)) as untrusted:
            async for piece in open_file(entry, parse_identity(share.identity), untrusted):
                yield piece

    async def invitation(self, link: Link) -> Invitation:
        """See who asks for files, and for what."""
        released, terms = await self._collect(link)
        if not released.secret:
            raise _empty(terms)
        return Invitation(link, released.author, parse_request(released.secret))

    async def answer(
        self, invitation: Invitation, sources: Sequence[Source], message: str = "", progress: Progress = _nothing
    ) -> int:
        """Send files to who asks: encrypted here under a key of their own; bytes that were uploaded."""
        request = invitation.request
        pack = Pack(sources)
        if pack.size > request.max_bytes:
            raise BadInput(
                f"these files make {pack.size:,} bytes, and {request.max_bytes:,} are wanted at most", "send less"
            )
        blob = bytes.fromhex(request.blob)
        where = ById(id=bytes.fromhex(request.box))
        identity = generate_identity()
        secret = _share_secret(request.title, message, identity, blob, pack, int(self._now()))
        place = await _upload(self._vault, invitation.link.origin, where, blob, pack, identity, progress)
        whole = msgspec.structs.replace(secret, manifest=place)
        await self._vault.fill(where, encode_json(whole), replaces=request.box_version)
        return pack.size

    async def _collect(self, link: Link) -> tuple[Released, Terms]:
        released = await self._vault.collect(ById(id=link.id))
        if released.terms is None:
            raise Unreadable("the record is no share")
        if not released.author.principal:
            raise Unreadable("the Vault does not know who it is from")
        return released, released.terms


def box_link(link: Link, entry: DeskEntry) -> Link:
    """Where who asked for files opens the answer."""
    return replace(link, kind="share", id=bytes.fromhex(entry.box or entry.id))


def _empty(terms: Terms) -> NotReady:
    if terms.fillable:
        return NotReady("nobody has answered this request yet", "remind whom you asked, or try again later")
    return NotReady("this share was revoked", "ask the sender to send it again")


async def _upload(
    vault: AsyncVault, origin: str, where: ById, blob: bytes, pack: Pack, identity: str, progress: Progress
) -> ManifestPlace:
    grant = await vault.grant_blob(where)
    async with BlobHost(origin) as host:
        await host.upload(blob, pack.size, pack.blocks(parse_identity(identity).recipient), grant, progress)
    if pack.place is None:
        raise Unreadable("the list of files was not sent")
    return pack.place


def _share_secret(title: str, message: str, identity: str, blob: bytes, pack: Pack, now: int) -> ShareSecret:
    return ShareSecret(
        format="strongroom share 1",
        title=title,
        message=message,
        identity=identity,
        blob=blob.hex(),
        size=pack.size,
        manifest=None,
        sent_at=now,
    )


def _terms(draft: Draft, blob: bytes, size: int) -> Terms:
    return Terms(
        expires_at=draft.expires_at,
        max_opens=draft.max_opens,
        closed=False,
        fillable=False,
        blob=blob,
        blob_bytes=size,
    )
