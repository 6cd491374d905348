"""`strongroom share`: send files to people, receive them, and keep what was sent in hand. For who trusts no page."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from strongroom.cli import options, sharing
from strongroom.cli.connection import run_with_vault
from strongroom.cli.files import verify_can_create, write_new
from strongroom.cli.settings import load_settings, needed
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import (
    EXIT_REFUSED,
    Failure,
    confirm,
    named,
    printable,
    result,
    result_json,
    say,
    stderr,
    stdout,
)
from strongroom.client.files import load_instructions, load_trust
from strongroom.client.share.blobs import BlobHost
from strongroom.client.share.folders import Destination, find_sources
from strongroom.client.share.format import DeskEntry, FileEntry
from strongroom.client.share.shares import Draft, OpenShare, Receiver, Sent, Shares, box_link
from strongroom.client.share.site import Link, Site, SiteMethod, parse_link, site_statement, verify_origin
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.instructions import OidcMethod, parse_instructions, parse_method
from strongroom.protocol.messages import ById
from strongroom.protocol.vault_messages import Visit

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Send files that only the people you name can open, receive them, and keep them in hand.",
)

Recipient = Annotated[
    list[str] | None, typer.Option("--for", metavar="EMAIL", help="Who may open it; repeat for more.")
]
Opens = Annotated[int, typer.Option("--opens", min=0, metavar="N", help="How often it may be opened; 0: any number.")]


@app.command()
@signs_in
def send(
    files: sharing.Files,
    emails: Recipient = None,
    groups: sharing.Groups = None,
    title: sharing.Title = None,
    message: sharing.Words = "",
    message_file: sharing.WordsFile = None,
    expires: sharing.Expires = None,
    opens: Opens = 0,
    cards: sharing.Cards = None,
    second: sharing.Second = None,
    site: sharing.SiteUrl = None,
    statement: sharing.StatementDigest = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Encrypt files here, upload them, and print the link. The link holds no key: whom you named has to sign in."""
    recipients = sharing.named_recipients(emails, groups, second, cards)
    sources = find_sources(files)
    words = sharing.chosen_message(message, message_file)
    place = _Place(site, statement, vault, trust, config, login)
    draft = Draft(
        title=title or _title(files),
        message=words,
        recipients=recipients,
        expires_at=sharing.expiry(expires, place.site.default_days),
        max_opens=opens,
    )

    async def work(shares: Shares) -> Sent:
        with sharing.progress_bar("sending", sum(source.size for source in sources)) as progress:
            return await shares.send(sources, draft, progress)

    _say_sent(place.run(work), recipients.emails, as_json=as_json)


@app.command()
@signs_in
def receive(
    link: sharing.LinkArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the files; it must exist. [default: the one you are in]"
        ),
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show what is in it; this counts as opening it.")] = False,
    second_person: sharing.SecondPerson = False,
    vault: Annotated[
        str | None, typer.Option("--vault", metavar="URL", help="The Vault. [default: by way of the link's site]")
    ] = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Sign in and receive what a link names. What is verified is decrypted and written; nothing is ever overwritten."""
    settings = load_settings(config)
    where = parse_link(link)
    if where.kind == "request":
        if settings.statement and settings.site == where.origin:  # only then is one's own list within reach, unasked
            _verify_not_own(where, _Place(None, None, vault, trust, config, login))
        raise Failure(
            "this is not the link of a share, but of a request for files",
            "if you were asked: strongroom share answer LINK FILES…; if you ask: strongroom share list --json says "
            "where the answer is",
        )
    destination = Destination(output or Path())
    if not only_list and output is not None and not output.is_dir():
        raise Failure(f"{output} is not a folder", "make it, or name another one with --output")

    async def work(opened: AsyncVault) -> tuple[OpenShare, list[Path]]:
        async with BlobHost(where.origin) as host:
            share = await _open(opened, Receiver(opened), where, host, second_person=second_person)
            if not as_json:
                _say_share(share)
            if only_list:
                return share, []
            destination.verify_free(share.manifest)
            if output is None:
                destination.verify_harmless(share.manifest)
            return share, await _fetch(Receiver(opened), share, host, destination)

    share, written = run_with_vault(
        work,
        settings=settings,
        vault=vault or f"{where.origin}/vault",
        trust=trust,
        sign_in=login.ways(),
        issuer=login.issuer,
    )
    if as_json:
        result_json(_share_json(share) | {"written": [str(path) for path in written]})
    elif only_list:
        stdout().print(_files_table(share))
    else:
        for path in written:
            result(str(path))


@app.command("list")
@signs_in
def list_(
    site: sharing.SiteUrl = None,
    statement: sharing.StatementDigest = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Show what you have sent and asked for, newest first."""
    place = _Place(site, statement, vault, trust, config, login)
    entries = place.run(lambda shares: shares.desk.entries())
    if as_json:
        result_json({"shares": [_entry_json(place.site, entry) for entry in entries]})
        return
    if not entries:
        say("nothing was sent from here yet", "dim")
        return
    sharing.print_entries(entries)


