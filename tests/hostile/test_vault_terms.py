"""Terms, journals, filling, persons' own records, blobs: what recipients, outsiders and hosts can do about them."""

import asyncio
import os
from typing import Any

import pytest

from strongroom.protocol.blobs import BlobStatement, verify_statement
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.limits import FREE_ATTEMPTS, MAX_JOURNAL
from strongroom.protocol.link import Row
from strongroom.protocol.messages import ByName, ByPerson
from strongroom.protocol.vault_messages import Item, ItemError, Store, StoreItem
from tests.support.evidence import changed
from tests.support.vault import SECRET, collect_error, fresh, number_of, person, terms
from tests.support.world import for_bob, permit

BLOB = bytes(range(16))
OWN = permit("collect", "update", "delete", "audit", "fill", email="alice@example.com")
ANYBODY = permit("collect") + OWN


async def shared(world, rules=None, address=None, secret=SECRET, **changes):
    """A record of alice's with terms."""
    address = address or fresh()
    await (await world.client("alice")).store(
        address, secret, world.instructions(rules or for_bob()), terms=terms(**changes)
    )
    return address


async def opened(client, address, request_id=None):
    (result,) = await client.collect(address, request_id=request_id)
    assert isinstance(result, Item), f"not released: {result}"
    return result.opens


def in_an_hour(world):
    return int(world.vault.platform.now()) + 3600


def journal_row(world, address):
    shelf = world.vault.enclave._door._service._release._shelf
    return shelf.journal_key(shelf.handle(address))


# --- closed, expired, opened out --------------------------------------------------------------------------------


async def test_a_closed_record_is_released_to_nobody_and_only_whom_the_rules_permit_learns_why(world):
    address = await shared(world)
    alice, bob, mallory = [await world.client(who) for who in ("alice", "bob", "mallory")]
    assert await opened(bob, address) == 1
    await alice.update(address, 1, secret=b"", terms=terms(closed=True))
    assert await collect_error(bob, address) is Number.CLOSED
    assert await collect_error(mallory, address) is Number.REFUSED
    assert await collect_error(await world.client(), address) is Number.TICKET_MISSING


async def test_an_expired_record_is_released_to_nobody_from_the_very_second_on(world):
    expires_at = in_an_hour(world)
    address = await shared(world, expires_at=expires_at)
    world.vault.platform.now = lambda: float(expires_at - 1)
    world.authenticator.platform.now = world.vault.platform.now
    assert await opened(await world.client("bob"), address) == 1
    world.vault.platform.now = world.authenticator.platform.now = lambda: float(expires_at)
    assert await collect_error(await world.client("bob"), address) is Number.EXPIRED
    assert await collect_error(await world.client("mallory"), address) is Number.REFUSED


async def test_what_terms_forbid_counts_as_no_refused_attempt(world):
    address = await shared(world, max_opens=1)
    alice, bob = await world.client("alice"), await world.client("bob")
    await opened(bob, address)
    for _ in range(FREE_ATTEMPTS + 6):
        assert await collect_error(bob, address) is Number.OPENED_OUT
    await alice.update(address, 1, terms=terms(max_opens=2))
    assert await opened(bob, address) == 2


async def test_who_stored_the_record_is_neither_bound_nor_counted(world):
    address = await shared(world, ANYBODY, expires_at=1, max_opens=1)
    alice = await world.client("alice")
    assert [await opened(alice, address) for _ in range(3)] == [0, 0, 0]
    assert await collect_error(await world.client("bob"), address) is Number.EXPIRED
    await alice.update(address, 1, terms=terms(max_opens=1, closed=True))
    assert await opened(alice, address) == 0


