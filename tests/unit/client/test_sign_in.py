"""The parts of signing in that need no network."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.client.loopback import Expected, NotOurs, verify_redirect
from strongroom.client.results import Description, Method, NewSecret, Person, Place, Released
from strongroom.client.sign_in import SignInDesk, Ways
from strongroom.client.sign_in.browser import Request, authorization_url, pushed_url, verify_browser_url
from strongroom.client.sign_in.desk import _Held
from strongroom.protocol import messages
from strongroom.protocol.errors import StrongroomError, Untrusted
from strongroom.protocol.instructions import Audience, OidcPublic
from strongroom.protocol.messages import Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import Begun, Pushed

EXPECTED = Expected("/callback", "the-state", "https://login.example.com", iss_required=False)


REQUEST = Request("http://127.0.0.1:5000/callback", "s", b"s" * 32, "v" * 43)


def begun(endpoint, **more):
    fields: dict[str, Any] = {"acr_values": "", "max_age": 0, "pushed": False} | more
    return Begun(
        issuer="https://login.example.com",
        authorization_endpoint=endpoint,
        client_id="client & co",
        redirect_uri="http://127.0.0.1/callback",
        scope="openid email",
        iss_in_redirect=True,
        **fields,
    )


def test_the_request_holds_state_nonce_and_the_challenge_but_never_the_verifier():
    url = authorization_url(begun("https://login.example.com/auth?tenant=a"), REQUEST, nonce="n")
    assert url.startswith("https://login.example.com/auth?tenant=a&")
    assert parse_qs(urlsplit(url).query) == {
        "tenant": ["a"],
        "response_type": ["code"],
        "client_id": ["client & co"],
        "redirect_uri": ["http://127.0.0.1:5000/callback"],
        "scope": ["openid email"],
        "state": ["s"],
        "nonce": ["n"],
        "code_challenge": [urlsafe_b64encode(sha256(b"v" * 43).digest()).rstrip(b"=").decode()],
        "code_challenge_method": ["S256"],
    }
    assert "v" * 43 not in url


def test_a_second_factor_and_a_fresh_sign_in_are_asked_for():
    strict = begun("https://login.example.com/auth", acr_values="phr mfa", max_age=300)
    query = parse_qs(urlsplit(authorization_url(strict, REQUEST, nonce="n", prompt="login")).query)
    assert (query["acr_values"], query["max_age"], query["prompt"]) == (["phr mfa"], ["300"], ["login"])


def test_the_browser_carries_nothing_of_a_pushed_request():
    pushed = Pushed(request_uri="urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c")
    url = pushed_url(begun("https://login.example.com/auth?tenant=a", pushed=True), pushed)
    assert parse_qs(urlsplit(url).query) == {
        "tenant": ["a"],
        "client_id": ["client & co"],
        "request_uri": [pushed.request_uri],
    }


@pytest.mark.parametrize("url", ["https://login.example.com/auth?x=1", "http://127.0.0.1:3000/auth", "http://[::1]/a"])
def test_web_pages_may_be_opened(url):
    verify_browser_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "javascript:alert(1)", "file:///etc/passwd", "smb://server/share", "-private", "data:,x", "ms-settings:"),
        *("https://", "http://login.example.com/", "HTTP://login.example.com", "https://user@login.example.com"),
        *(
            "https://a/ --new-window",
            "https://a/\n",
            "https://a/#fragment",
            "https://a/`id`",
            'https://a/"',
            "https://[a",
        ),
    ],
)
def test_nothing_but_web_pages_is_opened(url):
    with pytest.raises(Untrusted):
        verify_browser_url(url)


def test_without_iss_in_the_redirect_a_provider_that_sends_none_is_accepted():
    assert verify_redirect("/callback?state=the-state&code=c", EXPECTED) == "c"
    with pytest.raises(Untrusted):
        verify_redirect("/callback?state=the-state&code=c&iss=https://other.example.com", EXPECTED)


@given(st.text())
@example("//[")
@example("/callback?state=the-state&code=\ud800")
def test_no_request_makes_anything_but_a_declared_outcome(target):
    with pytest.raises((NotOurs, StrongroomError)):
        verify_redirect(target, EXPECTED)


@given(st.text(alphabet="abc=&%;+?#[]/:the-state\ud800é", max_size=60))
def test_no_query_makes_anything_but_a_declared_outcome(query):
    try:
        code = verify_redirect(f"/callback?{query}", EXPECTED)
    except (NotOurs, StrongroomError):
        return
    assert "the-state" in query
    assert code


# --- tickets --------------------------------------------------------------------------------------------------

A, B = b"A" * 32, b"B" * 32
M, N = b"M" * 32, b"N" * 32


def oidc(digest, issuer, *channels):
    audiences = [Audience(channel=channel, client_id=channel, redirect_uri="") for channel in channels or ("native",)]
    return Method(digest, OidcPublic(issuer=issuer, audiences=audiences, scopes=["openid"]))


def desk(now=lambda: 0.0, issuer=None):
    return SignInDesk(
        None,  # type: ignore[arg-type]  # nothing is appraised here
        SigningKey.generate(),
        sign_in=None,
        issuer=issuer,
        signed_in=lambda person: None,
        now=now,
    )


def hold(desk, cluster, method, until=100.0):
    ticket = Ticket(authenticator=cluster, sealed=cluster[:1] + method[:1])
    principal = f"{method.hex()}:bob"
    desk._held[cluster, method] = _Held(ticket, until, Person("https://one", "bob", "bob@example.com", principal))
    return ticket


def test_tickets_are_found_by_authenticator_and_method():
    tickets = desk()
    mine = hold(tickets, A, M)
    hold(tickets, A, N)
    hold(tickets, B, M)
    assert tickets.find(Ways(frozenset({(A, M), (B, N)}), 1)) == [mine]
    assert tickets.find(Ways(frozenset({(B, N)}), 1)) == []


def test_a_quorum_counts_distinct_authenticators():
    tickets = desk()
    ways = Ways(frozenset({(A, M), (A, N), (B, M)}), 2)
    hold(tickets, A, M)
    hold(tickets, A, N)
    assert tickets.find(ways) == []
    hold(tickets, B, M)
    assert len(tickets.find(ways)) == 3


def test_tickets_end_and_are_discarded():
    now = [0.0]
    tickets = desk(now=lambda: now[0])
    old, new = hold(tickets, A, M, until=10), hold(tickets, B, M, until=20)
    assert tickets.all() == [new, old]
    now[0] = 10
    assert tickets.all() == [new]
    tickets.discard([new])
    assert tickets.all() == []


def test_only_the_provider_that_the_user_wants_counts():
    methods = (oidc(M, "https://one"), oidc(N, "https://two"))
    description = Description((Place("https://a", A, b""),), 1, methods)
    assert desk().ways(description).pairs == {(A, M), (A, N)}
    assert desk(issuer="https://two").ways(description).pairs == {(A, N)}


def test_the_ticket_of_the_person_an_address_names_goes_first():
    tickets = desk()
    google, passkey = hold(tickets, A, M), hold(tickets, A, N)
    ways = Ways(frozenset({(A, M), (A, N)}), 1)
    assert tickets.ordered([google, passkey], f"{N.hex()}:bob") == [passkey, google]
    assert tickets.ordered([google, passkey], "") == [google, passkey]
    assert [person.principal for person in tickets.people(ways)] == [f"{M.hex()}:bob", f"{N.hex()}:bob"]


def test_secrets_do_not_show():
    author = messages.Person(principal="", email="")
    for value in (
        Released(b"secret", b"secret", 1, author, None, 0),
        NewSecret(b"secret", b"secret", metadata=b"secret"),
    ):
        assert "secret" not in repr(value).replace("NewSecret", "")
