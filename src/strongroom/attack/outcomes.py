"""What came of an attack, and whether that is what the documents say."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.attack.processes import DidNotStart
from strongroom.attack.promises import Promise, When, Who
from strongroom.client.freshness import verify_evidence
from strongroom.protocol.errors import Number, StrongroomError, Untrusted

_SAVED: Final = re.compile(r"the evidence is in (.+)$")
IN_CLEAR: Final = "said by the network, not by the enclave"
"""The client's words for what anybody on the way could have said."""


class CannotRun(Exception):
    """The attack can't be tried here; the text says why."""


class SetUpFailed(Exception):
    """The deployment did not do, before the attack, what it should; the text says what."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one attack."""

    who: Who
    when: When
    said: str
    """In whose words, or what happened instead."""
    harmless: bool = False
    """Nobody noticed, and nobody need have: see `Promise.harmless`."""
    in_its_own_words: bool = True
    """False: a Vault does not start, and why is in a log that the kit can't read."""


def noticed(who: Who, when: When, said: str) -> Seen:
    return Seen(who, when, said)


def harmless(said: str) -> Seen:
    return Seen(Who.NOBODY, When.NEVER, said, harmless=True)


def unnoticed(said: str) -> Seen:
    return Seen(Who.NOBODY, When.NEVER, said)


class Verdict(StrEnum):
    """Of what was seen, beside what is promised."""

    OK = "ok"
    FAIL = "FAIL"
    NOT_PROMISED = "not promised"
    NOT_RUN = "not run"


def judge(promise: Promise, seen: Seen) -> Verdict:
    """Strict: noticed by somebody else, or at another moment than is written, is FAIL, too: the documents are wrong."""
    if promise.harmless:
        return Verdict.OK if seen.harmless or seen.who is not Who.NOBODY else Verdict.FAIL
    if promise.who is Who.NOBODY:
        return Verdict.NOT_PROMISED if seen.who is Who.NOBODY else Verdict.OK
    if not seen.in_its_own_words:
        return Verdict.OK if promise.when is When.AT_START else Verdict.FAIL
    if seen.when is When.AT_START and promise.when is When.NEXT_CONTACT:
        return Verdict.OK  # before anybody could be served
    return Verdict.OK if (seen.who, seen.when) == (promise.who, promise.when) else Verdict.FAIL


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    attack: str
    act: str
    """What the host did, in words."""
    promise: Promise
    seen: Seen | None
    """None: not run."""
    reason: str
    """Why it was not run."""
    verdict: Verdict
    seconds: float


def in_words(error: StrongroomError | None) -> str:
    return "" if error is None else f"{error.error} [{int(error.number)}]"


def not_started(error: DidNotStart) -> Seen:
    """Of a Vault that refused to start: by itself, or because its witnesses refuse."""
    said = str(error)
    if error.log is None:
        return Seen(Who.VAULT, When.AT_START, f"{said}; its own log says why", in_its_own_words=False)
    if error.by_witnesses:
        return noticed(Who.WITNESS, When.AT_START, said)
    if error.is_alarm:
        return noticed(Who.VAULT, When.AT_START, said)
    return unnoticed(f"it did not start: {said}")


async def outcome(work: Awaitable[object], when: When, served: str) -> Seen:
    """What a request comes to that rests on what was attacked; `served`: what it means if it is answered."""
    try:
        await work
    except StrongroomError as error:
        return judged(error, when)
    return unnoticed(served)


def judged(error: StrongroomError, when: When) -> Seen:
    """Whether an error says that somebody lied, and who says so; a client that saw an older state proves it, too."""
    if is_alarm(error):
        if error.number is Number.ROLLED_BACK and teller(error) is Who.CLIENT and not _is_proven(error.reason):
            return unnoticed(f"a client noticed, and saved no evidence that holds: {in_words(error)}")
        return noticed(teller(error), when, in_words(error))
    if error.number is Number.WITNESSES_UNAVAILABLE:
        return noticed(Who.WITNESS, when, in_words(error))
    return unnoticed(f"it was not taken for an attack: {in_words(error)}")


def _is_proven(reason: str) -> bool:
    """Whether the file that a client's error names convinces whoever reads it."""
    saved = _SAVED.search(reason)
    try:
        return saved is not None and verify_evidence(saved[1]) is not None
    except StrongroomError:
        return False


def teller(error: StrongroomError) -> Who:
    """Who says this: the enclave, or the client's own checks.

    What an enclave answers has a number alone, or comes in clear from its door; a client's own refusal has a reason.
    Only for attacks in which the network is honest: else anybody may have said it in clear.
    """
    return Who.VAULT if error.reason in ("", IN_CLEAR) else Who.CLIENT


def is_alarm(error: StrongroomError) -> bool:
    """Whether it says that somebody lied: not that something is down, missing or forbidden."""
    return isinstance(error, Untrusted) and error.number is not Number.POLICY
