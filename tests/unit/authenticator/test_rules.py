"""Rules: what is refused before it is stored, and that nothing but a clean permit is OK."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.enclave.authenticator import rules as rules_module
from strongroom.enclave.authenticator.rules import RuleBook
from strongroom.protocol.authenticator_messages import Mark, RecordFacts
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.evaluation import IDENTITY, RECORD, evaluate, identity_of, parse_rules
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import rules_digest
from strongroom.protocol.rules import _TYPES, ACTIONS, verify_rules
from tests.support.evidence import changed

BOB = Fact(
    method=b"m" * 32,
    kind="oidc",
    issuer="https://login.test",
    subject="bob",
    email="bob@example.com",
    groups=["keys"],
    claims=[],
    hd="",
    tid="t1",
    oid="",
    acr="",
    amr=["pwd"],
    auth_time=1000,
    channel="native",
    phishable=False,
    mark=None,
    marked_as="",
)
ALICES = RecordFacts(kind="secret", depositor=f"{'6d' * 32}:alice", approvals=[], idle_days=None, time=None)
NOW = 1300
PERMIT = "permit (principal, action, resource);\n"


def when(condition, effect="permit"):
    return f"{effect} (principal, action, resource) when {{ {condition} }};\n"


OVERFLOWS = when("context.identity has auth_time && context.identity.auth_time + 9223372036854775807 > 0", "forbid")


def decide(rules, *facts, action="collect", record=ALICES, now=NOW):
    return identity_of(RuleBook().decide(rules_digest(rules), rules, action, record, facts or (BOB,), now).fact)


def index_of(rules, number=Number.RULES_INVALID):
    with pytest.raises(Misuse) as caught:
        verify_rules(rules)
    assert caught.value.number is number
    return caught.value.place, caught.value.reason


def test_an_ordinary_rule_decides():
    rules = when('context.identity has email && context.identity.email == "bob@example.com"')
    assert decide(rules).principal == f"{'6d' * 32}:bob"
    with pytest.raises(Refused):
        decide(rules, changed(BOB, email="eve@example.com"))
    with pytest.raises(Refused):
        decide(rules, changed(BOB, email=""))


@pytest.mark.parametrize(
    "condition",
    [
        'context.identity.method == "' + "6d" * 32 + '"',
        'context.identity.principal == "' + "6d" * 32 + ':bob"',
        'principal == Person::"' + "6d" * 32 + ':bob"',
        'context.identity.issuer == "https://login.test" && context.identity.subject == "bob"',
        'context.identity has domain && context.identity.domain == "example.com"',
        'context.identity.groups.contains("keys")',
        'context.identity has tid && context.identity.tid == "t1" && !(context.identity has oid)',
        '!(context.identity has hd) && !(context.identity has acr) && context.identity.amr.contains("pwd")',
        "context.identity has auth_time && context.identity.auth_time == 1000",
        'context.identity.channel == "native" && !context.identity.phishable',
        'context.record.kind == "secret" && context.record.depositor like "*:alice"',
        'context.identity.kind == "oidc" && context.identity.claims.contains("repository=org/repo")',
        "context.identity has auth_age && context.identity.auth_age == 300",
        "context.identity.sign_ins == 1",
        'context.record.approvals.contains("a:carol") && context.record.approval_count == 2',
        "context.record has idle_days && context.record.idle_days == 40",
        # Thursday 26 November 2026, 09:30:59 UTC.
        "context.record has unix_time && context.record.unix_time == 1795685459",
        "context.record has minute_of_day && context.record.minute_of_day == 570",
        "context.record has weekday && context.record.weekday == 4",
    ],
)
def test_every_fact_reaches_the_rules(condition):
    fact = changed(BOB, claims=["repository=org/repo"])
    record = changed(ALICES, approvals=["a:carol", "a:dave"], idle_days=40, time=1_795_685_459)
    assert decide(when(condition), fact, record=record).subject == "bob"
    with pytest.raises(Refused):
        decide(when(f"!({condition})"), fact, record=record)


def test_every_attribute_of_the_schema_has_a_value():
    """Else a `forbid` about one would never fire."""
    assert set(IDENTITY) == set(_TYPES["Identity"])
    assert set(RECORD) == set(_TYPES["RecordFacts"])


@pytest.mark.parametrize("attribute", ["unix_time", "minute_of_day", "weekday", "idle_days"])
def test_a_time_that_nobody_witnessed_is_absent(attribute):
    with pytest.raises(Refused):
        decide(when(f"context.record has {attribute}"))


@pytest.mark.parametrize(
    ("day", "weekday"), [(0, 4), (3, 7), (4, 1), (20_783, 4), (20_786, 7), (20_787, 1)]
)  # 1 January 1970 was a Thursday, and so is 26 November 2026
def test_days_of_the_week_are_counted_from_monday(day, weekday):
    condition = f"context.record has weekday && context.record.weekday == {weekday}"
    for second in (0, 86_399):
        assert decide(when(condition), record=changed(ALICES, time=day * 86_400 + second)).subject == "bob"


def test_a_sign_in_of_the_future_has_no_age():
    """Else a provider whose clock is ahead would vouch for a fresh sign-in for years."""
    fresh = when("context.identity has auth_age && context.identity.auth_age < 600")
    assert decide(fresh, changed(BOB, auth_time=NOW + 60)).subject == "bob"
    for auth_time in (NOW + 61, 2**40, NOW - 600, None):
        with pytest.raises(Refused):
            decide(fresh, changed(BOB, auth_time=auth_time))


CAROL = changed(BOB, subject="carol", email="carol@example.com", method=b"c" * 32)
BOTH = when(f'context.identity.others.contains("{"63" * 32}:carol") && context.identity.sign_ins == 2')


def test_people_on_one_ticket_see_each_other():
    assert decide(BOTH, BOB, CAROL).subject == "bob"
    assert decide(when('context.identity.other_emails.contains("' + "63" * 32 + ' carol@example.com")'), BOB, CAROL)


@pytest.mark.parametrize("facts", [(BOB,), (BOB, BOB), (BOB, changed(CAROL, phishable=True)), (CAROL, CAROL)])
def test_a_second_pair_of_eyes_is_another_person_who_can_not_have_been_tricked(facts):
    with pytest.raises(Refused):
        decide(BOTH, *facts)


def test_one_person_twice_is_one_sign_in_and_nobody_else():
    again = changed(BOB, channel="web")
    assert decide(when("context.identity.sign_ins == 1"), BOB, again)
    for condition in ("context.identity.sign_ins > 1", f'context.identity.others.contains("{"6d" * 32}:bob")'):
        with pytest.raises(Refused):
            decide(when(condition), BOB, again)


def test_a_phishable_sign_in_approves_of_nothing_whatever_the_rules_say():
    phished = changed(BOB, channel="device", phishable=True)
    assert decide(PERMIT, phished, action="collect").subject == "bob"
    with pytest.raises(Refused):
        decide(PERMIT, phished, action="approve")
    assert decide(PERMIT, phished, CAROL, action="approve").subject == "carol"


@pytest.mark.parametrize(("beside", "count"), [((), 0), ((CAROL,), 1)])
def test_a_phishable_sign_in_is_not_counted_in_its_own_eyes_either(beside, count):
    phished = changed(BOB, phishable=True)
    rules = when(f'context.identity.subject == "bob" && context.identity.sign_ins == {count}')
    assert decide(rules, phished, *beside).subject == "bob"


def mark(name):
    return Mark(name=name * 32, value=0, token=b"t" * 32, expires_at=0)


@pytest.mark.parametrize(("rules", "counted"), [(PERMIT, ["bob"]), (BOTH, ["bob", "carol"])])
def test_only_the_sign_ins_on_which_a_decision_rests_are_counted(rules, counted):
    facts = [
        changed(BOB, mark=mark(b"b")),
        changed(CAROL, mark=mark(b"c")),
        changed(BOB, subject="eve", phishable=True),
    ]
    outcome = evaluate(parse_rules(rules), "collect", ALICES, facts, NOW)[0]
    assert [fact.subject for fact in outcome.counted] == counted


def test_an_outcome_names_the_policies():
    rules = PERMIT + when('context.identity.subject == "bob"') + when('context.identity.subject == "eve"', "forbid")
    bob, eve = evaluate(parse_rules(rules), "collect", ALICES, [BOB, changed(BOB, subject="eve")], NOW)
    assert (bob.allowed, bob.policies, eve.allowed, eve.policies) == (True, [0, 1], False, [2])


def test_one_fact_that_is_permitted_is_enough_and_is_the_one_named():
    eve = changed(BOB, subject="eve", email="")
    rules = when("context.identity has email")
    assert decide(rules, eve, BOB).subject == "bob"


def test_a_forbid_that_errors_does_not_vanish():
    # Cedar itself says Allow here: it skips the policy that overflows.
    rules = PERMIT + OVERFLOWS
    assert verify_rules(rules).permitted == sorted(ACTIONS)
    with pytest.raises(Refused, match="201"):
        decide(rules)
    assert decide(rules, changed(BOB, auth_time=None)).subject == "bob"


def test_an_error_with_one_fact_denies_them_all():
    rules = PERMIT + OVERFLOWS
    with pytest.raises(Refused):
        decide(rules, changed(BOB, auth_time=None), BOB)


def test_unvalidated_rules_are_not_evaluated():
    for rules in ("", "permit (principal", when('context.identity.email == "bob@example.com"')):
        with pytest.raises(Misuse):
            decide(rules)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("permit (principal, action, resource) when {", "does not parse"),
        ("permit (principal, action, resource)", "does not parse"),
        ("nonsense;", "does not parse"),
        ('permit (principal, action == Action::"fly", resource);', "unrecognized action"),
        ('permit (principal == User::"x", action, resource);', "unrecognized entity type"),
        (when('context.identity.email == "x"'), "optional attribute"),
        (when('context.identity.emial == "x"'), "unknown attribute"),
        (when("context.identity has emial", "forbid"), "unknown attribute"),
        (when("context has approvals", "forbid"), "unknown attribute"),
        (when('context["time"] > 7'), "unknown attribute"),
        (when('context.identity["sub\\u{6a}ect"] == "bob"'), "with escapes"),
        (when('context.record has "idle\\u{5f}days"', "forbid"), "with escapes"),
        (when("context.identity.phishable == 1"), "not compatible"),
        (when('resource == Record::"x"'), "names a record"),
        ('permit (principal, action, resource == Record::"x");', "names a record"),
        (when('context.record == {"kind": "secret", "depositor": "d"}', "forbid"), "record literals"),
        ("permit (principal == ?principal, action, resource);", "templates"),
        ('permit (principal, action, resource) when { "\x00" == "" };', "can't hold"),
        ("permit (principal, action, resource) when { \u2028true };", "can't hold"),
        (when("(" * 21 + "true" + ")" * 21), "nested"),
        (when("context.identity has " + "a." * 9 + "a"), "nested"),
        (when(" && ".join(["true"] * 600)), "too long"),
    ],
)
def test_a_bad_policy_is_named_by_its_index(bad, reason):
    assert index_of(bad)[0] == 0
    index, words = index_of(PERMIT + "// a comment; with (brackets\n" + when('"; // (" == "\\"{"') + bad)
    assert index == 2
    assert reason in words


@pytest.mark.parametrize(
    "empty",
    [
        "",
        " \n",
        "// only a comment",
        when("false"),
        when("true", "forbid"),
        PERMIT + "forbid (principal, action, resource);",
    ],
)
def test_rules_that_permit_nobody_are_refused(empty):
    index_of(empty)


def test_too_many_policies_and_too_long_a_text_are_refused():
    assert verify_rules(PERMIT * 64).permitted == sorted(ACTIONS)
    assert "more than" in index_of(PERMIT * 65)[1]
    index_of(PERMIT + "// " + "x" * 33_000, Number.TOO_LARGE)


@pytest.mark.parametrize(
    ("rules", "permitted"),
    [
        (PERMIT, sorted(ACTIONS)),
        ('permit (principal, action == Action::"collect", resource);', ["collect"]),
        ('permit (principal, action in [Action::"set-quota", Action::"audit"], resource);', ["audit", "set-quota"]),
        (PERMIT + 'forbid (principal, action == Action::"delete", resource);', sorted(set(ACTIONS) - {"delete"})),
        (PERMIT + when("context.identity.phishable", "forbid"), sorted(ACTIONS)),
        ('permit (principal, action == Action::"collect", resource);' + PERMIT[:-2] + " unless { true };", ["collect"]),
        ('@id("a") permit (principal, action == Action::"create", resource);' + "\r\n// end\r", ["create"]),
        (when('if context.identity has email then context.identity.email == "a" else if context.identity has hd then '
              'context.identity.hd == "b" else context.identity.subject == "c"'), sorted(ACTIONS)),
    ],
)  # fmt: skip
def test_permitted_actions(rules, permitted):
    assert verify_rules(rules).permitted == permitted


@pytest.mark.parametrize("text", ["'('*15000", "'['*15000", "'!('*9000", "'{a:'*8000", "'context has a'+'.a'*15000"])
def test_no_rules_end_the_process(text):
    """Cedar's parser recurses without a bound, so this runs in a process of its own."""
    program = (
        "from strongroom.protocol.rules import verify_rules\n"
        "from strongroom.protocol.errors import Misuse\n"
        f"try: verify_rules('permit (principal, action, resource) when {{ ' + {text})\n"
        "except Misuse as error: print(int(error.number))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "109\n"), done.stderr[-300:]


PIECES = st.sampled_from(["permit", "(", ")", "{", "}", ";", '"', "\\", "//", "\n", "principal", ",", "when", "€"])


@settings(deadline=None)
@given(st.lists(PIECES).map(" ".join) | st.text())
def test_any_text_as_rules_gives_only_declared_errors(text):
    with pytest.raises(StrongroomError) as caught:
        verify_rules(text)
    assert caught.value.number in (Number.RULES_INVALID, Number.TOO_LARGE)


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_facts_are_data_whatever_they_hold(subject, group):
    fact = changed(BOB, subject=subject, groups=[group])
    assert decide(when('context.identity.channel == "native"'), fact).subject == subject


def test_parsed_rules_are_forgotten_when_they_are_too_many(monkeypatch):
    monkeypatch.setattr(rules_module, "MAX_CACHED", 1000)
    book = RuleBook()
    for n in range(50):
        rules = PERMIT + f"// {n:0100}\n"
        assert book.decide(rules_digest(rules), rules, "collect", ALICES, [BOB], NOW).allowed
        assert book._size <= 1000
    assert 0 < len(book._kept) < 10


def test_leaving_out_what_rules_do_not_look_at_changes_nothing():
    """Whole records can be compared with themselves only."""
    for condition in ("context == context", "context.identity == context.identity", "[context].contains(context)"):
        assert decide(when(condition)).subject == "bob"
        with pytest.raises(Refused):
            decide(PERMIT + when(condition, "forbid"))
