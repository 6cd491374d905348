"""What a network that lies can do to sessions: nothing but cut them."""

import os

from strongroom.protocol.authenticator_messages import Enclose, Validate
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.link import Operation
from strongroom.protocol.messages import OfNamespace
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Describe, ItemError
from tests.support.vault import SECRET, fresh, number_of
from tests.support.world import OPERATIONS, RawClient, for_bob


async def test_nothing_is_served_before_the_binding_key_has_signed(world):
    client = RawClient(world.vault)
    await client.handshake()
    request = Collect(request_id=bytes(16), tickets=[], addresses=[fresh()])
    assert await number_of(client.ask(request)) is Number.NOT_PROVED
    wrong = RawClient(world.vault)
    await wrong.handshake()
    wrong.binding = SigningKey.generate()
    assert await number_of(wrong.ask(wrong.proof())) is Number.INTEGRITY
    assert await number_of(wrong.ask(request)) is Number.UNKNOWN_SESSION
    await client.ask(client.proof())
    assert isinstance((await client.ask(request)).results[0], ItemError)
    assert await number_of(client.ask(client.proof())) is Number.MALFORMED


async def test_a_proof_of_another_session_is_refused(world):
    one = RawClient(world.vault)
    await one.handshake()
    two = RawClient(world.vault, one.binding)
    await two.handshake()
    assert await number_of(two.ask(one.proof())) is Number.INTEGRITY


async def test_a_replayed_hello_opens_nothing(world):
    client = await RawClient(world.vault).open()
    answer = await client.send(Operation.SESSION, client.handshaken.hello)
    replayed = client.handshaken.finish(answer)
    assert replayed.session_id != client.channel.session_id
    client.channel = replayed
    request = Collect(request_id=bytes(16), tickets=[], addresses=[fresh()])
    assert await number_of(client.ask(request)) is Number.NOT_PROVED


async def test_a_replayed_frame_does_nothing_twice(world):
    alice, address = await world.client("alice"), fresh()
    frames = []
    send = alice.send

    async def record(operation, body):
        frames.append(body)
        return await send(operation, body)

    alice.send = record
    await alice.store(address, SECRET, world.instructions(for_bob()))
    commits = world.vault.host.commits
    for frame in frames:
        assert await number_of(send(Operation.FRAME, frame)) is Number.REPLAYED
    assert world.vault.host.commits == commits


async def test_frames_reordered_within_the_window_are_all_served_and_dropped_ones_cost_nothing(world):

    client = await world.client()
    request = encode(Describe(address=OfNamespace(namespace="team"), tickets=[]))
    frames = [client.channel.seal(request)[1] for _ in range(5)]
    for frame in (frames[4], frames[1], frames[3]):
        client.channel.open(await client.send(Operation.FRAME, frame))


async def test_a_session_ends_with_its_evidence_and_an_old_key_is_stale(world):
    client = await world.client("bob")
    hello = client.handshaken.hello
    world.vault.platform.ahead = 3601
    assert await number_of(client.collect(fresh())) is Number.UNKNOWN_SESSION
    world.vault.platform.ahead = 2 * 3600
    assert await number_of(client.send(Operation.SESSION, hello)) is Number.STALE_KEY


async def test_a_clock_set_back_behind_a_proven_date_stops_the_vault(world):
    world.vault.platform.ahead = -7 * 86400
    assert await number_of(world.client()) is Number.CLOCK


async def test_every_kind_of_garbage_at_the_door_is_a_declared_error(world):
    client = await world.client("bob")
    for operation in OPERATIONS.values():
        if operation is Operation.EVIDENCE:
            continue
        for body in (b"", b"\x00", os.urandom(15), os.urandom(1200), client.channel.session_id + os.urandom(100)):
            assert await number_of(client.send(operation, body)) in (
                Number.MALFORMED,
                Number.STALE_KEY,
                Number.UNKNOWN_SESSION,
                Number.INTEGRITY,
            )
    for message in (b"", b"\x80", os.urandom(64), b"\x81\xa4type\xa5prove", b"\x91" * 5000):
        assert await number_of(client.ask_bytes(message)) is Number.MALFORMED
    assert await number_of(client.ask_bytes(bytes(1024 * 1024 + 1))) is Number.TOO_LARGE


async def test_only_an_appraised_vault_has_rules_validated_and_methods_enclosed(world):
    """Else a stranger keeps the Authenticator busy with the heaviest rules, or has it call providers of his choice."""
    client = await RawClient(world.authenticator).open()
    for request in (Validate(instructions=world.instructions(for_bob())), Enclose(methods=[b"m"])):
        assert await number_of(client.ask(request)) is Number.PEER_REFUSED
