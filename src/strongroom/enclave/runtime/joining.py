"""An enclave that joins a cluster: a member gives it the ring, sealed to the key of this program on this machine.

Attacks stopped here: a host that has it join another cluster than its operator named, or ask somebody who is no member;
a ring that is not the member's; a database that is another cluster's, or older than the ring that the member had.

What it holds by then is only the ring. A Vault goes on in the database of its cluster, once another instance has let go
of it, and reads the ring there anew: it may have changed. An Authenticator keeps the ring in a database of its own.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

from msgspec.structs import replace as changed

from strongroom.attestation.appraisal import Genuine, verify_genuine
from strongroom.enclave.runtime.genesis import verify_watched_by
from strongroom.enclave.runtime.handshakes import PeerChannel, fetch_evidence, shake_hands
from strongroom.enclave.runtime.identity import Identity, peer_platforms
from strongroom.enclave.runtime.nursery import Hopes, Opened, Place, Waiting
from strongroom.enclave.runtime.ring import Ring, SealedState, facts_of
from strongroom.enclave.runtime.sealed_ring import (
    Instance,
    RingState,
    SealedRing,
    charter_of,
    open_by_instance,
    parse_sealed,
)
from strongroom.protocol.cluster_messages import ClusterReply, RingGiven, TakeRing
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted, from_number
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.invitations import Invitation
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.link import Row
from strongroom.protocol.messages import Error, Proved
from strongroom.protocol.status import InstanceStatus, Status

GIVE_SECONDS: Final = 25.0
"""For the member to give the ring: it writes so into its log, and may wait for witnesses."""


class Joining(Waiting):
    """See `nursery.Waiting`."""

    def __init__(self, place: Place) -> None:
        # The evidence names the cluster; its statement the member knows better than we.
        super().__init__(place, Hopes("joining", place.start.cluster, b"", None, 0))
        untrusted = place.start.invitation
        self._invitation = decode(untrusted, Invitation, limit=MAX_MESSAGE) if untrusted else None
        self._given: RingState | None = None
        self._instances: list[InstanceStatus] = []

    async def begin(self, identity: Identity) -> None:
        """Have the ring given. Raises what the member answered, `Untrusted`, or `Unavailable`."""
        try:
            self._given = await self._take(identity)
        except StrongroomError as error:
            # The number alone crosses the link; the operator needs to know who refused, and why.
            print(f"strongroom: not joined: {error.reason or error.error}", file=sys.stderr, flush=True)
            raise
        if self.place.key.label:
            measurement = identity.report.measurement.hex()
            self._instances = [InstanceStatus(self.place.key.label, measurement, self.place.clock.now(), True)]

    async def opened(self, identity: Identity) -> Opened:
        """What is in the database now decides. Raises `Misuse` CONFLICT for one that is not this cluster's, or that
        has to be joined again, and `Untrusted` ROLLED_BACK for one that is older than the ring that was given."""
        given = self._given
        if given is None:
            self.not_now()
        row = (await self.place.link.read([RING_KEY]))[0]
        return self._opened_for_vault(row, given) if self.place.role == "vault" else self._opened_anew(row, given)

    def status(self) -> Status:
        status = super().status()
        if self._given is None:
            return status
        return changed(
            status, state="standing-by", recoveries=self._given.charter.recoveries, instances=self._instances
        )

    # --- the member -------------------------------------------------------------------------------------------------

    async def _take(self, identity: Identity) -> RingState:
        place = self.place
        link, url = place.link, place.start.peer
        member = self._verify_member(await fetch_evidence(link.post, url))
        try:
            channel, proof = await shake_hands(
                place.platform,
                identity,
                link.post,
                url,
                member,
                purpose="join",
                own=place.key.kem,
                seconds=GIVE_SECONDS,
            )
        except Misuse as error:
            raise Untrusted(Number.INTEGRITY, f"the answer to the hello: {error.error}") from None
        if not isinstance(await _ask(channel, proof), Proved):
            raise Untrusted(Number.INTEGRITY, "the member answered nonsense")
        reply = await _ask(channel, TakeRing(label=place.key.label, invitation=self._invitation))
        if not isinstance(reply, RingGiven):
            raise Untrusted(Number.INTEGRITY, "the member answered nonsense")
        return self._verify_ring(reply.ring)

    def _verify_member(self, untrusted_evidence: bytes) -> Genuine:
        place = self.place
        genuine = verify_genuine(
            untrusted_evidence,
            role=place.role,
            platforms=peer_platforms(place.platform.kind),
            insecure_roots=place.platform.roots,
            now=place.clock.now(),
        )
        if genuine.claims.peer is not None:
            raise Untrusted(Number.EVIDENCE, "this evidence was made for one handshake between enclaves")
        if genuine.claims.cluster_id != place.start.cluster:
            raise Untrusted(Number.POLICY, f"it is of cluster {genuine.claims.cluster_id.hex()}")
        return genuine

    def _verify_ring(self, sealed: bytes) -> RingState:
        place = self.place
        state = open_by_instance(parse_sealed(sealed), place.key)
        if state is None:
            raise Untrusted(Number.INTEGRITY, "the ring that was given is not sealed to this enclave")
        ring = Ring(state, place.key, 0)
        if (ring.cluster_id, ring.statement.role) != (place.start.cluster, place.role):
            raise Untrusted(Number.INTEGRITY, "the ring that was given is another cluster's")
        verify_watched_by(ring.watching, place.start)
        if place.key.label:
            return state
        # A guest, who is in no later row.
        return replace(state, instances=tuple(one for one in state.instances if one.key != ring.own_key))

    # --- the database -----------------------------------------------------------------------------------------------

    def _opened_for_vault(self, row: Row | None, given: RingState) -> Opened:
        if row is None:
            raise _wrong("there is no cluster in this database: a Vault joins one that has")
        sealed = parse_sealed(row.sealed)
        self._verify_same_cluster(sealed)
        state = self._opened_here(sealed) if self.place.key.label else _still(sealed, given)
        _verify_not_older(state, given)
        return Opened(Ring(state, self.place.key, row.version), SealedState(row.sealed, None))

    def _opened_here(self, sealed: SealedRing) -> RingState:
        state = open_by_instance(sealed, self.place.key)
        if state is None:
            raise _wrong("the ring in this database is not sealed to this enclave, or not any more: join again")
        return state

    def _opened_anew(self, row: Row | None, given: RingState) -> Opened:
        if row is None:
            return Opened(Ring(given, self.place.key, 0), SealedState(None, None))
        self._verify_same_cluster(parse_sealed(row.sealed))
        return Opened(Ring(given, self.place.key, row.version), SealedState(row.sealed, None), rewrap=True)

    def _verify_same_cluster(self, sealed: SealedRing) -> None:
        if cluster_id(charter_of(sealed).genesis.statement) != self.place.start.cluster:
            raise _wrong("the ring in this database is another cluster's")


def _still(sealed: SealedRing, given: RingState) -> RingState:
    """The ring in memory, if it is the one in the database, for a platform that has no key to open that by.

    Its row is told by the salt, and by the charter. Which machines can open it stands there; whether somebody altered
    any of this the log's head says, before anything is written.
    """
    if (sealed.salt, sealed.charter) != (given.salt, encode(given.charter)):
        raise _wrong("the ring in this database has changed since it was given: join again")
    instances: tuple[Instance, ...] = tuple(one.instance for one in sealed.instances)
    return replace(given, instances=instances)


def _verify_not_older(found: RingState, given: RingState) -> None:
    """What the member had was durable: a database with less was put back."""
    then, now = facts_of(given.charter), facts_of(found.charter)
    if (
        now.recoveries < then.recoveries
        or now.generation < then.generation
        or now.release < then.release
        or len(found.charter.successions) < len(given.charter.successions)
        or found.secrets.epochs[-1].number < given.secrets.epochs[-1].number
    ):
        raise Untrusted(Number.ROLLED_BACK, "the ring in this database is older than the one that was given")


async def _ask(channel: PeerChannel, request: Message) -> Message:
    """What the member answers. Raises the error that it answered."""
    try:
        reply: Message = decode(await channel.exchange(request), ClusterReply, limit=MAX_MESSAGE)
    except Misuse as error:
        raise Untrusted(Number.INTEGRITY, f"the member's answer: {error.error}") from None
    if isinstance(reply, Error):
        refused = from_number(reply.number)
        raise from_number(reply.number, f"the member answered: {refused.error}")
    return reply


def _wrong(reason: str) -> Misuse:
    print(f"strongroom: {reason}", file=sys.stderr, flush=True)
    return Misuse(Number.CONFLICT, reason)
