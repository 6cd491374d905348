"""What must not come twice about a sign-in: bearer tokens, counters of passkeys."""

import asyncio
import os

import pytest

from strongroom.enclave.vault.marks import MAX_ROW, NO_MARKS
from strongroom.protocol.authenticator_messages import Decisions, Mark, PersonMark
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.facts import fact
from strongroom.protocol.instructions import method_digest
from strongroom.protocol.limits import MAX_MARKS, MAX_TICKET_LIFE
from strongroom.protocol.messages import ByName
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.vault_messages import Item
from tests.support.evidence import changed
from tests.support.vault import SECRET, again, approve, ask, collect_error, fresh, number_of, released, stored, terms
from tests.support.world import METHOD, permit

ALL = permit("collect", "update", "delete", "audit", "ask", "approve")
NOW = 2_000_000_000


def mark(name=b"token", value=0, token=b"key", expires_at=0):
    return Mark(name=digest(Domain.MARK, name), value=value, token=digest(Domain.MARK, token), expires_at=expires_at)


async def marked(world, who, *, client=None, **changes):
    """A client of somebody whose sign-in must not come twice; the token of a bearer is that of its binding key."""
    client = client or await world.client()
    changes.setdefault("token", client.binding.public)
    signed_in = changed(
        fact(method_digest(METHOD), "oidc", who),
        email=f"{who}@example.com",
        channel="native",
        mark=mark(**changes),
    )
    client.tickets = [world.ticket_for(signed_in, client.binding)]
    return client


async def test_a_bearer_token_counts_for_the_key_that_used_it_first(world):
    address, _ = await stored(world)
    bob, thief = await marked(world, "bob"), await marked(world, "bob")
    for _ in range(2):
        assert await bob.collect(address) == [released(1, SECRET)]
    assert await collect_error(thief, address) is Number.TOKEN_UNTRUSTED
    await world.vault.start()
    thief, bob = await again(world, thief), await again(world, bob)
    assert await collect_error(thief, address) is Number.TOKEN_UNTRUSTED
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_of_one_bearer_token_used_by_many_keys_at_once_exactly_one_key_wins(world):
    address, _ = await stored(world)
    clients = [await marked(world, "bob") for _ in range(6)]
    results = [result for (result,) in await asyncio.gather(*(client.collect(address) for client in clients))]
    assert sum(isinstance(result, Item) for result in results) == 1
    assert {result.number for result in results if not isinstance(result, Item)} == {Number.TOKEN_UNTRUSTED}


async def test_a_counter_that_falls_or_stands_still_is_a_copied_passkey(world):
    address, _ = await stored(world)
    assert await (await marked(world, "bob", value=7, token=b"signature")).collect(address) == [released(1, SECRET)]
    for value in (7, 6):
        copied = await marked(world, "bob", value=value, token=b"another signature")
        assert await collect_error(copied, address) is Number.TOKEN_UNTRUSTED
    assert await (await marked(world, "bob", value=8, token=b"x")).collect(address) == [released(1, SECRET)]
    earlier = await marked(world, "bob", value=7, token=b"signature")
    assert await collect_error(earlier, address) is Number.TOKEN_UNTRUSTED


@pytest.mark.parametrize(
    "doing", ["collect", "update", "fill", "delete", "history", "grant", "store", "ask", "approve"]
)
async def test_a_stolen_token_does_nothing_at_all(world, doing):
    address, _ = await stored(world, ALL + permit("fill"))
    bob, thief = await marked(world, "bob"), await marked(world, "bob")
    await bob.collect(address)
    before = world.vault.host.kept
    instructions = world.instructions(ALL)
    work = {
        "update": lambda: thief.update(address, 1, secret=b"x"),
        "fill": lambda: thief.fill(address, 1, b"x"),
        "delete": lambda: thief.delete(address, 1),
        "history": lambda: thief.history(address),
        "grant": lambda: thief.grant_blob(address),
        "store": lambda: thief.store(ByName(namespace="team", name="x"), b"x", instructions),
        "ask": lambda: ask(thief, address),
        "approve": lambda: approve(thief, address, bytes(16)),
    }
    number = await (collect_error(thief, address) if doing == "collect" else number_of(work[doing]()))
    assert number is Number.TOKEN_UNTRUSTED
    assert world.vault.host.kept == before


async def test_a_stolen_token_describes_no_named_record(world):
    name, alice = ByName(namespace="team", name="x"), await world.client("alice")
    await alice.store(name, SECRET, world.instructions(ALL))
    bob, thief = await marked(world, "bob"), await marked(world, "bob")
    await bob.describe(name)
    assert await number_of(thief.describe(name)) is Number.REFUSED
    assert await collect_error(thief, name) is Number.REFUSED


async def test_a_mark_is_durable_before_anything_is_said(world):
    """Even where the answer is an error that only who is permitted gets, or a retry that writes nothing."""
    address, _ = await stored(world, ALL)
    bob, thief = await marked(world, "bob"), await marked(world, "bob")
    assert await number_of(bob.update(address, 7, secret=b"x")) is Number.CONFLICT
    await world.vault.start()
    thief = await again(world, thief)
    assert await number_of(thief.update(address, 7, secret=b"x")) is Number.TOKEN_UNTRUSTED


