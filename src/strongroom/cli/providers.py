"""Where a user may be sent to sign in: by name, and approved when new (RULES 14).

Which provider a record takes is for its depositor to write. Whoever sends a link or an id could name one of their own,
and the command would bring its user to a page that looks like the one where they type their password.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli.settings import Settings
from strongroom.cli.terminal import confirm, named, stderr
from strongroom.client.files import load_instructions
from strongroom.client.share.blobs import BlobHost
from strongroom.client.share.site import Site, parse_site
from strongroom.protocol.errors import Misuse, Unavailable, Untrusted
from strongroom.protocol.instructions import Method, OidcMethod, parse_instructions, parse_method


class Providers:
    """The issuers that the user has approved: `known`, and those of what `strongroom.toml` names, which are the
    methods of the approved site and of the user's own instructions."""

    def __init__(self, settings: Settings, trust: TrustPolicy, known: Iterable[str] = ()) -> None:
        self._settings: Final = settings
        self._trust: Final = trust
        self._known = frozenset(known)

    async def approve(self, issuer: str) -> None:
        """Raises `Failure` when the user has not approved `issuer`, and does not now."""
        if issuer in self._known or issuer in self._of_instructions() or issuer in await self._of_site():
            return
        shown = issuer.encode("ascii", "backslashreplace").decode()
        stderr().print(named("sign-in at", shown))
        confirm(
            "That is the provider which whoever stored the record chose. Sign in there?",
            hint=f"if you know that it is where your account is, give --issuer {shown}; if not, ask who sent you this",
        )

    def _of_instructions(self) -> frozenset[str]:
        if self._settings.instructions is None:
            return frozenset()
        try:
            parsed = parse_instructions(load_instructions(self._settings.instructions, self._trust))
        except Misuse:
            return frozenset()  # it is told where the file is needed; here it approves nobody
        return issuers_of(map(parse_method, parsed.methods))

    async def _of_site(self) -> frozenset[str]:
        if self._settings.site is None or self._settings.statement is None:
            return frozenset()
        try:
            site = await fetch_site(self._settings.site)
        except (Misuse, Unavailable, Untrusted):
            return frozenset()
        return issuers_of(site.methods) if site.digest.hex() == self._settings.statement.lower() else frozenset()


async def fetch_site(origin: str) -> Site:
    """What the site at `origin` says of itself; approved by nobody yet. Raises `Unreachable` and `Unreadable`."""
    async with BlobHost(origin) as host:
        return parse_site(origin, await host.statement())


def issuers_of(methods: Iterable[Method]) -> frozenset[str]:
    """Of those that sign in at a provider."""
    return frozenset(method.public.issuer for method in methods if isinstance(method, OidcMethod))
