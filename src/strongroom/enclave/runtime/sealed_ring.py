"""The key ring of a cluster: what is in it, how it is sealed, and how it opens (RULES 6 and 8).

The ring is sealed under a fresh data key, each time that it changes. That key is wrapped in two ways and no third: to
the custodians' recovery key, and to each machine that was admitted with a program, by a key that only this program on
this machine has (never by who signed it). A development cluster has one automatic custodian, kept by the insecure
platform, so that a changed program can still open its database.

What is public about the cluster, its charter, lies beside the ring in clear, and so do the machines that can open it.
The ring is bound to exactly these: an older charter, a list of releases that was put back, or one machine more does not
open with it.

To seal a ring takes public keys only. So each council brings a token, a secret that the ring holds while it is in
office. Whoever has a ring of before (custodians who were replaced, with an old copy of the database; a program with a
hole) could otherwise make one under the council of now, with epochs of his own choice, and have a machine of the
cluster serve what he reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from strongroom.enclave.platform.port import Platform
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import (
    Bytes32,
    KemPublicKey,
    PlatformKind,
    Role,
    UnixTime,
    cluster_id,
    parse_genesis,
)
from strongroom.protocol.governance import MAX_CHARTER, Charter
from strongroom.protocol.limits import MAX_EPOCHS, MAX_INSTANCES, MAX_MESSAGE
from strongroom.protocol.primitives import Domain, KemKey, derive_key, digest, kem_seal, open_once, seal_once


class Epoch(Message):
    """One root key of the ring."""

    number: Annotated[int, Meta(ge=1, le=2**31)]
    key: Bytes32


class RingSecrets(Message):
    """What is sealed."""

    version: Literal[3]
    cluster_scalar: Bytes32
    ring_token: Bytes32
    """Of the council in office, which holds its digest."""
    handle_key: Bytes32
    """Genesis secret behind record handles and the log; does not turn with epochs (RULES 22)."""
    epochs: Annotated[list[Epoch], Meta(min_length=1, max_length=MAX_EPOCHS)]
    """Random and independent, oldest first."""


class Instance(Message):
    """A machine with a program that can open the ring by itself."""

    label: Annotated[str, Meta(min_length=1, max_length=256)]
    """What its key is bound to, in words: kept in clear, so that a failure can say what changed."""
    kind: PlatformKind
    measurement: Annotated[bytes, Meta(max_length=512)]
    key: KemPublicKey
    since: UnixTime


class InstanceWrap(Message):
    """The data key, sealed to one instance."""

    instance: Instance
    wrapped: Annotated[bytes, Meta(max_length=2048)]


class SealedRing(Message):
    """The row in the database."""

    version: Literal[3]
    charter: Annotated[bytes, Meta(max_length=MAX_CHARTER)]
    """Encoded `Charter`, in clear: whoever audits a copy of the database reads it."""
    salt: Bytes32
    instances: Annotated[list[InstanceWrap], Meta(max_length=MAX_INSTANCES + 1)]
    recovery_wrap: Annotated[bytes, Meta(max_length=2048)]
    """The data key, HPKE-sealed to the recovery key of the newest council."""
    sealed: bytes


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """The key by which this program on this machine opens a ring."""

    kem: KemKey
    label: str
    """Empty: the machine has no sealing key, and this one ends with the process."""


def instance_key(platform: Platform) -> InstanceKey:
    """From the platform's sealing key, bound to the exact measurement; or a fresh one where there is none."""
    sealing = platform.sealing_key()
    if sealing is None:
        return InstanceKey(KemKey(platform.random(32)), "")
    return InstanceKey(KemKey(derive_key(sealing.key, Domain.INSTANCE_WRAP)), sealing.label)


@dataclass(frozen=True, slots=True)
class RingState:
    """All that a ring is made of; a change makes another one."""

    secrets: RingSecrets
    charter: Charter
    instances: tuple[Instance, ...]
    salt: bytes = b""
    """Of its row (32 bytes), fresh at each change: tells the row of this state from others. Empty: never sealed."""


