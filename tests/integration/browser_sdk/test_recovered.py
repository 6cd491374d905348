"""A Vault that its custodians recovered, as pages see it that were there before: told what was given up."""

from contextlib import asynccontextmanager

import pytest

from strongroom.attack.network import listening
from strongroom.attestation.policy import TrustPolicy
from strongroom.protocol.errors import Number, Untrusted
from tests.support.page import Page
from tests.support.recovering import hand_over, in_haste, reaches, sign_gap, watched_cluster
from tests.support.served import Line
from tests.support.vault import stored


@pytest.fixture
async def world(tmp_path, monkeypatch):
    in_haste(monkeypatch)
    async with watched_cluster(tmp_path) as world:
        yield world


@asynccontextmanager
async def served(world):
    """The Vault on the network, and a page there. The line leads to whichever machine is put behind it."""
    line = Line(world.vault)
    async with listening(line.serve) as line.url:
        trust = TrustPolicy(
            1, "insecure test", world.policy("vault"), world.policy(), world.vault.witnesses, world.vault.cosignatures
        )
        async with Page.open(line.url, trust, {}) as page:
            yield line, page


async def recovered(world, machine, *, gap):
    for index in (0, 1):
        await hand_over(machine, world.opened(index))
    if gap:
        await reaches(machine, "gap")
        for index in (0, 2):
            await sign_gap(machine, world.opened(index))
    await world.served(machine)


async def visit(page, address):
    await page.load()
    await page.call("describe", address)
    return await page.call("notices")


async def test_a_page_is_told_once_that_custodians_recovered_its_vault(world):
    address, _ = await stored(world)
    async with served(world) as (line, page):
        assert await visit(page, address.id.hex()) == []
        machine = await world.recovering()
        await recovered(world, machine, gap=False)
        line.instance = machine
        (told,) = await visit(page, address.id.hex())
        assert told["about"] == "recovered"
        assert "this Vault was recovered by its custodians since you last used it (recovery 1);" in told["text"]
        assert await visit(page, address.id.hex()) == []


async def test_a_page_is_told_what_custodians_gave_up_of_what_it_has_seen(world):
    address, _ = await stored(world)
    async with served(world) as (line, page):
        backup = world.database
        await stored(world)
        assert await visit(page, address.id.hex()) == []
        machine = await world.recovering(backup)
        await recovered(world, machine, gap=True)
        line.instance = machine
        lost, told = await visit(page, address.id.hex())
        assert (lost["about"], told["about"]) == ("lost", "recovered")
        assert "lines that you have seen are gone" in lost["text"]
        assert "they signed where its log goes on" in told["text"]
        assert await visit(page, address.id.hex()) == []
        await page.call("verifyHistory")


async def test_a_machine_from_before_the_recovery_is_refused_by_a_page_that_saw_the_recovery(world):
    address, _ = await stored(world)
    before = world.vault
    async with served(world) as (line, page):
        machine = await world.recovering()
        await recovered(world, machine, gap=False)
        line.instance = machine
        await visit(page, address.id.hex())
        line.instance = before
        with pytest.raises(Untrusted) as refused:
            await visit(page, address.id.hex())
        assert refused.value.number is Number.ROLLED_BACK


@pytest.mark.parametrize(
    ("lacks", "refusal"),
    [("seen", "lacks what its custodians did not give up"), ("signed", "is not what its custodians signed for")],
)
async def test_a_recovered_vault_that_lacks_what_was_not_given_up_is_caught(world, lacks, refusal):
    """Custodians signed a gap, and the host can't show that the lines before it are those seen, or those signed for."""
    address, _ = await stored(world)
    async with served(world) as (line, page):
        await visit(page, address.id.hex())
        await stored(world)
        backup = world.database
        await stored(world)
        machine = await world.recovering(backup)
        await recovered(world, machine, gap=True)
        line.instance = machine
        honest, signed_for = machine.host.consistency, len(backup[1])

        async def lying(old, size):
            proof = await honest(old, size)
            return [bytes(32) for _ in proof] if (old == signed_for) is (lacks == "signed") else proof

        machine.host.consistency = lying
        with pytest.raises(Untrusted) as refused:
            await visit(page, address.id.hex())
        assert refused.value.number is Number.ROLLED_BACK
        assert refusal in str(refused.value)
        assert await page.call("notices") == []
