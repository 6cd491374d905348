"""The key ring of a cluster while it is open: what it says, and how it changes.

How it is sealed, and who can open it, is in `sealed_ring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as changed

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.sealed_ring import (
    Epoch,
    Instance,
    InstanceKey,
    RingSecrets,
    RingState,
    open_by_instance,
    open_by_recovery_key,
    parse_sealed,
    seal_ring,
    sealed_for,
    why_closed,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import (
    Council,
    PlatformKind,
    Role,
    Stage,
    Watchers,
    cluster_id,
    parse_genesis,
    watchers_by,
)
from strongroom.protocol.governance import MAX_CHARTER, Charter, log_generation, named_watchers, verify_charter
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.limits import MAX_EPOCHS, MAX_INSTANCES
from strongroom.protocol.link import Put, Row
from strongroom.protocol.primitives import Domain, KemKey, NoteKey, SigningKey, derive_key, digest
from strongroom.protocol.releases import ReleaseList, parse_releases


@dataclass(frozen=True, slots=True)
class RingFacts:
    """What each commit says of the ring (RULES 23)."""

    recoveries: int
    generation: int
    release: int


def facts_of(charter: Charter) -> RingFacts:
    serial = parse_releases(charter.releases)[1].serial if charter.releases else 0
    return RingFacts(charter.recoveries, log_generation(charter), serial)


@dataclass(frozen=True, slots=True)
class RingDraft:
    """A changed ring, sealed: becomes true when its row is durable."""

    state: RingState
    row: bytes
    replaces: int
    """Version of the row that it replaces; 0: there is none."""

    @property
    def put(self) -> Put:
        return Put(RING_KEY, self.replaces, self.replaces + 1, self.row)

    @property
    def facts(self) -> RingFacts:
        return facts_of(self.state.charter)


@dataclass(frozen=True, slots=True)
class SealedState:
    """The ring at a start, for whoever keeps account of what the database holds."""

    found: bytes | None
    """Its row as it was in the database; None at genesis."""
    draft: RingDraft | None
    """What is to be written for it."""
    life: Sequence[LifeLeaf] = ()
    """What the log is to say of that."""
    surveyed: tuple[int, bytes] | None = None
    """Size and root of the log in the database that was looked at, after a recovery: no other one is taken up."""


class Ring:
    """An open ring, as it is in the database. What changes it is a draft first."""

    stage: Final[Stage] = "member"
    attempt: Final = None

    def __init__(self, state: RingState, key: InstanceKey, version: int) -> None:
        """`version` is that of its row; 0: it was never written. Raises `Untrusted` when secrets and charter are not
        of one cluster, and for a charter that nobody signed."""
        self.genesis: Final = state.charter.genesis.statement
        self.statement: Final = parse_genesis(self.genesis)
        self.cluster_id: Final = cluster_id(self.genesis)
        self.cluster_key: Final = SigningKey.from_scalar(state.secrets.cluster_scalar)
        self.handle_key: Final = state.secrets.handle_key
        self.log_key: Final = log_key(state.secrets.handle_key)
        self._key: Final = key
        self._own: tuple[PlatformKind, bytes] | None = None
        self._version = version
        self._take(state)
        if self.cluster_key.public != self.statement.cluster_key:
            raise Untrusted(Number.INTEGRITY, "the ring's cluster key is not the genesis statement's")
        if self.log_key.public != self.statement.log_key:
            raise Untrusted(Number.INTEGRITY, "the ring's log key is not the genesis statement's")

    def _take(self, state: RingState) -> None:
        self.councils: list[Council] = verify_charter(state.charter)[1]
        if digest(Domain.RING_TOKEN, state.secrets.ring_token) != self.council.ring_token:
            raise Untrusted(Number.INTEGRITY, "the ring is not of the council in office")
        self.state = state
        self.epochs = {epoch.number: epoch.key for epoch in state.secrets.epochs}
        self.epoch = state.secrets.epochs[-1].number
        self.facts = facts_of(state.charter)
        self.watchers = named_watchers(state.charter)
        self.releases_list: ReleaseList | None = None
        if state.charter.releases:
            self.releases_list = parse_releases(state.charter.releases)[1]

    # --- what evidence says of it (`identity.Credentials`) ----------------------------------------------------------

    @property
    def receipt_key(self) -> bytes:
        return self.cluster_key.public

    @property
    def recoveries(self) -> int:
        return self.facts.recoveries

    @property
    def generation(self) -> int:
        return self.facts.generation

    @property
    def watching(self) -> Watchers:
        """Who watches the log."""
        return watchers_by(self.statement, self.watchers)

    @property
    def council_serial(self) -> int:
        """Of the council in office; 0 is the one of the genesis statement."""
        return len(self.councils) - 1

    @property
    def release(self) -> int:
        return self.facts.release

    @property
    def releases(self) -> bytes:
        return self.state.charter.releases

    def sign(self, claims: bytes) -> bytes:
        return self.cluster_key.sign(Domain.CLAIMS_SIGNATURE, claims)

    # --- changing it ------------------------------------------------------------------------------------------------

    @property
    def council(self) -> Council:
        """The one in office."""
        return self.councils[-1]

    @property
    def version(self) -> int:
        """Of its row; 0 before it is written."""
        return self._version

    def know_self(self, kind: PlatformKind, measurement: bytes) -> None:
        """Which program this is, as its own evidence shows."""
        self._own = (kind, measurement)

    @property
    def own(self) -> tuple[PlatformKind, bytes]:
        """Platform and measurement of this program. Raises `Misuse` NOT_NOW before they are known."""
        if self._own is None:
            raise Misuse(Number.NOT_NOW, "this enclave has shown no evidence yet")
        return self._own

    @property
    def own_key(self) -> bytes:
        """Public half of the key by which this program on this machine opens the ring."""
        return self._key.kem.public

    def draft(
        self,
        platform: Platform,
        *,
        secrets: RingSecrets | None = None,
        charter: Charter | None = None,
        instances: Sequence[Instance] | None = None,
        now: int = 0,
    ) -> RingDraft:
        """The ring with these changes, sealed anew. This instance stays among those that can open it."""
        state = replace(
            self.state,
            secrets=secrets or self.state.secrets,
            charter=charter or self.state.charter,
            instances=self._with_own(self.state.instances if instances is None else tuple(instances), now),
            salt=platform.random(32),
        )
        councils = verify_charter(state.charter)[1]
        if len(encode(state.charter)) > MAX_CHARTER:
            # Sealed all the same, it would be a row that nobody ever opens again.
            raise Misuse(Number.NOT_NOW, "the cluster's charter holds as much as it can: it has had too many changes")
        row = seal_ring(platform, state, councils[-1].recovery_key)
        return RingDraft(state, row, self._version)

    def _with_own(self, instances: tuple[Instance, ...], now: int) -> tuple[Instance, ...]:
        if not self._key.label:
            return instances
        kind, measurement = self.own
        others = [one for one in instances if one.key != self.own_key]
        known = next((one for one in instances if one.key == self.own_key), None)
        own = Instance(self._key.label, kind, measurement, self.own_key, known.since if known else now)
        # The oldest gives way: joining again and again must not lock a machine out for ever.
        return (*sorted(others, key=lambda one: one.since)[-(MAX_INSTANCES - 1) :], own)

    def adopt(self, draft: RingDraft) -> None:
        """The draft's row is durable: the ring is that now."""
        self._take(draft.state)
        self._version = draft.replaces + 1

    def __repr__(self) -> str:
        return "Ring(redacted)"


