"""What stands in the records and in the manifest of a share, as JSON (`spec/share.md`). Text in, values out.

All of it was written by somebody else, who may be a stranger: whatever breaks a rule is `Unreadable`, with the rule.

Attacks stopped here:

1. Paths that leave the folder, or of which two become one file on a disk that does not tell A from a.
2. Names that read as another one: marks that turn the direction of text.
3. Sizes that promise little and unpack to much, files that overlap, bytes of a pack that nobody checks.
4. A share whose description points at the blob of another record.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeVar
from unicodedata import normalize

import msgspec
from msgspec import Meta

from strongroom.client.errors import BadInput
from strongroom.client.share.age import HybridIdentity, age_length, parse_identity
from strongroom.client.share.errors import Unreadable
from strongroom.protocol.codec import Message
from strongroom.protocol.limits import MAX_SECRET

SEGMENT: Final = 1 << 20
DIGEST: Final = 32
MAX_NUMBER: Final = 2**53 - 1
"""JavaScript's largest exact integer."""
MAX_TITLE: Final = 200
MAX_MESSAGE: Final = 8_000
MAX_FILES: Final = 10_000
MAX_PART: Final = 255
MAX_PATH: Final = 1_024
MAX_MANIFEST: Final = 16 << 20
MAX_PEOPLE: Final = 100
MAX_CARDS: Final = 32
MAX_CARD: Final = 8 * 1024
MAX_ENTRY: Final = 20 * 1024
FULL_DESK: Final = 40 * 1024
"""A page of the desk above this many bytes takes no new entry."""

_FORBIDDEN: Final = re.compile(
    "[\\\\:\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_CONTROL: Final = re.compile("[\u0000-\u001f\u007f-\u009f\ud800-\udfff]")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")

Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
HexId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
HexDigest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE)]
Letter = Annotated[str, Meta(max_length=MAX_MESSAGE)]
Email = Annotated[str, Meta(pattern=r"^[!-?A-~]{1,64}@[!-?A-~]{1,190}\Z")]
"""Plain ASCII around one @, as the Authenticator compares addresses (RULES 13)."""
MediaType = Annotated[str, Meta(pattern=r"^[ -~]{0,127}\Z")]
Base64Url = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,1400}\Z")]


class Json(Message):
    """Base of what is written as JSON: every field is there, none is unknown."""


class ManifestPlace(Json):
    """Where the manifest's age file lies in the pack, and SHA-256 of it."""

    offset: Number
    length: Number
    sha256: HexDigest


class ShareSecret(Json):
    """The secret of a share's record."""

    format: Literal["strongroom share 1"]
    title: Title
    message: Letter
    identity: str
    blob: HexId
    size: Number
    manifest: ManifestPlace | None
    """None while the pack is being uploaded."""
    sent_at: Number

    def __repr__(self) -> str:
        return "ShareSecret(redacted)"


class FileEntry(Json):
    """One file of a share."""

    path: str
    size: Number
    type: MediaType
    modified: Number
    """Unix seconds; 0: not known."""
    offset: Number
    length: Number
    segments: str

    @property
    def digests(self) -> list[bytes]:
        """SHA-256 of each segment of the age file."""
        joined = b64decode(self.segments)
        return [joined[at : at + DIGEST] for at in range(0, len(joined), DIGEST)]


class Manifest(Json):
    """What is in a pack, in its order."""

    format: Literal["strongroom manifest 1"]
    files: Annotated[list[FileEntry], Meta(min_length=1, max_length=MAX_FILES)]


class RequestSecret(Json):
    """The secret of an invitation to send files."""

    format: Literal["strongroom request 1"]
    title: Title
    message: Letter
    box: HexId
    box_version: Number
    blob: HexId
    max_bytes: Number
    expires_at: Number


class Card(Json):
    """A passkey that a recipient made known to a sender."""

    format: Literal["strongroom passkey 1"]
    name: Email
    rp_id: Annotated[str, Meta(min_length=1, max_length=253)]
    origin: Annotated[str, Meta(min_length=1, max_length=512)]
    credential_id: Base64Url
    public_key: Base64Url


class DeskEntry(Json):
    """What a sender keeps of one share or request."""

    id: HexId
    kind: Literal["share", "request"]
    title: Title
    recipients: Annotated[list[Email], Meta(max_length=MAX_PEOPLE)]
    groups: Annotated[list[str], Meta(max_length=MAX_PEOPLE)]
    second: Email | None
    passkeys: Annotated[list[Card], Meta(max_length=MAX_CARDS)]
    expires_at: Number
    max_opens: Number
    sent_at: Number
    size: Number
    files: Number
    blob: HexId
    box: HexId | None
    state: Literal["uploading", "sent", "revoked"]


class DeskPage(Json):
    """One page of a sender's desk."""

    format: Literal["strongroom desk 1"]
    entries: list[DeskEntry]


AnyJson = TypeVar("AnyJson", bound=Json)


def encode_json(value: Json) -> bytes:
    """UTF-8 without blanks."""
    return msgspec.json.encode(value)


