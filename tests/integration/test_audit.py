"""`strongroom audit` against a Vault that runs: its tiles, its database, copies of both, and what is exported."""

import asyncio
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout

import httpx
import pytest

from bench.scene import RULES, scene
from strongroom.cli.main import run
from strongroom.client.attacks import Attack, save_attack
from strongroom.client.audit.sources import SavedLog
from strongroom.client.audit.syslog import message_of
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.messages import ById
from strongroom.protocol.notes import verify_checkpoint
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.tlog import Frontier, leaf_hash
from strongroom.protocol.vault_messages import Collect
from tests.support.command import Ran, environment
from tests.support.logs import MadeLog


def audit(*arguments):
    """`strongroom audit` in this process, for each start of a new one costs seconds."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(["audit", *map(str, arguments)])
    return Ran(status, out.getvalue().encode(), err.getvalue())


class Scenery:
    """A Vault with records and answers in it, and the command."""

    def __init__(self, it):
        self.it = it
        self.url = it.vault.url
        self.cluster = it.clusters["vault"].hex()
        self.data = it.vault._arguments[0]

    async def work(self, stores=3):
        binding = SigningKey.generate()
        wire = await self.it.wire("vault", binding)
        ticket, instructions = await self.it.ticket(binding, wire), self.it.instructions(RULES)
        for _ in range(stores):
            name = os.urandom(16)
            await wire.ask(self.it.store(ticket, [name], instructions, size=64))
            await wire.ask(Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[ById(id=name)]))
        wire.close()

    async def run(self, *arguments):
        known = [] if "--cluster" in arguments else ["--cluster", self.cluster]
        return await asyncio.to_thread(audit, *arguments, *known)

    async def checks(self, *arguments):
        ran = await self.run(*arguments, "--json")
        report = json.loads(ran.out)
        return ran, {check["name"]: check for check in report["checks"]}, report["facts"]

    async def note(self, folder):
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.url}/v1/log/checkpoint")
        path = folder / f"note-{os.urandom(4).hex()}"
        path.write_bytes(answer.content)
        return path


@pytest.fixture(scope="module")
async def it():
    """One Vault for all tests here that do not stop it."""
    async with scene() as it:
        scenery = Scenery(it)
        await scenery.work(70)  # more leaves than a full tile has
        yield scenery


def states(checks):
    return {name: check["state"] for name, check in checks.items()}


async def test_a_vault_that_runs_is_audited_and_a_monitor_needs_no_code_of_ours(it, tmp_path):
    ran, checks, facts = await it.checks("--url", it.url)
    assert (ran.status, ran.err) == (0, "")
    assert set(states(checks).values()) == {"holds", "not checked"}, states(checks)
    assert states(checks)["governance"] == "holds"  # the Vault was asked for its charter
    assert facts["starts"] == 1
    assert facts["entries"] >= 3
    people = await it.run("--url", it.url)
    assert people.status == 0
    assert b"the leaves are exactly those that the checkpoint covers" in people.out

    async with httpx.AsyncClient(base_url=f"{it.url}/v1/log/", trust_env=False) as client:
        lines = (await client.get("checkpoint")).text.split("\n")
        size, tree = int(lines[1]), Frontier()
        for number in range(-(-size // 256)):
            partial = "" if size - 256 * number >= 256 else f".p/{size - 256 * number}"
            bundle = (await client.get(f"tile/entries/{number:03d}{partial}")).content
            while bundle:
                end = 2 + int.from_bytes(bundle[:2], "big")
                tree.append(leaf_hash(bundle[2:end]))
                bundle = bundle[end:]
        assert tree.size == size
        genesis = parse_evidence((await client.get(it.url + "/v1/evidence")).content)[2]
        log = log_verifier(bytes.fromhex(it.cluster), genesis.log_key)
        note = (await client.get("checkpoint")).content
        if (signed := verify_checkpoint(note, log)).checkpoint.size == size:
            assert signed.checkpoint.root == tree.root


async def test_another_cluster_than_one_was_told_is_named(it, tmp_path):
    ran = await it.run("--url", it.url, "--cluster", "00" * 32, "--json")
    assert ran.status == 11
    assert it.cluster in json.loads(ran.out)["checks"][0]["findings"][0]
    nameless = await asyncio.to_thread(audit, "--url", it.url)
    assert nameless.status == 2
    assert "which cluster" in nameless.err
    authenticator = await it.run("--url", it.it.authenticator.url, "--cluster", it.it.clusters["authenticator"].hex())
    assert authenticator.status == 11
    assert b"authenticator" in authenticator.out


async def test_a_database_is_audited_while_the_vault_writes_and_a_backup_when_it_is_gone(it, tmp_path):
    early = await it.note(tmp_path)
    await it.work(1)
    working = asyncio.ensure_future(it.work(20))
    ran, checks, _ = await it.checks("--database", it.data, "--checkpoint", early)
    assert ran.status == 0, ran.err
    assert states(checks)["rows"] == states(checks)["unlisted"] == states(checks)["index"] == "holds"
    assert states(checks)["governance"] == "holds"  # it stands beside the sealed ring
    assert states(checks)["root"] == "noticed"  # newer leaves than the checkpoint's
    await working
    late = await it.note(tmp_path)
    backup = tmp_path / "backup"
    source, target = (sqlite3.connect(path) for path in (it.data / "strongroom.sqlite3", tmp_path / "copy"))
    source.backup(target)
    source.close()
    target.close()
    backup.mkdir()
    shutil.move(tmp_path / "copy", backup / "strongroom.sqlite3")
    ran, checks, _ = await it.checks("--database", backup, "--checkpoint", late, "--since", early)
    assert ran.status == 0, ran.err
    assert states(checks)["root"] == states(checks)["since"] == states(checks)["hashes"] == "holds"
    ran, checks, _ = await it.checks("--database", backup)
    assert ran.status == 0
    assert states(checks)["checkpoint"] == states(checks)["root"] == "not checked"

    bent = sqlite3.connect(backup / "strongroom.sqlite3")
    bent.execute("UPDATE rows SET sealed = x'00' WHERE id = 5")
    bent.commit()
    bent.close()
    ran, checks, _ = await it.checks("--database", backup, "--checkpoint", late)
    assert ran.status == 11
    assert "fails" in {states(checks)[name] for name in ("rows", "index", "sealed-ring", "buckets")}
    assert "error: the log does not hold: " in ran.err


async def test_a_restart_is_seen_and_a_vault_that_was_rolled_back_is_named(tmp_path):
    async with scene() as one:
        await restart_and_roll_back(Scenery(one), tmp_path)


async def restart_and_roll_back(it, tmp_path):
    it.it.vault.stop()
    copy = tmp_path / "last-month"
    shutil.copytree(it.data, copy)
    it.it.restart_vault()
    await it.work()
    ran, checks, facts = await it.checks("--url", it.url)
    assert (ran.status, facts["starts"]) == (0, 2)
    known = await it.note(tmp_path)
    it.it.vault.stop()
    shutil.rmtree(it.data)
    shutil.copytree(copy, it.data)
    it.it.restart_vault()
    ran, checks, facts = await it.checks("--url", it.url, "--since", known)
    assert ran.status == 11
    assert states(checks)["since"] == "fails"
    assert states(checks)["root"] == "holds", "by itself it is a log like any other"


async def test_a_saved_log_is_audited_where_there_is_nothing_else(it, tmp_path):
    saved = tmp_path / "saved"
    assert (await it.run("--url", it.url, "--save", saved)).status == 0
    assert (saved / "tile/0/000").stat().st_size == 8192
    async with httpx.AsyncClient(base_url=f"{it.url}/v1/log/", trust_env=False) as client:
        for path in saved.rglob("tile/**/*"):
            if path.is_file():
                shown = await client.get(str(path.relative_to(saved)))
                assert shown.content == path.read_bytes(), path
    ran, checks, _ = await it.checks("--dir", saved)
    assert ran.status == 0, ran.err
    assert states(checks)["root"] == states(checks)["governance"] == "holds"
    bundle = saved / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"x")
    ran, checks, _ = await it.checks("--dir", saved)
    assert ran.status == 11
    bundle.unlink()
    ran, checks, _ = await it.checks("--dir", saved)
    assert ran.status == 11
    assert "does not have the leaves from 0 on" in checks["root"]["findings"][0]


async def test_an_export_says_what_is_public_and_goes_on_where_it_was(it, tmp_path):
    ran = await it.run("export", "--url", it.url)
    assert ran.status == 0, ran.err
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [record["index"] for record in records] == list(range(len(records)))
    assert records[0] | {"leaf": "commit", "start": True} == records[0]
    assert {record["leaf"] for record in records} == {"commit", "entry"}
    assert "sealed" in ran.err
    assert f"--from {len(records)}" in ran.err
    for first in (1, 255, 256, 257, len(records)):
        later = await it.run("export", "--url", it.url, "--from", first)
        assert [json.loads(line) for line in later.out.splitlines()] == records[first:], first
    beyond = await it.run("export", "--url", it.url, "--from", len(records) + 1)
    assert beyond.status == 2
    assert f"the log has {len(records)} leaves; is --from right?" in beyond.err


async def test_an_export_follows_the_log_until_it_is_interrupted(it, tmp_path):
    command = [sys.executable, "-m", "strongroom.cli", "audit", "export", "--url", it.url, "--cluster", it.cluster]
    output = tmp_path / "log.jsonl"
    process = subprocess.Popen(  # noqa: ASYNC220
        [*command, "--follow", "--every", "1s", "--output", str(output)], cwd=tmp_path, env=environment(),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        await asyncio.to_thread(wait_until, lambda: output.exists() and output.stat().st_size)
        before = len(output.read_text().splitlines())
        await it.work()
        await asyncio.to_thread(wait_until, lambda: len(output.read_text().splitlines()) >= before + 6)
    finally:
        process.send_signal(signal.SIGINT)
        said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 130
    written = [json.loads(line)["index"] for line in output.read_text().splitlines()]
    assert written == list(range(len(written)))
    assert f"--from {len(written)}" in said[1]


def wait_until(done, seconds=30):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


# --- syslog ------------------------------------------------------------------------------------------------------

SYSLOG = re.compile(
    rb"<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ strongroom - (entry|commit) "
    rb'\[origin software="strongroom" swVersion="[^"]+"\]\[meta sequenceId="(\d+)"\] (\{.*\})'
)


def received(connection, kind):
    """What a collector gets, until the sender has ended."""
    if kind == "tcp":
        stream, _ = connection.accept()
        data = b""
        while piece := stream.recv(65536):
            data += piece
        stream.close()
        messages = []
        while data:
            length, _, data = data.partition(b" ")
            messages.append(data[: int(length)])
            data = data[int(length) :]
        return messages
    messages = []
    connection.settimeout(30)
    try:
        while True:
            messages.append(connection.recv(65536))
            connection.settimeout(3)
    except TimeoutError:
        return messages


@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
async def test_syslog_messages_are_those_of_rfc_5424(it, tmp_path, kind):
    if kind == "unix":
        collector = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        collector.bind(str(tmp_path / "log"))
        address = f"unix:{tmp_path / 'log'}"
    elif kind == "udp":
        collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        collector.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{collector.getsockname()[1]}"
    else:
        collector = socket.create_server(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{collector.getsockname()[1]}"
    got: list[bytes] = []
    listening = threading.Thread(target=lambda: got.extend(received(collector, kind)))
    listening.start()
    ran = await it.run("export", "--url", it.url, "--format", "syslog", "--to", address)
    assert ran.status == 0, ran.err
    await asyncio.to_thread(listening.join, 20)
    collector.close()
    assert got[0].startswith(b"<109>1 "), "a start is a notice"
    parsed = [SYSLOG.fullmatch(message.replace(b"<109>", b"<110>")) for message in got]
    assert all(parsed)
    assert [int(found[2]) for found in parsed if found] == list(range(1, len(got) + 1))
    assert [json.loads(found[3])["index"] for found in parsed if found] == list(range(len(got)))


async def test_a_collector_that_is_gone_is_an_error_that_says_where_to_go_on(it, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    dead = f"tcp://127.0.0.1:{port}"
    ran = await it.run("export", "--url", it.url, "--format", "syslog", "--to", dead, "--from", 7)
    assert ran.status == 12
    assert "go on with --from 7\n" in ran.err
    assert "collector" in ran.err
    for bad in ("here", "http://a:1", "udp://", "tcp://a:b", "unix:", "tcp://a/b"):
        ran = await it.run("export", "--url", it.url, "--format", "syslog", "--to", bad)
        assert ran.status == 2, bad


def test_a_host_name_that_is_none_becomes_nil():
    record = {"time": "2026-11-26T04:00:00Z", "leaf": "entry", "index": 2**40}
    assert message_of(record, "bad name\n").split(b" ")[2] == b"-"


# --- evidence of attacks -----------------------------------------------------------------------------------------


def test_a_directory_that_was_never_a_log_and_files_that_are_none(tmp_path):
    made = MadeLog().grow()
    cluster = made.cluster.id.hex()

    def run(*arguments):
        return audit(*arguments, "--cluster", cluster)

    (tmp_path / "genesis").write_bytes(made.cluster.genesis)
    assert run("--dir", tmp_path).status == 2
    assert run("--database", tmp_path / "nothing").status == 2
    (tmp_path / "text").write_bytes(b"no database")
    assert run("--database", tmp_path / "text").status == 12
    assert run("--dir", tmp_path, "--database", tmp_path).status == 2
    assert run().status == 2
    assert run("--evidence", tmp_path / "text").status == 2
    (tmp_path / "checkpoint").write_bytes(b"hello")
    assert run("--dir", tmp_path).status == 11


def directory_of(made, folder):
    """The leaves of a log made by hand, as a directory that `--save` wrote."""
    saved = SavedLog(folder, made.cluster.genesis)
    saved.leaves(0, made.leaves)
    saved.finish(made.note())
    saved.discard()
    return folder


def test_a_log_that_does_not_hold_is_saved_apart_and_whole_and_another_clusters_is_refused(tmp_path):
    made, copy = MadeLog().grow(), tmp_path / "copy"
    shown, cluster = directory_of(made, tmp_path / "shown"), made.cluster.id.hex()
    assert audit("--dir", shown, "--save", copy, "--cluster", cluster).status == 0
    bundle = f"tile/entries/000.p/{len(made.leaves)}"
    good = (copy / bundle).read_bytes()
    (tmp_path / "known").write_bytes(made.note(1))
    (shown / bundle).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    ran = audit("--dir", shown, "--save", copy, "--since", tmp_path / "known", "--cluster", cluster)
    assert ran.status == 11
    assert (copy / bundle).read_bytes() == good
    (apart,) = copy.glob("failed-*")
    assert str(apart) in ran.err
    assert (apart / bundle).read_bytes() == (shown / bundle).read_bytes()
    assert (apart / "checkpoint").read_bytes() == made.note()
    assert (apart / "since-0.checkpoint").read_bytes() == made.note(1)
    assert audit("--dir", apart, "--cluster", cluster).status == 11
    other = MadeLog().grow()
    elsewhere = directory_of(other, tmp_path / "other")
    ran = audit("--dir", elsewhere, "--save", copy, "--cluster", other.cluster.id.hex())
    assert ran.status == 2
    assert "the log of another cluster" in ran.err
    assert (copy / "genesis").read_bytes() == made.cluster.genesis
    assert not list(copy.glob(".draft*"))


def test_the_last_line_names_what_was_not_made(tmp_path):
    made = MadeLog().grow()
    shown = directory_of(made, tmp_path / "shown")
    ran = audit("--dir", shown, "--cluster", made.cluster.id.hex())
    assert ran.out.decode().splitlines()[-1] == "11 checks hold, 3 were not made: cosignatures, since, governance"
    other = tmp_path / "known"
    other.write_bytes(MadeLog().grow().note())
    ran = audit("--dir", shown, "--since", other, "--cluster", made.cluster.id.hex())
    last = ran.out.decode().splitlines()[-1]
    assert last == "11 checks hold; 1 fails: since; 2 were not made: cosignatures, governance"


def test_evidence_that_a_client_saved_is_verified_and_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = MadeLog().grow()
    known = made.signed()
    made.leaves = made.leaves[:-1]
    made.commit()
    attack = Attack(
        finding="forked",
        known=known,
        shown=made.signed(),
        proof=(),
        evidence=made.cluster.evidence(),
        url="https://vault.example.com",
        noticed_at=made.at,
        version="strongroom test",
    )
    save_attack(attack)
    (file,) = (tmp_path / "strongroom" / "attacks").iterdir()
    ran = audit("--evidence", file)
    assert ran.status == 0, ran.err
    assert b"PROVEN: the key of this log signed two histories" in b" ".join(ran.out.split())
    steps = json.loads(audit("--evidence", file, "--json").out)["steps"]
    assert steps[0]["value"] == "forked"
    honest = file.read_text()
    file.write_text(honest.replace('"forked"', '"shorter"'))
    assert audit("--evidence", file).status == 11
    size = f"\\n{known.checkpoint.size}\\n"
    assert honest.index(size) < honest.rindex(size)
    for which, at in (("first", honest.index(size)), ("second", honest.rindex(size))):
        file.write_text(f"{honest[:at]}\\n99\\n{honest[at + len(size) :]}")
        ran = audit("--evidence", file)
        assert ran.status == 11
        assert f"{file}: the signature of its {which} checkpoint does not fit; it proves nothing" in ran.err


def test_a_password_is_not_taken_where_others_read_it():
    ran = audit("--database", "postgresql://a:secret@127.0.0.1/b", "--cluster", "00" * 32)
    assert ran.status == 2
    assert "secret" not in ran.err
