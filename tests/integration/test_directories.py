"""Sign-in at a real Active Directory (Samba) and a real OpenLDAP (slapd)."""

import asyncio
import time
import uuid

import pytest

from strongroom.protocol.errors import Number
from strongroom.protocol.limits import PROVIDER_TIMEOUT
from tests.idp import samba, slapd
from tests.idp.certificates import Authority
from tests.support.directories import AtDirectories, directory, openldap, silent_server

ALICE = samba.dn("Alice Liddell")
AD_GROUPS = [samba.dn(name) for name in ("engineers", "staff", "vpn", "others", "nothing")]
LDAP_GROUPS = [slapd.group(name) for name in ("engineers", "staff", "vpn", "others", "nothing")]


@pytest.fixture(scope="module")
def domain():
    with samba.Samba() as running:
        yield running


@pytest.fixture(scope="module", params=["flat", "nested", "plain"])
def server(request):
    with slapd.Slapd(request.param) as running:
        yield running


@pytest.fixture(scope="module")
def one_server():
    with slapd.Slapd("flat") as running:
        yield running


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    return AtDirectories(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def at(machine):
    return machine.anew()


def of(domain, **changes):
    return directory(**({"servers": [domain.ldaps], "certificates": domain.ca, "groups": AD_GROUPS} | changes))


def of_slapd(server, **changes):
    return openldap(**({"servers": [server.ldaps], "certificates": server.ca, "groups": LDAP_GROUPS} | changes))


# Active Directory


@pytest.mark.needs("samba")
@pytest.mark.parametrize(
    "name",
    ["alice@ad.test", "Alice@AD.TEST", "ADTEST\\alice", "adtest\\ALICE", ALICE, ALICE.lower().replace(",", ", ")],
)
async def test_every_form_of_a_name_is_the_same_person(domain, at, name):
    fact = await at.enter(of(domain, email_domains=["ad.test"]), name, samba.PASSWORD)
    again = await at.enter(of(domain), "alice@ad.test", samba.PASSWORD)
    assert fact.subject == again.subject == str(uuid.UUID(fact.subject))
    assert fact.email == "alice@ad.test"
    assert fact.groups == AD_GROUPS[:3]
    assert (fact.kind, fact.channel, fact.amr) == ("directory", "direct", ["pwd"])
    assert abs(fact.auth_time - time.time()) < 60


@pytest.mark.needs("samba")
async def test_the_subject_is_the_guid_that_the_directory_s_own_tools_show(domain, at):
    fact = await at.enter(of(domain), "alice@ad.test", samba.PASSWORD)
    assert fact.subject == domain.object_guid("alice")


@pytest.mark.needs("samba")
async def test_somebody_outside_is_in_no_group_of_the_method(domain, at):
    fact = await at.enter(of(domain, groups=AD_GROUPS[:3]), "bob@ad.test", samba.PASSWORD)
    assert fact.groups == []


@pytest.mark.needs("samba")
async def test_a_mail_address_of_a_domain_that_is_not_believed_is_not_told(domain, at):
    fact = await at.enter(of(domain, email_domains=["ad.test"]), "bob@ad.test", samba.PASSWORD)
    assert fact.email == ""


@pytest.mark.needs("samba")
@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("alice@ad.test", "wrong", "the user name or password is wrong"),
        ("nobody@ad.test", "wrong", "the user name or password is wrong"),  # Samba tells no difference, as AD
        ("ADTEST\\nobody", "wrong", "the user name or password is wrong"),
        ("carol@ad.test", samba.PASSWORD, "the account is disabled"),
        ("dave@ad.test", samba.PASSWORD, "the password must be changed first"),
        ("erin@ad.test", samba.PASSWORD, "the account has expired"),
    ],
)
async def test_the_operator_sees_why_and_strangers_see_one_number(domain, at, name, password, reason):
    assert await at.refused(of(domain), name, password) == reason


@pytest.mark.needs("samba")
async def test_a_locked_account_is_refused_with_the_right_password(domain, at):
    for _ in range(samba.LOCKED_AFTER):
        await at.refused(of(domain), "lockable0@ad.test", "wrong")
    assert await at.refused(of(domain), "lockable0@ad.test", samba.PASSWORD) == "the account is locked"


@pytest.mark.needs("samba")
async def test_a_wrong_password_is_not_tried_at_the_next_server(domain, at):
    """Or two servers of one domain would count each mistake twice towards the lock-out."""
    method = of(domain, servers=[domain.ldaps, domain.ldap])
    for _ in range(samba.LOCKED_AFTER - 1):
        await at.refused(method, "lockable1@ad.test", "wrong")
    assert len(at.platform.connected) == samba.LOCKED_AFTER - 1
    assert (await at.enter(method, "lockable1@ad.test", samba.PASSWORD)).subject


