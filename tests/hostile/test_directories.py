"""Directories that lie, break the protocol, stall, or are asked in a way that directories take wrongly."""

import asyncio
import pkgutil
import time
import uuid
from collections import Counter

import pytest

from strongroom.enclave.authenticator.ldap import MAX_ELEMENTS
from strongroom.enclave.authenticator.ldap_connection import MAX_ENTRIES
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.limits import MAX_PROVIDER_ANSWER, PROVIDER_TIMEOUT
from tests.support.directories import AtDirectories, directory, openldap
from tests.support.fake_directory import (
    BIND,
    GUID,
    PERSON,
    SEARCH,
    SID,
    UID,
    FakeDirectory,
    entry,
    message,
    number,
    result,
    text,
    tlv,
)

GROUP = "CN=staff,CN=Users,DC=ad,DC=test"
USER, PASSWORD = "alice@ad.test", "right"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    return AtDirectories(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def at(machine):
    return machine.anew()


@pytest.fixture
def fake():
    return FakeDirectory()


def of(fake, url, **changes):
    return directory(**({"servers": [url], "certificates": fake.ca, "groups": [GROUP]} | changes))


def of_ldap(fake, url, **changes):
    return openldap(**({"servers": [url], "certificates": fake.ca} | changes))


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
async def test_an_honest_server_signs_in(fake, at, tmp_path, scheme):
    """With lengths in four bytes each, as Active Directory writes them: what the lies below are measured against."""
    async with fake.serving(tmp_path / "tls", scheme=scheme) as url:
        fact = await at.enter(of(fake, url, email_domains=["ad.test"]), USER, PASSWORD)
        await asyncio.sleep(0.05)
    assert (fact.subject, fact.email, fact.groups) == (str(uuid.UUID(bytes_le=GUID)), "alice@ad.test", [GROUP])
    assert fake.bound == [(USER, PASSWORD)]
    assert fake.closed == 1


# What is never sent


@pytest.mark.parametrize("password", ["", "\0", "right\0", "\0right"])
async def test_an_empty_password_is_refused_before_the_wire(fake, at, tmp_path, password):
    """Servers answer success to it, whoever asks: an unauthenticated bind (RFC 4513 §5.1.2)."""
    async with fake.serving(tmp_path / "tls") as url:
        await at.refused(of(fake, url), USER, password)
        await at.refused(of_ldap(fake, url), "alice", password)
    assert at.platform.connected == []


@pytest.mark.parametrize(
    "user",
    [
        *("", " ", "alice", " alice@ad.test", "alice@ad.test ", "alice@ad.test\n", "al\0ice@ad.test", "@ad.test"),
        *("alice@", "\\alice", "ADTEST\\", "A\\B\\c", "*@ad.test", "ali*@ad.test", "alice@ad.test)(objectClass=*"),
        *("alice=x@ad.test", "alice,x@ad.test", "alice;x@ad.test"),
        *("<SID=S-1-5-7>", "<GUID=00112233-4455-6677-8899-aabbccddeeff>", "S-1-5-21-1-2-3-500", "ad.test/Users/Alice"),
        *("CN=Administrator,CN=Users,DC=other,DC=test", "CN=Alice,,DC=ad,DC=test", "DC=test"),
    ],
)  # fmt: skip
async def test_what_is_no_plain_name_of_a_person_is_not_sent_to_active_directory(fake, at, tmp_path, user):
    async with fake.serving(tmp_path / "tls") as url:
        await at.refused(of(fake, url), user, PASSWORD)
    assert at.platform.connected == []


@pytest.mark.parametrize(
    "user", ["", " alice", "alice\n", "cn=admin,dc=other,dc=test", "alice,ou=people,dc=other=", "dc=test", "a=b"]
)
async def test_what_is_no_plain_name_of_a_person_is_not_sent_to_other_servers(fake, at, tmp_path, user):
    async with fake.serving(tmp_path / "tls") as url:
        await at.refused(of_ldap(fake, url), user, PASSWORD)
    assert at.platform.connected == []


@pytest.mark.parametrize(
    ("user", "bound"),
    [
        ("alice,ou=admins", "uid=alice\\2cou\\3dadmins"),
        ("a+b", "uid=a\\2bb"),
        ('a"b', "uid=a\\22b"),
        ("a\\b", "uid=a\\5cb"),
        ("#a", "uid=\\23a"),
        ("a;b<c>", "uid=a\\3bb\\3cc\\3e"),
    ],
)
async def test_a_typed_name_does_not_end_where_it_stands_in_a_dn(fake, at, tmp_path, user, bound):
    def refuse(request):
        yield result(request.message_id, 0x61, 49)

    fake.bind = refuse
    async with fake.serving(tmp_path / "tls") as url:
        await at.refused(of_ldap(fake, url), user, PASSWORD)
    if "=" in user:
        assert fake.bound == []  # a whole DN, then, and not under base
    else:
        assert fake.bound == [(f"{bound},ou=people,dc=example,dc=test", PASSWORD)]


async def test_nothing_that_is_typed_becomes_a_part_of_a_filter(fake, at, tmp_path):
    """Values stand in requests with their length; the server gets back the very name, inside one comparison."""
    async with fake.serving(tmp_path / "tls") as url:
        await at.enter(of(fake, url, groups=[]), "O'Hara(x)&!~@ad.test", PASSWORD)
    search = next(request for request in fake.requests if request.kind == SEARCH and len(request.wanted) > 1)
    assert b"O'Hara(x)&!~@ad.test" in search.parts[6][1]
    assert search.parts[6][0] == 0xA0


# Somebody else


async def test_a_server_that_took_us_for_nobody_signs_nobody_in(fake, at, tmp_path):
    """It answers success to any password and reads everything to anybody: the token is that of an anonymous."""

    def anonymous(request):
        yield entry(request.message_id, "", tokenGroups=[b"anonymous"])
        yield result(request.message_id, 0x65)

    fake.root = anonymous
    async with fake.serving(tmp_path / "tls") as url:
        assert "for whom it took us" in await at.refused(of(fake, url), USER, PASSWORD)
        fake.root = lambda request: iter([result(request.message_id, 0x65)])
        assert "for whom it took us" in await at.refused(of(fake, url), USER, PASSWORD)


async def test_of_two_with_one_name_it_is_the_one_whom_the_server_took_us_for(fake, at, tmp_path):
    """mallory's principal name reads like alice's account: her password must not open alice's records."""
    other = bytes(reversed(GUID))

    def two(request):
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[b"alice's"])
        yield entry(request.message_id, "CN=m,DC=ad,DC=test", objectGUID=[other], objectSid=[SID])
        yield result(request.message_id, 0x65)

    fake.person = two
    async with fake.serving(tmp_path / "tls") as url:
        assert (await at.enter(of(fake, url), USER, PASSWORD)).subject == str(uuid.UUID(bytes_le=other))