async def test_nothing_is_released_when_its_mark_can_not_be_written(world):
    address, _ = await stored(world)
    bob, other = await marked(world, "bob"), await marked(world, "bob")
    world.vault.host.fail_commit = Unavailable(Number.STORE_FULL)
    assert await number_of(bob.collect(address)) is Number.STORE_FULL
    world.vault.host.fail_commit = None
    assert await other.collect(address) == [released(1, SECRET)], "the failed one left no mark"
    assert await collect_error(bob, address) is Number.TOKEN_UNTRUSTED


async def test_an_authenticator_of_somebody_elses_burns_no_marks(world):
    """Filed by cluster and person: what another Authenticator, or another person's sign-in, says is another row."""
    shelf = world.vault.enclave._door._service._release._shelf
    keys = {shelf.marks_key(cluster, who) for cluster in (b"a" * 32, b"b" * 32) for who in ("x:bob", "x:eve")}
    assert len(keys) == 4
    address, _ = await stored(world, ALL)
    assert await (await marked(world, "eve")).collect(address) == [released(1, SECRET)]
    assert await (await marked(world, "bob")).collect(address) == [released(1, SECRET)]


async def test_the_row_is_filed_under_the_cluster_that_answered(world):
    address, _ = await stored(world)
    gate = world.vault.enclave._door._service._release._gate
    seen, honest = [], gate._decider.decide

    async def listen(question):
        seen.append(await honest(question))
        return seen[-1]

    gate._decider.decide = listen
    await (await marked(world, "bob")).collect(address)
    (verdict,) = seen
    assert [(one.cluster, one.principal) for one in verdict.marked] == [
        (world.authenticator_cluster, f"{method_digest(METHOD).hex()}:bob")
    ]


async def test_a_copied_token_counts_no_more_beside_somebody_elses_sign_in(world):
    robot = changed(fact(method_digest(METHOD), "oidc", "robot"), channel="native")
    with_robot = f"""
        permit (principal, action == Action::"collect", resource)
        when {{ context.identity.others.contains("{robot.method.hex()}:robot") }};
    """
    address, _ = await stored(world, permit("update", "delete", email="alice@example.com") + with_robot)

    async def beside_the_robot(who):
        client = await world.client()
        own = changed(robot, subject=who, email=f"{who}@example.com")
        token = changed(robot, mark=mark(token=client.binding.public))
        client.tickets = [world.ticket_for(own, client.binding, beside=token)]
        return client

    bob, thief = await beside_the_robot("bob"), await beside_the_robot("mallory")
    assert await bob.collect(address) == [released(1, SECRET)]
    assert await collect_error(thief, address) is Number.TOKEN_UNTRUSTED


async def test_somebody_with_too_many_marks_is_throttled_and_hinders_nobody(world):
    address, _ = await stored(world, ALL)
    expires = int(world.vault.platform.now()) + 300
    for n in range(MAX_MARKS):
        client = await marked(world, "bob", name=b"%d" % n, expires_at=expires)
        assert await client.collect(address) == [released(1, SECRET)]
    late = await marked(world, "bob", name=b"late", expires_at=expires)
    assert await collect_error(late, address) is Number.THROTTLED
    other = await marked(world, "carol", name=b"late", expires_at=expires)
    assert await other.collect(address) == [released(1, SECRET)]
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 300 + MAX_TICKET_LIFE + 1
    fresh_one = await marked(world, "bob", name=b"fresh", expires_at=expires + 1000)
    assert await fresh_one.collect(address) == [released(1, SECRET)], "and it passes with time"


async def test_whoever_has_no_mark_costs_no_row(world):
    address, _ = await stored(world)
    bob = await world.client("bob")
    await bob.collect(address)
    rows = set(world.vault.host.kept)
    commits = world.vault.host.commits
    await bob.collect(address)
    assert (set(world.vault.host.kept), world.vault.host.commits) == (rows, commits + 1)
    marks = await marked(world, "bob")
    await marks.collect(address)
    assert len(set(world.vault.host.kept) - rows) == 3, "one for bob, and two that count such rows"
    commits = world.vault.host.commits
    await marks.collect(address)
    assert world.vault.host.commits == commits + 1, "what is written already is not written again"


async def test_an_authenticator_that_knows_ever_new_people_fills_no_database(world):
    """Each would leave a row for ever: they count against whoever stored the record that takes its word."""
    await world.namespace("small", max_bytes_per_identity=5 * MAX_ROW)
    addresses = []
    for who in ("alice", "dave"):
        depositor = await world.client(who)
        addresses.append(fresh())
        await depositor.store(addresses[-1], SECRET, world.instructions(ALL), namespace="small")
    ours, theirs = addresses
    first = [await marked(world, "bob0", name=b"%d" % n) for n in range(3)]
    await asyncio.gather(*(client.collect(ours) for client in first))
    for n in range(1, 5):
        assert isinstance((await (await marked(world, f"bob{n}")).collect(ours))[0], Item)
    rows, stranger = set(world.vault.host.kept), await marked(world, "bob5")
    assert await collect_error(stranger, ours) is Number.QUOTA_EXCEEDED
    assert await number_of(stranger.update(ours, 1, secret=b"x")) is Number.QUOTA_EXCEEDED
    assert set(world.vault.host.kept) == rows
    assert isinstance((await (await marked(world, "bob1", name=b"another")).collect(ours))[0], Item), "who is known"
    alice = await world.client("alice")
    await alice.store(fresh(), SECRET, world.instructions(ALL), namespace="small")
    assert isinstance((await alice.collect(ours))[0], Item)
    assert isinstance((await stranger.collect(theirs))[0], Item), "another depositor's quota is another one"


