"""Messages about a cluster itself, to an enclave of either role (`spec/cluster.md`, `spec/messages.md`). Field order is
wire order.

To an enclave without a ring only these can be said, and `prove`. Whoever may say what is told by what is signed or by
the session's binding key, never by who came first.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes32, Bytes64, Count, ShortText, SshKeyBytes
from strongroom.protocol.governance import MAX_CHARTER
from strongroom.protocol.invitations import Invitation
from strongroom.protocol.limits import (
    MAX_CUSTODIANS,
    MAX_GENESIS,
    MAX_MESSAGE,
    MAX_RELEASE_APPROVERS,
    MAX_RELEASES,
    MAX_STATUS,
    MAX_WITNESSES,
)
from strongroom.protocol.messages import Error, Prove, Proved, Tagged

ShareFile = Annotated[bytes, Meta(max_length=8 * 1024)]
"""A custodian's share as an age file (`enclave/runtime/shares.py`)."""

# --- anybody --------------------------------------------------------------------------------------------------------


class AskStatus(Tagged, tag="ask-status"):
    """How do you stand? Answered in every state."""


class StatusIs(Tagged, tag="status-is"):
    status: Annotated[bytes, Meta(max_length=MAX_STATUS)]
    """JSON of `protocol.status.Status`."""


class AskCharter(Tagged, tag="ask-charter"):
    """Who governs this cluster, and what have they signed?"""


class CharterIs(Tagged, tag="charter-is"):
    charter: Annotated[bytes, Meta(max_length=MAX_CHARTER)]
    """Encoded `Charter`."""
    pending: Annotated[bytes, Meta(max_length=MAX_GENESIS)]
    """Statement of a council that is being set up, encoded `Genesis` or `Succession`; empty: there is none."""


# --- councils: genesis, and those that follow -----------------------------------------------------------------------


class Nominee(Message):
    """Somebody who is to be a custodian."""

    name: ShortText
    recipient: Annotated[str, Meta(max_length=2600)]
    """age recipient: `age1…` or `age1pq1…`."""


class Convene(Tagged, tag="convene"):
    """Set up a council: the first one of an enclave that is founding, or the next one of a member. Owner only. Replaces
    what was being set up. Nothing is stored before every custodian has accepted."""

    custodians: Annotated[list[Nominee], Meta(max_length=MAX_CUSTODIANS)]
    threshold: Count
    approvers: Annotated[list[SshKeyBytes], Meta(max_length=MAX_RELEASE_APPROVERS)]
    approvals: Count
    release_delay: Count
    witnesses: Annotated[list[ShortText], Meta(max_length=MAX_WITNESSES)]
    """At genesis only: empty for a council that follows."""
    cosignatures: Count


class Convened(Tagged, tag="convened"):
    """What custodians are to accept, and their shares."""

    statement: Annotated[bytes, Meta(max_length=MAX_GENESIS)]
    """Encoded `Genesis` or `Succession`."""
    shares: Annotated[list[ShareFile], Meta(max_length=MAX_CUSTODIANS)]
    """One for each custodian, in order."""


class Accept(Tagged, tag="accept"):
    """A custodian of the council that is being set up has decrypted his share."""

    statement: Bytes32
    """`statement_digest` of what he signed."""
    index: Count
    signature: Bytes64
    """`Domain.ACCEPTANCE`."""


class Endorse(Tagged, tag="endorse"):
    """A custodian of the council before agrees to the one that is being set up."""

    statement: Bytes32
    index: Count
    """In the council before."""
    signature: Bytes64
    """`Domain.ENDORSEMENT`."""


class Seated(Tagged, tag="seated"):
    """One more signature was taken."""

    missing: Count
    """Acceptances and endorsements that are still wanted. 0: the council is in office."""


# --- joining --------------------------------------------------------------------------------------------------------


class TakeRing(Tagged, tag="take-ring"):
    """Of an enclave that joins, in a session that it proved with evidence made for it, purpose `join`: its key in that
    evidence is the one to which the ring is to be sealed."""

    label: ShortText
    """What that key is bound to, in words; empty: to this process only."""
    invitation: Invitation | None
    """Without one nobody gets anything."""


class RingGiven(Tagged, tag="ring-given"):
    """The row of the ring as it is from now on; one of its wraps is the joiner's."""

    ring: Annotated[bytes, Meta(max_length=MAX_MESSAGE)]


# --- releases -------------------------------------------------------------------------------------------------------


class Publish(Tagged, tag="publish"):
    """A list of releases that enough approvers have signed; from anybody."""

    releases: Annotated[bytes, Meta(max_length=MAX_RELEASES)]
    """Encoded `SignedReleases`."""


class Published(Tagged, tag="published"):
    serial: Count


# --- epochs ---------------------------------------------------------------------------------------------------------


class Rotate(Tagged, tag="rotate"):
    """Begin a new epoch. Owner only."""


class Rotated(Tagged, tag="rotated"):
    epoch: Count


# --- recovery -------------------------------------------------------------------------------------------------------


class SubmitShare(Tagged, tag="submit-share"):
    """A custodian's share, sealed to the attempt that the enclave's evidence shows; from anybody."""

    sealed: Annotated[bytes, Meta(max_length=4096)]
    """`kem_seal` of an encoded `ShareSecret` to `Attempt.key`; info: cluster id, `recover`, the encoded `Attempt`."""


class ShareSecret(Message):
    """What is inside."""

    words: Annotated[str, Meta(max_length=1024)]
    """The SLIP-39 mnemonic."""


class ShareTaken(Tagged, tag="share-taken"):
    name: ShortText
    """Of the custodian."""
    missing: Count
    """Shares that are still wanted; 0: the ring is open."""


class ApproveGap(Tagged, tag="approve-gap"):
    """A custodian agrees to give up what lies between the database and the log that witnesses know."""

    gap: Bytes32
    """SHA-256 digest (`Domain.GAP`) of the encoded `Gap` that the status shows."""
    index: Count
    signature: Bytes64
    """`Domain.GAP` over the encoded `Gap`."""


class GapApproved(Tagged, tag="gap-approved"):
    missing: Count


ClusterRequest = (
    AskStatus | AskCharter | Convene | Accept | Endorse | TakeRing | Publish | Rotate | SubmitShare | ApproveGap
)
ClusterReply = (
    StatusIs
    | CharterIs
    | Convened
    | Seated
    | RingGiven
    | Published
    | Rotated
    | ShareTaken
    | GapApproved
    | Proved
    | Error
)
NurseryRequest = Prove | ClusterRequest
"""What an enclave without a ring answers."""
