"""The command line signs in by every way, as people and jobs do: real processes against real enclaves."""

import asyncio
import json
import os
import pty
import subprocess
import sys

import pytest

from strongroom import Policy, load_instructions
from strongroom.attestation.trust_file import format_trust_policy
from strongroom.client.addresses import format_address
from strongroom.protocol.instructions import parse_instructions, parse_method
from tests.idp import slapd
from tests.support.command import SECONDS, environment, strongroom
from tests.support.issuer import RSA, public, sign
from tests.support.mailbox import Mailbox
from tests.support.served import SECRET, ServedWorld

BOB = "bob@example.com"
PLATFORM = "https://kubernetes.default.svc.cluster.local"
HEAD = 'permanent = true\n[[authenticator]]\nurl = "{url}"\n'
METHODS = """
[[method]]
type = "keys"
[[method.key]]
person = "bob@example.com"
public_key_file = "bob.pub"

[[method]]
type = "workload"
issuer = "https://kubernetes.default.svc.cluster.local"
audience = "strongroom"
algorithms = ["RS256"]
jwks_file = "jwks.json"

[[method]]
type = "email-code"
sender = "keys@example.com"
server = "{mail}"
addresses = ["bob@example.com"]
ca_file = "mail-ca.pem"
"""
DIRECTORY = """
[[method]]
type = "directory"
name = "ldap.example.test"
flavour = "ldap"
servers = ["{server}"]
base = "dc=example,dc=test"
user_dn = "uid={{}},ou=people,dc=example,dc=test"
ca_file = "ldap-ca.pem"
"""


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


@pytest.fixture
def home(served, tmp_path):
    """A client's directory with what pins the servers, and no instructions of the user's own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "trust.toml").write_text(format_trust_policy(served.trust))
    (home / "strongroom.toml").write_text(f'vault = "{served.vault.url}"\ntrust = "trust.toml"\n')
    return home


async def put(served, folder, methods, *, rules=None):
    """The address of a record of alice, for whoever signs in by one of the methods of an `instructions.toml`."""
    path = folder / "instructions.toml"
    path.write_text(HEAD.format(url=served.authenticator.url) + methods)
    for method in map(parse_method, parse_instructions(load_instructions(path, served.trust)).methods):
        found = Policy.anyone_signed_in(method).allow_phishable().may("collect")
        rules = rules | found if rules else found
    encoded = load_instructions(path, served.trust, rules | Policy.depositor_may("update", "delete"))
    async with served.sdk("alice") as alice:
        return format_address((await alice.store(SECRET, namespace="team", instructions=encoded)).address)


async def run(*arguments, **options):
    """The enclaves are served by this loop."""
    return await asyncio.to_thread(strongroom, *arguments, **options)


@pytest.fixture
def mailbox():
    with Mailbox() as running:
        yield running


@pytest.fixture
async def address(served, home, mailbox):
    await asyncio.to_thread(
        subprocess.run, ["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", home / "bob"], check=True
    )
    (home / "jwks.json").write_text(json.dumps({"keys": [public(RSA, kid="rsa", alg="RS256")]}))
    (home / "mail-ca.pem").write_bytes(mailbox.certificates)
    return await put(served, home, METHODS.format(mail=mailbox.url))


async def test_a_key_a_token_and_a_mailbox_open_what_they_are_meant_to(served, home, address, mailbox, monkeypatch):
    by_key = await run("collect", address, "--ssh-key", "bob", cwd=home)
    assert (by_key.status, by_key.out) == (0, SECRET), by_key.err
    assert "signed in as bob@example.com" in by_key.err

    now = int(served.now())
    claims = {"iss": PLATFORM, "sub": "system:serviceaccount:prod:web", "aud": ["strongroom"], "iat": now}
    token = sign({"alg": "RS256", "kid": "rsa", "typ": "JWT"}, claims | {"exp": now + 300}, RSA)
    monkeypatch.setenv("JOB_TOKEN", token)
    by_token = await run("collect", address, "--workload-token", "env:JOB_TOKEN", cwd=home)
    assert (by_token.status, by_token.out) == (0, SECRET), by_token.err
    (home / "token").write_text(token)
    again = await run("collect", address, "--workload-token", "token", cwd=home)
    assert (again.status, again.out) == (0, SECRET), again.err
    copied = await run("collect", address, "--workload-token", "token", "--key", "thief.key", cwd=home)
    assert copied.status == 11, copied.err  # it counts for the first who brings it

    # The sender stands in the user's own instructions: nothing but the code is asked for.
    (home / "strongroom.toml").write_text(
        (home / "strongroom.toml").read_text() + 'instructions = "instructions.toml"\n'
    )
    by_code = await asyncio.to_thread(type_code, mailbox, "collect", address, "--email", BOB, cwd=home)
    assert by_code == (0, SECRET)


def type_code(mailbox, *arguments, cwd):
    """Somebody on a terminal, who types a wrong code and then what came by mail."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "strongroom.cli", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, env=environment(), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            code = mailbox.code(BOB)
            os.write(ours, f"{(int(code) + 1) % 10**8:08}\n{code}\n".encode())
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)
    assert b"tries left: 4" in err, err
    return process.returncode, out


async def test_what_a_record_takes_is_shown_and_said_where_nothing_fits(home, address):
    shown = await run("describe", address, cwd=home)
    assert shown.status == 0, shown.err
    for words in ("one of 1 ssh keys: SHA256:", f"workload's token of {PLATFORM} for strongroom", "e-mail from keys@"):
        assert words in " ".join(shown.out.decode().split())
    found = json.loads((await run("describe", address, "--json", cwd=home)).out)
    assert [method["kind"] for method in found["methods"]] == ["keys", "workload", "email-code"]
    refused = await run("collect", address, cwd=home)  # no terminal, and nothing that a browser could do
    assert refused.status == 2
    for option in ("--ssh-key FILE", "--workload-token", "--email ADDRESS"):
        assert option in refused.err


@pytest.mark.needs("slapd")
async def test_a_password_goes_to_a_directory_that_its_user_knows_and_to_no_other(served, home, tmp_path):
    with slapd.Slapd() as running:
        (home / "ldap-ca.pem").write_bytes(running.ca)
        known = await put(served, home, DIRECTORY.format(server=running.ldaps))
        # The same name, and something else in the definition: somebody else's, for all that this user knows.
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        (stranger / "ldap-ca.pem").write_bytes(running.ca)
        theirs = await put(served, stranger, DIRECTORY.format(server=running.ldaps) + 'email_domains = ["x.test"]\n')
        arguments = ("--user", "alice", "--password-stdin")
        password = f"{slapd.PASSWORD}\n".encode()

        unknown = await run("collect", known, *arguments, cwd=home, stdin=password)
        assert unknown.status == 2
        assert "ldap.example.test" in unknown.err
        assert "no terminal to confirm" in unknown.err

        settings = (home / "strongroom.toml").read_text()
        (home / "strongroom.toml").write_text(settings + 'instructions = "instructions.toml"\n')
        collected = await run("collect", known, *arguments, cwd=home, stdin=password)
        assert (collected.status, collected.out) == (0, SECRET), collected.err
        wrong = await run("collect", known, *arguments, cwd=home, stdin=b"wrong\n")
        assert wrong.status == 10, wrong.err
        refused = await run("collect", theirs, *arguments, cwd=home, stdin=password)
        assert refused.status == 2
        assert "no terminal to confirm" in refused.err
