"""Witnesses as somebody names them: in a genesis statement, by custodians, and in a client's trust policy (RULES 23).

Witnesses keep a host from showing an older state of a Vault, or two states to two people. So a client has to know them
from elsewhere than from this host, which could otherwise found its cluster with witnesses of its own, or with none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strongroom.attestation.policy import TrustPolicy
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Genesis, Watchers, watchers_by
from strongroom.protocol.limits import LEASE
from strongroom.protocol.notes import COSIGNATURE, SignedCheckpoint, Verifier, cosignatures, parse_verifier

MAX_CLOCK_ERROR: Final = 300
"""Seconds by which the clocks of a client and of a witness may differ."""


def parse_witnesses(keys: Sequence[str], cosignatures: int) -> list[Verifier]:
    """The verifier keys of witnesses of whom it takes `cosignatures`. Raises `Misuse` MALFORMED with the reason.

    It takes more than half of them, else two histories could both get as many; each counts once, whatever its name.
    """
    witnesses = [parse_verifier(key, COSIGNATURE) for key in keys]
    if len({witness.public for witness in witnesses}) < len(witnesses):
        raise Misuse(Number.MALFORMED, "the same witness is named twice")
    if not witnesses and not cosignatures:
        return []
    if not len(witnesses) < 2 * cosignatures <= 2 * len(witnesses):
        raise Misuse(
            Number.MALFORMED,
            f"cosignatures = {cosignatures} is not more than half of {len(witnesses)}, and at most all",
        )
    return witnesses


def accept_witnesses(genesis: Genesis, named: Watchers | None, policy: TrustPolicy) -> None:
    """Exactly the policy's witnesses, in whatever order, and as many of them: `named` by custodians at a recovery, as
    the claims say, or else those of the genesis statement. Raises `Untrusted` POLICY.

    Who pinned others before that recovery is not moved to new ones unsaid, which he would take for his own.
    """
    watchers = watchers_by(genesis, named)
    if named is not None and not named.are(_watchers(policy)):
        raise _not_accepted(
            "its custodians have named other witnesses at a recovery than the policy does: "
            f"{named.cosignatures} of {', '.join(map(_name, named.witnesses)) or 'none'}; ask the custodians whether "
            "they did, and then pin anew"
        )
    shown, expected = set(watchers.witnesses), set(policy.witnesses)
    for key in sorted(shown - expected):
        raise _not_accepted(f"its cluster has a witness that the policy does not name: {_name(key)}")
    for key in sorted(expected - shown):
        raise _not_accepted(f"the policy names a witness that its cluster does not have: {_name(key)}")
    if watchers.cosignatures != policy.cosignatures or len(watchers.witnesses) != len(shown):
        raise _not_accepted(
            f"its cluster asks for {watchers.cosignatures} of {len(watchers.witnesses)} witnesses, the policy for "
            f"{policy.cosignatures} of {len(policy.witnesses)}"
        )


def verify_cosigned(signed: SignedCheckpoint, policy: TrustPolicy, now: int) -> None:
    """As many of the policy's witnesses as it asks for have seen this checkpoint lately, by `now` (unix seconds).

    Lately: within a Vault's lease, and what clocks may differ. Otherwise a host stops the time of its enclave, and
    shows for ever a state that witnesses saw once. Raises `Untrusted`: INTEGRITY for too few cosignatures, CLOCK for
    too old ones and for those of the future.
    """
    seen = cosignatures(signed, parse_witnesses(policy.witnesses, policy.cosignatures))
    if len(seen) < policy.cosignatures:
        raise Untrusted(
            Number.INTEGRITY,
            f"{len(seen)} of the {policy.cosignatures} witnesses that it takes have seen this checkpoint",
        )
    lately = [one for one in seen if now - LEASE - MAX_CLOCK_ERROR <= one.time <= now + MAX_CLOCK_ERROR]
    if len(lately) < policy.cosignatures:
        times = ", ".join(str(now - one.time) for one in seen)
        raise Untrusted(
            Number.CLOCK,
            f"by the clock of this machine witnesses saw it {times} seconds ago, which is not lately: if this clock is "
            "right, the host holds back the time, to show an older state for longer",
        )


def _watchers(policy: TrustPolicy) -> Watchers:
    return Watchers(witnesses=policy.witnesses, cosignatures=policy.cosignatures)


def _name(key: str) -> str:
    # repr: what a stranger wrote reaches terminals.
    return repr(key)[:120]


def _not_accepted(reason: str) -> Untrusted:
    return Untrusted(Number.POLICY, reason)
