"""What a database says in clear of its cluster: not to be trusted, but for the texts of errors."""

from __future__ import annotations

import msgspec

from strongroom.host.store.port import Store
from strongroom.host.supervisor.starting import Quorum
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.evidence import parse_genesis
from strongroom.protocol.governance import MAX_CHARTER, Charter, watchers_of
from strongroom.protocol.index import RING_KEY


class _Ring(msgspec.Struct):
    """The row of the key ring, as far as it is not sealed."""

    charter: bytes


async def quorum_in(store: Store) -> Quorum | None:
    """By the charter in the database; None where none can be read."""
    try:
        row = (await store.read([RING_KEY]))[0]
        if row is None:
            return None
        charter = decode(msgspec.msgpack.decode(row.sealed, type=_Ring).charter, Charter, limit=MAX_CHARTER)
        genesis, watchers = parse_genesis(charter.genesis.statement), watchers_of(charter)
    except (StrongroomError, msgspec.DecodeError):
        return None
    return Quorum(len(watchers.witnesses), watchers.cosignatures, genesis.role)