def open_ring(platform: Platform, untrusted_row: Row, role: Role, key: InstanceKey) -> tuple[Ring, str | None]:
    """The ring, and why it must be sealed anew, if it must.

    Raises `Untrusted` INTEGRITY when neither this program on this machine nor an automatic custodian opens it.
    """
    row = None
    try:
        row = parse_sealed(untrusted_row.sealed)
        state, rewrap = open_by_instance(row, key), None
        if state is None:
            seed = platform.development_custodian()
            if seed is None:
                raise Untrusted(Number.INTEGRITY)
            state = open_by_recovery_key(row, KemKey(seed))
            rewrap = f"opened by the automatic development custodian; {sealed_for(platform, row)}"
        elif all(one.label != key.label for one in state.instances if one.key == key.kem.public):
            rewrap = sealed_for(platform, row)  # under another label, by the same key
        ring = Ring(state, key, untrusted_row.version)
    except (StrongroomError, ValueError):
        raise Untrusted(Number.INTEGRITY, why_closed(platform, row, role)) from None
    if ring.statement.role != role:
        raise Untrusted(Number.INTEGRITY, f"the key ring is of the role {ring.statement.role}, not {role}")
    return ring, rewrap


def log_key(handle_key: bytes) -> NoteKey:
    """Turns as little as the handle key: RULES 22."""
    return NoteKey(derive_key(handle_key, Domain.LOG_KEY))


def new_epoch(platform: Platform, secrets: RingSecrets) -> RingSecrets:
    """With one more, random and independent. Raises `Misuse` NOT_NOW while too many old ones are in use."""
    if len(secrets.epochs) >= MAX_EPOCHS:
        raise Misuse(Number.NOT_NOW, "rows of too many old epochs are not sealed anew yet")
    number = secrets.epochs[-1].number + 1
    return changed(secrets, epochs=[*secrets.epochs, Epoch(number, platform.random(32))])
