"""The key ring of a cluster: genesis, and restart from the sealed copy (RULES 6 and 8).

The ring is sealed under a fresh data key. That key is wrapped exactly twice: for this exact measurement by the
platform's sealing key where it has one, and for the custodians. There is no third way in. A development cluster has one
automatic custodian, kept by the insecure platform, so that a changed program can still open its database.

Sealing keys change with the program, and on SGX with microcode and security version. So the row says in clear what its
wrap is bound to, and a ring that opened, but not by the key of now, is sealed anew at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from strongroom.attestation.witnessing import parse_witnesses
from strongroom.enclave.platform.port import Platform, SealingKey
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import Bytes32, Count, Custodian, Genesis, Role, ShortText, cluster_id
from strongroom.protocol.limits import MAX_MESSAGE, MAX_WITNESSES
from strongroom.protocol.link import Put
from strongroom.protocol.primitives import (
    Domain,
    KemKey,
    NoteKey,
    SigningKey,
    derive_key,
    kem_seal,
    open_once,
    seal_once,
)


class Epoch(Message):
    """One root key of the ring."""

    number: Count
    key: Bytes32


class RingSecrets(Message):
    """What is sealed."""

    version: Literal[1]
    cluster_scalar: Bytes32
    handle_key: Bytes32
    """Genesis secret behind record handles; does not turn with epochs (RULES 22)."""
    epochs: Annotated[list[Epoch], Meta(min_length=1, max_length=1024)]
    """Random and independent, oldest first."""


class SealedRing(Message):
    """The row in the database."""

    version: Literal[1]
    genesis: bytes
    salt: Bytes32
    platform_label: ShortText
    """What the platform's wrap is bound to, in words; empty where the platform has no sealing key."""
    platform_wrap: bytes
    recovery_wraps: list[bytes]
    """The data key, HPKE-sealed to each custodian's key."""
    sealed: bytes


@dataclass(frozen=True, slots=True)
class SealedState:
    """The row of the sealed ring at a start, for whoever keeps account of what the database holds."""

    found: bytes | None
    """As it was in the database; None at genesis."""
    kept: bytes
    """As it is from now on."""
    puts: Sequence[Put]
    """What is to be written for that."""


class Ring:
    """An open ring."""

    def __init__(self, genesis: bytes, secrets: RingSecrets) -> None:
        self.genesis: Final = genesis
        self.statement: Final = decode(genesis, Genesis, limit=MAX_MESSAGE)
        self.cluster_id: Final = cluster_id(genesis)
        self.cluster_key: Final = SigningKey.from_scalar(secrets.cluster_scalar)
        self.handle_key: Final = secrets.handle_key
        self.log_key: Final = _log_key(secrets.handle_key)
        self.epochs: Final = {epoch.number: epoch.key for epoch in secrets.epochs}
        self.epoch: Final = secrets.epochs[-1].number
        self._secrets = secrets
        if self.cluster_key.public != self.statement.cluster_key:
            raise Untrusted(Number.INTEGRITY, "the ring's cluster key is not the genesis statement's")
        if self.log_key.public != self.statement.log_key:
            raise Untrusted(Number.INTEGRITY, "the ring's log key is not the genesis statement's")

    def seal(self, platform: Platform) -> bytes:
        """The row to keep in the database."""
        data_key, salt = platform.random(32), platform.random(32)
        sealing = platform.sealing_key()
        return encode(
            SealedRing(
                version=1,
                genesis=self.genesis,
                salt=salt,
                platform_label="" if sealing is None else sealing.label,
                platform_wrap=b""
                if sealing is None
                else seal_once(_wrap_key(sealing, salt), data_key, _wrap_context(self.cluster_id, sealing.label)),
                recovery_wraps=[
                    kem_seal(custodian.kem_key, data_key, Domain.RING_WRAP, self.cluster_id)
                    for custodian in self.statement.custodians
                ],
                sealed=seal_once(derive_key(data_key, Domain.RING, salt=salt), encode(self._secrets), self.cluster_id),
            )
        )

    def __repr__(self) -> str:
        return "Ring(redacted)"


