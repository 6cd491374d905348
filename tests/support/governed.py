"""A made log of a cluster that custodians govern: councils, lists of releases and recoveries, as they are signed."""

from __future__ import annotations

from typing import Any

from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Council, Custodian, Watchers, parse_genesis
from strongroom.protocol.governance import (
    Charter,
    Gap,
    Seat,
    SignedGap,
    SignedGenesis,
    SignedSuccession,
    Succession,
    statement_digest,
)
from strongroom.protocol.leaves import LifeEvent, LifeLeaf
from strongroom.protocol.limits import MAX_RECOVERIES
from strongroom.protocol.primitives import Domain, SigningKey, digest
from strongroom.protocol.releases import (
    NAMESPACE,
    Approval,
    ListedRelease,
    Program,
    ReleaseList,
    SignedReleases,
    parse_releases,
)
from tests.support.councils import council
from tests.support.evidence import changed
from tests.support.logs import RING, MadeLog
from tests.support.ssh_keys import SshKey


class People:
    """Custodians of one council, of whom two can agree, and its one approver."""

    def __init__(self) -> None:
        self.keys = [SigningKey.generate() for _ in range(3)]
        self.approver = SshKey()

    @property
    def council(self) -> Council:
        custodians = [Custodian(name=f"c{at}", recipient="", key=key.public) for at, key in enumerate(self.keys)]
        return council(custodians=custodians, threshold=2, approvers=[self.approver.public_key], approvals=1)

    def seats(self, domain: Domain, statement: bytes, *indexes: int) -> list[Seat]:
        return [Seat(index=at, signature=self.keys[at].sign(domain, statement)) for at in indexes]


class GovernedLog(MadeLog):
    """Keeps account, as an honest cluster does, of what its log and its charter say; tests bend either."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = RING
        self.people = People()
        self.cluster.genesis = genesis = encode(
            changed(parse_genesis(self.cluster.genesis), council=self.people.council, development=False)
        )
        accepted = self.people.seats(Domain.ACCEPTANCE, genesis, 0, 1, 2)
        self.charter = Charter(
            genesis=SignedGenesis(statement=genesis, accepted=accepted),
            successions=[],
            gaps=[],
            recoveries=0,
            releases=b"",
            named=[],
        )
        self.facts: dict[str, int] = {"release": 0, "recoveries": 0}

    def commit(self, entries: int = 0, **fields: Any) -> None:
        self.ring = fields.get("ring", self.ring)
        super().commit(entries, **self.facts | {"ring": self.ring} | fields)

    def tell(self, event: LifeEvent, number: int, about: bytes = bytes(32), text: str = "") -> None:
        """A line about the ring, not committed yet."""
        leaf = LifeLeaf(event=event, at=self.at, about=about, number=number, text=text)
        self.leaves.append(encode(leaf))

    def govern(self) -> None:
        """Another council takes office."""
        before, self.people = self.people, People()
        last = self.charter.successions[-1].statement if self.charter.successions else self.charter.genesis.statement
        serial = len(self.charter.successions) + 1
        statement = encode(
            Succession(
                version=1,
                cluster=self.cluster.id,
                serial=serial,
                previous=statement_digest(last),
                council=self.people.council,
            )
        )
        signed = SignedSuccession(
            statement=statement,
            accepted=self.people.seats(Domain.ACCEPTANCE, statement, 0, 1, 2),
            endorsed=before.seats(Domain.ENDORSEMENT, statement, 0, 2),
        )
        self.charter = changed(self.charter, successions=[*self.charter.successions, signed])
        self.tell("governed", serial, statement_digest(statement))
        self.commit(ring=b"g" * 31 + bytes([serial]))

    def release(self) -> None:
        """Another list of releases."""
        self.facts["release"] += 1
        serial = self.facts["release"]
        program = Program(kind="sgx", measurement=bytes([serial]) * 32)
        statement = encode(
            ReleaseList(
                version=1,
                cluster=self.cluster.id,
                role="vault",
                serial=serial,
                min_svn=0,
                releases=[ListedRelease(version=f"1.{serial}", svn=1, programs=[program])],
            )
        )
        self._approved(statement)

    def approve(self) -> None:
        """The same list, by the approver of the council in office."""
        self._approved(parse_releases(self.charter.releases)[0].statement)

    def _approved(self, statement: bytes) -> None:
        key, serial = self.people.approver, self.facts["release"]
        approval = Approval(key=key.public_key, signature=key.sign(statement, namespace=NAMESPACE))
        self.charter = changed(self.charter, releases=encode(SignedReleases(statement=statement, approvals=[approval])))
        self.tell("released", serial, digest(Domain.RELEASES, statement), f"1.{serial}")
        self.commit(ring=digest(Domain.RELEASES, self.charter.releases))

    def recover(self, lost: int = 0, watchers: Watchers | None = None) -> None:
        """By custodians, on a database that lacks so many leaves which witnesses know; these watch the log then."""
        known = self.checkpoint()
        about = bytes(32)
        self.facts["recoveries"] += 1
        if lost:
            del self.leaves[-lost:]
            found = self.checkpoint()
            self.generation += 1
            gap = Gap(
                version=1,
                cluster=self.cluster.id,
                recoveries=self.facts["recoveries"],
                generation=self.generation,
                attempt=bytes(32),
                found_size=found.size,
                found_root=found.root,
                known_size=known.size,
                known_root=known.root,
                at=self.at,
                watchers=watchers,
            )
            statement = encode(gap)
            signed = SignedGap(
                statement=statement,
                council=len(self.charter.successions),
                signed=self.people.seats(Domain.GAP, statement, 0, 1),
            )
            self.charter = changed(self.charter, gaps=[*self.charter.gaps, signed][-MAX_RECOVERIES:])
            about = digest(Domain.GAP, statement)
        self.charter = changed(self.charter, recoveries=self.facts["recoveries"])
        self.tell("recovered", self.facts["recoveries"], about)
        self.start(ring=b"r" * 31 + bytes([self.facts["recoveries"]]))