async def test_two_entries_of_one_person_are_nobody(fake, at, tmp_path):
    def two(request):
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[SID])
        yield entry(request.message_id, "CN=m,DC=ad,DC=test", objectGUID=[bytes(16)], objectSid=[SID])
        yield result(request.message_id, 0x65)

    fake.person = two
    async with fake.serving(tmp_path / "tls") as url:
        await at.refused(of(fake, url), USER, PASSWORD)


@pytest.mark.parametrize("name", ["CN=Bob,CN=Users,DC=ad,DC=test", "CN=Alice Liddell,CN=Users,DC=other,DC=test"])
async def test_the_entry_of_somebody_else_is_refused(fake, at, tmp_path, name):
    def somebody_else(request):
        yield entry(request.message_id, name, objectGUID=[GUID], objectSid=[SID])
        yield result(request.message_id, 0x65)

    fake.person = somebody_else
    async with fake.serving(tmp_path / "tls") as url:
        assert "somebody else" in await at.refused(of(fake, url), PERSON, PASSWORD)


async def test_an_entry_outside_base_is_refused(fake, at, tmp_path):
    def outside(request):
        yield entry(request.message_id, "CN=Alice,DC=other,DC=test", objectGUID=[GUID], objectSid=[SID])
        yield result(request.message_id, 0x65)

    fake.person = outside
    async with fake.serving(tmp_path / "tls") as url:
        assert "somebody else" in await at.refused(of(fake, url), USER, PASSWORD)


