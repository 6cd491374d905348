"""Any bytes from a directory, and any name: a value or the declared error, never another one and never a hang."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.enclave.authenticator.distinguished_names import escape_value, parse_name
from strongroom.enclave.authenticator.ldap import Answer, Entry, Result, parse_answer, parse_entry, parse_result
from strongroom.protocol.errors import Unavailable
from tests.support.fake_directory import GUID, SID, entry, result, text

ANSWERS = [
    entry(3, "CN=Alice,DC=ad,DC=test", objectGUID=[GUID], objectSid=[SID], mail=["a@ad.test", "b@ad.test"]),
    result(2, 0x61, 49, "data 52e"),
    result(4, 0x78, 0, "", text("dn:uid=a,dc=test", 0x8B)),
]


def read(data):
    """As a conversation does."""
    for parse in (parse_result, parse_entry):
        with suppress(Unavailable):
            assert isinstance(parse(parse_answer(data)), Result | Entry)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(data):
    read(data)
    for parse in (parse_result, parse_entry):
        with suppress(Unavailable):
            assert isinstance(parse(Answer(1, 0x64, data)), Result | Entry)


@given(st.sampled_from(ANSWERS), st.data())
def test_a_bent_answer_is_an_answer_or_refused(answer, data):
    bent = bytearray(answer[6:])  # without tag and length, of four bytes
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(bent) - 1))
        bent[place] = data.draw(st.integers(0, 255))
    read(bytes(bent))


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text):
    try:
        levels = parse_name(text)
    except ValueError:
        return
    assert levels
    assert all(kind and value for level in levels for kind, value in level)


@given(st.text(min_size=1, max_size=40))
def test_whatever_is_typed_stays_inside_its_place_in_a_name(typed):
    """Nobody gets out of the part of the tree that `user_dn` gives them."""
    try:
        escaped = escape_value(typed)
    except ValueError:
        return
    name = parse_name(f"uid={escaped},ou=people,dc=test")
    assert name[1:] == parse_name("ou=people,dc=test")
    assert [kind for kind, _ in name[0]] == ["uid"]


def test_the_answers_that_are_bent_are_good_ones():
    assert parse_entry(parse_answer(ANSWERS[0][6:])).single("objectsid") == SID
    assert parse_result(parse_answer(ANSWERS[1][6:])).code == 49
    with pytest.raises(Unavailable):
        parse_entry(parse_answer(ANSWERS[1][6:]))
