"""`strongroom release` before a Vault with custodians and approvers, who sign with real OpenSSH."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace

import pytest

from strongroom.attack.network import listening
from strongroom.attestation.appraisal import appraise
from strongroom.attestation.policy import ReleaseAuthority
from strongroom.attestation.trust_file import format_trust_policy, parse_trust_policy
from strongroom.cli.main import run
from strongroom.cli.terminal import EXIT_MISUSE, EXIT_REFUSED
from strongroom.client.methods import ssh_keys
from strongroom.client.releases import parse_proposal, proposal_text
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.link import Operation
from strongroom.protocol.releases import SignedReleases
from tests.support import policies
from tests.support.ceremony import found
from tests.support.evidence import changed
from tests.support.releases import NEW, own
from tests.support.served import Line

pytestmark = pytest.mark.needs("ssh")
PROGRAM = f"insecure-software={NEW.hex()}"


def made(path, *more):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path, *more], check=True, timeout=60
    )
    return path


def sign_elsewhere(key, statement, namespace="strongroom-releases"):
    """As an approver does whose key is on another machine."""
    statement.with_name(f"{statement.name}.sig").unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key, statement], check=True, timeout=60)


def public(path):
    (key,) = ssh_keys(path.with_name(f"{path.name}.pub").read_text())
    return key


@contextmanager
def agent(monkeypatch, key):
    """An ssh-agent that holds this key alone, whose file is gone."""
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found_in = dict(re.findall(r"(SSH_AUTH_SOCK|SSH_AGENT_PID)=([^;]+);", started))
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", found_in["SSH_AUTH_SOCK"])
        subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True, timeout=60)
        key.unlink()
        yield
    finally:
        os.kill(int(found_in["SSH_AGENT_PID"]), 15)


@pytest.fixture(autouse=True)
def _no_agent_and_nobody_to_ask(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("SSH_ASKPASS", shutil.which("false") or "/bin/false")


class Office:
    """A Vault on loopback, two of three people who approve its programs, and a folder."""

    def __init__(self, folder, founded, people, url):
        self.folder, self.founded, self.people, self.url = folder, founded, people, url
        self.trust = folder / "trust.toml"
        self.file = folder / "list.proposal"

    @property
    def role(self):
        software = policies.software(roots=list(self.founded.instance.platform.roots), measurements=[own(self.founded)])
        return policies.role(clusters=[self.founded.cluster_id], insecure_software=software)

    @property
    def own(self):
        return f"insecure-software={own(self.founded).hex()}"

    async def cli(self, *arguments):
        return await asyncio.to_thread(run, ["release", *map(str, arguments)])

    async def propose(self, *arguments, file=None):
        return await self.cli("propose", self.url, "--trust", self.trust, "-o", file or self.file, *arguments)

    async def approve(self, at, *arguments):
        return await self.cli("approve", self.file, "--key", self.people[at], "--trust", self.trust, "-y", *arguments)

    async def publish(self, *files):
        return await self.cli("publish", self.url, *(files or [self.file]), "--trust", self.trust)

    async def status(self, capsys):
        capsys.readouterr()
        assert await self.cli("status", self.url, "--trust", self.trust, "--json") == 0
        return json.loads(capsys.readouterr().out)

    async def first_list(self):
        """Both programs, published."""
        assert await self.propose("--version", "1.0", "--svn", "1", "--program", self.own) == 0
        assert await self.approve(0) == await self.approve(1) == 0
        assert await self.publish() == 0
        self.file.unlink()


@pytest.fixture
async def office(tmp_path):
    people = [made(tmp_path / name) for name in ("alice", "bob", "carol")]
    founded = await found(tmp_path / "state", approvers=[public(one) for one in people], approvals=2)
    async with listening(Line(founded.instance).serve) as url:
        office = Office(tmp_path, founded, people, url)
        office.trust.write_text(format_trust_policy(policies.trust(office.role)))
        yield office


async def test_a_program_is_proposed_approved_published_and_retired(office, capsys):
    await office.first_list()
    assert await office.propose("--version", "1.1", "--svn", "2", "--program", PROGRAM) == 0
    assert "NEW: this program will get the keys" in capsys.readouterr().err
    assert await office.approve(2) == 0
    assert await office.approve(0) == 0
    said = capsys.readouterr().err
    assert "trusts this cluster" in said
    assert f"{PROGRAM.replace('=', ' ')}" in said
    assert await office.publish() == 0
    assert "list 2 of releases is in force" in capsys.readouterr().out
    shown = await office.status(capsys)
    assert (shown["serial"], shown["approvals_needed"]) == (2, 2)
    assert [(one["version"], one["admitted"]) for one in shown["programs"]] == [("1.0", True), ("1.1", True)]
    assert len(shown["approved_by"]) == 2
    office.file.unlink()
    assert await office.cli("retire", office.url, "1.1", "--trust", office.trust, "-o", office.file) == 0
    assert "RETIRED: gets nothing any more" in capsys.readouterr().err
    assert await office.approve(1) == await office.approve(2) == 0
    assert await office.publish() == 0
    shown = await office.status(capsys)
    assert [one["version"] for one in shown["programs"]] == ["1.0"]
    assert await office.cli("status", office.url, "--trust", office.trust) == 0
    table = capsys.readouterr().out
    assert "may have the keys" in table
    assert "answering" in table


async def test_an_agent_and_an_ssh_keygen_elsewhere_approve(office, monkeypatch, capsys):
    assert await office.propose("--version", "1.0", "--svn", "1", "--program", office.own) == 0
    alice, bob, _ = office.people
    with agent(monkeypatch, alice):
        assert await office.cli("approve", office.file, "--key", f"{alice}.pub", "-y") == 0
    assert "not judged: whose cluster" in capsys.readouterr().err
    statement = office.folder / "statement.bin"
    assert await office.cli("approve", office.file, "--statement-out", statement) == 0
    sign_elsewhere(bob, statement)
    assert await office.cli("approve", office.file, "--signature", f"{statement}.sig") == 0
    assert await office.publish() == 0
    assert (await office.status(capsys))["serial"] == 1


async def test_copies_that_different_people_signed_are_published_together(office, capsys):
    assert await office.propose("--version", "1.0", "--svn", "1", "--program", office.own) == 0
    copy = office.folder / "copy.proposal"
    shutil.copy(office.file, copy)
    assert await office.approve(0) == 0
    assert await office.cli("approve", copy, "--key", office.people[1], "-y") == 0
    assert await office.publish() == EXIT_MISUSE
    assert "1 approvals of the 2 that it takes" in capsys.readouterr().err
    assert await office.publish(office.file, copy) == 0


async def test_what_was_signed_for_a_login_is_no_approval(office, capsys):
    assert await office.propose("--version", "1.0", "--svn", "1", "--program", office.own) == 0
    statement = office.folder / "statement.bin"
    assert await office.cli("approve", office.file, "--statement-out", statement) == 0
    alice = office.people[0]
    for namespace in ("strongroom", "git", "file"):
        sign_elsewhere(alice, statement, namespace)
        assert await office.cli("approve", office.file, "--signature", f"{statement}.sig") == EXIT_MISUSE
        assert f"made for '{namespace}'" in capsys.readouterr().err
    assert parse_proposal(office.file.read_text()).approvals == ()


async def test_who_is_no_approver_or_has_approved_is_told_so(office, capsys):
    assert await office.propose("--version", "1.0", "--svn", "1", "--program", office.own) == 0
    eve = made(office.folder / "eve")
    assert await office.cli("approve", office.file, "--key", eve, "-y") == EXIT_MISUSE
    assert "no approver of this cluster" in capsys.readouterr().err
    assert await office.approve(0) == 0
    assert await office.approve(0) == EXIT_MISUSE
    assert "has approved this list" in capsys.readouterr().err


async def test_a_proposal_whose_words_were_edited_is_not_signed(office, capsys):
    """A proposer shows a harmless list, and has another one signed."""
    assert await office.propose("--version", "1.0", "--svn", "1", "--program", office.own, "--program", PROGRAM) == 0
    honest = office.file.read_text()
    for old, new in ((NEW.hex(), "66" * 32), ('"svn": 1', '"svn": 9'), ('"serial": 1', '"serial": 2')):
        assert old in honest
        office.file.write_text(honest.replace(old, new, 1))
        assert await office.approve(0) == EXIT_MISUSE
        assert "not what would be signed" in capsys.readouterr().err


async def test_what_is_new_is_told_by_the_approvers_own_policy(office, capsys):
    """Not by what the file says that there was before."""
    await office.first_list()
    assert await office.propose("--version", "1.1", "--svn", "2", "--program", PROGRAM) == 0
    proposal = parse_proposal(office.file.read_text())
    forged = encode(SignedReleases(encode(changed(proposal.releases, serial=1)), []))
    forgery = office.folder / "forged.proposal"
    forgery.write_text(proposal_text(replace(proposal, untrusted_before=forged)))

    async def shown(file):
        capsys.readouterr()
        arguments = ("approve", file, "--trust", office.trust, "--statement-out", office.folder / os.urandom(4).hex())
        assert await office.cli(*arguments) == 0
        return [line.split() for line in capsys.readouterr().err.splitlines()]

    unpinned = [line[:2] for line in await shown(office.file)]
    assert ["+", "1.0"] in unpinned
    assert ["+", "1.1"] in unpinned
    authority = ReleaseAuthority(approvers=[public(one) for one in office.people], approvals=2, min_serial=1)
    office.trust.write_text(format_trust_policy(policies.trust(changed(office.role, releases=authority))))
    pinned = [line[:2] for line in await shown(office.file)]
    assert ["=", "1.0"] in pinned
    assert ["+", "1.1"] in pinned
    deceived = await shown(forgery)
    assert ["+", "1.1"] in [line[:2] for line in deceived]
    assert not any(line[0] == "=" for line in deceived if line)


async def test_a_list_of_a_cluster_that_the_approver_does_not_trust_is_not_signed(office, capsys):
    assert await office.propose("--version", "1.0", "--svn", "1", "--program", office.own) == 0
    other = policies.role(clusters=[bytes(32)], insecure_software=office.role.insecure_software)
    office.trust.write_text(format_trust_policy(policies.trust(other)))
    assert await office.approve(0) == EXIT_REFUSED
    assert "does not trust" in capsys.readouterr().err


async def test_nothing_is_proposed_that_the_cluster_would_refuse(office, capsys):
    assert await office.propose("--version", "1.1", "--svn", "2", "--program", PROGRAM) == EXIT_MISUSE
    assert f"--program {office.own}" in capsys.readouterr().err
    await office.first_list()
    capsys.readouterr()
    for arguments, said in (
        (("--version", "1.0", "--svn", "2", "--program", PROGRAM), "listed with security version 1, not 2"),
        (("--version", "1.2", "--svn", "2", "--program", office.own), "names a version or a program twice"),
        (("--min-svn", "2"), "leaves out the program that runs now"),
        ((), "nothing would change"),
        (("--version", "1.2", "--svn", "2", "--program", "sgx=00"), "is no program"),
        (("--version", "1.2", "--program", PROGRAM), "--program needs --version and --svn"),
    ):
        assert await office.propose(*arguments) == EXIT_MISUSE
        assert said in capsys.readouterr().err
    assert await office.cli("retire", office.url, "9", "--trust", office.trust, "-o", office.file) == EXIT_MISUSE
    assert "names no version 9" in capsys.readouterr().err
    assert not office.file.exists()


async def test_a_proposal_that_another_list_overtook_is_proposed_again(office, capsys):
    await office.first_list()
    late = office.folder / "late.proposal"
    assert await office.propose("--version", "1.1", "--svn", "2", "--program", PROGRAM) == 0
    shutil.copy(office.file, late)
    assert await office.approve(0) == await office.approve(1) == 0
    assert await office.publish() == await office.publish() == 0  # the same list is the same success
    office.file.unlink()
    assert await office.cli("retire", office.url, "1.1", "--trust", office.trust, "-o", office.file) == 0
    assert await office.approve(0) == await office.approve(1) == 0
    assert await office.publish() == 0
    for person in (office.people[1], office.people[2]):
        assert await office.cli("approve", late, "--key", person, "-y") == 0
    capsys.readouterr()
    assert await office.publish(late) == EXIT_MISUSE
    assert "the list is number 2, and the next one is number 4" in capsys.readouterr().err


async def test_a_client_that_goes_by_releases_takes_what_is_listed_and_nothing_else(office):
    await office.first_list()
    evidence = await office.founded.instance.enclave.handle(Operation.EVIDENCE, b"")
    authority = policies.release_authority()
    people = [public(one) for one in office.people]
    unpinned = policies.software(roots=list(office.founded.instance.platform.roots))

    def accept(approvers, approvals, serial=0):
        releases = type(authority)(approvers=approvers, approvals=approvals, min_serial=serial)
        role = policies.role(clusters=[office.founded.cluster_id], insecure_software=unpinned, releases=releases)
        return appraise(
            evidence, role="vault", policy=role, now=int(office.founded.instance.platform.now())
        ).accepted_by

    assert accept(people, 2) == "release"
    for wrong in ((people, 3), (people, 2, 2), (people[:1], 1), ([], 0)):
        with pytest.raises(Untrusted) as caught:
            accept(*wrong)
        assert caught.value.number in (Number.POLICY, Number.INTEGRITY)


async def pin(office, url, *arguments):
    pinned = office.folder / "pinned.toml"
    urls = ("--vault", office.url, "--authenticator", url, "--insecure", "-o", pinned, "-y")
    return await asyncio.to_thread(run, ["trust", "pin", *map(str, [*urls, *arguments])])


async def test_who_releases_programs_is_pinned_in_their_place(office, tmp_path, capsys):
    """So a client goes on through an upgrade, and refuses a list that was put back."""
    alice = public(office.people[0])
    beside = await found(tmp_path / "beside", role="authenticator", approvers=[alice], approvals=1)
    pinned = tmp_path / "pinned.toml"
    async with listening(Line(beside.instance).serve) as url:
        assert await pin(office, url, "--releases") == 0
        before = parse_trust_policy(pinned.read_text())
        assert before.vault.releases is not None
        assert before.vault.insecure_software is not None
        assert before.vault.releases.approvals == 2
        assert before.vault.insecure_software.measurements == [own(office.founded)]  # there is no list yet
        await office.first_list()
        assert await pin(office, url, "--releases", "--force") == 0
        assert "the lowest list of releases rises from 0 to 1" in capsys.readouterr().err
        after = parse_trust_policy(pinned.read_text())
        assert after.vault.releases is not None
        assert after.vault.insecure_software is not None
        assert after.authenticator.releases is not None
        assert after.vault.insecure_software.measurements == []
        assert after.vault.releases.min_serial == 1
        assert after.authenticator.releases.approvers == [alice]
        assert await asyncio.to_thread(run, ["verify", office.url, "--trust", str(pinned)]) == 0
        said = capsys.readouterr().out
        assert "release 1.0" in said
        assert "SHA256:" in said
        assert await asyncio.to_thread(run, ["trust", "show", str(pinned)]) == 0
        assert "list 1 on" in capsys.readouterr().out
        raised = pinned.read_text().replace("min_serial = 1", "min_serial = 2")
        pinned.write_text(raised)
        assert await asyncio.to_thread(run, ["verify", office.url, "--trust", str(pinned)]) == EXIT_REFUSED
        assert "below the floor 2" in capsys.readouterr().err
        assert await pin(office, url, "--releases", "--force") == EXIT_REFUSED
        assert "shows list 1 of releases, below the floor 2" in capsys.readouterr().err
        assert await pin(office, url, "--force") == 0
        assert "approvers dropped" in capsys.readouterr().err


async def test_clusters_without_approvers_are_pinned_by_their_programs(tmp_path, capsys):
    vault, beside = await found(tmp_path / "a"), await found(tmp_path / "b", role="authenticator")
    async with listening(Line(vault.instance).serve) as url, listening(Line(beside.instance).serve) as other:
        where = ["--vault", url, "--authenticator", other, "--insecure", "-o", str(tmp_path / "t.toml"), "-y"]
        assert await asyncio.to_thread(run, ["trust", "pin", *where, "--releases"]) == EXIT_REFUSED
        assert "neither cluster has approvers" in capsys.readouterr().err
        assert not (tmp_path / "t.toml").exists()
        assert await asyncio.to_thread(run, ["trust", "pin", *where]) == 0
        arguments = ["propose", url, "--trust", tmp_path / "t.toml", "-o", tmp_path / "p", "--min-svn", "1"]
        assert await asyncio.to_thread(run, ["release", *map(str, arguments)]) == EXIT_MISUSE
        assert "this cluster has no approvers" in capsys.readouterr().err
        assert await asyncio.to_thread(run, ["release", "status", url, "--trust", str(tmp_path / "t.toml")]) == 0
        assert "none yet" in capsys.readouterr().out
