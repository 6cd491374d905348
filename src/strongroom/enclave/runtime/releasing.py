"""The list of releases: taken from its approvers, and asked when a program wants the ring (RULES 7, 8).

A list becomes true in one change of the ring: with it go the wraps of programs that it leaves out, and where it leaves
one out that it named before, a new epoch begins, so that what is written from then on is closed also to a copy of the
ring as that program had it.

How long a list has stood is told by witnesses alone, from the first cosignature over a log that holds the list: what
they said before, and what this enclave takes for now, a host can have made as old as it likes. That time is kept with
the ring, in a change of its own.

A council that takes office may do so because approvers of the one before are not to be trusted any more. Until its own
have approved a list, the ring is given to no program but the one that has it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace as changed

from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.epochs import Epochs
from strongroom.enclave.runtime.keeping import Keeping
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.runtime.service import Service
from strongroom.protocol.cluster_messages import Publish, Published
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable, Untrusted
from strongroom.protocol.evidence import PlatformKind
from strongroom.protocol.governance import Charter, Named
from strongroom.protocol.leaves import LifeLeaf
from strongroom.protocol.primitives import Domain, digest
from strongroom.protocol.releases import (
    Program,
    ReleaseList,
    is_released,
    parse_releases,
    programs_of,
    verify_follows,
    verify_releases,
)

_TEXT: Final = 256
"""Characters of a leaf's text."""


class _Grounds(NamedTuple):
    """What it hangs on which programs are admitted."""

    charter: Charter
    began: int
    witnessed: int


