"""Who a secret is from: what somebody with a provider or an Authenticator of his own can make others believe."""

import pytest

from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.measurement import measure
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.facts import fact
from strongroom.protocol.instructions import AuthenticatorRef, OidcMethod, method_digest
from strongroom.protocol.messages import Person
from tests.support import policies
from tests.support.evidence import changed
from tests.support.vault import fresh, person, terms
from tests.support.world import METHOD, Instance, permit

NOBODY = Person(principal="", email="")
_HONEST = decode(METHOD, OidcMethod, limit=10_000)
EVIL = encode(
    OidcMethod(
        public=_HONEST.public,
        secret=_HONEST.secret,
        algorithms=["ES256"],
        email_domains=["example.com"],
        acr_values=[],
        max_age=0,
        pushed=False,
    )
)
"""As `METHOD`, but with its provider as an authority on other people's domain: another method, another digest."""


def ticket(world, who, binding, method, instance=None):
    """What an Authenticator issues to somebody whom the provider of `method` calls `who`."""
    instance = instance or world.authenticator
    signed_in = changed(
        fact(method_digest(method), "oidc", who),
        issuer="https://idp.example.com",
        email=f"{who}@example.com",
        channel="native",
    )
    now = int(instance.platform.now())
    return instance.enclave._door._service._sealer.issue_ticket(binding.public, world.vault_cluster, signed_in, now)[0]


@pytest.fixture
async def evil(world):
    """An Authenticator of mallory's own, genuine in all but whom it belongs to."""
    instance = Instance("authenticator", world.vault.state, build_authenticator, world.owner.public)

    async def handle(operation, body):
        return await instance.enclave.handle(operation, body)

    world.vault.host.routes["http://mallory.test"] = handle
    await instance.start()
    return instance


def reference(instance, cluster):
    program = policies.software(roots=list(instance.platform.roots), measurements=[measure("authenticator")])
    return AuthenticatorRef(
        url="http://mallory.test", policy=encode(policies.role(clusters=[cluster], insecure_software=program))
    )


async def test_nobody_is_the_author_as_whom_a_provider_of_his_own_calls_him(world):
    """The record's depositor chooses its methods; whoever opens it sees the author's address as "from"."""
    address, mallory = fresh(), await world.client("mallory")
    rules = world.instructions(permit("collect", "update", "delete"), methods=[METHOD, EVIL])
    await mallory.store(address, b"", rules, terms=terms())
    mallory.tickets = [ticket(world, "ceo", mallory.binding, EVIL)]
    await mallory.update(address, 1, secret=b"pay this invoice")
    (item,) = await (await world.client("bob")).collect(address)
    assert (item.secret, item.author) == (b"pay this invoice", NOBODY)


async def test_nobody_fills_a_box_of_his_own_as_somebody_else(world):
    address, mallory = fresh(), await world.client("mallory")
    rules = world.instructions(permit("collect", "fill", "update", "delete"), methods=[METHOD, EVIL])
    await mallory.store(address, b"", rules, terms=terms(fillable=True))
    mallory.tickets = [ticket(world, "ceo", mallory.binding, EVIL)]
    await mallory.fill(address, 1, b"pay this invoice")
    (item,) = await (await world.client("bob")).collect(address)
    assert item.author == NOBODY


async def test_nobody_is_the_author_as_whom_an_authenticator_of_his_own_knows_him(world, evil):
    """It may say that the namespace's own method was used, and by whom it likes."""
    cluster = parse_evidence(await evil.evidence())[1].cluster_id
    honest = AuthenticatorRef(url="http://authenticator.test", policy=encode(world.policy()))
    rules = world.instructions(permit("collect", "update", "delete"), authenticators=[honest, reference(evil, cluster)])
    address, mallory = fresh(), await world.client("mallory")
    await mallory.store(address, b"", rules, terms=terms())
    mallory.tickets = [ticket(world, "ceo", mallory.binding, METHOD, evil)]
    await mallory.update(address, 1, secret=b"pay this invoice")
    (item,) = await (await world.client("bob")).collect(address)
    assert (item.secret, item.author) == (b"pay this invoice", NOBODY)


async def test_who_signs_in_as_the_namespace_asks_is_the_author_whatever_else_the_record_names(world):
    address, alice = fresh(), await world.client("alice")
    rules = world.instructions(permit("collect", "update", "delete"), methods=[EVIL, METHOD])
    await alice.store(address, b"", rules, terms=terms())
    await (await world.client("bob")).update(address, 1, secret=b"bob's")
    (item,) = await alice.collect(address)
    assert item.author == person("bob")
