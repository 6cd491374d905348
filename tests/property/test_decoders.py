"""Any bytes into any decoder give the message they encode, or a declared error, in bounded time."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.attestation import policy
from strongroom.attestation.trust_file import parse_trust_policy
from strongroom.client.addresses import parse_address
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.enclave.authenticator import tickets
from strongroom.enclave.runtime import ring
from strongroom.enclave.vault import attempts, journal, marks, records, standing
from strongroom.protocol import (
    authenticator_messages,
    evidence,
    facts,
    instructions,
    link,
    messages,
    session,
    sign_in_messages,
    vault_messages,
)
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, StrongroomError, Untrusted
from tests.support import policies

MODULES = (
    policy,
    tickets,
    ring,
    records,
    attempts,
    journal,
    marks,
    standing,
    evidence,
    instructions,
    facts,
    messages,
    vault_messages,
    sign_in_messages,
    authenticator_messages,
    session,
)
TYPES = sorted(
    {
        kind
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Message) and msgspec.structs.fields(kind)
    },
    key=lambda kind: kind.__name__,
)
UNIONS = (
    vault_messages.VaultRequest,
    vault_messages.VaultReply,
    authenticator_messages.AuthenticatorRequest,
    authenticator_messages.AuthenticatorReply,
)
LIMIT = 64 * 1024

json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def accepted_or_declared(kind, data):
    try:
        message = decode(data, kind, limit=LIMIT)
    except Misuse:
        return
    assert encode(message) == data


@pytest.mark.parametrize("kind", [*TYPES, *UNIONS], ids=lambda kind: getattr(kind, "__name__", "union"))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_into_any_message(kind, data):
    accepted_or_declared(kind, data.draw(st.binary(max_size=400)))
    accepted_or_declared(kind, msgspec.msgpack.encode(data.draw(json_like)))


def test_the_types_are_all_there():
    assert {"Collect", "Store", "Claims", "Hello", "Ticket", "Record", "RolePolicy", "Instructions"} <= {
        kind.__name__ for kind in TYPES
    }


@given(st.integers(min_value=1, max_value=60_000))
def test_deep_nesting_is_refused(depth):
    for kind in UNIONS:
        for opening in (b"\x91", b"\x81\xa4type"):
            with pytest.raises(Misuse):
                decode((opening * depth)[:LIMIT], kind, limit=LIMIT)


NOBODY = policies.role()
GOOD = encode(vault_messages.Collect(request_id=bytes(16), tickets=[], addresses=[messages.ById(id=bytes(16))]))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_another_message_or_none(position, value):
    bent = GOOD[:position] + bytes([value]) + GOOD[position + 1 :]
    accepted_or_declared(vault_messages.VaultRequest, bent)


@given(st.binary(max_size=500))
def test_any_bytes_into_the_link(data):
    for kind in (link.Start, link.Commit, link.Read, link.Rows, link.Post):
        with suppress(Misuse):
            link.decode(data, kind)
    with suppress(Misuse):
        link.Splitter().feed(data)


@given(st.binary(max_size=2000))
def test_any_bytes_as_evidence(data):
    with pytest.raises(Untrusted):
        evidence.parse_evidence(data)


@given(st.text(max_size=300))
def test_any_text_as_a_file_or_an_address(text):
    for parse in (parse_trust_policy, parse_address, lambda text: parse_instructions_file(text, authenticator=NOBODY)):
        with suppress(StrongroomError):
            parse(text)