class Releasing:
    """Of one cluster."""

    def __init__(self, clock: Clock, ring: Ring, keeping: Keeping, epochs: Epochs, service: Service) -> None:
        self._clock = clock
        self._ring = ring
        self._keeping = keeping
        self._epochs = epochs
        self._service = service
        self._noticed = b""
        """The list in the ring, as it was looked at last."""
        self._size = 0
        """Leaves of a log that holds it."""
        self._seen_at = 0
        """When witnesses had seen such a log, at the latest; 0: not yet."""
        self._judged: tuple[Charter, ReleaseList | None] | None = None
        self._admitted: tuple[_Grounds, frozenset[Program]] | None = None

    async def publish(self, request: Publish) -> Published:
        """Go by this list from now on. The one that the cluster goes by already is the same success.

        Raises `Misuse` RELEASE_INVALID, NOT_NOW while too many epochs are in use, `Unavailable` WITNESSES_UNAVAILABLE
        while the list is in force and no witness has seen that, and as `Keeping.change`.
        """
        async with self._keeping.one_change:
            releases = self._verified(request.releases)
            if not self._is_current(request.releases):
                await self._take(request.releases, releases)
            elif self._in_office() is None:
                # The same list, by those who approve now: what is kept has signatures of those before them.
                await self._change(request.releases, releases)
            await self._have_timed()
        return Published(serial=releases.serial)

    def verify_admitted(self, kind: PlatformKind, measurement: bytes) -> None:
        """This program may have the ring now. Raises `Refused` NOT_RELEASED."""
        if Program(kind, measurement) not in self.admitted():
            raise Refused(Number.NOT_RELEASED)

    def admitted(self) -> frozenset[Program]:
        """The programs that may have the ring now."""
        charter = self._ring.state.charter
        grounds = _Grounds(charter, self._began(), self._service.facts().witnessed)
        # Anybody may ask how the cluster stands, as often as he likes.
        if self._admitted is None or self._admitted[0] != grounds:
            self._admitted = (grounds, self._admitted_by(charter))
        return self._admitted[1]

    def _admitted_by(self, charter: Charter) -> frozenset[Program]:
        releases, own = self._in_office(), Program(*self._ring.own)
        if releases is None:
            return frozenset({own})
        named = {Program(one.kind, one.measurement): one for one in charter.named}
        # Another instance of this very program learns nothing that this one does not know.
        return frozenset(one for one in programs_of(releases) if one == own or self._has_stood(named.get(one)))

    def _in_office(self) -> ReleaseList | None:
        """The list that the cluster goes by, if those have approved it who approve now."""
        charter = self._ring.state.charter
        if self._judged is None or self._judged[0] is not charter:
            try:
                self._judged = (charter, self._verified(charter.releases))
            except Misuse:
                self._judged = (charter, None)
        return self._judged[1]

    # --- a new list -------------------------------------------------------------------------------------------------

    def _verified(self, untrusted_releases: bytes) -> ReleaseList:
        council = self._ring.council
        if not council.approvers:
            raise Misuse(
                Number.RELEASE_INVALID,
                "this cluster has no approvers, and only the program that runs now gets the ring; custodians can set "
                "up a council that has some",
            )
        try:
            return verify_releases(
                untrusted_releases,
                cluster=self._ring.cluster_id,
                role=self._ring.statement.role,
                approvers=council.approvers,
                approvals=council.approvals,
            )
        except Untrusted as error:
            # Whoever publishes is told that the list is wrong, not that the cluster lied.
            raise Misuse(Number.RELEASE_INVALID, error.reason) from None

    def _is_current(self, untrusted_releases: bytes) -> bool:
        """The same list, whoever else may have signed it."""
        if not self._ring.releases:
            return False
        current = parse_releases(self._ring.releases)[0]
        return parse_releases(untrusted_releases)[0].statement == current.statement

    async def _take(self, signed: bytes, releases: ReleaseList) -> None:
        verify_follows(releases, self._ring.releases_list)
        if is_released(releases, *self._ring.own) is None:
            raise Misuse(
                Number.RELEASE_INVALID, "this instance runs a program that the list leaves out: hand over first"
            )
        await self._change(signed, releases)

    async def _change(self, signed: bytes, releases: ReleaseList) -> None:
        began = self._began()
        named = {
            Program(one.kind, one.measurement): changed(one, witnessed=one.witnessed or began)
            for one in self._ring.state.charter.named
        }
        now = self._clock.now()
        charter = changed(
            self._ring.state.charter,
            releases=signed,
            named=[
                named.get(one) or Named(kind=one.kind, measurement=one.measurement, at=now, witnessed=0)
                for one in programs_of(releases)
            ],
        )
        kept = [one for one in self._ring.state.instances if is_released(releases, one.kind, one.measurement)]
        retired = set(programs_of(self._ring.releases_list)) - set(programs_of(releases))
        leaf = self._leaf(signed, releases)
        if retired or len(kept) < len(self._ring.state.instances):
            # Something had the ring, or could have asked for it, that gets nothing any more.
            await self._epochs.begin([leaf], charter=charter, instances=kept)
        else:
            await self._keeping.change([leaf], charter=charter)
        # It returns when witnesses have seen it: the newest log that they have is one that holds the list.
        self._noticed, self._size, self._seen_at = self._ring.releases, 0, 0

    def _leaf(self, signed: bytes, releases: ReleaseList) -> LifeLeaf:
        versions = ", ".join(one.version for one in releases.releases if one.svn >= releases.min_svn)
        about = digest(Domain.RELEASES, parse_releases(signed)[0].statement)
        return self._keeping.life("released", about, releases.serial, versions[:_TEXT])

    # --- how long a list has stood ------------------------------------------------------------------------------------

    async def _have_timed(self) -> None:
        """Keep when witnesses had seen the programs that no list named before this one.

        Nobody waits here, and nothing is written before they have: anybody can publish again the list that is in force.
        """
        charter = self._ring.state.charter
        if not self._ring.watching.witnesses or not self._ring.council.release_delay:
            return
        if all(one.witnessed for one in charter.named):
            return
        began = self._began()
        if not began:
            raise Unavailable(Number.WITNESSES_UNAVAILABLE)
        named = [changed(one, witnessed=one.witnessed or began) for one in charter.named]
        await self._keeping.change([], charter=changed(charter, named=named))

    def _began(self) -> int:
        """Unix time by which witnesses had seen the list that is in force; 0: they have not, or there are none."""
        facts = self._service.facts()
        if self._noticed != self._ring.releases:
            # It is durable, by whatever change that is known of only now: the log as it is holds it.
            self._noticed, self._size, self._seen_at = self._ring.releases, facts.log_size, 0
        if not self._seen_at and facts.seen_size >= self._size:
            self._seen_at = facts.seen_at
        return self._seen_at

    def _has_stood(self, named: Named | None) -> bool:
        """For as long as the council wants it, by witnessed time; without witnesses nobody can say."""
        delay = self._ring.council.release_delay
        if not delay:
            return True
        if named is None:
            return False
        since, witnessed = named.witnessed or self._began(), self._service.facts().witnessed
        return bool(since and witnessed) and witnessed - since >= delay