@pytest.mark.parametrize("max_opens", [1, 3])
async def test_collects_at_once_get_no_more_than_the_terms_say(world, max_opens):
    address = await shared(world, ANYBODY, max_opens=max_opens)
    people = [await world.client(f"recipient{n}") for n in range(8)]
    results = [result for (result,) in await asyncio.gather(*(one.collect(address) for one in people))]
    assert sorted(result.opens for result in results if isinstance(result, Item)) == list(range(1, max_opens + 1))
    assert {result.number for result in results if isinstance(result, ItemError)} == {int(Number.OPENED_OUT)}


async def test_the_last_opening_is_not_given_twice_to_collects_of_different_batches(world):
    """Only the writer can tell that a batch must be decided anew, with the other record in it."""
    address, beside = await shared(world, ANYBODY, max_opens=1), await shared(world, ANYBODY)
    people = [await world.client(f"recipient{n}") for n in range(6)]
    answers = await asyncio.gather(*(one.collect(beside, address) for one in people))
    assert all(isinstance(first, Item) for first, _ in answers)
    assert sum(isinstance(second, Item) for _, second in answers) == 1


async def test_a_lost_answer_is_given_again_and_counts_once(world):
    address = await shared(world, ANYBODY, max_opens=3)
    bob, request_id = await world.client("bob"), os.urandom(16)
    assert await opened(bob, address, request_id) == 1
    assert await opened(await world.client("carol"), address) == 2
    assert await opened(bob, address, request_id) == 1
    assert await opened(await world.client("carol"), address) == 3
    await world.vault.start()
    again = type(bob)(world.vault, bob.binding)
    await again.open()
    again.tickets = bob.tickets
    assert await opened(again, address, request_id) == 1, "also after a restart"
    assert await collect_error(again, address) is Number.OPENED_OUT


async def test_somebody_elses_request_id_opens_nothing_for_free(world):
    address = await shared(world, ANYBODY, max_opens=1)
    bob, request_id = await world.client("bob"), os.urandom(16)
    await opened(bob, address, request_id)
    used_out = [ItemError(number=int(Number.OPENED_OUT))]
    assert await (await world.client("bob")).collect(address, request_id=request_id) == used_out, "another key"
    bob.tickets = [world.ticket("mallory", bob.binding)]
    assert await bob.collect(address, request_id=request_id) == used_out, "another person on the same machine"


async def test_a_repetition_of_a_counted_collect_is_refused_once_the_record_is_closed(world):
    address = await shared(world)
    bob, request_id = await world.client("bob"), os.urandom(16)
    await opened(bob, address, request_id)
    await (await world.client("alice")).update(address, 1, terms=terms(closed=True))
    (result,) = await bob.collect(address, request_id=request_id)
    assert result == ItemError(number=int(Number.CLOSED))


async def test_an_opening_that_could_not_be_written_is_not_used_up(world):
    address = await shared(world, max_opens=1)
    bob = await world.client("bob")
    world.vault.host.fail_commit = Unavailable(Number.STORE_FULL)
    assert await number_of(bob.collect(address)) is Number.STORE_FULL
    world.vault.host.fail_commit = None
    assert await opened(bob, address) == 1
    assert await collect_error(bob, address) is Number.OPENED_OUT


async def test_more_openings_may_be_allowed_but_the_count_is_never_reset(world):
    address = await shared(world, max_opens=1)
    alice, bob = await world.client("alice"), await world.client("bob")
    await opened(bob, address)
    await alice.update(address, 1, terms=terms(max_opens=1, expires_at=in_an_hour(world)))
    assert await collect_error(bob, address) is Number.OPENED_OUT
    await alice.update(address, 2, terms=terms(max_opens=2))
    assert await opened(bob, address) == 2


FIXED = [
    ({}, {"blob": BLOB}, Number.MALFORMED),
    ({"blob": BLOB}, {}, Number.MALFORMED),
    ({"blob": BLOB}, {"blob": bytes(16)}, Number.MALFORMED),
    ({"blob": BLOB, "blob_bytes": 2}, {"blob": BLOB, "blob_bytes": 1}, Number.MALFORMED),
    ({}, {"blob_bytes": 1}, Number.MALFORMED),
    ({"blob": BLOB}, {"blob": BLOB, "expires_at": 0}, Number.MALFORMED),
    ({"closed": True}, {}, Number.MALFORMED),
    ({}, {"fillable": True}, Number.MALFORMED),
]


