"""What an approval is worth: one action, once, of who asked, with the key that asked, on the record as it was."""

import asyncio
import os

import pytest

from strongroom.enclave.vault.people import Named, is_same
from strongroom.enclave.vault.standing import (
    NO_STANDING,
    Approving,
    Asking,
    Basis,
    OpenQuestion,
    Standing,
)
from strongroom.enclave.vault.tables import Stale
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Unavailable
from strongroom.protocol.facts import fact
from strongroom.protocol.instructions import method_digest, parse_method
from strongroom.protocol.limits import FREE_ATTEMPTS, MAX_APPROVALS, MAX_APPROVERS
from strongroom.protocol.messages import ByName, Person
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.vault_messages import Item
from tests.support.evidence import changed
from tests.support.vault import (
    SECRET,
    again,
    approve,
    ask,
    collect_error,
    fresh,
    number_of,
    person,
    questions,
    released,
    stored,
    terms,
)
from tests.support.world import METHOD, permit

OWN = permit("update", "delete", "audit", email="alice@example.com")
ALL = permit("ask", "approve")
"""Whoever signs in may ask and approve."""


def approved(*actions, count=1):
    names = ", ".join(f'Action::"{action}"' for action in actions)
    condition = f"context.record.approval_count >= {count}"
    return f"permit(principal, action in [{names}], resource) when {{ {condition} }};\n"


RULES = approved("collect") + ALL + OWN


async def asked(world, rules=RULES, **changes):
    """A record, bob who asks to collect it, and the id of his question."""
    address, _ = await stored(world, rules)
    bob = await world.client("bob")
    return address, bob, (await ask(bob, address, **changes)).question


async def cleared(world, rules=RULES, **changes):
    """As `asked`, and carol has approved."""
    address, bob, question = await asked(world, rules, **changes)
    assert await approve(await world.client("carol"), address, question) == 1
    return address, bob, question


async def test_what_somebody_asked_for_is_released_once_when_another_has_approved(world):
    address, bob, question = await asked(world)
    assert await collect_error(bob, address) is Number.REFUSED
    carol = await world.client("carol")
    (shown,) = await questions(carol, address)
    assert (shown.person, shown.action, shown.question) == (person("bob"), "collect", question)
    assert shown.key == fingerprint(bob.binding.public)
    assert await approve(carol, address, question) == 1
    assert [one.approvals for one in await questions(carol, address)] == [[person("carol")]]
    assert await bob.collect(address) == [released(1, SECRET)]
    assert await collect_error(bob, address) is Number.REFUSED, "an approval was replayed"
    assert await questions(carol, address) == []


async def test_an_approval_counts_for_no_other_binding_key(world):
    address, bob, _ = await cleared(world)
    for who in ("bob", "mallory"):
        assert await collect_error(await world.client(who), address) is Number.REFUSED
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_an_approval_counts_for_nobody_else_with_the_same_key(world):
    address, bob, _ = await cleared(world)
    mallory = await again(world, bob)
    mallory.tickets = [world.ticket("mallory", bob.binding)]
    assert await collect_error(mallory, address) is Number.REFUSED
    assert await bob.collect(address) == [released(1, SECRET)], "and it is not used up by the attempt"


async def test_whoever_needs_no_approval_uses_up_nobodys(world):
    address, bob, _ = await cleared(world, RULES + permit("collect", email="alice@example.com"))
    alice = await again(world, bob)
    alice.tickets = [world.ticket("alice", bob.binding)]
    assert await alice.collect(address) == [released(1, SECRET)]
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_an_approval_counts_for_no_other_action(world):
    address, bob, _ = await cleared(world, approved("collect", "update", "delete") + ALL + OWN)
    assert await number_of(bob.update(address, 1, secret=b"x")) is Number.REFUSED
    assert await number_of(bob.delete(address, 1)) is Number.REFUSED


async def test_an_approval_counts_for_no_other_record(world):
    address, bob, question = await cleared(world)
    other, _ = await stored(world, RULES)
    assert await number_of(approve(await world.client("carol"), other, question)) is Number.REFUSED
    results = await bob.collect(other, address)
    assert [getattr(one, "number", 0) for one in results] == [Number.REFUSED, 0]


