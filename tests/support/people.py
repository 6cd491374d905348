"""Sign-ins of people for tests of rules, by methods of every kind."""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.client.methods import (
    code_method,
    directory_method,
    enclave_method,
    keys_method,
    oidc_method,
    passkey_method,
    workload_method,
)
from strongroom.client.policy import Policy
from strongroom.protocol.authenticator_messages import RecordFacts
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Refused
from strongroom.protocol.evaluation import evaluate, parse_rules, verify_permitted
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import Action, Method, OidcMethod, Passkey, WorkloadMethod, method_digest
from tests.support import policies

NOW = 1_795_685_459
"""Thursday 26 November 2026, 09:30:59 UTC."""
GROUP = "CN=Keys,OU=Groups,DC=example,DC=com"
TENANT = "11111111-2222-3333-4444-555555555555"
OBJECT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def ssh_key(name: str) -> str:
    """Always the same one."""
    private = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


OIDC = oidc_method("https://login.example.com", "native", device_client_id="device")
OTHER = oidc_method("https://other.example.com", "native")
WEB = oidc_method("https://web.example.com", "n", web_client_id="w", web_redirect_uri="https://share.example.com/back")
DIRECTORY = directory_method("ad.example.com", ["ldaps://dc1.example.com"], base="DC=example,DC=com", groups=[GROUP])
WORKLOADS = workload_method("https://token.actions.githubusercontent.com", claims=["repository", "ref"])
KEYS = keys_method({"bob": ssh_key("bob"), "carol": ssh_key("carol")})
PASSKEYS = passkey_method(
    "share.example.com",
    ["https://share.example.com"],
    [Passkey(person="bob", credential_id=b"c", public_key=b"k")],
)
ENCLAVES = enclave_method({"signer": policies.role(sgx=policies.sgx(measurements=[bytes(32)]))})
CODES = code_method("keys@example.com", "smtps://mail.example.com", addresses=["bob@example.com"], domains=["dom.org"])


def signed_in(method: Method, subject: str, **changes: Any) -> Fact:
    """By a method, with what it proves."""
    issuer = method.public.issuer if isinstance(method, OidcMethod | WorkloadMethod) else ""
    channel = {"oidc": "native", "passkey": "web"}.get(method.kind, "direct")
    found = fact(method_digest(encode(method)), method.kind, subject)
    return msgspec.structs.replace(found, **({"issuer": issuer, "channel": channel} | changes))


def record(**changes: Any) -> RecordFacts:
    found = RecordFacts(kind="secret", depositor="", approvals=[], idle_days=None, time=None)
    return msgspec.structs.replace(found, **changes)


def principal(method: Method, subject: str) -> str:
    return f"{method_digest(encode(method)).hex()}:{subject}"


def allowed(policy: Policy, *facts: Fact, action: Action = "collect", **about: Any) -> bool:
    """Whether the Authenticator would say OK to these sign-ins on one ticket."""
    try:
        verify_permitted(evaluate(parse_rules(policy.cedar), action, record(**about), facts, NOW))
    except Refused:
        return False
    return True
