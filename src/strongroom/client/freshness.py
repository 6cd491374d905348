"""Is what a Vault shows the newest state, and the same for everybody? What a client checks (`spec/log.md`, RULES 23).

What a host can do with a genuine Vault and its whole database, and what stops it here:

1. Restore last month's database: its log is shorter than what this user's programs have seen, or does not extend it.
   Asked in every session, first of all, by the checkpoint that is kept.
2. Run two copies, one for each half of the users: each checkpoint must extend the one that was seen before, by a proof.
   What another program of this user has seen meanwhile counts too: before its checkpoint is replaced, that is proven.
3. Show a new client, which has seen nothing, an old state: witnesses must have seen it lately, where there are some.
4. Say that its log began anew after a recovery: the custodians must have signed what was given up, and where; they must
   be none who were replaced; and the log must extend, to the leaf, the one that they signed for.
5. Answer with an old checkpoint later in a session: each reply carries one, none is below the first of the session.

Without witnesses a client that was never here has nothing to compare with, and a host that shows one client an older
state for good, with everything that this client saw in it, is not noticed (RULES 23).

A crash loses at most what was seen in the last second, but nothing of a write that was acknowledged: before that is
told, the checkpoint that covers it is on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from strongroom.attestation.appraisal import Genuine
from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.witnessing import accept_witnesses, verify_cosigned
from strongroom.client.attacks import (
    Attack,
    Finding,
    explain_attack,
    finding_of,
    program_version,
    save_attack,
    verify_evidence,
)
from strongroom.client.checkpoints import Checkpoints, warn
from strongroom.client.errors import Unpinned
from strongroom.client.generations import explain_loss, verify_new_generation
from strongroom.client.standings import Standing, Standings, earlier_generation
from strongroom.client.transport import Unsealed
from strongroom.protocol.cluster_messages import AskCharter, CharterIs
from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Number, StrongroomError, Untrusted, from_number
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.log_messages import Freshen, Freshness, Logged, TrailOf
from strongroom.protocol.messages import Error
from strongroom.protocol.notes import SignedCheckpoint, Verifier, verify_checkpoint
from strongroom.protocol.tlog import verify_consistency
from strongroom.protocol.vault_messages import (
    Approved,
    Asked,
    Deleted,
    NamespaceCreated,
    Stored,
    Updated,
    VaultReply,
)

__all__ = ["SECONDS_UNKEPT", "Watch", "WatchedLog", "explain_attack", "verify_evidence"]

Send = Callable[[Freshen | AskCharter], Awaitable[Message]]

SECONDS_UNKEPT: Final = 1.0
"""For how long the checkpoint of a mere read may be in memory alone."""
CLOSING_SECONDS: Final = 5.0
"""For which closing waits, to keep what another program's checkpoint has come before."""

_TURNS: Final = 16
"""Attempts to keep a checkpoint while others keep theirs."""
_WITHIN_A_SESSION: Final = ("shorter", "forked")
WRITES: Final = (Stored, Updated, Deleted, Asked, Approved, NamespaceCreated)
"""Replies to changes: when they are told, the checkpoint that covers them is on the disk."""


class Watch:
    """What one client remembers of the logs of the Vault at `url`, over all its sessions."""

    def __init__(
        self,
        url: str,
        trust: TrustPolicy,
        checkpoints: Checkpoints,
        now: Callable[[], float],
        notice: Callable[[str], None] = warn,
    ) -> None:
        """`notice` is told, in words, of what the user should know and need not stop for: that the Vault was recovered,
        and what was given up."""
        self.url = url
        self.standings: Final = Standings(checkpoints, notice)
        self.notice = notice
        self.trust = trust
        self.checkpoints = checkpoints
        self.now = now
        self._seen: dict[str, SignedCheckpoint] = {}
        self._saved: dict[str, str] = {}
        self._open: list[WatchedLog] = []

    def accept(self, genuine: Genuine) -> None:
        """The witnesses must be those of the policy. Raises `Untrusted` POLICY."""
        try:
            accept_witnesses(genuine.genesis, genuine.claims.watchers, self.trust)
        except Untrusted as error:
            if self.trust.witnesses:
                raise
            raise Unpinned(error.error) from None

    async def begin(self, evidence: bytes, genuine: Genuine, send: Send) -> WatchedLog:
        """The log of a new session, in which nothing was asked yet, once it is shown to extend all that was seen.

        Raises `Untrusted` ROLLED_BACK, INTEGRITY or CLOCK, and what the Vault answered.
        """
        log = WatchedLog(self, evidence, genuine, send)
        await log.begin()
        # The session before may still have requests under way.
        self._open = [*self._open[-1:], log]
        return log

    async def aclose(self) -> None:
        """Keep what was seen. Raises `Untrusted` where that turns out to be another history than somebody else's."""
        for log in self._open:
            await log.aclose()

    def seen(self, origin: str) -> SignedCheckpoint | None:
        """The highest of this log that this client itself has seen."""
        return self._seen.get(origin)

    def see(self, signed: SignedCheckpoint) -> None:
        known = self._seen.get(signed.checkpoint.origin)
        if known is None or known.checkpoint.size < signed.checkpoint.size:
            self._seen[signed.checkpoint.origin] = signed

    def report(self, attack: Attack) -> Untrusted:
        """The error, which says where the evidence is. That is saved once for each log: who tries again and again must
        not fill the disk."""
        origin = attack.known.checkpoint.origin
        if origin not in self._saved:
            self._saved[origin] = save_attack(attack)
        return Untrusted(Number.ROLLED_BACK, f"{attack.words}; {self._saved[origin]}")


