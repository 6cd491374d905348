"""Sign-in of a program by the token that its platform gives it: GitHub Actions, GitLab, Kubernetes, SPIFFE.

A token is asked for with an audience that names the Authenticator and this session's binding key, so that nobody else
can use it (RULES 12). Where the platform fixes the audience, the token must be for the one that the method names: what
was made for another service is not handed out because a depositor wrote that service's name into a method.
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx

from strongroom.client.errors import BadInput, Unreachable
from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.instructions import WorkloadPublic, workload_audience

MAX_TOKEN: Final = 16 * 1024
"""Characters."""
MAX_BEARER_LIFE: Final = 600
LEEWAY: Final = 60
"""Seconds; clocks differ."""
BOUND: Final = "strongroom:"
"""What audiences of one session begin with."""

TokenSource = Callable[[str], Awaitable[str]]
"""A token for this audience, in compact form. Raises `StrongroomError`."""

_SECONDS: Final = 10.0
_GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
_GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - the name of a variable


class TokenSignIn:
    """Signs in with a token of `source`, a new one each time."""

    def __init__(self, source: TokenSource) -> None:
        self._source: Final = source

    def fits(self, method: Method) -> bool:
        return method.kind == "workload"

    async def run(self, flow: Flow) -> wire.SignedIn:
        public = flow.method.public
        fixed = public.audience if isinstance(public, WorkloadPublic) else ""
        audience = fixed or workload_audience(flow.place.cluster_id, flow.binding_key)
        token = (await self._source(audience)).strip()
        verify_audience(token, audience)
        verify_life(token, flow.now(), at_most=MAX_BEARER_LIFE if fixed else None)
        return await flow.server.ask(
            wire.TokenSignIn(
                vault_cluster=flow.vault_cluster,
                capsule=flow.place.capsule,
                method=flow.method.digest,
                token=token,
                with_ticket=flow.with_ticket,
            ),
            wire.SignedIn,
        )


def verify_audience(token: str, audience: str) -> None:
    """Raises `BadInput` unless the token says that it is for `audience`. Its signature is the Authenticator's matter:
    this keeps tokens for others at home."""
    claims = _claims(token)
    named = claims.get("aud")
    if named != audience and (not isinstance(named, list) or audience not in named):
        raise BadInput(
            f"the workload's token is for {str(named)[:200]!r}, not for {audience!r}",
            "have the platform make one for that audience",
        )


def verify_life(token: str, now: float, *, at_most: int | None) -> None:
    """Raises `BadInput` for a token that the Authenticator would refuse for its `exp`, without saying so. `now` in
    unix seconds; `at_most` in seconds, of a token that counts for whoever brings it."""
    claims = _claims(token)
    made, ends = _time(claims.get("iat")), _time(claims.get("exp"))
    if ends is None:
        raise BadInput("the workload's token does not say when it expires", "have the platform make one that does")
    if ends + LEEWAY < now:
        raise BadInput(
            f"the workload's token has expired, {_minutes(now - ends)} ago by this machine's clock",
            "have the platform make a new one",
        )
    if at_most is not None and made is not None and ends - made > at_most:
        raise BadInput(
            f"the workload's token lives for {_minutes(ends - made)}, and one that anybody may use for at most "
            f"{_minutes(at_most)}",
            "have the platform make a shorter one, or leave audience out of the method: then it is bound to the client",
        )


def _time(claim: object) -> float | None:
    """Unix seconds; None for what is no time of these centuries."""
    return float(claim) if isinstance(claim, int | float) and 0 <= claim < 2**40 else None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    try:
        if len(token) > MAX_TOKEN or len(parts) != 3:
            raise ValueError
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        if not isinstance(claims, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise BadInput(
            "the workload's token is no JSON Web Token", "docs/howto/sign-in/ says where platforms keep theirs"
        ) from None
    return claims


def token_of_file(path: str | Path) -> TokenSource:
    """From a file that the platform renews, such as a projected volume of Kubernetes. It is read at each sign-in."""

    async def give(audience: str) -> str:
        return await asyncio.to_thread(_read, path)

    return give


def _read(path: str | Path) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(MAX_TOKEN + 2)
    except OSError as error:
        raise BadInput(f"can't read the token in {path}: {error.strerror}", "name another file") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} holds no token", "name another file") from None


def token_of_environment(name: str) -> TokenSource:
    """From a variable, such as one of GitLab's `id_tokens`."""

    async def look(audience: str) -> str:
        if not os.environ.get(name):
            raise BadInput(f"the variable {name} holds no token", "have the platform set it, or name another")
        return os.environ[name]

    return look


def token_of_github() -> TokenSource:
    """From GitHub Actions, in a job with the permission `id-token: write`. It gives a token for any audience, so that
    only such are asked for as are of use in one session alone."""

    async def request(audience: str) -> str:
        if not audience.startswith(BOUND):
            raise BadInput(
                f"this takes a token for {audience!r} from whoever has one", "leave audience out of the method"
            )
        url, secret = os.environ.get(_GITHUB_URL), os.environ.get(_GITHUB_TOKEN)
        if not url or not secret:
            raise BadInput("this is no job of GitHub Actions that may ask for tokens", "permissions: id-token: write")
        try:
            async with httpx.AsyncClient(timeout=_SECONDS) as client:
                headers = {"authorization": f"Bearer {secret}"}
                answer = await client.get(httpx.URL(url).copy_add_param("audience", audience), headers=headers)
                found = answer.raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unreachable(
                f"GitHub gave no token: {type(error).__name__}",
                "try again; then see the job's permissions",
                broken=False,
            ) from None
        token = found.get("value") if isinstance(found, dict) else None
        if not isinstance(token, str):
            raise Unreachable("GitHub's answer holds no token", "try again", broken=False)
        return token

    return request
