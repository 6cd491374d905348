"""`decide` and `validate`: every answer covers exactly one request of one appraised Vault."""

from typing import Any

import pytest

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.reports import NitroReport
from strongroom.client.methods import oidc_method
from strongroom.client.policy import Policy, instructions
from strongroom.protocol.authenticator_messages import (
    Decide,
    DecideItem,
    DecisionRequest,
    Mark,
    PersonMark,
    RecordFacts,
    RecordRef,
    Validate,
    context_digest,
    decision_digest,
)
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.instructions import AuthenticatorRef, Instructions, rules_digest
from strongroom.protocol.primitives import SigningKey
from tests.support.evidence import Cluster, changed
from tests.support.issuer import Desk
from tests.support.world import Platform
from tests.unit.authenticator.test_rules import BOB, PERMIT

RULES = 'permit (principal, action == Action::"collect", resource) when { context.identity.subject == "bob" };'
RECORD = RecordFacts(kind="secret", depositor="d", approvals=[], idle_days=None, time=None)
FACTS = encode(RECORD)


@pytest.fixture
def desk(tmp_path):
    return Desk(Platform("authenticator", tmp_path / "machine"))


def peer(role="vault") -> Any:
    """What the runtime gives for a Vault whose evidence it has verified; only role and claims count here."""
    evidence, claims, genesis = parse_evidence(Cluster(role).evidence())
    return Genuine(
        evidence_digest=bytes(32), kind=evidence.kind, role=role, claims=claims, genesis=genesis,
        report=NitroReport(
            registers=(), report_data=b"", root=bytes(32), proven_at=0, valid_until=0,
            pcrs={}, module_id="", signed_at=0,
        ),
        releases=b"",
    )  # fmt: skip


VAULT_PEER = peer()
VAULT = VAULT_PEER.claims.cluster_id


def item(desk, *, request=(), fact=BOB, ticket_for=None, vault=VAULT, **changes):
    fields = {
        "request_id": b"r" * 16, "vault_cluster": VAULT, "binding_key": desk.binding_key, "action": "collect",
        "rules_digest": rules_digest(changes.get("rules", RULES)), "instructions_digest": bytes(32),
        "context_digest": context_digest(changes.get("facts", FACTS)),
        "records": [RecordRef(handle=b"h" * 32, version=3)], **dict(request),
    }  # fmt: skip
    ticket, _ = desk.service._sealer.issue_ticket(ticket_for or desk.binding_key, vault, fact, desk.clock.now())
    found = DecideItem(
        request=encode(DecisionRequest(**fields)), schema_version=1, rules=RULES, methods=[BOB.method], facts=FACTS,
        ticket=ticket,
    )  # fmt: skip
    return changed(found, **changes)


async def decide(desk, *items, peer=VAULT_PEER):
    return (await desk.service.handle(desk.caller(peer), Decide(items=list(items)))).decisions


async def number(desk, item):
    (decision,) = await decide(desk, item)
    assert decision.request_digest == decision_digest(item.request)
    return decision.number


async def test_ok_names_whom_it_is_for_and_repeats_the_request(desk):
    asked = item(desk)
    (decision,) = await decide(desk, asked)
    assert decision.number == 0
    assert decision.identity.principal == BOB.method.hex() + ":bob"
    assert decision.request_digest == decision_digest(asked.request)


MARK = Mark(name=b"n" * 32, value=0, token=b"t" * 32, expires_at=0)


async def test_a_sign_in_that_counts_once_is_handed_to_the_vault_with_the_decision(desk):
    """The Authenticator remembers nothing that its host could not roll back: the Vault commits it (RULES 21)."""
    marked = changed(BOB, mark=MARK)
    allowed, refused = await decide(
        desk, item(desk, fact=marked), item(desk, fact=marked, request={"action": "delete"})
    )
    assert (allowed.number, allowed.marks) == (0, [PersonMark(BOB.method.hex() + ":bob", MARK)])
    assert (refused.number, refused.marks) == (Number.REFUSED, [])