def seal_ring(platform: Platform, state: RingState, recovery_key: bytes, guest: tuple[Instance, ...] = ()) -> bytes:
    """The row of a ring. `guest` can open this row, too, and is in no later one. By the salt a guest knows the row that
    is kept, which is sealed under another data key."""
    data_key, salt = platform.random(32), state.salt or platform.random(32)
    cluster, charter = cluster_id(state.charter.genesis.statement), encode(state.charter)
    instances = (*state.instances, *guest)
    wraps = [
        InstanceWrap(one, kem_seal(one.key, data_key, Domain.RING_WRAP, cluster, encode(one))) for one in instances
    ]
    return encode(
        SealedRing(
            version=3,
            charter=charter,
            salt=salt,
            instances=wraps,
            recovery_wrap=kem_seal(recovery_key, data_key, Domain.RECOVERY_WRAP, cluster),
            sealed=seal_once(
                derive_key(data_key, Domain.RING, salt=salt),
                encode(state.secrets),
                _bound(cluster, charter, instances),
            ),
        )
    )


def open_by_instance(row: SealedRing, key: InstanceKey) -> RingState | None:
    """The ring, by this program's own key on this machine; None where it was not admitted. Raises `Untrusted`."""
    wrap = next((one for one in row.instances if one.instance.key == key.kem.public), None)
    if wrap is None:
        return None
    cluster = cluster_id(charter_of(row).genesis.statement)
    return _opened(row, key.kem.open(wrap.wrapped, Domain.RING_WRAP, cluster, encode(wrap.instance)))


def open_by_recovery_key(row: SealedRing, recovery: KemKey) -> RingState:
    """The ring, by the recovery key of its newest council. Raises `Untrusted`."""
    cluster = cluster_id(charter_of(row).genesis.statement)
    return _opened(row, recovery.open(row.recovery_wrap, Domain.RECOVERY_WRAP, cluster))


def parse_sealed(untrusted_row: bytes) -> SealedRing:
    """Raises `Untrusted` INTEGRITY."""
    try:
        return decode(untrusted_row, SealedRing, limit=MAX_MESSAGE)
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "the row of the key ring is none of this version") from None


def charter_of(row: SealedRing) -> Charter:
    """The charter beside a sealed ring; not known to be that ring's before the ring is open. Raises `Untrusted`."""
    try:
        return decode(row.charter, Charter, limit=MAX_CHARTER)
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "the charter beside the key ring does not parse") from None


def _opened(row: SealedRing, data_key: bytes) -> RingState:
    charter = charter_of(row)
    cluster = cluster_id(charter.genesis.statement)
    instances = tuple(one.instance for one in row.instances)
    bound = _bound(cluster, row.charter, instances)
    opened = open_once(derive_key(data_key, Domain.RING, salt=row.salt), row.sealed, bound)
    try:
        secrets = decode(opened, RingSecrets, limit=MAX_MESSAGE)
    except Misuse:
        raise Untrusted(Number.INTEGRITY, "the key ring is none of this version") from None
    return RingState(secrets, charter, instances, row.salt)


def _bound(cluster: bytes, charter: bytes, instances: Sequence[Instance]) -> bytes:
    """Associated data: an older charter, with an older list of releases, does not fit a newer ring. And whoever keeps
    the row can't add himself to the machines for whom the ring is sealed at its next change."""
    return cluster + digest(Domain.RING, charter, *map(encode, instances))


def sealed_for(platform: Platform, row: SealedRing) -> str:
    sealing = platform.sealing_key()
    here = "this platform seals nothing" if sealing is None else f"this is {sealing.label}"
    # repr: labels are the database's words, and this text reaches terminals.
    sealed_for = ", ".join(repr(one.instance.label) for one in row.instances) or "custodians only"
    if sealing is not None and any(one.instance.label == sealing.label for one in row.instances):
        return f"it was sealed for {sealing.label}, as this is: on another machine, or somebody altered it"
    return f"it was sealed for {sealed_for}; {here}"


def why_closed(platform: Platform, row: SealedRing | None, role: Role) -> str:
    if row is None:
        return "the row of the key ring is none of this version"
    try:
        claimed = parse_genesis(charter_of(row).genesis.statement).role
    except StrongroomError:
        return "the genesis statement beside the key ring does not parse"
    if claimed != role:
        return f"the key ring is of the role {claimed}, not {role}"
    return f"the key ring does not open on this machine with this program: {sealed_for(platform, row)}"
