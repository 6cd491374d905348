"""`strongroom recover`, as custodians run it, against an enclave that recovers on a database which is too old."""

import asyncio
import contextlib
import json

import pytest

from strongroom.attack.network import listening
from strongroom.enclave.runtime import recovering
from strongroom.enclave.vault import witnessing
from strongroom.host.share.http import Server
from strongroom.host.witness.serve import LIMITS
from strongroom.host.witness.server import Witness
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.link import Operation
from tests.support.ceremony import open_file
from tests.support.command import strongroom
from tests.support.recovering import Cluster, reaches, status
from tests.support.served import Line
from tests.support.vault import stored


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recovering, "RETRY_SECONDS", 0.01)
    folder = tmp_path / "world"
    folder.mkdir()
    world = Cluster(folder, witnesses=3)
    await world.start()
    await world.namespace()
    people = world.founded.custodians
    for at, (file, identity) in enumerate(zip(people.files, people.identities, strict=True)):
        (tmp_path / f"share{at}.age").write_bytes(file)
        (tmp_path / f"identity{at}").write_text(f"# mine\n{identity}\n")
    yield world
    world.close()


async def run(tmp_path, *arguments, stdin=b""):
    return await asyncio.to_thread(strongroom, "recover", *arguments, cwd=tmp_path, stdin=stdin)


def own(at):
    return "--share", f"share{at}.age", "--identity", f"identity{at}"


@contextlib.asynccontextmanager
async def rolled_back(world):
    """URL of an enclave that recovers on a backup after which something was changed, and the machine."""
    address, _ = await stored(world)
    backup = world.database
    await (await world.client("alice")).update(address, 1, secret=b"newer")
    machine = await world.recovering(backup)
    async with listening(Line(machine).serve) as url:
        yield url, machine
    machine.serving.cancel()


@contextlib.asynccontextmanager
async def witness_at(world, index):
    """URL of one of the witnesses, as its operator serves it."""
    watch = world.watch
    witness = Witness(watch.keys[index], watch.names[index], watch.logs, watch.states[index], world.vault.platform.now)
    server = Server(witness.handle, LIMITS)
    try:
        yield await server.listen("127.0.0.1", 0)
    finally:
        await server.stop(1.0)


async def test_custodians_bring_a_cluster_back(world, tmp_path):
    """One of them on a machine without a network."""
    async with rolled_back(world) as (url, machine):
        shown = await run(tmp_path, "status", url, "--insecure", "--save", "evidence.bin")
        assert shown.status == 0, shown.err
        assert world.vault_cluster.hex() in shown.out.decode()
        assert "0 of 2 shares were submitted; 2 more are wanted" in shown.err

        unasked = await run(
            tmp_path, "seal", "--evidence", "evidence.bin", *own(2), "--insecure", "--out", "sealed.bin"
        )
        assert unasked.status == 2
        assert "there is no terminal to confirm this on" in unasked.err
        assert world.vault_cluster.hex() in unasked.err
        assert "custodian-2" in unasked.err
        assert not (tmp_path / "sealed.bin").exists()
        offline = await run(
            tmp_path, "seal", "--evidence", "evidence.bin", *own(2), "--insecure", "--out", "sealed.bin", "--yes"
        )
        assert offline.status == 0, offline.err
        carried = await run(tmp_path, "submit", url, "--sealed", "sealed.bin", "--insecure")
        assert carried.status == 0, carried.err
        assert "the share of custodian-2 was taken" in carried.err

        again = await run(tmp_path, "submit", url, *own(2), "--insecure", "--yes")
        assert again.status == 2
        assert "was submitted to this attempt already" in again.err
        online = await run(tmp_path, "submit", url, *own(0), "--insecure", "--yes")
        assert online.status == 0, online.err
        assert "look whether something is to be given up" in online.err

        await reaches(machine, "gap")
        found = json.loads((await run(tmp_path, "status", url, "--insecure", "--json")).out)
        gap = found["gap"]
        assert found["state"] == "gap"
        assert gap["known_size"] > gap["found_size"] == len(machine.host.log)
        words = await run(tmp_path, "status", url, "--insecure")
        assert "lines would be given up" in words.out.decode()

        unasked = await run(tmp_path, "approve-gap", url, *own(1), "--insecure")
        assert unasked.status == 2
        assert "there is no terminal to confirm this on" in unasked.err
        assert not any(seat.done for seat in (await status(machine)).custodians)
        async with witness_at(world, 0) as witness:
            signed = await run(tmp_path, "approve-gap", url, *own(1), "--insecure", "--yes", "--witness", witness)
        assert signed.status == 0, signed.err
        assert f"has seen {gap['known_size']:,} lines" in signed.err
        assert "signed; 1 more signature is wanted" in signed.err
        twice = await run(tmp_path, "approve-gap", url, *own(1), "--insecure", "--yes")
        assert twice.status == 0, twice.err
        assert "you had signed already; 1 more signature is wanted" in twice.err
        last = await run(tmp_path, "approve-gap", url, *own(0), "--insecure", "--yes")
        assert last.status == 0, last.err
        await world.served(machine)
        assert parse_any_evidence(await machine.evidence())[1].generation == 1
        over = await run(tmp_path, "submit", url, *own(1), "--insecure", "--yes")
        assert over.status == 10
        assert "this enclave recovers nothing: it serves (recoveries so far: 1)" in over.err


