"""Genesis with named custodians (RULES 6): who may found, who must have accepted, and over what nothing is founded."""

import asyncio

import pytest
from msgspec.structs import replace as changed

from strongroom.attestation.candidates import OWNER, appraise_candidate
from strongroom.attestation.witnessing import parse_witnesses
from strongroom.client.custodians import OpenShare, acceptance, open_share, verify_pending
from strongroom.client.share.age import parse_identity
from strongroom.enclave.platform.measurement import measure
from strongroom.enclave.runtime.sealed_ring import charter_of, open_by_recovery_key, parse_sealed
from strongroom.protocol.bech32 import encode_bech32
from strongroom.protocol.cluster_messages import Accept, AskCharter, AskStatus, CharterIs, Nominee, Publish
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.evidence import cluster_id, parse_evidence, parse_genesis
from strongroom.protocol.governance import statement_digest, verify_genesis
from strongroom.protocol.index import HEAD_KEY, RING_KEY
from strongroom.protocol.link import Operation, Row
from strongroom.protocol.primitives import KemKey, SigningKey
from strongroom.protocol.share_sheet import Sheet, write_sheet
from strongroom.protocol.shares import combine
from strongroom.protocol.status import decode_status
from tests.support import ceremony, policies
from tests.support.ceremony import Custodians, Nursed, convene, talk
from tests.support.ssh_keys import SshKey


@pytest.fixture
def owner():
    return SigningKey.generate()


@pytest.fixture
def people():
    return Custodians.named(3)


@pytest.fixture
async def waiting(tmp_path, owner):
    """An enclave that is founding."""
    instance = Nursed("vault", tmp_path, owner.public)
    await instance.begin()
    serving = instance.serve()
    yield instance
    serving.cancel()


async def set_up(instance, owner, people, threshold=2, **fields):
    """A session of the owner, and the statement; every custodian has his share."""
    client = await talk(instance, owner)
    convened = await client.ask(convene(people, threshold, **fields))
    people.receive(convened)
    return client, convened.statement


async def misuse_of(client, request):
    with pytest.raises(Misuse) as caught:
        await client.ask(request)
    return caught.value.number


async def test_a_stranger_who_comes_first_founds_nothing(waiting, people, owner):
    stranger = await talk(waiting)
    with pytest.raises(Refused) as caught:
        await stranger.ask(convene(people, 2))
    assert caught.value.number is Number.NOT_OWNER_KEY
    await set_up(waiting, owner, people)


async def test_a_host_that_takes_the_word_of_another_owner_shows_it(tmp_path, owner):
    other = SigningKey.generate()
    instance = Nursed("vault", tmp_path, other.public)
    await instance.begin()
    software = policies.software(roots=list(instance.platform.roots), measurements=[measure("vault")])
    candidate = appraise_candidate(
        await instance.evidence(),
        role="vault",
        stage="founding",
        policy=policies.role(insecure_software=software),
        releases=b"",
        now=int(instance.platform.now()),
    )
    shown = {value.name: value.value for value in candidate.claims.config}
    assert shown[OWNER] == other.public.hex() != owner.public.hex()


