"""`strongroom verify-page`: compare the page that a server delivers with a release, from outside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from strongroom.cli.evidence import verify_any_cluster
from strongroom.cli.terminal import EXIT_UNTRUSTED, Failure, named, printable, result_json, stdout
from strongroom.cli.verify import load_release
from strongroom.client.page import (
    MAX_FILE,
    MAX_LIST,
    SHIPPED,
    Page,
    file_problems,
    header_problems,
    integrity_problems,
    page_digest,
    parse_page,
    read_built_page,
    routes,
)
from strongroom.client.release import Release, verify_is_page
from strongroom.client.session import fetch_evidence
from strongroom.client.share.blobs import BlobHost
from strongroom.client.share.site import MAX_STATEMENT, parse_link
from strongroom.protocol.errors import StrongroomError, Untrusted

UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="The site, as https://share.example.com, or a link of it.")
]
ReleaseOption = Annotated[
    Path | None, typer.Option("--release", metavar="FILE", help="A release file that names the page.")
]
PageOption = Annotated[
    str | None, typer.Option("--page", metavar="DIGEST", help="The page's digest, 64 hex digits, from whom you trust.")
]
DistOption = Annotated[
    Path | None,
    typer.Option("--dist", metavar="DIR", help="A page that you built. [default: the one that came with this program]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]

_AT_ONCE: Final = 4


@dataclass(slots=True)
class Delivered:
    """What the server gave, and what is wrong with it by itself."""

    page: Page
    statement: str | None
    """Digest of /trust.json."""
    claim: str
    """What the site's Vault claims of its page: a digest, `none`, or why that is not known."""
    claimed: bytes | None
    problems: list[str] = field(default_factory=list)


