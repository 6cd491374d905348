"""What stands open at a record: questions for approval, and when its owner was last there (RULES 17).

One row beside the record's own, changed only inside the writer's commit. A question covers the record, its version and
instructions, one action, who asks, their binding key and an expiry. Attacks stopped here:

1. An approval used twice, or by two collects at once: the commit that releases takes it away, and what comes second in
   the same commit is decided anew. Only the retry of the very same request still finds it.
2. An approval for what the record was: with any change of the record its questions are dead.
3. An approval used with another key, for another action, or by somebody else: see `find` and `Cases`.
4. One approver who counts twice, by signing in again or by another method with the same verified address, or who
   approves what they asked for themselves.
5. One Authenticator of a quorum that makes up an approver: each is told of those whom it named itself, and nobody else.
6. A flood of questions: they are few, one for each asker and action, and none drives out another one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from strongroom.enclave.runtime.clock import lasts
from strongroom.enclave.vault.journal import opening_token
from strongroom.enclave.vault.people import Named, People, are_as_before, is_same
from strongroom.enclave.vault.tables import Stale
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Bytes16, Bytes32, Count, SigningPublicKey, UnixTime
from strongroom.protocol.instructions import Action
from strongroom.protocol.limits import MAX_APPROVAL_LIFE, MAX_APPROVALS, MAX_APPROVERS

MAX_ROW: Final = 16 * 1024 - 1
"""Bytes of an encoded standing row, which padding takes to 16 KiB."""
MAX_PRINCIPALS: Final = 2560
"""Bytes of one question's approvers as one Authenticator names them: with the record's other facts they fit a
decision."""
CHANGES: Final = frozenset({"update", "fill", "delete"})
"""Actions that make a new version."""
SEEN_AGAIN: Final = 3600
"""Seconds until it is written down anew that the owner was there."""

Approvers = tuple[tuple[bytes, tuple[str, ...]], ...]
"""Principals of those who approved, sorted, by the Authenticator cluster that names them so."""


class Approval(Message):
    """Somebody said yes."""

    people: People


class OpenQuestion(Message):
    """May whoever asks do this once?"""

    question: Bytes16
    request_id: Bytes16
    """Of the `ask`, whose repetition is the same success."""
    action: Action
    people: People
    key: SigningPublicKey
    asked_at: UnixTime
    expires_at: UnixTime
    approvals: Annotated[list[Approval], Meta(max_length=MAX_APPROVERS)]
    used_by: Bytes32 | None
    """Digest of the request that it was used for: see `journal.opening_token`."""

    @property
    def approvers(self) -> Approvers:
        """Those who approved, for each Authenticator by its own names."""
        names: dict[bytes, list[str]] = {}
        for one in self.approvals:
            for called in one.people:
                names.setdefault(called.cluster, []).append(called.principal)
        return tuple((cluster, tuple(sorted(principals))) for cluster, principals in names.items())

    def is_for(self, request_id: bytes | None) -> bool:
        """Whether its approvals count for this request of the key: not used yet, or used by this very request."""
        return self.used_by is None or self.used_by == self.token(request_id)

    def token(self, request_id: bytes | None) -> bytes | None:
        """By which a repetition of the request that uses it is known; None for requests without an id."""
        return None if request_id is None else opening_token(self.people[0].principal, self.key, request_id)


class Standing(Message):
    """Payload of the standing row of a record."""

    version: Count
    """Of the record that the questions are about."""
    instructions: Bytes32
    """Digest of its instructions."""
    owner_seen_at: UnixTime
    """When whoever stored the record was last permitted anything; 0: nobody has looked."""
    questions: Annotated[list[OpenQuestion], Meta(max_length=MAX_APPROVALS)]
    """Oldest first."""

    def live(self, basis: Basis, now: int) -> list[OpenQuestion]:
        """The questions that count at the unix time `now`."""
        if (self.version, self.instructions) != (basis.version, basis.instructions):
            return []
        return [one for one in self.questions if lasts(one.expires_at, now, MAX_APPROVAL_LIFE)]

    def find(self, basis: Basis, now: int, key: bytes, action: Action, request_id: bytes | None) -> OpenQuestion | None:
        """The question of a binding key about an action."""
        live = (one for one in self.live(basis, now) if one.key == key and one.action == action)
        return next((one for one in live if one.is_for(request_id)), None)

    def find_repeated(
        self, basis: Basis, now: int, key: bytes, action: Action, request_id: bytes | None
    ) -> OpenQuestion | None:
        """The question that was used by the very request that made the record what it is now."""
        before = Basis(basis.version - 1, self.instructions, basis.quorum)
        question = self.find(before, now, key, action, request_id) if action in CHANGES else None
        return None if question is None or question.used_by is None else question


NO_STANDING: Final = Standing(version=0, instructions=bytes(32), owner_seen_at=0, questions=[])


@dataclass(frozen=True, slots=True)
class Basis:
    """What questions are about: a record as it is now."""

    version: int
    instructions: bytes
    """Digest."""
    quorum: int
    """Authenticators that have to agree, by these instructions."""

    def is_same_asker(self, one: OpenQuestion, other: OpenQuestion) -> bool:
        """Whether as many as the quorum call both by the same names."""
        return are_as_before(one.people, other.people, self.quorum)


class Step(Protocol):
    """A change to a standing row, made inside the commit."""

    @property
    def key(self) -> bytes:
        """Of the row."""

    def apply(self, standing: Standing) -> Standing:
        """The row with this change; itself when there is nothing to write. Raises `Stale` to have it decided anew."""


@dataclass(slots=True)
class Asking:
    """Put a question."""

    key: bytes
    basis: Basis
    now: int
    question: OpenQuestion
    """After `apply`, the one that stands: an earlier one when the request is a repetition."""

    def apply(self, standing: Standing) -> Standing:
        live, new = standing.live(self.basis, self.now), self.question
        for one in live:
            repeated = (one.request_id, one.key, one.action) == (new.request_id, new.key, new.action)
            if repeated and self.basis.is_same_asker(one, new):
                self.question = one
                return standing
        others = [one for one in live if not self._replaces(one)]
        if len(others) >= MAX_APPROVALS:
            others = [one for one in others if one.used_by is None]
        if len(others) >= MAX_APPROVALS:
            raise Misuse(Number.QUOTA_EXCEEDED, "as many questions are open as one record may have")
        return _fitting(_with_questions(standing, self.basis, [*others, new]))

    def _replaces(self, one: OpenQuestion) -> bool:
        """Of the same person, or with the same key, about the same action."""
        new = self.question
        return one.action == new.action and (one.key == new.key or self.basis.is_same_asker(one, new))


@dataclass(slots=True)
class Approving:
    """Add who approves to a question."""

    key: bytes
    basis: Basis
    now: int
    question: bytes
    people: tuple[Named, ...]
    approvals: int = field(default=0, init=False)
    """After `apply`: how many have approved."""

    def apply(self, standing: Standing) -> Standing:
        live = standing.live(self.basis, self.now)
        asked = open_to(live, self.question, self.people)
        if asked is None:
            raise Stale(Number.CONFLICT, "the question is gone")
        self.approvals = len(asked.approvals)
        if has_approved(asked, self.people):
            return standing
        after = msgspec.structs.replace(asked, approvals=[*asked.approvals, Approval(people=list(self.people))])
        longest = max(sum(len(one.encode()) for one in names) for _, names in after.approvers)
        if self.approvals >= MAX_APPROVERS or longest > MAX_PRINCIPALS:
            raise Misuse(Number.QUOTA_EXCEEDED, "as many have approved as one question takes")
        self.approvals += 1
        return _fitting(_with_questions(standing, self.basis, [after if one is asked else one for one in live]))


@dataclass(frozen=True, slots=True)
class Using:
    """Do what was approved, which can be done once."""

    key: bytes
    basis: Basis
    now: int
    question: bytes
    request_id: bytes | None

    def apply(self, standing: Standing) -> Standing:
        live = standing.live(self.basis, self.now)
        asked = next((one for one in live if one.question == self.question), None)
        if asked is None or not asked.is_for(self.request_id):
            raise Stale(Number.CONFLICT, "the approval was used meanwhile")
        token = asked.token(self.request_id)
        if token is not None and asked.used_by == token:
            return standing
        used = [msgspec.structs.replace(asked, used_by=token)] if token is not None else []
        rest = [one for one in live if one is not asked]
        return _with_questions(standing, self.basis, [*rest, *used])


@dataclass(frozen=True, slots=True)
class Seeing:
    """Note that the record's owner was there, or that it counts from now."""

    key: bytes
    now: int

    def apply(self, standing: Standing) -> Standing:
        if self.now < standing.owner_seen_at + SEEN_AGAIN:
            return standing
        return msgspec.structs.replace(standing, owner_seen_at=self.now)


def open_to(live: Iterable[OpenQuestion], question: bytes, people: Sequence[Named]) -> OpenQuestion | None:
    """The question, if these people (one human) may answer it: not whoever asked, by principal or verified address.

    Of one that was used they may hear only that they had answered it.
    """
    asked = next((one for one in live if one.question == question), None)
    if asked is None or is_same(asked.people, people):
        return None
    return asked if asked.used_by is None or has_approved(asked, people) else None


def has_approved(asked: OpenQuestion, people: Sequence[Named]) -> bool:
    return any(is_same(one.people, people) for one in asked.approvals)


def _with_questions(standing: Standing, basis: Basis, questions: list[OpenQuestion]) -> Standing:
    return msgspec.structs.replace(
        standing, version=basis.version, instructions=basis.instructions, questions=questions
    )


def _fitting(standing: Standing) -> Standing:
    if len(encode(standing)) > MAX_ROW:
        raise Misuse(Number.QUOTA_EXCEEDED, "the questions at this record take too much room")
    return standing
