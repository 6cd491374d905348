"""docs/howto/{rules,approvals}.md: what they say that builders write, they write; their examples work."""

import re
from pathlib import Path

import pytest

from strongroom.client.policy import People, Policy
from strongroom.client.quorum import quorum_of, two_of
from strongroom.client.rules_explanation import Methods, explain_rules
from strongroom.client.simulation import parse_people
from strongroom.protocol.evaluation import IDENTITY, RECORD
from strongroom.protocol.rules import ACTIONS, verify_rules
from tests.support.people import CODES, DIRECTORY, ENCLAVES, KEYS, OBJECT, OIDC, PASSKEYS, TENANT, WORKLOADS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "howto" / "rules.md").read_text()
NAMES = {
    "Policy": Policy, "People": People, "two_of": two_of, "quorum_of": quorum_of, "method": OIDC, "entra": OIDC,
    "directory": DIRECTORY, "keys": KEYS, "passkeys": PASSKEYS, "enclaves": ENCLAVES, "jobs": WORKLOADS,
    "codes": CODES, "TENANT": TENANT, "OBJECT": OBJECT, "bob": Policy.person(OIDC, "bob"),
}  # fmt: skip
BOB = '(context.identity.principal == "METHOD:bob") && '


def cedar_of(expression):
    """What a builder writes, with METHOD for each digest, without what it has of `bob`."""
    built = eval(expression, dict(NAMES))
    text = built.cedar if isinstance(built, Policy) else built.condition
    text = re.sub("[0-9a-f]{64}", "METHOD", text).strip().removeprefix(BOB)
    return text.replace(TENANT, "TENANT").replace(OBJECT, "OBJECT")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


WRITTEN = [
    pair
    for block in blocks("cedar")
    for pair in re.findall(r"^// ([A-Za-z_]+[.(].*)\n((?:[^\n/].*\n)+)", block, re.MULTILINE)
]


@pytest.mark.parametrize(("expression", "cedar"), WRITTEN)
def test_builders_write_what_the_page_says(expression, cedar):
    assert "".join(cedar.split()) == "".join(cedar_of(expression).split())


def test_the_page_shows_every_builder():
    shown = " ".join(expression for expression, _ in WRITTEN) + " ".join(blocks("python"))
    public = [name for kind in (People, Policy) for name in vars(kind) if not name.startswith("_")]
    unsaid = {"condition", "signed_in", "may", "cedar", "check", "namespace", "after_idle"}
    assert [name for name in public if name not in unsaid and f"{name}(" not in shown] == []


def test_the_page_names_every_attribute_and_action():
    listed = set(re.findall(r"^\| `([a-z_?-]+)`", PAGE, re.MULTILINE))
    assert {name.rstrip("?") for name in listed} >= {*IDENTITY, *RECORD, *ACTIONS}


def test_examples_of_rules_are_valid():
    examples = [block for block in blocks("cedar") if block.startswith(("permit", "forbid"))]
    assert examples
    for example in examples:
        rules = example if "permit" in example else "permit (principal, action, resource);" + example
        verify_rules(rules)
        assert explain_rules(rules, Methods())


def test_examples_of_people_can_be_read():
    (example,) = blocks("toml")
    assert len(parse_people(example, as_json=False).person) == 3
