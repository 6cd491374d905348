"""An instance that stands by: it has the ring and not the database, and what its clients say goes to who has it.

What is carried is opaque here as everywhere in the host: sessions are with the enclave at the other end. When that one
is gone, requests wait for a moment: this instance serves then, and tells clients to open new sessions, which they do by
themselves.

What another instance has passed on is never passed on again, or one request of a stranger would become as many as there
is room for: where two stand by for each other, or an address leads back here. That may be a balancer's, or one that
means another machine on each, as 127.0.0.1 does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from strongroom.host.front.connection import RELAYED
from strongroom.host.supervisor.courier import Courier, Egress
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.link import Operation

ANYWHERE: Final[Egress] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""Where the operator says that another instance is, which may well be an address that is not public."""
RELAY_SECONDS: Final = 25.0
"""For one call of the instance that serves: less than a front gives its enclave."""
WAIT_SECONDS: Final = 20.0
"""For which a request waits for somebody to serve it."""
_PAUSE_SECONDS: Final = 0.1
_PATHS: Final = {
    Operation.EVIDENCE: "/v1/evidence",
    Operation.SESSION: "/v1/session",
    Operation.FRAME: "/v1/frame",
    Operation.CHECKPOINT: "/v1/log/checkpoint",
}
_GONE: Final = frozenset({Number.AUTHENTICATOR_UNAVAILABLE, Number.STOPPING, Number.STANDING_BY})
"""What a courier says of a front that can't be reached, and a front of its enclave that ends."""

Answered = Callable[[int, bytes], None]
Ask = Callable[[Operation, bytes, Answered], None]


def means_all(url: str) -> bool:
    """Whether a URL names no address that one could call, but all that a front listens on."""
    try:
        return ip_address(urlsplit(url).hostname or "").is_unspecified
    except ValueError:
        return False


class Relay:
    """Calls the enclave that serves: another instance's, and this one's after `serve_here`."""

    def __init__(self, here: Ask, owners: Callable[[], Sequence[str]]) -> None:
        """`owners` gives URLs of the front of whoever may serve now, the likeliest first; empty ones are none."""
        self._here = here
        self._owners = owners
        self._own: frozenset[str] = frozenset()
        self._courier = Courier(ANYWHERE, seconds=RELAY_SECONDS, header=RELAYED + b": 1\r\n")
        self._serving = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def serve_here(self) -> None:
        """This instance has taken over."""
        self._serving.set()

    def is_at(self, *urls: str) -> None:
        """Where this instance's own front is: whoever is said to serve there does not."""
        self._own = frozenset(urls)

    def relayed(self, operation: Operation, body: bytes, answered: Answered) -> None:
        """As `ask`, of what another instance has passed on: who asks it waits there."""
        if self._serving.is_set() or operation not in _PATHS:
            self._here(operation, body, answered)
        else:
            answered(Operation.ERROR, int(Number.STANDING_BY).to_bytes(2, "big"))

    def ask(self, operation: Operation, body: bytes, answered: Answered) -> None:
        """As `Enclave.ask`."""
        if self._serving.is_set() or operation not in _PATHS:
            self._here(operation, body, answered)
            return
        task = asyncio.ensure_future(self._carry(operation, body, answered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._courier.close()

    async def _carry(self, operation: Operation, body: bytes, answered: Answered) -> None:
        sent = None if operation in (Operation.EVIDENCE, Operation.CHECKPOINT) else body
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        while not self._serving.is_set():
            try:
                answer = await self._answer_of_owner(self._owner() + _PATHS[operation], sent)
            except StrongroomError as error:
                if error.number not in _GONE:
                    answered(Operation.ERROR, int(error.number).to_bytes(2, "big"))
                    return
            else:
                if answer is None:
                    break
                answered(Operation.OK, answer)
                return
            if loop.time() > deadline:
                answered(Operation.ERROR, int(Number.STANDING_BY).to_bytes(2, "big"))
                return
            # A frame that did arrive is refused as replayed where it was, and its session is unknown where it was not.
            await self._wait()
        self._here(operation, body, answered)

    async def _answer_of_owner(self, url: str, body: bytes | None) -> bytes | None:
        """None: this instance serves now, and the one that was asked is gone without a word. Suspended, or cut off from
        the network, it would be waited for as long as a call may take. Raises as `Courier.carry`."""
        carrying = asyncio.ensure_future(self._courier.carry(url, body))
        serving = asyncio.ensure_future(self._serving.wait())
        try:
            await asyncio.wait({carrying, serving}, return_when=asyncio.FIRST_COMPLETED)
            return carrying.result() if carrying.done() else None
        finally:
            carrying.cancel()
            serving.cancel()

    def _owner(self) -> str:
        """Empty: nobody."""
        return next((url for url in self._owners() if url and url not in self._own), "")

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_PAUSE_SECONDS):
                await self._serving.wait()
        except TimeoutError:
            pass


class JoiningCarrier:
    """Carries what an enclave says to others. The member that it joins may be anywhere: the operator named it."""

    def __init__(self, others: Courier, member: str) -> None:
        """`member`: URL of its front; empty: there is none."""
        self._others = others
        self._member = member
        self._to_member = Courier(ANYWHERE, seconds=RELAY_SECONDS)

    async def carry(self, url: str, body: bytes | None) -> bytes:
        """As `Courier.carry`."""
        courier = self._to_member if self._member and url.startswith(f"{self._member}/v1/") else self._others
        return await courier.carry(url, body)

    def close(self) -> None:
        self._to_member.close()
        self._others.close()
