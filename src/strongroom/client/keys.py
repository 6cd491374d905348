"""Binding key in a file (SKELETON)."""
from __future__ import annotations

from pathlib import Path

from strongroom.protocol.primitives import SigningKey


def load_or_create_key(path: Path) -> SigningKey:
    """The P-256 key in `path`, made (0600) when there is none. Raises `BadInput`, also when others may read it."""
    raise NotImplementedError


def load_key(path: Path) -> SigningKey:
    """The key in `path`. Raises `BadInput`."""
    raise NotImplementedError
