"""Real processes, killed while other custodians come into office: either those of before are, or those who follow."""

import asyncio
import sqlite3
from contextlib import closing

from strongroom.client.cluster import ask_charter, cluster_session
from strongroom.client.custodians import acceptance, endorsement
from strongroom.host.store.opening import FILE
from strongroom.protocol.cluster_messages import Seated
from tests.support.machines import Machine, People, Serving, founded, ports


async def test_kill_9_during_a_reshare_leaves_one_council_or_the_other(tmp_path):
    """Where the last signature was acknowledged, the new one."""
    machine = Machine(tmp_path / "machine")
    former, new = (People(tmp_path, count=2, threshold=2, roots=machine.roots) for _ in range(2))
    (port,) = ports(1)
    serving = await founded(machine, former, "vault", port)
    try:
        async with session_of(serving, former) as session:
            last = await all_but_the_last(session, former, new)
            with closing(sqlite3.connect(machine.data("vault") / FILE, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # nothing is committed meanwhile
                asked = asyncio.ensure_future(session.ask(last, Seated))
                await asyncio.wait({asked}, timeout=0.2)
                assert not asked.done()
                await asyncio.to_thread(serving.kill)
            asked.cancel()
            await asyncio.wait({asked})
        serving = await started(machine, port)
        assert await stands(serving, former) == (0, b"")
        async with session_of(serving, former) as session:
            last = await all_but_the_last(session, former, new)
            assert (await session.ask(last, Seated)).missing == 0
            await asyncio.to_thread(serving.kill)
        serving = await started(machine, port)
        assert await stands(serving, former) == (1, b"")
    finally:
        serving.end()


async def started(machine, port):
    serving = Serving(machine, "vault", port)
    await asyncio.to_thread(serving.says, role="vault")
    return serving


async def all_but_the_last(session, former, new):
    """New custodians are named, and every signature is given but one, which is told."""
    pending = await new.convened(session, "vault", former.clusters["vault"])
    for opened in former.open("vault"):
        await session.ask(endorsement(pending, opened), Seated)
    *accepts, last = (acceptance(pending, opened) for opened in new.open("vault"))
    for one in accepts:
        await session.ask(one, Seated)
    return last


async def stands(serving, former):
    """Serial of the council in office, and what is being set up."""
    async with session_of(serving, former) as session:
        governed = await ask_charter(session)
        return len(governed.councils) - 1, governed.told.pending


def session_of(serving, former):
    return cluster_session(serving.url, role="vault", policy=former.policy("vault"), key=former.owner)
