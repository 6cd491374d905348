"""docs/howto/{rules,approvals}.md: what they say that builders write, they write; their examples work."""

import re
from pathlib import Path

import pytest

from strongroom.client.methods import keys_method
from strongroom.client.policy import People, Policy
from strongroom.client.quorum import quorum_of, two_of
from strongroom.client.rules_explanation import Methods, explain_rules
from strongroom.client.simulation import People as Described
from strongroom.client.simulation import Record, SignIn, parse_people, simulate
from strongroom.protocol.codec import encode
from strongroom.protocol.evaluation import IDENTITY, RECORD
from strongroom.protocol.instructions import Action
from strongroom.protocol.rules import ACTIONS, verify_rules
from tests.support.people import (
    CODES,
    DIRECTORY,
    ENCLAVES,
    KEYS,
    NOW,
    OBJECT,
    OIDC,
    PASSKEYS,
    TENANT,
    WORKLOADS,
    ssh_key,
)

HOWTO = Path(__file__).resolve().parents[3] / "docs" / "howto"
PAGE = (HOWTO / "rules.md").read_text()
APPROVALS = (HOWTO / "approvals.md").read_text()
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


def blocks(kind, page=PAGE):
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


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


PEOPLE = ("alice@example.com", "bob@example.com", "carol@example.com")


@pytest.mark.parametrize(
    "method", [OIDC, keys_method({name: ssh_key(name) for name in PEOPLE})], ids=["addresses", "keys"]
)
def test_the_rules_for_approvals_let_bob_collect_once_alice_approved_and_nobody_by_what_they_were_tricked_into(method):
    """Rules by address under keys, which prove none, made a record that nobody could ever collect, update or delete."""
    by_address, by_key = blocks("cedar", APPROVALS)
    rules = by_address if method is OIDC else by_key
    asked: tuple[Action, ...] = ("ask", "collect", "approve", "update", "delete")

    def permitted(phishable, *approvals):
        people = [SignIn(name=name, email=name if method is OIDC else "", phishable=phishable) for name in PEOPLE]
        described = Described(person=people, record=Record(approvals=list(approvals)))
        foretold = simulate(rules, Methods([encode(method)]), described, asked, NOW)
        return {f"{one.person.partition('@')[0]} {one.action}" for one in foretold if one.allowed}

    always = {"bob ask", "alice approve", "alice update", "alice delete"}
    assert permitted(False) == permitted(False, "bob@example.com") == always
    assert permitted(False, "alice@example.com") == always | {"bob collect"}
    assert permitted(True, "alice@example.com") == set()
