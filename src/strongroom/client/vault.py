"""A Vault as its users see it: store, collect, update, delete, describe. Asyncio; `client.sync` is the other face.

    async with AsyncVault(url, load_trust("trust.toml"), sign_in=BrowserSignIn()) as vault:
        receipt = await vault.store(secret, namespace="team", instructions=instructions)
        released = await vault.collect(receipt.address)

Every request carries a random id, and every write the version it replaces: what is repeated has one effect.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from itertools import batched
from types import TracebackType
from typing import Final, Self, TypeVar

from strongroom.attestation.appraisal import Appraisal
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.addresses import parse_address, verify_name
from strongroom.client.errors import BadInput
from strongroom.client.results import Description, Erased, Method, NewSecret, Person, Place, Receipt, Released
from strongroom.client.session import AttestedServer
from strongroom.client.sign_in import DeviceSignIn, SignIn, SignInDesk, Ways
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted, from_number
from strongroom.protocol.instructions import OidcPublic
from strongroom.protocol.limits import MAX_BATCH, MAX_INSTRUCTIONS, MAX_METADATA, MAX_METHOD, MAX_SECRET, MAX_TICKETS
from strongroom.protocol.messages import (
    Address,
    ById,
    ByName,
    Collect,
    Collected,
    CreateNamespace,
    Delete,
    Deleted,
    Describe,
    Described,
    Item,
    NamespaceCreated,
    OfNamespace,
    Store,
    Stored,
    StoreItem,
    Ticket,
    Update,
    Updated,
)
from strongroom.protocol.primitives import SigningKey

T = TypeVar("T")
Anywhere = Address | OfNamespace

REQUEST_ID: Final = 16
RECORD_ID: Final = 16
REMEMBERED: Final = 4096
"""Addresses whose ways to sign in are kept in mind."""

_BAD_TICKET: Final = (Number.TICKET_MISSING, Number.TICKET_EXPIRED)