async def test_an_approval_dies_with_any_update(world):
    address, bob, question = await cleared(world)
    await (await world.client("alice")).update(address, 1, metadata=b"{}")
    assert await collect_error(bob, address) is Number.REFUSED
    carol = await world.client("carol")
    assert await questions(carol, address) == []
    assert await number_of(approve(carol, address, question)) is Number.REFUSED


async def test_an_approval_does_not_survive_a_deletion(world):
    address, bob, _ = await cleared(world)
    alice = await world.client("alice")
    await alice.delete(address, 1)
    await alice.store(address, b"another", world.instructions(RULES), replaces=2)
    assert await collect_error(bob, address) is Number.REFUSED


async def test_an_approval_expires(world):
    address, bob, question = await cleared(world, seconds=60)
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 60
    assert await collect_error(bob, address) is Number.REFUSED
    assert await number_of(approve(await world.client("dave"), address, question)) is Number.REFUSED


def test_a_question_dated_while_the_clock_ran_ahead_does_not_stand_for_longer():
    ahead = NOW + 10 * 365 * 86_400
    question = open_question([named("a:bob")], asked_at=ahead)
    standing = Standing(version=1, instructions=bytes(32), owner_seen_at=0, questions=[question])
    assert standing.live(BASIS, ahead) == [question]
    assert standing.live(BASIS, NOW) == []


async def test_nobody_approves_what_they_ask_for(world):
    address, bob, question = await asked(world)
    assert await number_of(approve(bob, address, question)) is Number.REFUSED
    elsewhere = await world.client("bob")
    assert await number_of(approve(elsewhere, address, question)) is Number.REFUSED
    assert await collect_error(bob, address) is Number.REFUSED


SECOND = encode(changed(parse_method(METHOD), max_age=60))
"""Another way to sign in, with the same addresses: another method, so other principals."""


def by_second_method(world, who, binding, email):
    signed_in = changed(fact(method_digest(SECOND), "oidc", who), email=email, channel="native")
    return [world.ticket_for(signed_in, binding)]


async def of_two_methods(world, rules=RULES):
    address, alice = fresh(), await world.client("alice")
    await alice.store(address, SECRET, world.instructions(rules, methods=[METHOD, SECOND]))
    return address


async def test_nobody_approves_their_own_question_by_a_second_way_to_sign_in(world):
    address, bob = await of_two_methods(world), await world.client("bob")
    question = (await ask(bob, address)).question
    other = await world.client()
    other.tickets = by_second_method(world, "robert", other.binding, "Bob@example.com")
    assert await number_of(approve(other, address, question)) is Number.REFUSED
    other.tickets = by_second_method(world, "robert", other.binding, "")
    assert await approve(other, address, question) == 1, "nobody knows that it is bob, where no address is verified"


async def test_one_approver_counts_once_however_often_they_sign_in(world):
    address, bob = await of_two_methods(world, approved("collect", count=2) + ALL + OWN), await world.client("bob")
    question = (await ask(bob, address)).question
    for _ in range(2):
        assert await approve(await world.client("carol"), address, question) == 1
    other = await world.client()
    other.tickets = by_second_method(world, "caroline", other.binding, "carol@example.com")
    assert await approve(other, address, question) == 1
    assert await collect_error(bob, address) is Number.REFUSED
    assert await approve(await world.client("dave"), address, question) == 2
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_guessed_questions_are_refused_and_counted(world):
    address, _, question = await asked(world)
    carol = await world.client("carol")
    for wait in [0] * FREE_ATTEMPTS + [2, 3, 5, 9, 17, 33]:
        world.vault.platform.ahead += wait
        assert await number_of(approve(carol, address, os.urandom(16))) is Number.REFUSED
    assert await number_of(approve(carol, address, question)) is Number.THROTTLED


