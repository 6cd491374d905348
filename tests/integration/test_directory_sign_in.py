"""The whole way: a key for the members of a group of Active Directory, from a client through both enclaves."""

import pytest

from strongroom import Policy
from strongroom.client.methods import directory_method
from strongroom.client.sign_in import Credentials, PasswordSignIn
from strongroom.protocol.errors import Number
from tests.idp import samba
from tests.support.served import SECRET, ServedWorld, number_of

pytestmark = pytest.mark.needs("samba")
VPN = samba.dn("vpn")


@pytest.fixture(scope="module")
def domain():
    with samba.Samba() as running:
        yield running


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


async def approve(method):
    """A user who knows these servers."""


def user(served, name, password=samba.PASSWORD):
    async def ask(directory):
        assert directory == "ad.example.test"
        return Credentials(name, password)

    return served.sdk(sign_in=PasswordSignIn(ask), approve=approve)


@pytest.fixture
async def address(served, domain):
    method = directory_method("ad.example.test", [domain.ldaps], base=samba.BASE, groups=[VPN], certificates=domain.ca)
    rules = Policy.members_of(VPN, method=method).may("collect") | Policy.depositor_may("update", "delete")
    async with served.sdk("alice") as alice:
        encoded = served.instructions(rules, methods=[method, served.method])
        return (await alice.store(SECRET, namespace="team", instructions=encoded)).address


@pytest.mark.parametrize("name", ["alice@ad.test", "ADTEST\\alice", samba.dn("Alice Liddell")])
async def test_a_member_through_nested_groups_collects_the_key_by_every_form_of_the_name(served, address, name):
    async with user(served, name) as alice:
        assert (await alice.collect(address)).secret == SECRET


async def test_somebody_of_the_same_directory_who_is_no_member_gets_nothing(served, address):
    async with user(served, "bob@ad.test") as bob:
        assert await number_of(bob.collect(address)) is Number.REFUSED


async def test_strangers_get_one_number_and_the_operator_the_reason(served, address, capfd):
    reasons = {}
    for name, password in (
        ("alice@ad.test", "wrong"),
        ("nobody@ad.test", "wrong"),
        ("carol@ad.test", samba.PASSWORD),
        ("dave@ad.test", samba.PASSWORD),
        ("not a name", samba.PASSWORD),
    ):
        async with user(served, name, password) as stranger:
            assert await number_of(stranger.collect(address)) is Number.SIGN_IN_REFUSED
        reasons[name] = capfd.readouterr().err
    assert "the user name or password is wrong" in reasons["alice@ad.test"]
    assert "the account is disabled" in reasons["carol@ad.test"]
    assert "the password must be changed first" in reasons["dave@ad.test"]
    told = "".join(reasons.values())
    for secret in ("alice", "carol", "ad.test", "wrong\n", samba.PASSWORD, "DSID"):
        assert secret not in told.replace("password is wrong\n", "")


async def test_what_describes_a_record_shows_the_directory_s_name_and_nothing_of_its_inside(served, address):
    async with served.sdk() as anybody:
        described = repr(await anybody.describe(address))
    assert "ad.example.test" in described
    for inside in ("vpn", "ldaps", "DC=ad", "BEGIN CERTIFICATE"):
        assert inside not in described
