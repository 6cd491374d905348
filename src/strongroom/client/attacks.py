"""What a client saves when a Vault shows another history than before, and how anybody checks it later.

The file holds what was signed, so that it convinces somebody else than who saved it: both checkpoints, whose key stands
in the genesis statement that the cluster's id is the digest of.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from strongroom.client.errors import BadInput
from strongroom.client.explanation import Step, shown_utc
from strongroom.client.state import state_folder
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import cluster_id, parse_evidence
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.limits import MAX_CHECKPOINT, MAX_EVIDENCE, MAX_PROOF
from strongroom.protocol.notes import SignedCheckpoint, Verifier, verify_checkpoint
from strongroom.protocol.tlog import verify_consistency

Finding = Literal["shorter", "forked", "not-extended"]

_FORMAT: Final = "strongroom attack 1"
_MAX_FILE: Final = 4 * MAX_EVIDENCE
_FINDINGS: Final[dict[Finding, str]] = {
    "shorter": "its log has fewer entries than it had",
    "forked": "its log has another content at the same size",
    "not-extended": "its log does not extend the one that was seen",
}
_PROVES: Final[dict[Finding, str]] = {
    "shorter": "the Vault signed both; that the shorter one was shown later is the word of whoever saved this",
    "forked": "PROVEN: the key of this log signed two histories",
    "not-extended": "the proof does not hold; the whole log up to the later size shows whether another one would",
}


@dataclass(frozen=True, slots=True)
class Attack:
    """Two checkpoints of one log that don't go together."""

    finding: Finding
    known: SignedCheckpoint
    """Which was seen before."""
    shown: SignedCheckpoint
    proof: tuple[bytes, ...]
    """Of consistency, as the Vault's host gave it; each 32 bytes."""
    evidence: bytes
    """Attestation evidence of the session in which `shown` came."""
    url: str
    noticed_at: int
    """Unix seconds, by the clock of who noticed."""
    version: str
    """Of the program that noticed."""

    @property
    def words(self) -> str:
        """What was found, as part of a sentence."""
        known, shown = self.known.checkpoint, self.shown.checkpoint
        return f"{_FINDINGS[self.finding]} (seen before: {known.size:,} entries; now: {shown.size:,})"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["strongroom attack 1"]
    finding: Finding
    noticed_at: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    program: str
    url: str
    cluster_id: str
    origin: str
    known: Annotated[str, msgspec.Meta(max_length=MAX_CHECKPOINT)]
    shown: Annotated[str, msgspec.Meta(max_length=MAX_CHECKPOINT)]
    proof: Annotated[list[str], msgspec.Meta(max_length=MAX_PROOF)]
    evidence: str


def finding_of(known: SignedCheckpoint, shown: SignedCheckpoint, proof: Sequence[bytes]) -> Finding | None:
    """What is wrong with a log of which `known` was seen and that is `shown` now; None: it was extended."""
    before, now = known.checkpoint, shown.checkpoint
    if now.size < before.size:
        return "shorter"
    if now.size == before.size:
        return None if now.root == before.root else "forked"
    try:
        verify_consistency(before.size, before.root, now.size, now.root, proof)
    except Untrusted:
        return "not-extended"
    return None


def save_attack(attack: Attack) -> str:
    """Into the user's folder `attacks`, or that for temporary files where it can't be; in words, where to."""
    name = f"{sha256(attack.known.note + attack.shown.note).hexdigest()[:32]}.json"
    data = _as_text(attack).encode()
    try:
        return f"the evidence is in {_write(state_folder() / 'attacks', name, data)}"
    except (OSError, BadInput):
        pass
    try:
        return f"the evidence is in {_write(Path(tempfile.mkdtemp(prefix='strongroom-attack-')), name, data)}"
    except OSError as error:
        return f"the evidence could not be saved ({error.strerror})"


def verify_evidence(path: str | Path) -> Attack:
    """The attack that a file of evidence shows, with everything in it checked that can be.

    Who `evidence` is of has to be compared with the Vault that one means: it is not appraised. Raises `BadInput` for
    what is no such file, and `Untrusted` for one that shows no attack, or that somebody altered.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise BadInput(f"can't read {path}: {error.strerror}", "name the file that the error named") from None
    try:
        found = msgspec.json.decode(data, type=_File)
        evidence = b64decode(found.evidence, validate=True)
        proof = tuple(map(bytes.fromhex, found.proof))
    except (ValueError, msgspec.ValidationError):
        raise BadInput(f"{path} is not evidence that a client of Strongroom saved", "name another file") from None
    genesis = parse_evidence(evidence)
    cluster = cluster_id(parse_evidence(evidence)[0].genesis)
    log = log_verifier(cluster, genesis[2].log_key)
    if (found.cluster_id, found.origin) != (cluster.hex(), log.name):
        raise Untrusted(reason="the file names another log than its evidence is of")
    known, shown = _verify_checkpoint(found.known, log, "first"), _verify_checkpoint(found.shown, log, "second")
    if finding_of(known, shown, proof) != found.finding:
        raise Untrusted(reason="the checkpoints in the file do not show what it says")
    return Attack(found.finding, known, shown, proof, evidence, found.url, found.noticed_at, found.program)


def _verify_checkpoint(untrusted_note: str, log: Verifier, which: str) -> SignedCheckpoint:
    try:
        return verify_checkpoint(untrusted_note.encode(), log)
    except Untrusted:
        raise Untrusted(Number.INTEGRITY, f"the signature of its {which} checkpoint does not fit") from None


def explain_attack(path: str | Path) -> list[Step]:
    """A file of evidence, verified, in words. Raises as `verify_evidence` does."""
    attack = verify_evidence(path)
    known, shown = attack.known.checkpoint, attack.shown.checkpoint
    return [
        Step("attack", attack.finding, attack.words),
        Step("log", known.origin, "its cluster: the digest of its genesis statement, which names its key"),
        Step("seen before", f"{known.size} {known.root.hex()}", "signed by the log"),
        Step("then shown", f"{shown.size} {shown.root.hex()}", "signed by the log"),
        Step("what it proves", attack.finding, _PROVES[attack.finding]),
        Step("noticed", shown_utc(attack.noticed_at), "by the clock of who noticed"),
        Step("at", attack.url, "as the client was given it"),
        Step("program", attack.version, "of who noticed"),
    ]


def _as_text(attack: Attack) -> str:
    known = attack.known.checkpoint
    return json.dumps(
        {
            "format": _FORMAT,
            "finding": attack.finding,
            "noticed_at": attack.noticed_at,
            "program": attack.version,
            "url": attack.url,
            "cluster_id": known.origin.split("/")[1],
            "origin": known.origin,
            "known": attack.known.note.decode(),
            "shown": attack.shown.note.decode(),
            "proof": [one.hex() for one in attack.proof],
            "evidence": b64encode(attack.evidence).decode(),
        },
        indent=2,
    )


def program_version() -> str:
    """Of this program, as evidence names it."""
    return f"strongroom {installed_version('strongroom')}"


def _write(folder: Path, name: str, data: bytes) -> Path:
    """The same evidence twice is one file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{name}-{secrets.token_hex(4)}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return draft.replace(folder / name)
