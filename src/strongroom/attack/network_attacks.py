"""What the network between a client and the Vault can do; it needs neither the machine nor the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from strongroom.attack.network import EVIDENCE_PATH, FRAME_PATH, SESSION_PATH, Answer, Call, Carry, Cut, flipped
from strongroom.attack.outcomes import CannotRun, Seen, SetUpFailed, harmless, in_words, noticed, unnoticed
from strongroom.attack.play import Play
from strongroom.attack.promises import When, Who
from strongroom.attack.registry import Reach, attack
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError

_DELAY_SECONDS: Final = 2.0


class _Tap:
    """Carries honestly but for one path, and keeps what went by."""

    def __init__(self, play: Play, path: str, carry: Carry) -> None:
        self._play = play
        self._path = path
        self._carry = carry
        self.answers: list[Answer] = []
        """Of that path, as the true server gave them."""

    async def __call__(self, call: Call) -> Answer:
        if call.path != self._path:
            return await self._play.network.honestly(call)
        return await self._carry(call)

    async def ask(self, call: Call, *, to: str = "") -> Answer:
        """The true answer, or another server's, kept."""
        answer = await self._play.network.honestly(call, to=to)
        self.answers.append(answer)
        return answer


async def _visit(play: Play, carry: Carry) -> Seen:
    """What one visit comes to on such a network."""
    play.network.carry = carry
    try:
        async with play.visitor() as client:
            await play.visit(client)
    except StrongroomError as error:
        return _judged(error)
    finally:
        play.network.carry = play.network.honestly
    return harmless("the true answer, once")


def _judged(error: StrongroomError) -> Seen:
    """Whatever a client raises, it was not served something false; only a refusal would be a lie that it believed."""
    if isinstance(error, Refused):
        return unnoticed(in_words(error))
    return noticed(Who.CLIENT, When.AT_ONCE, in_words(error))


def _said_by_vault(seen: Seen, answers: list[Answer], *numbers: Number) -> Seen:
    """Noticed by the Vault, if that is what it told the network."""
    for answer in answers:
        if answer.number in {str(int(number)) for number in numbers}:
            return noticed(Who.VAULT, When.AT_ONCE, in_words(Misuse(Number(int(answer.number)))))
    return seen


@attack("replay-hello", "the first message of a session is sent twice", Reach.NETWORK)
async def replay_hello(play: Play) -> Seen:
    async def twice(call: Call) -> Answer:
        answer = await tap.ask(call)
        await tap.ask(call)
        return answer

    tap = _Tap(play, SESSION_PATH, twice)
    seen = await _visit(play, tap)
    first, second = tap.answers[:2]
    if first.body == second.body:
        return unnoticed("two sessions with the same keys")
    return seen


@attack("replay-frame", "each request is sent twice", Reach.NETWORK)
async def replay_frame(play: Play) -> Seen:
    async def twice(call: Call) -> Answer:
        answer = await play.network.honestly(call)
        await tap.ask(call)
        return answer

    tap = _Tap(play, FRAME_PATH, twice)
    await _visit(play, tap)
    if not all(answer.number == str(int(Number.REPLAYED)) for answer in tap.answers):
        return unnoticed("a request was taken twice")
    return _said_by_vault(unnoticed(""), tap.answers, Number.REPLAYED)


@attack("replay-answer", "an earlier answer is given to a later request", Reach.NETWORK)
async def replay_answer(play: Play) -> Seen:
    async def kept(call: Call) -> Answer:
        answer = await tap.ask(call)
        return tap.answers[-2] if len(tap.answers) > 2 else answer

    tap = _Tap(play, FRAME_PATH, kept)
    return await _visit(play, tap)


@attack("swap-answers", "the answers to two requests change places", Reach.NETWORK)
async def swap_answers(play: Play) -> Seen:
    waiting: list[asyncio.Future[Answer]] = []

    async def swapped(call: Call) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        answer.set_result(await tap.ask(call))
        waiting.append(answer)
        await _until(lambda: len(waiting) >= 2)
        return await next(other for other in waiting if other is not answer)

    tap = _Tap(play, FRAME_PATH, swapped)
    return await _two_visits(play, tap)


@attack("reorder-frames", "of two requests the later one arrives first", Reach.NETWORK)
async def reorder_frames(play: Play) -> Seen:
    arrived: list[Call] = []

    async def reordered(call: Call) -> Answer:
        arrived.append(call)
        if call is arrived[0]:
            await _until(lambda: len(tap.answers) >= 1)
        return await tap.ask(call)

    tap = _Tap(play, FRAME_PATH, reordered)
    return await _two_visits(play, tap)


