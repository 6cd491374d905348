"""Sign-in with user name and password of a directory.

The password goes inside the session to an Authenticator that was appraised under the client's own policy, which puts it
to the servers in the method's definition. Those are the depositor's choice, whatever name stands beside them: so the
user is asked for a password only for a definition that they have approved of (RULES 14). Nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from strongroom.client.errors import BadInput, NotSignedIn
from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.errors import Number, Refused

MAX_USER: Final = 256
MAX_PASSWORD: Final = 1024
"""Characters."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody types in."""

    user: str
    """As the directory takes it: `bob`, `bob@example.com`, `EXAMPLE\\\\bob` or a DN."""
    password: str = field(repr=False)


AskPassword = Callable[[str], Awaitable[Credentials]]
"""Is given the name of the directory."""


class PasswordSignIn:
    """Asks for user name and password each time that a sign-in is needed."""

    def __init__(self, ask: AskPassword) -> None:
        self._ask: Final = ask

    def fits(self, method: Method) -> bool:
        return method.kind == "directory"

    async def run(self, flow: Flow) -> wire.SignedIn:
        given = await self._ask(flow.method.name)
        # A directory takes an empty password for nobody in particular, and says yes (RFC 4513 §5.1.2).
        if not given.user or not given.password:
            raise BadInput("user name or password is empty", "type both")
        if len(given.user) > MAX_USER or len(given.password) > MAX_PASSWORD:
            raise BadInput(
                "user name or password is too long", f"they have at most {MAX_USER} and {MAX_PASSWORD} characters"
            )
        request = wire.PasswordSignIn(
            vault_cluster=flow.vault_cluster,
            capsule=flow.place.capsule,
            method=flow.method.digest,
            user=given.user,
            password=given.password,
            with_ticket=flow.with_ticket,
        )
        try:
            return await flow.server.ask(request, wire.SignedIn)
        except Refused as error:
            if error.number is not Number.SIGN_IN_REFUSED:
                raise
            # Which of them it is, strangers are not told.
            raise NotSignedIn(
                "user name or password is wrong, or the account may not sign in",
                "type them again; the Authenticator's operator finds why",
            ) from None
