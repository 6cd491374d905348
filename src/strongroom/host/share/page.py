"""The page's files, from memory, exactly as they were built, with the headers that RULES 26 names.

Only what page.json lists is served, and only if its digest is the one listed there: a file that somebody left in the
folder, or changed after the build, is no part of the page. Paths are looked up and never joined to a folder.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.host.share.answers import Answer, Problem
from strongroom.protocol.errors import Number

LIST: Final = "page.json"
MAX_TRUST: Final = 256 * 1024
"""Bytes of a site statement."""
_TRUST_FORMAT: Final = "strongroom site 1"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "wasm": "application/wasm",
    "txt": "text/plain; charset=utf-8",
}
_COMPRESSED: Final = {"html", "js", "mjs", "css", "json", "webmanifest", "svg", "wasm", "txt"}
_HASHED: Final = re.compile(r"assets/.*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+")
"""A file whose name changes with its content, as Vite makes them."""
_PREVIEW: Final = "preview/"
_GZIP: Final = re.compile(r"(gzip|\*)(;q=(1(\.0*)?|0\.0*[1-9][0-9]*))?")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    "style-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types strongroom-worker"
)
"""RULES 26. The one Trusted Types policy is for the addresses of workers, which are names in the bundle."""
PREVIEW_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
"""For the frame that draws what somebody else wrote: an origin of its own, and no network."""
_OFF: Final = (
    "accelerometer", "autoplay", "browsing-topics", "camera", "compute-pressure", "display-capture",
    "encrypted-media", "gamepad", "geolocation", "gyroscope", "hid", "identity-credentials-get", "idle-detection",
    "local-fonts", "magnetometer", "microphone", "midi", "otp-credentials", "payment", "picture-in-picture", "serial",
    "storage-access", "usb", "window-management", "xr-spatial-tracking",
)  # fmt: skip
_PERMISSIONS: Final = ", ".join(
    [
        "publickey-credentials-get=(self)",
        "publickey-credentials-create=(self)",
        "clipboard-write=(self)",
        "screen-wake-lock=(self)",
        *(f"{name}=()" for name in _OFF),
    ]
)
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin-allow-popups",  # sign-in opens a popup, and must hear from it
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": _PERMISSIONS,
}
HSTS: Final = {"strict-transport-security": "max-age=63072000; includeSubDomains"}
"""For every name but this machine's own."""


class BadPage(Exception):
    """The folder holds no page that can be served, or the file no site statement; the text says why."""


class _File(NamedTuple):
    plain: Answer
    zipped: Answer | None
    tag: str
    """Digest of the content; the compressed one has a tag of its own."""


class Page:
    """The files below `folder` that page.json lists, and the site statement. Raises `BadPage`."""

    def __init__(self, folder: Path, trust: bytes | None) -> None:
        self._files: dict[str, _File] = {}
        self.digests: Final[dict[str, bytes]] = {}
        """SHA-256 of each file of the page, by its path."""
        try:
            listed = json.loads((folder / LIST).read_bytes())["files"]
            if not isinstance(listed, dict) or "index.html" not in listed:
                raise BadPage(f"{folder / LIST} lists no index.html")
            for name, digest in listed.items():
                data = self._read(folder, name)
                if hashlib.sha256(data).hexdigest() != digest:
                    raise BadPage(f"{name} is not the file that {LIST} lists: it was changed after the build")
                self._add(name, data)
                self.digests[name] = bytes.fromhex(digest)
            self._add(LIST, (folder / LIST).read_bytes())
        except OSError as error:
            raise BadPage(f"can't read {error.filename}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise BadPage(f"{folder / LIST} is no list of a page's files") from None
        if trust is not None:
            self._add("trust.json", trust)

    @staticmethod
    def _read(folder: Path, name: str) -> bytes:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BadPage(f"{LIST} lists {name}, which lies elsewhere")
        return path.read_bytes()

    def _add(self, name: str, data: bytes) -> None:
        kind = name.rpartition(".")[2]
        tag = hashlib.sha256(data).hexdigest()[:32]
        headers = {**_HEADERS, "content-security-policy": PREVIEW_POLICY if name.startswith(_PREVIEW) else POLICY}
        headers["content-type"] = _TYPES.get(kind, "application/octet-stream")
        headers["cache-control"] = "public, max-age=31536000, immutable" if _HASHED.fullmatch(name) else "no-cache"
        if name.startswith("assets/"):
            # The preview's origin is opaque, so that its own scripts are another origin's to it. They hold no secret.
            headers |= {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
        zipped = None
        if kind in _COMPRESSED:
            headers["vary"] = "accept-encoding"
            small = gzip.compress(data, mtime=0)
            if len(small) < len(data):
                zipped = Answer(200, {**headers, "content-encoding": "gzip", "etag": f'"{tag}-gzip"'}, small)
        file = _File(Answer(200, {**headers, "etag": f'"{tag}"'}, data), zipped, tag)
        self._files[f"/{name}"] = file
        if name.endswith("index.html"):
            folder = f"/{name.removesuffix('index.html')}"
            self._files[folder] = file
            self._files[folder.rstrip("/") or "/"] = file  # where sign-in providers redirect to: /callback

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """To GET and HEAD. Raises `Problem`."""
        file = self._files.get(path)
        if file is None:
            known = "this server has no site statement: start it with --trust" if path == "/trust.json" else ""
            raise Problem(404, Number.MALFORMED, known or "there is no such page")
        if method not in ("GET", "HEAD"):
            raise Problem(405, Number.MALFORMED, "this can only be read", allow="GET, HEAD")
        answer = file.zipped if file.zipped and _takes_gzip(headers.get("accept-encoding", "")) else file.plain
        more = {} if _loopback(headers.get("host", "")) else HSTS
        known_tags = headers.get("if-none-match", "").replace(" ", "").split(",")
        if answer.headers["etag"] in known_tags:
            return Answer(304, {**answer.headers, **more})
        return Answer(answer.status, {**answer.headers, **more}, answer.body)


def read_trust(path: Path) -> bytes:
    """A site statement, as its file has it. Raises `BadPage`."""
    try:
        data = path.read_bytes()
        statement = json.loads(data)
    except OSError as error:
        raise BadPage(f"can't read {path}: {error.strerror}") from None
    except ValueError:
        raise BadPage(f"{path} is not JSON") from None
    if not isinstance(statement, dict) or statement.get("format") != _TRUST_FORMAT:
        raise BadPage(f'{path} does not say "format": "{_TRUST_FORMAT}"')
    if len(data) > MAX_TRUST:
        raise BadPage(f"{path} is longer than {MAX_TRUST} bytes")
    return data


def named_authenticators(trust: bytes) -> int:
    """How many a site statement names, which the page reaches by their place in it."""
    named = json.loads(trust).get("authenticators")
    return len(named) if isinstance(named, list) else 0


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is named, without a weight of 0 (RFC 9110, 12.5.3)."""
    return any(_GZIP.fullmatch(coding) for coding in accepted.lower().replace(" ", "").split(","))


def _loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":[0-9]*$", host) and not host.endswith("]") else host
    return name in ("localhost", "[::1]") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", name) is not None
