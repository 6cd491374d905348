"""Another council takes office (RULES 6, 8): who must have signed, and what the former one can open after that."""

import asyncio
import threading

import pytest
from msgspec.structs import replace as changed

from strongroom.client.custodians import endorsement, open_share, parse_charter, verify_pending
from strongroom.client.share.age import parse_identity
from strongroom.enclave.runtime.sealed_ring import open_by_recovery_key, parse_sealed
from strongroom.enclave.vault import build_vault, witnessing
from strongroom.protocol.cluster_messages import Accept, AskCharter, AskStatus, CharterIs, Rotate
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable, Untrusted
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.governance import parse_succession, statement_digest
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import LifeLeaf, parse_leaf
from strongroom.protocol.primitives import KemKey, SigningKey
from strongroom.protocol.shares import combine
from strongroom.protocol.status import decode_status
from tests.support import ceremony
from tests.support.ceremony import Custodians, convene, talk
from tests.support.world import Instance


@pytest.fixture
async def founded(tmp_path):
    return await ceremony.found(tmp_path)


@pytest.fixture
def new():
    return Custodians.named(4)


def row_of(founded):
    return founded.instance.host.rows[RING_KEY]


async def set_up(founded, new, threshold=3, **fields):
    """A session of the owner, and the statement of the next council; its custodians have their shares."""
    client = await talk(founded.instance, founded.owner)
    convened = await client.ask(convene(new, threshold, **fields))
    new.receive(convened)
    return client, convened.statement


async def misuse_of(client, request):
    with pytest.raises(Misuse) as caught:
        await client.ask(request)
    return caught.value.number


async def endorsements_missing(client):
    return decode_status((await client.ask(AskStatus())).status).endorsements


async def take_office(founded, new):
    client, statement = await set_up(founded, new)
    for index in range(4):
        await client.ask(new.acceptance(index, statement))
    for index in (0, 2):
        await client.ask(founded.custodians.endorsement(index, statement))
    return client, statement


def events(founded):
    leaves = map(parse_leaf, founded.instance.host.log)
    return [leaf for leaf in leaves if isinstance(leaf, LifeLeaf)]


async def test_the_new_council_opens_the_ring_and_the_old_one_no_more(founded, new):
    before = row_of(founded)
    client, statement = await take_office(founded, new)
    row = parse_sealed(row_of(founded).sealed)
    secrets = open_by_recovery_key(row, KemKey(combine(new.shares[:3]))).secrets
    assert secrets.handle_key == founded.instance.ring.handle_key
    old = KemKey(combine(founded.shares[:2]))
    with pytest.raises(Untrusted):
        open_by_recovery_key(row, old)
    # What was written before stays open to the old shares, for as long as somebody has a copy: the documents say so.
    assert open_by_recovery_key(parse_sealed(before.sealed), old).secrets.epochs[0] == secrets.epochs[0]
    assert [(leaf.event, leaf.number, leaf.about) for leaf in events(founded)] == [
        ("governed", 1, statement_digest(statement)),
        ("rotated", 2, bytes(32)),
    ]
    status = decode_status((await client.ask(AskStatus())).status)
    assert (status.council, status.pending, (await client.ask(AskCharter())).pending) == (1, [], b"")


async def test_a_restart_goes_on_with_the_new_council(founded, new):
    _, statement = await take_office(founded, new)
    await founded.instance.start()
    client = await talk(founded.instance)
    charter, _, councils = parse_charter((await client.ask(AskCharter())).charter)
    assert charter.successions[0].statement == statement
    assert [one.name for one in councils[-1].custodians] == new.names


async def test_the_owner_alone_convenes(founded, new):
    before = row_of(founded)
    for key in (SigningKey.generate(), founded.shares[0].key):
        with pytest.raises(Refused) as caught:
            await (await talk(founded.instance, key)).ask(convene(new, 2))
        assert caught.value.number is Number.NOT_OWNER_KEY
    assert row_of(founded) == before


async def test_one_endorsement_too_few_changes_nothing(founded, new):
    before = row_of(founded)
    client, statement = await set_up(founded, new)
    for index in range(4):
        await client.ask(new.acceptance(index, statement))
    assert await endorsements_missing(client) == 2
    for _ in range(3):  # the same custodian again and again
        assert (await client.ask(founded.custodians.endorsement(1, statement))).missing == 1
        assert await endorsements_missing(client) == 1
    assert row_of(founded) == before
    assert (await client.ask(founded.custodians.endorsement(0, statement))).missing == 0
    assert await endorsements_missing(client) == 0
    assert row_of(founded) != before


