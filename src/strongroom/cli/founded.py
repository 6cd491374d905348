"""What a database says in clear of how its cluster was founded: not to be trusted, but for the texts of errors."""

from __future__ import annotations

import msgspec

from strongroom.host.store.port import Store
from strongroom.host.supervisor.serve import Quorum
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.evidence import Genesis
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.limits import MAX_MESSAGE


class _Ring(msgspec.Struct):
    """The row of the key ring, as far as it is not sealed."""

    genesis: bytes


async def quorum_in(store: Store) -> Quorum | None:
    """That of the genesis statement in the database; None where none can be read."""
    try:
        row = (await store.read([RING_KEY]))[0]
        if row is None:
            return None
        genesis = decode(msgspec.msgpack.decode(row.sealed, type=_Ring).genesis, Genesis, limit=MAX_MESSAGE)
    except (StrongroomError, msgspec.DecodeError):
        return None
    return Quorum(len(genesis.witnesses), genesis.cosignatures)
