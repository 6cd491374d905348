"""The web page as a server delivers it, compared from outside: every file, every reference, every header. No network.

The page's digest is SHA-256 over the sorted lines `path NUL sha256 LF` of `page.json`, which is left out itself. A
release names it, a Vault may claim it, and whoever built the page knows it.

What this can't see: a server may deliver the released page to this client and another one to a victim. A browser that
has the page installed refuses an unannounced change; a first visit trusts its host.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from strongroom.client.errors import BadInput
from strongroom.protocol.errors import Number, Untrusted

SHIPPED: Final = Path(__file__).resolve().parents[1] / "page_dist"
"""Where the page lies that comes with this program, if it was built."""
MAX_LIST: Final = 1 << 20
MAX_FILE: Final = 32 << 20
MAX_FILES: Final = 2_000
CSP: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    "style-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types strongroom-worker"
)
"""RULES 26: of every file, since a worker obeys the policy of its own script."""
PREVIEW_CSP: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
"""Of what opens a stranger's file: apart from the page, and without a network."""
PREVIEW: Final = "preview/"
_PATH: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_HEADERS: Final = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_REPORTING: Final = ("link", "nel", "report-to", "reporting-endpoints", "set-cookie", "refresh")
"""Headers that fetch, tell or keep something: the page needs none of them."""
_ROUTES: Final = {"index.html": "/", "callback/index.html": "/callback", "preview/index.html": "/preview/"}
_COVERED: Final = frozenset({"stylesheet", "modulepreload"})
_LISTED: Final = frozenset({"icon", "apple-touch-icon", "manifest", "mask-icon"})
_REFERENCES: Final = frozenset(
    {"src", "href", "action", "formaction", "data", "poster", "srcset", "background", "ping", "xlink:href", "manifest"}
)
_HASHES: Final = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["strongroom page 1"]
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,64}\Z")]
    files: Annotated[
        dict[str, Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]], Meta(min_length=1, max_length=MAX_FILES)
    ]


@dataclass(frozen=True, slots=True)
class Page:
    """What a `page.json` lists."""

    version: str
    files: Mapping[str, bytes]
    """Path → SHA-256, sorted by path."""

    @property
    def digest(self) -> bytes:
        """What releases and Vaults name."""
        return page_digest(self.files)


def page_digest(files: Mapping[str, bytes]) -> bytes:
    """SHA-256 (32 bytes) over the sorted lines `path NUL sha256 LF`."""
    lines = (f"{path}\0{files[path].hex()}\n" for path in sorted(files))
    return hashlib.sha256("".join(lines).encode()).digest()


