"""Grants: what a client shows so that the host keeps, changes or erases a blob.

`Strongroom-Grant: BASE64URL(statement) "." BASE64URL(signature)`, without padding. The statement is the Vault's word,
signed by its cluster's key; the host believes nothing else about who may store here (`spec/blobs.md`).
"""

from __future__ import annotations

import base64
import re
from typing import Final

from strongroom.host.share.answers import Problem
from strongroom.protocol.blobs import BlobStatement, verify_statement
from strongroom.protocol.errors import Number, StrongroomError, Untrusted

HEADER: Final = "strongroom-grant"
_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]{1,1024})\.([A-Za-z0-9_-]{86})")
"""86 digits: a signature of 64 bytes."""


def verify_grant(untrusted: str | None, cluster_key: bytes) -> BlobStatement:
    """What the Vault said. Raises `Problem` unless the header is exactly one statement that its cluster signed.

    Whether it has expired, or an older one than the host has seen, is for `Blobs` to say.
    """
    if untrusted is None:
        raise Problem(401, Number.REFUSED, "this needs a grant: ask the Vault for one and send it as Strongroom-Grant")
    parts = _SHAPE.fullmatch(untrusted)
    if parts is None:
        raise Problem(400, Number.MALFORMED, "the grant is not written as STATEMENT.SIGNATURE in base64url")
    try:
        statement, signature = (_decoded(part) for part in parts.groups())
        return verify_statement(statement, signature, cluster_key)
    except Untrusted:
        raise Problem(
            403, Number.INTEGRITY, "this grant was not signed by the Vault that this host works for"
        ) from None
    except (StrongroomError, ValueError):
        raise Problem(400, Number.MALFORMED, "the grant is not a well-formed statement about a blob") from None


def _decoded(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not the one way to write these bytes")
    return data
