"""Real OpenSSH on both sides: what it signs, signs in; what our keys in software sign, it verifies."""

import os
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from strongroom.client.errors import BadInput
from strongroom.client.methods import keys_method, ssh_keys
from strongroom.client.policy import Policy
from strongroom.client.sign_in.keys import KeySignIn
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.sshsig import parse_ssh_key, verify_sshsig
from tests.support.served import ServedWorld
from tests.support.ssh_keys import KEY_TYPES, VERIFIED, SshKey, string

pytestmark = pytest.mark.needs("ssh")
CHALLENGE = bytes(range(32))
TYPES = {"ed25519": [], "ecdsa": ["-b", "256"]}
PASSPHRASE = "correct horse"


def keygen(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *map(str, arguments)], capture_output=True, check=False, timeout=60, **options)


def made(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key as people make it."""
    done = keygen("-q", "-t", kind, *TYPES[kind], "-N", passphrase, "-C", "bob@example.com", "-f", path)
    assert done.returncode == 0, done.stderr
    return path


def armoured(key: bytes, signature: bytes, namespace: bytes = b"strongroom") -> bytes:
    """The blob of `ssh-keygen -Y sign` around a signature."""
    blob = b"SSHSIG" + (1).to_bytes(4, "big") + b"".join(map(string, (key, namespace, b"", b"sha512", signature)))
    text = b64encode(blob).decode()
    lines = "\n".join(text[at : at + 70] for at in range(0, len(text), 70))
    return f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n".encode()


def openssh_verifies(folder: Path, line: str, signature: bytes, key: bytes, options: str = "") -> bool:
    """Whether `ssh-keygen -Y verify` takes it."""
    (folder / "allowed").write_text(f"bob@example.com {options}{' ' if options else ''}{line}\n")
    (folder / "signature").write_bytes(armoured(key, signature))
    files = ("-f", folder / "allowed", "-s", folder / "signature")
    done = keygen("-Y", "verify", "-n", "strongroom", "-I", "bob@example.com", *files, input=CHALLENGE)
    return done.returncode == 0


@contextmanager
def agent(monkeypatch: pytest.MonkeyPatch, *keys: Path):
    """An ssh-agent that holds these keys, until the end."""
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(SSH_AUTH_SOCK|SSH_AGENT_PID)=([^;]+);", started))
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", found["SSH_AUTH_SOCK"])
        for key in keys:
            subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True, timeout=60)
        yield
    finally:
        os.kill(int(found["SSH_AGENT_PID"]), 15)


def without_ssh_keygen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.fixture(autouse=True)
def _no_agent_and_nobody_to_ask(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("SSH_ASKPASS", shutil.which("false") or "/bin/false")


# --- files, agents, passphrases -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
async def test_a_key_that_ssh_keygen_made_signs_without_ssh_keygen(tmp_path, monkeypatch, kind):
    path = made(tmp_path / "id", kind)
    line = (tmp_path / "id.pub").read_text()
    (tmp_path / "id.pub").unlink()
    with monkeypatch.context() as patch:
        without_ssh_keygen(patch)
        key = KeySignIn(path)
        signature = await key.sign(CHALLENGE)
    assert ssh_keys(line) == [key.public_key]
    assert verify_sshsig(parse_ssh_key(key.public_key), signature, CHALLENGE) is None
    assert openssh_verifies(tmp_path, line, signature, key.public_key)
    assert not openssh_verifies(tmp_path, line, signature[:-1] + bytes([signature[-1] ^ 1]), key.public_key)


@pytest.mark.parametrize("kind", TYPES)
async def test_a_key_that_an_agent_holds_signs(tmp_path, monkeypatch, kind):
    path = made(tmp_path / "id", kind)
    with agent(monkeypatch, path):
        path.unlink()
        key = KeySignIn(tmp_path / "id.pub")
        signature = await key.sign(CHALLENGE)
    assert verify_sshsig(parse_ssh_key(key.public_key), signature, CHALLENGE) is None


async def test_an_agent_without_the_key_does_not_sign_with_another(tmp_path, monkeypatch, capfd):
    path, other = made(tmp_path / "id"), made(tmp_path / "other")
    with agent(monkeypatch, other):
        path.unlink()
        with pytest.raises(BadInput, match="ssh-keygen did not sign") as caught:
            await KeySignIn(tmp_path / "id.pub").sign(CHALLENGE)
    assert "ssh-add" in caught.value.hint
    assert capfd.readouterr().err  # what ssh-keygen said is the user's to read


async def test_a_passphrase_is_asked_for_by_ssh_keygen(tmp_path, monkeypatch):
    path = made(tmp_path / "id", passphrase=PASSPHRASE)
    asked = tmp_path / "asked"
    asked.write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n")
    asked.chmod(0o700)
    key = KeySignIn(path)
    with pytest.raises(BadInput, match="ssh-keygen did not sign"):
        await key.sign(CHALLENGE)
    monkeypatch.setenv("SSH_ASKPASS", str(asked))
    assert verify_sshsig(parse_ssh_key(key.public_key), await key.sign(CHALLENGE), CHALLENGE) is None


@pytest.mark.parametrize("curve", ["ed25519", "P-256"])
async def test_a_machines_key_that_openssl_made_is_written_like_an_ssh_key(tmp_path, curve):
    private = ed25519.Ed25519PrivateKey.generate() if curve == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "machine.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    key = KeySignIn(path)
    assert verify_sshsig(parse_ssh_key(key.public_key), await key.sign(CHALLENGE), CHALLENGE) is None
    # What docs/howto/sign-in/ssh-keys.md tells to put into the instructions.
    assert ssh_keys(key.line) == [key.public_key]
    assert keygen("-l", "-f", "-", input=key.line.encode()).returncode == 0


async def test_without_ssh_keygen_an_agents_key_can_not_sign_and_says_so(tmp_path, monkeypatch):
    made(tmp_path / "id").unlink()
    without_ssh_keygen(monkeypatch)
    with pytest.raises(BadInput, match="ssh-keygen"):
        await KeySignIn(tmp_path / "id.pub").sign(CHALLENGE)


@pytest.mark.parametrize("lie", ["another key", "another namespace", "nothing", "noise"])
async def test_an_ssh_keygen_that_answers_something_else_is_not_believed(tmp_path, monkeypatch, lie):
    """The first one in PATH: what it gives goes to an Authenticator only if it is what was asked for."""
    path, other = made(tmp_path / "id"), SshKey()
    (public_key,) = ssh_keys((tmp_path / "id.pub").read_text())
    path.unlink()
    signature = other.sign(CHALLENGE)
    answer = {
        "another key": armoured(other.public_key, signature),
        "another namespace": armoured(public_key, signature, b"git"),
        "nothing": b"",
        "noise": armoured(public_key, signature)[:-9],
    }[lie]
    (tmp_path / "answer").write_bytes(answer)
    (tmp_path / "ssh-keygen").write_text(f"#!/bin/sh\ncat > /dev/null; cat {tmp_path}/answer\n")
    (tmp_path / "ssh-keygen").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BadInput, match="another key, or for something else"):
        await KeySignIn(tmp_path / "id.pub").sign(CHALLENGE)


async def test_what_is_no_key_for_this_is_said_before_anything_is_sent(tmp_path):
    made(tmp_path / "id")
    (tmp_path / "id").chmod(0o640)
    with pytest.raises(BadInput, match="others can read"):
        KeySignIn(tmp_path / "id")
    with pytest.raises(BadInput, match="can't read the key"):
        KeySignIn(tmp_path / "missing")
    (tmp_path / "noise").write_bytes(b"\x00\xff" * 50)
    with pytest.raises(BadInput, match="no key that signs here"):
        KeySignIn(tmp_path / "noise")
    both = (tmp_path / "id.pub").read_text() * 2
    (tmp_path / "both.pub").write_text(both)
    with pytest.raises(BadInput, match="no key that signs here"):
        KeySignIn(tmp_path / "both.pub")
    for name, private in (
        ("rsa", rsa.generate_private_key(65537, 2048)),
        ("p384", ec.generate_private_key(ec.SECP384R1())),
    ):
        path = tmp_path / name
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
        with pytest.raises(BadInput, match="of another type"):
            KeySignIn(path)
    torn = tmp_path / "torn"
    torn.write_bytes((tmp_path / "id").read_bytes()[:150] + b"\n-----END OPENSSH PRIVATE KEY-----\n")
    torn.chmod(0o600)
    with pytest.raises(BadInput, match="no private key"):
        KeySignIn(torn)
    sealed = tmp_path / "sealed"
    encrypted = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    sealed.write_bytes(encrypted)
    sealed.chmod(0o600)
    with pytest.raises(BadInput, match=r"there is no .*sealed\.pub"):
        KeySignIn(sealed)


# --- security keys: ours in software against OpenSSH's verifier -----------------------------------------------------


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_openssh_takes_what_our_software_keys_sign(tmp_path, kind):
    """So what the hostile tests bend is what OpenSSH would have made."""
    key = SshKey(kind=kind)
    assert openssh_verifies(tmp_path, key.line, key.sign(CHALLENGE, counter=7), key.public_key)
    bends: list[dict[str, Any]] = [{"namespace": b"git"}, {"magic": b"SSHSIX"}, {"reserved": b"x"}]
    for bent in bends:
        assert not openssh_verifies(tmp_path, key.line, key.sign(CHALLENGE, **bent), key.public_key)
    listed = keygen("-l", "-f", "-", input=key.line.encode()).stdout.split()[1]
    assert listed.decode() == "SHA256:" + b64encode(fingerprint(key.public_key)).decode().rstrip("=")


@pytest.mark.parametrize("kind", KEY_TYPES[2:])
def test_openssh_and_we_agree_on_a_key_that_nobody_touched(tmp_path, kind):
    key = SshKey(kind=kind)
    signature = key.sign(CHALLENGE, flags=VERIFIED)
    assert verify_sshsig(parse_ssh_key(key.public_key), signature, CHALLENGE) is not None
    assert openssh_verifies(tmp_path, key.line, key.sign(CHALLENGE), key.public_key)


@pytest.mark.parametrize("namespace", ["git", "file", "strongroom2"])
def test_what_real_openssh_signs_for_something_else_is_no_sign_in(tmp_path, namespace):
    path = made(tmp_path / "id")
    (tmp_path / "message").write_bytes(CHALLENGE)
    for name, verifies in ((namespace, False), ("strongroom", True)):
        (tmp_path / "message.sig").unlink(missing_ok=True)
        assert keygen("-Y", "sign", "-n", name, "-f", path, tmp_path / "message").returncode == 0
        blob = re.sub(rb"-----[A-Z ]+-----|\n", b"", (tmp_path / "message.sig").read_bytes())
        (public_key,) = ssh_keys((tmp_path / "id.pub").read_text())
        signature = _last_field(blob)
        if verifies:
            assert verify_sshsig(parse_ssh_key(public_key), signature, CHALLENGE) is None
        else:
            with pytest.raises(Untrusted, match="bad signature"):
                verify_sshsig(parse_ssh_key(public_key), signature, CHALLENGE)


def _last_field(blob: bytes) -> bytes:
    rest, field = b64decode(blob)[10:], b""
    while rest:
        size = int.from_bytes(rest[:4], "big")
        field, rest = rest[4 : 4 + size], rest[4 + size :]
    return field


# --- the whole way --------------------------------------------------------------------------------------------------


async def test_a_record_opens_with_the_key_that_it_names_and_with_no_other(tmp_path):
    bob, eve = made(tmp_path / "bob"), made(tmp_path / "eve", "ecdsa")
    method = keys_method({"bob@example.com": (tmp_path / "bob.pub").read_text()})
    rules = Policy.person(method, "bob@example.com").may("collect") | Policy.depositor_may("update", "delete")
    async with ServedWorld.open(tmp_path / "state") as served:
        instructions = served.instructions(rules, methods=[served.method, method])
        async with served.sdk("alice") as alice:
            stored = await alice.store(b"a secret", namespace="team", instructions=instructions)
        people: list[Any] = []
        async with served.sdk(sign_in=KeySignIn(bob), signed_in=people.append) as vault:
            assert (await vault.collect(stored.address)).secret == b"a secret"
        assert [person.subject for person in people] == ["bob@example.com"]
        async with served.sdk(sign_in=KeySignIn(eve)) as vault:
            with pytest.raises(BadInput, match="no sign-in method suits") as caught:
                await vault.collect(stored.address)
        (digest,) = [word for word in keygen("-l", "-f", eve).stdout.decode().split() if word.startswith("SHA256:")]
        assert f"{eve} is {digest}, none of these" in caught.value.error
