"""Sign-in of a program by the token that its platform gives it (RULES 12).

Attacks stopped here:

1. A stolen token: its audience names the binding key of the session that asked for it, so it counts in no other.
2. A stolen token of a platform that lets nobody choose the audience (`bearer`): it lives ten minutes at most, and the
   Vault commits a mark that lets one binding key alone use it. The mark is of what was signed, not of the whole text:
   of one ECDSA signature anybody makes a second that verifies, too. And of the key that signed it, not of the
   definition: two that name one issuer would let it be used twice. A depositor who lists keys of his own under that
   issuer's name marks nobody else's tokens.
3. A token made for somebody else who was given it along with us: a bearer's audience is ours alone.
4. Claims that read as one another: a path that leads to two values is refused, a name holds no `=`.
5. A name of so many dots that trying each way to cut it takes minutes: it has few.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from math import ceil
from typing import Any, Final

import msgspec

from strongroom.enclave.authenticator.jwks import Discovery, KeyCache, KeySet, Metadata, parse_keys, verify_issuer
from strongroom.enclave.authenticator.tokens import (
    SKEW,
    Registered,
    Signed,
    read_claims,
    subject_of,
    token_untrusted,
    verify_signature,
    verify_times,
)
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.egress import Calls, Egress, provider_deadline
from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.errors import Misuse, Number, StrongroomError
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import WorkloadMethod, workload_audience
from strongroom.protocol.limits import MAX_TICKET_LIFE
from strongroom.protocol.primitives import Domain, digest

MAX_BEARER_LIFE: Final = 600
"""Seconds from issue to expiry."""
MAX_LIFE: Final = 24 * 3600
"""The same, of a token that names its binding key: Kubernetes and SPIRE give out no longer ones unless told to."""
MAX_CLAIM: Final = 512
MAX_DOTS: Final = 8
"""In the name of a claim: twice as many ways to cut it with each."""
MAX_ISSUERS: Final = 256
"""Definitions remembered; the one not used for longest is forgotten first."""

_TEXT: Final = re.compile(r"[!-~]{1,255}")
_CLAIM: Final = re.compile(r"[!-<>-~]{1,255}")
_OURS: Final = "strongroom:"


def verify_workloads(method: WorkloadMethod, egress: Egress) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    audience = method.public.audience
    if audience and (not _TEXT.fullmatch(audience) or audience.startswith(_OURS)):
        raise _invalid("the audience is not printable ASCII without spaces, or begins as those that name a binding key")
    for name in method.claims:
        if not _CLAIM.fullmatch(name) or "" in name.split("."):
            raise _invalid("a claim is not a path of names with dots in between, printable ASCII without = and spaces")
        if name.count(".") > MAX_DOTS:
            raise _invalid(f"a claim is a path with more than {MAX_DOTS} dots")
    if len(set(method.claims)) != len(method.claims):
        raise _invalid("a claim is listed twice")
    if not method.keys:
        verify_issuer(method.public.issuer, egress)
        return
    # Nobody is called, so it may be any text: a cluster's own issuer is an address inside of it.
    if not _TEXT.fullmatch(method.public.issuer):
        raise _invalid("issuer: not printable ASCII without spaces")
    listed = _parse_listed(method.keys)
    if not any(algorithm in method.algorithms for _, algorithm in listed.keys):
        raise _invalid("keys: none is of an algorithm that the method lists")


class Workloads:
    """Issuers of tokens for workloads, and what is known of them, per complete definition (RULES 5)."""

    def __init__(self, egress: Egress, clock: Clock, cluster_id: bytes) -> None:
        self._egress = egress
        self._clock = clock
        self._cluster_id = cluster_id
        self._issuers: OrderedDict[bytes, _Issuer] = OrderedDict()

    async def sign_in(self, digest: bytes, method: WorkloadMethod, untrusted_token: str, binding_key: bytes) -> Fact:
        """Which workload the token names. Raises `Untrusted` TOKEN_UNTRUSTED, `Unavailable`, and `Refused`
        DESTINATION_REFUSED."""
        signed = await self._issuer(digest, method).verified(untrusted_token)
        token = read_claims(signed.claims, Registered)
        if token.iss != method.public.issuer:
            raise token_untrusted("iss is another issuer")
        now = self._clock.now()
        verify_times(token, now)
        named = fact(digest, "workload", subject_of(token))
        if method.public.audience:
            _verify_bearer(token, method.public.audience)
            named = _marked(named, signed, untrusted_token, binding_key, token.exp)
        else:
            _verify_bound(token, workload_audience(self._cluster_id, binding_key))
        found = _claims(read_claims(signed.claims, dict[str, Any]), method.claims)
        return msgspec.structs.replace(named, issuer=token.iss, claims=found)

    def _issuer(self, digest: bytes, method: WorkloadMethod) -> _Issuer:
        issuer = self._issuers.get(digest)
        if issuer is None:
            issuer = self._issuers[digest] = _Issuer(self._egress.of(digest), self._clock, method)
        self._issuers.move_to_end(digest)
        if len(self._issuers) > MAX_ISSUERS:
            self._issuers.popitem(last=False)
        return issuer


class _Issuer:
    """One complete method definition, and the keys of its issuer."""

    def __init__(self, calls: Calls, clock: Clock, method: WorkloadMethod) -> None:
        self._algorithms = method.algorithms
        self._listed = _parse_listed(method.keys) if method.keys else None
        self._discovery = Discovery(calls, clock, method.public.issuer, Metadata)
        self._keys = KeyCache(calls, clock)

    async def verified(self, untrusted_token: str) -> Signed:
        """What the issuer signed."""

        def verify(keys: KeySet) -> Signed:
            return verify_signature(untrusted_token, keys, self._algorithms)

        if self._listed is not None:
            return verify(self._listed)
        async with provider_deadline():
            return await self._keys.verified((await self._discovery.current()).jwks_uri, verify)


def _verify_bound(token: Registered, audience: str) -> None:
    if audience not in token.audiences:
        raise token_untrusted("aud does not name this cluster and this session's binding key")
    if not token.exp - token.iat <= MAX_LIFE:
        raise token_untrusted("lives for more than a day")


def _verify_bearer(token: Registered, audience: str) -> None:
    if token.audiences != [audience]:
        raise token_untrusted("aud is not the method's audience alone")
    if not token.exp - token.iat <= MAX_BEARER_LIFE:
        raise token_untrusted("lives for more than ten minutes, and its audience names no binding key")


def _marked(named: Fact, signed: Signed, untrusted_token: str, binding_key: bytes, ends: float) -> Fact:
    """With a mark that is kept until the last ticket by this token has expired: else a thief would sign in just before
    the token ends, and use the ticket when the owner's mark is forgotten."""
    key = signed.key.thumbprint().encode("ascii")
    told = sha256(untrusted_token.rpartition(".")[0].encode()).digest()
    mark = Mark(
        name=digest(Domain.MARK, key, told),
        value=0,
        token=digest(Domain.MARK, binding_key),
        expires_at=ceil(ends) + 2 * SKEW + MAX_TICKET_LIFE,
    )
    person = digest(Domain.MARK, key, named.subject.encode("ascii"))
    return msgspec.structs.replace(named, mark=mark, marked_as=f"bearer:{person.hex()}")


