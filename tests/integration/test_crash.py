"""Real processes, killed: nothing lost that was acknowledged, nothing acknowledged that was lost."""

import asyncio
import os
import signal

from bench.scene import RULES, scene
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.messages import Address, ById
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item


async def store_until_killed(it, wire, ticket, instructions, acknowledged, started):
    while True:
        name = os.urandom(16)
        started.append(name)
        try:
            await wire.ask(it.store(ticket, [name], instructions, size=256))
        except (OSError, asyncio.IncompleteReadError, StrongroomError):
            return
        acknowledged.append(name)


async def test_kill_9_during_stores_loses_nothing_acknowledged():
    async with scene() as it:
        binding = SigningKey.generate()
        first = await it.wire("vault", binding)
        ticket, instructions = await it.ticket(binding, first), it.instructions(RULES)
        acknowledged: list[bytes] = []
        started: list[bytes] = []
        for victim in (0, 1, 0):  # the host process, the enclave process, the host again
            wires = [await it.wire("vault", binding) for _ in range(8)]
            work = [store_until_killed(it, w, ticket, instructions, acknowledged, started) for w in wires]
            running = asyncio.gather(*work)
            await asyncio.sleep(0.5)
            os.kill(it.vault.pids[victim], signal.SIGKILL)
            await asyncio.wait_for(running, 20)
            it.vault.ended()
            it.restart_vault()
        assert len(acknowledged) > 50
        assert len(started) > len(acknowledged), "nothing was under way when it was killed"
        wire = await it.wire("vault", binding)
        for at in range(0, len(acknowledged), 128):
            addresses: list[Address] = [ById(id=name) for name in acknowledged[at : at + 128]]
            reply = await wire.ask(Collect(request_id=os.urandom(16), tickets=[ticket], addresses=addresses))
            assert all(isinstance(result, Item) and result.version == 1 for result in reply.results)
        unknown = set(started) - set(acknowledged)
        reply = await wire.ask(
            Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[ById(id=name) for name in unknown])
        )
        for result in reply.results:  # wholly there, or not at all
            assert isinstance(result, Item) or result.number == Number.REFUSED


async def test_an_authenticator_that_restarts_costs_nobody_a_key():
    async with scene() as it:
        binding = SigningKey.generate()
        wire = await it.wire("vault", binding)
        ticket, name = await it.ticket(binding, wire), os.urandom(16)
        await wire.ask(it.store(ticket, [name], it.instructions(RULES)))
        collect = Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[ById(id=name)])
        it.authenticator.stop()
        reply = await wire.ask(collect)
        assert reply.results[0].number == Number.AUTHENTICATOR_UNAVAILABLE
        it.restart_authenticator()
        assert isinstance((await wire.ask(collect)).results[0], Item), "tickets outlive a restart"