async def test_nothing_is_stored_before_the_last_custodian_has_accepted(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    for index in range(2):
        assert (await client.ask(people.acceptance(index, statement))).missing == 2 - index
        assert waiting.host.rows == {}
        assert waiting.host.log == []
    assert not waiting.serving.done()
    assert (await client.ask(people.acceptance(2, statement))).missing == 0
    await waiting.serving
    assert waiting.host.rows[RING_KEY]
    assert parse_evidence(await waiting.evidence())[1].cluster_id == cluster_id(statement)


async def test_an_enclave_that_ends_before_the_last_acceptance_leaves_an_empty_database(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    for index in range(2):
        await client.ask(people.acceptance(index, statement))
    await waiting.begin()  # another process on the same database
    assert waiting.host.rows == {}
    client = await talk(waiting, owner)
    told = await client.ask(AskCharter())
    assert (told.charter, told.pending) == (b"", b"")
    assert await misuse_of(client, people.acceptance(2, statement)) is Number.NOT_NOW


async def test_a_custodian_who_signs_twice_counts_once(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    for _ in range(3):
        assert (await client.ask(people.acceptance(0, statement))).missing == 2
    assert not waiting.serving.done()


async def test_a_signature_by_somebody_elses_share_is_no_acceptance(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    for key in (people.shares[1].key, SigningKey.generate(), owner):
        with pytest.raises(Untrusted):
            await client.ask(people.acceptance(0, statement, key))
    with pytest.raises(Untrusted):
        await client.ask(changed(people.acceptance(0, statement), index=3))
    assert decode_status((await client.ask(AskStatus())).status).pending[0].done is False


async def test_an_acceptance_of_a_statement_that_was_replaced_counts_for_nothing(waiting, people, owner):
    client, first = await set_up(waiting, owner, people)
    early = [people.acceptance(index, first) for index in range(3)]
    await client.ask(early[0])
    people = Custodians.named(3)
    _, second = await set_up(waiting, owner, people)
    for late in early:
        assert await misuse_of(client, late) is Number.NOT_NOW
        with pytest.raises(Untrusted):
            await client.ask(changed(late, statement=statement_digest(second)))
    assert [seat.done for seat in decode_status((await client.ask(AskStatus())).status).pending] == [False] * 3
    assert waiting.host.rows == {}


async def test_an_endorsement_is_no_acceptance(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    endorsement = people.endorsement(0, statement)
    with pytest.raises(Untrusted):
        await client.ask(Accept(statement=endorsement.statement, index=0, signature=endorsement.signature))


async def test_a_host_with_witnesses_of_its_own_founds_nothing(tmp_path, owner, people):
    mine = [policies.witness_key(at) for at in range(3)]
    hosts = [policies.witness_key(at) for at in range(3, 6)]
    instance = Nursed("vault", tmp_path, owner.public, witnesses=hosts, cosignatures=2)
    await instance.begin()
    client = await talk(instance, owner)
    for witnesses, cosignatures in ((mine, 2), ([], 0), (hosts, 3), (hosts[:2], 2)):
        request = convene(people, 2, witnesses=witnesses, cosignatures=cosignatures)
        assert await misuse_of(client, request) is Number.COUNCIL_INVALID
    people.receive(convened := await client.ask(convene(people, 2, witnesses=hosts[::-1], cosignatures=2)))
    assert parse_genesis(convened.statement).witnesses == hosts[::-1]
    assert parse_witnesses(hosts, 2)


@pytest.mark.parametrize("rows", [[RING_KEY], [HEAD_KEY], [RING_KEY, HEAD_KEY]], ids=["ring", "head", "both"])
async def test_nothing_is_founded_over_what_is_left_of_a_cluster(tmp_path, owner, rows):
    founded = await ceremony.found(tmp_path)
    over = Nursed("vault", tmp_path, owner.public)
    over.host.rows = {key: founded.instance.host.rows[key] for key in rows}
    before = dict(over.host.rows)
    with pytest.raises(StrongroomError) as caught:
        await over.begin()
    assert caught.value.number in (Number.CONFLICT, Number.ROLLED_BACK)
    assert over.host.rows == before


async def test_nothing_is_founded_over_a_log_without_its_rows(tmp_path, owner):
    over = Nursed("vault", tmp_path, owner.public)
    over.host.log = [b"a leaf"]
    with pytest.raises(Misuse) as caught:
        await over.begin()
    assert caught.value.number is Number.CONFLICT


async def test_a_ring_that_appears_while_custodians_sign_is_not_written_over(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    waiting.host.rows[RING_KEY] = Row(1, b"another's")
    for index in range(3):
        await client.ask(people.acceptance(index, statement))
    with pytest.raises(StrongroomError):
        await waiting.serving
    assert list(waiting.host.rows) == [RING_KEY]
    assert waiting.host.rows[RING_KEY].sealed == b"another's"


async def test_the_founded_cluster_opens_to_as_many_custodians_as_agreed_and_to_no_fewer(tmp_path):
    founded = await ceremony.found(tmp_path, custodians=4, threshold=3)
    row = parse_sealed(founded.instance.host.rows[RING_KEY].sealed)
    state = open_by_recovery_key(row, KemKey(combine(founded.shares[1:])))
    assert state.secrets.cluster_scalar == founded.instance.ring.cluster_key.scalar
    for few in (founded.shares[:2], founded.shares[:1]):
        with pytest.raises(Misuse):
            combine(few)
    charter = charter_of(row)
    assert verify_genesis(charter.genesis).council.threshold == 3
    with pytest.raises(Untrusted):
        verify_genesis(changed(charter.genesis, accepted=charter.genesis.accepted[:3]))


async def test_it_opens_by_itself_after_a_restart(tmp_path):
    founded = await ceremony.found(tmp_path)
    await founded.instance.start()
    assert parse_evidence(await founded.instance.evidence())[1].cluster_id == founded.cluster_id


async def test_an_authenticator_is_founded_the_same_way(tmp_path):
    founded = await ceremony.found(tmp_path, role="authenticator")
    assert parse_genesis(founded.statement).role == "authenticator"


async def test_while_founding_it_says_how_it_stands_and_takes_nothing_else(waiting, people, owner):
    client = await talk(waiting)
    blank = decode_status((await client.ask(AskStatus())).status)
    assert (blank.state, blank.cluster, blank.pending) == ("founding", "", [])
    assert await misuse_of(client, Publish(releases=b"")) is Number.NOT_NOW
    await set_up(waiting, owner, people)
    status = decode_status((await client.ask(AskStatus())).status)
    assert ([seat.name for seat in status.pending], status.threshold) == (people.names, 2)
    by_host = decode_status(await waiting.enclave.handle(Operation.STATUS, b""))
    assert by_host == status


async def test_when_all_have_accepted_the_owner_convenes_no_other_council(waiting, people, owner):
    client, statement = await set_up(waiting, owner, people)
    waiting.serving.cancel()  # a host that does not let it serve
    await asyncio.sleep(0)
    for index in range(3):
        await client.ask(people.acceptance(index, statement))
    assert await misuse_of(client, convene(people, 2)) is Number.NOT_NOW
    assert (await client.ask(people.acceptance(2, statement))).missing == 0


def named(people, *names):
    return [Nominee(name, one.recipient) for name, one in zip(names, people.nominees, strict=True)]


def to_weak_key(people):
    # The point zero: whatever is agreed on with it is zero.
    return [Nominee("weak", encode_bech32("age", bytes(32))), *people.nominees[1:]]


APPROVER = SshKey(person="approver").public_key


COUNCILS = {
    "nobody": lambda people: {"custodians": [], "threshold": 0},
    "a threshold of none": lambda people: {"threshold": 0},
    "a threshold above all": lambda people: {"threshold": 4},
    "each alone": lambda people: {"threshold": 1},
    "two of one name": lambda people: {"custodians": named(people, "eve", "Eve", "bob")},
    "a name of two lines": lambda people: {"custodians": named(people, "a\nShare 1", "b", "c")},
    "a name that turns the line": lambda people: {"custodians": named(people, "a\u202eb", "b", "c")},
    "a name that pushes what stands beside it out of sight": lambda people: {
        "custodians": named(people, "alice" + 20 * " " + "b", "b", "c")
    },
    "a name that looks like another one": lambda people: {"custodians": named(people, "\u0430lice", "alice", "c")},
    "a name that begins as an option does": lambda people: {"custodians": named(people, "-b", "b", "c")},
    "a name of blanks": lambda people: {"custodians": named(people, " ", "b", "c")},
    "no name": lambda people: {"custodians": named(people, "", "b", "c")},
    "a long name": lambda people: {"custodians": named(people, "a" * 65, "b", "c")},
    "one recipient twice": lambda people: {
        "custodians": [*people.nominees[:2], Nominee("x", people.nominees[0].recipient)]
    },
    "no recipient": lambda people: {"custodians": [*people.nominees[:2], Nominee("x", "age1xyz")]},
    "an identity": lambda people: {"custodians": [*people.nominees[:2], Nominee("x", people.identities[2])]},
    "a weak recipient": lambda people: {"custodians": to_weak_key(people)},
    "approvals without approvers": lambda people: {"approvals": 1},
    "a delay without approvers": lambda people: {"release_delay": 60},
    "more approvals than approvers": lambda people: {"approvers": [APPROVER], "approvals": 2},
    "approvers of whom none is asked": lambda people: {"approvers": [APPROVER], "approvals": 0},
    "an approver twice": lambda people: {"approvers": [APPROVER, APPROVER], "approvals": 2},
    "a delay of years": lambda people: {"approvers": [APPROVER], "approvals": 1, "release_delay": 2 * 366 * 24 * 3600},
    "a statement too long to read": lambda people: {"custodians": Custodians.named(16).nominees},
    "approvers that are no keys": lambda people: {"approvers": [b"no key"], "approvals": 1},
}


@pytest.mark.parametrize("council", COUNCILS.values(), ids=COUNCILS.keys())
async def test_a_council_that_could_not_govern_is_refused(waiting, people, owner, council):
    client = await talk(waiting, owner)
    request = changed(convene(people, 2), **council(people))
    assert await misuse_of(client, request) is Number.COUNCIL_INVALID
    assert (await client.ask(AskCharter())).pending == b""


async def test_a_share_that_changed_hands_is_not_accepted(waiting, people, owner):
    _, statement = await set_up(waiting, owner, people)
    pending = verify_pending(CharterIs(charter=b"", pending=statement))
    identities = [parse_identity(identity) for identity in people.identities]
    own = open_share(people.files[0], [identities[0]])
    assert acceptance(pending, own).index == 0
    # The owner opened it, under another key than the one that the statement names, and passed it on.
    passed_on = OpenShare(own.share, own.sheet, identities[1].recipient.text)
    with pytest.raises(Untrusted, match="another recipient"):
        acceptance(pending, passed_on)
    # Bob's words on Alice's page.
    swapped = Sheet(**{**{name: getattr(own.sheet, name) for name in Sheet.__slots__}, "words": people.shares[1].words})
    with pytest.raises(Misuse) as caught:
        acceptance(pending, open_share(write_sheet(swapped).encode(), []), people.nominees[1].recipient)
    assert caught.value.number is Number.SHARE_WRONG


async def test_a_development_cluster_is_accepted_by_no_custodian(waiting, people, owner):
    _, statement = await set_up(waiting, owner, people)
    unguarded = encode(changed(parse_genesis(statement), development=True))
    with pytest.raises(Untrusted, match="development"):
        verify_pending(CharterIs(charter=b"", pending=unguarded))


async def test_two_ceremonies_never_found_the_same_cluster(waiting, people, owner):
    """A statement is nobody's to found again: its private half is drawn anew each time."""
    _, first = await set_up(waiting, owner, people)
    _, second = await set_up(waiting, owner, people)
    assert parse_genesis(first).cluster_key != parse_genesis(second).cluster_key
    assert cluster_id(first) != cluster_id(second)
