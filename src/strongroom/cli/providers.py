"""Where a user may be sent to sign in: by name, and approved when new (RULES 14).

Which provider a record takes is for its depositor to write. Whoever sends a link or an id could name one of their own,
and the command would bring its user to a page that looks like the one where they type their password. A directory has
not even a page: its name and its servers are both the depositor's, so that what was approved of is the whole
definition, by its digest, never a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli.settings import Settings
from strongroom.cli.terminal import confirm, named, stderr
from strongroom.client.files import load_instructions
from strongroom.client.results import Method as Described
from strongroom.client.share.blobs import BlobHost
from strongroom.client.share.site import Site, parse_site
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Unavailable, Untrusted
from strongroom.protocol.instructions import Method, OidcMethod, method_digest, parse_instructions, parse_method


class Providers:
    """The methods that the user has approved of: `known`, and those of what `strongroom.toml` names, which are the
    methods of the approved site and of the user's own instructions."""

    def __init__(self, settings: Settings, trust: TrustPolicy, known: Iterable[Method] = ()) -> None:
        self._settings: Final = settings
        self._trust: Final = trust
        self._known: Final = tuple(known)

    async def approve(self, method: Described) -> None:
        """Raises `Failure` when the user has not approved of `method`, and does not now."""
        if _is_one_of([*self._known, *self._of_instructions()], method) or _is_one_of(await self._of_site(), method):
            return
        shown = method.name.encode("ascii", "backslashreplace").decode()
        if method.page:
            stderr().print(named("sign-in at", shown))
            stderr().print(named("on the page of", method.page))
            confirm(
                "That provider sends you to a page that is not its own, and may use in your name what you agree to "
                "there. Go on?",
                hint="if both are one provider's, add it to the instructions that strongroom.toml names; "
                "if not, ask who sent you this",
            )
            return
        if method.kind == "oidc":
            stderr().print(named("sign-in at", shown))
            confirm(
                "That is the provider which whoever stored the record chose. Sign in there?",
                hint=f"if you know that it is where your account is, give --issuer {shown}; "
                "if not, ask who sent you this",
            )
            return
        stderr().print(named("directory" if method.kind == "directory" else "codes from", shown))
        stderr().print(named("definition", method.digest.hex()))
        confirm(
            "Whoever stored the record chose that name, and the servers that will see "
            f"{'your password' if method.kind == 'directory' else 'your address'}. Go on?",
            hint="ask who sent you this; those of the instructions that strongroom.toml names need no answer",
        )

    def _of_instructions(self) -> list[Method]:
        if self._settings.instructions is None:
            return []
        try:
            parsed = parse_instructions(load_instructions(self._settings.instructions, self._trust))
        except Misuse:
            return []  # it is told where the file is needed; here it approves nobody
        return [parse_method(method) for method in parsed.methods]

    async def _of_site(self) -> Sequence[Method]:
        if self._settings.site is None or self._settings.statement is None:
            return []
        try:
            site = await fetch_site(self._settings.site)
        except (Misuse, Unavailable, Untrusted):
            return []
        return site.methods if site.digest.hex() == self._settings.statement.lower() else []


def _is_one_of(methods: Sequence[Method], described: Described) -> bool:
    """A provider is the same whatever else a definition says; a directory is what its whole definition says."""
    if described.kind == "oidc":
        return any(isinstance(one, OidcMethod) and one.public.issuer == described.issuer for one in methods)
    return any(method_digest(encode(one)) == described.digest for one in methods)


async def fetch_site(origin: str) -> Site:
    """What the site at `origin` says of itself; approved by nobody yet. Raises `Unreachable` and `Unreadable`."""
    async with BlobHost(origin) as host:
        return parse_site(origin, await host.statement())
