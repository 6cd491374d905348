"""Guessing at directories: who guesses chooses the definition, the server among several, the spelling and the session,
and gains nothing by any of it."""

import asyncio
import os

import pytest

from strongroom.enclave.authenticator.directory_attempts import Attempt
from strongroom.enclave.authenticator.directory_users import fold, parse_user
from strongroom.enclave.authenticator.throttle import PASSWORDS, Throttle
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Server
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Refused, StrongroomError
from strongroom.protocol.instructions import DirectoryPublic, method_digest
from strongroom.protocol.sign_in_messages import PasswordSignIn
from tests.support.directories import directory, openldap
from tests.support.fake_directory import FakeDirectory, result
from tests.support.issuer import VAULT, Desk
from tests.support.turned import Turned

FREE = PASSWORDS.free
METHOD, ANOTHER = b"m" * 32, b"n" * 32
OWNER, THIEF = b"owner's key", b"thief's key"
CORP = "DC=corp,DC=example,DC=com"


@pytest.fixture
def platform(tmp_path):
    return Turned("authenticator", tmp_path / "machine")


@pytest.fixture
def guard(platform):
    return Throttle(Clock(platform), PASSWORDS)


def server(host="dc1.corp.example.com", port=636):
    return Server("ldaps", host, port)


def attempt(guard, user="CORP\\bob", key=THIEF, method=METHOD):
    return Attempt(guard, method, parse_user(directory(base=CORP), user), key)


def tries(guard, at=None, most=20, **changes):
    """How many passwords a stranger may try at once."""
    for count in range(most):
        try:
            attempt(guard, **changes).enter(at or server())
        except Refused as error:
            if error.number is not Number.THROTTLED:
                raise
            return count
    return most


def sign_in(guard, user, key, at=None, method=METHOD):
    one = attempt(guard, user, key, method)
    one.enter(at or server())
    one.clear(at or server())


# --- other definitions, other servers -------------------------------------------------------------------------------


def test_a_new_definition_of_the_same_directory_gives_no_new_attempts(guard):
    assert tries(guard) == FREE
    assert tries(guard, method=ANOTHER) == 0


@pytest.mark.parametrize(
    "other", [server(port=3269), server("dc2.corp.example.com"), Server("ldap", "dc1.corp.example.com", 389)]
)
def test_another_port_or_another_server_of_the_same_directory_gives_no_new_attempts(guard, other):
    assert tries(guard) == FREE
    assert tries(guard, other) == 0
    assert tries(guard, server("corp.example.com")) == 0


def test_directories_of_others_are_not_delayed(guard):
    assert tries(guard) == FREE
    for host in ("dc1.other.example.com", "ldap.example.org", "10.0.0.1", "fd00::1"):
        assert tries(guard, server(host)) == FREE


def test_addresses_are_no_names_below_one_another(guard):
    assert tries(guard, server("10.0.0.1")) == FREE
    assert tries(guard, server("11.0.0.1")) == FREE


def test_a_sign_in_that_goes_on_to_the_next_server_is_one_attempt(guard):
    for _ in range(FREE):
        one = attempt(guard)
        one.enter(server())
        one.enter(server("dc2.corp.example.com"))
    assert tries(guard) == 0


def test_who_signs_in_at_a_server_of_his_own_is_a_stranger_at_the_other_of_the_same_definition(guard):
    """Else his own, which says yes to all, would undo each guess at the other."""
    own = server("ldap.evil.example.com")
    for _ in range(10):
        sign_in(guard, "CORP\\bob", THIEF, own)
        tries(guard, most=1)
    assert tries(guard) == 0


# --- namesakes ------------------------------------------------------------------------------------------------------


def test_a_namesake_elsewhere_in_the_directory_gives_no_attempts_at_the_other(guard):
    sign_in(guard, "STUDENTS\\bob", THIEF)
    guesses = 0
    for _ in range(20):
        guesses += tries(guard, most=1, user="CORP\\bob")
        sign_in(guard, "STUDENTS\\bob", THIEF)
    assert guesses == FREE


def test_the_owner_signs_in_by_the_name_that_was_typed_before_while_strangers_guess(guard):
    sign_in(guard, "CORP\\bob", OWNER)
    assert tries(guard) == FREE
    sign_in(guard, "CORP\\bob", OWNER)
    with pytest.raises(Refused):
        sign_in(guard, "bob@corp.example.com", OWNER)


# --- spellings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user",
    [
        *("BOB@corp.example.com", "Bob@EXAMPLE.COM", "EXAMPLE\\bob", "example.com\\Bob", "CORP\\bób", "CORP\\BÖB"),
        *("CORP\\bøb", "CORP\\ｂｏｂ", "CORP\\𝐛𝐨𝐛", "CORP\\b\u034fob", "CORP\\b\u1160ob", "CORP\\b\ufe0fob"),
        *(f"CN=bob,{CORP}", f"CN = Bob,OU=x,{CORP}", f"cn=\\62o\\42,{CORP}", f"2.5.4.3=bob,{CORP}", f"CN=bób,{CORP}"),
        *(f"CN=ｂｏｂ,{CORP}", "CORP\\bob$"),
    ],
)  # fmt: skip
def test_one_account_is_one_account_however_it_is_spelled(guard, user):
    assert tries(guard, user="CORP\\bob") == FREE
    assert tries(guard, user=user) == 0


