"""A Vault as its users see it: store, collect, update, delete, describe. Asyncio; `client.sync` is the other face.

    async with AsyncVault(url, load_trust("trust.toml"), sign_in=BrowserSignIn()) as vault:
        receipt = await vault.store(secret, namespace="team", instructions=instructions)
        released = await vault.collect(receipt.address)

Every request carries a random id, and every write the version it replaces: what is repeated has one effect.
"""

from __future__ import annotations

from typing import Final, TypeVar

from strongroom.protocol.errors import Number
from strongroom.protocol.messages import (
    Address,
    OfNamespace,
)

T = TypeVar("T")
Anywhere = Address | OfNamespace

REQUEST_ID: Final = 16
RECORD_ID: Final = 16
REMEMBERED: Final = 4096
"""Addresses whose ways to sign in are kept in mind."""

_BAD_TICKET: Final = (Number.TICKET_MISSING, Number.TICKET_EXPIRED)
