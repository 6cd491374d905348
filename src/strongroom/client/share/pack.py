"""A pack: age files one behind the other, last the manifest (`spec/share.md`). Bytes in, bytes out; no network.

All lengths are known before anything is read, so the blob's is too. A receiver gets each segment only after its digest
held, and each chunk only after its tag did: digests say who sent it, tags that it is whole (RULES 27).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Final

from strongroom.client.errors import BadInput
from strongroom.client.share.age import Identity, Opener, Recipient, Sealer, age_length
from strongroom.client.share.errors import Damaged, Unreadable
from strongroom.client.share.format import (
    DIGEST,
    MAX_FILES,
    MAX_MANIFEST,
    MAX_NUMBER,
    SEGMENT,
    FileEntry,
    Manifest,
    ManifestPlace,
    ShareSecret,
    encode_json,
    parse_manifest,
    verify_distinct,
    verify_path,
)
from strongroom.protocol.primitives import equal

BLOCK: Final = 1 << 20
"""Plaintext bytes that are read and sealed at a time."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to send. `open` gives its bytes, exactly `size` of them."""

    path: str
    size: int
    type: str
    modified: int
    """Unix seconds; 0: not known."""
    open: Callable[[], BinaryIO]


class Pack:
    """What is to be sent, laid out. Iterate over `blocks()` once; then `place` says where the manifest lies.

    Raises `BadInput` for files that no receiver would accept.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        _verify_sources(sources)
        self.sources: Final = tuple(sources)
        offsets, at = [], 0
        for source in sources:
            offsets.append(at)
            at += age_length(source.size)
        self._offsets: Final = tuple(offsets)
        self._at: Final = at
        # Digests have a fixed length as text: any will do to know how long the manifest becomes.
        blank = [bytes(DIGEST) * -(-age_length(source.size) // SEGMENT) for source in sources]
        self._manifest_size: Final = len(encode_json(self._manifest(blank)))
        self.size: Final = at + age_length(self._manifest_size)
        """Bytes of the whole pack."""
        if self._manifest_size > MAX_MANIFEST or self.size > MAX_NUMBER:
            raise BadInput("this is too much for one share", "send it in several, or put the files into an archive")
        self.place: ManifestPlace | None = None

    def blocks(self, recipient: Recipient) -> Iterator[bytes]:
        """The pack, in pieces of about a mebibyte. Raises `BadInput` when a file changes while it is read."""
        digests = []
        for source in self.sources:
            segments = _Segments()
            for block in _seal(_read(source), recipient):
                segments.add(block)
                yield block
            digests.append(segments.finish())
        manifest = encode_json(self._manifest(digests))
        whole = sha256()
        for block in _seal(iter([manifest]), recipient):
            whole.update(block)
            yield block
        self.place = ManifestPlace(offset=self._at, length=age_length(self._manifest_size), sha256=whole.hexdigest())

    def _manifest(self, digests: Sequence[bytes]) -> Manifest:
        return Manifest(
            format="strongroom manifest 1",
            files=[
                FileEntry(
                    path=source.path,
                    size=source.size,
                    type=source.type,
                    modified=source.modified,
                    offset=offset,
                    length=age_length(source.size),
                    segments=b64encode(joined).decode("ascii"),
                )
                for source, offset, joined in zip(self.sources, self._offsets, digests, strict=True)
            ],
        )


def open_manifest(share: ShareSecret, identity: Identity, untrusted: bytes) -> Manifest:
    """The manifest of a share from the bytes at its place. Raises `Damaged` and `Unreadable`."""
    place = share.manifest
    if place is None:
        raise Unreadable("it has no manifest")
    if len(untrusted) != place.length or not equal(sha256(untrusted).digest(), bytes.fromhex(place.sha256)):
        raise Damaged("the list of files is not the one that was sent")
    opener = Opener(identity)
    return parse_manifest(opener.open(untrusted) + opener.finish(), share)


async def open_file(entry: FileEntry, identity: Identity, untrusted: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The plaintext of one file from its bytes in the pack, piece by piece.

    Whoever writes it down shows it to nobody before the last piece came: until then it may have been cut off.
    Raises `Damaged`.
    """
    opener = Opener(identity)
    opened = 0
    async for segment in _verified_segments(entry, untrusted):
        plain = opener.open(segment)
        opened += len(plain)
        yield plain
    last = opener.finish()
    if opened + len(last) != entry.size:
        raise Damaged("it has another size than was said")
    yield last


async def _verified_segments(entry: FileEntry, untrusted: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Segments whose digest held; at most one is held in memory."""
    digests = entry.digests
    held = bytearray()
    number = 0
    async for piece in untrusted:
        held += piece
        while len(held) >= SEGMENT:
            yield _verified(digests, number, bytes(held[:SEGMENT]))
            del held[:SEGMENT]
            number += 1
    if held:
        yield _verified(digests, number, bytes(held))
        number += 1
    if number != len(digests):
        raise Damaged("the host has less of it than was sent")


def _verified(digests: list[bytes], number: int, segment: bytes) -> bytes:
    if number >= len(digests) or not equal(sha256(segment).digest(), digests[number]):
        raise Damaged(f"segment {number + 1} of {len(digests)} is not what was sent")
    return segment


class _Segments:
    """Digests of each mebibyte of what is added."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._now = sha256()
        self._room = SEGMENT

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view) >= self._room:
            self._now.update(view[: self._room])
            view = view[self._room :]
            self._digests.append(self._now.digest())
            self._now, self._room = sha256(), SEGMENT
        self._now.update(view)
        self._room -= len(view)

    def finish(self) -> bytes:
        if self._room < SEGMENT:
            self._digests.append(self._now.digest())
        return b"".join(self._digests)


def _seal(plain: Iterator[bytes], recipient: Recipient) -> Iterator[bytes]:
    sealer = Sealer(recipient)
    for block in plain:
        yield sealer.seal(block)
    yield sealer.finish()


def _read(source: Source) -> Iterator[bytes]:
    """Exactly the bytes that were announced: their number is part of offsets that are fixed by now."""
    left = source.size
    with source.open() as file:
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise _changed(source)
            left -= len(block)
            yield block
        if file.read(1):
            raise _changed(source)


def _changed(source: Source) -> BadInput:
    return BadInput(f"{source.path} changed while it was being sent", "send it again when nobody writes to it")


def _verify_sources(sources: Sequence[Source]) -> None:
    if not 1 <= len(sources) <= MAX_FILES:
        raise BadInput(f"a share holds 1 to {MAX_FILES:,} files", "put many files into an archive")
    try:
        for source in sources:
            verify_path(source.path)
    except Unreadable as error:
        raise BadInput(f"{source.path!r} can't be sent: {error.reason}", "rename it") from None
    try:
        verify_distinct([source.path for source in sources])
    except Unreadable as error:
        raise BadInput(
            f"this can't be sent: {error.reason}", "rename one of them; A and a are one on many disks"
        ) from None