@pytest.mark.parametrize(("before", "after", "number"), FIXED)
async def test_what_terms_promised_can_not_be_changed_afterwards(world, before, after, number):
    address = await shared(world, **before)
    alice = await world.client("alice")
    assert await number_of(alice.update(address, 1, terms=terms(**after))) is number
    assert (await alice.history(address)).terms == terms(**before)


async def test_a_record_stored_without_terms_gets_none_and_has_no_journal(world):
    alice, address = await world.client("alice"), fresh()
    await alice.store(address, SECRET, world.instructions(for_bob()))
    rows = set(world.vault.host.kept)
    await (await world.client("bob")).collect(address)
    await collect_error(await world.client("mallory"), address)
    assert await number_of(alice.update(address, 1, terms=terms())) is Number.UNSUPPORTED
    assert await number_of(alice.history(address)) is Number.UNSUPPORTED
    assert journal_row(world, address) not in world.vault.host.rows
    assert len(set(world.vault.host.kept) - rows) == 1, "mallory's refused attempt alone"


@pytest.mark.parametrize("bad", [{"blob_bytes": 1}, {"blob": BLOB, "blob_bytes": 1, "expires_at": 0}])
async def test_bytes_of_no_blob_and_of_an_endless_one_are_refused_at_store_with_the_item(world, bad):
    """An endless blob stays on the host's disk when its record is closed, and no longer counts against the quota."""
    alice = await world.client("alice")
    cases: tuple[dict[str, Any], ...] = ({}, bad)
    items = [
        StoreItem(
            address=fresh(),
            replaces=0,
            secret=b"",
            metadata=b"",
            instructions=world.instructions(for_bob()),
            terms=terms(**said),
        )
        for said in cases
    ]
    with pytest.raises(Misuse) as caught:
        await alice.ask(Store(request_id=bytes(16), namespace="team", tickets=alice.tickets, items=items))
    assert (caught.value.number, caught.value.index) == (Number.MALFORMED, 1)


# --- the journal ------------------------------------------------------------------------------------------------


async def test_the_journal_names_who_asked_and_what_was_answered(world):
    address = await shared(world, max_opens=1)
    alice, bob, mallory = [await world.client(who) for who in ("alice", "bob", "mallory")]
    await opened(bob, address)
    await collect_error(bob, address)
    await collect_error(mallory, address)
    await collect_error(await world.client(), address)
    await number_of(bob.update(address, 1, secret=b"mine"))
    await alice.update(address, 1, terms=terms(max_opens=2))
    history = await alice.history(address)
    assert [(v.number, v.action, v.person, v.version, v.outcome) for v in history.visits] == [
        (1, "create", person("alice"), 1, 0),
        (2, "collect", person("bob"), 1, 0),
        (3, "collect", person("bob"), 1, Number.OPENED_OUT),
        (4, "collect", person("mallory"), 1, Number.REFUSED),
        (5, "update", person("bob"), 1, Number.REFUSED),
        (6, "update", person("alice"), 1, 0),
        (7, "audit", person("alice"), 2, 0),
    ]
    assert (history.version, history.opens, history.terms) == (2, 1, terms(max_opens=2))
    now = world.vault.platform.now()
    assert all(now - 60 < visit.at <= now for visit in history.visits)