async def test_who_may_not_approve_or_ask_learns_nothing(world):
    rules = approved("collect") + permit("ask", email="bob@example.com") + permit("approve", email="carol@example.com")
    address, bob, question = await asked(world, rules + OWN)
    mallory = await world.client("mallory")
    for where in (address, fresh()):
        assert await number_of(ask(mallory, where)) is Number.REFUSED
        assert await number_of(questions(mallory, where)) is Number.REFUSED
        assert await number_of(approve(mallory, where, question)) is Number.REFUSED
    assert await number_of(questions(bob, address)) is Number.REFUSED
    assert await number_of(ask(await world.client("carol"), address)) is Number.REFUSED


async def test_names_hide_from_who_may_not_describe_them(world):
    await world.namespace("closed", create=permit("create", "describe", email="alice@example.com"))
    name, alice = ByName(namespace="closed", name="x"), await world.client("alice")
    await alice.store(name, SECRET, world.instructions(RULES), namespace="closed")
    mallory = await world.client("mallory")
    mallory.tickets = []
    for where in (name, ByName(namespace="closed", name="unknown"), ByName(namespace="nowhere", name="x")):
        assert await number_of(ask(mallory, where)) is Number.REFUSED
        assert await number_of(questions(mallory, where)) is Number.REFUSED
        assert await number_of(approve(mallory, where, bytes(16))) is Number.REFUSED


@pytest.mark.parametrize("action", ["ask", "approve", "create", "describe", "admin", "set-quota"])
async def test_nobody_asks_for_leave_to_ask_or_for_what_no_record_has(world, action):
    address, _ = await stored(world, RULES)
    assert await number_of(ask(await world.client("bob"), address, action)) is Number.MALFORMED


async def test_of_two_collects_at_once_with_one_approval_exactly_one_wins(world):
    address, bob, _ = await cleared(world)
    clients = [bob, *[await again(world, bob) for _ in range(5)]]
    results = [result for (result,) in await asyncio.gather(*(client.collect(address) for client in clients))]
    assert sum(isinstance(result, Item) for result in results) == 1
    assert {result.number for result in results if not isinstance(result, Item)} == {Number.REFUSED}


async def test_the_retry_of_a_collect_whose_answer_was_lost_is_the_same_success(world):
    address, bob, question = await cleared(world)
    request_id = os.urandom(16)
    for _ in range(2):
        assert await bob.collect(address, request_id=request_id) == [released(1, SECRET)]
    await world.vault.start()
    bob = await again(world, bob)
    assert await bob.collect(address, request_id=request_id) == [released(1, SECRET)]
    assert await collect_error(bob, address) is Number.REFUSED
    thief = await world.client("bob")
    (result,) = await thief.collect(address, request_id=request_id)
    assert result.number == Number.REFUSED, "the request's id in a session of another key"
    assert await number_of(approve(await world.client("dave"), address, question)) is Number.REFUSED
    assert await approve(await world.client("carol"), address, question) == 1, "and so is that of an approval"


async def test_a_request_id_used_for_two_requests_carries_no_approval_over(world):
    """bob collects by approval, and changes the record by a right of his own, both under one id."""
    address, bob, _ = await cleared(world, RULES + permit("update", email="bob@example.com"))
    request_id = os.urandom(16)
    assert await bob.collect(address, request_id=request_id) == [released(1, SECRET)]
    await bob.update(address, 1, metadata=b"{}", request_id=request_id)
    (result,) = await bob.collect(address, request_id=request_id)
    assert result.number == Number.REFUSED


def test_one_human_by_any_authenticator_of_a_quorum_is_one():
    """Each Authenticator of a quorum names people in its own way: one name in common, and it may be the same human."""
    bob, carol, dave = ([named(f"{at}:{who}") for at in "ab"] for who in ("bob", "carol", "dave"))
    assert not is_same(bob, carol)
    assert is_same(bob, [carol[0], bob[1]])
    asking = Asking(bytes(32), BASIS, NOW, open_question(bob))
    standing = asking.apply(NO_STANDING)
    for people, count in ((carol, 1), ([dave[0], carol[1]], 1), (dave, 2)):
        step = Approving(bytes(32), BASIS, NOW, bytes(16), tuple(people))
        standing = step.apply(standing)
        assert step.approvals == count
    with pytest.raises(Stale):
        Approving(bytes(32), BASIS, NOW, bytes(16), (dave[0], bob[1])).apply(standing)