async def test_a_bearer_s_mark_is_filed_under_the_bearer_whatever_definition_it_signed_in_by(desk):
    (allowed,) = await decide(desk, item(desk, fact=changed(BOB, mark=MARK, marked_as="bearer:b0b")))
    assert allowed.marks == [PersonMark("bearer:b0b", MARK)]
    assert allowed.identity.principal == BOB.method.hex() + ":bob"


async def test_time_counts_in_ages_of_sign_ins(desk):
    rules = (
        "permit (principal, action, resource) when { context.identity has auth_age && context.identity.auth_age < 60 };"
    )
    fresh, old = (changed(BOB, auth_time=int(desk.clock.now()) - age) for age in (5, 65))
    assert await number(desk, item(desk, rules=rules, fact=fresh)) == 0
    assert await number(desk, item(desk, rules=rules, fact=old)) == Number.REFUSED


async def test_only_an_appraised_vault_is_answered(desk):
    for caller in (None, peer("authenticator")):
        with pytest.raises(Refused) as caught:
            await decide(desk, item(desk), peer=caller)
        assert caught.value.number is Number.PEER_REFUSED


REFUSED = {
    "another Vault's request": (lambda d: item(d, request={"vault_cluster": b"W" * 32}), Number.PEER_REFUSED),
    "another action": (lambda d: item(d, request={"action": "delete"}), Number.REFUSED),
    "another person": (lambda d: item(d, fact=changed(BOB, subject="eve")), Number.REFUSED),
    "a ticket of another binding key": (
        lambda d: item(d, ticket_for=SigningKey.generate().public), Number.REFUSED),
    "a ticket for another Vault": (lambda d: item(d, vault=b"W" * 32), Number.REFUSED),
    "a method not in the instructions": (lambda d: item(d, methods=[b"x" * 32]), Number.REFUSED),
    "no method in the instructions": (lambda d: item(d, methods=[]), Number.REFUSED),
    "rules that were swapped": (
        lambda d: item(d, rules=PERMIT, request={"rules_digest": rules_digest(RULES)}), Number.MALFORMED),
    "facts that were swapped": (
        lambda d: item(d, facts=encode(changed(RECORD, kind="namespace")),
                       request={"context_digest": context_digest(FACTS)}), Number.MALFORMED),
    "facts that do not decode": (lambda d: item(d, facts=b"x"), Number.MALFORMED),
    "a request that does not decode": (lambda d: changed(item(d), request=b"\xc1"), Number.MALFORMED),
    "another schema": (lambda d: item(d, schema_version=2), Number.UNSUPPORTED),
    "rules that do not parse": (lambda d: item(d, rules="permit ("), Number.RULES_INVALID),
    "no rules": (lambda d: item(d, rules=""), Number.RULES_INVALID),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_does_not_hold_is_not_ok(desk, name):
    make, expected = REFUSED[name]
    assert await number(desk, make(desk)) == expected


async def test_one_bad_item_does_not_spoil_its_neighbours(desk):
    decisions = await decide(desk, item(desk, rules=""), item(desk), item(desk, methods=[]))
    assert [decision.number for decision in decisions] == [Number.RULES_INVALID, 0, Number.REFUSED]


async def test_no_ok_is_kept(desk):
    asked = item(desk)
    assert await number(desk, asked) == 0
    desk.platform.ahead = 601
    assert await number(desk, asked) == Number.TICKET_EXPIRED


async def test_a_clock_behind_its_floor_denies(desk):
    asked = item(desk)
    desk.clock.raise_floor(desk.clock.now())
    desk.platform.ahead = -100
    assert await number(desk, asked) == Number.CLOCK


def stored(*methods, rules=None, permanent=True):
    return instructions(
        authenticators=[AuthenticatorRef(url="https://a.test", policy=b"")],
        methods=methods or [oidc_method("https://login.test", "c")],
        rules=rules or Policy(PERMIT),
        permanent=permanent,
    )


async def test_validate_says_what_anybody_may(desk):
    rules = Policy.anyone_signed_in(oidc_method("https://login.test", "c")).may("collect") | Policy.depositor_may(
        "update", "delete"
    )
    reply = await desk.service.handle(desk.caller(VAULT_PEER), Validate(instructions=stored(rules=rules)))
    assert reply.permitted == ["collect", "delete", "update"]


METHODS: dict[str, dict[str, Any]] = {
    "http": {"issuer": "http://login.test"},
    "any Entra tenant": {"issuer": "https://login.microsoftonline.com/common/v2.0"},
    "any Entra organisation": {"issuer": "https://login.microsoftonline.com/organizations/v2.0"},
    "template": {"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"},
    "escaped template": {"issuer": "https://login.microsoftonline.com/%7Btenantid%7D/v2.0"},
    "query": {"issuer": "https://login.test/?tenant=1"},
    "fragment": {"issuer": "https://login.test/#x"},
    "user": {"issuer": "https://a@login.test/"},
    "space": {"issuer": "https://login.test/a b"},
    "not ASCII": {"issuer": "https://l\u043egin.test/"},
    "port": {"issuer": "https://login.test:99999/"},
    "empty": {"issuer": ""},
    "native redirect with a port": {"issuer": "https://login.test", "redirect_uri": "http://127.0.0.1:80/callback"},
    "native redirect elsewhere": {"issuer": "https://login.test", "redirect_uri": "https://evil.example/"},
    "page without https": {
        "issuer": "https://login.test", "web_client_id": "w", "web_redirect_uri": "http://page.example/"},
    "one client id for two channels": {
        "issuer": "https://login.test", "web_client_id": "c", "web_redirect_uri": "https://page.example/"},
    "scope with a space": {"issuer": "https://login.test", "scopes": ["openid email"]},
    "domain that is none": {"issuer": "https://login.test", "email_domains": ["@corp.example"]},
}  # fmt: skip


@pytest.fixture
def hardware(desk, monkeypatch):
    """The same Authenticator on a platform that is not the insecure one."""
    monkeypatch.setattr(Platform, "kind", "sgx")
    return desk


@pytest.mark.parametrize("name", METHODS)
async def test_methods_that_are_not_valid_are_named_by_their_index(hardware, name):
    fields = dict(METHODS[name])
    bad = oidc_method(fields.pop("issuer"), "c", **fields)
    request = Validate(instructions=stored(oidc_method("https://login.test", "c"), bad))
    with pytest.raises(Misuse) as caught:
        await hardware.service.handle(hardware.caller(VAULT_PEER), request)
    assert (caught.value.number, caught.value.place) == (Number.METHOD_INVALID, 1)


@pytest.mark.parametrize(
    "issuer", ["https://login.test", "https://login.test:8443/realms/common", "https://[2001:4860::1]/"]
)
async def test_ordinary_issuers_are_valid(hardware, issuer):
    request = Validate(instructions=stored(oidc_method(issuer, "c")))
    assert (await hardware.service.handle(hardware.caller(VAULT_PEER), request)).permitted


async def test_validate_names_the_policy(desk):
    request = stored()
    with pytest.raises(Misuse) as caught:
        stored(rules=Policy(PERMIT + "permit ("))
    assert (caught.value.number, caught.value.place) == (Number.RULES_INVALID, 1)
    bent = changed(decode(request, Instructions, limit=10**6), rules=PERMIT + "permit (")
    with pytest.raises(Misuse) as caught:
        await desk.service.handle(desk.caller(VAULT_PEER), Validate(instructions=encode(bent)))
    assert (caught.value.number, caught.value.place) == (Number.RULES_INVALID, 1)