@pytest.mark.needs("samba")
async def test_a_principal_name_may_differ_from_the_account_s(domain, at):
    frank = await at.enter(of(domain), "ADTEST\\frank", samba.PASSWORD)
    for name in ("frank.elsewhere@ad.test", "frank@ad.test"):
        assert (await at.enter(of(domain), name, samba.PASSWORD)).subject == frank.subject


@pytest.mark.needs("samba")
async def test_somebody_who_is_not_under_base_is_refused(domain, at):
    elsewhere = of(domain, base=f"OU=Domain Controllers,{samba.BASE}")
    assert "under base" in await at.refused(elsewhere, "alice@ad.test", samba.PASSWORD)
    assert "under base" in await at.refused(elsewhere, ALICE, samba.PASSWORD)


@pytest.mark.needs("samba")
async def test_a_base_that_is_not_there_is_said(domain, at):
    number, reason = await at.unavailable(of(domain, base="DC=other,DC=test"), "alice@ad.test", samba.PASSWORD)
    assert number is Number.PROVIDER_UNAVAILABLE
    assert "answered" in reason


@pytest.mark.needs("samba")
async def test_active_directory_by_start_tls(domain, at):
    fact = await at.enter(of(domain, servers=[domain.ldap]), "alice@ad.test", samba.PASSWORD)
    assert fact.groups == AD_GROUPS[:3]
    assert at.platform.connected == [(domain.address, 389)]


@pytest.mark.needs("samba")
@pytest.mark.parametrize("way", ["ldaps", "ldap"])
async def test_a_server_of_another_authority_is_told_no_password(domain, at, way):
    method = of(domain, servers=[getattr(domain, way)], certificates=Authority().pem)
    assert "no TLS" in (await at.unavailable(method, "alice@ad.test", samba.PASSWORD))[1]
    public = of(domain, servers=[getattr(domain, way)], certificates=b"")
    assert "no TLS" in (await at.unavailable(public, "alice@ad.test", samba.PASSWORD))[1]


@pytest.mark.needs("samba")
@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
async def test_a_server_of_another_name_is_told_no_password(domain, at, scheme):
    at.platform.names = {samba.NAME: domain.address, "dc9.ad.test": domain.address}
    method = of(domain, servers=[f"{scheme}://dc9.ad.test"])
    assert "no TLS" in (await at.unavailable(method, "alice@ad.test", samba.PASSWORD))[1]
    right = of(domain, servers=[f"{scheme}://{samba.NAME}"])
    assert (await at.enter(right, "alice@ad.test", samba.PASSWORD)).groups == AD_GROUPS[:3]


@pytest.mark.needs("samba")
async def test_the_next_server_is_asked_when_the_first_is_dead_silent_or_a_stranger(domain, at):
    async with silent_server() as (port, connected):
        servers = ["ldaps://127.0.0.1:1", f"ldaps://127.0.0.1:{port}", domain.ldaps]
        fact = await at.enter(of(domain, servers=servers), "alice@ad.test", samba.PASSWORD)
        assert len(connected) == 1
    at.platform.names = {"dc9.ad.test": domain.address}
    again = await at.enter(of(domain, servers=["ldaps://dc9.ad.test", domain.ldaps]), "alice@ad.test", samba.PASSWORD)
    assert fact.subject == again.subject


@pytest.mark.needs("samba")
async def test_servers_that_are_all_silent_cost_the_stated_five_seconds(at):
    async with silent_server() as (port, connected):
        servers = [f"ldaps://127.0.0.1:{port}", f"ldaps://localhost:{port}", f"ldap://127.0.0.1:{port}"]
        began = time.monotonic()
        number, _ = await at.unavailable(directory(servers=servers), "alice@ad.test", samba.PASSWORD)
        took = time.monotonic() - began
    assert number is Number.PROVIDER_SLOW
    assert len(connected) == 3
    assert PROVIDER_TIMEOUT - 0.5 < took < PROVIDER_TIMEOUT + 1


@pytest.mark.needs("samba")
async def test_a_controller_that_dies_in_the_middle_leaves_the_sign_in_to_the_next(domain, at):
    """Its process is stopped dead while it holds our connection; the kernel ends that only when it is killed."""
    with samba.Samba() as dying:
        dying.freeze()
        method = of(domain, servers=[dying.ldaps, domain.ldaps])
        signing_in = asyncio.create_task(at.enter(method, "alice@ad.test", samba.PASSWORD))
        await asyncio.sleep(0.3)
        assert at.platform.connected == [(dying.address, 636)]
        dying.kill()
        began = time.monotonic()
        assert (await signing_in).groups == AD_GROUPS[:3]
        assert time.monotonic() - began < 2


