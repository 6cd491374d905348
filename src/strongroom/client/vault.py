"""A Vault as its users see it: store, collect, update, delete, describe. Asyncio; `client.sync` has the other face."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from strongroom.attestation.appraisal import Appraisal
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.results import Description, Erased, NewSecret, Receipt, Released
from strongroom.client.sign_in import DeviceSignIn, SignIn
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.messages import Address, OfNamespace
from strongroom.protocol.primitives import SigningKey


class AsyncVault:
    """A Vault at `url`, trusted only as far as `trust` says.  SKELETON: bodies are being written."""

    def __init__(
        self,
        url: str,
        trust: TrustPolicy,
        *,
        binding_key: SigningKey | None = None,
        sign_in: SignIn | DeviceSignIn | None = None,
        issuer: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def aclose(self) -> None: ...

    async def evidence(self) -> bytes:
        """The Vault's current evidence as bytes, appraised by nobody yet."""

    async def verify(self) -> Appraisal:
        """Fetch evidence now and appraise it; no session is opened. Raises `Untrusted` EVIDENCE with the reason."""

    async def store(
        self,
        secret: bytes,
        *,
        namespace: str,
        instructions: bytes,
        name: str | None = None,
        metadata: bytes = b"",
        replaces: int = 0,
        request_id: bytes | None = None,
    ) -> Receipt: ...

    async def store_many(
        self, items: Sequence[NewSecret], *, namespace: str, request_id: bytes | None = None
    ) -> list[Receipt]:
        """One commit: all or none."""

    async def collect(self, address: Address | str) -> Released: ...

    async def collect_many(self, addresses: Sequence[Address | str]) -> list[Released | StrongroomError]: ...

    async def update(
        self,
        address: Address | str,
        *,
        secret: bytes | None = None,
        metadata: bytes | None = None,
        instructions: bytes | None = None,
        replaces: int | None = None,
        request_id: bytes | None = None,
    ) -> Receipt: ...

    async def delete(
        self, address: Address | str, *, replaces: int | None = None, request_id: bytes | None = None
    ) -> Erased: ...

    async def describe(self, address: Address | OfNamespace | str) -> Description: ...

    async def create_namespace(
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
        """Version of the namespace's record. The binding key must be the cluster owner's."""
