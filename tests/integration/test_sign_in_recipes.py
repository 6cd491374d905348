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
from strongroom.protocol.instructions import Instructions, parse_instructions, parse_method
from tests.support.issuer import RSA, public
from tests.support.people import NOW, ssh_key
from tests.support.policies import role, software
from tests.support.world import Platform

FOLDER = Path(__file__).parent.parent.parent / "docs" / "howto" / "sign-in"
PROVIDERS = ("ad-fs", "auth0", "entra-id", "google", "keycloak", "okta")
PAGES = (*PROVIDERS, "github-actions", "gitlab", "kubernetes", "spiffe")
EVERY = sorted(path.stem for path in FOLDER.glob("*.md"))
FILES = {
    "build-7.pub": ssh_key("build-7"),
    "corp-ca.pem": "of the authority",
    "google-secret.txt": "GOCSPX-secret\n",
    "jwks.json": json.dumps({"keys": [public(RSA, kid="a", use="sig")]}),
    "mail-ca.pem": "of the authority",
    "smtp-password": "secret\n",
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (FOLDER / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)


def files_of(page) -> list[str]:
    """Its instructions. A page may show a part of a trust policy as well (indented, in a list)."""
    return [text for text in blocks(page, "toml") if "[[method]]" in text]


def instructions_of(page) -> list[Instructions]:
    (rules,) = blocks(page, "cedar")
    return [
        parse_instructions(
            parse_instructions_file(
                text, authenticator=role(insecure_software=software()), rules=Policy(rules), read=FILES.__getitem__
            )
        )
        for text in files_of(page)
    ]


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
        others = [SignIn(name=f"by {number}", method=number) for number, _ in enumerate(instructions.methods)]
        people = People(person=[SignIn(name="owner", method=0), *others], record=Record(depositor="owner"))
        foretold = simulate(instructions.rules, methods, people, ["update", "delete"], NOW)
        assert {(one.person, one.action) for one in foretold if one.allowed} == {
            ("owner", "update"),
            ("owner", "delete"),
        }
        by_another_digest = Record(depositor=f"{'0' * 64}:owner")
        foretold = simulate(
            instructions.rules, methods, People(people.person, by_another_digest), ["update", "delete"], NOW
        )
        assert not any(one.allowed for one in foretold)
        assert not {"locks-out", "nobody-collects"} & {finding.name for finding in review(instructions)}


@pytest.mark.parametrize("page", EVERY)
def test_the_method_of_whoever_stores_holds_nothing_that_changes_and_the_page_says_that_it_stays(page):
    """One key more in it, and the owner is nobody: those who collect have another one."""
    for text in files_of(page):
        owners, *others = tomllib.loads(text)["method"]
        assert len(others) == (0 if page in PROVIDERS else 1)
        if others:
            assert owners["type"] in ("oidc", "keys")
            assert not [name for name in owners if name.endswith("_file") or name in ("max_age", "client_secret")]
    assert files_of(page)
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


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_was_not_tried(page):
    assert "\n## Not tried\n" in (FOLDER / f"{page}.md").read_text()


@pytest.mark.parametrize("page", ["kubernetes", "spiffe"])
def test_the_programs_of_a_page_are_python(page):
    for program in blocks(page, "python"):
        ast.parse(program)