async def test_one_acceptance_too_few_changes_nothing(founded, new):
    before = row_of(founded)
    client, statement = await set_up(founded, new)
    for index in range(3):
        await client.ask(new.acceptance(index, statement))
        await client.ask(founded.custodians.endorsement(index, statement))
    assert row_of(founded) == before
    assert (await client.ask(new.acceptance(3, statement))).missing == 0


async def test_the_new_custodians_endorse_nothing_and_the_old_accept_nothing(founded, new):
    client, statement = await set_up(founded, new)
    forged = Custodians([], [], [], new.shares)
    for key in (new.shares[0].key, founded.owner, SigningKey.generate()):
        with pytest.raises(Untrusted):
            await client.ask(changed(forged.endorsement(0, statement), index=1))
        with pytest.raises(Untrusted):
            await client.ask(new.acceptance(1, statement, key))
    endorsed = founded.custodians.endorsement(0, statement)
    with pytest.raises(Untrusted):
        await client.ask(Accept(statement=endorsed.statement, index=0, signature=endorsed.signature))
    with pytest.raises(Untrusted):
        await client.ask(changed(endorsed, index=7))


async def test_signatures_of_a_statement_that_was_replaced_count_for_nothing(founded, new):
    before = row_of(founded)
    client, first = await set_up(founded, new)
    late = [founded.custodians.endorsement(0, first), new.acceptance(0, first)]
    _, second = await set_up(founded, Custodians.named(4))
    for signed in late:
        assert await misuse_of(client, signed) is Number.NOT_NOW
        with pytest.raises(Untrusted):
            await client.ask(changed(signed, statement=statement_digest(second)))
    assert row_of(founded) == before


async def test_a_council_that_was_replaced_signs_nothing_any_more(founded, new):
    client, _ = await take_office(founded, new)
    third = Custodians.named(2)
    third.receive(convened := await client.ask(convene(third, 2)))
    with pytest.raises(Untrusted):
        await client.ask(founded.custodians.endorsement(0, convened.statement))
    for index in range(2):
        await client.ask(third.acceptance(index, convened.statement))
    for index in range(3):
        left = (await client.ask(new.endorsement(index, convened.statement))).missing
    assert left == 0
    assert [leaf.number for leaf in events(founded) if leaf.event == "governed"] == [1, 2]


async def test_a_restart_forgets_what_was_set_up_and_changes_nothing(founded, new):
    before = row_of(founded)
    client, statement = await set_up(founded, new)
    for index in range(3):
        await client.ask(new.acceptance(index, statement))
    await founded.instance.start()
    client = await talk(founded.instance)
    assert (await client.ask(AskCharter())).pending == b""
    assert await misuse_of(client, new.acceptance(3, statement)) is Number.NOT_NOW
    assert parse_sealed(row_of(founded).sealed).charter == parse_sealed(before.sealed).charter


async def test_the_last_signature_is_taken_once_more_when_the_database_failed(founded, new):
    before = row_of(founded)
    client, statement = await set_up(founded, new)
    for index in range(4):
        await client.ask(new.acceptance(index, statement))
    await client.ask(founded.custodians.endorsement(0, statement))
    founded.instance.host.fail_commit = Unavailable(Number.STORE_FULL)
    with pytest.raises(Unavailable):
        await client.ask(founded.custodians.endorsement(1, statement))
    assert row_of(founded) == before
    founded.instance.host.fail_commit = None
    for _ in range(2):  # and a second time, when its answer was lost
        assert (await client.ask(founded.custodians.endorsement(1, statement))).missing == 0
    assert [leaf.event for leaf in events(founded)] == ["governed", "rotated"]


async def test_a_development_cluster_keeps_its_automatic_custodian(tmp_path, new):
    owner = SigningKey.generate()
    instance = Instance("vault", tmp_path, build_vault, owner.public)
    await instance.start()
    assert await misuse_of(await talk(instance, owner), convene(new, 3)) is Number.COUNCIL_INVALID


