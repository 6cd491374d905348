"""Tickets count for one binding key at one Vault for ten minutes, and nowhere else."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.limits import MAX_TICKET_LIFE
from strongroom.protocol.messages import Ticket
from strongroom.protocol.primitives import Domain, SigningKey
from tests.support.evidence import changed
from tests.support.world import Platform
from tests.unit.authenticator.test_rules import BOB

NOW = 1_800_000_000
KEY = SigningKey.generate().public
VAULT, US = b"V" * 32, b"A" * 32


@pytest.fixture(scope="module")
def sealer(tmp_path_factory):
    return Sealer(Platform("authenticator", tmp_path_factory.mktemp("m") / "machine"), US, lambda: b"k" * 32)


@pytest.fixture(scope="module")
def ticket(sealer):
    return sealer.issue_ticket(KEY, VAULT, BOB, NOW)[0]


def verify(sealer, ticket, *, binding_key=KEY, vault_cluster=VAULT, now=NOW):
    return sealer.verify_ticket(ticket, binding_key=binding_key, vault_cluster=vault_cluster, now=now)


def test_a_ticket_gives_its_facts_back(sealer, ticket):
    assert verify(sealer, ticket) == [BOB]
    assert verify(sealer, ticket, now=NOW + MAX_TICKET_LIFE - 1) == [BOB]


@pytest.mark.parametrize("elsewhere", [{"binding_key": SigningKey.generate().public}, {"vault_cluster": b"W" * 32}])
def test_a_ticket_of_another_session_or_vault_is_refused(sealer, ticket, elsewhere):
    with pytest.raises(Refused):
        verify(sealer, ticket, **elsewhere)


@pytest.mark.parametrize("now", [NOW + MAX_TICKET_LIFE, NOW + 10**6, NOW - 1])
def test_a_ticket_expires_also_when_the_clock_is_wound_back(sealer, ticket, now):
    with pytest.raises(Misuse) as caught:
        verify(sealer, ticket, now=now)
    assert caught.value.number is Number.TICKET_EXPIRED


@pytest.mark.parametrize("other", [(b"B" * 32, b"k" * 32), (US, b"j" * 32)])
def test_a_ticket_of_another_authenticator_is_refused(sealer, ticket, other):
    with pytest.raises(Refused):
        verify(Sealer(sealer._platform, other[0], lambda: other[1]), ticket)
    with pytest.raises(Refused):
        verify(sealer, changed(ticket, authenticator=b"B" * 32))


def test_a_flipped_bit_anywhere_is_refused(sealer, ticket):
    for position in range(len(ticket.sealed)):
        bent = bytearray(ticket.sealed)
        bent[position] ^= 1
        with pytest.raises(Refused):
            verify(sealer, Ticket(authenticator=US, sealed=bytes(bent)))


def test_what_was_sealed_for_another_purpose_is_no_ticket(sealer, ticket):
    with pytest.raises(Refused):
        verify(sealer, Ticket(authenticator=US, sealed=sealer.seal(Domain.DEVICE_FLOW, BOB)))


def test_two_tickets_never_share_a_salt(sealer):
    tickets = {sealer.issue_ticket(KEY, VAULT, BOB, NOW)[0].sealed for _ in range(50)}
    assert len({sealed[:32] for sealed in tickets}) == 50


def test_groups_that_do_not_fit_are_refused_never_dropped(sealer):
    with pytest.raises(Untrusted) as caught:
        sealer.issue_ticket(KEY, VAULT, changed(BOB, groups=[f"{n:0200}" for n in range(30)]), NOW)
    assert caught.value.number is Number.TOKEN_UNTRUSTED


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4096))
def test_any_bytes_as_ticket_give_only_declared_errors(sealer, data):
    with pytest.raises(StrongroomError):
        verify(sealer, Ticket(authenticator=US, sealed=data))
