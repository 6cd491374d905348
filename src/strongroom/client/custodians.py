"""What a custodian does: open a share, see what is to be signed and whether the share is of it, and sign.

A signature by a share says that its custodian decrypted it (RULES 6). So before anything is signed it is compared: the
statement with what is known of the cluster, the share with the seat that the statement gives its custodian. What the
statement says remains for a person to read.

Attack stopped here: an owner nominates himself under a custodian's name, opens that share, and encrypts it once more to
the custodian, who would then vouch for a share that two people have. The statement says to whom the enclave encrypted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from strongroom.client.errors import BadInput
from strongroom.client.share.age import Identity, Opener, parse_identity
from strongroom.client.share.errors import Damaged
from strongroom.protocol.cluster_messages import Accept, CharterIs, Convene, Endorse, Nominee
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Council, Genesis, Role, cluster_id, parse_genesis
from strongroom.protocol.governance import (
    MAX_CHARTER,
    Charter,
    parse_succession,
    statement_digest,
    verify_charter,
)
from strongroom.protocol.primitives import Domain
from strongroom.protocol.share_sheet import HEAD, Sheet, write_sheet
from strongroom.protocol.shares import Share, parse_share

MAX_SHARE_FILE: Final = 64 * 1024
MAX_IDENTITY_FILE: Final = 64 * 1024

_SHEET: Final = re.compile(
    rf"{HEAD}\n\nCluster    ([0-9a-f]{{64}})\nRole       (vault|authenticator)\nCouncil    ([0-9]{{1,4}})\n"
    r"Custodian  ([^\n]{1,64})\nShare      ([0-9]{1,2}) of ([0-9]{1,2}), any ([0-9]{1,2})\n\n"
    r"Words\n([ 0-9a-z\n]+?)\n\n",
)


@dataclass(frozen=True, slots=True)
class OpenShare:
    """A share that its custodian has opened."""

    share: Share
    sheet: Sheet | None = None
    """What the page says beside the words; None where only words were typed in."""
    recipient: str | None = None
    """Of the age identity that opened it; None where it came open."""


@dataclass(frozen=True, slots=True)
class PendingCouncil:
    """A council that is being set up, with what it follows verified. What it says is its owner's word."""

    statement: bytes
    council: Council
    serial: int
    """0: the first one, of the cluster that is founded with it."""
    cluster: bytes
    genesis: Genesis
    before: Council | None
    """Which has to endorse it."""


def parse_sheet(text: str) -> Sheet:
    """The page, exactly as an enclave writes it. Raises `Misuse` SHARE_WRONG, and quotes nothing.

    Whoever knows a recipient can make a file that its custodian opens; what stands on the page reaches his terminal,
    and must not move the cursor there, hide what follows, or turn the direction of writing around.
    """
    found = _SHEET.match(text)
    if found is None or not found[4].isprintable():
        raise Misuse(Number.SHARE_WRONG, f"this is not a page that begins with {HEAD}, or it was altered")
    cluster, role, council, name, place, count, threshold, rows = found.groups()
    sheet = Sheet(
        cluster=bytes.fromhex(cluster),
        role=cast(Role, role),
        council=int(council),
        custodian=name,
        index=int(place) - 1,
        count=int(count),
        threshold=int(threshold),
        words=" ".join(rows.split()[1::2]),
    )
    if write_sheet(sheet) != text:
        raise Misuse(Number.SHARE_WRONG, "the page was altered")
    return sheet


def open_share(data: bytes, identities: Sequence[Identity]) -> OpenShare:
    """The share in an age file, by the first of `identities` that opens it; or in a page that was decrypted before, as
    with an identity on a token that only `age` itself can use. Raises `Misuse`, `BadInput` and `Damaged`."""
    recipient = None
    if not data.startswith(HEAD.encode()):
        data, recipient = _decrypted(data, identities)
    try:
        sheet = parse_sheet(data.decode())
    except UnicodeDecodeError:
        raise Misuse(Number.SHARE_WRONG, "it does not hold text") from None
    return OpenShare(parse_share(sheet.words), sheet, recipient)


def typed_share(text: str) -> OpenShare:
    """A share whose words somebody typed in, with or without their numbers. Raises `Misuse` SHARE_WRONG."""
    return OpenShare(parse_share(" ".join(word for word in text.split() if not word.strip(".").isdigit())))


def parse_identities(text: str) -> list[Identity]:
    """Those of a file as `age-keygen` writes it. Raises `BadInput`, whose words never quote the text."""
    lines = [line.strip() for line in text.splitlines()]
    identities = [parse_identity(line) for line in lines if line and not line.startswith("#")]
    if not identities:
        raise BadInput("there is no age identity in this file", "age-keygen makes such files")
    return identities


def parse_charter(untrusted_charter: bytes) -> tuple[Charter, Genesis, list[Council]]:
    """A charter with everything in it verified: the genesis statement, and all councils, oldest first. Whether it is
    of the cluster that one means is for the caller. Raises `Untrusted`."""
    try:
        charter = decode(untrusted_charter, Charter, limit=MAX_CHARTER)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"the charter does not parse ({error.error})") from None
    return (charter, *verify_charter(charter))


def verify_convened(request: Convene, pending: PendingCouncil) -> None:
    """The statement that custodians are to sign says what the owner asked for. Raises `Untrusted` INTEGRITY."""
    council, genesis = pending.council, pending.genesis
    said = ([Nominee(one.name, one.recipient) for one in council.custodians], council.threshold, council.approvers)
    asked = (request.custodians, request.threshold, request.approvers)
    numbers = (council.approvals, council.release_delay) == (request.approvals, request.release_delay)
    witnesses = pending.serial or (genesis.witnesses, genesis.cosignatures) == (request.witnesses, request.cosignatures)
    if said != asked or not numbers or not witnesses:
        raise Untrusted(Number.INTEGRITY, "the statement says something else than what was asked for")


