"""People who decide together by approvals, under the rules that `two_of` writes, at a real Vault and Authenticator."""

import os

import pytest

from strongroom.client.policy import Policy
from strongroom.client.quorum import two_of
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import parse_method
from strongroom.protocol.messages import ById
from tests.support.evidence import changed
from tests.support.people import KEYS, signed_in
from tests.support.vault import SECRET, approve, ask, collect_error, number_of, released
from tests.support.world import METHOD

OIDC = parse_method(METHOD)
BOARD = [[(OIDC, name), (KEYS, name)] for name in ("bob", "carol", "dave")]
RULES = two_of(BOARD).may_when_approved("collect") | Policy.person(OIDC, "alice").may("update", "delete")


@pytest.fixture
async def address(world):
    alice = await world.client("alice")
    where = ById(id=os.urandom(16))
    await alice.store(where, SECRET, world.instructions(RULES.cedar, methods=[METHOD, encode(KEYS)]))
    return where


async def by_key(world, name, **changes):
    client = await world.client()
    client.tickets = [world.ticket_for(changed(signed_in(KEYS, name), **changes), client.binding)]
    return client


async def test_one_asks_and_another_approves(world, address):
    bob = await world.client("bob")
    question = (await ask(bob, address)).question
    assert await collect_error(bob, address) is Number.REFUSED
    assert await approve(await by_key(world, "carol"), address, question) == 1
    assert await bob.collect(address) == [released(1, SECRET)]
    assert await collect_error(bob, address) is Number.REFUSED, "it was for once"


async def test_nobody_approves_of_themselves_by_another_sign_in(world, address):
    """To the Vault bob's account and bob's key are two principals: that they are one person, the rules know."""
    bob = await world.client("bob")
    question = (await ask(bob, address)).question
    await approve(await by_key(world, "bob"), address, question)
    assert await collect_error(bob, address) is Number.REFUSED
    await approve(await world.client("dave"), address, question)
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_strangers_neither_ask_nor_approve(world, address):
    mallory = await world.client("mallory")
    assert await number_of(ask(mallory, address)) is Number.REFUSED
    question = (await ask(await world.client("bob"), address)).question
    assert await number_of(approve(mallory, address, question)) is Number.REFUSED


async def test_who_may_have_been_tricked_approves_of_nothing(world, address):
    bob = await world.client("bob")
    question = (await ask(bob, address)).question
    tricked = await by_key(world, "carol", phishable=True)
    assert await number_of(approve(tricked, address, question)) is Number.REFUSED
    assert await collect_error(bob, address) is Number.REFUSED


async def test_rules_that_allow_what_can_be_phished_still_take_no_approval_of_it(world):
    """The Authenticator says no, whatever a depositor wrote."""
    anybody = "permit (principal, action, resource);"
    alice = await world.client("alice")
    where = ById(id=os.urandom(16))
    await alice.store(where, SECRET, world.instructions(anybody, methods=[METHOD, encode(KEYS)]))
    question = (await ask(await world.client("bob"), where)).question
    tricked = await by_key(world, "carol", phishable=True)
    assert await number_of(approve(tricked, where, question)) is Number.REFUSED
    assert await approve(await by_key(world, "carol"), where, question) == 1