@pytest.mark.parametrize("user", ["CORP\\bobby", "b ob@corp.example.com", f"CN=bob\\,x,{CORP}", f"CN=ann,{CORP}"])
def test_other_accounts_are_others(guard, user):
    assert tries(guard, user="CORP\\bob") == FREE
    assert tries(guard, user=user) == FREE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("かな", "カナ"),
        ("カナ", "ｶﾅ"),
        ("straße", "STRASSE"),
        ("Æsop", "aesop"),
        ("bjørn", "Bjorn"),
        ("łukasz", "LUKASZ"),
        ("ıgor", "IGOR"),
        ("bob١", "bob1"),
        ("i\u0307gor", "İgor"),
    ],
)
def test_what_directories_overlook_is_overlooked(one, other):
    assert fold(one) == fold(other)


def test_of_a_name_with_several_values_their_order_does_not_matter():
    method = openldap()
    one, other = (
        parse_user(method, f"{rdn},ou=people,dc=example,dc=test").account for rdn in ("uid=bob+cn=x", "cn=x+uid=bob")
    )
    assert one == other == "bob x"


@pytest.mark.parametrize(
    "user",
    [
        "uid=lockabl\\ef\\bd\\85,ou=people,dc=example,dc=test",
        "uid=lockabl\\EF\\BD\\85,ou=people,dc=example,dc=test",
        "uid=b\\c2\\adob,ou=people,dc=example,dc=test",
        "uid=b\\09ob,ou=people,dc=example,dc=test",
        "uid=b\\7fob,ou=people,dc=example,dc=test",
        "uid=b\u00adob,ou=people,dc=example,dc=test",
        "uid=b\U0001f600ob,ou=people,dc=example,dc=test",  # not in Unicode 3.2
        "b\U0001f600ob",
    ],
)
def test_a_name_whose_characters_can_not_be_seen_is_not_taken(user):
    with pytest.raises(Refused) as caught:
        parse_user(openldap(), user)
    assert caught.value.number is Number.SIGN_IN_REFUSED


# --- at the Authenticator -------------------------------------------------------------------------------------------


class OnePassword(FakeDirectory):
    """An Active Directory that knows one password."""

    url = ""

    def honest_bind(self, request):
        right = request.parts[2][1] == b"right"
        yield result(request.message_id, 0x61, 0 if right else 49)


@pytest.fixture
async def fake(tmp_path):
    fake = OnePassword()
    async with fake.serving(tmp_path / "tls") as fake.url:
        yield fake


class Client(Desk):
    """A session, which may be one of several at an Authenticator."""

    def __init__(self, platform, fake, service=None):
        super().__init__(platform)
        self.fake = fake
        self.service = service or self.service

    async def enter(self, user="bob@ad.test", password="wrong", **changes):
        method = directory(**{"servers": [self.fake.url], "certificates": self.fake.ca} | changes)
        request = PasswordSignIn(
            vault_cluster=VAULT,
            capsule=self.capsule(method),
            method=method_digest(encode(method)),
            user=user,
            password=password,
            with_ticket=None,
        )
        try:
            await self.service.handle(self.caller(), request)
        except StrongroomError as error:
            return error.number
        return None


@pytest.fixture
def client(platform, fake):
    return Client(platform, fake)


async def test_parallel_attempts_can_t_outrun_the_counting(client, fake):
    numbers = await asyncio.gather(*(client.enter() for _ in range(30)))
    assert numbers.count(Number.SIGN_IN_REFUSED) == FREE
    assert numbers.count(Number.THROTTLED) == 30 - FREE
    assert len(fake.bound) == FREE


async def test_an_account_is_not_tried_more_often_by_other_spellings_or_definitions(client, fake):
    for user in ("bob@ad.test", "AD\\bob", "BOB@ad.test", "Bób@ad.test"):
        await client.enter(user)
        await client.enter(user, public=DirectoryPublic(name=os.urandom(4).hex()))
    assert len(fake.bound) == FREE


async def test_the_right_password_is_throttled_like_a_wrong_one_and_the_directory_is_not_called(client, fake):
    """Else the delay would not hinder who guesses."""
    for _ in range(FREE):
        await client.enter()
    connections = fake.connections
    assert await client.enter(password="right") is Number.THROTTLED
    await asyncio.sleep(0.1)
    assert fake.connections == connections


async def test_the_owner_signs_in_while_strangers_guess(client, platform, fake):
    assert await client.enter(password="right") is None
    stranger = Client(platform, fake, client.service)
    for _ in range(FREE + 3):
        await stranger.enter()
    assert await stranger.enter(password="right") is Number.THROTTLED
    assert await client.enter(password="right") is None


@pytest.mark.parametrize("changes", [{"user": "bob"}, {"user": ""}, {"password": ""}, {"password": "a\0"}])
async def test_what_is_never_sent_is_not_counted(client, fake, changes):
    """Else names cost nothing, and the table of counts is filled by them."""
    assert await client.enter(**changes) is Number.SIGN_IN_REFUSED
    assert await client.enter(servers=["ldaps://127.0.0.1:1"]) is Number.PROVIDER_UNAVAILABLE
    assert len(client.service._sign_ins._directories._throttle._strangers) == 0
    assert fake.bound == []
