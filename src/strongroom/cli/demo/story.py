"""The demo's story, told while it happens. Every value is real, every claim is checked: a wrong one ends the demo."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyrage

from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli.connection import read_instructions
from strongroom.cli.demo.browser import sign_in_as
from strongroom.cli.demo.namespaces import open_namespace
from strongroom.cli.demo.provider import CLIENT_ID, CLIENT_SECRET, USERS, email_of
from strongroom.cli.demo.search import forms_of, hexdump, sealed_rows, search
from strongroom.cli.demo.sharing import share
from strongroom.cli.demo.sign_in import SignInByItself
from strongroom.cli.demo.stage import Stage
from strongroom.cli.demo.teller import Teller, short
from strongroom.cli.files import write_new
from strongroom.cli.pinning import pin_exactly
from strongroom.cli.terminal import EXIT_FAILED, EXIT_REFUSED, Failure
from strongroom.cli.trust import look_at
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.share.site import Link
from strongroom.client.vault import AsyncVault
from strongroom.protocol.instructions import parse_instructions

NAMESPACE: Final = "demo"
NAME: Final = "letter-key"
ADDRESS: Final = f"{NAMESPACE}/{NAME}"
LETTER: Final = """\
Dear Bob,

this letter is encrypted to a key that was made a moment ago. The key is in the Vault,
and nobody but you can collect it: not whoever runs the servers, not whoever copies the disk.

Alice
"""


COLLECT_SECONDS: Final = 30.0
_BREAKS: Final = (
    (" && ", "\n    && "),
    (r' == ("[0-9a-f]{64}")', r" ==\n      \1"),
    (r", (action in \[[^]]*,[^]]*\]), ", r",\n    \1,\n    "),
)
"""Where rules are broken into lines that a terminal of 80 columns does not break elsewhere."""


def tell(stage: Stage, teller: Teller) -> Link | None:
    """The whole story; the link of what is shared at its end. Raises `Failure` and `StrongroomError`."""
    _servers(stage, teller)
    trust = _pin(stage, teller)
    _namespace(stage, teller, trust)
    before = _rows(stage)
    identity = _alice_stores(stage, teller, trust)
    added = {key: sealed for key, sealed in _rows(stage).items() if before.get(key) != sealed}
    _bob_collects(stage, teller)
    _mallory_tries(stage, teller)
    _what_the_host_holds(stage, teller, max(added.values(), key=len), identity)
    return share(stage, teller, trust)


def _servers(stage: Stage, teller: Teller) -> None:
    teller.step("Three servers start on this machine")
    stage.wait()
    teller.fact("Vault", stage.vault["url"], "keeps sealed records")
    teller.fact("Authenticator", stage.authenticator["url"], "signs people in, never sees a secret")
    teller.fact("sign-in", stage.issuer, f"a provider with {', '.join(USERS)}")
    teller.took("until all were ready", since=stage.started_at)


def _pin(stage: Stage, teller: Teller) -> TrustPolicy:
    teller.step("A client looks at the evidence of both, and pins what it sees")
    vault = look_at(stage.vault["url"], "vault", ["insecure"])
    authenticator = look_at(stage.authenticator["url"], "authenticator", ["insecure"])
    trust = pin_exactly(vault, authenticator)
    write_new(stage.client / "trust.toml", format_trust_policy(trust).encode(), what="the demo")
    for genuine in (vault, authenticator):
        found = f"program {short(genuine.report.measurement)}  cluster {short(genuine.claims.cluster_id)}"
        teller.fact(genuine.role.capitalize(), found)
    teller.fact("platform", vault.kind, "no hardware: see the warning above", style="yellow")
    teller.took("to appraise both; trust.toml accepts nothing else now")
    return trust


def _namespace(stage: Stage, teller: Teller, trust: TrustPolicy) -> None:
    teller.step(f"The owner opens the namespace “{NAMESPACE}”")
    instructions = stage.client / "instructions.toml"
    write_new(instructions, _instructions_file(stage).encode(), what="the demo")
    settings = (
        f'vault = "{stage.vault["url"]}"\ntrust = "trust.toml"\nkey = "binding.key"\n'
        f'instructions = "instructions.toml"\nnamespace = "{NAMESPACE}"\n'
    )
    write_new(stage.client / "strongroom.toml", settings.encode(), what="the demo")
    version = open_namespace(
        stage,
        trust,
        NAMESPACE,
        instructions,
        max_records=1_000,
        max_bytes=10_000_000,
        max_records_each=100,
        max_bytes_each=1_000_000,
    )
    teller.fact("may create", "whoever signs in", f"at most 100 records each; version {version}")
    teller.took("attested session, proof of the owner's key, one commit")


def _instructions_file(stage: Stage) -> str:
    return f"""\
