"""The measured list of what an Authenticator may call beyond the public Internet: strict, and one text for one list."""

import ipaddress

import pytest

from strongroom.protocol.errors import Misuse
from strongroom.protocol.reach import format_egress, parse_egress, parse_reach

NONSENSE = [
    "", ":", "host", "host:", ":636", "host:0", "host:65536", "host:0636", "host:636:636", "host:6 36", " host:636",
    "host:636 ", "host:636,other:636", "HOST:636", "-host:636", "host-:636", "a..b:636", ".a:636", "a.:636",
    "under_score:636", "bücher:636", "*.corp:636", "*:636", "ldaps://host:636", "10.0.0.1/8:636", "10.0.0.0/33:636",
    "10.0.0:636", "010.0.0.1:636", "256.0.0.1:636", "10.0.0.0/255.0.0.0:636", "fd00::1:636", "[10.0.0.1]:636",
    "[fd00::1]", "[fd00::1/8]:636", "[fe80::1%eth0]:636", "[host]:636", "host/8:636", "1.2.3.4.5:636", "0x7f.1:636",
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_not_plainly_a_destination_is_refused(text):
    with pytest.raises(Misuse):
        parse_reach(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ldap.corp.example:636", "ldap.corp.example:636"),
        ("10.0.0.0/8:636", "10.0.0.0/8:636"),
        ("10.0.0.1:636", "10.0.0.1:636"),
        ("10.0.0.1/32:636", "10.0.0.1:636"),
        ("[fd00:0::/64]:443", "[fd00::/64]:443"),
        ("[fd00::1]:443", "[fd00::1]:443"),
        ("[fd00::1/128]:443", "[fd00::1]:443"),
    ],
)
def test_a_destination_is_written_in_one_way(text, canonical):
    assert str(parse_reach(text)) == canonical


def test_equal_lists_are_equal_claims():
    one = format_egress(["b.example:636", "10.0.0.0/8:636", "a.example:636", "b.example:636"])
    assert one == "10.0.0.0/8:636,a.example:636,b.example:636"
    assert format_egress(str(entry) for entry in reversed(parse_egress(one))) == one
    assert parse_egress("") == ()


@pytest.mark.parametrize(
    "claim",
    [
        *("b:1,a:1", "a:1,a:1", "a:1,", ",a:1", "a:1, b:1", "10.0.0.1/32:1", "[fd00:0::1]:1"),
        ",".join(f"a{number:03}:1" for number in range(65)),
    ],
)
def test_any_other_way_to_write_a_list_is_refused(claim):
    with pytest.raises(Misuse):
        parse_egress(claim)


def test_a_destination_is_one_port_of_a_name_or_a_network():
    inside, outside = ipaddress.ip_address("10.9.8.7"), ipaddress.ip_address("192.168.0.1")
    network, name = parse_reach("10.0.0.0/8:636"), parse_reach("ldap.corp:636")
    assert network.covers("anything", inside, 636)
    assert not network.covers("anything", inside, 389)
    assert not network.covers("anything", outside, 636)
    assert not network.covers("anything", ipaddress.ip_address("fd00::1"), 636)
    assert name.covers("LDAP.corp", outside, 636)
    assert not name.covers("ldap.corp", outside, 389)
    assert not name.covers("ldap.corp.evil", outside, 636)