async def test_the_journal_is_shown_to_auditors_only_and_tells_of_one_record_only(world):
    one, other = await shared(world), await shared(world)
    await opened(await world.client("bob"), other)
    for who, number in (("bob", Number.REFUSED), ("mallory", Number.REFUSED), (None, Number.TICKET_MISSING)):
        assert await number_of((await world.client(who)).history(one)) is number
    assert await number_of((await world.client("alice")).history(fresh())) is Number.REFUSED
    visits = (await (await world.client("alice")).history(one)).visits
    assert [(visit.action, visit.person.email) for visit in visits] == [
        ("create", "alice@example.com"),
        ("audit", "bob@example.com"),
        ("audit", "mallory@example.com"),
        ("audit", "alice@example.com"),
    ]


async def test_the_journal_survives_a_restart_and_the_records_deletion(world):
    address = await shared(world)
    await opened(await world.client("bob"), address)
    alice = await world.client("alice")
    await alice.delete(address, 1)
    await world.vault.start()
    history = await (await world.client("alice")).history(address)
    assert [visit.action for visit in history.visits] == ["create", "collect", "delete", "audit"]
    assert (history.opens, history.terms.closed) == (1, True)


async def test_what_takes_a_deleted_records_place_begins_anew(world):
    address = await shared(world, address=ByName(namespace="team", name="report"), max_opens=1)
    alice, bob = await world.client("alice"), await world.client("bob")
    await opened(bob, address)
    await alice.delete(address, 1)
    rules = world.instructions(for_bob())
    await alice.store(address, b"new", rules, replaces=2, terms=terms(max_opens=1))
    assert [visit.action for visit in (await alice.history(address)).visits] == ["create", "audit"]
    assert await opened(bob, address) == 1


async def test_visits_at_once_all_get_a_number_of_their_own(world):
    address = await shared(world, ANYBODY)
    people = [await world.client(who) for who in ("bob", "carol", "dave", "eve")]
    await asyncio.gather(*(one.collect(address) for one in people for _ in range(6)))
    history = await (await world.client("alice")).history(address)
    assert [visit.number for visit in history.visits] == list(range(1, 27))
    assert history.opens == 24


async def test_a_flood_of_refusals_does_not_wash_away_who_opened(world):
    address = await shared(world)
    await opened(await world.client("bob"), address)
    outsiders = [await world.client(f"outsider{n}") for n in range(6)]
    for _ in range(6):
        await asyncio.gather(*(one.collect(address) for one in outsiders for _ in range(5)))
    alice = await world.client("alice")
    for looks in range(MAX_JOURNAL + 1):
        history = await alice.history(address)
        assert len(history.visits) == MAX_JOURNAL
        assert [visit.action for visit in history.visits[:2]] == ["create", "collect"]
        assert history.visits[-1].number == 2 + 6 * 30 + looks + 1, "what went is missing, and one can see that it is"


async def test_who_opens_again_and_again_does_not_wash_away_who_else_did(world):
    """Also by repeating one collect, which counts as one opening."""
    address = await shared(world, ANYBODY, max_opens=50)
    alice, bob, carol = [await world.client(who) for who in ("alice", "bob", "carol")]
    await opened(bob, address)
    request_id = os.urandom(16)
    for _ in range(MAX_JOURNAL + 5):
        await opened(carol, address, request_id)
    journal = await alice.history(address)
    done = [(visit.person, visit.action) for visit in journal.visits]
    assert done[:3] == [(person("alice"), "create"), (person("bob"), "collect"), (person("carol"), "collect")]
    assert (journal.opens, journal.visits[-2].number, len(journal.visits)) == (2, MAX_JOURNAL + 7, MAX_JOURNAL)


async def test_a_journal_of_long_names_stays_as_small_as_a_commit_can_take(world):
    address = await shared(world, ANYBODY)
    people = [await world.client("x" * 240 + str(n)) for n in range(8)]
    for _ in range(9):
        await asyncio.gather(*(one.collect(address) for one in people))
    assert len(world.vault.host.rows[journal_row(world, address)].sealed) == 32 * 1024 + 53
    history = await (await world.client("alice")).history(address)
    assert (history.opens, history.visits[-2].number) == (72, 73)
    assert 10 < len(history.visits) < 74


