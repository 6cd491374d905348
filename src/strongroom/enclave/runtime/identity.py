"""What this enclave shows to others: evidence for whoever asks, and evidence for one handshake as a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from strongroom.attestation.appraisal import verify_genuine
from strongroom.attestation.candidates import verify_candidate
from strongroom.attestation.reports import AnyReport
from strongroom.attestation.verification import HARDWARE
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock, lasts
from strongroom.enclave.runtime.keys import KEY_LIFE, TurningKey
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, from_number
from strongroom.protocol.evidence import (
    Attempt,
    Claims,
    ConfigValue,
    Evidence,
    PeerBinding,
    PlatformKind,
    Purpose,
    Role,
    Stage,
    Watchers,
    evidence_digest,
    report_data,
)
from strongroom.protocol.limits import MAX_EVIDENCE_AHEAD
from strongroom.protocol.primitives import KemKey

BUILD: Final = "0.1.0"
RETRY_SECONDS: Final = 5
"""After evidence could not be made: a host without collateral must not have a quote made for every request."""
STALE_MARGIN: Final = 120
"""Seconds before something that evidence rests on expires at which it is made anew: clients' clocks differ."""


def peer_platforms(own: PlatformKind) -> tuple[PlatformKind, ...]:
    """Kinds of other enclaves that one of kind `own` believes: all hardware, and software only if it is none itself."""
    return (*HARDWARE, own) if own not in HARDWARE else HARDWARE


class _Shown(NamedTuple):
    kem_key: bytes
    evidence: bytes
    stale_at: int
    good_until: int


class _Failed(NamedTuple):
    number: Number
    reason: str
    until: int


FetchCollateral = Callable[[PlatformKind, bytes, bytes], Awaitable[bytes]]
"""Platform kind, quote and endorsements → collateral, as the host says. Wrong collateral makes evidence that nobody
accepts, us included."""