def verify_page(
    url: UrlArgument,
    release: ReleaseOption = None,
    page: PageOption = None,
    dist: DistOption = None,
    as_json: AsJson = False,
) -> None:
    """Compare the page that a server delivers with a release.

    Every file is fetched and held against the list of the page, every reference in a document against the file it
    names, every security header against what it must be, and the whole against --release, --page or --dist.

    Exit status: 0 all is as released, 11 something differs, 12 no answer. A server may give others another page: a
    browser that has the page installed notices, a first visit does not.
    """
    wanted = _wanted(release, page, dist)
    if "#" in url:
        url = parse_link(url).origin
    found = asyncio.run(deliver(url))
    differs = found.problems + _differences(found, wanted)
    if as_json:
        result_json(_as_json(url, found, wanted, differs))
    else:
        _print(url, found, wanted, differs)
    if differs:
        raise Failure(
            f"{url} does not deliver the released page (differences: {len(differs)})",
            "don't use it; use `strongroom share`, and tell the operator",
            status=EXIT_UNTRUSTED,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the page must be."""

    by: str
    digest: bytes | None
    files: Page | None = None
    release: Release | None = None


def _wanted(release: Path | None, page: str | None, dist: Path | None) -> Wanted:
    """Raises `Failure` and `BadInput`."""
    if sum(option is not None for option in (release, page, dist)) > 1:
        raise Failure("--release, --page and --dist exclude each other", "choose one")
    if release is not None:
        parsed = load_release(release)
        if parsed.page is None:
            raise Failure(f"{release} names no page", 'a release with a page has a line page = "…"')
        return Wanted(f"release {parsed.version}", parsed.page, release=parsed)
    if page is not None:
        try:
            digest = bytes.fromhex(page)
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise Failure(f"{page[:80]!r} is not the digest of a page", "give 64 hex digits")
        return Wanted("--page", digest)
    folder = dist or SHIPPED
    if dist is None and not (SHIPPED / "page.json").is_file():
        raise Failure(
            "there is nothing to compare the page with: none came with this program",
            "name it with --release FILE, --page DIGEST or --dist DIR",
        )
    built = read_built_page(folder)
    return Wanted(str(dist) if dist else "the page that came with this program", built.digest, built)


async def deliver(url: str) -> Delivered:
    """Fetch all of the page. Raises `Unreachable`, and `Untrusted` for a list that is none."""
    async with BlobHost(url) as host:
        page = parse_page((await host.fetch("/page.json", limit=MAX_LIST)).content)
        problems: list[str] = []
        files: dict[str, bytes] = {}
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(path: str, route: str) -> list[str]:
            async with gate:
                try:
                    answer = await host.fetch(route, limit=MAX_FILE)
                except StrongroomError as error:
                    return [f"{path}: {error.error}"]
            files[path] = answer.content
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return [*file_problems(page, path, answer.content), *header_problems(path, headers)]

        looks = [look(path, route) for path in page.files for route in routes(path)]
        for some in await asyncio.gather(*looks):
            problems += some
        documents = {path: data for path, data in files.items() if path.endswith(".html")}
        problems += integrity_problems(page, documents, files)
        try:
            statement = sha256((await host.fetch("/trust.json", limit=MAX_STATEMENT)).content).hexdigest()
        except StrongroomError as error:
            statement = None
            problems.append(f"trust.json: {error.error}")
        claim, claimed = await _claim(host.origin)
    return Delivered(page, statement, claim, claimed, problems)


async def _claim(origin: str) -> tuple[str, bytes | None]:
    """What the Vault behind the site claims of the page it is used from. Genuine evidence of anybody's: no verdict."""
    try:
        genuine = verify_any_cluster(await fetch_evidence(f"{origin}/vault"), "vault")
    except Untrusted as error:
        return f"not known: its evidence is not genuine ({error.error})", None
    except StrongroomError as error:
        return f"not known: {error.error}", None
    for value in genuine.claims.config:
        if value.name == "page":
            try:
                return value.value, bytes.fromhex(value.value)
            except ValueError:
                return value.value, b""
    return "none", None


def _differences(found: Delivered, wanted: Wanted) -> list[str]:
    differs: list[str] = []
    if wanted.files is not None:
        ours, theirs = wanted.files.files, found.page.files
        differs += [f"{path} is missing" for path in sorted(ours.keys() - theirs.keys())]
        differs += [f"{path} is no file of that page" for path in sorted(theirs.keys() - ours.keys())]
        same = sorted(ours.keys() & theirs.keys())
        differs += [f"{path} is another file than in that page" for path in same if ours[path] != theirs[path]]
    if wanted.release is not None:
        try:
            verify_is_page(found.page.digest, wanted.release)
        except Untrusted as error:
            differs.append(error.reason)
    elif found.page.digest != wanted.digest and not differs:
        differs.append("the page has another digest")
    if found.claimed is not None and found.claimed != found.page.digest:
        differs.append("the site's Vault claims that it is used from another page")
    return differs


def _print(url: str, found: Delivered, wanted: Wanted, differs: list[str]) -> None:
    console = stdout()
    console.print(named("site", url))
    console.print(named("version", found.page.version))
    console.print(named("page", found.page.digest.hex()))
    console.print(named("released", wanted.digest.hex() if wanted.digest else ""))
    console.print(named("compared with", wanted.by))
    console.print(named("files", str(len(found.page.files))))
    console.print(named("trust.json", found.statement or "missing"))
    console.print(named("vault claims (any genuine Vault)", ""))
    console.print(named("", found.claim))
    console.print()
    for problem in differs:
        console.print(Text.assemble(("differs: ", "bold red"), printable(problem)))
    if not differs:
        console.print(Text("as released: every file, reference and security header", style="bold green"))
        console.print(
            Text(
                "not judged: trust.json, which is the operator's own; compare its digest with what they publish;\n"
                "and whose Vault it is that claims this: strongroom verify says, by your own policy"
            )
        )


def _as_json(url: str, found: Delivered, wanted: Wanted, differs: list[str]) -> dict[str, Any]:
    return {
        "url": url,
        "version": found.page.version,
        "page": page_digest(found.page.files).hex(),
        "released": wanted.digest.hex() if wanted.digest else None,
        "compared_with": wanted.by,
        "files": {path: digest.hex() for path, digest in found.page.files.items()},
        "trust_json": found.statement,
        "vault_claims": found.claim,
        "differs": differs,
        "verdict": "differs" if differs else "as released",
    }