async def test_the_host_can_not_reset_the_count_with_another_journal_or_none(world):
    used, unused = await shared(world, max_opens=1), await shared(world, max_opens=1)
    await opened(await world.client("bob"), used)
    rows = world.vault.host.rows
    good = rows[journal_row(world, used)]
    for lie in (None, rows[journal_row(world, unused)], Row(1, good.sealed), Row(good.version, bytes(300))):
        await world.vault.start()
        rows[journal_row(world, used)] = lie
        if lie is None:
            del rows[journal_row(world, used)]
        expected = Number.INTEGRITY if lie and lie.version == good.version else Number.ROLLED_BACK
        assert await number_of((await world.client("bob")).collect(used)) is expected
    rows[journal_row(world, used)] = good
    await world.vault.start()
    assert await collect_error(await world.client("bob"), used) is Number.OPENED_OUT


# --- filling ----------------------------------------------------------------------------------------------------

BOX = permit("fill", email="bob@example.com") + permit("fill", email="carol@example.com") + OWN


async def test_a_box_is_filled_once_by_the_first_who_may_and_read_by_its_depositor(world):
    box = await shared(world, BOX, secret=b"", fillable=True)
    alice, bob, carol, mallory = [await world.client(who) for who in ("alice", "bob", "carol", "mallory")]
    assert await number_of(mallory.fill(box, 1, b"trap")) is Number.REFUSED
    request_id = os.urandom(16)
    assert (await bob.fill(box, 1, SECRET, request_id=request_id)).version == 2
    assert (await bob.fill(box, 1, SECRET, request_id=request_id)).version == 2, "the same again is the same success"
    for again in (bob.fill(box, 2, b"x"), bob.fill(box, 1, b"x", request_id=request_id), carol.fill(box, 2, b"x")):
        assert await number_of(again) is Number.CONFLICT
    assert await number_of(mallory.fill(box, 2, b"trap")) is Number.REFUSED
    (item,) = await alice.collect(box)
    assert (item.secret, item.author, item.terms.fillable, item.version) == (SECRET, person("bob"), False, 2)


async def test_who_may_fill_may_do_nothing_else(world):
    box = await shared(world, BOX, secret=b"", fillable=True)
    bob = await world.client("bob")
    await bob.fill(box, 1, SECRET)
    assert await collect_error(bob, box) is Number.REFUSED
    for refused in (bob.update(box, 2, secret=b""), bob.delete(box, 2), bob.history(box)):
        assert await number_of(refused) is Number.REFUSED


async def test_of_fills_at_once_one_is_taken(world):
    box = await shared(world, BOX, secret=b"", fillable=True)
    people = [await world.client(who) for who in ("bob", "carol") for _ in range(3)]
    results = await asyncio.gather(*(one.fill(box, 1, SECRET) for one in people), return_exceptions=True)
    assert sum(not isinstance(result, StrongroomError) for result in results) == 1
    assert {result.number for result in results if isinstance(result, StrongroomError)} == {Number.CONFLICT}


@pytest.mark.parametrize(("change", "number"), [({"closed": True}, Number.CLOSED), ({"expires_at": 1}, Number.EXPIRED)])
async def test_a_closed_or_expired_box_takes_nothing(world, change, number):
    box = await shared(world, BOX, secret=b"", fillable=True, blob=BLOB, blob_bytes=10, **change)
    bob = await world.client("bob")
    assert await number_of(bob.fill(box, 1, SECRET)) is number
    assert await number_of(bob.grant_blob(box)) is number
    visits = (await (await world.client("alice")).history(box)).visits
    assert [(visit.action, visit.outcome) for visit in visits[1:3]] == [("fill", number), ("fill", number)]


