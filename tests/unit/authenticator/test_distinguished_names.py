"""Distinguished names (RFC 4514): what is one, which are the same, and how a typed name becomes a part of one."""

import pytest

from strongroom.enclave.authenticator.distinguished_names import escape_value, is_below, parse_name

ALICE = parse_name("CN=Alice Liddell,CN=Users,DC=ad,DC=test")


@pytest.mark.parametrize(
    "text",
    [
        "cn=alice liddell,cn=users,dc=ad,dc=test",
        "CN = Alice  Liddell , CN=Users,  DC=AD,DC=Test ",
        "CN=Alice\\20Liddell,CN=Users,DC=ad,DC=test",
        "CN=Alice\\ Liddell,CN=\\55sers,DC=ad,DC=test",
    ],
)
def test_names_that_directories_take_for_one_are_one(text):
    assert parse_name(text) == ALICE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=a\\,CN=b,DC=test", "CN=a,CN=b,DC=test"),
        ("CN=a+CN=b,DC=test", "CN=a\\+CN=b,DC=test"),
        ("CN=a,DC=test", "OU=a,DC=test"),
        ("CN=a,DC=test", "CN=a,DC=x,DC=test"),
        ("CN=a b,DC=test", "CN=ab,DC=test"),
        ("2.5.4.3=a,DC=test", "CN=a,DC=test"),  # not told to be one: nobody is signed in by mistake
        ("CN=\\23616263,DC=test", "CN=#616263,DC=test"),
    ],
)
def test_different_names_are_not_one(one, other):
    assert parse_name(one) != parse_name(other)


def test_the_order_of_what_makes_one_level_does_not_matter():
    assert parse_name("CN=a+UID=b,DC=test") == parse_name("uid=B+cn=A,dc=test")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "alice", "CN", "CN=", "=a", "CN=a,", ",CN=a", "CN=a,,DC=b", "CN=a;DC=b", 'CN="a,b",DC=c', "CN=a<b",
        "CN=a>b", "CN=a+", "CN=a\\", "CN=a\\zz", "CN=\\ff", "CN=\\00", "CN=a\0b", "1=a", "1.=a", "C N=a", "CN=#",
        "CN=#6", "CN=#6g", "CN=#61z", "-cn=a", "CN=" + "a" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 (there is no other error)
        parse_name(text)


def test_a_name_is_below_another_only_as_a_whole():
    base = parse_name("DC=ad,DC=test")
    assert is_below(ALICE, base)
    assert is_below(base, base)
    assert is_below(base, ())
    assert not is_below(base, ALICE)
    assert not is_below(parse_name("CN=a,DC=bad,DC=test"), base)
    assert not is_below(parse_name("CN=a\\,DC=ad,DC=test"), base)


@pytest.mark.parametrize(
    "value",
    [
        "alice",
        "Smith, John",
        "a+b",
        'a"b',
        "a\\b",
        "a<b>",
        "a;b",
        "#a",
        " a",
        "a ",
        "a=b",
        "ä",
        "a\\2cb",
        "x,dc=y",
    ],
)
def test_a_value_stays_one_value_inside_a_name(value):
    name = parse_name(f"uid={escape_value(value)},dc=test")
    assert len(name) == 2
    assert name[0] == frozenset({("uid", " ".join(value.casefold().split()))})


@pytest.mark.parametrize("value", ["", " ", "a\0", "a\n", "\u202ea", "a\x7f"])
def test_a_value_that_nobody_types_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 (there is no other error)
        escape_value(value)
