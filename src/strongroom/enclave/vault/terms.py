"""Terms of a record: what the Vault holds to, whatever the rules say.

They are looked at after the rules said OK, so that only whom the rules permit learns of them (RULES 19). They bind who
has not yet collected, nobody else, and never who stored the record.
"""

from __future__ import annotations

from typing import Final

import msgspec

from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.messages import Terms

_ENDLESS: Final = "a record with a blob expires: say when"


def barrier(terms: Terms, now: int) -> Number | None:
    """None, or the number of what stands in the way of a release or of filling at the unix time `now`."""
    if terms.closed:
        return Number.CLOSED
    if terms.expires_at and now >= terms.expires_at:
        return Number.EXPIRED
    return None


def blob_of(terms: Terms | None) -> bytes | None:
    """Id of the blob that belongs to a record."""
    return None if terms is None else terms.blob


def kept_bytes(terms: Terms | None) -> int:
    """Bytes of the blob that count against quotas: nothing once the host has been told to erase it."""
    return 0 if terms is None or terms.closed else terms.blob_bytes


def _outlasts(terms: Terms | None) -> bool:
    """Whether the host would be told to keep a blob for ever.

    Its bytes leave the quota when the record is closed, which need not be told to the host: without an expiry somebody
    could fill its disk, closing each record as soon as its blob lies there.
    """
    return terms is not None and terms.blob is not None and not terms.expires_at


def verify_terms(terms: Terms | None, index: int) -> None:
    """Terms of a new record, item `index` of its request. Raises `Misuse` MALFORMED."""
    if terms is not None and terms.blob is None and terms.blob_bytes:
        raise Misuse(Number.MALFORMED, "bytes of a blob without its id", index=index)
    if _outlasts(terms):
        raise Misuse(Number.MALFORMED, _ENDLESS, index=index)


def verify_new_terms(old: Terms | None, new: Terms) -> None:
    """Terms that are to replace `old`. Raises `Misuse`.

    What was promised stays: no record gets terms, or another blob, later; who has closed a record has closed it for
    good, since the host has erased its blob; and none is opened for filling again, since its secret could be replaced.
    Nor does a live blob shrink: the host may keep all of it by then, and the quota would count less than there is.
    """
    if old is None:
        raise Misuse(Number.UNSUPPORTED, "the record was stored without terms")
    if new.blob != old.blob or (new.blob is None and new.blob_bytes):
        raise Misuse(Number.MALFORMED, "a record keeps its blob")
    if _outlasts(new):
        raise Misuse(Number.MALFORMED, _ENDLESS)
    if new.blob_bytes < old.blob_bytes and not new.closed:
        raise Misuse(Number.MALFORMED, "a blob does not shrink")
    if old.closed and not new.closed:
        raise Misuse(Number.MALFORMED, "a closed record stays closed")
    if new.fillable and not old.fillable:
        raise Misuse(Number.MALFORMED, "only a new record can be fillable")


def filled(terms: Terms) -> Terms:
    """After the one time that the record could be filled."""
    return msgspec.structs.replace(terms, fillable=False)


def of_tombstone(terms: Terms | None) -> Terms | None:
    """A deleted record is closed: whoever may update it can show that to the host."""
    return None if terms is None else msgspec.structs.replace(terms, closed=True, fillable=False)
