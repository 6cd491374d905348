"""Two Authenticators of clusters of their own, two providers: neither provider and neither Authenticator alone takes a
key (RULES 17). Everything is real, over HTTP on loopback."""

from types import SimpleNamespace

import msgspec
import pytest

from strongroom import Misuse, Refused
from strongroom.attack.network import listening
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.quorum import two_of
from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.measurement import measure
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.facts import fact
from strongroom.protocol.instructions import AuthenticatorRef, method_digest
from strongroom.protocol.messages import ById
from tests.support import policies
from tests.support.issuer import CLIENT_ID, Issuer
from tests.support.served import AtTheIssuer, Line, ServedWorld
from tests.support.vault import collect_error
from tests.support.world import Instance

SECRET = b"what no single provider shall hand out"


class AtEitherIssuer:
    """A user in front of a browser, who is `who` at both providers."""

    def __init__(self, *issuers, who="bob"):
        self.at = [AtTheIssuer(issuer, who) for issuer in issuers]

    async def authorize(self, url):
        (there,) = [one for one in self.at if url.startswith(one.issuer.url)]
        await there.authorize(url)


@pytest.fixture
async def scene(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        world = served.world
        # Of the same machine: in development an Authenticator answers the Vaults beside it alone.
        second = Instance("authenticator", tmp_path / "state", build_authenticator, world.owner.public)
        await second.start()
        line, issuer = Line(second), Issuer(Clock(second.platform))
        async with issuer.serving(), listening(line.serve) as line.url:
            world.vault.host.routes[line.url] = line.honestly
            cluster = parse_evidence(await second.evidence())[1].cluster_id
            program = policies.software(
                roots=[*world.vault.platform.roots, *second.platform.roots], measurements=[measure("authenticator")]
            )

            def accepting(*clusters):
                return policies.role(clusters=list(clusters), insecure_software=program)

            yield SimpleNamespace(
                served=served,
                second=second,
                line=line,
                issuer=issuer,
                cluster=cluster,
                methods=[served.method, oidc_method(issuer.url, CLIENT_ID)],
                trust=msgspec.structs.replace(
                    served.trust, authenticator=accepting(world.authenticator_cluster, cluster)
                ),
                places=[
                    AuthenticatorRef(
                        url=served.authenticator.url, policy=encode(accepting(world.authenticator_cluster))
                    ),
                    AuthenticatorRef(url=line.url, policy=encode(accepting(cluster))),
                ],
            )


def both_providers(scene):
    """bob, says each provider."""
    return two_of([[(method, "bob")] for method in scene.methods]).together().may("collect")


async def stored(scene, rules, **changes):
    rules = rules | Policy.person(scene.methods[0], "alice").may("update", "delete")
    fields = {"authenticators": scene.places, "methods": scene.methods, "rules": rules, "quorum": 2} | changes
    async with scene.served.sdk("alice", trust=scene.trust) as alice:
        return (await alice.store(SECRET, namespace="team", instructions=instructions(**fields))).address


def somebody(scene, *issuers, **options):
    return scene.served.sdk(sign_in=AtEitherIssuer(*issuers), trust=scene.trust, **options)


async def test_whom_both_providers_know_gets_it_from_both_authenticators(scene):
    address = await stored(scene, both_providers(scene))
    issuers = (scene.served.issuer, scene.issuer)
    async with somebody(scene, *issuers) as bob:
        with pytest.raises(Refused):
            await bob.collect(address)
        await bob.sign_in_also(address, issuer=scene.issuer.url)
        assert (await bob.collect(address)).secret == SECRET
    assert [issuer.calls["/token"] for issuer in issuers] >= [2, 2]


@pytest.mark.parametrize("which", [0, 1])
async def test_one_provider_alone_opens_nothing(scene, which):
    """It signs whatever it likes, at both Authenticators, and even twice: it is one provider."""
    address = await stored(scene, both_providers(scene))
    liar = (scene.served.issuer, scene.issuer)[which]
    async with somebody(scene, liar, issuer=liar.url) as thief:
        with pytest.raises(Refused):
            await thief.collect(address)
        await thief.sign_in_also(address, issuer=liar.url)
        with pytest.raises(Refused) as caught:
            await thief.collect(address)
    assert caught.value.number == Number.REFUSED
    assert liar.calls["/token"] >= 4


async def test_a_quorum_without_rules_for_both_providers_believes_one(scene):
    """Why `policy check` warns: the Authenticators agree, but they ask the same provider."""
    address = await stored(scene, Policy.person(scene.methods[0], "bob").may("collect"))
    async with somebody(scene, scene.served.issuer, issuer=scene.served.issuer.url) as thief:
        assert (await thief.collect(address)).secret == SECRET


def forged(scene, instance, binding):
    """What an Authenticator in wrong hands gives out: a ticket that says whatever is wanted."""
    service = instance.enclave._door._service
    now = int(instance.platform.now())
    first, second = (fact(method_digest(encode(method)), "oidc", "bob") for method in scene.methods)
    world = scene.served.world
    ticket, _ = service._sealer.issue_ticket(binding.public, world.vault_cluster, first, now)
    earlier = service._sealer.open_ticket(
        ticket, binding_key=binding.public, vault_cluster=world.vault_cluster, now=now
    )
    return service._sealer.issue_ticket(binding.public, world.vault_cluster, second, now, earlier)[0]


@pytest.mark.parametrize("which", [0, 1])
async def test_one_authenticator_alone_opens_nothing(scene, which):
    address = await stored(scene, both_providers(scene))
    world = scene.served.world
    thief = await world.client()
    instance = (world.authenticator, scene.second)[which]
    thief.tickets = [forged(scene, instance, thief.binding), forged(scene, instance, thief.binding)]
    assert await collect_error(thief, address) == Number.TICKET_MISSING
    thief.tickets = [forged(scene, one, thief.binding) for one in (world.authenticator, scene.second)]
    (opened,) = await thief.collect(address)
    assert opened.secret == SECRET, "both together do"


async def test_one_authenticator_named_twice_is_one(scene):
    world = scene.served.world
    again = "http://authenticator.test/again"
    world.vault.host.routes[again] = scene.served.authenticator.honestly
    places = [scene.places[0], msgspec.structs.replace(scene.places[0], url=again)]
    with pytest.raises(Misuse) as caught:
        await stored(scene, both_providers(scene), authenticators=places)
    assert caught.value.number == Number.INSTRUCTIONS_INVALID


async def test_a_key_stays_where_it_is_when_one_authenticator_is_away(scene):
    address = await stored(scene, both_providers(scene))
    world = scene.served.world
    bob = await world.client()
    bob.tickets = [forged(scene, one, bob.binding) for one in (world.authenticator, scene.second)]
    assert isinstance(address, ById)
    del world.vault.host.routes[scene.line.url]
    assert await collect_error(bob, address) == Number.AUTHENTICATOR_UNAVAILABLE
    world.vault.host.routes[scene.line.url] = scene.line.honestly
    (opened,) = await bob.collect(address)
    assert opened.secret == SECRET
