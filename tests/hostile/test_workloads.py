"""Tokens of workloads: stolen, borrowed, made for others, or with claims that read as what they are not."""

import asyncio
import json
from base64 import urlsafe_b64decode
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from strongroom.enclave.authenticator.jwks import REFETCH_INTERVAL
from strongroom.enclave.authenticator.tokens import SKEW
from strongroom.enclave.authenticator.workloads import verify_workloads
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable, Untrusted
from strongroom.protocol.instructions import WorkloadMethod, WorkloadPublic, workload_audience
from strongroom.protocol.limits import MAX_TICKET_LIFE
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import TokenSignIn
from tests.support.evidence import changed
from tests.support.issuer import AUTHENTICATOR, EC, RSA, VAULT, Desk, Issuer, answer, base64url, public, sign
from tests.support.world import Platform

SUBJECT = "repo:example/app:ref:refs/heads/main"
BEARER = "https://keys.example.com"


@pytest.fixture
def platform(tmp_path):
    return Platform("authenticator", tmp_path / "machine")


@asynccontextmanager
async def at_issuer(platform):
    clock = Desk(platform).clock
    async with Issuer(clock).serving() as issuer:
        desk = Desk(platform, issuer)
        desk.method = workload_method(issuer.url)
        # What issuers of workload tokens say of themselves, and no more: nobody signs in there with a browser.
        issuer.metadata = {"authorization_endpoint": None, "token_endpoint": None}
        issuer.claims = {
            "sub": SUBJECT,
            "aud": workload_audience(AUTHENTICATOR, desk.binding_key),
            "nonce": None,
            "email": None,
            "email_verified": None,
        }
        yield desk, issuer


@pytest.fixture
async def place(platform):
    async with at_issuer(platform) as found:
        yield found


def workload_method(issuer, **changes):
    public_part = WorkloadPublic(issuer=issuer, audience=changes.pop("audience", ""))
    fields: dict[str, Any] = {"algorithms": ["RS256", "ES256", "EdDSA"], "keys": b"", "claims": []}
    return WorkloadMethod(public=public_part, **{**fields, **changes})


async def sign_in(desk, token):
    request = TokenSignIn(
        vault_cluster=VAULT, capsule=desk.capsule(), method=desk.digest, token=token, with_ticket=None
    )
    signed_in = await desk.service.handle(desk.caller(), request)
    (fact,) = desk.sealer.verify_ticket(
        signed_in.ticket, binding_key=desk.binding_key, vault_cluster=VAULT, now=desk.clock.now()
    )
    return fact


async def refusal(desk, token, family=Untrusted, number=Number.TOKEN_UNTRUSTED):
    with pytest.raises(family) as caught:
        await sign_in(desk, token)
    assert caught.value.number is number
    return caught.value.reason


async def test_a_workload_signs_in_with_a_token_made_for_its_binding_key(place):
    desk, issuer = place
    fact = await sign_in(desk, issuer.token())
    assert (fact.kind, fact.issuer, fact.subject) == ("workload", issuer.url, SUBJECT)
    assert (fact.channel, fact.phishable, fact.email, fact.groups, fact.mark) == ("direct", False, "", [], None)


async def test_a_stolen_token_counts_in_no_other_session(place):
    desk, issuer = place
    stolen = issuer.token()
    desk.binding_key = SigningKey.generate().public
    assert "binding key" in await refusal(desk, stolen)


async def test_a_token_for_another_authenticator_is_refused(place):
    desk, issuer = place
    issuer.claims["aud"] = workload_audience(b"B" * 32, desk.binding_key)
    assert "cluster" in await refusal(desk, issuer.token())


CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://evil.example"}, "iss"),
    "expired": ({"exp": -SKEW}, "expired"),
    "not valid yet": ({"nbf": SKEW + 30}, "not valid yet"),
    "issued in the future": ({"iat": SKEW + 30}, "issued in the future"),
    "no iat": ({"iat": None}, "claims"),
    "no exp": ({"exp": None}, "claims"),
    "no sub": ({"sub": None}, "claims"),
    "no aud": ({"aud": None}, "claims"),
    "the default audience": ({"aud": "https://github.com/example"}, "aud"),
    "sub of two lines": ({"sub": "a\nb"}, "sub"),
    "for a year": ({"exp": 365 * 24 * 3600}, "more than a day"),
    "for ever": ({"exp": 2**62}, "more than a day"),
    "issued before any number": ({"iat": -(10**400), "exp": 0.5}, "time"),
    "until after any number": ({"iat": 0.5, "exp": 10**400}, "time"),
    "valid since before any number": ({"nbf": -(10**400)}, "time"),
}


