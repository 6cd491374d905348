"""What witnesses vouch for: that the log is the only one, and what time it is (RULES 23, 24).

A witness cosigns the largest checkpoint of a log that it has seen, and nothing that does not extend it. So a Vault that
was started on last month's database, or beside another one, gets no cosignature, and this is what it does without:

1. At the start: nothing at all, until enough witnesses have cosigned its first commit, which holds fresh randomness.
2. A change that a rollback would undo (`critical`) is in the database, but no answer that rests on it leaves before the
   checkpoint that covers it is cosigned.
3. Once a checkpoint has waited for `WITNESS_PATIENCE`, no more changes are begun, and what was released stays in the
   log; after `LEASE` seconds or `LEASE_RELEASES` releases nothing is released any more. Seconds are counted by the
   host's clock and by what passes in the loop, whichever is more, and releases in case it stops both.

Where the cluster has no witnesses all of this does nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final, NamedTuple

from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.errors import Number, StrongroomError, Unavailable, Untrusted
from strongroom.protocol.evidence import Watchers
from strongroom.protocol.limits import LEASE, LEASE_RELEASES, WITNESS_PATIENCE
from strongroom.protocol.notes import (
    COSIGNATURE,
    SignedCheckpoint,
    cosignatures,
    parse_signature_lines,
    parse_verifier,
)

ANSWER_SECONDS: Final = 10.0
"""For which an answer waits for cosignatures."""
RETRY_SECONDS: Final = 0.5
RENEWAL_SECONDS: Final = 3.0
"""For which a request waits when the lease has ended, as it has after a machine slept."""
CLOCK_ERROR: Final = 300
"""Seconds by which the host's clock may differ from the witnesses'."""
TOGETHER_SECONDS: Final = 1.0
"""Commits within so many seconds wait as one, which counts from the first of them."""


class _Moment(NamedTuple):
    """When something was."""

    loop: float
    clock: int
    releases: int
    """That had been made by then: those after it count against the lease that it begins."""


class _Waiting(NamedTuple):
    size: int
    """Of the log."""
    made: _Moment


class Seen(NamedTuple):
    """What witnesses have seen of the log."""

    size: int
    """Leaves."""
    at: int
    """Unix seconds by which they had, at the latest; 0: nobody can say."""


class _Rest:
    """What one answer rests on."""

    def __init__(self) -> None:
        self.size = 0
        """Of the log that has to be cosigned before it leaves."""


_rest: ContextVar[_Rest | None] = ContextVar("rest", default=None)


class Witnessing:
    """The witnesses of this cluster, as far as the Vault relies on them."""

    def __init__(self, clock: Clock, watchers: Watchers, cosign: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._clock = clock
        self._cosign = cosign
        self._witnesses = [parse_verifier(text, COSIGNATURE) for text in watchers.witnesses]
        self._needed = watchers.cosignatures
        self._loop = asyncio.get_running_loop()
        self._cosigned: SignedCheckpoint | None = None
        self._time = 0
        self._seen = Seen(0, 0)
        self._waiting: deque[_Waiting] = deque()
        """Commits that are not cosigned, those of about a second together."""
        self._critical: dict[bytes, int] = {}
        """Rows whose change is not cosigned, and the size of the log with it."""
        self._progress: asyncio.Future[None] = self._loop.create_future()
        self._wanted = asyncio.Event()
        self._tired = asyncio.Event()
        self._renewed = _Moment(0.0, 0, 0)
        self._releases = 0
        """Of this run."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def exists(self) -> bool:
        """Whether there are witnesses."""
        return bool(self._witnesses)

    @property
    def cosigned(self) -> SignedCheckpoint | None:
        """The newest checkpoint that enough witnesses have cosigned, with their lines."""
        return self._cosigned

    @property
    def time(self) -> int | None:
        """Unix seconds that enough witnesses vouch for, at most as old as the lease; None when that has ended.

        It is not earlier than this: good for the end of a time that has to pass. For its beginning take `seen`.
        """
        return self._time if self.exists and not self._has_ended() else None

    @property
    def seen(self) -> Seen:
        """The newest checkpoint that enough witnesses have cosigned, and a time that is not before they did."""
        return self._seen

    async def know(self, signed: SignedCheckpoint) -> None:
        """Returns when enough witnesses know the log as it was found, and so no later one, however long that takes."""
        while True:
            if await self._ask(signed):
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def start(self, checkpoint: Callable[[], SignedCheckpoint], beat: Callable[[], Awaitable[None]]) -> None:
        """Returns when the first commit of this run is cosigned, however long that takes.

        `checkpoint` gives the newest one, `beat` makes an empty commit.
        """
        if not self.exists:
            return
        self._tasks = [
            self._loop.create_task(self._have_cosigned(checkpoint)),
            self._loop.create_task(self._keep_lease(beat)),
        ]
        size = checkpoint().checkpoint.size
        while self._size < size:
            await asyncio.shield(self._progress)

    # --- commits --------------------------------------------------------------------------------------------------

    def committed(self, size: int, critical: Iterable[bytes]) -> None:
        """A commit is durable, with which the log has this size."""
        if not self.exists:
            return
        self._critical.update(dict.fromkeys(critical, size))
        made = self._moment()
        if len(self._waiting) > 1 and self._since(self._waiting[-1].made) < TOGETHER_SECONDS:
            # Thousands may come while no witness answers.
            made = self._waiting.pop().made
        self._waiting.append(_Waiting(size, made))
        self._wanted.set()

    def verify_may_write(self) -> None:
        """Raises `Unavailable` WITNESSES_UNAVAILABLE when a checkpoint waits too long already."""
        if self._waiting and self._since(self._waiting[0].made) > WITNESS_PATIENCE:
            raise Unavailable(Number.WITNESSES_UNAVAILABLE)

    # --- answers --------------------------------------------------------------------------------------------------

    @contextmanager
    def resting(self) -> Iterator[_Rest]:
        """Within this, what rows were read and written is noted: for `settle`."""
        rest = _Rest()
        token = _rest.set(rest)
        try:
            yield rest
        finally:
            _rest.reset(token)

    def rest_on(self, keys: Iterable[bytes]) -> None:
        """What is being answered rests on these rows."""
        if not self._critical:
            return
        self.rest_on_size(max((self._critical.get(key, 0) for key in keys), default=0))

    def rest_on_size(self, size: int) -> None:
        """What is being answered rests on the log of this size."""
        rest = _rest.get()
        if rest is not None:
            rest.size = max(rest.size, size)

    async def settle(self, rest: _Rest) -> None:
        """Until all that an answer rests on is cosigned. Raises `Unavailable` WITNESSES_UNAVAILABLE."""
        if not self.exists or rest.size <= self._size:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._size < rest.size:
                    await asyncio.shield(self._progress)
        except TimeoutError:
            raise Unavailable(Number.WITNESSES_UNAVAILABLE) from None

    # --- the lease ------------------------------------------------------------------------------------------------

    async def verify_lease(self) -> None:
        """Raises `Unavailable` LEASE_ENDED, or `Untrusted` CLOCK when the host's clock is not that of the witnesses."""
        if not self.exists:
            return
        if self._has_ended():
            self._tired.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL_SECONDS):
                    while self._has_ended():
                        await asyncio.shield(self._progress)
        if self._has_ended():
            raise Unavailable(Number.LEASE_ENDED)
        ahead = self._clock.now() - self._time
        if not -CLOCK_ERROR <= ahead <= LEASE + CLOCK_ERROR:
            where = "ahead of" if ahead > 0 else "behind"
            raise Untrusted(Number.CLOCK, f"the host's clock is {where} that of the witnesses")

    def spend(self, releases: int) -> None:
        """So many secrets are about to leave. Raises `Unavailable` LEASE_ENDED when they are too many for one lease."""
        self._releases += releases
        # Once more, though it was seen when the request came: a host can hold up what happens in between.
        if self.exists and self._has_ended():
            raise Unavailable(Number.LEASE_ENDED)

    def _has_ended(self) -> bool:
        released = self._releases - self._renewed.releases
        return self._since(self._renewed) > LEASE or released > LEASE_RELEASES

    def _moment(self) -> _Moment:
        return _Moment(self._loop.time(), self._clock.seconds(), self._releases)

    def _since(self, moment: _Moment) -> float:
        """Seconds by the loop and by the clock, whichever are more."""
        return max(self._loop.time() - moment.loop, self._clock.seconds() - moment.clock)

    async def _keep_lease(self, beat: Callable[[], Awaitable[None]]) -> None:
        """Have something to cosign when nobody else writes."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEASE / 4):
                    await self._tired.wait()
            self._tired.clear()
            # One that has waited for long does not renew a lease when it is cosigned at last.
            if not self._waiting or self._since(self._waiting[-1].made) > LEASE / 4:
                with suppress(StrongroomError):
                    await beat()

    # --- cosigning ------------------------------------------------------------------------------------------------

    @property
    def _size(self) -> int:
        return 0 if self._cosigned is None else self._cosigned.checkpoint.size

    async def _have_cosigned(self, checkpoint: Callable[[], SignedCheckpoint]) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                if not await self._ask(checkpoint()):
                    await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self, signed: SignedCheckpoint) -> bool:
        """Whether enough witnesses have cosigned."""
        try:
            lines = parse_signature_lines(await self._cosign(signed.note))
        except StrongroomError:
            return False
        good = cosignatures(signed.with_lines(lines), self._witnesses)
        if len(good) < self._needed:
            return False
        times = sorted(one.time for one in good)
        # The k-th highest: more than half of the witnesses are honest, so one of these k is.
        self._time = max(self._time, times[-self._needed])
        self._clock.raise_floor(self._time)
        size = signed.checkpoint.size
        # The k-th lowest, for the same reason: by the other one a single bad witness dates back what begins now.
        latest = max(times[self._needed - 1], self._clock.floor)
        # Nor does one date it ahead, so that it never ends.
        plausible = latest <= self._clock.seconds() + CLOCK_ERROR
        self._seen = Seen(size, latest if plausible else 0)
        while self._waiting and self._waiting[0].size <= size:
            # From when the newest of its commits was made: the cosignature is over the randomness in that one.
            self._renewed = self._waiting.popleft().made
        self._critical = {key: needed for key, needed in self._critical.items() if needed > size}
        self._cosigned = signed.with_lines([one.line for one in good])
        self._progress.set_result(None)
        self._progress = self._loop.create_future()
        return True