def identity(fake, value, code=0):
    def extended(request):
        yield result(request.message_id, 0x78, code, "", *([] if value is None else [text(value, 0x8B)]))

    fake.extended = extended


def person_of_ldap(fake, name=UID, **attributes):
    def person(request):
        fields = {"entryUUID": ["00112233-4455-6677-8899-AABBCCDDEEFF"]} | attributes
        yield entry(request.message_id, name, **fields)
        yield result(request.message_id, 0x65)

    fake.person = person


@pytest.mark.parametrize(
    "value", ["", "dn:", "u:alice", f"u:{UID}", "dn:uid=bob,ou=people,dc=example,dc=test", "dn:nonsense", UID]
)
async def test_a_server_must_say_that_it_took_us_for_the_person(fake, at, tmp_path, value):
    """Success with an anonymous, or somebody else's, identity behind it (RFC 4532)."""
    person_of_ldap(fake)
    identity(fake, value)
    async with fake.serving(tmp_path / "tls") as url:
        with pytest.raises(Exception, match=r"\[203\]|\[405\]"):
            await at.enter(of_ldap(fake, url), "alice", PASSWORD)


async def test_a_server_that_does_not_say_as_whom_it_took_us_signs_nobody_in(fake, at, tmp_path):
    person_of_ldap(fake)
    async with fake.serving(tmp_path / "tls") as url:
        for value, code in ((None, 0), (None, 2), (f"dn:{UID}", 2)):
            identity(fake, value, code)
            assert "RFC 4532" in (await at.unavailable(of_ldap(fake, url), "alice", PASSWORD))[1]


async def test_names_are_one_whatever_their_case_and_blanks(fake, at, tmp_path):
    person_of_ldap(fake, name="UID=Alice, OU=People,DC=example,DC=Test", mail=["ALICE@example.test"])
    identity(fake, "dn: uid=ALICE,ou=people, dc=example,dc=test")
    async with fake.serving(tmp_path / "tls") as url:
        fact = await at.enter(of_ldap(fake, url, email_domains=["example.test"]), "alice", PASSWORD)
    assert fact.subject == "00112233-4455-6677-8899-aabbccddeeff"
    assert fact.email == "alice@example.test"


async def test_the_entry_of_somebody_else_is_refused_of_other_servers_too(fake, at, tmp_path):
    person_of_ldap(fake, name="uid=bob,ou=people,dc=example,dc=test")
    async with fake.serving(tmp_path / "tls") as url:
        assert "somebody else" in await at.refused(of_ldap(fake, url), "alice", PASSWORD)


@pytest.mark.parametrize("values", [[], ["one", "two"], ["00112233445566778899aabbccddeeff"], [b"\xff"], ["../alice"]])
async def test_a_person_without_one_proper_uuid_is_nobody(fake, at, tmp_path, values):
    person_of_ldap(fake, entryUUID=values)
    async with fake.serving(tmp_path / "tls") as url:
        assert "entryUUID" in (await at.unavailable(of_ldap(fake, url), "alice", PASSWORD))[1]


@pytest.mark.parametrize("values", [[], [GUID, bytes(16)], [b"short"], [GUID + b"x"]])
async def test_a_person_without_one_proper_guid_is_nobody(fake, at, tmp_path, values):
    def person(request):
        yield entry(request.message_id, PERSON, objectGUID=values, objectSid=[SID])
        yield result(request.message_id, 0x65)

    fake.person = person
    async with fake.serving(tmp_path / "tls") as url:
        assert "objectGUID" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


@pytest.mark.parametrize(
    "mail",
    [
        *(["alice@ad.test.evil"], ["alice@evil.test"], ["alice@ad.test", "bob@ad.test"], ["alice@evil@ad.test"], []),
        *(["älice@ad.test"], ["alice@\u0430d.test"], [b"alice@ad.test\0"], ["alice@ad.test "], ["Alice <a@ad.test>"]),
    ],
)
async def test_an_address_that_is_not_exactly_one_of_a_believed_domain_is_not_told(fake, at, tmp_path, mail):
    def person(request):
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[SID], mail=mail)
        yield result(request.message_id, 0x65)

    fake.person = person
    async with fake.serving(tmp_path / "tls") as url:
        assert (await at.enter(of(fake, url, email_domains=["ad.test"]), USER, PASSWORD)).email == ""


