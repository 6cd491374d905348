"""How a cluster begins: its secrets, and the statement whose digest is its id (RULES 6)."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.attestation.witnessing import parse_witnesses
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.ring import Ring, log_key
from strongroom.enclave.runtime.sealed_ring import Epoch, InstanceKey, RingSecrets, RingState
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Council, Custodian, Genesis, Role, Watchers
from strongroom.protocol.governance import Charter, SignedGenesis
from strongroom.protocol.limits import MAX_WITNESSES
from strongroom.protocol.link import Start
from strongroom.protocol.primitives import Domain, KemKey, SigningKey, digest


def draw_secrets(platform: Platform, ring_token: bytes) -> RingSecrets:
    """Of a new cluster, whose first council has this token (32 bytes)."""
    return RingSecrets(
        version=3,
        cluster_scalar=SigningKey.generate().scalar,
        ring_token=ring_token,
        handle_key=platform.random(32),
        epochs=[Epoch(number=1, key=platform.random(32))],
    )


def genesis_of(
    secrets: RingSecrets,
    *,
    role: Role,
    owner_key: bytes,
    council: Council,
    witnesses: Sequence[str],
    cosignatures: int,
    development: bool,
) -> Genesis:
    """The statement of a cluster with these secrets. Raises `Misuse` for witnesses that are none, or so few
    cosignatures that two histories could both get as many."""
    _verify_witnesses(role, witnesses, cosignatures)
    return Genesis(
        version=1,
        role=role,
        cluster_key=SigningKey.from_scalar(secrets.cluster_scalar).public,
        owner_key=owner_key,
        council=council,
        log_key=log_key(secrets.handle_key).public,
        witnesses=list(witnesses),
        cosignatures=cosignatures,
        development=development,
    )


def found_for_development(
    platform: Platform, role: Role, key: InstanceKey, owner_key: bytes, witnesses: Sequence[str], cosignatures: int
) -> Ring:
    """A cluster with one automatic custodian. Raises `Misuse` UNSUPPORTED on a platform that has none."""
    seed = platform.development_custodian()
    if seed is None:
        raise Misuse(Number.UNSUPPORTED, "a cluster on hardware has named custodians")
    secrets = draw_secrets(platform, platform.random(32))
    council = Council(
        recovery_key=KemKey(seed).public,
        ring_token=digest(Domain.RING_TOKEN, secrets.ring_token),
        custodians=[Custodian(name="automatic (development only)", recipient="", key=b"")],
        threshold=1,
        approvers=[],
        approvals=0,
        release_delay=0,
    )
    statement = genesis_of(
        secrets,
        role=role,
        owner_key=owner_key,
        council=council,
        witnesses=witnesses,
        cosignatures=cosignatures,
        development=True,
    )
    signed = SignedGenesis(statement=encode(statement), accepted=[])
    return Ring(RingState(secrets, new_charter(signed), ()), key, 0)


def named_by(start: Start) -> Watchers:
    """The witnesses that a host names."""
    return Watchers(witnesses=start.witnesses, cosignatures=start.cosignatures)


def verify_watched_by(watching: Watchers, start: Start) -> None:
    """The host names the witnesses in office. Only these count; a host that names others has made a mistake, and should
    hear of it. Raises `Untrusted` POLICY."""
    if not named_by(start).are(watching):
        raise Untrusted(Number.POLICY, "the cluster has other witnesses")


def verify_can_watch(role: Role, before: Watchers, after: Watchers) -> None:
    """These may follow the witnesses in office, if custodians say so. Raises `Misuse`, and `Untrusted` POLICY for none
    after some: an option that was forgotten must not cost a cluster all who watch it."""
    if before.witnesses and not after.witnesses:
        raise Untrusted(Number.POLICY, "the cluster has witnesses, and the host names none")
    _verify_witnesses(role, after.witnesses, after.cosignatures)


def new_charter(signed: SignedGenesis) -> Charter:
    """Of a cluster that begins."""
    return Charter(genesis=signed, successions=[], gaps=[], recoveries=0, releases=b"", named=[])


def _verify_witnesses(role: Role, witnesses: Sequence[str], cosignatures: int) -> None:
    if role != "vault" and witnesses:
        raise Misuse(Number.UNSUPPORTED, "only a Vault has a log to witness")
    if len(parse_witnesses(witnesses, cosignatures)) > MAX_WITNESSES:
        raise Misuse(Number.MALFORMED, f"a cluster has at most {MAX_WITNESSES} witnesses")