@app.command()
@signs_in
def history(
    share: sharing.IdArgument,
    site: sharing.SiteUrl = None,
    statement: sharing.StatementDigest = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Show who asked for a share, when, and what the Vault answered."""
    record = sharing.record_of(share)
    place = _Place(site, statement, vault, trust, config, login)
    journal = place.run(lambda shares: shares.history(record))
    terms = journal.terms
    if as_json:
        visits = [_visit_json(visit) for visit in journal.visits]
        result_json(
            {
                "opens": journal.opens,
                "max_opens": terms.max_opens,
                "expires_at": terms.expires_at,
                "closed": terms.closed,
                "visits": visits,
            }
        )
        return
    allowed = f" of {terms.max_opens}" if terms.max_opens else ""
    ends = "revoked" if terms.closed else f"until {sharing.shown_time(terms.expires_at)}"
    say(f"opened {journal.opens}{allowed} times; {ends}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("WHEN", "WHO", "DID", "ANSWER"):
        table.add_column(column, overflow="fold")
    for visit in journal.visits:
        person, answer = sharing.shown_person(visit.person), sharing.shown_outcome(visit)
        table.add_row(*map(_text, (sharing.shown_time(visit.at), person, visit.action, answer)))
    stdout().print(table)


@app.command()
@signs_in
def revoke(
    share: sharing.IdArgument,
    yes: options.Yes = False,
    site: sharing.SiteUrl = None,
    statement: sharing.StatementDigest = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
) -> None:
    """Close a share for good and have its files erased. Who has opened it already keeps what they have."""
    record = sharing.record_of(share)
    if not yes:
        confirm("Revoke this share, for good?", hint="say --yes")
    _Place(site, statement, vault, trust, config, login).run(lambda shares: shares.revoke(record))
    say("revoked: nobody opens it any more, and the host has erased the files", "dim")


@app.command()
@signs_in
def extend(
    share: sharing.IdArgument,
    days: Annotated[int | None, typer.Option("--days", min=1, metavar="N", help="Days from now until it ends.")] = None,
    opens: Annotated[
        int | None,
        typer.Option("--opens", min=0, metavar="N", help="How often it may be opened in all; 0: any number."),
    ] = None,
    emails: Annotated[
        list[str] | None, typer.Option("--for", metavar="EMAIL", help="Somebody else who may open it; may be repeated.")
    ] = None,
    site: sharing.SiteUrl = None,
    statement: sharing.StatementDigest = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Let a share last longer, be opened more often, or by more people."""
    if days is None and opens is None and not emails:
        raise Failure("there is nothing to change", "give --days, --opens or --for")
    record = sharing.record_of(share)
    place = _Place(site, statement, vault, trust, config, login)
    until = sharing.expiry(f"{days}d", 0) if days is not None else None
    entry = place.run(lambda shares: shares.extend(record, expires_at=until, max_opens=opens, recipients=emails or []))
    if as_json:
        result_json(_entry_json(place.site, entry))
    else:
        say(f"it lasts until {sharing.shown_time(entry.expires_at)}, for {', '.join(entry.recipients)}", "dim")


@app.command()
@signs_in
def request(
    emails: Annotated[
        list[str] | None, typer.Option("--from", metavar="EMAIL", help="Whom to ask for files; repeat for more.")
    ] = None,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What you ask for.")] = "Files",
    message: sharing.Words = "",
    message_file: sharing.WordsFile = None,
    expires: sharing.Expires = None,
    max_bytes: Annotated[
        str | None, typer.Option("--max-bytes", metavar="SIZE", help="As 500M. [default: what the site takes]")
    ] = None,
    site: sharing.SiteUrl = None,
    statement: sharing.StatementDigest = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Ask somebody for files: prints a link by which the people named, and nobody else, can send to you alone."""
    invited = sharing.named_recipients(emails, None, None, None)
    words = sharing.chosen_message(message, message_file)
    place = _Place(site, statement, vault, trust, config, login)
    draft = Draft(
        title=title, message=words, recipients=invited, expires_at=sharing.expiry(expires, place.site.default_days)
    )
    size = options.size_of(max_bytes, "--max-bytes") if max_bytes else place.site.max_bytes
    _say_sent(place.run(lambda shares: shares.request(draft, size)), invited.emails, as_json=as_json)


@app.command()
@signs_in
def answer(
    link: sharing.LinkArgument,
    files: sharing.Files,
    message: sharing.Words = "",
    message_file: sharing.WordsFile = None,
    yes: options.Yes = False,
    vault: Annotated[
        str | None, typer.Option("--vault", metavar="URL", help="The Vault. [default: by way of the link's site]")
    ] = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Send files to whoever asked you for them by a link."""
    where = sharing.link_of(link, "request", "this is something sent to you: strongroom share receive LINK")
    sources = find_sources(files)
    words = sharing.chosen_message(message, message_file)

    async def work(opened: AsyncVault) -> int:
        receiver = Receiver(opened)
        with sharing.if_refused(
            "this account was not asked, or there is no such request",
            "check the link, and sign in with the address that it was sent to",
        ):
            invitation = await receiver.invitation(where)
        console = stderr()
        console.print(named("asked by", sharing.shown_person(invitation.asker)))
        console.print(named("for", invitation.request.title))
        if not yes:
            confirm("Send them these files?", hint="say --yes once you know who asks")
        answered = sharing.if_refused(
            "this request has been answered already, which is possible once", "ask them for another link to send more"
        )
        with answered, sharing.progress_bar("sending", sum(source.size for source in sources)) as progress:
            return await receiver.answer(invitation, sources, words, progress)

    sent = run_with_vault(
        work,
        settings=load_settings(config),
        vault=vault or f"{where.origin}/vault",
        trust=trust,
        sign_in=login.ways(),
        issuer=login.issuer,
    )
    if as_json:
        result_json({"request": where.id.hex(), "size": sent})
    else:
        say(f"sent: {sent:,} bytes, which who asked can open, and nobody else", "dim")


@app.command("site")
def site_(
    origin: Annotated[str, typer.Option("--origin", metavar="URL", help="Where people open the page.")],
    instructions: Annotated[
        Path, typer.Option("--instructions", metavar="FILE", help="The sign-in methods: the namespace's own file.")
    ],
    vault: Annotated[str, typer.Option("--vault", metavar="URL", help="The Vault.")],
    authenticators: Annotated[list[str], typer.Option("--authenticator", metavar="URL", help="May be repeated.")],
    contact: Annotated[str, typer.Option("--contact", metavar="ADDRESS", help="mailto:… or https://…, for abuse.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="New file, usually trust.json.")],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Whose site it is.")],
    namespace: options.Namespace = None,
    max_bytes: Annotated[str, typer.Option("--max-bytes", metavar="SIZE", help="Of one share.")] = "5G",
    default_days: Annotated[int, typer.Option("--days", min=1, metavar="N", help="Usual expiry.")] = 14,
    max_days: Annotated[int, typer.Option("--max-days", min=1, metavar="N", help="Longest expiry.")] = 90,
    trust: options.Trust = None,
    config: options.Config = None,
) -> None:
    """Make a site's statement, `trust.json`: which Vault its page trusts, where people sign in, how much they may send.

    The methods must be exactly those of the namespace: who stores by one method is nobody by another.
    """
    settings = load_settings(config)
    policy = load_trust(needed(trust, settings.trust, "trust"))
    verify_can_create(output, what="share site")
    site = verify_origin(origin)
    parsed = parse_instructions(load_instructions(instructions, policy))
    text = site_statement(
        name=name,
        policy=policy,
        vault=vault,
        authenticators=authenticators,
        namespace=needed(namespace, settings.namespace, "namespace"),
        methods=[_web_method(data, f"{site}/callback") for data in parsed.methods],
        max_bytes=options.size_of(max_bytes, "--max-bytes"),
        default_days=default_days,
        max_days=max_days,
        contact=contact,
    )
    write_new(output, text, what="share site")
    output.chmod(0o644)  # the whole world may read it
    say(f"written to {output}; serve it with: strongroom serve share --trust {output} …", "dim")
    say(f"its SHA-256, for people to compare: {sha256(text).hexdigest()}", "dim")


# --- parts ----------------------------------------------------------------------------------------------------


class _Place:
    """The site, approved, and how to get to its Vault. Made before anybody signs in."""

    def __init__(
        self,
        site: str | None,
        statement: str | None,
        vault: str | None,
        trust: Path | None,
        config: Path | None,
        login: Login,
    ) -> None:
        self._settings = load_settings(config)
        self._trust = needed(trust, self._settings.trust, "trust")
        self._policy = load_trust(self._trust)
        self._login = login
        self._ways = login.ways()
        self.site = sharing.approved_site(site, statement, self._settings)
        self._vault = vault or self.site.vault

    def run(self, work: Any) -> Any:
        """What `work` does with the shares of who signs in."""
        return run_with_vault(
            lambda opened: work(Shares(opened, self._policy, self.site)),
            settings=self._settings,
            vault=self._vault,
            trust=self._trust,
            sign_in=self._ways,
            issuer=self._login.issuer,
            approved=self.site.methods,
        )


def _verify_not_own(link: Link, place: _Place) -> None:
    """Raises `Failure`, which names where the answer is, if it was the person signed in who asked."""
    for entry in place.run(lambda shares: shares.desk.entries()):
        if entry.id == link.id.hex():
            raise Failure("by this link you ask others for files", f"the answer is at {box_link(link, entry)}")


async def _open(vault: AsyncVault, receiver: Receiver, link: Link, host: BlobHost, *, second_person: bool) -> OpenShare:
    """Open a share, after as many sign-ins as the user says it takes."""
    if second_person:
        say("first you, then the second person", "dim")
        await vault.sign_in(ById(id=link.id))
        await vault.sign_in_also(ById(id=link.id))
    try:
        return await receiver.open(link, host)
    except Refused as error:
        if error.number is not Number.REFUSED:
            raise
        described = await vault.describe(ById(id=link.id))
        if any(method.kind == "passkey" for method in described.methods):
            raise Failure(
                f"{error.error}; this share also asks for a passkey",
                "open the link in a browser: a passkey can be used there only",
                status=EXIT_REFUSED,
            ) from None
        hint = "check the link, and that you sign in with the address it was sent to; some need --second-person"
        raise Failure(error.error, hint, status=EXIT_REFUSED) from None


async def _fetch(receiver: Receiver, share: OpenShare, host: BlobHost, destination: Destination) -> list[Path]:
    written = []
    done = 0
    total = sum(entry.size for entry in share.manifest.files)
    with sharing.progress_bar("receiving", total) as progress:

        async def counted(entry: FileEntry) -> Any:
            nonlocal done
            async for piece in receiver.read(share, entry, host):
                done += len(piece)
                progress(done)
                yield piece

        for entry in share.manifest.files:
            written.append(await destination.write(entry, counted(entry)))
    return written


def _title(files: list[Path]) -> str:
    return (files[0].name or files[0].resolve().name)[:200] if len(files) == 1 else f"{len(files)} files"


def _web_method(data: bytes, callback: str) -> SiteMethod:
    """A method that a page can sign in with. Raises `Failure`."""
    method = parse_method(data)
    if not isinstance(method, SiteMethod):
        raise Failure(
            "a site signs people in by OpenID Connect, a directory or codes by e-mail",
            "leave passkeys out: recipients bring their own; programs have no use for a page",
        )
    if not isinstance(method, OidcMethod):
        return method
    web = [audience.redirect_uri for audience in method.public.audiences if audience.channel == "web"]
    if web != [callback]:
        raise Failure(
            f"the page can't sign in at {method.public.issuer}: its redirect address is {web[0] if web else 'missing'}",
            f'give the method web_client_id and web_redirect_uri = "{callback}", make the namespace with the same '
            "file, and register that address with the provider",
        )
    return method


def _say_sent(sent: Sent, people: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        result_json(
            {
                "link": str(sent.link),
                "id": sent.link.id.hex(),
                "size": sent.size,
                "expires_at": sent.expires_at,
            }
        )
        return
    whom = ", ".join(people) or "the group"
    say(f"until {sharing.shown_time(sent.expires_at)}, for {whom}; the link is no key and may go by e-mail:", "dim")
    result(str(sent.link))


def _say_share(share: OpenShare) -> None:
    console = stderr()
    console.print(named("from", sharing.shown_person(share.sender)))
    console.print(named("title", share.title))
    console.print(named("until", sharing.shown_time(share.terms.expires_at)))
    if share.terms.max_opens:
        console.print(named("opened", f"{share.opens} of {share.terms.max_opens} times"))
    for line in share.message.splitlines():
        console.print(Text(f"  {printable(line)}"))


def _files_table(share: OpenShare) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("BYTES", justify="right")
    table.add_column("FILE", overflow="fold")
    for entry in share.manifest.files:
        table.add_row(_text(f"{entry.size:,}"), _text(entry.path))
    return table


def _text(value: str) -> Text:
    return Text(printable(value))


def _share_json(share: OpenShare) -> dict[str, Any]:
    return {
        "id": share.link.id.hex(),
        "from": share.sender.email,
        "title": share.title,
        "message": share.message,
        "sent_at": share.sent_at,
        "expires_at": share.terms.expires_at,
        "opens": share.opens,
        "max_opens": share.terms.max_opens,
        "files": [{"path": entry.path, "size": entry.size, "type": entry.type} for entry in share.manifest.files],
    }


def _entry_json(site: Site, entry: DeskEntry) -> dict[str, Any]:
    link = site.link(entry.kind, bytes.fromhex(entry.id))
    return {
        "id": entry.id,
        "kind": entry.kind,
        "link": str(link),
        "answer": str(box_link(link, entry)) if entry.box else None,
        "title": entry.title,
        "recipients": entry.recipients,
        "groups": entry.groups,
        "second": entry.second,
        "passkeys": [card.name for card in entry.passkeys],
        "sent_at": entry.sent_at,
        "expires_at": entry.expires_at,
        "max_opens": entry.max_opens,
        "size": entry.size,
        "files": entry.files,
        "state": entry.state,
    }


def _visit_json(visit: Visit) -> dict[str, Any]:
    return {
        "number": visit.number,
        "at": visit.at,
        "who": visit.person.email,
        "principal": visit.person.principal,
        "action": visit.action,
        "version": visit.version,
        "outcome": visit.outcome,
    }
