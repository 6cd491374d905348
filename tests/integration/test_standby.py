"""What an instance that stands by passes on, what it waits for, and what it may call."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import httpx
import pytest

from strongroom.cli.terminal import EXIT_MISUSE, EXIT_UNAVAILABLE
from strongroom.client.keys import load_or_make_key
from strongroom.host.front.http import Front
from strongroom.host.supervisor import standby
from strongroom.host.supervisor.courier import LOOPBACK, Courier
from strongroom.host.supervisor.serve import _advertised
from strongroom.host.supervisor.standby import JoiningCarrier, Relay
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.link import Operation
from tests.support.command import strongroom

GONE = "http://127.0.0.1:1"
KEY = ["--owner-key", "owner.key"]


class Enclave:
    """Answers with its name, or with an error number."""

    def __init__(self, name):
        self.name = name
        self.number = 0
        self.asked = []

    def ask(self, operation, body, answered):
        self.asked.append(operation)
        if self.number:
            answered(Operation.ERROR, self.number.to_bytes(2, "big"))
        else:
            answered(Operation.OK, b"%b %b" % (self.name, body))


@asynccontextmanager
async def served(enclave):
    front = Front(enclave.ask)
    try:
        yield await front.listen("127.0.0.1", 0)
    finally:
        await front.drain(1)


@pytest.fixture
def here():
    return Enclave(b"here")


class Owned(Relay):
    """Whose owner a test names."""

    owner: list[str]


@pytest.fixture
async def relay(here):
    owner = [GONE]
    relay = Owned(here.ask, lambda: owner)
    relay.owner = owner
    yield relay
    relay.close()


async def ask(relay, operation, body=b""):
    answer = asyncio.get_running_loop().create_future()
    relay.ask(operation, body, lambda outcome, found: answer.set_result((outcome, found)))
    return await answer


CALLS = [Operation.EVIDENCE, Operation.SESSION, Operation.FRAME]


async def test_what_clients_say_goes_to_who_serves_until_this_one_does(relay, here):
    there = Enclave(b"there")
    async with served(there) as relay.owner[0]:
        for call in CALLS:
            assert await ask(relay, call, b"x" if call is not Operation.EVIDENCE else b"") in [
                (Operation.OK, b"there x"),
                (Operation.OK, b"there "),
            ]
        assert there.asked == CALLS
        assert here.asked == []
        relay.serve_here()
        assert await ask(relay, Operation.FRAME, b"x") == (Operation.OK, b"here x")


async def test_how_this_one_stands_it_says_itself(relay):
    assert await ask(relay, Operation.STATUS) == (Operation.OK, b"here ")


@pytest.mark.parametrize("number", [Number.UNKNOWN_SESSION, Number.REPLAYED, Number.STALE_KEY, Number.BUSY])
async def test_errors_of_who_serves_are_passed_on(relay, number):
    there = Enclave(b"there")
    there.number = number
    async with served(there) as relay.owner[0]:
        assert await ask(relay, Operation.FRAME, b"x") == (Operation.ERROR, number.to_bytes(2, "big"))


@pytest.mark.parametrize("number", [0, Number.STOPPING, Number.STANDING_BY])
async def test_requests_wait_while_nobody_serves(relay, number):
    """The one that served is gone, or is going, or knows of nobody either."""
    there = Enclave(b"there")
    there.number = number
    async with served(there) as url:
        relay.owner[0] = url if number else GONE
        asking = asyncio.ensure_future(ask(relay, Operation.FRAME, b"x"))
        await asyncio.sleep(0.3)
        assert not asking.done()
        relay.serve_here()
        assert await asyncio.wait_for(asking, 1) == (Operation.OK, b"here x")


async def test_one_that_never_answers_keeps_nobody_waiting_once_this_one_serves(relay):
    """Suspended, or cut off: its operating system, or nobody, takes what is sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relay.owner[0] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asking = asyncio.ensure_future(ask(relay, Operation.FRAME, b"x"))
        await asyncio.sleep(0.1)
        assert not asking.done()
        relay.serve_here()
        assert await asyncio.wait_for(asking, 1) == (Operation.OK, b"here x")


async def test_requests_find_who_has_taken_over_elsewhere(relay):
    asking = asyncio.ensure_future(ask(relay, Operation.SESSION, b"x"))
    await asyncio.sleep(0.2)
    async with served(Enclave(b"third")) as relay.owner[0]:
        assert await asyncio.wait_for(asking, 2) == (Operation.OK, b"third x")


async def test_nobody_is_waited_for_without_end(relay, monkeypatch):
    monkeypatch.setattr(standby, "WAIT_SECONDS", 0.3)
    began = time.monotonic()
    assert await ask(relay, Operation.EVIDENCE) == (Operation.ERROR, Number.STANDING_BY.to_bytes(2, "big"))
    assert time.monotonic() - began < 2


@asynccontextmanager
async def relaying(*owners):
    """A front whose instance stands by; how many requests have come to it, and its URL."""
    came = []

    def counted(ask):
        def count(operation, body, answered):
            came.append(operation)
            ask(operation, body, answered)

        return count

    passing = Owned(Enclave(b"nobody").ask, lambda: owners or passing.owner)
    front = Front(counted(passing.ask), relayed=counted(passing.relayed))
    passing.owner = [await front.listen("127.0.0.1", 0)]
    try:
        yield passing, came, passing.owner[0]
    finally:
        passing.close()
        await front.drain(0)