def _claims(claims: dict[str, Any], names: list[str]) -> list[str]:
    """`NAME=VALUE` of those that are there. Raises `Untrusted` TOKEN_UNTRUSTED for one that can't be told exactly:
    were it left out, a rule that forbids it would not fire."""
    found: list[str] = []
    for name in names:
        values = list(_values(claims, name))
        if len(values) > 1:
            raise token_untrusted("a claim that the method names stands there twice")
        found += [f"{name}={_written(value)}" for value in values]
    if any(len(claim) > MAX_CLAIM for claim in found):
        raise token_untrusted("a claim that the method names is too long")
    return found


def _values(claims: dict[str, Any], path: str) -> Iterator[Any]:
    """What `path` leads to. Names may hold dots themselves, as `kubernetes.io` does, so every way to cut it is tried;
    no object is reached by two ways."""
    if path in claims:
        yield claims[path]
    for dot in re.finditer(r"\.", path):
        inner = claims.get(path[: dot.start()])
        if isinstance(inner, dict):
            yield from _values(inner, path[dot.end() :])


def _written(value: object) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return msgspec.json.encode(value).decode()
        case _:
            raise token_untrusted("a claim that the method names is no text, number or boolean")


def _parse_listed(keys: bytes) -> KeySet:
    try:
        return parse_keys(keys)
    except StrongroomError as error:
        raise _invalid(f"keys: {error.reason}") from None


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)
