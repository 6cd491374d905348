"""What tests of the Vault do again and again."""

import os

import pytest

from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.messages import (
    ById,
    ItemError,
)
from tests.support.world import for_bob

SECRET = b"the recipe for hacking them"


def fresh():
    return ById(id=os.urandom(16))


async def stored(world, rules=None, secret=SECRET):
    """A record of alice's; its address and the row key that the host sees."""
    alice = await world.client("alice")
    before = set(world.vault.host.rows)
    address = fresh()
    await alice.store(address, secret, world.instructions(rules or for_bob()))
    sizes = {key: len(world.vault.host.rows[key].sealed) for key in set(world.vault.host.rows) - before}
    return address, max(sizes, key=lambda key: sizes[key])


async def number_of(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value.number


async def collect_error(person, address):
    (result,) = await person.collect(address)
    assert isinstance(result, ItemError), "a secret was released"
    return Number(result.number)