async def test_a_council_that_took_office_while_witnesses_were_away_is_not_shown_as_pending(tmp_path, new, monkeypatch):
    monkeypatch.setattr(witnessing, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    founded, watch = await ceremony.found_watched(tmp_path)
    client, statement = await set_up(founded, new)
    for index in range(4):
        await client.ask(new.acceptance(index, statement))
    await client.ask(founded.custodians.endorsement(0, statement))
    watch.down = {0, 1, 2}
    with pytest.raises(Unavailable) as caught:
        await client.ask(founded.custodians.endorsement(2, statement))
    assert caught.value.number is Number.WITNESSES_UNAVAILABLE
    watch.down = set()
    status = decode_status((await client.ask(AskStatus())).status)
    assert (status.council, status.pending, status.endorsements) == (1, [], 0)
    assert (await client.ask(AskCharter())).pending == b""
    assert (await client.ask(founded.custodians.endorsement(2, statement))).missing == 0
    watch.close()


async def test_evidence_that_was_being_quoted_meanwhile_is_not_kept(founded, new):
    """A host decides how long a quote takes, and would have evidence name the council of before for an hour."""
    client, statement = await set_up(founded, new)
    for index in range(4):
        await client.ask(new.acceptance(index, statement))
    await client.ask(founded.custodians.endorsement(0, statement))
    platform, asked, go_on = founded.instance.platform, asyncio.Event(), threading.Event()
    quote, loop = platform.quote, asyncio.get_running_loop()

    def slow(data):
        loop.call_soon_threadsafe(asked.set)
        go_on.wait(5)
        return quote(data)

    founded.instance.enclave._door._identity.renew()  # as at the turn of a key
    platform.quote = slow
    asking = asyncio.ensure_future(founded.instance.evidence())
    await asked.wait()
    platform.quote = quote
    await client.ask(founded.custodians.endorsement(2, statement))
    go_on.set()
    assert parse_any_evidence(await asking)[1].council == 0
    assert parse_any_evidence(await founded.instance.evidence())[1].council == 1


async def test_witnesses_are_not_changed_with_a_council(founded, new):
    client = await talk(founded.instance, founded.owner)
    assert await misuse_of(client, convene(new, 3, cosignatures=1)) is Number.COUNCIL_INVALID


@pytest.mark.parametrize(("limit", "value"), [("MAX_COUNCILS", 1), ("ROOM", 24_000)])
async def test_councils_end_before_the_charter_is_too_long_to_read(founded, new, monkeypatch, limit, value):
    monkeypatch.setattr(f"strongroom.enclave.runtime.councils.{limit}", value)
    client, _ = await take_office(founded, new)
    assert await misuse_of(client, convene(Custodians.named(2), 2)) is Number.COUNCIL_INVALID


async def test_a_charter_that_nobody_could_read_is_not_written(founded, monkeypatch):
    row = row_of(founded)
    monkeypatch.setattr("strongroom.enclave.runtime.ring.MAX_CHARTER", 1000)
    client = await talk(founded.instance, founded.owner)
    assert await misuse_of(client, Rotate()) is Number.NOT_NOW
    assert row_of(founded) == row


async def test_a_custodian_sees_whose_council_he_would_endorse(founded, new, tmp_path):
    client, statement = await set_up(founded, new)
    told = await client.ask(AskCharter())
    pending = verify_pending(told, founded.cluster_id)
    identity = parse_identity(founded.custodians.identities[1])
    opened = open_share(founded.custodians.files[1], [identity])
    assert endorsement(pending, opened).index == 1
    other = await ceremony.found(tmp_path)
    with pytest.raises(Untrusted):
        verify_pending(told, other.cluster_id)
    theirs = open_share(other.custodians.files[1], [parse_identity(other.custodians.identities[1])])
    with pytest.raises(Misuse) as caught:
        endorsement(pending, theirs)
    assert caught.value.number is Number.SHARE_FOREIGN
    newer = open_share(new.files[1], [parse_identity(new.identities[1])])
    with pytest.raises(Misuse) as caught:
        endorsement(pending, newer)
    assert caught.value.number is Number.SHARE_STALE
    after_another = encode(changed(parse_succession(statement), previous=bytes(32)))
    for charter, next_one in ((told.charter, after_another), (b"", statement), (told.charter, told.charter)):
        with pytest.raises(Untrusted):
            verify_pending(CharterIs(charter=charter, pending=next_one), founded.cluster_id)
