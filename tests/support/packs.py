"""Packs of shares, as an honest sender makes them and as others might."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from strongroom.client.share.age import Sealer, generate_identity, parse_identity
from strongroom.client.share.format import FileEntry, Manifest, ManifestPlace, ShareSecret, encode_json
from strongroom.client.share.pack import Pack, Source, open_file, open_manifest


def source(path: str, data: bytes) -> Source:
    return Source(path, len(data), "text/plain", 1_700_000_000, lambda: io.BytesIO(data))


class Packed:
    """A share of these files: its secret, its identity, and the bytes that the host keeps."""

    def __init__(self, files: dict[str, bytes]) -> None:
        text = generate_identity()
        self.identity = parse_identity(text)
        self.pack = Pack([source(path, data) for path, data in files.items()])
        self.blob = b"".join(self.pack.blocks(self.identity.recipient))
        assert self.pack.place is not None
        self.share = ShareSecret(
            format="strongroom share 1",
            title="Report",
            message="",
            identity=text,
            blob="ab" * 16,
            size=self.pack.size,
            manifest=self.pack.place,
            sent_at=1_700_000_000,
        )

    @property
    def listed(self) -> bytes:
        """The manifest's age file."""
        assert self.share.manifest is not None
        return self.blob[self.share.manifest.offset :]

    @property
    def manifest(self) -> Manifest:
        return open_manifest(self.share, self.identity, self.listed)

    def entry(self, path: str) -> FileEntry:
        return next(one for one in self.manifest.files if one.path == path)

    def bytes_of(self, path: str) -> bytes:
        entry = self.entry(path)
        return self.blob[entry.offset : entry.offset + entry.length]

    def relisted(self, manifest: Manifest | bytes, **place: Any) -> Packed:
        """The same files under another manifest, whose digest the sender vouches for: a sender who lies."""
        text = manifest if isinstance(manifest, bytes) else encode_json(manifest)
        sealer = Sealer(self.identity.recipient)
        listed = sealer.seal(text) + sealer.finish()
        assert self.share.manifest is not None
        at = self.share.manifest.offset
        changed: dict[str, Any] = {
            "offset": at,
            "length": len(listed),
            "sha256": hashlib.sha256(listed).hexdigest(),
        } | place
        other = object.__new__(Packed)
        other.identity = self.identity
        other.pack = self.pack
        other.blob = self.blob[:at] + listed
        other.share = msgspec.structs.replace(
            self.share, manifest=ManifestPlace(**changed), size=changed["offset"] + changed["length"]
        )
        return other

    def lying(self, about: str, **changes: Any) -> Packed:
        """The same, with some of one file's entry changed."""
        files = [msgspec.structs.replace(e, **changes) if e.path == about else e for e in self.manifest.files]
        return self.relisted(msgspec.structs.replace(self.manifest, files=files))


async def opened(packed: Packed, path: str, data: bytes | None = None, step: int = 100_000) -> bytes:
    """What a receiver gets of one file; `data`: what the host gives for it."""
    given = packed.bytes_of(path) if data is None else data

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(given), step):
            yield given[at : at + step]

    return b"".join([piece async for piece in open_file(packed.entry(path), packed.identity, pieces())])
