"""ID tokens as the named providers write them, and sign-ins weaker than a method asks for."""

import pytest
from joserfc.jwk import RSAKey

from strongroom.client.methods import oidc_method
from strongroom.enclave.authenticator.methods import MAX_MAX_AGE, verify_method
from strongroom.enclave.authenticator.tokens import SKEW
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.errors import Misuse, Number, Unavailable, Untrusted
from tests.support.evidence import changed
from tests.support.issuer import CLIENT_ID, EC, RSA, desk_at_issuer, public, refusal
from tests.support.world import Platform

TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"


@pytest.fixture
def platform(tmp_path):
    return Platform("authenticator", tmp_path / "machine")


@pytest.fixture
async def place(platform):
    async with desk_at_issuer(platform) as found:
        yield found


def move_to(issuer, path):
    """An issuer with a path, as Entra's and AD FS's have."""
    routes = issuer.routes
    issuer.url += path
    folder = path.rstrip("/")
    issuer.routes = {f"{folder}{route}": answered for route, answered in routes.items()}
    issuer.metadata = {name: f"{issuer.url.rstrip('/')}/{at}" for name, at in (("token_endpoint", "token"),
                                                                             ("jwks_uri", "jwks"))}  # fmt: skip


@pytest.mark.parametrize("path", [f"/{TENANT}/v2.0", f"/{TENANT}/", "/adfs", "/realms/example", "/oauth2/default"])
async def test_an_issuer_may_have_a_path_with_or_without_a_slash_at_its_end(place, path):
    """Entra v2 and v1, AD FS, Keycloak, Okta."""
    desk, issuer = place
    move_to(issuer, path)
    desk.method = oidc_method(issuer.url, CLIENT_ID)
    assert desk.fact(await desk.sign_in()).issuer == issuer.url
    desk.method = oidc_method(issuer.url.removesuffix("/") if path.endswith("/") else f"{issuer.url}/", CLIENT_ID)
    assert "another issuer's" in await refusal(desk.sign_in(), Unavailable, Number.PROVIDER_UNAVAILABLE)


async def test_entra_names_tenant_and_object(place):
    desk, issuer = place
    issuer.claims = {"tid": TENANT, "oid": "o" * 36, "ver": "2.0", "email_verified": None, "wids": ["w"]}
    fact = desk.fact(await desk.sign_in())
    assert (fact.tid, fact.oid, fact.email) == (TENANT, "o" * 36, "")


@pytest.mark.parametrize(
    "claims",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}},
        {"_claim_names": {"roles": "src1"}},
        {"hasgroups": True},
        {"hasgroups": "true"},
    ],
)
async def test_groups_that_entra_leaves_out_are_a_clear_refusal(place, claims):
    """Else `forbid` for a group would not fire for somebody who is in two hundred others."""
    desk, issuer = place
    issuer.claims = {"groups": ["g"], **claims}
    assert "left groups out (too many)" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"groups": ["b", "a", "a"]}, ["a", "b"]),
        ({"group": "one"}, ["one"]),
        ({"group": ["one", "two"], "groups": "three"}, ["one", "three", "two"]),
        ({"strongroom_groups": ["keys"]}, ["keys"]),
        ({"roles": ["Keys.Read"]}, ["Keys.Read"]),
        ({"groups": ["g"], "roles": ["r"], "hasgroups": False}, ["g", "r"]),
        ({"cognito:groups": ["x"], "https://other.example/groups": ["y"], "wids": ["z"], "role": "r"}, []),
    ],
)
async def test_groups_become_facts_by_the_names_that_providers_have_for_them(place, claims, groups):
    """AD FS says `group`, and writes a single one as a text; Entra's app roles are `roles`; Auth0 reserves both."""
    desk, issuer = place
    issuer.claims = claims
    assert desk.fact(await desk.sign_in()).groups == groups


