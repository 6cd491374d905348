"""Setting up a council: who may be in it, its recovery key and shares, and the signatures that it waits for.

The recovery key's seed is drawn here, split, and forgotten when the shares are encrypted: it is kept nowhere. What
leaves the enclave are age files that only custodians open. Founding and a later council do the same (RULES 6, 8).

Attacks stopped here: a council that nobody, or one person, could act for unnoticed; one person under two names; a
name that looks like another line of a page, or moves a cursor; an approval that nobody could give or anybody could.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.status import seats
from strongroom.protocol.age import FILE_KEY, NONCE, Recipient, parse_recipient, seal_age
from strongroom.protocol.cluster_messages import Accept, Convene
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Council, Custodian, Role
from strongroom.protocol.governance import Seat, statement_digest, verify_seats
from strongroom.protocol.limits import MAX_GENESIS
from strongroom.protocol.primitives import KEM_SEED, Domain, KemKey, digest
from strongroom.protocol.share_sheet import Sheet, write_sheet
from strongroom.protocol.shares import split
from strongroom.protocol.sshsig import parse_ssh_key
from strongroom.protocol.status import SeatStatus

MAX_CUSTODIAN_NAME: Final = 64
"""Characters."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*(?: [A-Za-z0-9._@+-]+)*")
"""As the CLI has them, and single blanks in between: more would look like other columns of a table."""
MAX_RELEASE_DELAY: Final = 366 * 24 * 3600


class Drawn:
    """A new council, and what its custodians get."""

    def __init__(self, platform: Platform, request: Convene) -> None:
        """Raises `Misuse` COUNCIL_INVALID."""
        self._platform = platform
        self._recipients: Final = _verified_recipients(request)
        _verify_approvers(request)
        seed = platform.random(KEM_SEED)
        self.ring_token: Final = platform.random(32)
        """To be kept in the ring."""
        self._shares: Final = split(seed, len(request.custodians), request.threshold)
        self.council: Final = Council(
            recovery_key=KemKey(seed).public,
            ring_token=digest(Domain.RING_TOKEN, self.ring_token),
            custodians=[
                Custodian(one.name, one.recipient, share.key.public)
                for one, share in zip(request.custodians, self._shares, strict=True)
            ],
            threshold=request.threshold,
            approvers=request.approvers,
            approvals=request.approvals,
            release_delay=request.release_delay,
        )

    def share_files(self, cluster: bytes, role: Role, serial: int) -> list[bytes]:
        """An age file for each custodian, in order."""
        council = self.council
        return [
            self._seal(
                recipient,
                Sheet(cluster, role, serial, one.name, index, len(self._shares), council.threshold, share.words),
            )
            for index, (recipient, one, share) in enumerate(
                zip(self._recipients, council.custodians, self._shares, strict=True)
            )
        ]

    def _seal(self, recipient: Recipient, sheet: Sheet) -> bytes:
        fresh = self._platform.random(FILE_KEY + NONCE)
        return seal_age(recipient, write_sheet(sheet).encode(), file_key=fresh[:FILE_KEY], nonce=fresh[FILE_KEY:])

    def __repr__(self) -> str:
        return "Drawn(redacted)"


class Forming:
    """A council that is set up and not in office: in memory only, until all have signed."""

    def __init__(self, statement: bytes, council: Council, before: Council | None = None) -> None:
        """`before` is the council that has to agree; None at genesis. Raises `Misuse` COUNCIL_INVALID for a statement
        that is too long."""
        if len(statement) > MAX_GENESIS:
            raise Misuse(Number.COUNCIL_INVALID, "too long: name fewer post-quantum recipients or approvers")
        self.statement: Final = statement
        self.digest: Final = statement_digest(statement)
        self.council: Final = council
        self._before: Final = before
        self._accepted: Final[dict[int, bytes]] = {}
        self._endorsed: Final[dict[int, bytes]] = {}

    def accept(self, request: Accept) -> None:
        """Count a custodian's acceptance; the same one's again changes nothing. Raises `Untrusted` INTEGRITY."""
        _take(self._accepted, self.council, request.index, request.signature, Domain.ACCEPTANCE, self.statement)

    def endorse(self, index: int, signature: bytes) -> None:
        """Count an endorsement by a custodian of the council before. Raises as `accept`."""
        if self._before is None:
            raise Misuse(Number.NOT_NOW, "there is no council before the first one")
        _take(self._endorsed, self._before, index, signature, Domain.ENDORSEMENT, self.statement)

    @property
    def accepted(self) -> list[Seat]:
        return _seats(self._accepted)

    @property
    def endorsed(self) -> list[Seat]:
        return _seats(self._endorsed)

    @property
    def missing(self) -> int:
        """Signatures that are still wanted."""
        return len(self.council.custodians) - len(self._accepted) + self.missing_endorsements

    @property
    def missing_endorsements(self) -> int:
        """Those of the council before, among them."""
        return 0 if self._before is None else max(0, max(1, self._before.threshold) - len(self._endorsed))

    def verify_meant(self, digest: bytes) -> None:
        """Raises `Misuse` NOT_NOW for a signature of another statement, such as one that was replaced."""
        if digest != self.digest:
            raise Misuse(Number.NOT_NOW, "another council is being set up than the one that was signed")

    @property
    def status(self) -> list[SeatStatus]:
        return seats(self.council, list(self._accepted))


def _verified_recipients(request: Convene) -> list[Recipient]:
    for one in request.custodians:
        if not _NAME.fullmatch(one.name) or len(one.name) > MAX_CUSTODIAN_NAME:
            raise _invalid(
                f"a custodian's name has 1 to {MAX_CUSTODIAN_NAME} letters, digits and any of . _ @ + -, with single "
                "blanks in between"
            )
    if len({one.name.casefold() for one in request.custodians}) != len(request.custodians):
        raise _invalid("two custodians have one name")
    recipients = [parse_recipient(one.recipient) for one in request.custodians]
    if len({one.text for one in recipients}) != len(recipients):
        # Whoever has that key would count twice.
        raise _invalid("two custodians have one age recipient")
    return recipients


def _verify_approvers(request: Convene) -> None:
    if len(set(request.approvers)) != len(request.approvers):
        raise _invalid("an approver is named twice")
    for key in request.approvers:
        try:
            parse_ssh_key(key)
        except Misuse as error:
            raise _invalid(error.reason) from None
    fewest = 1 if request.approvers else 0
    if not fewest <= request.approvals <= len(request.approvers):
        raise _invalid(f"{request.approvals} of {len(request.approvers)} approvers can't approve")
    if request.release_delay > (MAX_RELEASE_DELAY if request.approvers else 0):
        raise _invalid("the delay of releases is more than a year, or there is nobody to approve any")


def _take(
    taken: dict[int, bytes], council: Council, index: int, signature: bytes, domain: Domain, statement: bytes
) -> None:
    verify_seats(council, [Seat(index, signature)], 1, domain, statement)
    taken.setdefault(index, signature)


def _seats(taken: Mapping[int, bytes]) -> list[Seat]:
    return [Seat(index, signature) for index, signature in sorted(taken.items())]


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.COUNCIL_INVALID, reason)