def found_cluster(
    platform: Platform, role: Role, owner_key: bytes, witnesses: Sequence[str], cosignatures: int
) -> Ring:
    """Genesis. Raises `Misuse` on a platform without automatic custodian: there, custodians must be named; and for
    witnesses that are none, or so few cosignatures that two histories could both get as many."""
    _verify_witnesses(role, witnesses, cosignatures)
    custodian_seed = platform.development_custodian()
    if custodian_seed is None:
        raise Misuse(Number.UNSUPPORTED, "genesis with named custodians is not available in this version")
    cluster_key, handle_key = SigningKey.generate(), platform.random(32)
    genesis = Genesis(
        version=1,
        role=role,
        cluster_key=cluster_key.public,
        owner_key=owner_key,
        custodians=[Custodian(name="automatic (development only)", kem_key=KemKey(custodian_seed).public)],
        threshold=1,
        approvers=[],
        approvals=0,
        log_key=_log_key(handle_key).public,
        witnesses=list(witnesses),
        cosignatures=cosignatures,
        development=True,
    )
    secrets = RingSecrets(
        version=1,
        cluster_scalar=cluster_key.scalar,
        handle_key=handle_key,
        epochs=[Epoch(number=1, key=platform.random(32))],
    )
    return Ring(encode(genesis), secrets)


def _log_key(handle_key: bytes) -> NoteKey:
    """Turns as little as the handle key: RULES 22."""
    return NoteKey(derive_key(handle_key, Domain.LOG_KEY))


def _verify_witnesses(role: Role, witnesses: Sequence[str], cosignatures: int) -> None:
    if role != "vault" and witnesses:
        raise Misuse(Number.UNSUPPORTED, "only a Vault has a log to witness")
    if len(parse_witnesses(witnesses, cosignatures)) > MAX_WITNESSES:
        raise Misuse(Number.MALFORMED, f"a cluster has at most {MAX_WITNESSES} witnesses")


def open_ring(platform: Platform, untrusted_row: bytes, role: Role) -> tuple[Ring, str | None]:
    """The ring, and why it must be sealed anew, if it must.

    Raises `Untrusted` INTEGRITY when neither wrap opens: another machine, another program, or an altered row.
    """
    row: SealedRing | None = None
    try:
        row = decode(untrusted_row, SealedRing, limit=MAX_MESSAGE)
        data_key, rewrap = _unwrap(platform, row)
        secrets = decode(
            open_once(derive_key(data_key, Domain.RING, salt=row.salt), row.sealed, cluster_id(row.genesis)),
            RingSecrets,
            limit=MAX_MESSAGE,
        )
        ring = Ring(row.genesis, secrets)
    except (StrongroomError, ValueError):
        raise Untrusted(Number.INTEGRITY, _why_closed(platform, row, role)) from None
    if ring.statement.role != role:
        raise Untrusted(Number.INTEGRITY, f"the key ring is of the role {ring.statement.role}, not {role}")
    return ring, rewrap


def _unwrap(platform: Platform, row: SealedRing) -> tuple[bytes, str | None]:
    cluster = cluster_id(row.genesis)
    sealing = platform.sealing_key()
    if sealing is not None:
        context = _wrap_context(cluster, row.platform_label)
        try:
            data_key = open_once(_wrap_key(sealing, row.salt), row.platform_wrap, context)
            return data_key, None if row.platform_label == sealing.label else _changed(row, sealing)
        except Untrusted:
            pass  # the program or the machine is another, or the row was altered: the second wrap tells
    seed = platform.development_custodian()
    if seed is None or not row.recovery_wraps:
        raise Untrusted(Number.INTEGRITY)
    data_key = KemKey(seed).open(row.recovery_wraps[0], Domain.RING_WRAP, cluster)
    return data_key, f"opened by the automatic development custodian; {_changed(row, sealing)}"


def _wrap_key(sealing: SealingKey, salt: bytes) -> bytes:
    return derive_key(sealing.key, Domain.RING_WRAP, salt=salt)


def _wrap_context(cluster: bytes, label: str) -> bytes:
    """Associated data: a host that changes the label finds the wrap closed."""
    return cluster + label.encode()


def _changed(row: SealedRing, sealing: SealingKey | None) -> str:
    if sealing is not None and row.platform_label == sealing.label:
        return f"it was sealed for {sealing.label}, as this is: on another machine, or somebody altered it"
    here = "this platform seals nothing" if sealing is None else f"this is {sealing.label}"
    # repr: the label is the database's word, and this text reaches terminals.
    return f"it was sealed for {(row.platform_label or 'custodians only')!r}; {here}"


def _why_closed(platform: Platform, row: SealedRing | None, role: Role) -> str:
    if row is None:
        return "the row of the key ring is none"
    try:
        claimed = decode(row.genesis, Genesis, limit=MAX_MESSAGE).role
    except StrongroomError:
        return "the genesis statement beside the key ring does not parse"
    if claimed != role:
        return f"the key ring is of the role {claimed}, not {role}"
    return f"the key ring does not open on this machine with this program: {_changed(row, platform.sealing_key())}"
