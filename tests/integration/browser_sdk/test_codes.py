"""Codes that come by e-mail from a real mail server, and are typed into pages; and records that no page can open."""

from uuid import uuid4

import pytest

from strongroom import Refused
from strongroom.client.methods import code_method, workload_method
from strongroom.client.policy import Policy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.link import Operation
from tests.support.in_front import SECRET, number_of, page, python, stored_by
from tests.support.mailbox import Mailbox
from tests.support.passkeys import SoftwarePasskey, method_of

BOB = "bob@example.com"


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


def codes_of(mailbox, address):
    """Of each test its own definition: how many codes one sends is limited."""
    own = f"{uuid4().hex}@example.com"
    return code_method("codes@example.org", mailbox.url, addresses=[address, own], certificates=mailbox.certificates)


async def for_bob(served, mailbox):
    """A record whose one reader has no account anywhere, but a mailbox."""
    method = codes_of(mailbox, BOB)
    bob = Policy.anyone_with_email(BOB, method=method).allow_phishable().may("collect")
    return await stored_by(served, bob, method), method


class AtTheMailbox:
    """A user who asks for codes to `address` and types what came there; or `typed`, one after the other, before."""

    def __init__(self, mailbox, address, *typed):
        self.mailbox, self.address, self.typed = mailbox, address, list(typed)
        self.before = mailbox.count(address)
        self.asked = []

    async def __call__(self, event):
        self.asked.append(event)
        if event["problem"] == Number.THROTTLED:
            return None
        if event["email"] is None or not event["triesLeft"]:
            return {"email": self.address}
        if self.typed:
            return self.typed.pop(0)
        sends = sum(one["triesLeft"] == 5 and one["problem"] is None for one in self.asked)
        return {"code": self.mailbox.code(self.address, self.before + sends)}


async def by_code(somebody, address):
    """Sign in with the code, though there is a provider."""
    (method,) = [one for one in (await somebody.call("describe", address))["methods"] if one["kind"] == "email-code"]
    return await somebody.call("signIn", address, {"method": method})


async def test_who_has_no_account_opens_with_a_code_that_came_by_mail(served, mailbox):
    address, method = await for_bob(served, mailbox)
    user = AtTheMailbox(mailbox, BOB)
    async with page(served, code=user) as bob:
        person = await by_code(bob, address)
        assert (person["email"], person["provider"]) == (BOB, "codes@example.org")
        assert person["principal"] == f"{method_digest(encode(method)).hex()}:{BOB}"
        assert (await bob.call("collect", address))["secret"] == SECRET
    assert [(one["email"], one["triesLeft"]) for one in user.asked] == [(None, 0), (BOB, 5)]
    assert mailbox.count(BOB) == user.before + 1


async def test_a_code_pasted_with_what_stood_around_it_counts(served, mailbox):
    address, _ = await for_bob(served, mailbox)

    class Pasting(AtTheMailbox):
        async def __call__(self, event):
            answer = await super().__call__(event)
            return {"code": f" {answer['code'][:4]}\u2013{answer['code'][4:]}\n"} if "code" in answer else answer

    async with page(served, code=Pasting(mailbox, BOB)) as bob:
        assert (await by_code(bob, address))["email"] == BOB


async def test_a_wrong_code_is_told_and_the_next_try_counts(served, mailbox):
    address, _ = await for_bob(served, mailbox)
    user = AtTheMailbox(mailbox, BOB, {"code": "00000000"}, {"code": "00000001"})
    async with page(served, code=user) as bob:
        assert (await by_code(bob, address))["email"] == BOB
    assert [(one["triesLeft"], one["problem"]) for one in user.asked[1:]] == [
        (5, None),
        (4, Number.SIGN_IN_REFUSED),
        (3, Number.SIGN_IN_REFUSED),
    ]


async def test_after_five_tries_another_code_is_needed(served, mailbox):
    address, _ = await for_bob(served, mailbox)
    user = AtTheMailbox(mailbox, BOB, *({"code": f"0000000{at}"} for at in range(5)))
    async with page(served, code=user) as bob:
        assert (await by_code(bob, address))["email"] == BOB
    assert [one["triesLeft"] for one in user.asked] == [0, 5, 4, 3, 2, 1, 0, 5]
    assert mailbox.count(BOB) == user.before + 2


async def test_a_sixth_try_is_not_even_sent(served, mailbox):
    address, _ = await for_bob(served, mailbox)
    asked = []

    async def insisting(event):
        asked.append((event["triesLeft"], event["problem"], served.authenticator.count(Operation.FRAME)))
        if event["email"] is None:
            return {"email": BOB}
        return {"code": "00000000"} if len(asked) < 9 else None

    async with page(served, code=insisting) as bob:
        assert await number_of(by_code(bob, address)) == Number.SIGN_IN_PENDING
    assert [left for left, _, _ in asked] == [0, 5, 4, 3, 2, 1, 0, 0, 0]
    assert len({frames for left, problem, frames in asked if left == 0 and problem}) == 1


async def test_who_is_not_named_is_answered_alike_and_gets_no_mail(served, mailbox):
    address, _ = await for_bob(served, mailbox)
    user = AtTheMailbox(mailbox, "mallory@example.com", {"code": "00000000"}, None)
    async with page(served, code=user) as mallory:
        assert await number_of(by_code(mallory, address)) == Number.SIGN_IN_PENDING
    assert [(one["triesLeft"], one["problem"]) for one in user.asked] == [
        (0, None),
        (5, None),
        (4, Number.SIGN_IN_REFUSED),
    ]
    assert mailbox.count("mallory@example.com") == 0


async def test_a_code_that_is_none_costs_no_try(served, mailbox):
    address, _ = await for_bob(served, mailbox)
    user = AtTheMailbox(mailbox, BOB, {"code": "1234"})
    async with page(served, code=user) as bob:
        with pytest.raises(Misuse, match="eight digits"):
            await by_code(bob, address)


async def test_a_passkey_joins_a_code(served, mailbox):
    passkey, method = SoftwarePasskey(BOB), codes_of(mailbox, BOB)
    passkeys = method_of(passkey, rp_id="localhost", origin="http://localhost:4173")
    both = Policy.anyone_with_email(BOB, method=method).with_passkey(passkeys).allow_phishable()
    address = await stored_by(served, both.may("collect"), method, passkeys)
    async with page(served, code=AtTheMailbox(mailbox, BOB), passkey=passkey) as bob:
        await by_code(bob, address)
        with pytest.raises(Refused):
            await bob.call("collect", address)
        (card,) = [one for one in (await bob.call("describe", address))["methods"] if one["kind"] == "passkey"]
        await bob.call("signIn", address, {"method": card, "joining": "joined"})
        assert (await bob.call("collect", address))["secret"] == SECRET


async def test_a_record_for_programs_says_that_browsers_do_not_open_it(served):
    method = workload_method("https://token.actions.example.com")
    rules = Policy.anyone_signed_in(method=method).may("collect", "update", "delete")
    instructions = served.instructions(rules, methods=[method])
    async with python(served, "alice") as alice:
        address = (await alice.store(SECRET, namespace="share", instructions=instructions)).address.id.hex()
    async with page(served) as somebody:
        assert [one["kind"] for one in (await somebody.call("describe", address))["methods"]] == ["workload"]
        with pytest.raises(Misuse, match="for programs, not for browsers"):
            await somebody.call("collect", address)