def named(principal):
    """By the Authenticator that the principal begins with."""
    return Named(cluster=principal[:1].encode() * 32, person=Person(principal=principal, email=""))


NOW, BASIS = 2_000_000_000, Basis(1, bytes(32), 1)


def open_question(people, asked_at=NOW):
    return OpenQuestion(
        question=bytes(16),
        request_id=bytes(16),
        action="collect",
        people=people,
        key=bytes(65),
        asked_at=asked_at,
        expires_at=asked_at + 3600,
        approvals=[],
        used_by=None,
    )


async def test_the_retry_of_a_question_is_the_same_question(world):
    address, _ = await stored(world, RULES)
    bob, request_id = await world.client("bob"), os.urandom(16)
    first = await ask(bob, address, request_id=request_id)
    await approve(await world.client("carol"), address, first.question)
    assert await ask(bob, address, request_id=request_id) == first
    assert await bob.collect(address) == [released(1, SECRET)], "and keeps its approvals"


async def test_an_approved_update_happens_once_and_its_retry_is_the_same_success(world):
    rules = approved("update") + ALL + OWN
    address, bob, _ = await cleared(world, rules, action="update")
    request_id = os.urandom(16)
    for _ in range(2):
        assert (await bob.update(address, 1, secret=b"new", request_id=request_id)).version == 2
    another = bob.update(address, 2, secret=b"worse", request_id=request_id)
    assert await number_of(another) in (Number.BUSY, Number.REFUSED), "one approval, two updates"
    assert await number_of(bob.update(address, 2, secret=b"worse")) is Number.REFUSED


async def test_leave_to_upload_uses_up_no_approval_of_the_change_that_the_bytes_are_for(world):
    address, alice, bob = fresh(), await world.client("alice"), await world.client("bob")
    rules = approved("update", "fill") + ALL + OWN
    parts = terms(fillable=True, blob=os.urandom(16), blob_bytes=100)
    await alice.store(address, b"", world.instructions(rules), terms=parts)
    for action, doing in (
        ("fill", lambda: bob.fill(address, 1, SECRET)),
        ("update", lambda: bob.update(address, 2, secret=b"new")),
    ):
        question = (await ask(bob, address, action=action)).question
        assert await number_of(bob.grant_blob(address)) is Number.REFUSED
        await approve(await world.client("carol"), address, question)
        for _ in range(2):
            await bob.grant_blob(address)
        await doing()


async def test_an_approval_is_still_there_when_the_commit_that_was_to_use_it_failed(world):
    address, bob, _ = await cleared(world)
    world.vault.host.fail_commit = Unavailable(Number.STORE_FULL)
    assert await number_of(bob.collect(address)) is Number.STORE_FULL
    world.vault.host.fail_commit = None
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_approvals_outlive_a_restart_and_so_does_their_use(world):
    address, bob, _ = await cleared(world)
    await world.vault.start()
    bob = await again(world, bob)
    assert await bob.collect(address) == [released(1, SECRET)]
    await world.vault.start()
    assert await collect_error(await again(world, bob), address) is Number.REFUSED


async def test_a_kill_between_commit_and_answer_neither_loses_nor_doubles_an_approval(world):
    """The host takes the commit and ends the enclave before the answer leaves."""
    address, bob, _ = await cleared(world)
    honest, request_id = world.vault.host.commit, os.urandom(16)

    async def take_and_fail(puts, size, leaves):
        await honest(puts, size, leaves)
        raise Unavailable(Number.STORE_UNAVAILABLE)

    await world.vault.start()
    bob = await again(world, bob)
    world.vault.host.commit = take_and_fail
    assert await number_of(bob.collect(address, request_id=request_id)) is Number.STORE_UNAVAILABLE
    world.vault.host.commit = honest
    await world.vault.start()
    bob = await again(world, bob)
    assert await collect_error(bob, address) is Number.REFUSED
    assert await bob.collect(address, request_id=request_id) == [released(1, SECRET)]