# Groups


async def test_a_server_that_answers_about_somebody_else_s_groups_is_not_believed(fake, at, tmp_path):
    def group(request):
        yield entry(request.message_id, "CN=Bob,CN=Users,DC=ad,DC=test")
        yield result(request.message_id, 0x65)

    fake.group = group
    async with fake.serving(tmp_path / "tls") as url:
        assert "somebody else" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


@pytest.mark.parametrize("code", [1, 4, 10, 12, 32, 80])
async def test_an_answer_about_groups_that_failed_is_no_answer(fake, at, tmp_path, code):
    """Taken for "in none", it would stop a rule that forbids a group from firing."""

    def group(request):
        yield result(request.message_id, 0x65, code)

    fake.group = group
    async with fake.serving(tmp_path / "tls") as url:
        await at.unavailable(of(fake, url), USER, PASSWORD)


@pytest.mark.parametrize("code", [1, 4, 11, 32])
async def test_the_same_of_other_servers(fake, at, tmp_path, code):
    person_of_ldap(fake)
    fake.group = lambda request: iter([result(request.message_id, 0x65, code)])
    async with fake.serving(tmp_path / "tls") as url:
        await at.unavailable(of_ldap(fake, url, groups=["cn=a,dc=example,dc=test"]), "alice", PASSWORD)


async def test_somebody_in_more_groups_than_are_followed_is_not_signed_in(fake, at, tmp_path):
    person_of_ldap(fake)
    rounds = 0

    def group(request):
        nonlocal rounds
        rounds += 1
        for index in range(200):
            yield entry(request.message_id, f"cn=g{rounds}-{index},dc=example,dc=test")
        yield result(request.message_id, 0x65)

    fake.group = group
    async with fake.serving(tmp_path / "tls") as url:
        reason = (await at.unavailable(of_ldap(fake, url, groups=["cn=a,dc=example,dc=test"]), "alice", PASSWORD))[1]
    assert "more groups" in reason
    assert rounds == 3


async def test_groups_that_are_in_each_other_end(fake, at, tmp_path):
    person_of_ldap(fake, memberOf=["cn=b,dc=example,dc=test"])

    def group(request):
        for name in ("cn=b,dc=example,dc=test", "CN=C, dc=example,dc=test", UID):
            yield entry(request.message_id, name)
        yield result(request.message_id, 0x65)

    fake.group = group
    wanted = ["cn=c,dc=example,dc=test", "cn=z,dc=example,dc=test", UID]
    async with fake.serving(tmp_path / "tls") as url:
        fact = await at.enter(of_ldap(fake, url, groups=wanted), "alice", PASSWORD)
    assert fact.groups == wanted[:1]


# What is not LDAP, and what was not asked


def whole(*answers):
    return lambda request: iter(answers)


DEEP = b"\x30\x80" * 50_000
NONSENSE = [
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\x30\x80\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00\x00\x00",  # indefinite length
    b"\x30\x85\x00\x00\x00\x00\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00",  # five bytes of length
    b"\x30\x0c\x02\x01\x01\x7f\x61\x07\x0a\x01\x00\x04\x00\x04\x00",  # a tag of two bytes
    b"\x30\x0f\x02\x01\x01\x61\x0a\x0a\x01\x00\x04\x00\x04\x00\x9f\x01\x00",  # the same, in another place
    b"\x30\x00",
    b"\x30\x03\x02\x01\x01",
    b"\x30\x0c\x02\x01\x01\x61\x08\x0a\x01\x00\x04\x00\x04\x00",  # an element longer than what holds it
    b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x01\x04\x00",
    b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x80\x04\x00\x04\x00",  # a negative result
    b"\x30\x0d\x02\x01\x01\x61\x08\x0a\x02\x00\x04\x00\x04\x00\x04",
    b"\x30\x0b\x02\x01\x01\x61\x06\x0a\x00\x04\x00\x04\x00",  # a number of no bytes
    b"\x30\x0c\x02\x01\x01\x61\x07\x02\x01\x00\x04\x00\x04\x00",  # a result of another type
    b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x24\x00",  # a constructed string
    b"\x30\x0e\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00\x05\x00",  # neither controls nor nothing
    b"\x30\x82\xff\xff" + DEEP[:65_535],
    b"\x30\x84\x7f\xff\xff\xff" + b"\x30" * 100,
    b"\x30\x83\x01\x86\xa0" + b"\x05\x00" * 50_000,
]


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
async def test_what_is_not_the_ldap_expected_is_refused(fake, at, tmp_path, answer):
    fake.bind = whole(answer)
    async with fake.serving(tmp_path / "tls") as url:
        began = time.monotonic()
        number_, reason = await at.unavailable(of(fake, url, servers=[url]), USER, PASSWORD)
        assert time.monotonic() - began < 2
    assert number_ is Number.PROVIDER_UNAVAILABLE
    assert reason


