"""Rows that requests change one by one: whatever the order, an approval is used once and a counter never falls.

The rows are changed inside the writer's commit by exactly these functions, so what holds here for any sequence holds
for any number of clients.
"""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.enclave.vault.marks import NO_MARKS, Marks
from strongroom.enclave.vault.people import Named, is_same
from strongroom.enclave.vault.standing import (
    MAX_ROW,
    NO_STANDING,
    Approving,
    Asking,
    Basis,
    OpenQuestion,
    Seeing,
    Standing,
    Using,
)
from strongroom.enclave.vault.tables import Stale
from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Misuse, StrongroomError
from strongroom.protocol.limits import MAX_APPROVALS, MAX_APPROVERS, MAX_MARKS
from strongroom.protocol.messages import Person

KEY, NOW = b"k" * 32, 2_000_000_000
NAMES = ["alice", "bob", "carol", "dave"]
ACTIONS = ["collect", "update"]
BASES = [Basis(1, b"i" * 32, 1), Basis(2, b"i" * 32, 1), Basis(2, b"j" * 32, 1)]


def human(name, method="m"):
    return Named(cluster=bytes(32), person=Person(principal=f"{method}:{name}", email=f"{name}@example.com"))


def question(number, request, now, seconds):
    """Numbers are given out once, so a number says who asks for what with which key."""
    return OpenQuestion(
        question=bytes([number]) * 16,
        request_id=bytes([request]) * 16,
        action=ACTIONS[number // 4],
        people=[human(NAMES[number % 4])],
        key=b"\x04" + bytes([number % 3]) * 64,
        asked_at=now,
        expires_at=now + seconds,
        approvals=[],
        used_by=None,
    )


moments = st.integers(NOW, NOW + 100)
bases = st.sampled_from([*BASES[:1] * 7, *BASES])
names = st.sampled_from(NAMES)
numbers = st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7])
"""Some more often than others: what is to meet has to meet often enough."""
asking = st.builds(
    lambda basis, now, number, request, seconds: Asking(KEY, basis, now, question(number, request, now, seconds)),
    bases,
    moments,
    numbers,
    st.integers(0, 1),
    st.integers(60, 90),
)
approving = st.builds(
    lambda basis, now, number, name, method: Approving(KEY, basis, now, bytes([number]) * 16, (human(name, method),)),
    bases,
    moments,
    numbers,
    names,
    st.sampled_from("mn"),
)
using = st.builds(
    lambda basis, now, number, request: Using(KEY, basis, now, bytes([number]) * 16, request),
    bases,
    moments,
    numbers,
    st.sampled_from([None, b"r" * 16, b"s" * 16]),
)
seeing = st.builds(Seeing, st.just(KEY), moments)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(st.one_of(asking, approving, using, seeing), max_size=60))
def test_an_approval_is_used_by_one_request_whatever_comes_in_between(steps):
    standing = NO_STANDING
    for step in steps:
        before = standing
        try:
            standing = step.apply(standing)
        except (Stale, Misuse):
            assert standing is before, "what is refused changes nothing"
            continue
        if isinstance(step, Using):
            asked = next(one for one in before.live(step.basis, step.now) if one.question == step.question)
            token = asked.token(step.request_id)
            assert asked.used_by in (None, token), "used by another request"
            left = [one.used_by for one in standing.questions if one.question == step.question]
            assert left == ([] if token is None else [token]), "and not used up"
        verify(standing)


def verify(standing):
    data = encode(standing)
    assert decode(data, Standing, limit=2**20) == standing
    assert len(data) <= MAX_ROW
    assert len(standing.questions) <= MAX_APPROVALS
    asked = [(one.people[0].principal, one.action) for one in standing.questions]
    keys = [(one.key, one.action) for one in standing.questions]
    assert len(set(asked)) == len(asked)
    assert len(set(keys)) == len(keys)
    for one in standing.questions:
        assert len(one.approvals) <= MAX_APPROVERS
        humans = [one.people, *(approval.people for approval in one.approvals)]
        assert not any(is_same(a, b) for at, a in enumerate(humans) for b in humans[:at]), "somebody counts twice"


marks = st.builds(
    lambda name, value, token, expires_at: Mark(
        name=bytes([name]) * 32, value=value, token=bytes([token]) * 32, expires_at=expires_at
    ),
    st.integers(0, 80),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from([0, NOW, NOW + 1000]),
)


@settings(max_examples=300, deadline=None)
@given(shown=st.lists(st.tuples(st.lists(marks, min_size=1, max_size=4), st.integers(NOW, NOW + 2000)), max_size=90))
def test_of_one_name_the_value_never_falls_and_one_value_has_one_token(shown):
    row = NO_MARKS
    highest: dict[bytes, tuple[int, bytes]] = {}
    for group, now in shown:
        with suppress(StrongroomError):
            row = row.add(group, now)
            assert row.holds(group)
        kept = {one.name: (one.value, one.token) for one in row.marks}
        for name, (value, token) in kept.items():
            before = highest.get(name)
            assert before is None or value > before[0] or (value, token) == before
        highest = kept  # what is forgotten may come again: its tickets have expired
        assert len(row.marks) <= MAX_MARKS
        assert decode(encode(row), Marks, limit=2**20) == row