@pytest.mark.parametrize("name", CLAIMS)
async def test_claims_that_do_not_hold_are_refused(place, name):
    desk, issuer = place
    claims, reason = CLAIMS[name]
    now = issuer.clock.now()
    times = {key: now + value for key, value in claims.items() if isinstance(value, int | float)}
    issuer.claims = {**issuer.claims, **claims, **times}
    assert reason in await refusal(desk, issuer.token())


async def test_an_audience_may_stand_in_a_list(place):
    desk, issuer = place
    issuer.claims["aud"] = ["https://other.example", issuer.claims["aud"]]
    assert (await sign_in(desk, issuer.token())).subject == SUBJECT


async def test_another_key_is_refused_and_a_turned_one_is_fetched(place):
    desk, issuer = place
    await sign_in(desk, issuer.token())
    new = ECKey.generate_key("P-256")
    issuer.key, issuer.header = new, {"alg": "ES256", "kid": "new"}
    desk.platform.ahead = REFETCH_INTERVAL + 1
    assert "no such key" in await refusal(desk, issuer.token())
    issuer.keys = [public(new, kid="new")]
    desk.platform.ahead = 2 * (REFETCH_INTERVAL + 1)
    assert (await sign_in(desk, issuer.token())).subject == SUBJECT


async def test_a_token_is_not_taken_for_another_kind_of_method(place):
    """An ID token of a person at the same issuer has no such audience, and a person's method takes no tokens."""
    desk, issuer = place
    token = issuer.token()
    desk.method = Desk(desk.platform, issuer).method
    await refusal(desk, token, Misuse, Number.UNKNOWN_METHOD)


async def bearer(desk, issuer, **claims):
    now = issuer.clock.now()
    desk.method = workload_method(issuer.url, audience=BEARER)
    issuer.claims = {**issuer.claims, "aud": BEARER, "iat": now, "exp": now + 600, **claims}
    return issuer.token()


async def test_a_bearer_token_is_marked_for_the_key_that_used_it_first(place):
    desk, issuer = place
    token = await bearer(desk, issuer)
    first, again = await sign_in(desk, token), await sign_in(desk, token)
    assert first.mark == again.mark
    desk.binding_key = SigningKey.generate().public
    thief = await sign_in(desk, token)
    # Of one name and value, with another token: the Vault commits only one of them.
    assert (thief.mark.name, thief.mark.value) == (first.mark.name, first.mark.value) == (first.mark.name, 0)
    assert thief.mark.token != first.mark.token


async def test_a_signature_made_anew_from_another_gives_no_second_use(place):
    """Of an ECDSA signature (r, s), (r, n - s) verifies too; and base64 has spare bits at its end."""
    desk, issuer = place
    issuer.key, issuer.header = EC, {"alg": "ES256", "kid": "ec"}
    token = await bearer(desk, issuer)
    signed, _, signature = token.rpartition(".")
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = urlsafe_b64decode(signature + "==")
    r, s = raw[:32], int.from_bytes(raw[32:])
    twin = f"{signed}.{base64url(r + (n - s).to_bytes(32))}"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = token[:-1] + alphabet[alphabet.index(token[-1]) | 1]
    marks = [(await sign_in(desk, text)).mark.name for text in (token, twin, spare)]
    assert twin != token != spare
    assert len(set(marks)) == 1


async def test_a_bearer_token_counts_for_one_key_whatever_definitions_name_its_issuer(place):
    """Two records whose definitions differ in a word, or a record with two: the thief takes the other one."""
    desk, issuer = place
    token = await bearer(desk, issuer)
    owner = await sign_in(desk, token)
    desk.binding_key = SigningKey.generate().public
    same = listed(public(RSA, kid="rsa"), public(EC, kid="ec"))
    for other in ({"claims": ["ref"]}, {"keys": same}, {"algorithms": ["RS256"]}):
        desk.method = workload_method(issuer.url, audience=BEARER, **other)
        thief = await sign_in(desk, token)
        assert thief.method != owner.method
        assert (thief.marked_as, thief.mark.name) == (owner.marked_as, owner.mark.name)
        assert thief.mark.token != owner.mark.token