async def test_nesting_costs_nothing_and_no_stack(fake, at, tmp_path):
    """Where an attribute's values should stand there are a hundred thousand levels: one is looked at."""

    def person(request):
        yield message(request.message_id, tlv(0x64, text(PERSON), tlv(0x30, tlv(0x30, text("mail"), tlv(0x31, DEEP)))))

    fake.person = person
    async with fake.serving(tmp_path / "tls") as url:
        assert "the directory's answer" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


@pytest.mark.parametrize(
    "answer",
    [
        result(2, 0x61),  # to a later question
        result(7, 0x61),
        result(1, 0x65),  # the end of a search
        result(1, 0x78),
        entry(1, PERSON),
        message(1, tlv(0x61, number(0, 0x0A), text(""), text(""), text("a", 0x8B), text("b", 0x8B))),
    ],
    ids=range(6),
)
async def test_an_answer_to_another_question_is_refused(fake, at, tmp_path, answer):
    fake.bind = whole(answer)
    async with fake.serving(tmp_path / "tls") as url:
        assert "the directory's answer" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_a_search_is_answered_by_its_own_number_and_once(fake, at, tmp_path):
    def twice(request):
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[SID])
        yield result(request.message_id, 0x65)
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[SID])

    for person in (
        twice,
        whole(entry(99, PERSON)),
        whole(result(1, 0x61)),
        lambda request: iter([result(request.message_id, 0x61)]),
    ):
        fake.person = person
        async with fake.serving(tmp_path / "tls") as url:
            assert "the directory's answer" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_what_comes_after_the_end_of_a_search_is_not_part_of_it(fake, at, tmp_path):
    """While another one, asked with it, is still open."""

    def late(request):
        yield result(request.message_id, 0x65)
        yield entry(request.message_id, "", tokenGroups=[SID])

    fake.root = late
    async with fake.serving(tmp_path / "tls") as url:
        assert "not asked" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_a_server_that_says_goodbye_by_itself_is_left(fake, at, tmp_path):
    """The notice of disconnection has number 0 (RFC 4511 §4.4.1)."""
    fake.bind = whole(result(0, 0x78, 52, "", text("1.3.6.1.4.1.1466.20036", 0x8A)))
    async with fake.serving(tmp_path / "tls") as url:
        assert "ended the conversation" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_an_attribute_of_more_values_than_anybody_has_is_refused(fake, at, tmp_path):
    """Each costs a few bytes to send and much more to keep."""

    def person(request):
        yield entry(request.message_id, PERSON, objectGUID=[GUID], objectSid=[SID], mail=[b""] * (MAX_ELEMENTS + 1))
        yield result(request.message_id, 0x65)

    fake.person = person
    async with fake.serving(tmp_path / "tls") as url:
        assert "too many" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_an_attribute_that_comes_twice_is_refused(fake, at, tmp_path):
    row = tlv(0x30, text("objectSid"), tlv(0x31, text(SID)))
    other = tlv(0x30, text("OBJECTSID"), tlv(0x31, text(b"another")))
    fake.person = lambda request: iter([message(request.message_id, tlv(0x64, text(PERSON), tlv(0x30, row, other)))])
    async with fake.serving(tmp_path / "tls") as url:
        assert "twice" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_an_answer_without_end_is_cut_off(fake, at, tmp_path):
    sent = 0

    def endless(request):
        nonlocal sent
        while True:
            data = entry(request.message_id, PERSON, description=[bytes(10_000)])
            sent += len(data)
            yield data

    fake.person = endless
    async with fake.serving(tmp_path / "tls") as url:
        assert "too large" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]
    assert sent < 32 * 1024 * 1024  # what lies in the buffers of two sockets