class Credentials(Protocol):
    """What the claims say of how an enclave stands to a cluster: an open ring, or what one wants to be in."""

    @property
    def stage(self) -> Stage: ...
    @property
    def cluster_id(self) -> bytes: ...
    @property
    def genesis(self) -> bytes: ...
    @property
    def receipt_key(self) -> bytes: ...
    @property
    def recoveries(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def council_serial(self) -> int: ...
    @property
    def release(self) -> int: ...
    @property
    def releases(self) -> bytes: ...
    @property
    def watchers(self) -> Watchers | None: ...
    @property
    def attempt(self) -> Attempt | None: ...

    def sign(self, claims: bytes) -> bytes:
        """By the cluster's key (64 bytes); empty of who has no ring."""


class Identity:
    """Evidence of one enclave instance. A quote is made once a key period, never per request (RULES 21)."""

    def __init__(
        self,
        platform: Platform,
        clock: Clock,
        credentials: Credentials,
        role: Role,
        config: Mapping[str, str],
        fetch_collateral: FetchCollateral,
    ) -> None:
        self.role: Final[Role] = role
        self.cluster_id: Final = credentials.cluster_id
        self._platform = platform
        self._clock = clock
        self._credentials = credentials
        self.config: Final = [ConfigValue(name=name, value=config[name]) for name in sorted(config)]
        """Values that differ from the default, as the claims show them."""
        self._keys = TurningKey(platform.random(32), clock.now())
        self._fetch_collateral = fetch_collateral
        self._accepted: dict[bytes, int] = {}
        self._shown: _Shown | None = None
        self._genuine: AnyReport | None = None
        self._failed: _Failed | None = None
        self._renewals = 0
        """How often what the claims say has changed."""
        self._one_at_a_time = asyncio.Lock()
        self._one_peer_at_a_time = asyncio.Lock()
        # Not the loop's own threads: names that tenants have resolved may hang in all of those.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="quotes")

    async def evidence(self) -> bytes:
        """Current evidence, made anew when the key has turned or something that it rests on is about to expire.

        Raises `Unavailable` QUOTE_UNAVAILABLE or COLLATERAL_UNAVAILABLE, and `Untrusted` EVIDENCE for a quote that
        clients would refuse.
        """
        # Locked: a thousand clients at the turn of the key must not ask for a thousand quotes.
        async with self._one_at_a_time:
            now = self._clock.now()
            key = self._keys.current(now)
            shown = self._shown
            if shown is not None and shown.kem_key == key.public and now < shown.stale_at:
                return shown.evidence
            if self._failed is None or not lasts(self._failed.until, now, RETRY_SECONDS):
                renewals = self._renewals
                try:
                    made = await self._show(key, now)
                    # A host decides how long a quote takes: what changed meanwhile is not in it.
                    self._shown = made if renewals == self._renewals else None
                    return made.evidence
                except StrongroomError as error:
                    self._failed = _Failed(error.number, error.reason, self._clock.now() + RETRY_SECONDS)
            # What is about to expire is still good, unless it has changed: better that than nothing.
            shown = self._shown
            if shown is not None and shown.kem_key == key.public and now < shown.good_until:
                return shown.evidence
            raise from_number(self._failed.number, self._failed.reason)

    async def _show(self, key: KemKey, now: int) -> _Shown:
        expires_at = self._keys.expires_at
        evidence = await self._make(key, expires_at, None)
        report = self._genuine = self._verify_own(evidence, now)
        # We check ourselves as a client would: a date that the maker signed may raise the floor.
        self._clock.raise_floor(report.proven_at)
        self._accepted = {digest: end for digest, end in self._accepted.items() if lasts(end, now, KEY_LIFE)}
        self._accepted[evidence_digest(evidence)] = expires_at
        # Not again within the margin: what the host has may be no fresher, and quotes are dear (RULES 21).
        good_until = report.valid_until
        return _Shown(key.public, evidence, max(good_until - STALE_MARGIN, now + STALE_MARGIN), good_until)

    def _verify_own(self, evidence: bytes, now: int) -> AnyReport:
        platforms, roots = (self._platform.kind,), self._platform.roots
        if self._credentials.stage == "member":
            return verify_genuine(evidence, role=self.role, platforms=platforms, insecure_roots=roots, now=now).report
        return verify_candidate(
            evidence,
            role=self.role,
            stage=self._credentials.stage,
            platforms=platforms,
            insecure_roots=roots,
            now=now,
        ).report

    @property
    def report(self) -> AnyReport:
        """What this enclave's own quote says. Raises `Misuse` NOT_NOW before there is evidence."""
        if self._genuine is None:
            raise Misuse(Number.NOT_NOW, "this enclave has shown no evidence yet")
        return self._genuine

    def renew(self) -> None:
        """What the claims say has changed: the next evidence is made anew."""
        self._renewals += 1
        self._shown = None

    def expiry_of(self, digest: bytes) -> int | None:
        """Unix time at which evidence with this digest expires; None if it is not ours or has expired."""
        expires_at = self._accepted.get(digest)
        return expires_at if expires_at is not None and lasts(expires_at, self._clock.now(), KEY_LIFE) else None

    def key_for(self, sealed: bytes) -> KemKey:
        """The turning key that `sealed` names by its key id. Raises `Misuse` STALE_KEY."""
        return self._keys.find(sealed, self._clock.now())

    async def peer_evidence(
        self,
        kem_key: bytes,
        binding_key: bytes,
        peer_evidence: bytes,
        *,
        purpose: Purpose = "decide",
        own: KemKey | None = None,
    ) -> bytes:
        """Evidence for one handshake as a client, refused anywhere else (RULES 4). `own` stands in it for the key of
        this enclave's sessions: what is sealed to that is for this purpose."""
        binding = PeerBinding(purpose=purpose, kem_key=kem_key, binding_key=binding_key, peer_evidence=peer_evidence)
        # One at a time: who names Authenticators without end must not have the clients' evidence wait for his.
        async with self._one_peer_at_a_time:
            now = self._clock.now()
            return await self._make(own or self._keys.current(now), now + MAX_EVIDENCE_AHEAD // 2, binding)

    async def _make(self, key: KemKey, expires_at: int, peer: PeerBinding | None) -> bytes:
        credentials = self._credentials
        releases = credentials.releases
        claims = encode(
            Claims(
                version=1,
                role=self.role,
                stage=credentials.stage,
                kem_key=key.public,
                expires_at=expires_at,
                receipt_key=credentials.receipt_key,
                cluster_id=credentials.cluster_id,
                recoveries=credentials.recoveries,
                generation=credentials.generation,
                council=credentials.council_serial,
                release=credentials.release,
                watchers=credentials.watchers,
                attempt=credentials.attempt,
                config=self.config,
                build=BUILD,
                peer=peer,
            )
        )
        signature = credentials.sign(claims)
        # In a thread: a quoting service may take half a minute, and nothing else shall wait for it.
        loop = asyncio.get_running_loop()
        quoted = await loop.run_in_executor(self._threads, self._platform.quote, report_data(claims))
        collateral = quoted.collateral
        if collateral is None:
            collateral = await self._fetch_collateral(self._platform.kind, quoted.quote, quoted.endorsements)
        return encode(
            Evidence(
                version=1,
                kind=self._platform.kind,
                quote=quoted.quote,
                collateral=collateral,
                claims=claims,
                genesis=credentials.genesis,
                cluster_signature=signature,
                releases=releases,
            )
        )
