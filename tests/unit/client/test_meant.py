"""Who meets another enclave than they meant is told which, and what to do."""

import pytest

from strongroom.client.meant import AnotherEnclave, verify_meant
from strongroom.client.recovery import more_wanted
from strongroom.protocol.errors import Number, Untrusted
from tests.support.evidence import Cluster


def shown(role="vault", **changes):
    cluster = Cluster(role)
    return cluster.evidence(cluster.claims(**changes))


def test_another_role_is_named_with_the_option_that_was_left_out():
    with pytest.raises(AnotherEnclave, match="role authenticator; vault was expected") as caught:
        verify_meant(shown("authenticator"), "vault")
    assert "--role authenticator" in caught.value.hint
    with pytest.raises(AnotherEnclave) as caught:
        verify_meant(shown(), "authenticator")
    assert "leave --role out" in caught.value.hint
    verify_meant(shown("authenticator"), "authenticator")


@pytest.mark.parametrize(("stage", "said"), [("founding", "is being founded"), ("joining", "it joins a cluster")])
def test_an_enclave_that_does_not_serve_yet_is_one_to_wait_for(stage, said):
    """It is untrusted all the same: whoever runs it may say so of anything."""
    with pytest.raises(Untrusted, match=said) as caught:
        verify_meant(shown(stage=stage), "vault")
    assert caught.value.number is Number.EVIDENCE
    assert "strongroom status" in caught.value.hint
    verify_meant(shown(stage=stage), "vault", stage)


def test_one_that_serves_is_not_the_one_that_is_to_be_founded():
    with pytest.raises(AnotherEnclave, match="is member; founding was expected"):
        verify_meant(shown(), "vault", "founding")


def test_what_is_no_evidence_is_refused():
    with pytest.raises(Untrusted):
        verify_meant(b"x", "vault")


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [(1, "", "1 more is wanted"), (2, "", "2 more are wanted"), (1, "signature", "1 more signature is wanted")],
)
def test_one_is_and_two_are(number, what, said):
    assert more_wanted(number, what) == said