@pytest.mark.parametrize("parser", ["directory.parse_name", "ldap_connection.parse_entry"])
async def test_an_answer_full_of_names_keeps_nobody_else_from_their_turn(fake, at, tmp_path, monkeypatch, parser):
    """Names of up to 2,048 characters, as many as an answer holds: whoever defined the directory chose them."""
    place = f"strongroom.enclave.authenticator.{parser}"
    parse, turn, parsed_in = pkgutil.resolve_name(place), 0, []

    def counted(untrusted):
        parsed_in.append(turn)
        return parse(untrusted)

    async def count():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def group(request):
        for index in range(100):
            yield entry(request.message_id, f"cn=g{index},dc=example,dc=test")
        yield result(request.message_id, 0x65)

    person_of_ldap(fake, memberOf=[f"cn=m{index},dc=example,dc=test" for index in range(100)])
    fake.group = group
    monkeypatch.setattr(place, counted)
    counting = asyncio.ensure_future(count())
    async with fake.serving(tmp_path / "tls") as url:
        await at.enter(
            of_ldap(fake, url, groups=["cn=m0,dc=example,dc=test", "cn=z,dc=example,dc=test"]), "alice", PASSWORD
        )
    counting.cancel()
    most = max(Counter(parsed_in).values())
    assert len(parsed_in) > 100
    assert most <= 16


async def test_one_message_larger_than_all_is_not_read(fake, at, tmp_path):
    fake.bind = whole(b"\x30\x83" + (MAX_PROVIDER_ANSWER + 1).to_bytes(3, "big"))
    async with fake.serving(tmp_path / "tls") as url:
        assert "too large" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_entries_without_end_are_cut_off(fake, at, tmp_path):
    def many(request):
        for _ in range(MAX_ENTRIES + 1):
            yield entry(request.message_id, PERSON)
        yield result(request.message_id, 0x65)

    fake.person = many
    async with fake.serving(tmp_path / "tls") as url:
        assert "too many entries" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]


async def test_a_referral_in_place_of_an_answer_is_not_followed(fake, at, tmp_path):
    referral = tlv(0xA3, text("ldap://elsewhere.example/"))
    for part in ("bind", "person"):
        other = FakeDirectory(fake.authority)
        tag = 0x61 if part == "bind" else 0x65
        setattr(other, part, lambda request, tag=tag: iter([result(request.message_id, tag, 10, "", referral)]))
        async with other.serving(tmp_path / "tls") as url:
            at.platform.connected.clear()
            with pytest.raises(Exception, match=r"\[203\]|\[405\]"):
                await at.enter(of(other, url), USER, PASSWORD)
            assert len(at.platform.connected) == 1


# StartTLS


async def test_what_comes_in_clear_after_start_tls_is_not_read_as_an_answer(fake, at, tmp_path):
    def injected(request):
        yield result(request.message_id, 0x78) + result(1, 0x61)

    fake.extended = injected
    async with fake.serving(tmp_path / "tls", scheme="ldap") as url:
        await at.unavailable(of(fake, url), USER, PASSWORD)
    assert fake.bound == []


@pytest.mark.parametrize("code", [1, 2, 52, 53])
async def test_a_server_without_start_tls_is_told_no_password(fake, at, tmp_path, code):
    fake.extended = lambda request: iter([result(request.message_id, 0x78, code)])
    async with fake.serving(tmp_path / "tls", scheme="ldap") as url:
        assert "does not start TLS" in (await at.unavailable(of(fake, url), USER, PASSWORD))[1]
    assert fake.bound == []


# Fail-over and time


@pytest.mark.parametrize("code", [51, 52])
async def test_a_busy_server_leaves_the_sign_in_to_the_next(fake, at, tmp_path, code):
    busy = FakeDirectory(fake.authority)
    busy.bind = lambda request: iter([result(request.message_id, 0x61, code)])
    async with busy.serving(tmp_path / "tls") as first, fake.serving(tmp_path / "tls2") as second:
        assert (await at.enter(of(fake, first, servers=[first, second]), USER, PASSWORD)).groups == [GROUP]
        await asyncio.sleep(0.05)
    assert busy.closed == fake.closed == 1


