"""Rules that would trap their author, or the Authenticator that reads them: refused before they are stored."""

import asyncio
import time

import pytest

from strongroom.enclave.authenticator.rules import RuleBook
from strongroom.protocol.errors import Number, Refused
from strongroom.protocol.instructions import rules_digest
from strongroom.protocol.rules import MAX_POLICY_TOKENS, MAX_TOKENS, verify_rules
from tests.support.issuer import Desk
from tests.support.world import Platform
from tests.unit.authenticator.test_decisions import decide, item
from tests.unit.authenticator.test_rules import ALICES, BOB, NOW, PERMIT, index_of, when

PERSON = 'Person::"x"'


@pytest.mark.parametrize(
    "condition",
    [
        "context has phishable && context.phishable",
        'context.record has email && context.record.email == "bob@example.com"',
        'context.identity has depositor && context.identity.depositor == "x"',
        "context.record has auth_age && context.record.auth_age > 7",
        "context.identity has identity",
        "context has record.email",
        'context["record"] has "email"',
        'principal has email && principal.email == "bob@example.com"',
        "resource has kind",
        "action has kind",
        "context.identity.groups has email",
        f"{PERSON} has email",
        "(if context.identity.phishable then context.identity else context.identity) has email",
        "(if true then context.identity else context.identity).phishable",
        'principal.hasTag("a")',
        'resource.hasTag("a") && resource.getTag("a") == "b"',
        f"principal in {PERSON}",
        f"principal in [{PERSON}]",
        f"principal is Person in {PERSON}",
        "resource in resource",
        "principal is Record",
        "resource is Person",
        "action is Person",
        "resource == principal",
        "principal == action",
        "!(principal != resource)",
        f"resource == {PERSON}",
        "[principal].contains(resource)",
        f"[{PERSON}].contains(resource)",
        "[principal].containsAny([resource])",
    ],
)
def test_a_forbid_that_could_never_fire_is_refused(condition):
    """Cedar takes each of these for false, silently: beside a broad permit, everybody would be let in."""
    assert index_of(PERMIT + when(condition, "forbid"))[0] == 1


@pytest.mark.parametrize("scope", [f"principal in {PERSON}", f"principal is Person in {PERSON}"])
def test_people_are_in_nothing(scope):
    assert index_of(f"{PERMIT}forbid ({scope}, action, resource);") == (1, "policy 1: only an action is in something")


@pytest.mark.parametrize(
    "condition",
    [
        'context has identity.email && context.identity.email == "bob@example.com"',
        'context["identity"]["subject"] == "bob"',
        'context.identity has "tid" && context.identity.tid == "t1"',
        'action in [Action::"collect", Action::"delete"] && context.record.kind == "secret"',
        f'principal is Person && resource is Record && principal != {PERSON} && action == Action::"collect"',
        f'!([{PERSON}, Person::"y"].contains(principal))',
    ],
)
def test_what_can_fire_does_fire(condition):
    rules = PERMIT + '@has("x") ' + when(condition, "forbid")
    with pytest.raises(Refused):
        RuleBook().decide(rules_digest(rules), rules, "collect", ALICES, [BOB], NOW)


def one_of(issuers):
    """A policy of 2 × issuers + 24 tokens."""
    listed = ", ".join(['"a"'] * issuers)
    return when(f'[{listed}, "https://login.test"].contains(context.identity.issuer)')


def test_the_length_of_rules_is_bounded_before_cedar_reads_them():
    longest = one_of((MAX_POLICY_TOKENS - 24) // 2)
    verify_rules(longest)
    assert index_of(PERMIT + one_of((MAX_POLICY_TOKENS - 24) // 2 + 1)) == (1, "policy 1: too long")
    fitting = MAX_TOKENS // MAX_POLICY_TOKENS
    verify_rules(longest * fitting)
    assert index_of(longest * fitting + PERMIT) == (fitting, f"policy {fitting}: too long")
    start = time.process_time()
    index_of(when("+".join(["1"] * 16_000) + " == 1"))
    assert time.process_time() - start < 0.1


async def test_heavy_rules_in_a_batch_leave_others_their_turn(tmp_path):
    desk = Desk(Platform("authenticator", tmp_path / "machine"))
    batch = [item(desk, rules=one_of(100 + n)) for n in range(8)] + [item(desk, rules="permit (")] * 2
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await asyncio.sleep(0)
    turns = 0
    decisions = await decide(desk, *batch)
    beside.cancel()
    assert [decision.number for decision in decisions] == [0] * 8 + [Number.RULES_INVALID] * 2
    assert turns >= len(batch)