def parse_page(untrusted: bytes) -> Page:
    """The list that a server or a build gives. Raises `Untrusted` INTEGRITY."""
    try:
        if len(untrusted) > MAX_LIST:
            raise ValueError
        file = msgspec.json.decode(untrusted, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Untrusted(Number.INTEGRITY, "page.json is not the list of a page's files") from None
    for path in file.files:
        if not _PATH.fullmatch(path) or path == "page.json":
            raise Untrusted(Number.INTEGRITY, "page.json lists a path that is none of a page")
    if "index.html" not in file.files:
        raise Untrusted(Number.INTEGRITY, "page.json lists no index.html")
    return Page(file.version, {path: bytes.fromhex(file.files[path]) for path in sorted(file.files)})


def read_built_page(folder: Path) -> Page:
    """A page that was built here: the list in `folder`, and the files under it are what it says. Raises `BadInput`."""
    try:
        page = parse_page((folder / "page.json").read_bytes())
        for path, digest in page.files.items():
            if hashlib.sha256((folder / path).read_bytes()).digest() != digest:
                raise BadInput(f"{folder / path} is not what page.json beside it says", "build the page again")
    except OSError as error:
        raise BadInput(
            f"can't read {error.filename}: {error.strerror}", "name the folder that the page was built into"
        ) from None
    except Untrusted as error:
        raise BadInput(f"{folder}: {error.reason}", "name the folder that the page was built into") from None
    return page


def routes(path: str) -> tuple[str, ...]:
    """The addresses at which a server must give this file."""
    return (_ROUTES[path],) if path in _ROUTES else (f"/{path}",)


def file_problems(page: Page, path: str, untrusted: bytes) -> Iterator[str]:
    """What is wrong with one file as it was delivered, in words; nothing if it is the one that is listed.

    A document is also looked at: it refers to nothing outside the page, and its scripts and styles by their digests.
    """
    if hashlib.sha256(untrusted).digest() != page.files[path]:
        yield f"{path} is not the file that page.json lists"
    elif path.endswith(".html"):
        yield from (f"{path}: {problem}" for problem in _document_problems(untrusted))


def integrity_problems(page: Page, documents: Mapping[str, bytes], files: Mapping[str, bytes]) -> Iterator[str]:
    """References of the documents that are outside the page, or whose digest is not that of the file they name."""
    for path, document in documents.items():
        for reference in _references(document):
            target = reference.path
            if target not in page.files:
                yield f"{path} refers to {reference.url[:120]}, which is no file of the page"
            elif reference.integrity is not None and not _matches(reference.integrity, files.get(target, b"")):
                yield f"{path} names {target} by a digest that is not its own"


def header_problems(path: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Security headers that are missing or differ from what they must be. Names are lower-case."""
    for name, wanted in _HEADERS.items():
        if headers.get(name, "").strip().lower() != wanted:
            yield f"{path}: the header {name} is {_shown(headers.get(name))}, not {wanted!r}"
    for name in _REPORTING:
        if name in headers:
            yield f"{path}: there is a header {name}"
    found = _directives(headers.get("content-security-policy", ""))
    expected = _EXPECTED_PREVIEW if path.startswith(PREVIEW) else _EXPECTED
    for name in sorted(expected.keys() | found.keys()):
        has, wants = found.get(name), expected.get(name)
        if has != wants:
            yield f"{path}: content-security-policy: {name} is {_set(has)}, not {_set(wants)}"


def _directives(policy: str) -> dict[str, frozenset[str]]:
    """Directives by name; a comma would begin another policy, and leaves a name that nothing expects."""
    parts = (part.split() for part in policy.split(";"))
    found: dict[str, frozenset[str]] = {}
    for words in parts:
        if words:
            found.setdefault(words[0].lower(), frozenset(words[1:]))  # browsers, too, heed the first
    return found


def _set(words: frozenset[str] | None) -> str:
    return "missing" if words is None else " ".join(sorted(words))[:120] or "empty"


def _shown(value: str | None) -> str:
    return "missing" if value is None else repr(value[:80])


_EXPECTED: Final = _directives(CSP)
_EXPECTED_PREVIEW: Final = _directives(PREVIEW_CSP)


# --- documents ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reference:
    url: str
    path: str
    integrity: str | None
    """None: not one that browsers check."""


class _Document(HTMLParser):
    """Collects what a document refers to, and what must not stand in it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.references: list[_Reference] = []
        self.problems: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._inside = tag if tag in ("script", "style") else ""
        if tag in ("base", "object", "embed", "applet", "style"):
            self.problems.append(f"there is a <{tag}>")
        if tag == "meta" and "http-equiv" in attributes:
            self.problems.append("there is a <meta http-equiv>")
        if tag == "script" and "src" not in attributes:
            self.problems.append("there is an inline script")
        for name, value in attributes.items():
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.problems.append(f"there is an attribute {name}")
            elif name in _REFERENCES and not (tag == "a" and value.startswith("#")):
                self._refer(tag, attributes, value)

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and data.strip():
            self.problems.append("there is an inline script")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def _refer(self, tag: str, attributes: Mapping[str, str], url: str) -> None:
        relations = set(attributes.get("rel", "").lower().split())
        integrity: str | None = None
        if tag == "script" or relations & _COVERED:
            integrity = attributes.get("integrity", "")
        elif tag == "link" and not (relations and relations <= _LISTED):
            self.problems.append(f"there is a <link> of rel {' '.join(sorted(relations))[:60] or 'nothing'}")
        path = url[1:] if url.startswith("/") and not url.startswith("//") else ""
        self.references.append(_Reference(url, path, integrity))


def _parse(untrusted: bytes) -> _Document:
    document = _Document()
    document.feed(untrusted.decode("utf-8", "replace"))
    document.close()
    return document


def _document_problems(untrusted: bytes) -> Iterator[str]:
    yield from _parse(untrusted).problems


def _references(untrusted: bytes) -> list[_Reference]:
    return _parse(untrusted).references


def _matches(integrity: str, file: bytes) -> bool:
    """Whether exactly this file passes: with several digests, browsers accept any of the strongest kind."""
    algorithm, dash, encoded = integrity.partition("-")
    if not dash or algorithm not in _HASHES:
        return False
    return base64.b64encode(_HASHES[algorithm](file).digest()).decode() == encoded
