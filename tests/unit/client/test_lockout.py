"""Who could still change a record, seen from who is about to store it."""

import pytest

from strongroom.client.lockout import LockedOut, verify_changeable
from strongroom.client.policy import Policy
from strongroom.client.results import Person
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import Instructions
from tests.support.people import CODES, KEYS, OIDC, OTHER, PASSKEYS, principal
from tests.unit.client.test_rules_review import reference

OWNER = Policy.depositor_may("update", "delete")
ANYONE = "permit (principal, action in [Action::{}], resource) when {{ {} }};"
IS_DEPOSITOR = "context.record.depositor == context.identity.principal"


def verify(method, rules, *methods, permanent=False):
    """Whether somebody who signed in by `method` may store these."""
    encoded = encode(
        Instructions(
            schema_version=1,
            authenticators=[reference("https://a.test")],
            quorum=1,
            methods=[encode(one) for one in methods],
            rules=rules if isinstance(rules, str) else rules.cedar,
            permanent=permanent,
        )
    )
    verify_changeable(encoded, [Person("", "bob", "", principal(method, "bob"))])


def test_only_a_depositor_whose_method_is_gone_is_locked_out():
    verify(KEYS, OWNER, KEYS, OIDC)
    verify(KEYS, OWNER, OIDC, permanent=True)
    verify(KEYS, Policy.person(OIDC, "alice").may("update", "delete"), OIDC)
    verify(KEYS, OWNER | Policy.person(OIDC, "alice").may("update", "delete"), OIDC)
    with pytest.raises(LockedOut, match="nobody could update or delete this record again"):
        verify(KEYS, OWNER, OIDC)


def test_the_one_action_that_is_lost_is_named():
    rules = Policy.depositor_may("delete") | Policy.person(OIDC, "alice").may("update")
    with pytest.raises(LockedOut, match="nobody could delete this record again"):
        verify(KEYS, rules, OIDC)


@pytest.mark.parametrize(
    "condition",
    [
        "context.identity.principal == context.record.depositor",
        f"{IS_DEPOSITOR} && !context.identity.phishable",
        f'({IS_DEPOSITOR} && context.identity.kind == "keys") || {IS_DEPOSITOR}',
    ],
)
def test_the_depositor_is_recognised_however_the_rule_is_written(condition):
    rules = ANYONE.format('"update", Action::"delete"', condition)
    verify(KEYS, rules, KEYS)
    with pytest.raises(LockedOut):
        verify(KEYS, rules, OIDC)


def test_a_depositor_or_somebody_else_is_not_the_depositor_alone():
    verify(
        KEYS, ANYONE.format('"update", Action::"delete"', f'{IS_DEPOSITOR} || context.identity.subject == "x"'), OIDC
    )


def test_whose_method_is_kept_but_does_not_count_for_the_depositor_is_locked_out():
    by_another = Policy.depositor().who(f'context.identity.issuer == "{OTHER.public.issuer}"').may("update", "delete")
    verify(OTHER, by_another, OTHER, PASSKEYS)
    with pytest.raises(LockedOut, match="do not count the way in which you signed in"):
        verify(OIDC, by_another, OIDC, OTHER)


def test_who_signed_in_by_a_code_that_counts_for_no_depositor_is_locked_out():
    with pytest.raises(LockedOut, match="do not count the way"):
        verify(CODES, OWNER, CODES, KEYS)
    verify(CODES, Policy.depositor().allow_phishable().may("update", "delete"), CODES, KEYS)
    verify(OIDC, OWNER, OIDC, KEYS)


def test_what_is_wrong_with_instructions_otherwise_the_vault_says():
    verify(KEYS, "permit (", OIDC)
    verify_changeable(b"no instructions", [Person("", "bob", "", principal(KEYS, "bob"))])
