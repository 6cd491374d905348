"""What an enclave asks its host of the log: leaves, proofs, cosignatures, over a real socket from a real store."""

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from strongroom.host.store.sqlite import SqliteStore
from strongroom.host.supervisor.link import EnclaveLink
from strongroom.protocol.errors import Number, Unavailable, Untrusted
from strongroom.protocol.link import (
    Commit,
    Consistency,
    Inclusion,
    Leaves,
    LeavesFound,
    Notes,
    Operation,
    Proofs,
    Read,
    Row,
    Rows,
    Splitter,
    decode,
    encode,
    pack,
)
from strongroom.protocol.tlog import Frontier, leaf_hash, verify_consistency, verify_inclusion

LEAVES = [b"leaf %d" % number for number in range(300)]
NO_CARRIER = cast("Any", None)


class Witnesses:
    def __init__(self):
        self.failure = None

    async def cosign(self, note):
        if self.failure is not None:
            raise self.failure
        return b"signed: " + note

    async def witnessed(self, origin):
        if self.failure is not None:
            raise self.failure
        return [b"of " + origin.encode()]


@asynccontextmanager
async def asking(store, witnesses=None):
    """Ask as an enclave does: the answer's operation and body."""
    ours, theirs = socket.socketpair()
    link = EnclaveLink(store, NO_CARRIER, witnesses=witnesses)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    splitter = Splitter()

    async def ask(operation, body):
        writer.write(pack(7, operation, body))
        frames: list[Any] = []
        while not frames:
            frames = splitter.feed(await asyncio.wait_for(reader.read(65536), 5))
        assert frames[0].call == 7
        return frames[0].operation, frames[0].body

    try:
        yield ask
    finally:
        writer.close()
        await asyncio.wait_for(link.closed, 2)


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path / "rows.sqlite3")
    await store.commit(Commit([], 0, LEAVES))
    yield store
    await store.close()


def root(size):
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf_hash(leaf))
    return frontier.root


def number(answer):
    assert answer[0] == Operation.ERROR
    return int.from_bytes(answer[1], "big")


async def test_leaves_come_by_index(store):
    async with asking(store) as ask:
        operation, body = await ask(Operation.LEAVES, encode(Leaves([299, 300, 0])))
        assert (operation, decode(body, LeavesFound).leaves) == (Operation.OK, [b"leaf 299", None, b"leaf 0"])


async def test_proofs_hold(store):
    async with asking(store) as ask:
        operation, body = await ask(Operation.INCLUSION, encode(Inclusion([0, 255, 256, 298], 299)))
        assert operation == Operation.OK
        for index, proof in zip([0, 255, 256, 298], decode(body, Proofs).proofs, strict=True):
            verify_inclusion(index, leaf_hash(LEAVES[index]), 299, root(299), proof)
        operation, body = await ask(Operation.CONSISTENCY, encode(Consistency(200, 300)))
        assert operation == Operation.OK
        verify_consistency(200, root(200), 300, root(300), *decode(body, Proofs).proofs)


async def test_what_can_not_be_proven_is_an_error_and_not_the_end(store):
    async with asking(store) as ask:
        assert number(await ask(Operation.INCLUSION, encode(Inclusion([5], 5)))) == Number.MALFORMED
        assert number(await ask(Operation.INCLUSION, encode(Inclusion([5], 301)))) == Number.STORE_UNAVAILABLE
        assert number(await ask(Operation.CONSISTENCY, encode(Consistency(6, 5)))) == Number.MALFORMED
        assert number(await ask(Operation.CONSISTENCY, b"nonsense")) == Number.MALFORMED
        assert number(await ask(Operation.LEAVES, b"nonsense")) == Number.MALFORMED
        assert number(await ask(Operation.COMMIT, encode(Commit([], 299, [])))) == Number.CONFLICT
        assert (await ask(Operation.COMMIT, encode(Commit([], 300, [b"next"]))))[0] == Operation.OK
    assert await store.size() == 301


async def test_without_witnesses_nobody_cosigns_and_with_some_their_lines_come_back(store):
    async with asking(store) as ask:
        assert await ask(Operation.COSIGN, b"a note") == (Operation.OK, b"")
    witnesses = Witnesses()
    async with asking(store, witnesses) as ask:
        assert await ask(Operation.COSIGN, b"a note") == (Operation.OK, b"signed: a note")
        witnesses.failure = Untrusted(Number.INTEGRITY)
        assert number(await ask(Operation.COSIGN, b"a note")) == Number.INTEGRITY


async def test_what_witnesses_know_comes_back_and_that_too_few_answer(store):
    async with asking(store) as ask:
        assert await ask(Operation.WITNESSED, b"a log") == (Operation.OK, encode(Notes([])))
    witnesses = Witnesses()
    async with asking(store, witnesses) as ask:
        assert await ask(Operation.WITNESSED, b"a log") == (Operation.OK, encode(Notes([b"of a log"])))
        assert number(await ask(Operation.WITNESSED, b"\xff")) == Number.MALFORMED
        witnesses.failure = Unavailable(Number.WITNESSES_UNAVAILABLE)
        assert number(await ask(Operation.WITNESSED, b"a log")) == Number.WITNESSES_UNAVAILABLE


class Slow:
    """A store whose answers are not at hand."""

    def __init__(self):
        self.asked: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()

    def read(self, keys):
        done = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(done)
        return done


async def test_a_store_may_take_its_time_and_may_give_up():
    slow: Any = Slow()
    async with asking(slow) as ask:
        for outcome in ([Row(3, b"sealed")], None):
            asked = asyncio.create_task(ask(Operation.READ, encode(Read([bytes(32)]))))
            done = await slow.asked.get()
            if outcome is None:
                done.cancel()
                assert number(await asked) == Number.STORE_UNAVAILABLE
            else:
                done.set_result(outcome)
                assert decode((await asked)[1], Rows).rows == outcome
