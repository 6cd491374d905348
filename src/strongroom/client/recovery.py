"""What a custodian does when a cluster is recovered: look at the enclave that asks, seal a share to its attempt, and
sign what is given up (RULES 25).

The enclave is appraised under the custodian's own policy before anything else. A share is then sealed to the key in
its evidence, which lives in that process alone: so sealing needs no network, and whoever carries the sealed share can
do nothing with it. Attacks stopped here, on the custodian's side:

1. A share for another program, another machine's owner, or another cluster: refused by the policy, and by the page of
   the share that says which cluster and council it is of.
2. A gap that is signed for something else than was shown: it must be of this attempt, and the charter's next one.
3. Another attempt than was shown, which the host puts in its place while the custodian thinks: the share is sealed to
   the claims that were shown, and opens nowhere else.
4. A gap that looks small because the host has kept the newest word of the witnesses back: its age is told, and the
   custodian can ask witnesses himself (`verify_with_witness`).
5. Witnesses of the host's own, put in the place of the cluster's while everybody looks at the shares: who goes and who
   comes stands in the gap, is shown by name and key, and is asked about by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import httpx

from strongroom.attestation.candidates import appraise_candidate
from strongroom.attestation.policy import RolePolicy
from strongroom.attestation.witnessing import parse_witnesses
from strongroom.client.cluster import ClusterSession
from strongroom.client.custodians import OpenShare, another_council, parse_charter, verify_seat
from strongroom.client.errors import Unreachable
from strongroom.client.explanation import shown_utc
from strongroom.client.standings import Standings, earlier_generation, unlisted
from strongroom.client.urls import is_loopback, verify_url
from strongroom.protocol.cluster_messages import (
    ApproveGap,
    AskCharter,
    AskStatus,
    CharterIs,
    GapApproved,
    ShareSecret,
    ShareTaken,
    StatusIs,
    SubmitShare,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.evidence import Attempt, Claims, Council, Genesis, Role, Watchers, cluster_id
from strongroom.protocol.governance import (
    Charter,
    Gap,
    attempt_digest,
    log_generation,
    named_watchers,
    parse_gap,
    watchers_of,
)
from strongroom.protocol.leaves import log_origin, log_verifier
from strongroom.protocol.limits import MAX_RECOVERIES
from strongroom.protocol.notes import COSIGNATURE, cosignatures, parse_verifier, verify_checkpoint
from strongroom.protocol.primitives import Domain, digest, kem_seal
from strongroom.protocol.releases import parse_releases
from strongroom.protocol.status import Status, decode_status

PURPOSE: Final = b"recover"
"""In what a share is sealed with, beside cluster id and attempt."""
ASK_SECONDS: Final = 10.0
"""For a witness that a custodian asks."""
AHEAD_SECONDS: Final = 3600
"""By which the clock of an enclave that recovers may be ahead of the custodian's."""
STALE_SECONDS: Final = 600
"""Age of the witnesses' word, when a gap was made out, from which a custodian should ask them himself."""


@dataclass(frozen=True, slots=True)
class Look:
    """An enclave that recovers, appraised, and what it says."""

    claims: Claims
    attempt: Attempt
    status: Status
    charter: Charter
    genesis: Genesis
    councils: list[Council]
    at: int
    """Unix time, by the custodian's clock."""

    @property
    def council(self) -> Council:
        """Whose shares are wanted."""
        return self.councils[-1]

    @property
    def gap(self) -> Gap | None:
        """What is to be signed, compared with all that is known of it. Raises `Untrusted` INTEGRITY."""
        shown = self.status.gap
        if shown is None or not shown.statement:
            return None
        gap = parse_gap(bytes.fromhex(shown.statement))
        named = (gap.cluster, gap.attempt, gap.recoveries, gap.found_size, gap.known_size)
        meant = (
            self.claims.cluster_id,
            attempt_digest(self.attempt.key),
            self.charter.recoveries + 1,
            shown.found_size,
            shown.known_size,
        )
        if named != meant or gap.generation <= log_generation(self.charter):
            raise Untrusted(Number.INTEGRITY, "the gap is of another attempt, or not what the status says")
        _verify_number(gap, log_generation(self.charter), self.at)
        _verify_watchers(gap, self.charter)
        return gap

    @property
    def watching(self) -> Watchers:
        """Who has watched the log until now."""
        return watchers_of(self.charter)

    @property
    def new_watchers(self) -> Watchers | None:
        """Who are to watch it from here on, if those are others. Raises as `gap`."""
        gap = self.gap
        if gap is None or gap.watchers is None or gap.watchers.are(self.watching):
            return None
        return gap.watchers