async def test_new_people_at_a_namespace_count_against_it_as_a_whole(world):
    await world.namespace("small", max_bytes=3 * MAX_ROW, max_bytes_per_identity=MAX_ROW)
    name, alice = ByName(namespace="small", name="x"), await world.client("alice")
    await alice.store(name, SECRET, world.instructions(ALL), namespace="small")
    known = [await marked(world, f"bob{n}") for n in range(3)]
    for client in known:
        await client.describe(name)
    assert await number_of((await marked(world, "late")).describe(name)) is Number.REFUSED
    await known[0].describe(name)
    await alice.describe(name)


async def test_an_authenticator_that_says_marks_along_with_a_refusal_writes_nothing(world):
    address, _ = await stored(world)
    judge = world.authenticator.enclave._door._service._judge
    honest = judge.decide

    async def lie(vault_cluster, request):
        decisions = (await honest(vault_cluster, request)).decisions
        return Decisions(
            decisions=[changed(one, marks=[PersonMark("x:y", mark(name=os.urandom(8)))]) for one in decisions]
        )

    judge.decide = lie
    mallory = await world.client("mallory")
    assert await collect_error(mallory, address) is Number.REFUSED
    rows = set(world.vault.host.kept)
    assert await collect_error(mallory, address) is Number.REFUSED
    assert set(world.vault.host.kept) == rows


async def test_terms_and_marks_together(world):
    """A release that the terms forbid leaves the mark all the same: the token was shown."""
    alice = await world.client("alice")
    address = ByName(namespace="team", name="closed")
    await alice.store(address, SECRET, world.instructions(ALL), terms=terms(closed=True))
    bob, thief = await marked(world, "bob"), await marked(world, "bob")
    assert await collect_error(bob, address) is Number.CLOSED
    assert await collect_error(thief, address) is Number.REFUSED


# --- the row itself ---------------------------------------------------------------------------------------------


def error_of(work):
    with pytest.raises(StrongroomError) as caught:
        work()
    return type(caught.value), caught.value.number


def test_a_mark_is_kept_for_the_life_of_a_ticket_longer_than_the_token():
    row = NO_MARKS.add([mark(expires_at=NOW)], NOW - 1)
    stolen = mark(token=b"thief", expires_at=NOW)
    for now in (NOW - 1, NOW, NOW + MAX_TICKET_LIFE - 1):
        assert error_of(lambda now=now: row.add([stolen], now)) == (Untrusted, Number.TOKEN_UNTRUSTED)


def test_a_clock_turned_ahead_and_back_makes_no_mark_forgotten():
    row = NO_MARKS.add([mark(expires_at=NOW)], NOW - 1)
    later = row.add([mark(name=b"other", expires_at=NOW + 10_000)], NOW + 9_000)
    assert error_of(lambda: later.add([mark(token=b"thief")], NOW - 1)) == (Untrusted, Number.TOKEN_UNTRUSTED)


def test_a_mark_that_could_not_be_kept_is_an_expired_ticket():
    late = NOW + MAX_TICKET_LIFE
    assert error_of(lambda: NO_MARKS.add([mark(expires_at=NOW)], late)) == (Misuse, Number.TICKET_EXPIRED)


def test_expired_marks_make_room_and_others_never():
    row = NO_MARKS
    for n in range(MAX_MARKS):
        row = row.add([mark(name=b"%d" % n, expires_at=0 if n else NOW)], NOW)
    assert error_of(lambda: row.add([mark(name=b"late")], NOW)) == (Refused, Number.THROTTLED)
    after = row.add([mark(name=b"late")], NOW + MAX_TICKET_LIFE)
    assert len(after.marks) == MAX_MARKS
    assert mark(name=b"0", expires_at=NOW) not in after.marks
    assert error_of(lambda: after.add([mark(name=b"later")], 2**40)) == (Refused, Number.THROTTLED)


def test_two_sign_ins_with_one_passkey_on_a_ticket_count_as_the_later():
    both = [mark(value=5, token=b"a"), mark(value=6, token=b"b")]
    row = NO_MARKS.add(both, NOW)
    assert row.marks == [both[1]]
    assert row.holds(both)
    twice = [mark(value=5, token=b"a"), mark(value=5, token=b"b")]
    assert error_of(lambda: NO_MARKS.add(twice, NOW)) == (Untrusted, Number.TOKEN_UNTRUSTED)
