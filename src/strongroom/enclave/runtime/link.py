"""The enclave's end of the link to its host.

The host is the attacker here: it may answer anything, twice, never, or to nobody. Each answer is checked for type,
size and count before use; a lie fails the call it answers, or ends the link, and never touches another call. What
an honest-looking answer says is still only the host's word: rows are opened, commits are proven elsewhere.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable, from_number
from strongroom.protocol.limits import MAX_PROOF
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
    Put,
    Read,
    Row,
    Rows,
    Splitter,
    decode,
    encode,
    pack,
)

T = TypeVar("T", bound=msgspec.Struct)

_CALLS: Final = {
    int(operation): operation
    for operation in (
        Operation.START,
        Operation.EVIDENCE,
        Operation.SESSION,
        Operation.FRAME,
        Operation.CHECKPOINT,
        Operation.SERVE,
        Operation.STATUS,
    )
}
_OK: Final = int(Operation.OK)
_ERROR: Final = int(Operation.ERROR)
_READ_ERRORS: Final = frozenset({Number.STORE_UNAVAILABLE, Number.TOO_LARGE})
_COMMIT_ERRORS: Final = frozenset({Number.STORE_UNAVAILABLE, Number.STORE_FULL, Number.CONFLICT})


class Handler(Protocol):
    """What stands behind the link: the door."""

    async def handle(self, operation: Operation, body: bytes) -> bytes:
        """Answer one call of the host. Raises `StrongroomError`."""


class HostLink(asyncio.Protocol):
    """Calls of the host are handled concurrently; calls to the host are awaited by number."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when the link is gone, and with it every reason to live on."""
        self._handler: Handler | None = None
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter()
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._last_call = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._outgoing: list[bytes] = []

    def serve(self, handler: Handler) -> None:
        """Name the handler, before the link is connected."""
        self._handler = handler

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows by key (32 bytes each), None for those that the host says are absent.

        Raises `Unavailable` STORE_UNAVAILABLE, or `Misuse` TOO_LARGE when the rows exceed one link frame.
        """
        try:
            answer = await self._ask(Operation.READ, encode(Read(list(keys))))
        except StrongroomError as error:
            raise _store_error(error, _READ_ERRORS) from None
        try:
            rows = decode(answer, Rows).rows
        except Misuse:
            raise Unavailable(Number.STORE_UNAVAILABLE, "the host's answer is malformed") from None
        if len(rows) != len(keys):
            # Fewer would shift one record's row to another's key.
            raise Unavailable(Number.STORE_UNAVAILABLE, "the host answered another number of rows")
        return rows

    async def commit(self, puts: Sequence[Put], size: int, leaves: Sequence[bytes]) -> None:
        """One transaction, durable (says the host) when this returns: rows, and leaves after the `size` that there are.

        Raises `Misuse` CONFLICT (nothing changed) or TOO_LARGE, `Unavailable` STORE_FULL (nothing changed) or
        STORE_UNAVAILABLE (it may or may not have been applied: repeat the same commit, or read).
        """
        try:
            answer = await self._ask(Operation.COMMIT, encode(Commit(list(puts), size, list(leaves))))
        except StrongroomError as error:
            raise _store_error(error, _COMMIT_ERRORS) from None
        if answer:
            raise Unavailable(Number.STORE_UNAVAILABLE, "the host's answer is malformed")

    async def leaves(self, indexes: Sequence[int]) -> list[bytes | None]:
        """Leaves of the log, None for those that the host does not show. Raises `Unavailable` STORE_UNAVAILABLE."""
        answer = await self._ask_store(Operation.LEAVES, Leaves(list(indexes)), LeavesFound)
        if len(answer.leaves) != len(indexes):
            raise _malformed()
        return answer.leaves

    async def inclusion(self, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Proofs, made by the host and checked by whoever gets them, that these leaves are in the log of `size`."""
        answer = await self._ask_store(Operation.INCLUSION, Inclusion(list(indexes), size), Proofs)
        if len(answer.proofs) != len(indexes) or any(len(proof) > MAX_PROOF for proof in answer.proofs):
            raise _malformed()
        return answer.proofs

    async def consistency(self, old: int, size: int) -> list[bytes]:
        """A proof, as above, that the log of `size` leaves extends that of `old`."""
        answer = await self._ask_store(Operation.CONSISTENCY, Consistency(old, size), Proofs)
        if len(answer.proofs) != 1 or len(answer.proofs[0]) > MAX_PROOF:
            raise _malformed()
        return answer.proofs[0]

    async def cosign(self, note: bytes) -> bytes:
        """What the host says are the witnesses' signature lines under a checkpoint; may be empty. Raises
        `Unavailable` WITNESSES_UNAVAILABLE."""
        try:
            return await self._ask(Operation.COSIGN, note)
        except StrongroomError:
            raise Unavailable(Number.WITNESSES_UNAVAILABLE) from None

    async def witnessed(self, origin: str) -> list[bytes]:
        """The newest cosigned checkpoints of the log of this name that witnesses have, says the host; may be none.
        Raises `Unavailable` WITNESSES_UNAVAILABLE."""
        try:
            return decode(await self._ask(Operation.WITNESSED, origin.encode()), Notes).notes
        except StrongroomError:
            raise Unavailable(Number.WITNESSES_UNAVAILABLE) from None

    async def _ask_store(self, operation: Operation, question: msgspec.Struct, kind: type[T]) -> T:
        try:
            return decode(await self._ask(operation, encode(question)), kind)
        except Misuse:
            raise _malformed() from None
        except StrongroomError as error:
            raise _store_error(error, _READ_ERRORS) from None

    async def post(self, url: str, body: bytes | None) -> bytes:
        """Opaque answer of another enclave's front to `POST url` (GET when `body` is None).

        Raises `Unavailable` AUTHENTICATOR_UNAVAILABLE, or the number that the other front gave. That number is the
        host's word: open a new session by it, but decide nothing, and never pass it on as the other enclave's.
        """
        return await self._ask(Operation.POST, encode(Post(url, body)))

    async def collateral(self, kind: str, quote: bytes, endorsements: bytes) -> bytes:
        """What the host has to appraise a quote of `kind` with. Raises `Unavailable` COLLATERAL_UNAVAILABLE."""
        try:
            return await self._ask(Operation.COLLATERAL, encode(Collateral(kind, quote, endorsements)))
        except StrongroomError:
            # Whatever number the host gives: it must not put a verdict into the enclave's mouth.
            raise Unavailable(Number.COLLATERAL_UNAVAILABLE) from None

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for future in self._calls.values():
            if not future.done():
                future.set_exception(Unavailable(Number.STOPPING))
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._splitter.feed(data)
        except Misuse:
            self._abort()  # framing is lost; there is nobody to tell
            return
        for call, operation, body in frames:
            if operation in (_OK, _ERROR):
                self._answered(call, operation, body)
            elif operation in _CALLS:
                self._start(self._handle(call, _CALLS[operation], body))
            else:
                self._abort()
                return

    # --- calls of the host --------------------------------------------------------------------------------------

    def _start(self, handling: Coroutine[Any, Any, None]) -> None:
        if sys.version_info >= (3, 12):
            task = asyncio.Task(handling, loop=self._loop, eager_start=True)
            if task.done():
                return
        else:
            task = self._loop.create_task(handling)
        self._tasks.add(task)  # the loop alone holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, call: int, operation: Operation, body: bytes) -> None:
        try:
            if self._handler is None:
                raise Unavailable(Number.STOPPING)
            answer = pack(call, Operation.OK, await self._handler.handle(operation, body))
        except StrongroomError as error:
            answer = pack(call, Operation.ERROR, int(error.number).to_bytes(2, "big"))
        except Exception as error:  # the outermost edge: whatever it was, the other calls go on
            # The type alone: a text or a traceback may quote what was unsealed.
            print(f"strongroom: {operation.name} failed: {type(error).__name__}", file=sys.stderr, flush=True)
            answer = pack(call, Operation.ERROR, int(Number.INTERNAL).to_bytes(2, "big"))
        self._send(answer)

    # --- calls to the host --------------------------------------------------------------------------------------

    async def _ask(self, operation: Operation, body: bytes) -> bytes:
        if self._transport is None:
            raise Unavailable(Number.STOPPING)
        call = self._last_call = (self._last_call + 1) & 0xFFFFFFFF
        if call in self._calls:  # four thousand million calls later
            raise Unavailable(Number.BUSY)
        message = pack(call, operation, body)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._calls[call] = future
        self._send(message)
        try:
            return await future
        finally:
            del self._calls[call]

    def _answered(self, call: int, operation: int, body: bytes) -> None:
        future = self._calls.get(call)
        if future is None or future.done():
            return  # answered twice, after a cancellation, or never asked
        if operation == _OK:
            future.set_result(body)
        elif len(body) == 2:
            future.set_exception(from_number(int.from_bytes(body, "big")))
        else:
            future.set_exception(Unavailable(Number.INTERNAL, "the host's answer is malformed"))

    # --- writing ------------------------------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        """One system call for all that one turn of the loop sends."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    def _flush(self) -> None:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if self._transport is not None:
            self._transport.write(data)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _malformed() -> Unavailable:
    return Unavailable(Number.STORE_UNAVAILABLE, "the host's answer is malformed")


def _store_error(error: StrongroomError, allowed: frozenset[Number]) -> StrongroomError:
    """Only what a store may say: else the host could put any refusal into the enclave's mouth."""
    return error if error.number in allowed else Unavailable(Number.STORE_UNAVAILABLE)
