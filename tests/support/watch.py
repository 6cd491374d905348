"""Real witnesses in this process, and a host that carries checkpoints to them as it pleases."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from strongroom.host.share.answers import Problem
from strongroom.host.witness.server import Witness
from strongroom.host.witness.state import State
from strongroom.protocol.leaves import log_verifier
from strongroom.protocol.notes import COSIGNATURE, Verifier, parse_checkpoint
from strongroom.protocol.primitives import NoteKey
from strongroom.protocol.tlog import leaf_hash
from tests.support import trees


class Watch:
    """`count` witnesses. They know a log from the first time that `carry` is asked for it, as their operators would."""

    def __init__(self, directory: Path, count: int, clock: Any) -> None:
        self.keys = [NoteKey(os.urandom(32)) for _ in range(count)]
        self.names = [f"w{n}.example.com" for n in range(count)]
        self.states = [State(directory / f"witness{n}.sqlite3") for n in range(count)]
        self.logs: dict[str, list[Verifier]] = {}
        self.witnesses = [
            Witness(key, name, self.logs, state, clock)
            for key, name, state in zip(self.keys, self.names, self.states, strict=True)
        ]
        self.down: set[int] = set()
        self.asked = 0

    @property
    def vkeys(self) -> list[str]:
        pairs = zip(self.names, self.keys, strict=True)
        return [str(Verifier(name, COSIGNATURE, key.public)) for name, key in pairs]

    def carry_for(self, instance: Any) -> Any:
        """What the host of `instance` has for COSIGN."""

        async def cosign(note: bytes) -> bytes:
            self.asked += 1
            self.know(instance)
            return b"".join(
                self.ask(at, note, instance.host.log) for at in range(len(self.keys)) if at not in self.down
            )

        return cosign

    def know(self, instance: Any) -> None:
        """Configure the witnesses with the log of an instance that is starting."""
        ring = instance.ring
        log = log_verifier(ring.cluster_id, ring.log_key.public)
        self.logs.setdefault(log.name, [log])

    def ask(self, at: int, note: bytes, log: list[bytes]) -> bytes:
        """Signature lines of one witness, none if it refuses."""
        signed = parse_checkpoint(note)
        size = signed.checkpoint.size
        old = min(self.states[at].latest(signed.checkpoint.origin).size, size)
        hashes = [leaf_hash(leaf) for leaf in log[:size]]
        proof = trees.consistency(old, hashes) if 0 < old < size else []
        lines = "".join(f"{b64encode(node).decode()}\n" for node in proof)
        try:
            answer = self.witnesses[at].add_checkpoint(f"old {old}\n{lines}\n".encode() + note)
        except Problem:
            return b""
        return answer.body if answer.status == 200 and isinstance(answer.body, bytes) else b""

    def close(self) -> None:
        for state in self.states:
            state.close()
