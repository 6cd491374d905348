"""Sessions about a cluster itself: with a member, or with an enclave that founds, joins or recovers.

What is said in them rests on signatures, on the owner's key and on what the enclave is, so each is appraised first:
a member by `appraise`, any other by `appraise_candidate`. Both are held against what this user's programs have seen of
the cluster before: custodians and approvers, too, can be shown a machine of last year.

    async with cluster_session(url, role="vault", policy=trust.vault) as session:
        status = await session.ask(AskStatus(), StatusIs)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.candidates import appraise_candidate
from strongroom.attestation.policy import RolePolicy, TrustPolicy
from strongroom.client.checkpoints import own_checkpoints, warn
from strongroom.client.custodians import parse_charter
from strongroom.client.generations import verify_new_generation
from strongroom.client.meant import verify_meant
from strongroom.client.session import AttestedServer, Session, Shown, appraisal_of
from strongroom.client.standings import Standing, Standings, StandingStore
from strongroom.protocol.cluster_messages import AskCharter, CharterIs, ClusterReply
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.errors import Number, Untrusted, from_number
from strongroom.protocol.evidence import Claims, Council, Genesis, Role, Stage, cluster_id, parse_any_evidence
from strongroom.protocol.governance import Charter
from strongroom.protocol.messages import Error
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.releases import parse_releases

T = TypeVar("T", bound=Message)


def role_policy(trust: TrustPolicy, role: Role) -> RolePolicy:
    """What a trust policy says of a role."""
    return trust.vault if role == "vault" else trust.authenticator


class ClusterSession:
    """An open session with one enclave, as it was appraised."""

    def __init__(self, server: _ClusterServer, shown: Shown) -> None:
        self._server = server
        self.shown = shown

    @property
    def evidence(self) -> bytes:
        """As the session was opened with."""
        return self.shown.evidence

    @property
    def claims(self) -> Claims:
        return self.shown.claims

    @property
    def genuine(self) -> Genuine:
        """Of a member. Raises `Untrusted` EVIDENCE for an enclave at another stage."""
        return appraisal_of(self.shown).genuine

    @property
    def listed(self) -> int | None:
        """Of an enclave without a ring, in whose policy approvers decide: serial of the list that it is accepted by; 0
        for none, None where a policy names no approvers."""
        return self._server.listed

    async def known(self) -> Standing | None:
        """How its cluster stood when this user's programs last saw it; None: they never did."""
        return await self._server.known(self.claims.cluster_id)

    @property
    def now(self) -> int:
        """Unix time, by our own clock."""
        return self._server.now

    async def ask(self, request: Message, kind: type[T]) -> T:
        """One request, one reply of type `kind`. Raises what the enclave answered, `Untrusted`, or `Unavailable`."""
        return await self._server.ask(request, kind)


@asynccontextmanager
async def cluster_session(
    url: str,
    *,
    role: Role,
    policy: RolePolicy,
    stage: Stage = "member",
    key: SigningKey | None = None,
    releases: bytes = b"",
    kept: StandingStore | None = None,
    notice: Callable[[str], None] = warn,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[ClusterSession]:
    """A session with the enclave at `url`, which must be at `stage`.

    `key` is that of the owner for what only the owner may do, by default a fresh one; `releases` an encoded list, for a
    policy that goes by releases and an enclave that shows none. `kept` is what was seen of clusters before, by default
    what this user's programs have kept; `notice` is told, in words, that the cluster was recovered. Raises `Untrusted`
    with the reason, `Unavailable`.
    """
    standings = Standings(own_checkpoints(notice) if kept is None else kept, notice)
    server = _ClusterServer(
        url, role=role, policy=policy, stage=stage, key=key, releases=releases, standings=standings, now=now
    )
    try:
        yield ClusterSession(server, await server.shown())
    finally:
        await server.aclose()


@dataclass(frozen=True, slots=True)
class Governed:
    """Who governs the cluster of an appraised member: all signatures verified, and of this cluster."""

    told: CharterIs
    charter: Charter
    genesis: Genesis
    councils: list[Council]

    @property
    def council(self) -> Council:
        """The one in office."""
        return self.councils[-1]


async def ask_charter(session: ClusterSession) -> Governed:
    """What a member says of who governs its cluster. Raises `Untrusted` for what does not hold, or is of another."""
    told = await session.ask(AskCharter(), CharterIs)
    charter, genesis, councils = parse_charter(told.charter)
    if cluster_id(charter.genesis.statement) != session.claims.cluster_id:
        raise Untrusted(Number.INTEGRITY, "the charter is another cluster's")
    return Governed(told, charter, genesis, councils)


class _ClusterServer(AttestedServer):
    def __init__(
        self,
        url: str,
        *,
        role: Role,
        policy: RolePolicy,
        stage: Stage,
        key: SigningKey | None,
        releases: bytes,
        standings: Standings,
        now: Callable[[], float],
    ) -> None:
        super().__init__(
            url, role=role, policy=policy, binding_key=key or SigningKey.generate(), now=now, standings=standings
        )
        self._seen = standings
        self._replies = ClusterReply
        self._stage: Stage = stage
        self._releases = releases

    @property
    def now(self) -> int:
        return int(self._now())

    @property
    def listed(self) -> int | None:
        if self._stage == "member" or self._policy.releases is None:
            return None
        return self._serial()

    async def known(self, cluster: bytes) -> Standing | None:
        return await asyncio.to_thread(self._seen.known, cluster)

    def _serial(self) -> int:
        """Of the list that was named."""
        return parse_releases(self._releases)[1].serial if self._releases else 0

    def _accept(self, evidence: bytes) -> Shown:
        if self._stage == "member":
            return super()._accept(evidence)
        verify_meant(evidence, self._role, self._stage)
        if self._policy.releases is not None and not self._releases:
            self._seen.verify_unlisted(parse_any_evidence(evidence)[1].cluster_id, self._policy.releases)
        candidate = appraise_candidate(
            evidence,
            role=self._role,
            stage=self._stage,
            policy=self._policy,
            releases=self._releases,
            now=int(self._now()),
        )
        self._floors.verify(candidate.report, candidate.claims.cluster_id)
        self._seen.verify_attempt(candidate.claims, self._serial())
        return Shown(evidence, candidate.evidence_digest, candidate.claims, candidate.report, None)

    async def _look_back(self, session: Session) -> None:
        """As of any session. These have no log of their own to follow, but who signed that it began anew is asked."""
        appraisal = session.shown.appraisal
        if appraisal is None:
            return  # what is not in the cluster yet says nothing of how it stands
        genuine = appraisal.genuine
        known = await self.known(genuine.claims.cluster_id)
        if known is not None and known.generation < genuine.claims.generation:
            answer = await self._round_trip(session, encode(AskCharter()))
            if isinstance(answer, Error):
                raise from_number(answer.number)
            if not isinstance(answer, CharterIs):
                raise Untrusted(Number.INTEGRITY, "the enclave answered another kind of request")
            verify_new_generation(answer.charter, genuine, known.generation, known)
        await super()._look_back(session)
