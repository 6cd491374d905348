"""Several sign-ins on one ticket: nobody joins what is not theirs, keeps it longer, or is a second person alone."""

from typing import Any

import pytest

from strongroom.client.policy import People, Policy
from strongroom.enclave.authenticator.rules import RuleBook
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import method_digest, rules_digest
from strongroom.protocol.limits import MAX_SIGN_INS, MAX_TICKET_LIFE
from strongroom.protocol.messages import Ticket
from strongroom.protocol.primitives import Domain, SigningKey
from tests.support.evidence import changed
from tests.support.issuer import AUTHENTICATOR, Desk, Issuer
from tests.support.issuer import VAULT as DESK_VAULT
from tests.support.passkeys import PasskeyDesk, SoftwarePasskey, method_of
from tests.support.world import Platform
from tests.unit.authenticator.test_decisions import FACTS, VAULT, decide, item
from tests.unit.authenticator.test_rules import ALICES, BOB, NOW, when

PASSKEY = SoftwarePasskey("bob@example.com")
PASSKEYS = method_of(PASSKEY, SoftwarePasskey("carol@example.com"))
CAROL = changed(BOB, subject="carol", email="carol@example.com")
PHISHED = changed(CAROL, channel="device", phishable=True)


@pytest.fixture
async def desk(tmp_path):
    platform = Platform("authenticator", tmp_path / "machine")
    issuer = Issuer(Desk(platform).clock)
    async with issuer.serving():
        yield PasskeyDesk(platform, PASSKEYS, issuer)


def issue(desk: Desk, *facts: Fact, binding_key: bytes = b"", vault: bytes = VAULT) -> Ticket:
    """A ticket of these facts, joined one after the other."""
    key, now = binding_key or desk.binding_key, desk.clock.now()
    ticket, _ = desk.sealer.issue_ticket(key, vault, facts[0], now)
    for fact in facts[1:]:
        earlier = desk.sealer.open_ticket(ticket, binding_key=key, vault_cluster=vault, now=now)
        ticket, _ = desk.sealer.issue_ticket(key, vault, fact, now, earlier)
    return ticket


async def refusal(awaitable: Any) -> StrongroomError:
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value


async def test_a_ticket_joins_a_provider_and_a_passkey_in_either_order(desk):
    first = await desk.sign_in()
    begun = await desk.passkey_begin()
    both = await desk.passkey_finish(begun, PASSKEY.sign_in(begun.challenge), with_ticket=first.ticket)
    assert [fact.subject for fact in desk.facts(both)] == ["bob", "bob@example.com"]
    assert (both.subject, both.email) == ("bob@example.com", "")
    again = await desk.sign_in(with_ticket=(await desk.passkey_sign_in(PASSKEY)).ticket)
    assert [fact.subject for fact in desk.facts(again)] == ["bob@example.com", "bob"]


# --- what may be joined ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["provider", "passkey"])
async def test_only_what_counts_here_is_joined(desk, way):
    """Else whoever finds a ticket, or made one elsewhere, adds it to a sign-in of his own."""

    async def join(ticket):
        if way == "provider":
            return await desk.sign_in(with_ticket=ticket)
        begun = await desk.passkey_begin()
        return await desk.passkey_finish(begun, PASSKEY.sign_in(begun.challenge), with_ticket=ticket)

    good = issue(desk, CAROL, vault=DESK_VAULT)
    device_flow = desk.sealer.seal(Domain.DEVICE_FLOW, CAROL)
    for ticket in (
        issue(desk, CAROL, vault=DESK_VAULT, binding_key=SigningKey.generate().public),
        issue(desk, CAROL, vault=b"W" * 32),
        changed(good, authenticator=b"B" * 32),
        changed(good, sealed=good.sealed[:-1] + bytes([good.sealed[-1] ^ 1])),
        Ticket(authenticator=AUTHENTICATOR, sealed=b""),
        Ticket(authenticator=AUTHENTICATOR, sealed=device_flow),
    ):
        assert (await refusal(join(ticket))).number is Number.REFUSED
    desk.platform.ahead = MAX_TICKET_LIFE
    assert (await refusal(join(good))).number is Number.TICKET_EXPIRED
    desk.platform.ahead = 0
    assert len(desk.facts(await join(good))) == 2


