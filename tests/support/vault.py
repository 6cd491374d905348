"""What tests of the Vault do again and again."""

import os

import pytest

from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.messages import ById, Person, Terms
from strongroom.protocol.vault_messages import Approve, Ask, Item, ItemError, Questions
from tests.support.world import METHOD, for_bob
from tests.support.world import Person as Client

SECRET = b"the recipe for hacking them"


def fresh():
    return ById(id=os.urandom(16))


async def stored(world, rules=None, secret=SECRET):
    """A record of alice's; its address and the row key that the host sees."""
    alice = await world.client("alice")
    address = fresh()
    await alice.store(address, secret, world.instructions(rules or for_bob()))
    return address, world.handle(address)


def person(name):
    """As whom the Authenticator recognises somebody."""
    return Person(principal=f"{method_digest(METHOD).hex()}:{name}", email=f"{name}@example.com")


FAR = 2**33
"""Unix seconds: a record with a blob has to expire."""


def terms(**changes):
    nothing = {
        "expires_at": FAR if changes.get("blob") else 0,
        "max_opens": 0,
        "closed": False,
        "fillable": False,
        "blob": None,
        "blob_bytes": 0,
    }
    return Terms(**(nothing | changes))


def released(version, secret, author="alice"):
    """What is released of a record without terms."""
    return Item(version=version, secret=secret, metadata=b"", author=person(author), terms=None, opens=0)


async def number_of(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value.number


async def collect_error(person, address):
    (result,) = await person.collect(address)
    assert isinstance(result, ItemError), "a secret was released"
    return Number(result.number)


async def ask(client, address, action="collect", seconds=3600, request_id=None):
    request_id = request_id or os.urandom(16)
    tickets = client.tickets
    return await client.ask(
        Ask(request_id=request_id, address=address, action=action, tickets=tickets, seconds=seconds)
    )


async def questions(client, address):
    return (await client.ask(Questions(address=address, tickets=client.tickets))).questions


async def approve(client, address, question):
    """How many have approved."""
    request = Approve(request_id=os.urandom(16), address=address, question=question, tickets=client.tickets)
    return (await client.ask(request)).approvals


async def again(world, client):
    """Another session of the same binding key, with the same tickets."""
    other = Client(world.vault, client.binding)
    await other.open()
    other.tickets = client.tickets
    return other
