"""Real processes, killed while old rows are sealed anew: nothing is lost, and the old epoch goes in the end."""

import asyncio
import os
import signal

import pytest
from msgspec.structs import replace

from bench.rotation import Rotation, desk, epochs
from bench.scene import RULES, scene
from strongroom.protocol.cluster_messages import Rotate
from strongroom.protocol.messages import Address, ById
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item

RECORDS, BATCH = 1024, 128
KILLS = (0.0, 0.05, 0.2, 0.4)
"""Seconds after an epoch began, or a start found old ones."""
AMIDST = 2
"""The first so many meet rows of the old epoch, however fast the machine; the others do where it is slow."""


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def test_kill_9_during_a_rotation_loses_nothing(store):
    async with scene(store=store) as it:
        binding = SigningKey.generate()
        wire = await it.wire("vault", binding)
        ticket, instructions = await it.ticket(binding, wire), it.instructions(RULES)
        secrets = {os.urandom(16): os.urandom(64) for _ in range(RECORDS)}
        names = list(secrets)
        for at in range(0, RECORDS, BATCH):
            storing = it.store(ticket, names[at : at + BATCH], instructions)
            items = [
                replace(item, secret=secrets[name])
                for item, name in zip(storing.items, names[at : at + BATCH], strict=True)
            ]
            await wire.ask(replace(storing, items=items))
        async with desk(it) as owner:
            assert (await epochs(owner)).kept == [1]
            await owner.ask(Rotate())
        for victim, seconds in enumerate(KILLS):
            await asyncio.sleep(seconds)
            os.kill(it.vault.pids[victim % 2], signal.SIGKILL)
            it.vault.ended()
            it.restart_vault()
            if victim < AMIDST:
                async with desk(it) as owner:
                    assert (await epochs(owner)).kept == [1, 2], "it was killed when all was done"
        await Rotation(it).wait()
        async with desk(it) as owner:
            assert (await epochs(owner)).kept == [2]
        wire = await it.wire("vault", binding)
        for at in range(0, RECORDS, BATCH):
            addresses: list[Address] = [ById(id=name) for name in names[at : at + BATCH]]
            reply = await wire.ask(Collect(request_id=os.urandom(16), tickets=[ticket], addresses=addresses))
            found = [(result.version, result.secret) for result in reply.results if isinstance(result, Item)]
            assert found == [(1, secrets[name]) for name in names[at : at + BATCH]]