@pytest.mark.needs("samba")
async def test_many_people_sign_in_at_once(domain, at):
    names = ["alice@ad.test", "bob@ad.test"] * 15
    facts = await asyncio.gather(*(at.enter(of(domain), name, samba.PASSWORD) for name in names))
    assert len({fact.subject for fact in facts}) == 2


# OpenLDAP


@pytest.mark.needs("slapd")
@pytest.mark.parametrize("way", ["ldaps", "ldap"])
async def test_nested_groups_of_openldap(server, at, way):
    method = of_slapd(server, servers=[getattr(server, way)], email_domains=["example.test"])
    fact = await at.enter(method, "alice", slapd.PASSWORD)
    assert fact.groups == LDAP_GROUPS[:3]
    assert fact.email == "alice@example.test"
    assert fact.subject == str(uuid.UUID(fact.subject))
    whole = await at.enter(method, slapd.USER_DN.replace("{}", "ALICE"), slapd.PASSWORD)
    assert whole.subject == fact.subject
    assert (await at.enter(method, "bob", slapd.PASSWORD)).groups == LDAP_GROUPS[3:4]


@pytest.mark.needs("slapd")
async def test_groups_too_deep_to_follow_end_the_sign_in_instead_of_being_left_out(server, at):
    """Or a rule that forbids a group would not fire for somebody who hides in a deep one."""
    near = await at.enter(of_slapd(server, groups=[slapd.group("level0")]), "deep", slapd.PASSWORD)
    assert near.groups == [slapd.group("level0")]
    method = of_slapd(server, groups=[slapd.group("others")])
    if server.knows_nested:
        assert (await at.enter(method, "deep", slapd.PASSWORD)).groups == []
    else:
        assert "more groups" in (await at.unavailable(method, "deep", slapd.PASSWORD))[1]


@pytest.mark.needs("slapd")
async def test_a_name_with_characters_that_mean_something_in_a_dn_is_escaped(one_server, at):
    fact = await at.enter(of_slapd(one_server), "Smith, John", slapd.PASSWORD)
    assert fact.subject
    method = of_slapd(one_server)
    assert await at.refused(method, "alice,ou=people", slapd.PASSWORD)  # a whole DN, and not under base
    assert await at.refused(method, "alice+cn", slapd.PASSWORD) == "the user name or password is wrong"


@pytest.mark.needs("slapd")
@pytest.mark.parametrize("password", ["wrong", slapd.PASSWORD + " ", slapd.PASSWORD.lower()])
async def test_a_wrong_password_is_refused(one_server, at, password):
    assert await at.refused(of_slapd(one_server), "bob", password) == "the user name or password is wrong"


@pytest.mark.needs("slapd")
async def test_nobody_of_that_name_looks_like_a_wrong_password(one_server, at):
    assert await at.refused(of_slapd(one_server), "nobody", "wrong") == "the user name or password is wrong"


@pytest.mark.needs("slapd")
async def test_an_account_that_slapd_locked_stays_locked(one_server, at):
    for _ in range(slapd.LOCKED_AFTER):
        await at.refused(of_slapd(one_server), "lockable", "wrong")
    assert await at.refused(of_slapd(one_server), "lockable", slapd.PASSWORD)


@pytest.mark.needs("slapd")
async def test_somebody_whose_password_was_reset_must_change_it_first(one_server, at):
    assert "changed first" in await at.refused(of_slapd(one_server), "carol", slapd.PASSWORD)


@pytest.mark.needs("slapd")
async def test_an_entry_with_two_addresses_has_none(one_server, at):
    fact = await at.enter(of_slapd(one_server, email_domains=["example.test"]), "two", slapd.PASSWORD)
    assert fact.email == ""


@pytest.mark.needs("slapd")
async def test_of_openldap_too_the_certificate_must_be_the_definition_s(one_server, at):
    method = of_slapd(one_server, certificates=Authority().pem)
    assert "no TLS" in (await at.unavailable(method, "alice", slapd.PASSWORD))[1]
    at.platform.names = {"other.test": slapd.ADDRESS}
    method = of_slapd(one_server, servers=[f"ldaps://other.test:{one_server.ldaps_port}"])
    assert "no TLS" in (await at.unavailable(method, "alice", slapd.PASSWORD))[1]
