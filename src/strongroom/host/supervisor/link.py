"""The host's end of the link to an enclave: carries calls in, answers what the enclave asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, TypeVar, cast

from strongroom.host.log import proofs
from strongroom.host.store.port import Store
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable
from strongroom.protocol.link import (
    Collateral,
    Commit,
    Consistency,
    Inclusion,
    Leaves,
    LeavesFound,
    Notes,
    Operation,
    Post,
    Proofs,
    Read,
    Row,
    Rows,
    Splitter,
    decode,
    encode,
    pack,
)

Answered = Callable[[int, bytes], None]
"""Receives operation OK with the answer, or ERROR with the number in 2 bytes."""

_OK: Final = int(Operation.OK)
_ERROR: Final = int(Operation.ERROR)

_log = logging.getLogger("strongroom.host.link")

T = TypeVar("T")


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


class Cosigners(Protocol):
    """Carries checkpoints to the witnesses."""

    async def cosign(self, note: bytes) -> bytes:
        """Their signature lines under a signed checkpoint, as many as came in time; none is no error."""

    async def witnessed(self, origin: str) -> list[bytes]:
        """What each of them has cosigned last of the log of this name, and said anew that it is.

        Raises `Unavailable` WITNESSES_UNAVAILABLE when so few answer that the others may know of more.
        """

    def overtaken(self) -> str | None:
        """Why there will never be enough cosignatures again, if so: the witnesses have seen another history."""

    async def close(self) -> None:
        """Ask nobody any more."""


class EnclaveLink(asyncio.Protocol):
    """Many calls at once over one stream. Call-backs rather than futures: this is on the path of every request."""

    def __init__(
        self,
        store: Store,
        carrier: Carrier,
        collateral: CollateralSource | None = None,
        witnesses: Cosigners | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._store = store
        self._carrier = carrier
        self._collateral = collateral
        self._witnesses = witnesses
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
            elif operation == Operation.LEAVES:
                self._read_leaves(call, body)
            elif operation in _WORK:
                self._start(self._answer_by(_WORK[Operation(operation)], call, body))
            else:
                self._abort("it made an unknown call")
                return

    # --- calls of the enclave -----------------------------------------------------------------------------------

    def _read_rows(self, call: int, body: bytes) -> None:
        try:
            found = self._store.read(decode(body, Read).keys)
        except StrongroomError as error:
            self._fail(call, error.number)
        else:
            self._answer_when_found(call, found, _rows)

    def _read_leaves(self, call: int, body: bytes) -> None:
        try:
            found = self._store.leaves(decode(body, Leaves).indexes)
        except StrongroomError as error:
            self._fail(call, error.number)
        else:
            self._answer_when_found(call, found, _leaves)

    def _commit(self, call: int, body: bytes) -> None:
        try:
            done = self._store.commit(decode(body, Commit))
        except StrongroomError as error:
            self._fail(call, error.number)
        else:
            self._answer_when_found(call, done, _nothing)

    def _answer_when_found(self, call: int, found: asyncio.Future[T], message: Callable[[T], bytes]) -> None:
        if found.done():
            self._found(call, message, found)  # no turn of the loop for what is at hand
        else:
            found.add_done_callback(partial(self._found, call, message))

    def _found(self, call: int, message: Callable[[T], bytes], found: asyncio.Future[T]) -> None:
        try:
            self._answer(call, message(found.result()))
        except StrongroomError as error:
            self._fail(call, error.number)
        except asyncio.CancelledError:  # the store's, which closes
            self._fail(call, Number.STORE_UNAVAILABLE)

    async def _answer_by(
        self, work: Callable[[EnclaveLink, bytes], Coroutine[Any, Any, bytes]], call: int, body: bytes
    ) -> None:
        try:
            self._answer(call, await work(self, body))
        except StrongroomError as error:
            self._fail(call, error.number)

    async def _prove_inclusion(self, body: bytes) -> bytes:
        wanted = decode(body, Inclusion)
        return encode(Proofs(await proofs.inclusions(self._store, wanted.indexes, wanted.size)))

    async def _prove_consistency(self, body: bytes) -> bytes:
        wanted = decode(body, Consistency)
        return encode(Proofs([await proofs.consistency(self._store, wanted.old, wanted.size)]))

    async def _cosign(self, body: bytes) -> bytes:
        return b"" if self._witnesses is None else await self._witnesses.cosign(body)

    async def _ask_what_they_know(self, body: bytes) -> bytes:
        try:
            origin = body.decode()
        except UnicodeDecodeError:
            raise Misuse(Number.MALFORMED, "link body") from None
        return encode(Notes([] if self._witnesses is None else await self._witnesses.witnessed(origin)))

    async def _post(self, body: bytes) -> bytes:
        post = decode(body, Post)
        return await self._carrier.carry(post.url, post.body)

    async def _fetch_collateral(self, body: bytes) -> bytes:
        try:
            wanted = decode(body, Collateral)
            if self._collateral is None:
                raise Unavailable(Number.COLLATERAL_UNAVAILABLE)
            return await self._collateral.fetch(wanted.kind, wanted.quote, wanted.endorsements)
        except StrongroomError as error:
            # The enclave learns the number only, and it is the host's operator who can help.
            _log.warning("no collateral: %s", error.error)
            raise

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


_WORK: Final = {
    Operation.POST: EnclaveLink._post,
    Operation.COLLATERAL: EnclaveLink._fetch_collateral,
    Operation.INCLUSION: EnclaveLink._prove_inclusion,
    Operation.CONSISTENCY: EnclaveLink._prove_consistency,
    Operation.COSIGN: EnclaveLink._cosign,
    Operation.WITNESSED: EnclaveLink._ask_what_they_know,
}
"""Calls that take longer than a turn of the loop."""


def _rows(rows: list[Row | None]) -> bytes:
    return encode(Rows(rows))


def _leaves(leaves: list[bytes | None]) -> bytes:
    return encode(LeavesFound(leaves))


def _nothing(_: None) -> bytes:
    return b""


def _number(number: int) -> bytes:
    return int(number).to_bytes(2, "big")
