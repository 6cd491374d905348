"""SKELETON: see the signatures; bodies are being written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the user types in on another device (RFC 8628)."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_at: int


@runtime_checkable
class SignIn(Protocol):
    async def authorize(self, url: str) -> None:
        """Bring the user to `url` in a browser on this machine; may return before the user is done."""


@runtime_checkable
class DeviceSignIn(Protocol):
    async def show_code(self, code: DeviceCode) -> None:
        """Show the code and where to type it in; return at once."""


class BrowserSignIn:
    """Opens the user's browser."""

    async def authorize(self, url: str) -> None: ...


class PrintingSignIn:
    """Prints the address on stderr."""

    async def authorize(self, url: str) -> None: ...


class PrintingDeviceSignIn:
    """Prints code and address on stderr."""

    async def show_code(self, code: DeviceCode) -> None: ...
