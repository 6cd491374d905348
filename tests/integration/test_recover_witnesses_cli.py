"""`strongroom recover`, where the recovery names other witnesses: custodians see who goes and who comes, and say so."""

import asyncio
import contextlib
import json

import pytest

from strongroom.attack.network import listening
from strongroom.protocol.evidence import parse_any_evidence
from tests.support.command import strongroom
from tests.support.recovering import Cluster, hand_over, in_haste, other_witnesses, reaches, status, watched
from tests.support.served import Line


@pytest.fixture
async def world(tmp_path, monkeypatch):
    """Whose witnesses are gone for good, and one that recovers with others; the ring is open."""
    in_haste(monkeypatch)
    (tmp_path / "world").mkdir()
    world = Cluster(tmp_path / "world", witnesses=3)
    await world.start()
    people = world.founded.custodians
    for at, (file, identity) in enumerate(zip(people.files, people.identities, strict=True)):
        (tmp_path / f"share{at}.age").write_bytes(file)
        (tmp_path / f"identity{at}").write_text(f"{identity}\n")
    yield world
    world.close()


@pytest.fixture
def others(tmp_path, world):
    with other_witnesses(world, tmp_path / "others") as others:
        yield others


@contextlib.asynccontextmanager
async def replacing(world, others):
    """URL of the enclave, and the machine."""
    machine = world.machine()
    machine.witnesses, machine.cosignatures = others.vkeys, 2
    watched(machine, others)
    await machine.begin("recover")
    machine.serve()
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    await reaches(machine, "gap")
    async with listening(Line(machine).serve) as url:
        yield url, machine
    machine.serving.cancel()


def policy(path, watch, needed=2):
    """The file that `serve vault --witnesses` takes."""
    names = "ABC"
    lines = [f"witness {name} {key} http://127.0.0.1:1" for name, key in zip(names, watch.vkeys, strict=True)]
    path.write_text("\n".join([*lines, f"group them {needed} {' '.join(names)}", "quorum them", ""]))
    return path.name


async def run(tmp_path, command, url, *arguments):
    return await asyncio.to_thread(strongroom, "recover", command, url, *arguments, "--insecure", cwd=tmp_path)


def own(at):
    return "--share", f"share{at}.age", "--identity", f"identity{at}"


async def nobody_signed(machine):
    return not any(seat.done for seat in (await status(machine)).custodians)


async def test_custodians_see_which_witnesses_go_and_come_and_name_them_or_are_asked(world, others, tmp_path):
    async with replacing(world, others) as (url, machine):
        shown = (await run(tmp_path, "status", url)).out.decode()
        for key in world.watch.vkeys:
            assert f"GONE   {key}" in shown
        for key in others.vkeys:
            assert f"NEW    {key}" in shown
        assert "every client has to pin anew" in shown
        gap = json.loads((await run(tmp_path, "status", url, "--json")).out)["gap"]
        assert gap["new_witnesses"] == {"witnesses": others.vkeys, "cosignatures": 2}

        asked = await run(tmp_path, "approve-gap", url, *own(0))
        assert asked.status == 2
        assert "there is no terminal to confirm this on" in asked.err
        assert f"NEW    {others.vkeys[0]}" in asked.err
        alone = await run(tmp_path, "approve-gap", url, *own(0), "--yes")
        assert alone.status == 10
        assert "--yes alone does not agree to them" in alone.err
        assert await nobody_signed(machine)

        named = policy(tmp_path / "others.policy", others)
        for at in (0, 1):
            signed = await run(tmp_path, "approve-gap", url, *own(at), "--yes", "--new-witnesses", named)
            assert signed.status == 0, signed.err
        assert "they pin anew, and compare with your word" in signed.err
        await world.served(machine)
        watchers = parse_any_evidence(await machine.evidence())[1].watchers
        assert watchers is not None
        assert watchers.witnesses == others.vkeys


async def test_others_than_a_custodian_names_are_not_signed_for(world, others, tmp_path):
    async with replacing(world, others) as (url, machine):
        wrong = (
            policy(tmp_path / "old.policy", world.watch),
            policy(tmp_path / "all.policy", others, needed=3),
        )
        for name in wrong:
            refused = await run(tmp_path, "approve-gap", url, *own(0), "--yes", "--new-witnesses", name)
            assert refused.status == 10, refused.err
            assert "this gap names others than these, or another number" in refused.err
        (tmp_path / "bad.policy").write_text("quorum\n")
        refused = await run(tmp_path, "approve-gap", url, *own(0), "--yes", "--new-witnesses", "bad.policy")
        assert refused.status == 2
        assert await nobody_signed(machine)