def _verify_number(gap: Gap, last: int, now: int) -> None:
    """Generations never fall: of one far beyond the time, which no later one can follow, the cluster would be lost."""
    if gap.at > now + AHEAD_SECONDS:
        raise Untrusted(Number.CLOCK, f"the gap is of a time to come: its host has set the enclave's clock to {gap.at}")
    # One more than the last that witnesses know of, of as many as there can be since the database; or by the time.
    if gap.generation != gap.at and gap.generation > last + MAX_RECOVERIES + 1:
        raise Untrusted(
            Number.INTEGRITY,
            f"the gap numbers the log's next generation {gap.generation}, which is neither the time nor near the last "
            f"one, {last}",
        )


def _verify_watchers(gap: Gap, charter: Charter) -> None:
    """Whoever signs this gap takes nobody out of office unsaid, and brings nobody in whom clients could not count."""
    if gap.watchers is None:
        if named_watchers(charter) is not None:
            raise Untrusted(Number.INTEGRITY, "the gap leaves out the witnesses that custodians have named before")
        return
    try:
        parse_witnesses(gap.watchers.witnesses, gap.watchers.cosignatures)
    except Misuse as error:
        raise Untrusted(Number.INTEGRITY, f"the gap names witnesses whom nobody could count: {error.reason}") from None


def attempt_of(claims: Claims) -> Attempt:
    """What shares are sealed to. Raises `Misuse` NOT_NOW for an enclave that does not recover."""
    if claims.attempt is None:
        raise Misuse(Number.NOT_NOW, f"this enclave is {claims.stage}, it recovers nothing")
    return claims.attempt


def appraise_recovering(
    evidence: bytes, *, role: Role, policy: RolePolicy, releases: bytes = b"", standings: Standings, now: int
) -> Claims:
    """Claims of an enclave that recovers a cluster of `policy`, from evidence in a file. Raises `Untrusted`.

    Whoever has a machine without a network for this has seen no list on it. So where approvers decide, one is named.
    """
    if policy.releases is not None and not releases:
        raise unlisted("here nobody knows which they have published")
    claims = appraise_candidate(
        evidence, role=role, stage="recovering", policy=policy, releases=releases, now=now
    ).claims
    standings.verify_attempt(claims, parse_releases(releases)[1].serial if releases else 0)
    return claims


def seal_share(claims: Claims, opened: OpenShare) -> bytes:
    """The share, for the attempt in appraised claims and for nothing else: the `sealed` of a `SubmitShare`.

    Raises `Misuse` SHARE_FOREIGN or SHARE_STALE when its page names another cluster or council.
    """
    attempt, sheet = attempt_of(claims), opened.sheet
    if sheet is not None and sheet.cluster != claims.cluster_id:
        raise Misuse(Number.SHARE_FOREIGN, f"{sheet.cluster.hex()}, not {claims.cluster_id.hex()}")
    if sheet is not None and sheet.council != attempt.council:
        raise another_council(sheet.council, wanted=attempt.council, in_office=attempt.council)
    secret = encode(ShareSecret(words=opened.share.words))
    return kem_seal(attempt.key, secret, Domain.SHARE, claims.cluster_id, PURPOSE, encode(attempt))


async def look(session: ClusterSession) -> Look:
    """How a recovery stands, in a session with the enclave. Raises `Untrusted` for a charter that does not hold or is
    not what the evidence says."""
    attempt = attempt_of(session.claims)
    status = decode_status((await session.ask(AskStatus(), StatusIs)).status)
    charter, genesis, councils = parse_charter((await session.ask(AskCharter(), CharterIs)).charter)
    shown = (cluster_id(charter.genesis.statement), len(councils) - 1, charter.recoveries)
    if shown != (session.claims.cluster_id, attempt.council, attempt.recoveries):
        raise Untrusted(Number.INTEGRITY, "the charter is not the one that the evidence is about")
    await _verify_newest(session, charter)
    return Look(session.claims, attempt, status, charter, genesis, councils, session.now)


async def _verify_newest(session: ClusterSession, charter: Charter) -> None:
    """What would be recovered is of no earlier generation than was seen, and the program is accepted by no earlier list
    than the cluster's own. Raises `Untrusted` ROLLED_BACK, POLICY."""
    known, generation = await session.known(), log_generation(charter)
    if session.claims.role == "vault" and known is not None and generation < known.generation:
        raise earlier_generation(generation, known.generation)
    if session.listed is not None and charter.releases:
        serial = parse_releases(charter.releases)[1].serial
        if session.listed < serial:
            raise unlisted(f"its cluster goes by list {serial}")