# How requests for a record are authenticated. Who may do what is said at `strongroom store --for`.

[[authenticator]]
url = "{stage.authenticator["url"]}"

[[method]]
type = "oidc"
issuer = "{stage.issuer}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"  # seen by the Authenticator only
"""


def _alice_stores(stage: Stage, teller: Teller, trust: TrustPolicy) -> str:
    """Alice's part; the secret, which a real Alice would forget now."""
    teller.step("Alice makes a key, encrypts a letter with it, and stores the key for Bob")
    identity = pyrage.x25519.Identity.generate()
    recipient = identity.to_public()
    sealed_letter = pyrage.encrypt(LETTER.encode(), [recipient])
    write_new(stage.client / "letter.txt.age", sealed_letter, what="the demo")
    teller.fact("age public key", str(recipient))
    teller.fact("letter", f"{len(LETTER)} bytes, as letter.txt.age {len(sealed_letter)} bytes")
    encoded = read_instructions(stage.client / "instructions.toml", trust, [email_of("bob")], None)
    teller.text("her instructions, checked before anything is sent:")
    rules = parse_instructions(encoded).rules
    for long, broken in _BREAKS:
        rules = re.sub(long, broken, rules)
    teller.output(line for line in rules.splitlines() if line)

    async def store() -> int:
        async with AsyncVault(
            stage.vault["url"], trust, sign_in=SignInByItself("alice"), checkpoints=MemoryCheckpoints()
        ) as vault:
            receipt = await vault.store(str(identity).encode(), namespace=NAMESPACE, name=NAME, instructions=encoded)
            return receipt.version

    version = asyncio.run(store())
    teller.fact("stored as", ADDRESS, f"version {version}")
    teller.took("evidence, session, sign-in, decision, durable commit")
    return str(identity)


def _bob_collects(stage: Stage, teller: Teller) -> None:
    teller.step("Bob collects it: another process, with a binding key of its own")
    ran = _collect(stage, teller, "bob", "bob.key")
    if ran.status != 0:
        raise _wrong(f"bob was not given the key (exit status {ran.status})")
    collected = stage.client / "bob.key"
    mode = collected.stat().st_mode & 0o777
    teller.fact("bob.key", f"{collected.stat().st_size} bytes", f"mode {mode:04o}")
    identity = pyrage.x25519.Identity.from_str(collected.read_text().strip())
    opened = pyrage.decrypt((stage.client / "letter.txt.age").read_bytes(), [identity])
    if opened != LETTER.encode() or mode != 0o600:
        raise _wrong("the letter did not come out as it went in")
    teller.fact("decrypted", "letter.txt.age", "byte for byte what Alice wrote", style="green")
    teller.took("the whole command, until the letter was decrypted")


def _mallory_tries(stage: Stage, teller: Teller) -> None:
    teller.step("Mallory, whom nobody named, tries the same")
    ran = _collect(stage, teller, "mallory", "mallory.key")
    if ran.status != EXIT_REFUSED or (stage.client / "mallory.key").exists():
        raise _wrong(f"mallory was not refused (exit status {ran.status})")
    teller.fact("exit status", str(ran.status), "a record that does not exist looks just the same", style="green")
    teller.took("the whole command")


@dataclass(frozen=True, slots=True)
class Ran:
    """How `strongroom collect` ended."""

    status: int
    said: list[str]