async def _two_visits(play: Play, carry: Carry) -> Seen:
    """At once, in a session that is open already."""
    async with play.visitor() as client:
        await play.visit(client)
        play.network.carry = carry
        try:
            await asyncio.gather(play.visit(client), play.visit(client))
        except StrongroomError as error:
            return _judged(error)
        finally:
            play.network.carry = play.network.honestly
    return harmless("the true answers")


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise SetUpFailed("two requests at once did not come")


@attack("flip-request", "one bit of a request is turned", Reach.NETWORK)
async def flip_request(play: Play) -> Seen:
    async def bent(call: Call) -> Answer:
        return await tap.ask(Call(call.method, call.path, flipped(call.body)))

    tap = _Tap(play, FRAME_PATH, bent)
    return _said_by_vault(await _visit(play, tap), tap.answers, Number.INTEGRITY)


@attack("flip-answer", "one bit of an answer is turned", Reach.NETWORK)
async def flip_answer(play: Play) -> Seen:
    return await _bend(play, FRAME_PATH, flipped)


@attack("flip-hello-answer", "one bit of the answer that opens a session is turned", Reach.NETWORK)
async def flip_hello_answer(play: Play) -> Seen:
    return await _bend(play, SESSION_PATH, flipped)


@attack("flip-evidence", "one bit of the evidence is turned", Reach.NETWORK)
async def flip_evidence(play: Play) -> Seen:
    return await _bend(play, EVIDENCE_PATH, lambda body: flipped(body, len(body) // 2))


@attack("truncate-answer", "an answer is cut short", Reach.NETWORK)
async def truncate_answer(play: Play) -> Seen:
    return await _bend(play, FRAME_PATH, lambda body: body[:-20])


async def _bend(play: Play, path: str, bent: Callable[[bytes], bytes]) -> Seen:
    async def carry(call: Call) -> Answer:
        answer = await tap.ask(call)
        return answer.with_body(bent(answer.body)) if answer.status == 200 else answer

    tap = _Tap(play, path, carry)
    return await _visit(play, tap)


@attack("drop-answer", "an answer is lost", Reach.NETWORK)
async def drop_answer(play: Play) -> Seen:
    async def dropped(call: Call) -> Answer:
        answer = await tap.ask(call)
        if len(tap.answers) == 2:
            raise Cut
        return answer

    tap = _Tap(play, FRAME_PATH, dropped)
    return await _visit(play, tap)


@attack("delay", "each request is held up for two seconds", Reach.NETWORK)
async def delay(play: Play) -> Seen:
    async def late(call: Call) -> Answer:
        await asyncio.sleep(_DELAY_SECONDS)
        return await tap.ask(call)

    tap = _Tap(play, FRAME_PATH, late)
    return await _visit(play, tap)


@attack("invent-refusal", "“refused” is answered in the Vault's place", Reach.NETWORK)
async def invent_refusal(play: Play) -> Seen:
    async def refused(call: Call) -> Answer:
        await tap.ask(call)
        return Answer.in_clear(int(Number.REFUSED))

    tap = _Tap(play, FRAME_PATH, refused)
    return await _visit(play, tap)


@attack("other-role", "the evidence of the Authenticator is shown for the Vault's", Reach.NETWORK)
async def other_role(play: Play) -> Seen:
    if not play.authenticator:
        raise CannotRun("no Authenticator is known here")
    return await _from_elsewhere(play, EVIDENCE_PATH, play.authenticator)


@attack("other-cluster", "the evidence of a genuine Vault of somebody else is shown", Reach.NETWORK)
async def other_cluster(play: Play) -> Seen:
    return await _from_elsewhere(play, EVIDENCE_PATH, await play.stranger())


@attack("other-answers", "requests are answered by a genuine Vault of somebody else", Reach.NETWORK)
async def other_answers(play: Play) -> Seen:
    return await _from_elsewhere(play, FRAME_PATH, await play.stranger())


async def _from_elsewhere(play: Play, path: str, url: str) -> Seen:
    async def elsewhere(call: Call) -> Answer:
        return await tap.ask(call, to=url)

    tap = _Tap(play, path, elsewhere)
    return await _visit(play, tap)


@attack("old-evidence", "the evidence of an earlier run of the Vault is shown", Reach.DATABASE)
async def old_evidence(play: Play) -> Seen:
    await play.start()
    old = await play.network.honestly(Call("GET", EVIDENCE_PATH, b""))
    await play.stop()
    await play.start()

    async def shown(call: Call) -> Answer:
        if call.path == EVIDENCE_PATH:
            return old
        answer = await play.network.honestly(call)
        answers.append(answer)
        return answer

    answers: list[Answer] = []
    return _said_by_vault(await _visit(play, shown), answers, Number.STALE_KEY)