async def submit(session: ClusterSession, sealed: bytes) -> ShareTaken:
    """Hand over a sealed share. Raises what the enclave answers: `Misuse` SHARE_…, ATTEMPT_OVER, NOT_NOW."""
    return await session.ask(SubmitShare(sealed=sealed), ShareTaken)


def approval(found: Look, opened: OpenShare) -> ApproveGap:
    """A custodian's signature of the gap that was shown. Raises `Misuse` NOT_NOW where there is none, SHARE_… when the
    share is not of the council."""
    if found.attempt.drill:
        raise Misuse(Number.NOT_NOW, "this is a drill: nothing is given up, and nothing is signed")
    if found.gap is None or found.status.gap is None:
        raise Misuse(Number.NOT_NOW, "there is no gap to sign")
    serial = found.attempt.council
    index = verify_seat(opened, found.council, found.claims.cluster_id, serial, in_office=serial)
    statement = bytes.fromhex(found.status.gap.statement)
    signature = opened.share.key.sign(Domain.GAP, statement)
    return ApproveGap(gap=digest(Domain.GAP, statement), index=index, signature=signature)


async def approve(session: ClusterSession, signed: ApproveGap) -> GapApproved:
    """Hand over a signature of a gap."""
    return await session.ask(signed, GapApproved)


# --- asking a witness oneself ---------------------------------------------------------------------------------------


def witness_paths(found: Look) -> list[tuple[int, str]]:
    """Generations of the log that a witness may know, and where it shows what it cosigned last of each.

    Not all numbers up to that which the gap names: it may be one by the time, which nobody knows yet.
    """
    gap, first = found.gap, found.status.generation
    last = first if gap is None else min(gap.generation, first + MAX_RECOVERIES)
    return [
        (generation, f"{hashlib.sha256(_origin(found, generation).encode()).hexdigest()}/checkpoint")
        for generation in range(first, last + 1)
    ]


def verify_with_witness(found: Look, generation: int, untrusted_note: bytes) -> int:
    """What a witness, asked by the custodian, has cosigned last, in the newest generation that it knows: nothing beyond
    the gap. Leaves of it. Of generations before that custodians have given up what they gave up.

    Raises `Untrusted` ROLLED_BACK when it knows more than the gap says, INTEGRITY for what it has not cosigned.
    """
    gap = found.gap
    if gap is None:
        raise Misuse(Number.NOT_NOW, "there is no gap to compare with")
    log = log_verifier(found.claims.cluster_id, found.genesis.log_key, generation)
    signed = verify_checkpoint(untrusted_note, log)
    if not cosignatures(signed, [parse_verifier(text, COSIGNATURE) for text in found.watching.witnesses]):
        raise Untrusted(Number.INTEGRITY, "no witness of this cluster has cosigned that")
    size, root = signed.checkpoint.size, signed.checkpoint.root
    told = {(gap.found_size, gap.found_root), (gap.known_size, gap.known_root)}
    if (size, root) in told:
        return size
    if generation > found.status.generation:
        # It began from a database of its own: however short it is, what was found is not known to go on from it.
        within = generation < gap.generation and size < gap.known_size
    else:
        within = size < max(gap.known_size, gap.found_size)
    if not within:
        raise Untrusted(
            Number.ROLLED_BACK,
            f"this witness has seen {size:,} lines in generation {generation} of the log, and the gap speaks of other "
            f"ones: the database has {gap.found_size:,}, of generation {found.status.generation}, and "
            f"{gap.known_size:,} are said to have been seen",
        )
    return size


async def ask_witness(url: str, found: Look) -> int:
    """How far the witness at `url` has seen this cluster's log, in lines; not more than the gap says.

    Raises `Untrusted` as `verify_with_witness`, `Unreachable`, `Misuse` NOT_NOW for one that has cosigned nothing and
    in a cluster without witnesses.
    """
    base = verify_url(url)
    if not found.watching.witnesses:
        raise Misuse(Number.NOT_NOW, "this cluster has no witnesses: nobody has seen how far its log went")
    newest: tuple[int, bytes] | None = None
    async with httpx.AsyncClient(
        trust_env=not is_loopback(base), follow_redirects=False, timeout=httpx.Timeout(ASK_SECONDS)
    ) as client:
        for generation, path in witness_paths(found):
            try:
                answer = await client.get(f"{base}/{path}")
            except httpx.HTTPError as error:
                raise _no_word(base, f"does not answer ({type(error).__name__})") from None
            if answer.status_code == 200:
                newest = generation, answer.content
            elif answer.status_code != 404:
                raise _no_word(base, f"answers with HTTP status {answer.status_code}")
            elif generation > found.status.generation:
                break  # each follows the one before, as far as they are known
    if newest is None:
        raise Misuse(Number.NOT_NOW, f"the witness at {base} has cosigned nothing of this cluster's log")
    return verify_with_witness(found, *newest)