@pytest.mark.parametrize(("verified", "email"), [(False, ""), (0, ""), ("0", ""), (True, "b@corp.example")])
async def test_an_address_of_entra_whose_domain_nobody_owns_is_no_fact(place, verified, email):
    """A guest's own tenant may claim any address; `xms_edov` says whether it owns the domain."""
    desk, issuer = place
    desk.method = oidc_method(issuer.url, CLIENT_ID, email_domains=["corp.example"])
    issuer.claims = {"email": "b@corp.example", "email_verified": None, "xms_edov": verified}
    assert (await desk.sign_in()).email == email


async def test_google_names_the_hosted_domain(place):
    desk, issuer = place
    issuer.claims = {"hd": "example.com", "azp": CLIENT_ID}
    assert desk.fact(await desk.sign_in()).hd == "example.com"


@pytest.mark.parametrize("key_id", [{}, {"kid": "rsa"}])
async def test_keys_without_alg_and_without_kid_are_used_when_there_is_one(place, key_id):
    desk, issuer = place
    assert "alg" not in public(RSA)
    issuer.keys = [{**public(RSA), **key_id}, public(EC, kid="ec")]
    issuer.header = {"alg": "RS256"}
    assert (await desk.sign_in()).subject == "bob"


async def test_a_token_without_kid_is_refused_where_several_keys_could_fit(place):
    desk, issuer = place
    issuer.keys = [public(RSA, kid="a"), public(RSAKey.generate_key(2048), kid="b")]
    issuer.header = {"alg": "RS256"}
    assert "no such key" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_a_key_without_kid_serves_no_token_that_names_one(place):
    desk, issuer = place
    issuer.keys = [public(RSA)]
    assert "no such key" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


@pytest.mark.parametrize("acr", [None, "", "pwd", "mfa2", "MFA", "mfa phr"])
async def test_a_sign_in_with_another_acr_than_the_method_asks_for_is_refused(place, acr):
    desk, issuer = place
    desk.method = changed(desk.method, acr_values=["mfa", "phr"])
    issuer.claims = {"acr": acr}
    assert "acr" in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)
    issuer.claims = {"acr": "phr"}
    assert desk.fact(await desk.sign_in()).acr == "phr"


@pytest.mark.parametrize(
    ("ago", "reason"),
    [
        (300 + SKEW + 5, "longer ago"),
        (-SKEW - 30, "future"),
        (None, "no auth_time"),
        ("text", "no auth_time"),
        ("true", "no auth_time"),
    ],
)
async def test_a_sign_in_longer_ago_than_the_method_allows_is_refused(place, ago, reason):
    desk, issuer = place
    desk.method = changed(desk.method, max_age=300)
    times = {"text": "2026-01-01T00:00:00Z", "true": True, None: None}
    issuer.claims = {"auth_time": times[ago] if ago in times else issuer.clock.now() - ago}
    assert reason in await refusal(desk.sign_in(), Untrusted, Number.TOKEN_UNTRUSTED)


async def test_a_sign_in_just_now_fits_every_max_age(place):
    desk, issuer = place
    desk.method = changed(desk.method, max_age=1)
    issuer.claims = {"auth_time": issuer.clock.now()}
    assert desk.fact(await desk.sign_in()).auth_time == issuer.claims["auth_time"]


async def test_a_date_as_text_is_no_auth_time(place):
    """AD FS; no rule that asks for the age of a sign-in holds then."""
    desk, issuer = place
    issuer.claims = {"auth_time": "2026-01-01T00:00:00.000Z"}
    assert desk.fact(await desk.sign_in()).auth_time is None


async def test_begin_says_what_to_ask_for(place):
    desk, _ = place
    desk.method = changed(desk.method, acr_values=["mfa", "phr"], max_age=300)
    begun = await desk.begin()
    assert (begun.acr_values, begun.max_age, begun.pushed) == ("mfa phr", 300, False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"acr_values": ["two words"]}, "acr"), ({"acr_values": [""]}, "acr"), ({"max_age": MAX_MAX_AGE + 1}, "max_age")],
)
def test_a_malformed_definition_is_refused_with_the_field_named(platform, changes, reason):
    with pytest.raises(Misuse) as caught:
        verify_method(changed(oidc_method("https://login.example", CLIENT_ID), **changes), Egress(platform))
    assert caught.value.number is Number.METHOD_INVALID
    assert reason in caught.value.reason
