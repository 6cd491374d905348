"""Sign-in at an OpenID Connect provider, on another device (RFC 8628). The Authenticator runs the flow."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from strongroom.client.errors import BadInput
from strongroom.client.results import Method
from strongroom.client.sign_in.browser import verify_browser_url
from strongroom.client.sign_in.flow import Flow
from strongroom.protocol.errors import Number, Refused, Unavailable
from strongroom.protocol.sign_in_messages import DeviceBegin, DeviceBegun, DevicePoll, SignedIn


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the user types in on another device."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    """With the code in it; may be empty."""
    expires_at: int


@runtime_checkable
class DeviceSignIn(Protocol):
    """Sign-in on another device. Phishable, so ordinary rules deny what was signed in this way."""

    async def show_code(self, code: DeviceCode) -> None:
        """Show the code and where to type it in; return at once."""


class PrintingDeviceSignIn:
    """Prints code and address on stderr."""

    async def show_code(self, code: DeviceCode) -> None:
        print(
            f"To sign in, open {code.verification_uri} on any device and type in: {code.user_code}\n",
            file=sys.stderr,
            flush=True,
        )


class OnAnotherDevice:
    """A code to type in, and polling until it was."""

    def __init__(self, sign_in: DeviceSignIn) -> None:
        self._sign_in: Final = sign_in

    def fits(self, method: Method) -> bool:
        return "device" in method.channels

    async def run(self, flow: Flow) -> SignedIn:
        if flow.with_ticket is not None:
            raise BadInput(
                "a sign-in on another device is nobody's second pair of eyes", "sign in in a browser on this device"
            )
        begun = await flow.server.ask(
            DeviceBegin(vault_cluster=flow.vault_cluster, capsule=flow.place.capsule, method=flow.method.digest),
            DeviceBegun,
        )
        for page in filter(None, (begun.verification_uri, begun.verification_uri_complete)):
            verify_browser_url(page)
            await flow.verify_page(page)
        await self._sign_in.show_code(
            DeviceCode(begun.user_code, begun.verification_uri, begun.verification_uri_complete, begun.expires_at)
        )
        interval = max(begun.interval, 1)
        while flow.now() + interval < begun.expires_at:
            await asyncio.sleep(interval)
            try:
                return await flow.server.ask(DevicePoll(capsule=flow.place.capsule, handle=begun.handle), SignedIn)
            except Refused as error:
                if error.number is not Number.SIGN_IN_PENDING:
                    raise
            except Unavailable:
                interval *= 2  # RFC 8628 §3.5: back off when the provider does not keep up
        raise Refused(Number.SIGN_IN_PENDING, "not finished in time")
