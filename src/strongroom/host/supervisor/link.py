"""The host's end of the link to an enclave: carries calls in, answers what the enclave asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, cast

from strongroom.host.store.port import Store
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import Collateral, Commit, Operation, Post, Read, Rows, Splitter, decode, encode, pack

Answered = Callable[[int, bytes], None]
"""Receives operation OK with the answer, or ERROR with the number in 2 bytes."""

_OK: Final = int(Operation.OK)
_ERROR: Final = int(Operation.ERROR)

_log = logging.getLogger("strongroom.host.link")


class Carrier(Protocol):
    """Carries opaque bytes to other enclaves' fronts."""

    async def carry(self, url: str, body: bytes | None) -> bytes:
        """The answer's body. Raises `StrongroomError` by the number that the other front gave."""


class CollateralSource(Protocol):
    """Has what quotes are appraised with."""

    async def fetch(self, kind: str, quote: bytes, endorsements: bytes) -> bytes:
        """Collateral for a quote of platform `kind`; `endorsements` are what its machine handed over.

        Raises `Unavailable` COLLATERAL_UNAVAILABLE.
        """


class EnclaveLink(asyncio.Protocol):
    """Many calls at once over one stream. Call-backs rather than futures: this is on the path of every request."""

    def __init__(self, store: Store, carrier: Carrier, collateral: CollateralSource | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._store = store
        self._carrier = carrier
        self._collateral = collateral
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter()
        self._calls: dict[int, Answered] = {}
        self._last_call = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._outgoing: list[bytes] = []

    def ask(self, operation: Operation, body: bytes, answered: Answered) -> None:
        """Call the enclave; `answered` is called exactly once, also when the enclave ends."""
        if self._transport is None:
            answered(_ERROR, _number(Number.STOPPING))
            return
        call = self._last_call = (self._last_call + 1) & 0xFFFFFFFF
        if call in self._calls:
            answered(_ERROR, _number(Number.BUSY))
            return
        self._calls[call] = answered
        self._send(pack(call, operation, body))

    def close(self) -> None:
        """Close the stream, which ends the enclave."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        calls, self._calls = self._calls, {}
        for answered in calls.values():
            answered(_ERROR, _number(Number.STOPPING))
        for task in self._tasks:
            task.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._splitter.feed(data)
        except Misuse:
            self._abort("its framing is broken")
            return
        for call, operation, body in frames:
            if operation in (_OK, _ERROR):
                answered = self._calls.pop(call, None)
                if answered is not None:
                    answered(operation, body)
            elif operation == Operation.READ:
                self._read_rows(call, body)
            elif operation == Operation.COMMIT:
                self._commit(call, body)
            elif operation == Operation.POST:
                self._start(self._post(call, body))
            elif operation == Operation.COLLATERAL:
                self._start(self._fetch_collateral(call, body))
            else:
                self._abort("it made an unknown call")
                return

    # --- calls of the enclave -----------------------------------------------------------------------------------

    def _read_rows(self, call: int, body: bytes) -> None:
        try:
            self._answer(call, encode(Rows(self._store.read(decode(body, Read).keys))))
        except StrongroomError as error:
            self._fail(call, error.number)

    def _commit(self, call: int, body: bytes) -> None:
        try:
            done = self._store.commit(decode(body, Commit))
        except StrongroomError as error:
            self._fail(call, error.number)
        else:
            done.add_done_callback(partial(self._committed, call))

    def _committed(self, call: int, done: asyncio.Future[None]) -> None:
        error = done.exception()
        if error is None:
            self._answer(call, b"")
        else:
            self._fail(call, error.number if isinstance(error, StrongroomError) else Number.STORE_UNAVAILABLE)

    async def _post(self, call: int, body: bytes) -> None:
        try:
            post = decode(body, Post)
            self._answer(call, await self._carrier.carry(post.url, post.body))
        except StrongroomError as error:
            self._fail(call, error.number)

    async def _fetch_collateral(self, call: int, body: bytes) -> None:
        try:
            wanted = decode(body, Collateral)
            if self._collateral is None:
                raise Unavailable(Number.COLLATERAL_UNAVAILABLE)
            self._answer(call, await self._collateral.fetch(wanted.kind, wanted.quote, wanted.endorsements))
        except StrongroomError as error:
            # The enclave learns the number only, and it is the host's operator who can help.
            _log.warning("no collateral: %s", error.error)
            self._fail(call, error.number)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- writing ------------------------------------------------------------------------------------------------

    def _answer(self, call: int, body: bytes) -> None:
        """Raises `Misuse` TOO_LARGE."""
        self._send(pack(call, _OK, body))

    def _fail(self, call: int, number: int) -> None:
        self._send(pack(call, _ERROR, _number(number)))

    def _send(self, message: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    def _flush(self) -> None:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if self._transport is not None and data:
            self._transport.write(data)

    def _abort(self, why: str) -> None:
        _log.error("the enclave's link is closed: %s", why)
        if self._transport is not None:
            self._transport.abort()


def _number(number: int) -> bytes:
    return int(number).to_bytes(2, "big")