async def test_a_record_that_is_not_fillable_is_filled_by_nobody(world):
    plain = fresh()
    await (await world.client("alice")).store(plain, SECRET, world.instructions(BOX))
    for address in (plain, await shared(world, BOX)):
        assert await number_of((await world.client("bob")).fill(address, 1, b"x")) is Number.CONFLICT
        assert (await (await world.client("alice")).collect(address))[0].secret == SECRET


async def test_the_author_is_who_last_set_the_secret_not_who_changed_the_terms(world):
    rules = permit("collect", "update", "delete")
    address = await shared(world, rules)
    bob, carol = await world.client("bob"), await world.client("carol")
    await bob.update(address, 1, secret=b"bob's")
    await carol.update(address, 2, terms=terms(max_opens=5))
    (item,) = await carol.collect(address)
    assert (item.author, item.terms) == (person("bob"), terms(max_opens=5))


# --- records of one person --------------------------------------------------------------------------------------


def desk(who, name="desk-1"):
    return ByPerson(namespace="team", person=person(who).principal, name=name)


async def test_nobody_stores_under_somebody_elses_own_address(world):
    alice, mallory, rules = await world.client("alice"), await world.client("mallory"), world.instructions(OWN)
    await alice.store(desk("alice"), SECRET, rules)
    assert (await alice.collect(desk("alice")))[0].secret == SECRET
    rows = set(world.vault.host.kept)
    items = [
        StoreItem(address=address, replaces=0, secret=b"", metadata=b"", instructions=rules, terms=None)
        for address in (desk("mallory"), desk("alice", "desk-2"))
    ]
    with pytest.raises(Refused) as caught:
        await mallory.ask(Store(request_id=bytes(16), namespace="team", tickets=mallory.tickets, items=items))
    assert (caught.value.number, caught.value.index) == (Number.REFUSED, 1)
    assert len(set(world.vault.host.kept) - rows) == 1, "mallory's refused attempt alone"
    assert await number_of(alice.store(changed(desk("alice"), namespace="x"), b"", rules)) is Number.MALFORMED


async def test_a_deleted_record_of_ones_own_is_stored_anew_by_oneself_only(world):
    rules = world.instructions(permit("collect", "update", "delete"))
    alice, mallory = await world.client("alice"), await world.client("mallory")
    await alice.store(desk("alice"), SECRET, rules)
    await mallory.delete(desk("alice"), 1)  # the rules let her
    assert await number_of(mallory.store(desk("alice"), b"trap", rules, replaces=2)) is Number.REFUSED
    assert (await alice.store(desk("alice"), b"mine", rules, replaces=2)).versions == [3]


async def test_a_ticket_shown_along_does_not_lend_its_persons_address(world):
    mallory = await world.client("mallory")
    mallory.tickets = [*mallory.tickets, world.ticket("alice", mallory.binding)]
    stolen = mallory.store(desk("alice"), b"", world.instructions(OWN))
    assert await number_of(stolen) is Number.REFUSED, "put down to the first whom the rules permit"


async def test_a_stranger_learns_of_no_persons_record(world):
    await (await world.client("alice")).store(desk("alice"), SECRET, world.instructions(OWN))
    stranger = await world.client()
    for address in (desk("alice"), desk("alice", "unknown"), desk("nobody")):
        assert await collect_error(stranger, address) is Number.REFUSED
        for asked in (
            stranger.describe(address),
            stranger.update(address, 1, secret=b""),
            stranger.fill(address, 1, b""),
            stranger.delete(address, 1),
            stranger.history(address),
            stranger.grant_blob(address),
        ):
            assert await number_of(asked) is Number.REFUSED


async def test_a_name_is_not_a_persons_own_address_and_no_two_are_alike(world):
    alice, rules = await world.client("alice"), world.instructions(OWN)
    own = desk("alice", "x")
    await alice.store(own, SECRET, rules)
    for other in (
        ByName(namespace="team", name="x"),
        ByName(namespace="team", name=f"{own.person}/x"),
        desk("bob", "x"),
    ):
        assert await collect_error(alice, other) is Number.REFUSED


