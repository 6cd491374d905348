"""Tenants who share an Authenticator: what one's definitions call, or name, keeps nobody else's from being called."""

import asyncio
import socket
from contextlib import asynccontextmanager
from threading import Event

import pytest

from strongroom.enclave.platform.port import LOOKUPS
from strongroom.enclave.runtime import egress, lookups
from strongroom.enclave.runtime.egress import Egress
from strongroom.enclave.runtime.turns import CALLS, CALLS_PER_DEFINITION
from strongroom.protocol.errors import Number, Refused, StrongroomError, Unavailable
from tests.support.issuer import answer
from tests.support.world import Platform

SOON = 0.3
"""Seconds after which a call is given up here."""


class Network(Platform):
    """Every name is this machine. A port of `dead` never answers, nor does a name server of `.evil.example`: it is
    the real resolver's threads that wait for that one."""

    role_kind = "insecure-software"
    dead = 81

    @property
    def kind(self):
        return self.role_kind

    async def connect(self, host, port):
        if port == self.dead:
            await asyncio.Event().wait()
        return await super().connect(host, port)


@pytest.fixture
def name_server(monkeypatch):
    """What it is asked for; and it answers for the slow names when it is told to."""
    asked, answering = [], Event()

    def look_up(host, *_arguments, **_options):
        asked.append(host)
        if host.endswith(".evil.example"):
            answering.wait(20)
        return [(0, 0, 0, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked, answering
    answering.set()


@pytest.fixture
def out(tmp_path, monkeypatch, name_server):
    monkeypatch.setattr(egress, "PROVIDER_TIMEOUT", SOON)
    return Egress(Network("authenticator", tmp_path / "machine"))


@pytest.fixture
async def port():
    async with serving() as found:
        yield found


@asynccontextmanager
async def serving():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer, {"hello": 1})
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def definition(number):
    return number.to_bytes(32, "big")


HONEST = definition(0)


async def outcome(call):
    try:
        await call
    except StrongroomError as error:
        return error.number
    return None


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


async def ask(out, names):
    """Let every definition of `names` call each of its names, and wait until all of it was given up."""
    calls = [out.of(by).get(f"https://{name}/") for by, name in names]
    return set(await asyncio.gather(*map(outcome, calls)))


# --- names ---------------------------------------------------------------------------------------------------------


async def test_a_name_server_that_never_answers_keeps_nobody_else_s_name_from_being_looked_up(out, port, name_server):
    asked, _ = name_server
    found = await ask(out, [(definition(1), f"n{n}.evil.example") for n in range(3 * LOOKUPS)])
    assert found == {Number.PROVIDER_SLOW, Number.PROVIDER_UNAVAILABLE}
    assert 1 < len(asked) <= 4
    assert await outcome(out.of(HONEST).get(f"http://idp.customer.example:{port}/")) is None


async def test_a_lookup_counts_until_its_thread_ends_and_not_its_call(out, name_server):
    asked, answering = name_server
    await ask(out, [(definition(1), f"a{n}.evil.example") for n in range(9)])
    begun = len(asked)
    assert await ask(out, [(definition(1), f"b{n}.evil.example") for n in range(9)]) == {Number.PROVIDER_UNAVAILABLE}
    assert len(asked) == begun
    answering.set()
    await until(lambda: not out._lookups._under_way)
    await ask(out, [(definition(1), "c.evil.example")])
    assert len(asked) == begun + 1


async def test_slow_names_of_many_definitions_leave_the_names_that_were_known(out, port, name_server):
    url = f"http://idp.customer.example:{port}/"
    assert await outcome(out.of(HONEST).get(url)) is None
    await ask(out, [(definition(n), f"n{n}.evil.example") for n in range(1, 3 * LOOKUPS)])
    assert len(out._lookups._under_way) == LOOKUPS
    assert await outcome(out.of(HONEST).get(url)) is None
    # Somebody else's answer is not taken over (RULES 5), and who is new is told at once.
    began = asyncio.get_running_loop().time()
    assert await outcome(out.of(definition(999)).get(url)) is Number.PROVIDER_UNAVAILABLE
    assert asyncio.get_running_loop().time() - began < SOON / 2


async def test_slow_names_take_no_thread_that_other_work_needs(out):
    await ask(out, [(definition(n), f"n{n}.evil.example") for n in range(1, 3 * LOOKUPS)])
    async with asyncio.timeout(1):
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(64)))


async def test_a_name_server_that_falls_silent_stops_nobody_whose_name_was_known(out, port, name_server, monkeypatch):
    monkeypatch.setattr(lookups, "PATIENCE", SOON / 10)
    asked, answering = name_server
    url = f"http://own.evil.example:{port}/"
    answering.set()
    assert await outcome(out.of(HONEST).get(url)) is None
    answering.clear()
    assert await outcome(out.of(HONEST).get(url)) is None
    assert asked == ["own.evil.example"] * 2