class WatchedLog:
    """The log as one session shows it. A session lives in one run of one Vault, in which a log only grows."""

    def __init__(self, watch: Watch, evidence: bytes, genuine: Genuine, send: Send) -> None:
        self._watch = watch
        self._evidence = evidence
        self._send = send
        self._genuine = genuine
        self._log = self._log_of(genuine.claims.generation)
        self._first: SignedCheckpoint | None = None
        self._highest: SignedCheckpoint | None = None
        self._last_note: bytes | None = None
        self._kept: SignedCheckpoint | None = None
        """What was kept when last looked at; this session was shown to extend it."""
        self._keeping = asyncio.Lock()
        self._soon: asyncio.Task[None] | None = None
        self._broken: Untrusted | None = None
        """What was found while nobody waited."""

    async def begin(self) -> None:
        """Raises as `Watch.begin`."""
        claims = self._genuine.claims
        standing = await asyncio.to_thread(self._watch.standings.known, claims.cluster_id)
        since = await self._seen_generation(standing)
        if since is not None and since < claims.generation:
            await self._follow(since, standing)
        self._kept = await self._stored()
        own = self._watch.seen(self._log.name)
        for known in {one.checkpoint: one for one in (own, self._kept) if one is not None}.values() or (None,):
            await self._prove(known)
        await self._keep()

    async def open(self, reply: Message) -> Message:
        """What a reply says, once its checkpoint was verified; of an acknowledged write, once that is kept.

        Raises `Untrusted`: INTEGRITY for a reply without a checkpoint of this log, ROLLED_BACK for another history.
        """
        self._raise_broken()
        match reply:
            case Error():
                return reply
            case Logged():
                self._verify(reply.checkpoint)
                found: Message = decode(reply.reply, VaultReply, limit=MAX_MESSAGE)
            case _:
                raise Untrusted(Number.INTEGRITY, "the enclave answered without a checkpoint of its log")
        if isinstance(found, TrailOf):
            self._verify(found.checkpoint)
        if isinstance(found, WRITES):
            await self._keep()
        else:
            self._keep_soon()
        return found

    async def aclose(self) -> None:
        """Keep what was seen, unless another program has kept more and the Vault does not answer any more."""
        if self._soon is not None:
            self._soon.cancel()
        self._raise_broken()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._keep()

    def _log_of(self, generation: int) -> Verifier:
        return log_verifier(self._genuine.claims.cluster_id, self._genuine.genesis.log_key, generation)

    # --- verifying --------------------------------------------------------------------------------------------

    async def _prove(self, known: SignedCheckpoint | None) -> None:
        """Have it shown that this log extends what was seen of it."""
        answer = await self._freshen(known.checkpoint.size if known else 0)
        shown = verify_checkpoint(answer.checkpoint, self._log)
        if known is not None and (finding := finding_of(known, shown, answer.proof)):
            raise self._attack(finding, known, shown, answer.proof)
        self._verify_cosigned(answer, shown)
        self._see(shown)

    async def _freshen(self, size: int) -> Freshness:
        answer = await self._send(Freshen(size=size))
        if isinstance(answer, Error):
            raise from_number(answer.number)
        if not isinstance(answer, Freshness):
            raise Untrusted(Number.INTEGRITY, "the enclave answered another kind of request")
        return answer

    async def _seen_generation(self, known: Standing | None) -> int | None:
        """The last one of this cluster's log of which a checkpoint is kept; None: the cluster was never seen.

        The checkpoints come first: a program that was killed between the two has kept one alone, and sessions without
        a log keep how a cluster stands. Raises `Untrusted` ROLLED_BACK for a checkpoint of a later one.
        """
        claims = self._genuine.claims
        kept = await asyncio.to_thread(self._watch.checkpoints.generations, claims.cluster_id)
        for generation in sorted(kept, reverse=True):
            if await self._stored_of(self._log_of(generation)) is None:
                continue
            if generation > claims.generation:
                raise earlier_generation(claims.generation, generation)
            return generation
        return None if known is None else known.generation

    async def _follow(self, since: int, known: Standing | None) -> None:
        """The log has begun anew since what was seen of it, in generation `since`: its custodians must have signed that
        (RULES 25), what they signed for must be what goes on, and what they did not give up must still be there."""
        answer = await self._send(AskCharter())
        if isinstance(answer, Error):
            raise from_number(answer.number)
        if not isinstance(answer, CharterIs):
            raise Untrusted(Number.INTEGRITY, "the enclave answered another kind of request")
        gaps = verify_new_generation(answer.charter, self._genuine, since, known)
        trees = {(gap.found_size, gap.found_root): "its custodians signed for" for gap in gaps}
        seen = await self._stored_of(self._log_of(since))
        # The least that was found: what lies below it was never given up.
        least = min(gaps, key=lambda one: one.found_size)
        if seen is not None and seen.checkpoint.size <= least.found_size:
            trees[seen.checkpoint.size, seen.checkpoint.root] = "were seen before"
        for (size, root), what in trees.items():
            await self._prove_older(size, root, what)
        if seen is not None and seen.checkpoint.size > least.found_size:
            self._watch.notice(explain_loss(least, seen.checkpoint.size))

    async def _prove_older(self, size: int, root: bytes, what: str) -> None:
        """As `_prove`, of a tree of an earlier generation: it goes on under another name."""
        answer = await self._freshen(size)
        shown = verify_checkpoint(answer.checkpoint, self._log).checkpoint
        try:
            verify_consistency(size, root, shown.size, shown.root, answer.proof)
        except Untrusted:
            # No file of evidence: two names of one log prove nothing to who does not have the charter.
            raise Untrusted(
                Number.ROLLED_BACK, f"its log began anew, and does not extend the {size:,} entries that {what}"
            ) from None

    def _verify_cosigned(self, answer: Freshness, shown: SignedCheckpoint) -> None:
        """Witnesses have seen the log lately, though not always to its end. Raises `Untrusted` INTEGRITY or CLOCK."""
        cosigned = shown if answer.cosigned is None else verify_checkpoint(answer.cosigned, self._log)
        before, after = cosigned.checkpoint, shown.checkpoint
        if before.size > after.size or (before.size == after.size and before.root != after.root):
            raise Untrusted(Number.INTEGRITY, "the checkpoint that witnesses saw is not of the log that is shown")
        verify_cosigned(cosigned, self._watch.trust, int(self._watch.now()))

    def _verify(self, note: bytes) -> None:
        if note != self._last_note:
            self._see(verify_checkpoint(note, self._log))
            self._last_note = note

    def _see(self, shown: SignedCheckpoint) -> None:
        """Answers overtake one another: not each is above the one before, but none is below the first."""
        if self._first is None or self._highest is None:
            self._first = self._highest = shown
        for known in (self._first, self._highest):
            same_size = known.checkpoint.size == shown.checkpoint.size
            if (same_size or known is self._first) and (finding := finding_of(known, shown, ())) in _WITHIN_A_SESSION:
                raise self._attack(finding, known, shown, ())
        if shown.checkpoint.size > self._highest.checkpoint.size:
            self._highest = shown
        self._watch.see(shown)

    def _attack(
        self, finding: Finding, known: SignedCheckpoint, shown: SignedCheckpoint, proof: Sequence[bytes]
    ) -> Untrusted:
        noticed_at, watch = int(self._watch.now()), self._watch
        return watch.report(
            Attack(finding, known, shown, tuple(proof), self._evidence, watch.url, noticed_at, program_version())
        )

    # --- keeping ----------------------------------------------------------------------------------------------

    async def _stored(self) -> SignedCheckpoint | None:
        return await self._stored_of(self._log)

    async def _stored_of(self, log: Verifier) -> SignedCheckpoint | None:
        note = await asyncio.to_thread(self._watch.checkpoints.highest, log.name)
        return None if note is None else await self._own(note, log)

    async def _own(self, note: bytes, log: Verifier | None = None) -> SignedCheckpoint | None:
        """What was kept, if this log signed it."""
        log = log or self._log
        try:
            return verify_checkpoint(note, log)
        except Untrusted:
            await asyncio.to_thread(self._watch.checkpoints.set_aside, log.name)
            return None

    async def _keep(self) -> None:
        """Those who wait for each other's turn have it written once."""
        async with self._keeping:
            for _ in range(_TURNS):
                highest, kept = self._highest, self._kept
                if highest is None or (kept is not None and kept.checkpoint.size >= highest.checkpoint.size):
                    return
                over = kept.note if kept is not None else None
                note = await asyncio.to_thread(self._watch.checkpoints.keep, self._log.name, highest.note, over)
                if note == highest.note:
                    self._kept = highest
                    continue
                # Another program of this user saw it, perhaps in another copy of this Vault.
                other = await self._own(note)
                try:
                    if other is not None:
                        await self._prove(other)
                except Untrusted as error:
                    self._broken = error
                    raise
                except (StrongroomError, Unsealed):
                    return  # it does not answer now: the other's checkpoint stays, and is asked about next time
                self._kept = other

    def _keep_soon(self) -> None:
        if self._kept is not self._highest and (self._soon is None or self._soon.done()):
            self._soon = asyncio.create_task(self._keep_later())

    async def _keep_later(self) -> None:
        await asyncio.sleep(SECONDS_UNKEPT)
        with suppress(Untrusted):  # whoever asks next is told
            await self._keep()

    def _raise_broken(self) -> None:
        if self._broken is not None:
            raise self._broken
