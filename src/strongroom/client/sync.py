"""The face for programs without asyncio: `Vault` has the methods of `AsyncVault`, blocking, for any thread.

    with Vault(url, load_trust("trust.toml"), sign_in=BrowserSignIn()) as vault:
        print(vault.collect("team/signing-key").version)

One background thread runs the event loop, so calls from several threads share sessions and tickets.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self, TypeVar

from strongroom.attestation.appraisal import Appraisal
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.access import Anywhere
from strongroom.client.checkpoints import Checkpoints
from strongroom.client.errors import BadInput
from strongroom.client.results import (
    Asked,
    Description,
    Erased,
    Grant,
    Journal,
    LogEntry,
    NewSecret,
    OpenQuestions,
    Person,
    Receipt,
    Released,
    Trail,
)
from strongroom.client.sign_in import AnyWay, Approve
from strongroom.client.vault import DAY, AsyncVault
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.instructions import Action
from strongroom.protocol.limits import MAX_TRAIL
from strongroom.protocol.messages import Address, Terms
from strongroom.protocol.primitives import SigningKey

T = TypeVar("T")


class Vault:
    """`AsyncVault` for ordinary code; parameters, results and errors are described there. A context manager."""

    def __init__(
        self,
        url: str,
        trust: TrustPolicy,
        *,
        binding_key: SigningKey | None = None,
        sign_in: AnyWay | Sequence[AnyWay] | None = None,
        issuer: str | None = None,
        approve: Approve | None = None,
        signed_in: Callable[[Person], None] = lambda person: None,
        checkpoints: Checkpoints | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._vault = AsyncVault(
            url,
            trust,
            binding_key=binding_key,
            sign_in=sign_in,
            issuer=issuer,
            approve=approve,
            signed_in=signed_in,
            checkpoints=checkpoints,
            now=now,
        )
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End calls that are under way in other threads, close all connections, end the background thread. Raises as
        `AsyncVault.aclose`."""
        with self._lock:
            loop, self._loop, self._closed = self._loop, None, True
        if loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(_end(self._vault), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()

    def sign_out(self) -> None:
        async def sign_out() -> None:  # on the loop's thread, like everything that touches tickets
            self._vault.sign_out()

        self._run(sign_out())

    def sign_in_also(self, address: Address | str, *, issuer: str | None = None) -> None:
        return self._run(self._vault.sign_in_also(address, issuer=issuer))

    def evidence(self) -> bytes:
        return self._run(self._vault.evidence())

    def verify(self) -> Appraisal:
        return self._run(self._vault.verify())

    def store(
        self,
        secret: bytes,
        *,
        namespace: str,
        instructions: bytes,
        name: str | None = None,
        metadata: bytes = b"",
        replaces: int = 0,
        record_id: bytes | None = None,
        terms: Terms | None = None,
        person: str | None = None,
        request_id: bytes | None = None,
    ) -> Receipt:
        return self._run(
            self._vault.store(
                secret,
                namespace=namespace,
                instructions=instructions,
                name=name,
                metadata=metadata,
                replaces=replaces,
                record_id=record_id,
                terms=terms,
                person=person,
                request_id=request_id,
            )
        )

    def store_many(
        self, items: Sequence[NewSecret], *, namespace: str, request_id: bytes | None = None
    ) -> list[Receipt]:
        return self._run(self._vault.store_many(items, namespace=namespace, request_id=request_id))

    def collect(self, address: Address | str, *, request_id: bytes | None = None) -> Released:
        return self._run(self._vault.collect(address, request_id=request_id))

    def collect_many(self, addresses: Sequence[Address | str]) -> list[Released | StrongroomError]:
        return self._run(self._vault.collect_many(addresses))

    def update(
        self,
        address: Address | str,
        *,
        secret: bytes | None = None,
        metadata: bytes | None = None,
        instructions: bytes | None = None,
        terms: Terms | None = None,
        replaces: int | None = None,
        request_id: bytes | None = None,
    ) -> Receipt:
        return self._run(
            self._vault.update(
                address,
                secret=secret,
                metadata=metadata,
                instructions=instructions,
                terms=terms,
                replaces=replaces,
                request_id=request_id,
            )
        )

    def fill(
        self,
        address: Address | str,
        secret: bytes,
        *,
        metadata: bytes = b"",
        replaces: int | None = None,
        request_id: bytes | None = None,
    ) -> Receipt:
        return self._run(self._vault.fill(address, secret, metadata=metadata, replaces=replaces, request_id=request_id))

    def delete(self, address: Address | str, *, replaces: int | None = None, request_id: bytes | None = None) -> Erased:
        return self._run(self._vault.delete(address, replaces=replaces, request_id=request_id))

    def ask(
        self,
        address: Address | str,
        *,
        action: Action = "collect",
        seconds: int = DAY,
        request_id: bytes | None = None,
    ) -> Asked:
        return self._run(self._vault.ask(address, action=action, seconds=seconds, request_id=request_id))

    def questions(self, address: Address | str) -> OpenQuestions:
        return self._run(self._vault.questions(address))

    def approve(self, address: Address | str, question: bytes | str, *, request_id: bytes | None = None) -> int:
        return self._run(self._vault.approve(address, question, request_id=request_id))

    def history(self, address: Address | str) -> Journal:
        return self._run(self._vault.history(address))

    def trail(self, address: Address | str, *, before: LogEntry | None = None, limit: int | None = MAX_TRAIL) -> Trail:
        return self._run(self._vault.trail(address, before=before, limit=limit))

    def grant_blob(self, address: Address | str) -> Grant:
        return self._run(self._vault.grant_blob(address))

    def sign_in(self, address: Anywhere | str) -> list[Person]:
        return self._run(self._vault.sign_in(address))

    def describe(self, address: Anywhere | str) -> Description:
        return self._run(self._vault.describe(address))

    def create_namespace(
        self,
        name: str,
        *,
        instructions: bytes,
        max_records: int,
        max_bytes: int,
        max_records_per_identity: int,
        max_bytes_per_identity: int,
        replaces: int = 0,
        request_id: bytes | None = None,
    ) -> int:
        return self._run(
            self._vault.create_namespace(
                name,
                instructions=instructions,
                max_records=max_records,
                max_bytes=max_bytes,
                max_records_per_identity=max_records_per_identity,
                max_bytes_per_identity=max_bytes_per_identity,
                replaces=replaces,
                request_id=request_id,
            )
        )

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            with self._lock:
                call = asyncio.run_coroutine_threadsafe(work, self._started())
        except BadInput:
            work.close()
            raise
        try:
            return call.result()
        except CancelledError:
            raise BadInput("this Vault was closed during the call", "open a new one, and repeat the call") from None
        except BaseException:
            call.cancel()  # Ctrl-C ends the wait; the work must end with it
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise BadInput("this Vault is closed", "open a new one")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run_loop, args=(self._loop,), name="strongroom", daemon=True)
            self._thread.start()
        return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def _end(vault: AsyncVault) -> None:
    calls = asyncio.all_tasks() - {asyncio.current_task()}
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await vault.aclose()
