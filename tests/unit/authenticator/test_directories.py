"""Definitions of directories: what is wrong is refused at `store`, with the field named."""

import pytest

from strongroom.enclave.authenticator.directory import verify_directory
from strongroom.enclave.authenticator.directory_users import parse_user
from strongroom.enclave.authenticator.ldap import equal, message, parse_answer, search, some
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.instructions import DirectoryPublic, parse_method
from tests.idp.certificates import Authority
from tests.support.directories import directory, openldap
from tests.support.world import Platform

CA = Authority().pem
KEY = CA.replace(b"CERTIFICATE", b"PRIVATE KEY")
GROUP = "CN=staff,DC=ad,DC=test"


@pytest.fixture(scope="module")
def egress(tmp_path_factory):
    return Egress(Platform("authenticator", tmp_path_factory.mktemp("machine")))


SERVERS = [
    "", "dc1.ad.test", "http://dc1.ad.test", "https://dc1.ad.test", "ldapi://dc1.ad.test", "LDAPS://dc1.ad.test",
    "ldaps://", "ldaps://dc1.ad.test/", "ldaps://dc1.ad.test/dc=ad", "ldaps://user@dc1.ad.test", "ldaps://dc1.ad.test:0",
    "ldaps://dc1.ad.test:65536", "ldaps://dc1.ad.test:0636", "ldaps://dc1.ad.test:", "ldaps://dc1.ad.test?x", "ldaps://-a",
    "ldaps://dc1 .ad.test", "ldaps://[::1", "ldaps://[10.0.0.1]", "ldaps://::1", "ldaps://dc1.ad.test\n",
    "ldaps://d\u0441.test",
]  # fmt: skip
CERTIFICATES = [b"x", CA[:-40], CA.replace(b"M", b"N", 3), KEY, CA + KEY, b"\xff" + CA]
USER_DNS = [
    "", "{}", "uid=alice,dc=example,dc=test", "uid={},cn={},dc=example,dc=test", "uid={0},dc=example,dc=test", "uid={}",
    "uid={{}},dc=example,dc=test", "uid={},dc=example,dc=org", "{}=x,dc=example,dc=test,,",
]  # fmt: skip
BAD = [
    ("name", directory(public=DirectoryPublic(name=""))),
    ("name", directory(public=DirectoryPublic(name="ad.test\x1b[2J"))),
    ("name", directory(public=DirectoryPublic(name=" ad.test"))),
    *(("servers", directory(servers=[url])) for url in SERVERS),
    ("servers", directory(servers=["ldaps://a.test", "ldaps://a.test"])),
    *(("certificates", directory(certificates=pem)) for pem in CERTIFICATES),
    *(("base", directory(base=base)) for base in ("", "ad.test", "DC=ad,,DC=test", "DC=ad\n,DC=test")),
    ("user_dn", directory(user_dn="uid={},dc=test")),
    *(("user_dn", openldap(user_dn=user_dn)) for user_dn in USER_DNS),
    *(("groups", directory(groups=[group])) for group in ("", "staff", "CN=staff,", "CN=sta\nff,DC=test")),
    ("groups", directory(groups=[GROUP, GROUP.lower()])),
    ("groups", directory(groups=[f"CN={number:03}{'x' * 200},DC=test" for number in range(16)])),
    *(
        ("email_domains", directory(email_domains=[domain]))
        for domain in ("", "test", "AD.test", "@ad.test", "*.test", "\u0430d.test", "a..b")
    ),
]


@pytest.mark.parametrize(
    "method",
    [
        directory(),
        directory(servers=["ldap://dc1.ad.test:389", "ldaps://10.0.0.1", "ldaps://[fd00::1]:3269"]),
        directory(certificates=CA + CA, groups=[GROUP], email_domains=["ad.test"]),
        openldap(),
        openldap(user_dn="cn={}+o=x,ou=people,dc=example,dc=test"),
    ],
)
def test_a_good_definition_is_accepted(method, egress):
    verify_directory(method, egress)
    assert parse_method(encode(method)) == method


@pytest.mark.parametrize(("field", "method"), BAD, ids=[f"{field}-{place}" for place, (field, _) in enumerate(BAD)])
def test_a_bad_definition_is_refused_with_the_field_named(field, method, egress):
    with pytest.raises(Misuse) as caught:
        verify_directory(method, egress)
    assert caught.value.number is Number.METHOD_INVALID
    assert field in caught.value.reason


@pytest.mark.parametrize(
    "user",
    [
        "CN=Alice  Liddell,DC=ad,DC=test",
        "CN=Alice\\20Liddell,DC=ad,DC=test",
        "CN=Alice\\ Liddell,DC=ad,DC=test",
        "CN=#0C05416C696365,DC=ad,DC=test",
        "CN = #0C05416C696365,DC=ad,DC=test",
        "CN=Alice,DC=ad,DC=#0C0474657374",
        "Alice  Liddell@ad.test",
        "alice\u00ad@ad.test",
        "alice\u200b@ad.test",
        "alice\u2003@ad.test",
    ],
)
def test_a_name_is_not_taken_in_spellings_that_would_each_be_counted_apart(user):
    """Or a stranger, by writing a name in ever new ways, would lock its owner out of the directory."""
    with pytest.raises(Refused):
        parse_user(directory(), user)


@pytest.mark.parametrize(
    "user",
    [
        "ALICE@AD.TEST",
        "ADTEST\\alice",
        "AD.TEST\\\u00e1l\u00efce",
        "\uff41lice@ad.test",
        "cn = ALICE , dc=AD,DC=\\74est",
    ],
)
def test_attempts_at_one_account_are_counted_as_one_however_its_name_is_written(user):
    """Active Directory overlooks case, accents and width."""
    parsed = parse_user(directory(), user)
    assert (parsed.bind_name, parsed.account) == (user, parse_user(directory(), "alice@ad.test").account)


def test_long_requests_are_written_as_they_are_read():
    """Lengths of one, two and three bytes."""
    for count in (1, 10, 2000):
        request = search("dc=test", 2, some(*[equal("member", "cn=x,dc=test")] * count), [], limit=5)
        answer = parse_answer(_content(message(70_000, request)))
        assert (answer.message_id, answer.operation) == (70_000, 0x63)


def test_what_is_cut_off_is_never_taken_for_a_whole():
    whole = _content(message(1, search("dc=test", 2, equal("cn", "x"), ["mail"], limit=5)))
    parse_answer(whole)
    for end in range(len(whole)):
        with pytest.raises(Unavailable):
            parse_answer(whole[:end])


def _content(data):
    size = data[1] & 0x7F if data[1] & 0x80 else 0
    return data[2 + size :]