def _no_word(base: str, what: str) -> Unreachable:
    return Unreachable(f"the witness at {base} {what}", "ask another one of the cluster's", broken=False, sent=False)


def _origin(found: Look, generation: int) -> str:
    return log_origin(found.claims.cluster_id, generation=generation)


# --- words ----------------------------------------------------------------------------------------------------------


def explain_gap(gap: Gap, known_at: int) -> list[str]:
    """For people who are to sign it."""
    lost = gap.known_size - gap.found_size
    if not gap.known_size:
        return [
            f"the database ends at line {gap.found_size:,} of the log; nobody who watches it has said how "
            "far it went, so whether there was more is not known",
            "what was stored, changed, deleted or revoked after that is gone: who lost a right by it has it again",
            f"the log goes on as its generation {gap.generation}, after recovery {gap.recoveries}; clients who have "
            "seen more are told how much",
        ]
    if lost > 0:
        lines = [
            f"the database ends at line {gap.found_size:,} of the log; witnesses have seen {gap.known_size:,}: "
            f"{lost:,} lines would be given up",
            "with them goes what was stored, changed, deleted or revoked there: who lost a right by them has it again",
        ]
    elif gap.found_root == gap.known_root:
        lines = [f"all {gap.found_size:,} lines that witnesses have seen are in the database: nothing is given up"]
    else:
        lines = [
            f"the database has {gap.found_size:,} lines of the log and witnesses have seen {gap.known_size:,}, and "
            "these are not the same ones: what witnesses have seen would be given up",
            "it was restored and written to, or two instances ran, or its host gave a wrong proof",
        ]
    lines.append(f"the log goes on as its generation {gap.generation}, after recovery {gap.recoveries}")
    if not known_at:
        lines.append("too few witnesses say that they know no more: it may be more that is lost. Ask them yourself")
    elif gap.at - known_at > STALE_SECONDS:
        lines.append(
            f"the witnesses' word is of {shown_utc(known_at)}, and was heard at {shown_utc(gap.at)}: if the cluster "
            "served after that, more is lost than this says. Ask them yourself"
        )
    else:
        lines.append(f"at {shown_utc(known_at)} witnesses said that they know no later line")
    return lines


def explain_watchers(before: Watchers, after: Watchers) -> list[str]:
    """For people who are to sign that others watch the log."""
    gone = [f"GONE   {key}" for key in before.witnesses if key not in after.witnesses]
    new = [f"NEW    {key}" for key in after.witnesses if key not in before.witnesses]
    stay = [f"stays  {key}" for key in after.witnesses if key in before.witnesses]
    until = f"until now {before.cosignatures} of {len(before.witnesses)}" if before.witnesses else "until now nobody"
    return [
        *gone,
        *new,
        *stay,
        f"it takes {after.cosignatures} of {len(after.witnesses)} to see the log; {until}",
        "compare the new names and keys with the people who run those witnesses, not with who started this recovery: "
        "who has enough of them can show clients an older state",
        "every client has to pin anew, and refuses this Vault until then",
    ]


def more_wanted(number: int, what: str = "") -> str:
    """How many still, of what (in the singular)."""
    named = f" {what}{'' if number == 1 else 's'}" if what else ""
    return f"{number} more{named} {'is' if number == 1 else 'are'} wanted"


def explain_state(status: Status) -> str:
    """What comes next, in one sentence."""
    done = sum(seat.done for seat in status.custodians)
    missing = status.threshold - done
    match status.state:
        case "recovering" | "drilling" if missing > 0:
            return f"{done} of {status.threshold} shares were submitted; {more_wanted(missing)}"
        case "drilling":
            return (
                f"{done} shares were submitted, and the ring is being opened; if that lasts, one of them was altered: "
                "another custodian's is wanted"
            )
        case "drilled":
            return "the drill is done: these shares open the ring of this copy, and nothing serves it"
        case "recovering":
            return (
                f"{done} shares were submitted and do not make the key, although each is its custodian's: somebody has "
                "altered his; another custodian's is wanted"
            )
        case "gap":
            return f"the ring is open; {done} of {status.threshold} custodians have signed what is given up"
        case "starting" if status.witnesses:
            return (
                "the ring is open; it waits for its witnesses. If that lasts they do not answer, or do not know this "
                "log yet, or know a longer log than they were asked about: its operator reads which"
            )
        case "starting":
            return "the ring is open; it will serve in a moment"
        case "serving":
            return "it serves"
        case _:
            return f"it is {status.state}"
