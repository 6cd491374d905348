"""Mistakes in rules are found by whoever made them: at a line, with what to write."""

import pytest

from strongroom.client.rules_mistakes import BadRules, verify_written_rules
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_RULES

FIRST = """// who may; what
permit (principal, action == Action::"collect", resource)
when { context.identity.subject == "a;b" };  // ; not here

"""


@pytest.mark.parametrize(
    ("policy", "words", "hint"),
    [
        (
            'permit (principal, action, resource) when { context.identity.email == "a" };',
            "optional attribute",
            'write "context.identity has email && …" for optional attributes',
        ),
        (
            "permit (principal, action, resource) when { context.record.idle_days > 1 };",
            "optional attribute",
            'write "context.record has idle_days && …" for optional attributes',
        ),
        (
            "permit (principal, action, resource) when { context.identity.kind = 1 };",
            "not a valid operator",
            "rules.md",
        ),
        ("permit (principal, action, resource", "does not parse", "rules.md"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_to_write(policy, words, hint):
    with pytest.raises(BadRules) as caught:
        verify_written_rules(f"{FIRST}// and\n{policy}")
    assert caught.value.error.startswith("the rules are not right: policy 1, from line 6: ")
    assert words in caught.value.error
    assert hint in caught.value.hint
    assert caught.value.number is Number.RULES_INVALID


def test_good_rules_are_not_complained_of_and_long_ones_are_too_large():
    verify_written_rules(FIRST)
    with pytest.raises(Misuse) as caught:
        verify_written_rules(" " * (MAX_RULES + 1))
    assert caught.value.number is Number.TOO_LARGE
