"""A site's statement: whom it may let in, and what it must not tell the whole world."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.methods import code_method, directory_method, oidc_method, workload_method
from strongroom.client.share.errors import Unreadable
from strongroom.client.share.site import parse_site, site_statement
from strongroom.protocol.codec import encode
from tests.support import policies

ORIGIN = "https://share.example.com"
WEB: dict[str, Any] = {"web_client_id": "page", "web_redirect_uri": f"{ORIGIN}/callback"}
OIDC = oidc_method("https://login.example.com", **WEB)
DIRECTORY = directory_method("ad.example.com", ["ldaps://ad.example.com"], base="dc=example,dc=com")
CODES = code_method("codes@example.com", "smtps://mail.example.com", domains=["example.com"])
SECRETS = {
    "client-secret": oidc_method("https://login.example.com", client_secret="s", **WEB),
    "mail-password": code_method(
        "codes@example.com", "smtps://mail.example.com", user="codes", password="s", domains=["example.com"]
    ),
}


def statement(*methods):
    role = policies.role()
    return site_statement(
        name="Example Ltd",
        policy=TrustPolicy(version=1, name="example", vault=role, authenticator=role, witnesses=[], cosignatures=0),
        vault="https://vault.example.com",
        authenticators=["https://authenticator.example.com"],
        namespace="share",
        methods=methods,
        max_bytes=1 << 30,
        default_days=14,
        max_days=90,
        contact="mailto:security@example.com",
    )


def with_method(method):
    """As somebody writes it who does not use our tool."""
    said = json.loads(statement(OIDC))
    return json.dumps(said | {"methods": [urlsafe_b64encode(encode(method)).rstrip(b"=").decode()]}).encode()


def test_people_may_sign_in_by_providers_directories_and_codes():
    assert parse_site(ORIGIN, statement(OIDC, DIRECTORY, CODES)).methods == (OIDC, DIRECTORY, CODES)


@pytest.mark.parametrize("method", SECRETS.values(), ids=SECRETS)
def test_no_secret_of_a_method_is_published(method):
    with pytest.raises(BadInput, match="the whole world would read"):
        statement(OIDC, method)
    with pytest.raises(Unreadable, match="has a secret"):
        parse_site(ORIGIN, with_method(method))


def test_methods_for_programs_are_none_of_a_site():
    with pytest.raises(Unreadable, match="none for people"):
        parse_site(ORIGIN, with_method(workload_method("https://ci.example.com")))