async def get(url):
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        return await client.get(f"{url}/v1/evidence")


async def test_one_request_of_a_stranger_does_not_go_round_and_round(monkeypatch):
    """The address of who serves leads back here: a balancer's, or one that is another machine's on each."""
    monkeypatch.setattr(standby, "WAIT_SECONDS", 0.5)
    async with relaying() as (_, came, url):
        answer = await asyncio.wait_for(get(url), 2)
        assert (answer.status_code, answer.headers["strongroom-error"]) == (503, str(int(Number.STANDING_BY)))
        # Its own, and one after each pause: none of these has made another.
        assert len(came) < 8


async def test_two_that_stand_by_for_each_other_pass_nothing_back(monkeypatch):
    monkeypatch.setattr(standby, "WAIT_SECONDS", 0.5)
    async with relaying() as (one, here, url), relaying(url) as (_, there, other):
        one.owner[0] = other
        answer = await asyncio.wait_for(get(url), 2)
        assert answer.headers["strongroom-error"] == str(int(Number.STANDING_BY))
        assert len(here) == 1
        assert len(there) < 8


async def test_who_goes_round_by_a_balancer_finds_who_serves():
    served = Relay(Enclave(b"there").ask, list)
    served.serve_here()
    front = Front(served.ask, relayed=served.relayed)
    url = await front.listen("127.0.0.1", 0)
    async with relaying(url) as (_, _, own):
        assert (await get(own)).content == b"there "
    await front.drain(1)


async def test_nobody_serves_where_ones_own_front_is(monkeypatch):
    monkeypatch.setattr(standby, "WAIT_SECONDS", 0.5)
    async with relaying() as (relay, came, url):
        relay.is_at(url)
        await get(url)
        assert len(came) == 1
        async with served(Enclave(b"member")) as member:
            relay.owner.append(member)  # whom it has joined
            assert (await get(url)).content == b"member "


@pytest.mark.parametrize("url", ["http://0.0.0.0:8400", "http://[::]:8400", "http://[0:0:0:0:0:0:0:0]"])
def test_an_address_that_means_all_is_told_nobody(tmp_path, url):
    run = strongroom("serve", "vault", "--data", "vault", "--advertise", url, cwd=tmp_path)
    assert run.status == EXIT_MISUSE
    assert "it means all addresses" in " ".join(run.err.split())


@pytest.mark.parametrize(
    ("url", "database", "told"),
    [
        ("http://10.0.0.2:8400", "postgresql://db/vault", "http://10.0.0.2:8400"),
        ("http://0.0.0.0:8400", "postgresql://db/vault", ""),
        ("http://[::]:8400", "postgresql://db/vault", ""),
        ("http://0.0.0.0:8400", None, "http://127.0.0.1:8400"),
        ("http://[::]:8400", None, "http://[::1]:8400"),
    ],
)
def test_who_listens_on_all_addresses_tells_one_that_others_can_call_or_none(url, database, told):
    assert _advertised(url, database) == told


async def test_only_the_member_that_the_operator_named_may_be_anywhere():
    """Addresses in depositors' instructions lead to public ones alone."""
    async with served(Enclave(b"member")) as member, served(Enclave(b"other")) as other:
        carrier = JoiningCarrier(Courier(()), member)
        assert await carrier.carry(f"{member}/v1/evidence", None) == b"member "
        for url in (
            f"{other}/v1/evidence",
            f"{member}0/v1/evidence",
            f"{member.replace('http:', 'https:')}/v1/evidence",
        ):
            with pytest.raises(StrongroomError) as refused:
                await carrier.carry(url, None)
            assert refused.value.number is Number.AUTHENTICATOR_UNAVAILABLE
        carrier.close()
        nobody = JoiningCarrier(Courier(LOOPBACK), "")
        assert await nobody.carry(f"{other}/v1/evidence", None) == b"other "
        nobody.close()


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["--recover"], EXIT_MISUSE, "no cluster in this database to recover"),
        (["--join", GONE, "--cluster", "ab" * 32, *KEY], EXIT_MISUSE, "there is no cluster in this database"),
        (["--join", GONE, *KEY], EXIT_UNAVAILABLE, "can't join the vault"),
        (["--join", GONE], EXIT_MISUSE, "nobody has invited this vault"),
        (["--join", GONE, "--invitation", "owner.key"], EXIT_MISUSE, "is not an invitation"),
        (["--join", "ftp://a.test"], EXIT_MISUSE, "is not the URL of a server"),
    ],
)
def test_what_can_not_begin_so_ends_with_a_word(tmp_path, options, status, text):
    load_or_make_key(tmp_path / "owner.key")
    common = ["--data", "data", "--platform", "platform", "--listen", "127.0.0.1:0"]
    ran = strongroom("serve", "vault", *common, *options, cwd=tmp_path)
    assert ran.status == status
    assert text in " ".join(ran.err.split())
