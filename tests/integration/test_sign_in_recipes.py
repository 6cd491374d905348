"""docs/howto/sign-in/: what is to be typed there is accepted by the part that reads it."""

import ast
import json
import re
from pathlib import Path

import pytest

from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.policy import Policy
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.instructions import parse_instructions, parse_method
from tests.support.issuer import RSA, public
from tests.support.policies import role, software
from tests.support.world import Platform

FOLDER = Path(__file__).parent.parent.parent / "docs" / "howto" / "sign-in"
PAGES = (
    "ad-fs", "auth0", "entra-id", "github-actions", "gitlab", "google", "keycloak", "kubernetes", "okta", "spiffe",
)  # fmt: skip
FILES = {"google-secret.txt": "GOCSPX-secret\n", "jwks.json": json.dumps({"keys": [public(RSA, kid="a", use="sig")]})}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (FOLDER / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_instructions_of_a_page_are_accepted_by_client_and_authenticator(page, tmp_path):
    egress = Egress(Platform("authenticator", tmp_path / "machine"))
    (rules,) = blocks(page, "cedar")
    files = blocks(page, "toml")
    assert files
    for text in files:
        encoded = parse_instructions_file(
            text, authenticator=role(insecure_software=software()), rules=Policy(rules), read=FILES.__getitem__
        )
        for definition in parse_instructions(encoded).methods:
            verify_method(parse_method(definition), egress)


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
