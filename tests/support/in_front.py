"""Users in front of pages of the browser SDK, at a `ServedWorld` whose provider signs pages in."""

import dataclasses
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy
from strongroom.protocol.errors import StrongroomError
from tests.support.issuer import CLIENT_ID
from tests.support.page import Page
from tests.support.served import ServedWorld

SECRET = b"AGE-SECRET-KEY-PQ-1 is not for everybody"
CALLBACK = "http://127.0.0.1:4173/callback"
WEB_ID = "strongroom-page"


def web_method(served, **changes):
    return oidc_method(
        served.issuer.url,
        CLIENT_ID,
        web_client_id=WEB_ID,
        web_redirect_uri=CALLBACK,
        scopes=("openid", "email"),
        **changes,
    )


@asynccontextmanager
async def opened(folder):
    async with ServedWorld.open(folder) as served:
        served.method = web_method(served)
        await served.namespace("share")
        yield served


class InFront:
    """A user in front of a page: signs in as the first of `people`, then as the next."""

    def __init__(self, served, *people):
        self.served = served
        self.people = list(people)
        self.queries = []
        self.back = {}

    async def authorize(self, event):
        query = {name: values[0] for name, values in parse_qs(urlsplit(event["url"]).query).items()}
        self.queries.append(query)
        assert (query["client_id"], query["redirect_uri"]) == (WEB_ID, CALLBACK)
        who = self.people[min(len(self.queries), len(self.people)) - 1]
        issuer = self.served.issuer
        issuer.nonce = query["nonce"]
        issuer.claims |= {"sub": who, "email": f"{who}@example.com", "aud": WEB_ID}
        back = {"code": "a-code", "state": query["state"], "iss": issuer.url} | self.back
        return {"untrustedQuery": "?" + urlencode(back)}


def page(served, *people, user=None, passkey=None, trust=None, return_to=None, directories=(), **typed):
    """`code` and `password`: who is asked to type one. `directories`: digests that were approved of, in hex."""
    user = user or InFront(served, *people)

    async def sign(event):
        said = passkey.sign_in(event["challenge"], origin="http://localhost:4173", rp_id="localhost")
        return dataclasses.asdict(said)

    events = {"authorize": user.authorize, "assert": sign, **typed}
    return Page.open(served.vault.url, trust or served.trust, events, return_to, directories)


def python(served, who):
    """Python's SDK signs in natively: the issuer's tokens are for that client then."""
    served.issuer.claims["aud"] = CLIENT_ID
    return served.sdk(who)


async def stored(served, *recipients, **options):
    async with python(served, "alice") as alice:
        return await alice.store(SECRET, namespace="share", instructions=served.for_(*recipients), **options)


async def stored_by(served, rules, *methods):
    """Address of what alice stores under these rules; beside her method, these sign people in."""
    instructions = served.instructions(
        rules | Policy.depositor_may("update", "delete"), methods=[served.method, *methods]
    )
    async with python(served, "alice") as alice:
        return (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()


def terms(**changes):
    fields = {"expires_at": 0, "max_opens": 0, "closed": False, "fillable": False, "blob": None, "blob_bytes": 0}
    return fields | changes


async def number_of(work):
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number
