"""How a cluster stood when this user last saw it: how often it was recovered, and which list of releases it went by.

Both only rise. So what a host can do with an old machine of a cluster, and what stops it here:

1. Start a machine from before a recovery, with its old ring and database: fewer recoveries than were seen.
2. Start one that goes by an older list of releases, in which a program stands that was retired since.

A recovery from a backup may bring an older list back, and then its custodians have done that: a number of recoveries
that rose takes any list along, and the user is told. Custodians are people one knows; ask them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import Claims


class Standing(NamedTuple):
    """What evidence says of a cluster; compared field by field in this order."""

    recoveries: int
    generation: int
    """Of the log."""
    release: int
    """Serial of the list of releases."""


class StandingStore(Protocol):
    """Where a client keeps one standing of each cluster, by its id. Calls may come from any thread."""

    def standing(self, cluster: bytes) -> Standing | None:
        """None: this cluster was never seen."""
        ...

    def raise_standing(self, cluster: bytes, standing: Standing) -> None:
        """Keep the higher one of this and what is kept."""
        ...


class Standings:
    """What one client holds evidence against. `notice` is told, in words, that a cluster was recovered."""

    def __init__(self, kept: StandingStore, notice: Callable[[str], None]) -> None:
        self._kept = kept
        self._notice = notice

    def known(self, cluster: bytes) -> Standing | None:
        return self._kept.standing(cluster)

    def verify(self, claims: Claims) -> None:
        """This enclave is not from before what was seen of its cluster. Raises `Untrusted` ROLLED_BACK or POLICY."""
        known, shown = self._kept.standing(claims.cluster_id), standing_of(claims)
        if known is None or shown >= known:
            return
        if shown[:2] == known[:2]:
            raise Untrusted(
                Number.POLICY,
                f"it goes by list {shown.release} of releases, and list {known.release} was seen before: "
                "what has been retired since may be in it",
            )
        raise Untrusted(
            Number.ROLLED_BACK,
            f"this is an enclave from before a recovery of its cluster (recoveries seen: {known.recoveries}, "
            f"now: {shown.recoveries})",
        )

    def keep(self, claims: Claims) -> None:
        """Remember it, once the session stands; and say so if the cluster was recovered since."""
        known, shown = self._kept.standing(claims.cluster_id), standing_of(claims)
        if known == shown:
            return
        self._kept.raise_standing(claims.cluster_id, shown)
        if known is not None and shown.recoveries > known.recoveries:
            self._notice(explain_recovery(claims, known, shown))


def standing_of(claims: Claims) -> Standing:
    return Standing(claims.recoveries, claims.generation, claims.release)


def explain_recovery(claims: Claims, known: Standing, shown: Standing) -> str:
    """For the user."""
    given_up = ", and they gave up the newest part of its log" if shown.generation > known.generation else ""
    what = "Vault" if claims.role == "vault" else "Authenticator"
    return (
        f"this {what} was recovered by its custodians since you last used it (recovery {shown.recoveries}){given_up}; "
        "if you did not hear of that, ask them"
    )