async def test_a_ticket_that_can_not_be_joined_costs_no_code(desk):
    refused = await refusal(desk.sign_in(with_ticket=issue(desk, CAROL, vault=b"W" * 32)))
    assert refused.number is Number.REFUSED
    assert not desk.issuer.calls["/token"]


async def test_joining_again_and_again_prolongs_nothing(desk):
    """Else one sign-in, joined every nine minutes, would count for ever."""
    ticket = (await desk.passkey_sign_in(PASSKEY)).ticket
    end = desk.clock.now() + MAX_TICKET_LIFE
    for ahead in (200, 400, 590):
        desk.platform.ahead = ahead
        begun = await desk.passkey_begin()
        signed_in = await desk.passkey_finish(begun, PASSKEY.sign_in(begun.challenge), with_ticket=ticket)
        ticket = signed_in.ticket
        assert end - 1 <= signed_in.expires_at <= end + 1
    desk.platform.ahead = MAX_TICKET_LIFE + 2
    with pytest.raises(Misuse):
        desk.facts(signed_in)


async def test_the_same_person_by_the_same_method_is_there_once_with_the_newest_facts(desk):
    former = changed(CAROL, groups=["keys"])
    ticket = issue(desk, former, BOB, changed(CAROL, groups=[]))
    facts = desk.sealer.verify_ticket(ticket, binding_key=desk.binding_key, vault_cluster=VAULT, now=desk.clock.now())
    assert facts == [BOB, changed(CAROL, groups=[])]


async def test_at_most_four_sign_ins_stand_on_a_ticket(desk):
    people = [changed(BOB, subject=f"person {n}") for n in range(MAX_SIGN_INS)]
    issue(desk, *people)
    issue(desk, *people, people[0])
    with pytest.raises(Misuse) as caught:
        issue(desk, *people, BOB)
    assert caught.value.number is Number.TOO_LARGE


async def test_groups_of_several_sign_ins_that_do_not_fit_are_refused_never_dropped(desk):
    many = [f"{n:0200}" for n in range(10)]
    with pytest.raises(Untrusted) as caught:
        issue(desk, changed(BOB, groups=many), changed(CAROL, groups=many))
    assert caught.value.number is Number.TOKEN_UNTRUSTED


# --- what rules see ----------------------------------------------------------------------------------------------


def permitted(rules: str, *facts: Fact) -> str:
    """Who, or nobody."""
    try:
        return RuleBook().decide(rules_digest(rules), rules, "collect", ALICES, facts, NOW).fact.subject
    except Refused:
        return ""


HEX = BOB.method.hex()


def test_nobody_is_their_own_second_person():
    own = f'context.identity.others.contains("{HEX}:bob")'
    assert not permitted(when(own), BOB)
    assert permitted(when(own), BOB, CAROL) == "carol"
    mail = f'context.identity.other_emails.contains("{HEX} bob@example.com")'
    assert not permitted(when(mail), BOB)
    assert permitted(when(mail), BOB, CAROL) == "carol"


def test_rules_see_exactly_the_others():
    others = f'context.identity.others == ["{HEX}:carol", "{HEX}:dan"]'
    mails = f'context.identity.other_emails == ["{HEX} carol@example.com"]'
    dan = changed(BOB, subject="dan", email="")
    assert permitted(when(f"{others} && {mails}"), BOB, CAROL, dan) == "bob"
    assert permitted(when("context.identity.others.isEmpty() && context.identity.other_emails.isEmpty()"), BOB) == "bob"


def test_a_phishable_sign_in_is_nobodys_second_person():
    """Somebody was sent a code and typed it in: that is no second pair of eyes."""
    second = f'context.identity.subject == "bob" && context.identity.others.contains("{HEX}:carol")'
    mail = f'context.identity.subject == "bob" && context.identity.other_emails.contains("{HEX} carol@example.com")'
    for rules in (when(second), when(mail)):
        assert permitted(rules, BOB, CAROL) == "bob"
        assert not permitted(rules, BOB, PHISHED)