# --- blobs ------------------------------------------------------------------------------------------------------


async def statement_of(world, client, address):
    granted = await client.grant_blob(address)
    cluster_key = parse_evidence(await world.vault.evidence())[2].cluster_key
    return verify_statement(granted.statement, granted.signature, cluster_key)


async def test_the_host_is_told_of_a_blob_by_whom_the_rules_let_update(world):
    expires_at = in_an_hour(world)
    address = await shared(world, blob=BLOB, blob_bytes=1000, expires_at=expires_at)
    alice = await world.client("alice")
    told = await statement_of(world, alice, address)
    assert told == BlobStatement(blob=BLOB, version=1, max_bytes=1000, expires_at=expires_at, live=True)
    visits = (await alice.history(address)).visits
    assert [visit.action for visit in visits] == ["create", "audit"], "nothing was released or changed"
    for who in ("bob", "mallory"):
        assert await number_of((await world.client(who)).grant_blob(address)) is Number.REFUSED
    await alice.update(address, 1, secret=b"", terms=terms(blob=BLOB, closed=True))
    assert not (await statement_of(world, alice, address)).live


async def test_of_a_deleted_record_the_host_is_told_to_erase_the_blob(world):
    address = await shared(world, blob=BLOB, blob_bytes=1000)
    alice = await world.client("alice")
    await alice.delete(address, 1)
    told = await statement_of(world, alice, address)
    assert (told.live, told.version) == (False, 2)


async def test_a_record_without_blob_has_nothing_to_tell_the_host(world):
    assert await number_of((await world.client("alice")).grant_blob(await shared(world))) is Number.UNSUPPORTED


async def test_who_fills_a_box_may_upload_until_it_is_filled(world):
    box = await shared(world, BOX, secret=b"", fillable=True, blob=BLOB, blob_bytes=10)
    bob = await world.client("bob")
    assert (await statement_of(world, bob, box)).live
    await bob.fill(box, 1, SECRET)
    assert await number_of(bob.grant_blob(box)) is Number.REFUSED


async def test_a_refused_question_about_a_blob_counts_once_though_two_rights_were_asked_for(world):
    box = await shared(world, BOX, secret=b"", fillable=True, blob=BLOB, blob_bytes=10)
    mallory = await world.client("mallory")
    before = len((await (await world.client("alice")).history(box)).visits)
    for _ in range(FREE_ATTEMPTS - 1):
        assert await number_of(mallory.grant_blob(box)) is Number.REFUSED
    assert len((await (await world.client("alice")).history(box)).visits) == before + FREE_ATTEMPTS
    alice = await world.client("alice")
    await alice.update(box, 1, instructions=world.instructions(BOX + permit("fill")))
    assert (await mallory.fill(box, 2, SECRET)).version == 3, "not throttled yet"


async def test_who_is_throttled_is_told_so_though_another_right_is_asked_for_next(world):
    rules = permit("update", "delete", email="bob@example.com") + OWN
    box = await shared(world, rules, secret=b"", fillable=True, blob=BLOB, blob_bytes=10)
    bob = await world.client("bob")
    for _ in range(FREE_ATTEMPTS + 6):
        assert await collect_error(bob, box) is Number.REFUSED
    assert await number_of(bob.grant_blob(box)) is Number.THROTTLED


async def test_nobody_has_the_host_erase_somebody_elses_blob(world):
    """mallory knows the id of a blob that was shared with her, and stores a closed record that names it."""
    rules = permit("update", "delete", "collect")
    await shared(world, rules, blob=BLOB, blob_bytes=1000)
    mallory = await world.client("mallory")
    trap = terms(blob=BLOB, closed=True)
    for _ in range(2):
        stored = mallory.store(fresh(), b"", world.instructions(rules), terms=trap)
        assert await number_of(stored) is Number.CONFLICT
        await world.vault.start()
        mallory = await world.client("mallory")


