"""A log that began anew: what its custodians signed for that, and what it means for who was here before (RULES 25)."""

from __future__ import annotations

from strongroom.attestation.appraisal import Genuine
from strongroom.client.explanation import shown_utc
from strongroom.client.standings import WHAT_TO_DO, Standing, verify_council
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.governance import MAX_CHARTER, Charter, Gap, is_cut, named_watchers, parse_gap, verify_charter
from strongroom.protocol.limits import MAX_RECOVERIES


def verify_new_generation(
    untrusted_charter: bytes, genuine: Genuine, since: int, known: Standing | None = None
) -> list[Gap]:
    """What was given up since the log's generation `since`, signed by custodians of the cluster of this evidence; and
    since the cluster was last seen, by none who had been replaced by then.

    Raises `Untrusted` ROLLED_BACK for a charter that doesn't hold: without it, this is a log that was put back.
    """
    try:
        charter = decode(untrusted_charter, Charter, limit=MAX_CHARTER)
        verify_charter(charter)
    except (Misuse, Untrusted) as error:
        raise _refuse(error.reason or error.error) from None
    if cluster_id(charter.genesis.statement) != genuine.claims.cluster_id:
        raise _refuse("the charter is another cluster's")
    gaps = [(parse_gap(signed.statement), signed.council) for signed in charter.gaps]
    if not gaps or gaps[-1][0].generation != genuine.claims.generation:
        raise _refuse(f"no gap is signed before generation {genuine.claims.generation} of the log")
    if named_watchers(charter) != genuine.claims.watchers:
        raise _refuse("the charter names others to watch the log than its evidence does")
    if is_cut(charter, since):
        raise Untrusted(
            Number.ROLLED_BACK,
            f"its log began anew more than {MAX_RECOVERIES - 1} times since it was last seen here, and what custodians "
            f"gave up first is not kept any more; {WHAT_TO_DO}",
        )
    for gap, council in gaps:
        if known is not None and gap.generation > known.generation:
            verify_council(known, council)
    return [gap for gap, _ in gaps if gap.generation > since]


def explain_loss(gap: Gap, seen: int) -> str:
    """For a user who has seen more of the log than there is now."""
    lost = seen - gap.found_size
    return (
        f"when this Vault was recovered ({shown_utc(gap.at)}), its custodians gave up the newest part of its log: "
        f"{lost:,} lines that you have seen are gone, and with them what was stored, changed or revoked there"
    )


def _refuse(reason: str) -> Untrusted:
    return Untrusted(Number.ROLLED_BACK, f"its log began anew, and its custodians have not signed that: {reason}")