async def test_keys_listed_under_somebody_else_s_issuer_mark_none_of_its_workloads(place):
    """Or a depositor would fill the row of marks of whatever workload he likes, and keep it out."""
    desk, issuer = place
    genuine = await sign_in(desk, await bearer(desk, issuer))
    own = ECKey.generate_key("P-256")
    desk.method = workload_method(issuer.url, audience=BEARER, keys=listed(public(own, kid="own")))
    issuer.key, issuer.header = own, {"alg": "ES256", "kid": "own"}
    forged = await sign_in(desk, issuer.token())
    assert (forged.issuer, forged.subject) == (genuine.issuer, genuine.subject)
    assert forged.marked_as != genuine.marked_as


async def test_each_workload_has_marks_of_its_own(place):
    desk, issuer = place
    one = await sign_in(desk, await bearer(desk, issuer))
    other = await sign_in(desk, await bearer(desk, issuer, sub="repo:example/other"))
    assert one.marked_as != other.marked_as
    assert one.mark.name != other.mark.name


async def test_a_mark_outlives_every_ticket_that_the_token_gives(place):
    """Else a thief signs in just before the token ends, and uses the ticket when the owner's mark is forgotten."""
    desk, issuer = place
    token = await bearer(desk, issuer)
    desk.platform.ahead = 600 + SKEW - 2
    fact = await sign_in(desk, token)
    assert fact.mark.expires_at > desk.clock.now() + MAX_TICKET_LIFE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"life": 601}, "more than ten minutes"),
        ({"aud": [BEARER, "https://other.example"]}, "alone"),
        ({"aud": "https://other.example"}, "alone"),
        ({"aud": []}, "alone"),
    ],
)
async def test_a_bearer_token_that_others_hold_or_that_lives_long_is_refused(place, claims, reason):
    desk, issuer = place
    life = claims.pop("life", 600)
    token = await bearer(desk, issuer, exp=issuer.clock.now() + life, **claims)
    assert reason in await refusal(desk, token)


async def test_a_token_bound_to_the_key_is_no_bearer_token(place):
    desk, issuer = place
    token = issuer.token()
    desk.method = workload_method(issuer.url, audience=BEARER)
    assert "aud" in await refusal(desk, token)


KUBERNETES = {"namespace": "prod", "pod": {"name": "web-1"}, "serviceaccount": {"name": "web", "uid": "7"}}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("repository", ["repository=example/app"]),
        ("kubernetes.io.serviceaccount.name", ["kubernetes.io.serviceaccount.name=web"]),
        ("run.number", ["run.number=7"]),
        ("run.ratio", ["run.ratio=0.5"]),
        ("protected", ["protected=true"]),
        ("forked", ["forked=false"]),
        ("empty", ["empty="]),
        ("absent", []),
        ("repository.name", []),
        ("kubernetes.io.absent", []),
        ("sub", [f"sub={SUBJECT}"]),
    ],
)
async def test_named_claims_become_facts(place, name, found):
    desk, issuer = place
    issuer.claims |= {
        "repository": "example/app", "kubernetes.io": KUBERNETES, "run": {"number": 7, "ratio": 0.5},
        "protected": True, "forked": False, "empty": "",
    }  # fmt: skip
    desk.method = workload_method(issuer.url, claims=[name])
    assert (await sign_in(desk, issuer.token())).claims == found


@pytest.mark.parametrize(
    ("claims", "name", "reason"),
    [
        ({"kubernetes.io": KUBERNETES}, "kubernetes.io", "no text"),
        ({"list": ["a"]}, "list", "no text"),
        ({"nothing": None}, "nothing.inner", None),
        ({"inner": {"nothing": None}}, "inner.nothing", "no text"),
        ({"a.b": "x", "a": {"b": "y"}}, "a.b", "twice"),
        ({"a": {"b.c": "x"}, "a.b": {"c": "y"}}, "a.b.c", "twice"),
        ({"long": "x" * 508}, "long", "too long"),
        ({"long": "x" * 507}, "long", None),
    ],
)
async def test_a_claim_that_cannot_be_told_exactly_is_refused_never_left_out(place, claims, name, reason):
    desk, issuer = place
    issuer.claims |= claims
    desk.method = workload_method(issuer.url, claims=[name])
    if reason is None:
        await sign_in(desk, issuer.token())
    else:
        assert reason in await refusal(desk, issuer.token())


