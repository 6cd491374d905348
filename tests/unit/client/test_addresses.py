import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.client.addresses import format_address, parse_address, verify_name
from strongroom.client.errors import BadInput
from strongroom.protocol.limits import MAX_NAME
from strongroom.protocol.messages import ById, ByName, ByPerson

printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=MAX_NAME)
namespaces = printable.filter(lambda name: "/" not in name and not name.endswith(":"))


@given(st.binary(min_size=16, max_size=16))
def test_an_id_reads_back(record_id):
    assert parse_address(format_address(ById(id=record_id))) == ById(id=record_id)


@given(namespaces, printable)
def test_a_name_reads_back_also_with_slashes_in_it(namespace, name):
    address = ByName(namespace=namespace, name=name)
    assert parse_address(format_address(address)) == address


@given(namespaces, st.text(st.characters(codec="utf-8"), min_size=1), printable)
def test_an_address_of_ones_own_reads_back_whatever_the_provider_calls_people(namespace, subject, name):
    address = ByPerson(namespace=namespace, person=f"{'ab' * 32}:{subject[:256]}", name=name)
    assert parse_address(format_address(address)) == address


@pytest.mark.parametrize(
    "text", ["/team/key", "/team//key", "/team/bob/key", f"/team/{'ab' * 32}:/k", f"//{'ab' * 32}:b/k", "/t/%ff/k"]
)
def test_an_address_of_nobodys_own_is_refused(text):
    with pytest.raises(BadInput) as caught:
        parse_address(text)
    assert caught.value.hint


def test_capital_hex_is_the_same_id():
    assert parse_address("AB" * 16) == ById(id=b"\xab" * 16)


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "team/", "/key", "ab" * 15, "ab" * 17, "0x" + "ab" * 15, "ab" * 16 + "\n", " " + "ab" * 16),
        *("team/a\nb", "te\x00am/key", "team/\u202efdp", "team/\ud800", "team/\u200b", f"team/{'x' * (MAX_NAME + 1)}"),
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(text):
    with pytest.raises(BadInput) as caught:
        parse_address(text)
    assert caught.value.hint
    assert caught.value.error.isprintable()


@pytest.mark.parametrize("name", ["a/b", "strongroom:"])
def test_a_namespace_that_could_not_be_addressed_is_refused(name):
    with pytest.raises(BadInput, match="be a namespace"):
        verify_name(name, "namespace")


@pytest.mark.parametrize("text", ["strongroom://team/report", "https://vault.example.com", "a://"])
def test_a_url_is_not_read_as_a_name_in_a_namespace_of_its_scheme(text):
    with pytest.raises(BadInput, match="is a URL, not an address") as caught:
        parse_address(text)
    assert "namespace/name" in caught.value.hint
    assert parse_address("team/https://x") == ByName(namespace="team", name="https://x")
