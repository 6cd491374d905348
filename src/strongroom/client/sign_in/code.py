"""Sign-in with a code sent by e-mail: for people who have no account anywhere."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from strongroom.client.errors import BadInput
from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.errors import Number, Refused

TRIES: Final = 5
"""As many as the Authenticator takes."""

_CODE: Final = re.compile(r"[0-9]{8}")


@dataclass(frozen=True, slots=True)
class CodeSent:
    """A code is on its way, if the method's definition names the address; else there is none, and nobody says so."""

    email: str
    sender: str
    expires_at: int
    tries_left: int


AskEmail = Callable[[str], Awaitable[str]]
"""Is given the address that the code will come from; to which one shall it be sent?"""
AskCode = Callable[[CodeSent], Awaitable[str]]
"""The code that came. Asked again, with fewer tries left, when it was another one."""


class CodeSignIn:
    """Asks for an address, and then for the code that was sent there."""

    def __init__(self, ask_email: AskEmail, ask_code: AskCode) -> None:
        self._ask_email: Final = ask_email
        self._ask_code: Final = ask_code

    def fits(self, method: Method) -> bool:
        return method.kind == "email-code"

    async def run(self, flow: Flow) -> wire.SignedIn:
        email = (await self._ask_email(flow.method.name)).strip().lower()
        if not email.isascii() or "@" not in email or len(email) > 254:
            raise BadInput(f"{email[:80]!r} is not an e-mail address", "write it as somebody@example.com")
        begun = await flow.server.ask(
            wire.CodeBegin(
                vault_cluster=flow.vault_cluster, capsule=flow.place.capsule, method=flow.method.digest, email=email
            ),
            wire.CodeBegun,
        )
        for tries_left in range(TRIES, 0, -1):
            typed = await self._ask_code(CodeSent(email, flow.method.name, begun.expires_at, tries_left))
            code = re.sub(r"[\s-]", "", typed)
            if not _CODE.fullmatch(code):
                continue
            try:
                return await flow.server.ask(
                    wire.CodeSignIn(
                        capsule=flow.place.capsule, handle=begun.handle, code=code, with_ticket=flow.with_ticket
                    ),
                    wire.SignedIn,
                )
            except Refused as error:
                if error.number is not Number.SIGN_IN_REFUSED or flow.now() >= begun.expires_at:
                    raise
        raise Refused(Number.SIGN_IN_REFUSED, "none of these was the code that was sent")
