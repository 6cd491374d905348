"""Destinations beyond the public Internet (RULES 18): of a measured list, which whoever relies on it expects."""

import msgspec
import pytest

from strongroom.attestation.appraisal import appraise
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, Untrusted
from strongroom.protocol.evidence import ConfigValue, parse_evidence
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.link import Operation
from strongroom.protocol.link import encode as encode_link
from strongroom.protocol.reach import parse_egress
from tests.support import starting
from tests.support.vault import collect_error, stored
from tests.support.world import AUTHENTICATOR_URL, Platform, World

LIST = "10.20.0.0/16:636,[fd00:1::/32]:636,ldap.corp.example:636"
EVERYTHING = ",".join(sorted(f"{network}:{port}" for network in ("0.0.0.0/0", "[::/0]") for port in (80, 443, 636)))


class Reached(OSError):
    """The call got as far as the network."""


class Traced(Platform):
    """Resolves every name to `address`; a connection is not made, only noted."""

    address = ""

    def __init__(self, state):
        super().__init__("authenticator", state)
        self.connected: list[tuple[str, int]] = []

    @property
    def kind(self):
        return "sgx"

    async def resolve(self, host, port):
        return [self.address]

    async def connect(self, host, port):
        self.connected.append((host, port))
        raise Reached


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    return Traced(tmp_path_factory.mktemp("machine"))


async def dialled(platform, reach, host, address, port, *, tls=True):
    """True when it was called, False when it was refused."""
    platform.address, platform.connected = address, []
    try:
        await Egress(platform, reach=parse_egress(reach)).of(bytes(32)).dial(host, port, tls=tls)
    except Reached:
        return platform.connected == [(address, port)]
    except Refused as error:
        return error.number is not Number.DESTINATION_REFUSED or platform.connected != []
    raise AssertionError("neither called nor refused")


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("dc1.corp.example", "10.20.1.2", 636),
        ("dc1.corp.example", "fd00:1::5", 636),
        ("ldap.corp.example", "192.168.7.7", 636),
        ("LDAP.corp.example", "192.168.7.7", 636),
        ("anything.example", "8.8.8.8", 12345),
    ],
)
async def test_what_the_list_names_may_be_called(platform, host, address, port):
    assert await dialled(platform, LIST, host, address, port)


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("dc1.corp.example", "10.20.1.2", 389),  # another port
        ("dc1.corp.example", "10.21.1.2", 636),  # another network
        ("dc1.corp.example", "192.168.7.7", 636),
        ("ldap.corp.example.evil.example", "192.168.7.7", 636),
        ("dc1.corp.example", "fd00:2::5", 636),
        ("dc1.corp.example", "::ffff:10.20.1.2", 636),
        ("dc1.corp.example", "fd00:1::5%eth0", 636),
    ],
)
async def test_what_the_list_does_not_name_is_not_called(platform, host, address, port):
    assert not await dialled(platform, LIST, host, address, port)
    assert not await dialled(platform, "", host, address, port)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fe80::1",
     "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
)  # fmt: skip
async def test_no_list_opens_the_machine_itself_or_the_metadata_of_a_cloud(platform, address):
    assert not await dialled(platform, EVERYTHING, "metadata.example", address, 443)
    assert not await dialled(platform, "metadata.example:443", "metadata.example", address, 443)


async def test_no_list_opens_a_way_without_tls(platform):
    assert await dialled(platform, EVERYTHING, "intranet.example", "10.0.0.1", 80)
    assert not await dialled(platform, EVERYTHING, "intranet.example", "10.0.0.1", 80, tls=False)


async def start(world, config):
    instance = world.authenticator
    instance.enclave = Enclave(instance.platform, instance.role, instance.build, instance.host)
    genesis = not instance.host.rows
    await instance.enclave.handle(
        Operation.START,
        encode_link(starting.start(mode="develop" if genesis else "open", owner_key=instance.owner_key, config=config)),
    )


async def test_the_claim_shows_the_list_and_a_policy_that_does_not_expect_it_refuses(tmp_path):
    world = await World(tmp_path).start()
    await start(world, {"egress": LIST})
    evidence = await world.authenticator.evidence()
    shown = [ConfigValue(name="egress", value=LIST)]
    assert parse_evidence(evidence)[1].config == shown
    now, policy = int(world.authenticator.platform.now()), world.policy()
    for expected in ([], [ConfigValue(name="egress", value="10.20.0.0/16:636")]):
        with pytest.raises(Untrusted) as caught:
            appraise(evidence, role="authenticator", policy=msgspec.structs.replace(policy, config=expected), now=now)
        assert caught.value.number is Number.POLICY
        assert "egress" in caught.value.reason
    appraise(evidence, role="authenticator", policy=msgspec.structs.replace(policy, config=shown), now=now)


async def test_a_list_that_a_depositor_s_policy_does_not_expect_orphans_nothing_and_opens_nothing(tmp_path):
    """The operator starts the same Authenticator anew with a door into a network: Vaults no longer ask it."""
    world = await World(tmp_path).start()
    await world.namespace()
    address, _ = await stored(world)
    await start(world, {"egress": LIST})
    await world.vault.start()
    bob = await world.client("bob")
    assert await collect_error(bob, address) is Number.AUTHENTICATOR_UNTRUSTED
    await start(world, {})
    await world.vault.start()
    bob = await world.client("bob")
    assert len(await bob.collect(address)) == 1


async def test_a_ticket_that_was_issued_with_a_door_open_counts_nowhere_once_it_is_closed(tmp_path):
    """The operator opens the door, has tickets issued by whatever is behind it, and closes it before anybody asks."""
    world = await World(tmp_path).start()
    await world.namespace()
    address, _ = await stored(world)
    await start(world, {"egress": LIST})
    bob = await world.client()
    bob.tickets = [world.ticket("bob", bob.binding)]
    await start(world, {})
    assert await collect_error(bob, address) is Number.REFUSED
    bob.tickets = [world.ticket("bob", bob.binding)]
    assert len(await bob.collect(address)) == 1


@pytest.mark.parametrize("text", ["10.20.0.0/16", "b:1,a:1", "10.20.0.0/16:636,", "everything", "http://a:1"])
async def test_an_enclave_with_a_list_in_another_form_does_not_start(tmp_path, text):
    """Its evidence would show what no parser reads as the enclave does."""
    world = World(tmp_path)
    with pytest.raises(Misuse) as caught:
        await start(world, {"egress": text})
    assert caught.value.number is Number.MALFORMED


async def test_a_depositor_can_expect_the_list(tmp_path):
    world = await World(tmp_path).start()
    await start(world, {"egress": LIST})
    policy = msgspec.structs.replace(world.policy(), config=[ConfigValue(name="egress", value=LIST)])
    reference = AuthenticatorRef(url=AUTHENTICATOR_URL, policy=encode(policy))
    honest = world.instructions
    world.instructions = lambda rules, **more: honest(rules, **({"authenticators": [reference]} | more))  # type: ignore[method-assign]
    await world.namespace()
    address, _ = await stored(world)
    bob = await world.client("bob")
    assert len(await bob.collect(address)) == 1
