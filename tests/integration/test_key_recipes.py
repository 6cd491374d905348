"""docs/howto/sign-in/{ssh-keys,passkeys,enclaves}.md: what they tell to write is accepted, and their programs run."""

import json
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from strongroom import AsyncVault
from strongroom.client.addresses import format_address, parse_address
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.methods import enclave_method
from strongroom.client.policy import Policy
from strongroom.client.sign_in.enclaves import Quote
from strongroom.enclave.authenticator.methods import verify_method
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.instructions import parse_instructions, parse_method
from tests.support.passkeys import ORIGIN, RP_ID, SoftwarePasskey
from tests.support.policies import role, software
from tests.support.served import ServedWorld
from tests.support.ssh_keys import SshKey
from tests.support.world import Platform

FOLDER = Path(__file__).parent.parent.parent / "docs" / "howto" / "sign-in"
PAGES = ("ssh-keys", "passkeys", "enclaves")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (FOLDER / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_instructions_of_a_page_are_accepted_by_client_and_authenticator(page, tmp_path, monkeypatch):
    monkeypatch.setattr(Platform, "kind", "sgx")
    egress = Egress(Platform("authenticator", tmp_path / "machine"))
    (rules,), (text,) = blocks(page, "cedar"), blocks(page, "toml")
    encoded = parse_instructions_file(
        text,
        authenticator=role(insecure_software=software()),
        rules=Policy(rules),
        read={"build-7.pub": SshKey("build-7").line}.__getitem__,
    )
    for definition in parse_instructions(encoded).methods:
        verify_method(parse_method(definition), egress)
    assert Policy(rules).check() == ["collect", "delete", "update"]


def test_cards_of_passkeys_become_the_method_that_lists_them():
    namespace: dict[str, Any] = {}
    (program,) = blocks("passkeys", "python")
    exec(program, namespace)
    (shown,) = blocks("passkeys", "json")
    passkeys = [SoftwarePasskey(), SoftwarePasskey(algorithm="EdDSA")]
    cards = [
        json.dumps(
            json.loads(shown)
            | {
                "rp_id": RP_ID,
                "origin": ORIGIN,
                "credential_id": urlsafe_b64encode(one.credential_id).rstrip(b"=").decode(),
                "public_key": urlsafe_b64encode(one.cose_key).rstrip(b"=").decode(),
            }
        ).encode()
        for one in passkeys
    ]
    method = namespace["method_of"](cards)
    assert method.passkeys == [one.public for one in passkeys]


async def test_the_program_of_the_page_fetches_its_key_from_inside_and_nowhere_else(tmp_path):
    """Word for word, but for the machine below it and the names of the servers."""
    program, stub = blocks("enclaves", "python")
    compile(stub, "stub", "exec")
    machine = InsecureSoftware("vault", tmp_path / "machine")

    class Quoter:
        def __init__(self, kind: str, collateral: object) -> None:
            assert kind == "snp"

        async def quote(self, report_data: bytes) -> Quote:
            quoted = machine.quote(report_data)
            return Quote("insecure-software", quoted.quote, quoted.collateral or b"")

    section = software(roots=list(machine.roots), measurements=[machine._measurement])
    method = enclave_method({"trainer": role(insecure_software=section)})
    rules = Policy.listed(method, "trainer").may("collect") | Policy.depositor_may("update", "delete")
    async with ServedWorld.open(tmp_path / "state") as served:
        async with served.sdk("alice") as alice:
            instructions = served.instructions(rules, methods=[served.method, method])
            stored = await alice.store(b"a key", namespace="team", instructions=instructions)
        namespace: dict[str, Any] = {}
        exec(program, namespace)

        def vault(url: str, trust: object, **options: Any) -> AsyncVault:
            assert url == "https://vault.example.com"
            return served.sdk(**options)

        assert format_address(parse_address(namespace["ADDRESS"])) == namespace["ADDRESS"]
        place = {"ADDRESS": format_address(stored.address)}
        namespace |= {"AsyncVault": vault, "load_trust": lambda path: path, "TsmQuoter": Quoter} | place
        assert await namespace["fetch_key"]() == b"a key"