async def test_a_custodian_is_told_whether_it_is_a_drill_and_gives_nothing_to_the_other(world, tmp_path):
    """Shares that are given "for a drill" to a recovery make its copy serve."""
    async with rolled_back(world) as (url, machine):
        real = await run(tmp_path, "submit", url, *own(0), "--insecure", "--drill", "--yes")
        assert real.status == 10
        assert "REAL RECOVERY" in real.err
        assert "this is no drill" in " ".join(real.err.split())
        await run(tmp_path, "status", url, "--insecure", "--save", "real.bin")
        sealing = ("seal", *own(0), "--insecure", "--out", "sealed.bin", "--yes")
        offline = await run(tmp_path, *sealing, "--evidence", "real.bin", "--drill")
        assert offline.status == 10
        assert not (tmp_path / "sealed.bin").exists()
        assert not any(seat.done for seat in (await status(machine)).custodians)
    machine = world.machine()
    await machine.begin("drill")
    machine.serve()
    async with listening(Line(machine).serve) as url:
        unsaid = await run(tmp_path, "submit", url, *own(0), "--insecure", "--yes")
        assert unsaid.status == 10
        assert "--yes alone does not say that you mean one" in " ".join(unsaid.err.split())
        asked = await run(tmp_path, "submit", url, *own(0), "--insecure")
        assert (asked.status, "DRILL" in asked.err) == (2, True)
        assert not any(seat.done for seat in (await status(machine)).custodians)
        for at in (0, 1):
            given = await run(tmp_path, "submit", url, *own(at), "--insecure", "--drill", "--yes")
            assert given.status == 0, given.err
        assert "that was the drill" in given.err
        await reaches(machine, "drilled")
        found = json.loads((await run(tmp_path, "status", url, "--insecure", "--json")).out)
        assert (found["state"], found["drill"], found["gap"]) == ("drilled", True, None)
        signed = await run(tmp_path, "approve-gap", url, *own(0), "--insecure", "--yes")
        assert signed.status != 0
        assert "this is a drill" in signed.err
    machine.serving.cancel()


async def test_a_share_goes_to_no_enclave_that_its_custodian_does_not_accept(world, tmp_path):
    """Neither online nor offline, and words that were typed in name no cluster."""
    async with rolled_back(world) as (url, machine):
        await run(tmp_path, "status", url, "--insecure", "--save", "evidence.bin")
        submit = ("submit", url, "--yes")
        seal = ("seal", "--evidence", "evidence.bin", "--out", "sealed.bin")
        for arguments, accepting, said in (
            (submit, (), "shows software evidence"),
            (submit, ("--insecure", "--cluster", "ab" * 32), "and the enclave recovers"),
            (submit, ("--insecure", "--measurement", "ab" * 32), "another one than was named"),
            (seal, ("--insecure", "--measurement", "ab" * 32), "another one than was named"),
            (seal, ("--insecure", "--cluster", "ab" * 32), "and the enclave recovers"),
        ):
            refused = await run(tmp_path, *arguments, *own(0), *accepting)
            assert refused.status == 10, refused.err
            assert said in refused.err
        words = world.founded.shares[0].words.encode()
        assert (await run(tmp_path, *submit, "--share", "-", "--insecure", stdin=words)).status == 2
        assert not (tmp_path / "sealed.bin").exists()
        assert not any(seat.done for seat in (await status(machine)).custodians)


