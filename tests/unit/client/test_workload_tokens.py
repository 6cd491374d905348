"""What this client reads of a workload's token, so that its owner is told what the Authenticator would only refuse."""

import json
from base64 import urlsafe_b64encode

import pytest

from strongroom.client.errors import BadInput
from strongroom.client.sign_in.workload import MAX_BEARER_LIFE, verify_life
from tests.support.people import NOW


def token(**claims):
    body = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.c2ln"


@pytest.mark.parametrize(
    ("claims", "at_most", "words"),
    [
        ({"iat": NOW - 900, "exp": NOW - 300}, None, "has expired, 5 minutes ago"),
        ({"iat": NOW - 900, "exp": NOW - 90}, MAX_BEARER_LIFE, "has expired, 90 seconds ago"),
        (
            {"iat": NOW, "exp": NOW + 3600},
            MAX_BEARER_LIFE,
            "lives for 60 minutes, and one that anybody may use for at ",
        ),
        ({"iat": NOW}, None, "does not say when it expires"),
        ({"exp": "soon"}, None, "does not say when it expires"),
        ({"exp": 10**400}, None, "does not say when it expires"),
        ({"exp": float("nan")}, None, "does not say when it expires"),
    ],
)
def test_a_token_that_has_expired_or_lives_too_long_is_named(claims, at_most, words):
    with pytest.raises(BadInput, match=words):
        verify_life(token(**claims), NOW, at_most=at_most)


@pytest.mark.parametrize(
    ("claims", "at_most"),
    [
        ({"iat": NOW, "exp": NOW + 600}, MAX_BEARER_LIFE),
        ({"exp": NOW + 3600}, MAX_BEARER_LIFE),  # without iat the Authenticator says what it misses
        ({"iat": -(10**400), "exp": NOW + 600}, MAX_BEARER_LIFE),
        ({"iat": NOW, "exp": NOW + 3600}, None),
        ({"iat": NOW - 600, "exp": NOW - 30}, None),  # clocks differ
    ],
)
def test_a_token_that_may_do_is_sent(claims, at_most):
    verify_life(token(**claims), NOW, at_most=at_most)
