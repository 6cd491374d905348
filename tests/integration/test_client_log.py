"""The SDK and the log of a real Vault: what an owner reads of a record, and a host that restores its database."""

import asyncio

import pytest

from strongroom import Refused, Untrusted, Vault
from strongroom.client.attacks import verify_evidence
from strongroom.client.checkpoints import KeptCheckpoints, MemoryCheckpoints
from strongroom.client.errors import BadInput
from strongroom.client.state import state_folder
from strongroom.protocol.errors import Number
from strongroom.protocol.notes import cosign, parse_checkpoint
from tests.support import policies
from tests.support.evidence import changed
from tests.support.served import SECRET, AtTheIssuer, ServedWorld, number_of, put


@pytest.fixture
async def served(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


@pytest.fixture
async def watched(tmp_path, monkeypatch):
    """With three witnesses, of whom it takes two."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))

    def prepare(world):
        world.vault.witnesses, world.vault.cosignatures = [policies.witness_key(at) for at in range(3)], 2
        world.vault.host.witnesses = cosigning(world, 0, 1)

    async with ServedWorld.open(tmp_path / "state", prepare) as served:
        yield served


def cosigning(world, *witnesses):
    """Witnesses that cosign whatever they are shown, by the clock of this world."""

    async def cosign_all(note):
        checkpoint, now = parse_checkpoint(note).checkpoint, int(world.vault.platform.now())
        lines = [cosign(policies.witness_signer(at), f"witness-{at}.example", checkpoint, now) for at in witnesses]
        return "".join(f"{line}\n" for line in lines).encode()

    return cosign_all


def restored(served, rows, log):
    """The host goes on with an older copy of its database."""
    served.world.vault.host.rows, served.world.vault.host.log = dict(rows), list(log)
    return served.world.vault.start()


def copied(served):
    return dict(served.world.vault.host.rows), list(served.world.vault.host.log)


async def test_an_owner_sees_every_collect_and_every_denial(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob, served.sdk("mallory") as mallory, served.sdk("alice") as alice:
        await bob.collect(receipt.address)
        with pytest.raises(Refused):
            await mallory.collect(receipt.address)
        await bob.collect(receipt.address)
        trail = await alice.trail(receipt.address)
        first = [(one.principal.partition(":")[2], one.action, one.outcome) for one in reversed(trail.entries)]
        assert first == [
            ("alice", "create", 0),
            ("bob", "collect", 0),
            ("mallory", "collect", 201),
            ("bob", "collect", 0),
            ("alice", "audit", 0),
        ]
        assert [one.number for one in trail.entries] == [5, 4, 3, 2, 1]
        assert trail.size == len(served.world.vault.host.log)
        again = await alice.trail(receipt.address, limit=2)
        assert [one.number for one in again.entries] == [6, 5]
        rest = await alice.trail(receipt.address, before=again.entries[-1], limit=None)
        assert rest.entries[-3:] == trail.entries[-3:]
        with pytest.raises(Refused):
            await bob.trail(receipt.address)
        with pytest.raises(BadInput):
            await alice.trail(receipt.address, limit=0)


async def test_a_long_trail_comes_in_as_many_answers_as_it_takes(served, monkeypatch):
    monkeypatch.setattr("strongroom.client.vault.MAX_TRAIL", 3)
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob, served.sdk("alice") as alice:
        for _ in range(9):
            await bob.collect(receipt.address)
        trail = await alice.trail(receipt.address, limit=None)
        # Each answer is an entry, too; those after the first are above what was asked for.
        assert [one.number for one in trail.entries] == list(range(11, 0, -1))
        assert [one.number for one in (await alice.trail(receipt.address, limit=4)).entries] == [15, 14, 13, 12]


async def test_a_host_that_holds_an_entry_back_is_reported(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob, served.sdk("alice") as alice:
        await bob.collect(receipt.address)
        trail = await alice.trail(receipt.address)
        collect = next(one for one in trail.entries if one.action == "collect")
        leaves = served.world.vault.host.leaves

        async def without(indexes):
            return [
                None if index == collect.leaf else leaf
                for index, leaf in zip(indexes, await leaves(indexes), strict=True)
            ]

        served.world.vault.host.leaves = without
        assert await number_of(alice.trail(receipt.address)) is Number.LOG_OMITTED


async def test_a_client_that_stored_notices_a_restored_database(served):
    before = copied(served)
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        assert (await bob.collect(receipt.address)).secret == SECRET
    await restored(served, *before)
    async with served.sdk("bob") as bob:
        with pytest.raises(Untrusted) as caught:
            await bob.collect(receipt.address)
    assert caught.value.number is Number.ROLLED_BACK
    (saved,) = (state_folder() / "attacks").iterdir()
    assert str(saved) in caught.value.reason
    assert verify_evidence(saved).finding == "shorter"


async def test_a_client_notices_a_database_that_was_restored_and_went_on(served):
    before = copied(served)
    receipt = await put(served, "bob")
    await restored(served, *before)
    async with served.sdk("carol", checkpoints=MemoryCheckpoints()) as carol:  # who was never here
        for _ in range(4):
            await carol.store(SECRET, namespace="team", instructions=served.for_("carol"))
    async with served.sdk("bob") as bob:
        assert await number_of(bob.collect(receipt.address)) is Number.ROLLED_BACK


async def test_an_ordinary_restart_is_no_attack(served):
    receipt = await put(served, "bob")
    async with served.sdk("bob") as bob:
        await bob.collect(receipt.address)
        await restored(served, *copied(served))
        assert (await bob.collect(receipt.address)).secret == SECRET
    kept = KeptCheckpoints(state_folder() / "checkpoints")
    (path,) = (state_folder() / "checkpoints").glob("*.checkpoint")
    size = parse_checkpoint(path.read_bytes()).checkpoint.size
    assert size == len(served.world.vault.host.log)
    assert kept.highest(parse_checkpoint(path.read_bytes()).checkpoint.origin) == path.read_bytes()


async def test_a_program_without_asyncio_notices_too(served):
    before = copied(served)
    receipt = await put(served, "bob")

    def collect():
        user = AtTheIssuer(served.issuer, "alice")
        with Vault(served.vault.url, served.trust, sign_in=user, now=served.now) as vault:
            return vault.trail(receipt.address)

    assert (await asyncio.to_thread(collect)).entries[0].action == "audit"
    await restored(served, *before)
    with pytest.raises(Untrusted) as caught:
        await asyncio.to_thread(collect)
    assert caught.value.number is Number.ROLLED_BACK


async def test_what_witnesses_have_seen_is_shown_to_who_asks_for_it(watched):
    receipt = await put(watched, "bob")
    async with watched.sdk("bob") as bob:
        assert (await bob.collect(receipt.address)).secret == SECRET
    with pytest.raises(Untrusted) as caught:
        async with watched.sdk("bob", trust=changed(watched.trust, witnesses=[], cosignatures=0)) as bob:
            await bob.collect(receipt.address)
    assert caught.value.number is Number.POLICY


async def test_a_client_that_was_never_here_does_not_take_what_witnesses_saw_long_ago(watched):
    receipt = await put(watched, "bob")

    async with watched.sdk("bob", checkpoints=MemoryCheckpoints()) as bob:
        bob._server._watch.now = lambda: watched.now() + 1200  # the host holds its clock back
        assert await number_of(bob.collect(receipt.address)) is Number.CLOCK