async def test_a_sign_in_by_a_method_that_the_instructions_do_not_list_is_no_other(desk):
    """The client brings an issuer of his own that says he is carol, too."""
    rules = f'permit (principal, action, resource) when {{ context.identity.others.contains("{"78" * 32}:carol") }};'
    asked = item(desk, rules=rules)
    elsewhere = changed(CAROL, method=b"x" * 32)
    joined = changed(asked, ticket=issue(desk, BOB, elsewhere))
    (unlisted,) = await decide(desk, joined)
    (listed,) = await decide(desk, changed(joined, methods=[BOB.method, elsewhere.method]))
    assert (unlisted.number, listed.number) == (Number.REFUSED, 0)
    assert listed.identity.subject == "bob"


async def test_a_decision_names_whom_it_permits_and_their_address(desk):
    rules = 'permit (principal, action, resource) when { context.identity.subject == "carol" };'
    (decision,) = await decide(desk, changed(item(desk, rules=rules), ticket=issue(desk, BOB, CAROL), facts=FACTS))
    assert (decision.number, decision.identity.subject, decision.identity.email) == (0, "carol", "carol@example.com")


# --- what the builders promise -----------------------------------------------------------------------------------

PASSKEY_METHOD = method_digest(encode(PASSKEYS))
KEY = changed(BOB, method=PASSKEY_METHOD, subject="bob@example.com", email="", issuer="")
RECIPIENT = Policy.anyone_with_email("bob@example.com", method=BOB.method)


def test_with_a_passkey_the_account_alone_and_the_passkey_alone_open_nothing():
    rules = RECIPIENT.with_passkey(PASSKEYS, "bob@example.com").may("collect").cedar
    carols = changed(KEY, subject="carol@example.com")
    assert permitted(rules, BOB, KEY) == permitted(rules, KEY, BOB) == "bob"
    for facts in ([BOB], [KEY], [CAROL, KEY], [BOB, carols], [BOB, changed(KEY, method=b"x" * 32)]):
        assert not permitted(rules, *facts)
    of_anybody = RECIPIENT.with_passkey(PASSKEYS).may("collect").cedar
    assert permitted(of_anybody, BOB, carols) == "bob"


def test_with_a_second_person_neither_opens_it_alone():
    rules = RECIPIENT.with_second_person("Carol@example.com", BOB.method).may("collect").cedar
    assert permitted(rules, BOB, CAROL) == permitted(rules, CAROL, BOB) == "bob"
    for facts in ([BOB], [CAROL], [BOB, PHISHED], [BOB, KEY], [BOB, changed(CAROL, method=b"x" * 32)]):
        assert not permitted(rules, *facts)


def test_two_accounts_with_one_address_are_not_two_people():
    """Members of a group may open it, with carol beside them: carol's own second account is no member beside her."""
    rules = Policy.members_of("keys", method=BOB.method).with_second_person("carol@example.com", BOB.method, b"o" * 32)
    cedar = rules.may("collect").cedar
    second_account = changed(CAROL, method=b"o" * 32, subject="c2")
    assert permitted(cedar, BOB, CAROL) == permitted(cedar, BOB, second_account) == "bob"
    assert not permitted(cedar, CAROL, second_account)
    assert not permitted(cedar, changed(CAROL, email=""), second_account)


def test_both_at_once_take_three_sign_ins():
    people = RECIPIENT.with_passkey(PASSKEYS, "bob@example.com").with_second_person("carol@example.com", BOB.method)
    rules = people.may("collect").cedar
    assert permitted(rules, CAROL, BOB, KEY) == "bob"
    for facts in ([BOB, KEY], [BOB, CAROL], [CAROL, KEY]):
        assert not permitted(rules, *facts)


def test_an_alternative_in_the_people_does_not_escape_what_is_demanded_beside():
    """`a || b` with `&& c` behind it would let `a` in alone."""
    either = People("true || false")
    assert not permitted(either.with_passkey(PASSKEYS).may("collect").cedar, BOB)
    assert not permitted(either.with_second_person("carol@example.com", BOB.method).may("collect").cedar, BOB)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RECIPIENT.with_passkey(PASSKEYS, "eve@example.com"),
        lambda: RECIPIENT.with_second_person("carol@example.com"),
        lambda: RECIPIENT.with_second_person("", BOB.method),
        lambda: RECIPIENT.with_second_person("c\u0430rol@example.com", BOB.method),
    ],
)
def test_mistakes_are_named_at_once(wrong):
    with pytest.raises(Misuse) as caught:
        wrong()
    assert caught.value.number is Number.RULES_INVALID
    assert caught.value.reason
