"""The states of an enclave in words, and what comes next: for the page of operators and for `strongroom status`."""

from __future__ import annotations

from typing import Final, NamedTuple

from strongroom.protocol.status import GapStatus, SeatStatus, Status

NO_ANSWER: Final = "no-answer"
"""The host's own word where the enclave does not say how it stands."""
_CUSTODIANS: Final = "docs/howto/custodians.md"
_INSTANCES: Final = "docs/howto/instances.md"
_RECOVERY: Final = "docs/howto/recovery.md"


class Words(NamedTuple):
    """A state, for people."""

    title: str
    meaning: str
    then: str
    """What comes next, and who has to do it; empty: nothing is waited for."""


def state_words(state: str, status: Status | None) -> Words:
    """Of a state of `protocol.status`, or `NO_ANSWER`; `status` is all that the enclave said, if it did."""
    match state:
        case "serving":
            return Words("Serving", "It answers its clients.", "")
        case "starting":
            return Words("Starting", "It opens its key ring and reads its index.", "This takes seconds; look again.")
        case "standing-by":
            return Words(
                "Standing by",
                "It has the key ring, and another instance writes the database.",
                f"It takes over when that one is gone ({_INSTANCES}).",
            )
        case "joining":
            return Words(
                "Joining",
                "It asks a member of the cluster for the key ring.",
                f"The member gives it once this program is released and its delay is over ({_INSTANCES}).",
            )
        case "founding":
            return Words("Founding", "It has no key ring yet, and stores nothing.", _founding(status))
        case "recovering":
            return Words(
                "Recovering", "It can't open the key ring by itself: custodians bring it back.", _recovering(status)
            )
        case "drilling":
            return Words(
                "Drill", "Custodians try out whether their shares open this copy. It never serves.", _recovering(status)
            )
        case "drilled":
            return Words(
                "Drill done",
                "The shares of custodians have opened the key ring of this copy, and nothing serves it.",
                "Have it noted: `strongroom verify-backup FILE --drilled`. Then end this, and destroy the copy.",
            )
        case "gap":
            return Words("Recovered, and waits", _what_to_sign(status), _gap(status))
        case _:
            return Words(
                "No answer",
                "The enclave does not say how it stands.",
                "See the log of this process; if it does not answer in a minute, start it again.",
            )


def missing(seats: list[SeatStatus]) -> list[str]:
    """Names of those who have not done what is waited for."""
    return [seat.name for seat in seats if not seat.done]


def waited_for(pending: list[SeatStatus], endorsements: int) -> list[str]:
    """Whose signatures a council that is being set up lacks, its own custodians' and those in office."""
    return missing(pending) + ([f"{endorsements} of those in office to endorse it"] if endorsements else [])


def given_up(gap: GapStatus) -> str:
    """What others know of the log and the database lacks, in words."""
    if not gap.known_size:
        return f"what came after line {gap.found_size:,} of the log, and nobody knows how much"
    return f"{max(0, gap.known_size - gap.found_size):,} lines of the log"


def _what_to_sign(status: Status | None) -> str:
    gap = None if status is None else status.gap
    if gap is not None and gap.known_size == gap.found_size:
        return "The key ring is open, and nothing is known to be lost; custodians sign how its log goes on."
    return "The key ring is open, and the database is older than what witnesses have seen, or nobody can say."


def _founding(status: Status | None) -> str:
    seats = [] if status is None else status.pending or status.custodians
    if not seats:
        return f"Its owner names the custodians: `strongroom cluster init` ({_CUSTODIANS})."
    waited = missing(seats)
    if not waited:
        return "Every custodian has accepted; it is about to serve."
    return f"Custodians accept: {len(seats) - len(waited)} of {len(seats)} have. Waiting for {_names(waited)}."


def _recovering(status: Status | None) -> str:
    if status is None or not status.custodians:
        return f"Custodians submit their shares: `strongroom recover` ({_RECOVERY})."
    done = len(status.custodians) - len(missing(status.custodians))
    left = max(0, status.threshold - done)
    if not left:
        return "Enough shares are here; the key ring is being opened."
    return f"{done} of the {status.threshold} shares that it takes are here; {left} more: `strongroom recover seal`."


def _gap(status: Status | None) -> str:
    if status is None or status.gap is None:
        return f"Custodians sign what is given up: `strongroom recover approve-gap` ({_RECOVERY})."
    done = len(status.custodians) - len(missing(status.custodians))
    return (
        f"Custodians give up {given_up(status.gap)}: {done} of the {status.threshold} that it takes have signed. "
        "First look for a newer backup. To go on: `strongroom recover approve-gap`."
    )


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
