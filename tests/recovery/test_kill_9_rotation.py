"""Real processes, killed while old rows are sealed anew: nothing is lost, and the old epoch goes in the end."""

import asyncio
import os
import signal

import pytest

from bench.rotation import Rotation, desk, epochs
from bench.scene import RULES, scene
from strongroom.protocol.cluster_messages import Rotate
from strongroom.protocol.messages import Address, ById
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item

RECORDS, BATCH = 1024, 128
KILLS = (0.0, 0.05, 0.2, 0.4)
"""Seconds after an epoch began, or a start found old ones."""


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def test_kill_9_during_a_rotation_loses_nothing(store):
    async with scene(store=store) as it:
        binding = SigningKey.generate()
        wire = await it.wire("vault", binding)
        ticket, instructions = await it.ticket(binding, wire), it.instructions(RULES)
        names = [os.urandom(16) for _ in range(RECORDS)]
        for at in range(0, RECORDS, BATCH):
            await wire.ask(it.store(ticket, names[at : at + BATCH], instructions, size=64))
        async with desk(it) as owner:
            assert (await epochs(owner)).kept == [1]
            await owner.ask(Rotate())
        for victim, seconds in enumerate(KILLS):
            await asyncio.sleep(seconds)
            os.kill(it.vault.pids[victim % 2], signal.SIGKILL)
            it.vault.ended()
            it.restart_vault()
        await Rotation(it).wait()
        async with desk(it) as owner:
            assert (await epochs(owner)).kept == [2]
        wire = await it.wire("vault", binding)
        for at in range(0, RECORDS, BATCH):
            addresses: list[Address] = [ById(id=name) for name in names[at : at + BATCH]]
            reply = await wire.ask(Collect(request_id=os.urandom(16), tickets=[ticket], addresses=addresses))
            assert all(isinstance(result, Item) and result.version == 1 for result in reply.results)