def verify_pending(untrusted: CharterIs, cluster: bytes | None = None) -> PendingCouncil:
    """The council that is being set up, following on those before it. `cluster` is the id of the one that is meant,
    None for one that is being founded. Raises `Misuse` NOT_NOW when there is none, `Untrusted`."""
    if not untrusted.pending:
        raise Misuse(Number.NOT_NOW, "no council is being set up, or it has taken office")
    if cluster is None:
        genesis = parse_genesis(untrusted.pending)
        if genesis.development:
            raise Untrusted(Number.INTEGRITY, "a development cluster has no custodians")
        identity = cluster_id(untrusted.pending)
        return PendingCouncil(untrusted.pending, genesis.council, 0, identity, genesis, None)
    charter, genesis, councils = parse_charter(untrusted.charter)
    statement = charter.successions[-1].statement if charter.successions else charter.genesis.statement
    succession = parse_succession(untrusted.pending)
    named = (cluster_id(charter.genesis.statement), succession.cluster, succession.serial, succession.previous)
    if named != (cluster, cluster, len(councils), statement_digest(statement)):
        raise Untrusted(Number.INTEGRITY, "the council that is being set up is of another cluster, or follows another")
    return PendingCouncil(
        untrusted.pending, succession.council, succession.serial, cluster, genesis, before=councils[-1]
    )


def acceptance(pending: PendingCouncil, opened: OpenShare, recipient: str | None = None) -> Accept:
    """The signature of a custodian of the new council. `recipient` is the custodian's own, where the share came open.

    Raises `Misuse` when the share is not of that council, `Untrusted` INTEGRITY when the enclave encrypted it to
    somebody else.
    """
    index = verify_seat(opened, pending.council, pending.cluster, pending.serial, in_office=pending.serial - 1)
    if pending.council.custodians[index].recipient != (opened.recipient or recipient):
        raise Untrusted(Number.INTEGRITY, "the enclave encrypted this share to another recipient, who has read it")
    signature = opened.share.key.sign(Domain.ACCEPTANCE, pending.statement)
    return Accept(statement=statement_digest(pending.statement), index=index, signature=signature)


def endorsement(pending: PendingCouncil, opened: OpenShare) -> Endorse:
    """The signature of a custodian of the council in office. Raises `Misuse` when the share is not of that."""
    if pending.before is None:
        raise Misuse(Number.NOT_NOW, "the first council of a cluster follows none")
    index = verify_seat(opened, pending.before, pending.cluster, pending.serial - 1, in_office=pending.serial - 1)
    signature = opened.share.key.sign(Domain.ENDORSEMENT, pending.statement)
    return Endorse(statement=statement_digest(pending.statement), index=index, signature=signature)


def verify_seat(opened: OpenShare, council: Council, cluster: bytes, serial: int, *, in_office: int) -> int:
    """Whose share of this council it is, by index; `in_office` is the serial of the one in office.

    Raises `Misuse` SHARE_FOREIGN or SHARE_STALE when it is of another cluster or council, and SHARE_WRONG when its page
    says what the council does not.
    """
    sheet, key = opened.sheet, opened.share.key.public
    verify_cluster(opened, cluster)
    if sheet is not None and sheet.council != serial:
        raise another_council(sheet.council, wanted=serial, in_office=in_office)
    index = next((at for at, one in enumerate(council.custodians) if one.key == key), None)
    if index is None:
        gone = "was given up before it" if serial > in_office else "never"
        reason = f"it is of another council {serial}, which {gone} took office, or these are words of another share"
        raise Misuse(Number.SHARE_STALE, reason)
    if sheet is not None:
        said = (sheet.index, sheet.custodian, sheet.count, sheet.threshold)
        if said != (index, council.custodians[index].name, len(council.custodians), council.threshold):
            raise Misuse(Number.SHARE_WRONG, "its page says something else than the council's statement")
    return index


def verify_cluster(opened: OpenShare, cluster: bytes) -> None:
    """The share's page, where there is one, says that it is of this cluster. Raises `Misuse` SHARE_FOREIGN."""
    sheet = opened.sheet
    if sheet is not None and sheet.cluster != cluster:
        raise Misuse(Number.SHARE_FOREIGN, f"it is of {sheet.cluster.hex()}, and the enclave of {cluster.hex()}")


def another_council(own: int, *, wanted: int, in_office: int) -> Misuse:
    """The error for a share whose page names council `own`: which share is wanted, and what this one is good for.

    Mistake stopped here: somebody is told that his share is old, destroys it, and it was the one that counts.
    """
    if own > in_office:
        reason = (
            f"it is of council {own}, newer and not in office here: use your share of council {wanted}, and keep both"
        )
    elif own == in_office:
        reason = (
            f"it is of council {own}, which is in office: keep it, it is the one to endorse with; council {wanted} is "
            "accepted with the share that was made for it"
        )
    else:
        reason = f"it is of council {own}, which was replaced: use your share of council {wanted}"
    return Misuse(Number.SHARE_STALE, reason)


def _decrypted(data: bytes, identities: Sequence[Identity]) -> tuple[bytes, str]:
    if not identities:
        raise BadInput("this share is encrypted", "name the age identity that opens it with --identity FILE")
    refused: Damaged | None = None
    for identity in identities:
        opener = Opener(identity)
        try:
            return opener.open(data) + opener.finish(), identity.recipient.text
        except Damaged as error:
            refused = error
    raise BadInput(
        f"the share does not open: {refused.reason if refused else ''}",
        "is it the file that was made for you, and the identity whose recipient you gave?",
    )
