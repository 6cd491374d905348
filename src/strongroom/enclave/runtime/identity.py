"""What this enclave shows to others: evidence for whoever asks, and evidence for one handshake as a client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strongroom.attestation.appraisal import verify_genuine
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock, lasts
from strongroom.enclave.runtime.keys import KEY_LIFE, TurningKey
from strongroom.enclave.runtime.ring import Ring
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import (
    Claims,
    ConfigValue,
    Evidence,
    PeerBinding,
    Role,
    evidence_digest,
    report_data,
)
from strongroom.protocol.limits import MAX_EVIDENCE_AHEAD
from strongroom.protocol.primitives import Domain, KemKey

BUILD: Final = "0.1.0"


class Identity:
    """Evidence of one enclave instance. A quote is made once a key period, never per request (RULES 21)."""

    def __init__(self, platform: Platform, clock: Clock, ring: Ring, role: Role, config: Mapping[str, str]) -> None:
        self.role: Final[Role] = role
        self.cluster_id: Final = ring.cluster_id
        self._platform = platform
        self._clock = clock
        self._ring = ring
        self._config = [ConfigValue(name=name, value=config[name]) for name in sorted(config)]
        self._keys = TurningKey(platform.random(32), clock.now())
        self._accepted: dict[bytes, int] = {}
        self._shown: tuple[bytes, bytes] | None = None

    def evidence(self) -> bytes:
        """Current evidence, made anew when the key has turned."""
        now = self._clock.now()
        key = self._keys.current(now)
        if self._shown is None or self._shown[0] != key.public:
            evidence = self._make(key, self._keys.expires_at, None)
            genuine = verify_genuine(
                evidence,
                role=self.role,
                platforms=(self._platform.kind,),
                insecure_roots=self._platform.roots,
                now=now,
            )
            # We check ourselves as a client would: a date that Intel signed may raise the floor.
            self._clock.raise_floor(genuine.collateral_date)
            self._accepted = {digest: end for digest, end in self._accepted.items() if lasts(end, now, KEY_LIFE)}
            self._accepted[evidence_digest(evidence)] = self._keys.expires_at
            self._shown = (key.public, evidence)
        return self._shown[1]

    def expiry_of(self, digest: bytes) -> int | None:
        """Unix time at which evidence with this digest expires; None if it is not ours or has expired."""
        expires_at = self._accepted.get(digest)
        return expires_at if expires_at is not None and lasts(expires_at, self._clock.now(), KEY_LIFE) else None

    def key_for(self, sealed: bytes) -> KemKey:
        """The turning key that `sealed` names by its key id. Raises `Misuse` STALE_KEY."""
        return self._keys.find(sealed, self._clock.now())

    def peer_evidence(self, kem_key: bytes, binding_key: bytes, peer_evidence: bytes) -> bytes:
        """Evidence for one handshake as a client, refused anywhere else (RULES 4)."""
        binding = PeerBinding(purpose="decide", kem_key=kem_key, binding_key=binding_key, peer_evidence=peer_evidence)
        now = self._clock.now()
        return self._make(self._keys.current(now), now + MAX_EVIDENCE_AHEAD // 2, binding)

    def _make(self, key: KemKey, expires_at: int, peer: PeerBinding | None) -> bytes:
        claims = encode(
            Claims(
                version=1,
                role=self.role,
                kem_key=key.public,
                expires_at=expires_at,
                receipt_key=self._ring.cluster_key.public,
                cluster_id=self._ring.cluster_id,
                config=self._config,
                build=BUILD,
                peer=peer,
            )
        )
        quoted = self._platform.quote(report_data(claims))
        return encode(
            Evidence(
                version=1,
                kind=self._platform.kind,
                quote=quoted.quote,
                collateral=quoted.collateral,
                claims=claims,
                genesis=self._ring.genesis,
                cluster_signature=self._ring.cluster_key.sign(Domain.CLAIMS_SIGNATURE, claims),
            )
        )