async def test_addresses_of_last_time_are_checked_like_any_others(out, name_server, monkeypatch):
    monkeypatch.setattr(lookups, "PATIENCE", 0)
    url = "https://own.evil.example:81/"
    answering = name_server[1]
    answering.set()
    await outcome(out.of(HONEST).get(url))
    answering.clear()
    out._platform.role_kind = "sgx"
    with pytest.raises(Refused):
        await out.of(HONEST).get(url)


async def test_one_name_is_looked_up_once_at_a_time_however_many_ask(out, name_server):
    await ask(out, [(definition(n), "one.evil.example") for n in range(50)])
    assert name_server[0] == ["one.evil.example"]


async def test_an_address_needs_no_lookup(out, port, name_server):
    assert await outcome(out.of(HONEST).get(f"http://127.0.0.1:{port}/")) is None
    assert name_server[0] == []


async def test_the_names_of_few_definitions_are_remembered(out, port, monkeypatch):
    monkeypatch.setattr(lookups, "MAX_DEFINITIONS", 2)
    monkeypatch.setattr(lookups, "MAX_NAMES", 2)
    for by in range(4):
        for name in ("a", "b", "c"):
            await out.of(definition(by)).get(f"http://{name}.example:{port}/")
    kept = {by: [name for name, _ in names] for by, names in out._lookups._last.items()}
    assert kept == {definition(by): ["b.example", "c.example"] for by in (2, 3)}


# --- calls ---------------------------------------------------------------------------------------------------------


async def test_a_dead_port_on_the_host_of_somebody_else_s_provider_holds_nobody_up(out, port):
    stuck = [asyncio.ensure_future(outcome(out.of(definition(1)).get("http://idp.example:81/"))) for _ in range(40)]
    await asyncio.sleep(0)
    assert (await out.of(HONEST).get(f"http://idp.example:{port}/")).status == 200
    assert set(await asyncio.gather(*stuck)) == {Number.PROVIDER_SLOW}


async def test_definitions_without_number_that_all_hang_hold_nobody_up(out, port):
    """As many as there are places for, each with as many calls as it may have, again and again."""
    dead = ["http://a.example:81/", "http://b.example:81/"]
    stuck = [
        asyncio.ensure_future(outcome(out.of(definition(n)).get(url)))
        for n in range(1, 2 * CALLS // CALLS_PER_DEFINITION)
        for url in dead * CALLS_PER_DEFINITION
    ]
    await until(lambda: len(out.turns._under_way) == CALLS)
    honest = [await outcome(out.of(HONEST).get(f"http://idp.example:{port}/")) for _ in range(5)]
    assert honest == [None] * 5
    assert len(out.turns._under_way) <= CALLS
    assert set(await asyncio.gather(*stuck)) == {Number.PROVIDER_SLOW}


async def test_a_definition_has_few_calls_under_way_whatever_servers_it_names(out):
    calls = out.of(definition(1))
    stuck = [asyncio.ensure_future(outcome(calls.get(f"http://s{n}.example:81/"))) for n in range(3) for _ in range(9)]
    await until(lambda: len(out.turns._under_way) == CALLS_PER_DEFINITION)
    await asyncio.sleep(SOON / 3)
    assert len(out.turns._under_way) == CALLS_PER_DEFINITION
    await asyncio.gather(*stuck)


async def test_who_has_most_places_gives_up_the_oldest_of_them(out):
    entered, given_up = asyncio.Event(), []

    async def hold(by, label):
        try:
            async with out.turns.turn(by, label, 443):
                await asyncio.Event().wait()
        except Unavailable as error:
            given_up.append((label, error.number))

    few = [asyncio.ensure_future(hold(definition(n), f"few {n}")) for n in range(CALLS - 3)]
    many = [asyncio.ensure_future(hold(definition(CALLS), f"many {n}")) for n in range(3)]
    await until(lambda: len(out.turns._under_way) == CALLS)

    async def enter():
        async with out.turns.turn(HONEST, "new", 443):
            entered.set()

    await enter()
    await asyncio.sleep(0.01)
    assert entered.is_set()
    assert given_up == [("many 0", Number.PROVIDER_SLOW)]
    for task in (*few, *many):
        task.cancel()
    await asyncio.gather(*few, *many, return_exceptions=True)


async def test_a_time_out_of_the_network_s_own_is_not_taken_for_a_place_given_up(out):
    with pytest.raises(TimeoutError):
        async with out.turns.turn(HONEST, "one", 443):
            raise TimeoutError


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (b"1\r\na\r\n" * 2000, "pieces"),
        (b"8;" + b"x" * 4000 + b"\r\n12345678\r\n", "too large"),
    ],
    ids=["chunks of one byte", "chunks wrapped in much"],
)
async def test_an_answer_that_is_made_to_cost_much_is_cut_off(out, piece, reason):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    assert reason in await cut_off(out, head, piece)


async def test_interim_answers_without_end_are_cut_off(out):
    assert "pieces" in await cut_off(out, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)


async def cut_off(out, head, piece):
    """The reason for which an answer without end is."""

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while True:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unavailable) as caught:
            await out.of(HONEST).get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert caught.value.number is Number.PROVIDER_UNAVAILABLE
    return caught.value.reason
