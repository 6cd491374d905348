"""docs/howto/sign-in/: what is to be typed there is accepted by the part that reads it."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from strongroom.client.addresses import parse_address
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.policy import Policy
from strongroom.client.rules_explanation import Methods
from strongroom.client.rules_review import review
from strongroom.client.simulation import People, Record, SignIn, simulate
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.instructions import (
    EnclaveMethod,
    Instructions,
    KeysMethod,
    Method,
    PasskeyMethod,
    parse_instructions,
    parse_method,
)
from tests.idp.certificates import Authority
from tests.support.issuer import RSA, public
from tests.support.people import NOW, ssh_key
from tests.support.policies import role, software
from tests.support.world import Platform

FOLDER = Path(__file__).parent.parent.parent / "docs" / "howto" / "sign-in"
PROVIDERS = ("ad-fs", "auth0", "entra-id", "google", "keycloak", "okta")
UNTRIED = (*PROVIDERS, "github-actions", "gitlab", "kubernetes", "spiffe")
"""By our tests: there is no such provider here."""
EVERY = sorted(path.stem for path in FOLDER.glob("*.md"))
PAGES = [page for page in EVERY if page not in ("enclaves", "passkeys", "ssh-keys")]
"""Those three are test_key_recipes.py's."""
CERTIFICATE = Authority().pem.decode()
FILES = {
    "build-7.pub": ssh_key("build-7"),
    "corp-ca.pem": CERTIFICATE,
    "google-secret.txt": "GOCSPX-secret\n",
    "jwks.json": json.dumps({"keys": [public(RSA, kid="a", use="sig")]}),
    "mail-ca.pem": CERTIFICATE,
    "smtp-password": "secret\n",
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (FOLDER / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)


def instructions_of(page) -> list[Instructions]:
    (rules,) = blocks(page, "cedar")
    return [
        parse_instructions(
            parse_instructions_file(
                text, authenticator=role(insecure_software=software()), rules=Policy(rules), read=FILES.__getitem__
            )
        )
        for text in blocks(page, "toml")
    ]


def subjects(method: Method) -> list[str]:
    """Some whom it can sign in."""
    match method:
        case KeysMethod(keys=listed) | PasskeyMethod(passkeys=listed):
            return sorted({one.person for one in listed})
        case EnclaveMethod():
            return [one.name for one in method.workloads]
    return ["somebody", "another"]


@pytest.mark.parametrize("page", PAGES)
def test_the_instructions_of_a_page_are_accepted_by_client_and_authenticator(page, tmp_path):
    egress = Egress(Platform("authenticator", tmp_path / "machine"))
    files = instructions_of(page)
    assert files
    for instructions in files:
        for definition in instructions.methods:
            verify_method(parse_method(definition), egress)


@pytest.mark.parametrize("page", EVERY)
def test_whoever_stores_by_the_first_method_of_a_page_may_update_and_delete_and_nobody_else(page):
    """Recipes made records that nobody could change: no method in them was the depositor's, or a code was."""
    files = instructions_of(page)
    assert files
    for instructions in files:
        methods = Methods(instructions.methods)
        people = [
            SignIn(name=f"{subject} by {number}", method=number, subject=subject)
            for number, definition in enumerate(instructions.methods)
            for subject in subjects(parse_method(definition))
        ]
        owner = people[0].name

        def changes(depositor, people=people, rules=instructions.rules, methods=methods):
            described = People(person=people, record=Record(depositor=depositor))
            foretold = simulate(rules, methods, described, ["update", "delete"], NOW)
            return [(one.person, one.action) for one in foretold if one.allowed]

        assert len(people) > 1
        assert changes(owner) == [(owner, "update"), (owner, "delete")]
        assert changes(f"{'0' * 64}:{people[0].subject}") == []  # by a method that differs by a value
        assert not {"locks-out", "nobody-collects"} & {finding.name for finding in review(instructions)}


@pytest.mark.parametrize("page", EVERY)
def test_the_method_of_whoever_stores_holds_nothing_that_changes_and_the_page_says_that_it_stays(page):
    """One key more in it, and the owner is nobody: those who collect have another one."""
    files = blocks(page, "toml")
    assert files
    for text in files:
        owners, *others = tomllib.loads(text)["method"]
        assert len(others) == (0 if page in PROVIDERS else 1)
        if others:
            assert owners["type"] in ("oidc", "keys")
            assert not [name for name in owners if name.endswith("_file") or name in ("max_age", "client_secret")]
    assert "](../instructions.md#whoever-stores)" in (FOLDER / f"{page}.md").read_text()
    assert "\n## Whoever stores\n" in (FOLDER.parent / "instructions.md").read_text()


@pytest.mark.parametrize("page", EVERY)
def test_the_addresses_of_a_page_are_addresses(page):
    """`strongroom://…` would be the record `/…` of a namespace called `strongroom:`."""
    text = (FOLDER / f"{page}.md").read_text()
    assert "strongroom://" not in text
    for address in re.findall(r"strongroom collect (\S+)", text):
        if address not in ('"$ADDRESS"', "ADDRESS"):
            parse_address(address)


@pytest.mark.parametrize("page", PAGES)
def test_the_rules_of_a_page_let_somebody_collect_and_keep_the_rest_for_the_depositor(page):
    (rules,) = blocks(page, "cedar")
    assert Policy(rules).check() == ["collect", "delete", "update"]


@pytest.mark.parametrize("page", UNTRIED)
def test_a_page_says_what_was_not_tried(page):
    assert "\n## Not tried\n" in (FOLDER / f"{page}.md").read_text()


@pytest.mark.parametrize("page", ["kubernetes", "spiffe"])
def test_the_programs_of_a_page_are_python(page):
    for program in blocks(page, "python"):
        ast.parse(program)
