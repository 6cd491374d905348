"""Rules: what is refused before it is stored, and that nothing but a clean permit is OK."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.enclave.authenticator import rules as rules_module
from strongroom.enclave.authenticator.rules import RuleBook
from strongroom.enclave.authenticator.tickets import Fact
from strongroom.protocol.authenticator_messages import RecordFacts
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.instructions import rules_digest
from strongroom.protocol.rules import ACTIONS, verify_rules
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
)
RECORD = RecordFacts(kind="secret", depositor=f"{'6d' * 32}:alice", approvals=[], idle_days=None, time=None)
PERMIT = "permit (principal, action, resource);\n"


def when(condition, effect="permit"):
    return f"{effect} (principal, action, resource) when {{ {condition} }};\n"


OVERFLOWS = when("context.identity has auth_time && context.identity.auth_time + 9223372036854775807 > 0", "forbid")


def decide(rules, *facts, action="collect", record=RECORD):
    return RuleBook().decide(rules_digest(rules), rules, action, record, facts or (BOB,))


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
    ],
)
def test_every_fact_reaches_the_rules(condition):
    assert decide(when(condition)).subject == "bob"
    with pytest.raises(Refused):
        decide(when(f"!({condition})"))


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


@given(st.lists(PIECES).map(" ".join) | st.text())
def test_any_text_as_rules_gives_only_declared_errors(text):
    with pytest.raises(StrongroomError) as caught:
        verify_rules(text)
    assert caught.value.number in (Number.RULES_INVALID, Number.TOO_LARGE)


@given(st.text(max_size=60), st.text(max_size=60))
def test_facts_are_data_whatever_they_hold(subject, group):
    fact = changed(BOB, subject=subject, groups=[group])
    assert decide(when('context.identity.channel == "native"'), fact).subject == subject


def test_parsed_rules_are_forgotten_when_they_are_too_many(monkeypatch):
    monkeypatch.setattr(rules_module, "MAX_CACHED", 1000)
    book = RuleBook()
    for n in range(50):
        rules = PERMIT + f"// {n:0100}\n"
        assert book.decide(rules_digest(rules), rules, "collect", RECORD, [BOB]).subject == "bob"
        assert book._size <= 1000
    assert 0 < len(book._parsed) < 10


def test_leaving_out_what_rules_do_not_look_at_changes_nothing():
    """Whole records can be compared with themselves only."""
    for condition in ("context == context", "context.identity == context.identity", "[context].contains(context)"):
        assert decide(when(condition)).subject == "bob"
        with pytest.raises(Refused):
            decide(PERMIT + when(condition, "forbid"))