def listed(*keys):
    return json.dumps({"keys": keys}).encode()


async def test_listed_keys_are_used_without_a_call(place):
    """A cluster whose issuer is an address inside of it, and a bundle of SPIFFE with a key for certificates."""
    desk, issuer = place
    issuer.claims["iss"] = "https://kubernetes.default.svc.cluster.local"
    bundle = listed(public(EC, use="x509-svid"), public(RSA, kid="rsa", use="jwt-svid"))
    desk.method = workload_method("https://kubernetes.default.svc.cluster.local", keys=bundle)
    assert (await sign_in(desk, issuer.token())).subject == SUBJECT
    issuer.header["kid"] = "unknown"
    assert "no such key" in await refusal(desk, issuer.token())
    assert not issuer.calls


async def test_a_key_for_certificates_signs_no_tokens(place):
    desk, issuer = place
    bundle = listed(public(EC, kid="ec", use="jwt-svid"), public(RSA, kid="rsa", use="x509-svid"))
    desk.method = workload_method(issuer.url, keys=bundle)
    assert "no such key" in await refusal(desk, issuer.token())


@pytest.mark.parametrize(
    ("body", "status", "headers", "reason"),
    [
        (b"x" * 10_000_000, 200, (), "discovery: the answer is too large"),
        (b"{}", 302, ("location: http://127.0.0.1/",), "discovery: redirects are not followed"),
        (
            b'{"issuer": "https://evil.example", "jwks_uri": "x"}',
            200,
            (),
            "discovery: the document is another issuer's",
        ),
    ],
)
async def test_an_issuer_that_lies_is_unavailable(place, body, status, headers, reason):
    desk, issuer = place

    async def lie(writer, _):
        await answer(writer, body, status, *headers)

    issuer.routes["/.well-known/openid-configuration"] = lie
    assert await refusal(desk, issuer.token(), Unavailable, Number.PROVIDER_UNAVAILABLE) == reason


async def test_keys_inside_the_network_are_not_fetched(place):
    desk, issuer = place
    issuer.metadata["jwks_uri"] = "https://169.254.169.254/latest/meta-data"
    reason = await refusal(desk, issuer.token(), Refused, Number.DESTINATION_REFUSED)
    assert reason.startswith("JWKS: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audience": workload_audience(AUTHENTICATOR, SigningKey.generate().public)}, "audience"),
        ({"audience": "two words"}, "audience"),
        ({"claims": ["a=b"]}, "claim"),
        ({"claims": [""]}, "claim"),
        ({"claims": ["a..b"]}, "claim"),
        ({"claims": [".".join("a" * 10)]}, "dots"),
        ({"claims": ["a "]}, "claim"),
        ({"claims": ["a", "a"]}, "twice"),
        ({"keys": b"x"}, "keys"),
        ({"keys": listed()}, "keys"),
        ({"keys": listed({"kty": "oct", "k": "AAAA"})}, "keys"),
        ({"keys": listed(public(RSA)), "algorithms": ["ES256"]}, "keys"),
        ({"keys": listed(public(RSA)), "issuer": "two words"}, "issuer"),
        ({"issuer": "ftp://issuer.example"}, "issuer"),
        ({"issuer": "https://login.microsoftonline.com/common/v2.0"}, "issuer"),
    ],
)
def test_a_malformed_definition_is_refused_with_the_field_named(platform, changes, reason):
    method = workload_method("https://issuer.example")
    inner = {name: changes[name] for name in ("audience", "issuer") if name in changes}
    outer = {name: value for name, value in changes.items() if name not in inner}
    with pytest.raises(Misuse) as caught:
        verify_workloads(changed(method, public=changed(method.public, **inner), **outer), Egress(platform))
    assert caught.value.number is Number.METHOD_INVALID
    assert reason in caught.value.reason


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(min_size=1, max_size=300),
        st.tuples(*[st.binary(max_size=200).map(base64url)] * 3).map(".".join).filter(bool),
        st.dictionaries(st.text(max_size=9), st.none() | st.integers() | st.text(max_size=9), max_size=9).map(
            lambda claims: sign({"alg": "ES256", "kid": "ec"}, claims, EC)
        ),
    )
)
def test_any_text_as_token_gives_only_declared_errors(platform, text):
    desk = Desk(platform)
    desk.method = workload_method("issuer", keys=listed(public(EC, kid="ec")), claims=["a", "sub"])
    asyncio.run(refusal(desk, text))