def _collect(stage: Stage, teller: Teller, user: str, output: str) -> Ran:
    """Run `strongroom collect` as somebody would who types it, and do in the browser what `user` would."""
    arguments = ["collect", ADDRESS, "--no-browser", "--output", output]
    teller.text(f"$ strongroom {' '.join(arguments)}", "bold")
    process = subprocess.Popen(
        [sys.executable, "-m", "strongroom.cli.demo.leash", *arguments],
        cwd=stage.client,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    try:
        for line in process.stderr or ():
            url = next((word for word in line.split() if word.startswith("http") and "state=" in word), "")
            if url:
                sign_in_as(user, url)
                said.append(f"(here the demo opens the page and signs in as {user})")
            elif line.strip():
                said.append(line.strip())
        status = process.wait(COLLECT_SECONDS)
    finally:
        process.kill()
        process.communicate()
    teller.output(said)
    return Ran(status, said)


def _what_the_host_holds(stage: Stage, teller: Teller, sealed: bytes, secret: str) -> None:
    teller.step("What the host holds")
    teller.text(f"the row of {ADDRESS} in servers/vault/strongroom.sqlite3, {len(sealed):,} bytes:")
    teller.lines([*hexdump(sealed, 4), f"…     {len(sealed) - 64:,} bytes more"])
    needles = {
        "the key": [*forms_of(secret), *forms_of(secret.lower())],
        email_of("bob"): forms_of(email_of("bob")),
        email_of("alice"): forms_of(email_of("alice")),
        f"the name {NAME}": forms_of(NAME),
        "this row's first 32 bytes": [sealed[:32]],
    }
    searched = search(stage.servers, needles)
    teller.text(f"searched in all {searched.size:,} bytes of the servers' files,")
    teller.text("as text, UTF-16, hex and base64, for:")
    width = max(map(len, needles)) + 2
    for name, files in searched.found.items():
        expected = needles[name] == [sealed[:32]]
        if bool(files) != expected:
            raise _wrong(f"{name} is {'in ' + ', '.join(files) if files else 'nowhere'}")
        if expected:
            teller.fact(name, f"in {files[0]}", "the search works", width=width)
        else:
            teller.fact(name, "nowhere", style="green", width=width)
    teller.took("to search")
    teller.text("On real hardware that is all there is. Here, without hardware, the file", "yellow")
    teller.text("servers/platform/insecure-machine-secret opens everything: that is what", "yellow")
    teller.text("INSECURE means.", "yellow")


def how_to_go_on(stage: Stage, teller: Teller, data: Path | None, link: Link | None) -> None:
    """What to type in another terminal; `data` is the directory that the user wants to keep."""
    command = stage.command
    if link is not None:
        teller.step("It stays up: go on in the browser")
        teller.commands(
            (str(link), "what Bob got: sign in as bob, then as mallory"),
            (f"{stage.origin}/#/", "send something yourself; you are whom you sign in as"),
        )
    teller.step("Or in another terminal" if link is not None else "It stays up: go on in another terminal")
    teller.commands(
        (f"cd {stage.client}", ""),
        (f"{command} collect {ADDRESS} -o my.key", "sign in as bob; then try mallory"),
        ("age -d -i my.key letter.txt.age", "if you have age"),
        (f"head -c 32 /dev/urandom | {command} store - --for {email_of('bob')}", "sign in as alice"),
        (f"{command} describe {ADDRESS}", "how to sign in, never the rules"),
        (f"{command} verify {stage.vault['url']}", "the chain of evidence"),
        *([(f"{command} share receive {link}", "the same without a page: sign in as bob")] if link else []),
    )
    teller.text(f"The sign-in page asks for a user ({', '.join(USERS)}), for no password.")
    if data is None:
        teller.text("Ctrl-C ends everything and removes that directory; --data DIR keeps one.", "bold")
    else:
        teller.text("Ctrl-C ends everything; the directory stays.", "bold")


def _rows(stage: Stage) -> dict[bytes, bytes]:
    return sealed_rows(stage.servers / "vault" / "strongroom.sqlite3")


def _wrong(what: str) -> Failure:
    return Failure(f"the demo did not go as it should: {what}", "please report this", status=EXIT_FAILED)