async def test_a_share_goes_to_the_attempt_that_was_shown_and_to_no_other(world, tmp_path):
    """The host puts another recovery, which the policy accepts as well, in its place before the share is sent."""
    machines = shown, other = await world.recovering(), await world.recovering()
    line = Line(shown)

    async def exchanging(operation, body):
        # The first is looked at, the second shown, the third is sent to.
        if operation is Operation.EVIDENCE and line.count(Operation.EVIDENCE) == 3:
            line.instance = other
        return await line.honestly(operation, body)

    line.carry = exchanging
    async with listening(line.serve) as url:
        refused = await run(tmp_path, "submit", url, *own(0), "--insecure", "--yes")
        assert line.instance is other
        assert refused.status == 2, refused.err
        assert "this was sealed to another attempt, or to another enclave" in refused.err
        for machine in machines:
            assert not any(seat.done for seat in (await status(machine)).custodians)
            machine.serving.cancel()


async def test_nothing_is_overwritten_and_no_two_shares_are_named(world, tmp_path):
    async with rolled_back(world) as (url, _):
        (tmp_path / "there").write_text("kept")
        for arguments in (
            ("status", url, "--insecure", "--save", "there"),
            ("seal", "--evidence", "there", *own(0), "--insecure", "--out", "there"),
        ):
            refused = await run(tmp_path, *arguments)
            assert refused.status == 2, refused.err
        assert (tmp_path / "there").read_text() == "kept"
        both = await run(tmp_path, "submit", url, "--sealed", "there", *own(0), "--insecure")
        assert both.status == 2
        assert "--sealed is instead of a share" in both.err


async def test_the_share_of_another_cluster_is_said_to_be_that_and_no_policy_is_blamed(world, tmp_path):
    async with rolled_back(world) as (url, machine):
        await run(tmp_path, "status", url, "--insecure", "--save", "evidence.bin")
        people = world.founded.custodians
        page = open_file(people.identities[0], people.files[0])
        (tmp_path / "foreign").write_text(page.replace(world.vault_cluster.hex(), "ab" * 32))
        share = ("--share", "foreign", "--insecure", "--yes")
        for arguments in (
            ("submit", url, *share),
            ("approve-gap", url, *share),
            ("seal", "--evidence", "evidence.bin", "--out", "sealed.bin", *share),
        ):
            refused = await run(tmp_path, *arguments)
            assert refused.status == 2, refused.err
            assert f"this share is of cluster {'ab' * 32}" in refused.err
            assert f"recovers {world.vault_cluster.hex()}" in refused.err
            assert "policy" not in refused.err
        assert not any(seat.done for seat in (await status(machine)).custodians)


async def test_evidence_in_the_place_of_a_sealed_share_is_said_to_be_too_large(world, tmp_path):
    (tmp_path / "evidence.bin").write_bytes(bytes(5000))
    refused = await run(tmp_path, "submit", "http://127.0.0.1:1", "--sealed", "evidence.bin", "--insecure")
    assert refused.status == 2
    assert "the sealed share is larger than 4,096 bytes" in refused.err
    assert "name what `recover seal` wrote" in refused.err


async def test_who_left_the_role_out_is_told_so(world, tmp_path):
    async with rolled_back(world) as (url, _):
        refused = await run(tmp_path, "status", url, "--role", "authenticator", "--insecure")
        assert refused.status == 11, refused.err
        assert "this is evidence of role vault; authenticator was expected" in refused.err
        assert "leave --role out" in refused.err