async def test_of_records_that_name_one_blob_at_once_one_gets_it(world):
    people, rules = [await world.client(f"p{n}") for n in range(4)], world.instructions(ANYBODY)
    results = await asyncio.gather(
        *(one.store(fresh(), b"", rules, terms=terms(blob=BLOB)) for one in people), return_exceptions=True
    )
    assert sum(not isinstance(result, StrongroomError) for result in results) == 1
    assert {result.number for result in results if isinstance(result, StrongroomError)} == {Number.CONFLICT}


async def test_two_records_of_one_store_can_not_share_a_blob(world):
    alice = await world.client("alice")
    items = [
        StoreItem(
            address=fresh(),
            replaces=0,
            secret=b"",
            metadata=b"",
            instructions=world.instructions(for_bob()),
            terms=terms(blob=BLOB),
        )
        for _ in range(2)
    ]
    request = Store(request_id=bytes(16), namespace="team", tickets=alice.tickets, items=items)
    assert await number_of(alice.ask(request)) is Number.MALFORMED


async def test_a_loop_of_store_and_delete_does_not_fill_the_database_with_claims(world):
    address = await shared(world, blob=BLOB, blob_bytes=10)
    alice, rules = await world.client("alice"), world.instructions(for_bob())
    await alice.delete(address, 1)
    for other in (terms(blob=bytes(16)), terms(), None):
        assert await number_of(alice.store(address, b"", rules, replaces=2, terms=other)) is Number.MALFORMED
    assert (await alice.store(address, b"", rules, replaces=2, terms=terms(blob=BLOB))).versions == [3]


async def test_blobs_count_against_the_quota_until_their_record_is_closed_or_deleted(world):
    await world.namespace("files", max_bytes=1_000_000)
    alice, rules = await world.client("alice"), world.instructions(for_bob())

    async def share(size):
        address, blob = fresh(), os.urandom(16)
        await alice.store(address, b"", rules, namespace="files", terms=terms(blob=blob, blob_bytes=size))
        return address, blob

    first, blob = await share(600_000)
    assert await number_of(share(600_000)) is Number.QUOTA_EXCEEDED
    larger = terms(blob=blob, blob_bytes=2_000_000)
    assert await number_of(alice.update(first, 1, terms=larger)) is Number.QUOTA_EXCEEDED
    await alice.update(first, 1, terms=terms(blob=blob, blob_bytes=600_000, closed=True))
    second, _ = await share(600_000)
    await alice.delete(second, 1)
    await share(600_000)


async def test_nobody_has_more_kept_than_the_quota_by_saying_afterwards_that_it_was_less(world):
    """The host took the blob on an earlier statement, and is not told of a smaller one."""
    await world.namespace("files", max_bytes=1_000_000)
    alice, rules, address = await world.client("alice"), world.instructions(for_bob()), fresh()
    said = terms(blob=BLOB, blob_bytes=600_000)
    await alice.store(address, b"", rules, namespace="files", terms=said)
    await alice.grant_blob(address)
    assert await number_of(alice.update(address, 1, terms=terms(blob=BLOB))) is Number.MALFORMED
    more = alice.store(fresh(), b"", rules, namespace="files", terms=terms(blob=bytes(16), blob_bytes=600_000))
    assert await number_of(more) is Number.QUOTA_EXCEEDED


async def test_a_repeated_store_of_a_record_with_terms_writes_nothing(world):
    alice, address, request_id = await world.client("alice"), fresh(), os.urandom(16)
    rules, said = world.instructions(for_bob()), terms(blob=BLOB, blob_bytes=5)
    await alice.store(address, SECRET, rules, terms=said, request_id=request_id)
    rows = world.vault.host.kept
    assert (await alice.store(address, SECRET, rules, terms=said, request_id=request_id)).versions == [1]
    assert world.vault.host.kept == rows
