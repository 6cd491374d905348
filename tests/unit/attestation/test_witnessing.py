import pytest

from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.witnessing import accept_witnesses
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import Watchers, parse_evidence
from tests.support import policies
from tests.support.evidence import Cluster

KEYS = [policies.witness_key(at) for at in range(4)]


def accept(shown, number, expected, wanted, named=None):
    genesis = parse_evidence(Cluster("vault", witnesses=shown, cosignatures=number).evidence())[2]
    accept_witnesses(genesis, named, TrustPolicy(1, "house", policies.role(), policies.role(), expected, wanted))


def test_the_order_of_witnesses_does_not_matter():
    accept(KEYS[:3], 2, KEYS[2::-1], 2)
    accept([], 0, [], 0)


@pytest.mark.parametrize(
    ("shown", "number", "expected", "wanted", "reason"),
    [
        ([], 0, KEYS[:3], 2, "names a witness that its cluster does not have: 'witness-0.example"),
        (KEYS[:3], 2, [], 0, "its cluster has a witness that the policy does not name: 'witness-"),
        (KEYS[1:4], 2, KEYS[:3], 2, "'witness-3.example"),
        (KEYS[:2], 2, KEYS[:3], 2, "'witness-2.example"),
        (KEYS[:3], 3, KEYS[:3], 2, "asks for 3 of 3 witnesses, the policy for 2 of 3"),
        (KEYS[:3], 0, KEYS[:3], 2, "asks for 0 of 3 witnesses, the policy for 2 of 3"),
        ([*KEYS[:3], KEYS[0]], 2, KEYS[:3], 2, "asks for 2 of 4 witnesses"),
        (["\x1b[2J"], 1, KEYS[:3], 2, r"'\x1b[2J'"),
    ],
)
def test_a_cluster_with_other_witnesses_is_refused_with_the_difference(shown, number, expected, wanted, reason):
    with pytest.raises(Untrusted) as caught:
        accept(shown, number, expected, wanted)
    assert caught.value.number is Number.POLICY
    assert reason in caught.value.reason


def test_those_whom_custodians_named_count_in_the_place_of_those_of_the_founding():
    named = Watchers(witnesses=KEYS[2:], cosignatures=2)
    accept(KEYS[:3], 2, KEYS[:1:-1], 2, named)
    accept([], 0, KEYS[2:], 2, named)


@pytest.mark.parametrize(("expected", "wanted"), [(KEYS[:3], 2), ([], 0), (KEYS[2:], 1), (KEYS[2:3], 1)])
def test_who_has_pinned_others_is_told_that_custodians_have_named_these(expected, wanted):
    with pytest.raises(Untrusted) as caught:
        accept(KEYS[:3], 2, expected, wanted, Watchers(witnesses=[*KEYS[2:], "\x1b[2J"], cosignatures=2))
    assert caught.value.number is Number.POLICY
    assert "its custodians have named other witnesses at a recovery" in caught.value.reason
    assert "2 of 'witness-2.example" in caught.value.reason
    assert r"'\x1b[2J'" in caught.value.reason
    assert "\x1b" not in caught.value.reason