@pytest.mark.parametrize("code", [1, 2, 8, 10, 19, 32, 34, 48, 49, 50, 53, 80, 118])
async def test_a_password_that_a_server_has_judged_is_not_tried_at_the_next(fake, at, tmp_path, code):
    no = FakeDirectory(fake.authority)
    no.bind = lambda request: iter([result(request.message_id, 0x61, code)])
    async with no.serving(tmp_path / "tls") as first, fake.serving(tmp_path / "tls2") as second:
        await at.refused(of(fake, first, servers=[first, second]), USER, PASSWORD)
        await asyncio.sleep(0.05)
    assert (len(no.bound), len(fake.bound)) == (1, 0)
    assert no.closed == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("525", "no such account"),
        ("52e", "wrong"),
        ("530", "at this time"),
        ("531", "from here"),
        ("532", "password has expired"),
        ("533", "disabled"),
        ("701", "account has expired"),
        ("773", "must be changed"),
        ("775", "locked"),
        ("999", "refused the password"),
    ],
)
async def test_active_directory_s_sub_codes_are_told_apart_for_the_operator(fake, at, tmp_path, code, reason):
    says = f"80090308: LdapErr: DSID-0C090569, comment: AcceptSecurityContext error, data {code}, v4563\0"
    fake.bind = lambda request: iter([result(request.message_id, 0x61, 49, says)])
    async with fake.serving(tmp_path / "tls") as url:
        assert reason in await at.refused(of(fake, url), USER, PASSWORD)


async def test_nothing_that_a_server_says_in_words_reaches_the_operator(fake, at, tmp_path):
    says = "alice's password is right but data 775, \x1b[2J"
    fake.bind = lambda request: iter([result(request.message_id, 0x61, 49, says)])
    async with fake.serving(tmp_path / "tls") as url:
        assert await at.refused(of(fake, url), USER, PASSWORD) == "the account is locked"


async def test_a_dripping_server_costs_its_share_and_the_next_one_answers(fake, at, tmp_path):
    """A byte now and then keeps any time-out between two bytes from firing: the limit is over the whole."""
    dripping = FakeDirectory(fake.authority)

    async def drip(writer, data):
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.3)

    dripping.send = drip
    async with dripping.serving(tmp_path / "tls") as first, fake.serving(tmp_path / "tls2") as second:
        began = time.monotonic()
        fact = await at.enter(of(fake, first, servers=[first, second]), USER, PASSWORD)
        took = time.monotonic() - began
        assert fact.groups == [GROUP]
        assert PROVIDER_TIMEOUT / 2 - 0.2 < took < PROVIDER_TIMEOUT
        began = time.monotonic()
        assert (await at.unavailable(of(fake, first), USER, PASSWORD))[0] is Number.PROVIDER_SLOW
        assert time.monotonic() - began < PROVIDER_TIMEOUT + 0.5


@pytest.mark.parametrize("after", [BIND, SEARCH])
async def test_a_server_that_hangs_up_in_the_middle_leaves_the_sign_in_to_the_next(fake, at, tmp_path, after):
    broken = FakeDirectory(fake.authority)
    honest = broken.answer

    def hang_up(request):
        if request.kind == after:
            raise ConnectionResetError
        return honest(request)

    broken.answer = hang_up
    async with broken.serving(tmp_path / "tls") as first, fake.serving(tmp_path / "tls2") as second:
        assert (await at.enter(of(fake, first, servers=[first, second]), USER, PASSWORD)).groups == [GROUP]
    assert broken.connections == 1


async def test_a_server_at_a_private_address_is_not_called(at):
    """Unless this Authenticator's own measured list has it (test_egress)."""
    at.platform.names = {"dc.internal": "10.0.0.5"}
    with pytest.raises(Refused) as caught:
        await at.enter(directory(servers=["ldaps://dc.internal"]), USER, PASSWORD)
    assert caught.value.number is Number.DESTINATION_REFUSED
    assert at.platform.connected == []