def decode_json(data: bytes, kind: type[AnyJson], *, limit: int, what: str) -> AnyJson:
    """A value of `kind`. Raises `Unreadable`, whose words never quote the data: it may hold a key."""
    if len(data) > limit:
        raise Unreadable(f"{what} is too long")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{what}: {_without_values(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Unreadable(f"{what} is not JSON") from None


def _without_values(error: msgspec.ValidationError) -> str:
    """msgspec's words without what they repeat of the data: unknown names, and values that are none of a few."""
    what, _, place = str(error).partition(" - at ")
    if what.startswith("Object contains unknown"):
        what = "a field that this version does not know"
    elif what.startswith("Invalid"):
        what = "a value that is not one of those allowed"
    return f"{what} at {place.strip('`$.') or 'the top level'}"


def parse_share(data: bytes) -> ShareSecret:
    """The secret of a share's record. Raises `Unreadable`."""
    share = decode_json(data, ShareSecret, limit=MAX_SECRET, what="its description")
    verify_texts(share.title, share.message)
    verify_identity(share.identity)
    place = share.manifest
    if place is not None and (place.offset + place.length != share.size or place.length < age_length(0)):
        raise Unreadable("its manifest does not lie at the end of the pack")
    if place is not None and place.length > age_length(MAX_MANIFEST):
        raise Unreadable("its list of files is too long")
    return share


def parse_request(data: bytes) -> RequestSecret:
    """The secret of an invitation. Raises `Unreadable`."""
    request = decode_json(data, RequestSecret, limit=MAX_SECRET, what="its description")
    verify_texts(request.title, request.message)
    return request


def parse_manifest(data: bytes, share: ShareSecret) -> Manifest:
    """The manifest of this share: it fills the pack without gap or overlap. Raises `Unreadable`."""
    if share.manifest is None:
        raise Unreadable("it has no manifest")
    manifest = decode_json(data, Manifest, limit=MAX_MANIFEST, what="its list of files")
    at = 0
    for entry in manifest.files:
        verify_path(entry.path)
        if entry.offset != at or entry.length != age_length(entry.size):
            raise Unreadable("its files do not lie one behind the other")
        verify_segments(entry)
        at += entry.length
    if at != share.manifest.offset:
        raise Unreadable("its files do not fill the pack")
    verify_distinct([entry.path for entry in manifest.files])
    return manifest


def parse_card(data: bytes) -> Card:
    """A passkey card, as a recipient handed it over. Raises `BadInput`."""
    try:
        return decode_json(data, Card, limit=MAX_CARD, what="the passkey card")
    except Unreadable as error:
        raise BadInput(
            f"this is not a passkey card: {error.reason}", "recipients make one on the site's page #/passkey"
        ) from None


def parse_desk(data: bytes) -> DeskPage:
    """A page of one's own desk. Raises `Unreadable`."""
    return decode_json(data, DeskPage, limit=MAX_SECRET, what="your list of shares")


# --- rules ----------------------------------------------------------------------------------------------------


def verify_texts(title: str, message: str) -> None:
    """Raises `Unreadable`."""
    if _CONTROL.search(title):
        raise Unreadable("its title has a control character")
    if re.search("[\ud800-\udfff]", message):
        raise Unreadable("its message is not text")


def verify_identity(text: str) -> None:
    """Raises `Unreadable` unless it is a hybrid identity: the promise is that no later computer opens the pack."""
    try:
        identity = parse_identity(text)
    except BadInput:
        raise Unreadable("its key is not an age identity") from None
    if not isinstance(identity, HybridIdentity):
        raise Unreadable("its key is of a kind that a quantum computer breaks")


def verify_path(path: str) -> None:
    """Raises `Unreadable` for a path that is not plain, relative, and below the folder it is written into."""
    if _FORBIDDEN.search(path):
        raise Unreadable("a file name has a character that must not stand in one")
    if len(path.encode()) > MAX_PATH:
        raise Unreadable("a file name is too long")
    for part in path.split("/"):
        if not part or part.endswith((".", " ")):  # also . and ..
            raise Unreadable("a file name has a part that is empty, or ends in a dot or a blank")
        if len(part.encode()) > MAX_PART:
            raise Unreadable("a file name is too long")


def verify_distinct(paths: Sequence[str]) -> None:
    """Raises `Unreadable` where two paths could be one file, or one the folder of another, on some disk."""
    folded = [normalize("NFC", normalize("NFC", path).lower()) for path in paths]
    files = set(folded)
    if len(files) != len(folded):
        raise Unreadable("two of its files have the same name")
    for path in folded:
        folder = path
        while (folder := folder.rpartition("/")[0]) != "":
            if folder in files:
                raise Unreadable("one of its files has the name of a folder")


def verify_segments(entry: FileEntry) -> None:
    """Raises `Unreadable` unless there is one digest for each segment, in canonical base64."""
    count = -(-entry.length // SEGMENT)
    # The length first: nothing is decoded that is longer than it may be.
    if len(entry.segments) != -(-count * DIGEST // 3) * 4 or not _BASE64.fullmatch(entry.segments):
        raise Unreadable("a file has not one digest for each segment")
    joined = b64decode(entry.segments)
    if len(joined) != count * DIGEST or b64encode(joined).decode() != entry.segments:
        raise Unreadable("a file has not one digest for each segment")
