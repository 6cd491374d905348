"""Records whose instructions know the Authenticator by who releases its programs: they outlive an upgrade of it, and
refuse what was retired."""

import pytest

from strongroom.attestation.policy import ReleaseAuthority
from strongroom.enclave.runtime.sealed_ring import Instance, instance_key
from strongroom.protocol.cluster_messages import Publish
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.instructions import AuthenticatorRef
from tests.support import policies
from tests.support.ceremony import Nursed, found, talk
from tests.support.releases import NEW, Program2, listing, own, release, signed
from tests.support.ssh_keys import SshKey
from tests.support.vault import SECRET, collect_error, fresh, number_of, released
from tests.support.world import AUTHENTICATOR_URL, World, for_bob

KEYS = [SshKey(person=f"approver-{at}") for at in range(2)]


class Upgraded(World):
    """A Vault, and an Authenticator with approvers that has given its keys to another program."""

    async def begin(self, directory):
        self.founded = await found(
            directory, role="authenticator", approvers=[one.public_key for one in KEYS], approvals=2
        )
        self.authenticator = self.founded.instance
        await self.vault.start()
        self.vault_cluster = parse_evidence(await self.vault.evidence())[1].cluster_id
        self.authenticator_cluster = self.founded.cluster_id
        await self.namespace()
        both = [release("1", own(self.founded)), release("2", NEW, svn=2)]
        self.list = listing(self.founded.cluster_id, 1, *both, role="authenticator")
        await self.publish(self.list)
        return self

    async def publish(self, releases):
        await (await talk(self.founded.instance)).ask(Publish(releases=signed(releases, KEYS)))

    def by_releases(self, min_serial):
        """Instructions that name no program of the Authenticator, only who releases them."""
        authority = ReleaseAuthority([one.public_key for one in KEYS], 2, min_serial)
        software = policies.software(roots=list(self.vault.platform.roots))
        role = policies.role(clusters=[self.founded.cluster_id], insecure_software=software, releases=authority)
        reference = AuthenticatorRef(url=AUTHENTICATOR_URL, policy=encode(role))
        return self.instructions(for_bob(), authenticators=[reference])

    async def other_program(self):
        """The second program on the same machine, which was given the keys."""
        cluster = self.founded.instance.enclave._cluster
        assert cluster is not None
        keeping, ring = cluster._releasing._keeping, cluster._ring
        platform = Program2("authenticator", self.founded.instance.state)
        key = instance_key(platform)
        async with keeping.one_change:
            guest = Instance(key.label, platform.kind, NEW, key.kem.public, 0)
            await keeping.change([], instances=[*ring.state.instances, guest])
        other = Nursed("authenticator", self.founded.instance.state, self.founded.owner.public)
        other.platform = platform
        other.host.rows = dict(self.founded.instance.host.rows)
        await other.begin("open")
        return other


@pytest.fixture
async def world(tmp_path):
    return await Upgraded(tmp_path).begin(tmp_path)


async def stored(world, min_serial):
    alice, address = await world.client("alice"), fresh()
    await alice.store(address, SECRET, world.by_releases(min_serial))
    return address


async def test_a_record_opens_when_its_authenticator_has_become_another_released_program(world):
    address = await stored(world, 1)
    bob = await world.client("bob")
    assert await bob.collect(address) == [released(1, SECRET)]
    world.authenticator = await world.other_program()
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_a_retired_authenticator_decides_nothing_for_a_record_that_knows_of_the_newer_list(world):
    """Its host kept the database of before: it has the keys and the old list, and no log says that it is old."""
    other = await world.other_program()
    alone = listing(world.founded.cluster_id, 2, release("1", own(world.founded)), role="authenticator")
    await world.publish(alone)
    knows, does_not = await stored(world, 2), await stored(world, 1)
    world.authenticator = other
    bob = await world.client("bob")
    assert await collect_error(bob, knows) is Number.AUTHENTICATOR_UNTRUSTED
    assert await bob.collect(does_not) == [released(1, SECRET)]  # docs/limits.md


async def test_a_record_is_not_stored_for_an_authenticator_whose_list_is_too_old(world):
    alice = await world.client("alice")
    storing = alice.store(fresh(), SECRET, world.by_releases(2))
    assert await number_of(storing) is Number.AUTHENTICATOR_UNTRUSTED
