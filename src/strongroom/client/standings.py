"""How a cluster stood when this user last saw it: how often it was recovered, by which council, with which releases.

All of that only rises. So what a host can do with an old machine of a cluster, and what stops it here:

1. Start a machine from before a recovery, with its old ring and database: fewer recoveries than were seen, or an
   earlier generation of the log.
2. Start one that goes by an older list of releases, in which a program stands that was retired since.
3. With custodians who were replaced since, have an older copy recovered: only those of before have a say in it. The
   council in office, and who signed for each new generation, must be none before the one that was seen.
4. Have custodians hand their shares to an enclave with such a copy: what it is about to recover is compared as well.

A recovery from a backup may bring an older list back, and then its custodians have signed that: a generation that rose
takes any list along, and the user is told. Custodians are people one knows; ask them. A number of recoveries alone
takes nothing along: nobody signs that, and whoever has an old ring says what he likes. An Authenticator has no log,
thus no generation, and nobody signs what its recovery brings back: there the number must do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from strongroom.attestation.policy import ReleaseAuthority
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import Claims

WHAT_TO_DO: Final = (
    "ask its custodians; if they did mean that, forget what was kept of it, as docs/howto/recovery.md says"
)


class Standing(NamedTuple):
    """What evidence says of a cluster."""

    recoveries: int
    generation: int
    """Of the log; an Authenticator has none, and its recoveries stand here."""
    council: int
    """Serial of the one in office."""
    release: int
    """Serial of the list of releases."""


class StandingStore(Protocol):
    """Where a client keeps one standing of each cluster, by its id. Calls may come from any thread."""

    def standing(self, cluster: bytes) -> Standing | None:
        """None: this cluster was never seen."""
        ...

    def raise_standing(self, cluster: bytes, standing: Standing) -> None:
        """Keep what `raised` makes of this and what is kept."""
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
        if known is None:
            return
        _verify_recoveries(known, shown.recoveries)
        if shown.generation == known.generation and shown.council < known.council:
            raise Untrusted(
                Number.ROLLED_BACK,
                "this is an enclave from before other custodians came into office (council seen: "
                f"{known.council}, now: {shown.council})",
            )
        verify_council(known, shown.council)
        if shown.generation < known.generation:
            raise earlier_generation(shown.generation, known.generation)
        if shown.generation == known.generation:
            _verify_release(known, shown.release)

    def verify_attempt(self, claims: Claims, release: int) -> None:
        """What this enclave would recover is not from before what was seen of the cluster; nor is the list of releases
        that it is accepted by, of serial `release` (0: none). Raises as `verify`."""
        known, attempt = self._kept.standing(claims.cluster_id), claims.attempt
        if known is None or attempt is None:
            return
        _verify_recoveries(known, attempt.recoveries)
        verify_council(known, attempt.council)
        if release:
            _verify_release(known, release)

    def verify_unlisted(self, cluster: bytes, authority: ReleaseAuthority) -> None:
        """An enclave without a ring shows no list of releases. So where these approvers have published one, whoever has
        no list in hand takes it for nothing, whatever program his policy names beside: that may be retired. Raises
        `Untrusted` POLICY."""
        known = self._kept.standing(cluster)
        serial = max(authority.min_serial, 0 if known is None else known.release)
        if serial:
            raise unlisted(f"your programs know of list {serial}")

    def keep(self, claims: Claims) -> None:
        """Remember it, once the session stands; and say so if the cluster was recovered since."""
        known, shown = self._kept.standing(claims.cluster_id), standing_of(claims)
        if known == shown:
            return
        self._kept.raise_standing(claims.cluster_id, shown)
        if known is not None and shown[:2] > known[:2]:
            self._notice(explain_recovery(claims, known, shown))


def standing_of(claims: Claims) -> Standing:
    generation = claims.generation if claims.role == "vault" else claims.recoveries
    return Standing(claims.recoveries, generation, claims.council, claims.release)


def raised(one: Standing | None, other: Standing) -> Standing:
    """The highest of each part; of the list of releases, that of the later generation, which may bring an older one
    back. Not simply the later one of both: two programs may have seen two copies of a cluster at once."""
    if one is None:
        return other
    later = max(one, other, key=lambda standing: (standing.generation, standing.release))
    return Standing(
        max(one.recoveries, other.recoveries),
        max(one.generation, other.generation),
        max(one.council, other.council),
        later.release,
    )


def verify_council(known: Standing, council: int) -> None:
    """Whoever acts for the cluster is of no council before the one that was seen. Raises `Untrusted` ROLLED_BACK."""
    if council < known.council:
        raise Untrusted(
            Number.ROLLED_BACK,
            "custodians who were replaced have recovered an older copy of this cluster, or are about to (council seen: "
            f"{known.council}, now: {council}); {WHAT_TO_DO}",
        )


def unlisted(why: str) -> Untrusted:
    """For an enclave that a policy with approvers would accept by its measurement alone."""
    return Untrusted(
        Number.POLICY,
        f"your policy goes by a list of releases, and {why}: this program may be retired there; name the newest list "
        "with --releases",
    )


def earlier_generation(shown: int, known: int) -> Untrusted:
    """Of the log. A later one is known by its own checkpoint, or by what a session without a log has kept."""
    return Untrusted(
        Number.ROLLED_BACK,
        f"its log is of generation {shown}, and generation {known} of its cluster's was seen before; {WHAT_TO_DO}",
    )


def _verify_recoveries(known: Standing, recoveries: int) -> None:
    if recoveries < known.recoveries:
        raise Untrusted(
            Number.ROLLED_BACK,
            f"this is an enclave from before a recovery of its cluster (recoveries seen: {known.recoveries}, "
            f"now: {recoveries}); {WHAT_TO_DO}",
        )


def _verify_release(known: Standing, release: int) -> None:
    if release < known.release:
        raise Untrusted(
            Number.POLICY,
            f"it goes by list {release} of releases, and list {known.release} was seen before: "
            "what has been retired since may be in it",
        )


def explain_recovery(claims: Claims, known: Standing, shown: Standing) -> str:
    """For the user."""
    what, goes_on = "Authenticator", ""
    if claims.role == "vault":
        what = "Vault"
        goes_on = ", and they signed where its log goes on" if shown.generation > known.generation else ""
    return (
        f"this {what} was recovered by its custodians since you last used it (recovery {shown.recoveries}){goes_on}; "
        "if you did not hear of that, ask them"
    )