async def test_a_flood_of_questions_drives_out_nobodys(world):
    address, bob, question = await asked(world)
    for n in range(MAX_APPROVALS - 1):
        await ask(await world.client(f"person{n}"), address)
    assert await number_of(ask(await world.client("late"), address)) is Number.QUOTA_EXCEEDED
    newer = await ask(bob, address)
    assert newer.question != question, "one's own takes the place of the one before"
    carol = await world.client("carol")
    assert len(await questions(carol, address)) == MAX_APPROVALS
    assert await number_of(approve(carol, address, question)) is Number.REFUSED
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 3600
    await ask(await world.client("late"), address)


async def test_approvers_are_no_more_than_fit_a_decision(world):
    address, bob, question = await asked(world, approved("collect", count=MAX_APPROVERS) + ALL + OWN)
    for n in range(MAX_APPROVERS):
        assert await approve(await world.client(f"person{n}"), address, question) == n + 1
    assert await number_of(approve(await world.client("late"), address, question)) is Number.QUOTA_EXCEEDED
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_long_names_of_approvers_hinder_nobody_elses_decisions(world):
    """All that is decided at the same time goes to the Authenticator in one frame: what does not fit would break it."""
    address, bob, question = await asked(world, approved("collect", count=2) + ALL + OWN)
    count = 0
    for n in range(MAX_APPROVERS):
        client = await world.client()
        signed_in = fact(method_digest(METHOD), "oidc", f"{n}" + "x" * 250)
        client.tickets = [world.ticket_for(changed(signed_in, channel="native"), client.binding)]
        try:
            count = await approve(client, address, question)
        except Misuse:
            break
    assert 1 < count < MAX_APPROVERS
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_approvers_at_once_are_all_counted(world):
    address, bob, question = await asked(world, approved("collect", count=6) + ALL + OWN)
    clients = [await world.client(f"person{n}") for n in range(6)]
    counts = await asyncio.gather(*(approve(client, address, question) for client in clients))
    assert sorted(counts) == [1, 2, 3, 4, 5, 6]
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_records_of_one_batch_are_decided_apart_by_what_was_approved_for_each(world):
    address, bob, _ = await cleared(world)
    others = [(await stored(world, RULES))[0] for _ in range(2)]
    await approve(await world.client("dave"), others[1], (await ask(bob, others[1])).question)
    results = await bob.collect(others[0], address, others[1])
    assert [getattr(one, "number", 0) for one in results] == [Number.REFUSED, 0, 0]


async def test_waiting_for_approvals_counts_as_no_guess(world):
    address, bob, question = await asked(world)
    for _ in range(FREE_ATTEMPTS + 8):
        assert await collect_error(bob, address) is Number.REFUSED
    await approve(await world.client("carol"), address, question)
    assert await bob.collect(address) == [released(1, SECRET)]


async def test_questions_and_approvals_stand_in_the_journal(world):
    address, alice = fresh(), await world.client("alice")
    await alice.store(address, SECRET, world.instructions(RULES), terms=terms())
    bob, carol = await world.client("bob"), await world.client("carol")
    question = (await ask(bob, address)).question
    await questions(carol, address)
    await approve(carol, address, question)
    await bob.collect(address)
    visits = (await alice.history(address)).visits
    assert [(one.action, one.person) for one in visits[1:4]] == [
        ("ask", person("bob")),
        ("approve", person("carol")),
        ("collect", person("bob")),
    ]


async def test_a_record_whose_rules_name_no_approvals_costs_no_row_more(world):
    address, _ = await stored(world)
    other, _ = await stored(world, RULES)
    await world.vault.start()
    bob = await world.client("bob")
    host, read = world.vault.host, []
    honest = host.read

    async def listen(keys):
        read.extend(keys)
        return await honest(keys)

    rows = len(host.kept)
    host.read = listen
    assert await bob.collect(address) == [released(1, SECRET)]
    assert (len(read), len(host.kept)) == (1, rows), "the record: of attempts at it the index knows that there are none"
    read.clear()
    await bob.collect(address, other)
    assert len(read) == 2, "two records: nothing stands open at the other one either"
