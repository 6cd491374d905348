"""A witness: it cosigns a log's checkpoint if, and only if, it extends the one before (C2SP tlog-witness).

Whoever can reach this may ask; nothing is believed but the signature of a log that the operator named. What is refused:

1. A rolled-back log: its checkpoint does not begin where ours ends (409), or shows other leaves there (409, 422).
2. Two histories of one length: the second is refused (409), and both are told to the operator, as proof.
3. Two requests at once for one old size: check and write are one step, durable before the answer; the second gets 409.
4. Somebody else's checkpoint under the log's name: no signature of a named key (403).
5. A clock that was set back: no cosignature earlier than the last one of this log.
6. A flood of repetitions: the same checkpoint within a second is answered without a write.
7. A log that custodians gave up when they recovered their cluster, and an old machine that goes on with it: as soon as
   the log that came after it is cosigned, this one is not any more (410). Of logs that are named as a Vault's are.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from strongroom.host.share.answers import HARDENED, PLAIN, Answer, Problem
from strongroom.host.share.connection import Request
from strongroom.host.witness.state import Cosigned, State
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.limits import MAX_PROOF
from strongroom.protocol.notes import (
    COSIGNATURE,
    MAX_FOREIGN_NOTE,
    SignedCheckpoint,
    Verifier,
    cosign,
    parse_checkpoint_of_others,
    verify_log_of_others,
)
from strongroom.protocol.primitives import NoteKey
from strongroom.protocol.tlog import verify_consistency

MAX_REQUEST: Final = MAX_FOREIGN_NOTE + 4 * 1024
"""Bytes of a body: the checkpoint, and a proof before it."""
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")
_HASH: Final = re.compile(r"[0-9A-Za-z+/]{43}=")
_GENERATION: Final = re.compile("(strongroom/[0-9a-f]{64}/[0-9]{1,18}/)([0-9]{1,18})")
_MONITORED: Final = re.compile("/([0-9a-f]{64})/checkpoint")
_TEXT: Final = {**HARDENED, "content-type": PLAIN, "cache-control": "no-store"}
_log: Final = logging.getLogger("strongroom.host.witness")


class Addition(NamedTuple):
    """A request to cosign, unverified."""

    old: int
    proof: list[bytes]
    untrusted_signed: SignedCheckpoint


class Witness:
    """`logs`: the keys of each log, by origin. `clock` gives Unix seconds."""

    def __init__(
        self, key: NoteKey, name: str, logs: Mapping[str, Sequence[Verifier]], state: State, clock: Callable[[], float]
    ) -> None:
        self.verifier: Final = Verifier(name, COSIGNATURE, key.public)
        self._key = key
        self._logs = logs
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in logs}
        self._state = state
        self._clock = clock
        self._forked: set[str] = set()

    async def handle(self, request: Request) -> Answer:
        """Raises `Problem`."""
        try:
            if request.path == "/add-checkpoint":
                _verify_method(request, "POST")
                return self.add_checkpoint(await request.body.read(MAX_REQUEST))
            if found := _MONITORED.fullmatch(request.path):
                _verify_method(request, "GET", "HEAD")
                return self._monitored(found[1])
        except sqlite3.Error as error:  # nothing is answered that is not kept
            _log.error("the database failed: %s", error)
            raise Problem(503, Number.STORE_UNAVAILABLE, "the database failed", retry_after="5") from None
        if request.path == "/health":
            _verify_method(request, "GET", "HEAD")
            return Answer(200, _TEXT, b"ok")
        raise Problem(404, Number.MALFORMED, "a witness has add-checkpoint and HASH-OF-ORIGIN/checkpoint, no such path")

    def add_checkpoint(self, body: bytes) -> Answer:
        """The cosignature, as a signature line, once the checkpoint is what was cosigned last. Raises `Problem`.

        The checks stand in the specification's order. Nothing here waits, so nothing comes between check and write.
        """
        old, proof, untrusted_signed = parse_addition(body)
        origin = untrusted_signed.checkpoint.origin
        keys = self._logs.get(origin)
        if not keys:
            raise Problem(404, Number.REFUSED, "this witness does not know this log; configure it with --log VKEY")
        try:
            signed = verify_log_of_others(untrusted_signed, keys)
        except Untrusted:
            raise Problem(403, Number.INTEGRITY, "no key that this witness knows of this log has signed this") from None
        if self._is_over(origin):
            raise Problem(410, Number.ROLLED_BACK, "a later log of this cluster was cosigned: this one was given up")
        new = signed.checkpoint
        if old > new.size:
            raise Problem(400, Number.MALFORMED, "the old size is larger than the checkpoint's")
        before = self._state.latest(origin)
        if old != before.size:
            return _conflict(before.size)
        if old == new.size and new.root != before.root:
            self._tell_fork(origin, before, signed)
            raise Problem(409, Number.ROLLED_BACK, "another history of this length was cosigned before")
        try:
            verify_consistency(old, before.root, new.size, new.root, proof)
        except Untrusted:
            raise Problem(422, Number.INTEGRITY, "no proof that this extends what was cosigned") from None
        now = int(self._clock())
        if now < max(before.time, 1):
            raise Problem(503, Number.CLOCK, "the clock here is behind the last cosignature", retry_after="60")
        line = cosign(self._key, self.verifier.name, new, now)
        after = Cosigned(new.size, new.root, now, signed.with_lines([line]).note)
        if after[:3] != before[:3] and not self._state.advance(origin, before, after):
            return _conflict(self._state.latest(origin).size)
        return Answer(200, _TEXT, f"{line}\n".encode())

    def _is_over(self, origin: str) -> bool:
        """Whether a later generation of a Vault's log was cosigned."""
        found = _GENERATION.fullmatch(origin)
        if found is None:
            return False
        cosigned = map(_GENERATION.fullmatch, self._state.origins(found[1]))
        return any(int(one[2]) > int(found[2]) for one in cosigned if one is not None)

    def _monitored(self, digest: str) -> Answer:
        """The latest cosigned checkpoint, for monitors. Raises `Problem`."""
        origin = self._origins.get(digest)
        note = self._state.latest(origin).note if origin is not None else b""
        if not note:
            raise Problem(404, Number.REFUSED, "this witness has cosigned nothing of this log")
        return Answer(200, _TEXT, note)

    def _tell_fork(self, origin: str, before: Cosigned, signed: SignedCheckpoint) -> None:
        """Once a log: who holds its key could else fill our disk."""
        if origin not in self._forked:
            self._forked.add(origin)
            notes = "\n".join((before.note.decode(), signed.note.decode()))
            _log.error("a log has signed two histories of one length; this proves it:\n%s", notes)


def parse_addition(body: bytes) -> Addition:
    """`old SIZE`, hashes, an empty line, a checkpoint. Raises `Problem` 400."""
    head, separator, note = body.partition(b"\n\n")
    first, *hashes = head.decode("ascii", "replace").split("\n")
    old = _OLD.fullmatch(first)
    if not separator or old is None or len(hashes) > MAX_PROOF:
        raise Problem(400, Number.MALFORMED, "the request is not an old size, a proof, an empty line and a checkpoint")
    proof = [b64decode(text) for text in hashes if _HASH.fullmatch(text)]
    if [b64encode(node).decode() for node in proof] != hashes:
        raise Problem(400, Number.MALFORMED, "a line of the proof is not a hash")
    try:
        return Addition(int(old[1]), proof, parse_checkpoint_of_others(note))
    except Untrusted as error:
        raise Problem(400, Number.MALFORMED, error.reason) from None


def _conflict(size: int) -> Answer:
    return Answer(409, {**_TEXT, "content-type": "text/x.tlog.size"}, b"%d\n" % size)


def _verify_method(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Problem(405, Number.MALFORMED, "this method means nothing here", allow=", ".join(methods))
