"""What a host can do with whole instances and with witnesses: two at once, lying ones, none."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import strongroom
from strongroom.attack.clock import Clock
from strongroom.attack.database import SQLITE_FILE, SqliteDatabase
from strongroom.attack.liar import lying_witness
from strongroom.attack.local import LocalPlay
from strongroom.attack.outcomes import (
    CannotRun,
    Seen,
    SetUpFailed,
    in_words,
    not_started,
    noticed,
    outcome,
    unnoticed,
)
from strongroom.attack.people import DEPOSITOR, RECIPIENT
from strongroom.attack.play import Memory, Play
from strongroom.attack.processes import DidNotStart, Server
from strongroom.attack.promises import When, Who
from strongroom.attack.registry import Reach, attack
from strongroom.client.vault import AsyncVault
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.limits import LEASE


def _local(play: Play) -> LocalPlay:
    if not isinstance(play, LocalPlay):
        raise CannotRun("it takes a machine of the kit's own: --local")
    return play


async def _copy_of(play: LocalPlay, name: str) -> Path:
    """A data directory with a copy of the database as it is now."""
    data = play.directory / name
    await asyncio.to_thread(shutil.copytree, play.founded.directory / "vault", data)
    await SqliteDatabase(data / SQLITE_FILE).restore(await play.database.copy())
    return data


async def _change(client: AsyncVault, address: str, secret: bytes) -> StrongroomError | None:
    """How a change ended that must not be lost."""
    try:
        await client.update(address, secret=secret)
    except StrongroomError as error:
        return error
    return None


@attack("clone", "a second instance is started on a copy of the database, while the first serves", Reach.MACHINE)
async def clone(play: Play) -> Seen:
    here = _local(play)
    await here.start()
    async with here.client(DEPOSITOR) as alice:
        await alice.describe(here.history.address("kept"))
        try:
            second = await here.another_vault(await _copy_of(here, "copy"))
        except DidNotStart as error:
            return not_started(error)
        return await _both_change(here, alice, second)


async def _both_change(play: LocalPlay, alice: AsyncVault, second: Server) -> Seen:
    """A change at each: of two that both could go on, one must win."""
    where = play.history.address("kept")
    async with play.client(DEPOSITOR, Memory.NEWCOMER, url=second.url) as other:
        first_ended, second_ended = await asyncio.gather(
            _change(alice, where, b"at the first"), _change(other, where, b"at the second")
        )
    if first_ended is None and second_ended is None:
        return unnoticed("both go on, each with changes that the other has not")
    for ended, server in ((first_ended, play.vault), (second_ended, second)):
        if ended is None or server is None:
            continue
        # Either the Vault waits in vain, or the host that runs it heard why, and ends it.
        if ended.number is Number.WITNESSES_UNAVAILABLE or await server.ended_by_witnesses():
            return noticed(Who.WITNESS, When.NEXT_WRITE, f"one of the two changes nothing more: {in_words(ended)}")
    return unnoticed(f"it was not taken for an attack: {in_words(first_ended or second_ended)}")


@attack("clone-older", "the same, with a copy that was made before the first instance started", Reach.MACHINE)
async def clone_older(play: Play) -> Seen:
    here = _local(play)
    data = await _copy_of(here, "copy")
    await here.start()
    async with here.client(DEPOSITOR) as alice:
        await alice.describe(here.history.address("kept"))
        try:
            second = await here.another_vault(data)
        except DidNotStart as error:
            return not_started(error)
        return await _both_change(here, alice, second)


@attack("fork", "two clients are each shown a Vault of their own; then one is led to that of the other", Reach.MACHINE)
async def fork(play: Play) -> Seen:
    here = _local(play)
    await here.start()
    async with here.client(DEPOSITOR) as alice:
        await alice.describe(here.history.address("kept"))
        try:
            second = await here.another_vault(await _copy_of(here, "copy"))
        except DidNotStart as error:
            return not_started(error)
        seen = await _both_change(here, alice, second)
    if seen.who is not Who.NOBODY:
        return seen
    here.network.upstream = second.url
    async with here.client(RECIPIENT) as bob:
        where = here.history.address("kept")
        return await outcome(bob.collect(where), When.NEXT_CONTACT, "two histories were taken for one")


@attack("old-ring", "the sealed key ring as it was before a changed program sealed it anew", Reach.MACHINE)
async def old_ring(play: Play) -> Seen:
    """A changed program opens the ring by the custodian of development clusters, and seals it for itself."""
    here = _local(play)
    program = await asyncio.to_thread(_changed_program, here.directory)
    environment = {"PYTHONPATH": str(program)}
    before = await here.database.copy()
    await here.start(environment)
    await here.stop()
    if (await here.database.copy()).rows[RING_KEY] == before.rows[RING_KEY]:
        raise SetUpFailed("the key ring was not sealed anew")
    await here.database.put(RING_KEY, before.rows[RING_KEY])
    try:
        await here.start(environment)
    except DidNotStart as error:
        return not_started(error)
    return unnoticed("an old key ring was opened and used")


def _changed_program(directory: Path) -> Path:
    """Where a copy of this program stands that differs in one measured file."""
    program = directory / "program"
    here = Path(strongroom.__file__).parent
    shutil.copytree(here, program / here.name, ignore=shutil.ignore_patterns("__pycache__", "page_dist"))
    measured = program / here.name / "enclave" / "vault" / "__init__.py"
    measured.write_text(f"{measured.read_text()}\n# Another program, to whoever measures it.\n")
    return program


# --- witnesses ------------------------------------------------------------------------------------------------------


@attack("lying-witness", "one witness cosigns whatever it is shown, and the old database is put back", Reach.MACHINE)
async def witness_that_lies(play: Play) -> Seen:
    here = _local(play)
    name, honest = next(iter(here.witnesses.items()))
    await honest.stop()
    async with lying_witness(here.directory / name, name, honest.url):
        await here.database.restore(here.history.before)
        try:
            await here.start()
        except DidNotStart as error:
            return not_started(error)
        async with here.client(RECIPIENT) as bob:
            look = bob.collect(here.history.address("updated"))
            return await outcome(look, When.NEXT_CONTACT, "whose right was revoked got the old secret")


@attack(
    "unheard-witness", "the old database is put back by a host that does not listen to its witnesses", Reach.MACHINE
)
async def unheard_witness(play: Play) -> Seen:
    """Nobody but the enclave insists on cosignatures then."""
    here = _local(play)
    await here.mute_witnesses()
    await here.start()  # so the way to the witnesses is good
    await here.stop()
    await here.database.restore(here.history.before)
    try:
        await here.start()
    except DidNotStart as error:
        return noticed(Who.WITNESS, When.AT_START, f"it waits for cosignatures that it does not get: {error}")
    async with here.client(RECIPIENT, Memory.NEWCOMER) as bob:
        look = bob.collect(here.history.address("updated"))
        return await outcome(look, When.NEXT_CONTACT, "whose right was revoked got the old secret")


@attack("unheard-witness-clone", "two instances run, on a host that does not listen to its witnesses", Reach.MACHINE)
async def unheard_witness_clone(play: Play) -> Seen:
    here = _local(play)
    await here.mute_witnesses()
    await here.start()
    async with here.client(DEPOSITOR) as alice:
        await alice.describe(here.history.address("kept"))
        second = await here.another_vault(await _copy_of(here, "copy"))
        return await _both_change(here, alice, second)


@attack("cut-off", "the Vault is cut off from its witnesses", Reach.MACHINE)
async def cut_off(play: Play) -> Seen:
    here = _local(play)
    await here.start()
    async with here.client(DEPOSITOR) as alice, here.client(RECIPIENT) as bob:
        await bob.collect(here.history.address("kept"))
        await _stop_witnesses(here)
        ended = await _change(alice, here.history.address("kept"), b"nobody sees this")
        await bob.collect(here.history.address("last"))  # reads go on for as long as the lease lasts
    if ended is not None and ended.number is Number.WITNESSES_UNAVAILABLE:
        return noticed(Who.VAULT, When.NEXT_WRITE, in_words(ended))
    return unnoticed("a change was acknowledged that no witness has seen" if ended is None else in_words(ended))


@attack("lease", "the same, for longer than the lease", Reach.MACHINE)
async def lease(play: Play) -> Seen:
    here = _local(play)
    clock = Clock(here.directory)
    await here.start(clock.environment)
    async with here.client(RECIPIENT) as bob:
        await bob.collect(here.history.address("kept"))
        await _stop_witnesses(here)
        clock.turn(LEASE + 1)
        try:
            await bob.collect(here.history.address("kept"))
        except StrongroomError as error:
            if error.number is Number.LEASE_ENDED:
                return noticed(Who.VAULT, When.LEASE_END, in_words(error))
            return unnoticed(in_words(error))
    return unnoticed("a secret was released though no witness had seen the Vault for longer than the lease")


async def _stop_witnesses(play: LocalPlay) -> None:
    await asyncio.gather(*(witness.stop() for witness in play.witnesses.values()))
