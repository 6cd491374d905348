"""What floods, a clock that jumps, and Authenticators that lie can do to those who have nothing to do with them."""

import asyncio
import gc
import os

import pytest

from strongroom.attestation.appraisal import appraise
from strongroom.enclave.runtime.peers import MAX_HANDSHAKES, MAX_NEW, MAX_USED, Peers, is_lost_session
from strongroom.enclave.runtime.sessions import Sessions
from strongroom.protocol.authenticator_messages import Decide, DecideItem, Validate, Validated
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, from_number
from strongroom.protocol.evidence import evidence_digest, parse_evidence
from strongroom.protocol.limits import KEY_PERIOD, MAX_SESSIONS_PER_KEY
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import ById, OfNamespace
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.session import ClientHandshake
from strongroom.protocol.vault_messages import Describe, Described
from tests.support.evidence import changed
from tests.support.vault import released
from tests.support.world import AUTHENTICATOR_URL, OPERATIONS, RawClient, World, for_bob, permit

DAY = 86400


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path).start()
    await world.namespace()
    return world


async def number_of(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value.number


async def serves(client):
    """Whether the Vault still knows this session."""
    try:
        return isinstance(await client.describe(OfNamespace(namespace="team")), Described)
    except Misuse as error:
        if error.number is not Number.UNKNOWN_SESSION:
            raise
        return False


def table_of(world, capacity):
    """The Vault with a table for fewer sessions; everything else about it is as in production."""
    world.vault.enclave._door._sessions = Sessions(capacity)
    return world.vault.enclave._door._sessions


async def hello(world):
    client = RawClient(world.vault)
    await client.handshake()
    return client


# --- floods of sessions ---------------------------------------------------------------------------------------


async def test_sessions_that_have_ended_make_room_for_newcomers(world):
    table = table_of(world, 16)
    for _ in range(8):
        await world.client()
        await hello(world)
    assert len(table) == 12
    world.vault.platform.ahead = 3 * 3600
    await hello(world)
    assert len(table) == 1


async def test_proven_sessions_do_not_shut_out_newcomers(world):
    """An attacker filled the table with sessions that he proved, and sends a hello beside each newcomer's."""
    table = table_of(world, 16)
    for _ in range(32):
        await world.client()
    assert len(table) == 12
    for _ in range(20):
        newcomer = await hello(world)
        for _ in range(3):
            await hello(world)
        await newcomer.ask(newcomer.proof())


async def test_a_flood_of_hellos_ends_no_proven_session(world):
    table = table_of(world, 16)
    clients = [await world.client() for _ in range(12)]
    early = await hello(world)
    for _ in range(40):
        await hello(world)
    assert len(table) == 16
    assert [await serves(client) for client in clients] == [True] * 12
    assert await number_of(early.ask(early.proof())) is Number.UNKNOWN_SESSION


async def test_a_session_in_use_outlives_a_flood_of_proven_ones(world):
    table_of(world, 16)
    busy, idle = await world.client(), await world.client()
    for _ in range(40):
        await world.client()
        assert await serves(busy)
    assert not await serves(idle)


async def test_frames_that_do_not_open_keep_no_session_in_use(world):
    """A bystander who saw session ids can't decide which sessions stay."""
    table_of(world, 16)
    busy, idle = await world.client(), await world.client()
    for _ in range(12):
        await world.client()
        assert await serves(busy)
        await number_of(world.vault.enclave.handle(Operation.FRAME, idle.channel.session_id + os.urandom(100)))
    assert not await serves(idle)


async def test_one_key_holds_a_bounded_number_of_sessions(world):
    table = world.vault.enclave._door._sessions
    key, before = SigningKey.generate(), len(table)
    first, second, *_ = [await RawClient(world.vault, key).open() for _ in range(MAX_SESSIONS_PER_KEY + 1)]
    assert len(table) == before + MAX_SESSIONS_PER_KEY
    request = Describe(address=OfNamespace(namespace="team"), tickets=[])
    assert await number_of(first.ask(request)) is Number.UNKNOWN_SESSION
    # Hellos in somebody's name are free for anybody who knows the public key; they end nothing.
    for _ in range(MAX_SESSIONS_PER_KEY):
        await RawClient(world.vault, key).handshake()
    assert isinstance(await second.ask(request), Described)


# --- a clock that jumps ahead and back ------------------------------------------------------------------------


def accept(world, evidence):
    return appraise(evidence, role="vault", policy=world.policy("vault"), now=int(world.vault.platform.now()))


async def test_after_a_clock_jumped_ahead_and_back_clients_accept_the_evidence(world):
    platform = world.vault.platform
    for ahead in (0, 26 * 3600, 0, 4 * 3600):
        platform.ahead = ahead
        accept(world, await world.vault.evidence())
    first = accept(world, await world.vault.evidence()).genuine.claims.kem_key
    platform.ahead += KEY_PERIOD + 1
    assert accept(world, await world.vault.evidence()).genuine.claims.kem_key != first


def hello_naming(evidence, sealed_to):
    """A hello sealed to the key in one evidence that names another as the one accepted."""
    return ClientHandshake(
        "vault",
        evidence_digest(evidence),
        parse_evidence(sealed_to)[1].kem_key,
        SigningKey.generate().public,
        seed=os.urandom(32),
        kem_seed=os.urandom(32),
    ).hello


async def test_what_was_made_while_the_clock_had_jumped_ends_when_it_is_right_again(world):
    platform, client = world.vault.platform, RawClient(world.vault)
    before = await world.vault.evidence()
    platform.ahead = KEY_PERIOD + 300  # so that the key before the jump still opens, in its overlap
    await client.open()
    jumped = await world.vault.evidence()
    platform.ahead = 0
    # The evidence, although named under a key that is right,
    assert await number_of(client.send(Operation.SESSION, hello_naming(jumped, before))) is Number.STALE_KEY
    # the key, although evidence is named that is right,
    current = await world.vault.evidence()
    assert await client.send(Operation.SESSION, hello_naming(current, before))
    assert await number_of(client.send(Operation.SESSION, hello_naming(current, jumped))) is Number.STALE_KEY
    # and the session.
    request = Describe(address=OfNamespace(namespace="team"), tickets=[])
    assert await number_of(client.ask(request)) is Number.UNKNOWN_SESSION


async def test_sessions_made_while_the_clock_had_jumped_make_room(world):
    table = table_of(world, 16)
    world.vault.platform.ahead = DAY
    for _ in range(4):
        await world.client()
    world.vault.platform.ahead = 0
    await hello(world)
    assert len(table) == 1


async def test_a_session_with_an_authenticator_made_while_the_clock_had_jumped_is_made_anew(world):
    peers, policy = peers_of(world), encode(world.policy())
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = DAY
    jumped = await peers.get(AUTHENTICATOR_URL, policy)
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 0
    assert await peers.get(AUTHENTICATOR_URL, policy) is not jumped


# --- floods of Authenticators ---------------------------------------------------------------------------------


def peers_of(world):
    """A pool of the Vault's, whose courier brings everything to this world's Authenticator, whatever the URL."""
    door = world.vault.enclave._door

    async def post(url, body):
        base, _, name = url.partition("/v1/")
        await asyncio.sleep(3600 if base.startswith("http://tarpit") else 0)
        return await world.authenticator.enclave.handle(OPERATIONS[name], body or b"")

    return Peers(door._platform, door._clock, door._identity, post)


async def test_new_authenticators_push_out_no_session_that_others_use(world):
    """One tenant's URLs, each asked for once, beside an Authenticator that another's records name."""
    peers, policy = peers_of(world), encode(world.policy())
    used = await peers.get("http://used.test", policy)
    assert await peers.get("http://used.test", policy) is used
    idle = await peers.get("http://idle.test", policy)
    for number in range(MAX_NEW + 1):
        await peers.get(f"http://new{number}.test", policy)
    assert await peers.get("http://used.test", policy) is used
    assert await peers.get("http://idle.test", policy) is not idle


async def test_of_sessions_in_use_the_least_recently_used_gives_way(world):
    peers, policy = peers_of(world), encode(world.policy())

    async def ask_twice(name):
        await peers.get(f"http://{name}.test", policy)
        return await peers.get(f"http://{name}.test", policy)

    used, idle = await ask_twice("used"), await ask_twice("idle")
    for number in range(2 * MAX_USED - 4):
        await ask_twice(f"new{number}")
        if number == MAX_USED - 3:  # both, and as many as there is room for
            assert await peers.get("http://used.test", policy) is used
    assert len(peers._used) + len(peers._new) == MAX_USED + MAX_NEW
    assert await peers.get("http://used.test", policy) is used
    assert await peers.get("http://idle.test", policy) is not idle


async def test_authenticators_that_never_answer_hold_up_nobody_else(world):
    peers, policy = peers_of(world), encode(world.policy())
    stuck = [asyncio.create_task(peers.get(f"http://tarpit{n}.test", policy)) for n in range(MAX_HANDSHAKES + 8)]
    await asyncio.sleep(0.01)
    assert [await number_of(task) for task in stuck[:8]] == [Number.BUSY] * 8
    assert len(peers._handshakes) == MAX_HANDSHAKES
    assert await asyncio.wait_for(peers.get(AUTHENTICATOR_URL, policy), 5)
    for task in stuck[9:]:
        assert not task.done()
        task.cancel()
    assert await number_of(stuck[8]) is Number.BUSY


async def test_failed_handshakes_leave_nothing_behind(world):
    """Not in the pool, nor as a warning on the host's screen when all who waited have gone."""
    peers, complaints = peers_of(world), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    refused = encode(changed(world.policy(), clusters=[]))
    waiting = [asyncio.create_task(peers.get(f"http://new{n}.test", refused)) for n in range(4)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    assert await number_of(peers.get("http://new4.test", refused)) is Number.AUTHENTICATOR_UNTRUSTED
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert not peers._handshakes
    del waiting, task  # what they were told holds the handshakes; the warning comes when those are collected
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints
    assert not peers._new
    assert not peers._used


# --- what an Authenticator and the courier may say ------------------------------------------------------------


def answering(world, answer):
    """The genuine Authenticator's session, in which something else answers what follows the proof."""

    async def handle(caller, request):
        if isinstance(answer, StrongroomError):
            raise answer
        return answer

    world.authenticator.enclave._door._service.handle = handle


OF_ITSELF = {Number.PEER_REFUSED, Number.CLOCK, Number.BUSY, Number.INTERNAL}
OF_INSTRUCTIONS = {
    Number.TOO_LARGE,
    Number.UNSUPPORTED,
    Number.INSTRUCTIONS_INVALID,
    Number.RULES_INVALID,
    Number.METHOD_INVALID,
}


async def test_an_authenticator_does_not_speak_for_the_vault(world):
    """UNKNOWN_SESSION would end the client's session, CONFLICT or QUOTA_EXCEEDED be believed about a record."""
    peer = await peers_of(world).get(AUTHENTICATOR_URL, encode(world.policy()))
    validate = Validate(instructions=world.instructions(for_bob()))
    decide = Decide(items=[DecideItem(b"", 1, "", [], b"", world.ticket("bob", SigningKey.generate()))])
    for request, sayable in ((validate, OF_ITSELF | OF_INSTRUCTIONS), (decide, OF_ITSELF)):
        for number in Number:
            answering(world, from_number(number, place=3))
            with pytest.raises(StrongroomError) as caught:
                await peer.ask(request)
            said = (number, 3) if number in sayable else (Number.AUTHENTICATOR_UNTRUSTED, 0)
            assert (caught.value.number, caught.value.place) == said
            assert not is_lost_session(caught.value)


@pytest.mark.parametrize("number", [Number.UNKNOWN_SESSION, Number.STALE_KEY, Number.CONFLICT, Number.QUOTA_EXCEEDED])
async def test_what_an_authenticator_may_not_say_never_reaches_the_client(world, number):
    alice = await world.client("alice")
    answering(world, from_number(number))
    store = alice.store(ById(id=os.urandom(16)), b"secret", world.instructions(for_bob()))
    assert await number_of(store) is Number.AUTHENTICATOR_UNTRUSTED


async def test_nonsense_of_an_authenticator_is_not_the_clients_mistake(world):
    peer = await peers_of(world).get(AUTHENTICATOR_URL, encode(world.policy()))
    for answer in (released(1, b""), Validated(permitted=["collect"] * 17)):
        answering(world, answer)
        ask = peer.ask(Validate(instructions=world.instructions(for_bob())))
        assert await number_of(ask) is Number.AUTHENTICATOR_UNTRUSTED


async def test_only_a_number_in_clear_tells_of_a_lost_session_and_it_never_reaches_the_client(world):
    host, lost = world.vault.host, []
    alice = await world.client("alice")

    async def forget(url, body):
        if url.endswith("frame"):
            lost.append(url)
            raise Misuse(Number.UNKNOWN_SESSION)
        return await host.post_honestly(url, body)

    host.carry = forget
    store = alice.store(ById(id=os.urandom(16)), b"secret", world.instructions(for_bob() + permit("audit")))
    assert await number_of(store) is Number.AUTHENTICATOR_UNAVAILABLE
    assert lost


async def test_a_courier_that_repeats_an_answer_blames_nobody_else(world):
    peers, kept = peers_of(world), []
    honest = peers._post

    async def repeat(url, body):
        kept.append(await honest(url, body))
        return kept[-1] if len(kept) < 4 else kept[2]

    peers._post = repeat
    peer = await peers.get(AUTHENTICATOR_URL, encode(world.policy()))
    assert await number_of(peer.ask(Validate(instructions=world.instructions(for_bob())))) is Number.INTEGRITY
