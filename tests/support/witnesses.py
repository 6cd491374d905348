"""A log that grows, is rolled back and forks; and witnesses of it: in this process, or as processes of their own."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from base64 import b64encode
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from strongroom.host.log.growth import Growth
from strongroom.host.log.proofs import consistency
from strongroom.host.share.http import Server
from strongroom.host.witness.serve import LIMITS
from strongroom.host.witness.server import Witness
from strongroom.host.witness.state import State
from strongroom.protocol.notes import ED25519, Checkpoint, Verifier, sign_checkpoint
from strongroom.protocol.primitives import NoteKey
from strongroom.protocol.tlog import Frontier, leaf_hash
from tests.support.command import ROOT, environment

ORIGIN = "strongroom/test-log/0/0"
NOW = 1_790_000_000


class GrowingLog:
    """A log with all its states, and the hashes that a store would keep. `fork` shares the key and a beginning."""

    def __init__(self, origin=ORIGIN, key=None):
        self.key = key or NoteKey(secrets.token_bytes(32))
        self.origin = origin
        self.verifier = Verifier(origin, ED25519, self.key.public)
        self.leaves: list[bytes] = []
        self.roots = [Frontier().root]
        self._frontier = Frontier()
        self._growth = Growth()
        self._levels: dict[int, list[bytes]] = {}

    def grow(self, *leaves):
        for leaf in leaves:
            self.leaves.append(leaf)
            self._frontier.append(leaf_hash(leaf))
            self.roots.append(self._frontier.root)
        for level, _, node in self._growth.extend(leaves):
            self._levels.setdefault(level, []).append(node)
        return self

    def grow_to(self, size, label=b"leaf"):
        return self.grow(*(b"%b %d" % (label, index) for index in range(self.size, size)))

    def fork(self, at, size):
        """The same log up to `at`, then other leaves: what a restored database goes on with."""
        return GrowingLog(self.origin, self.key).grow(*self.leaves[:at]).grow_to(size, b"other")

    @property
    def size(self):
        return len(self.leaves)

    def hashes(self, level, first, count):
        done = asyncio.get_running_loop().create_future()
        done.set_result(self._levels.get(level, [])[first : first + count])
        return done

    def checkpoint(self, size=None):
        size = self.size if size is None else size
        return Checkpoint(self.origin, size, self.roots[size])

    def note(self, size=None, key=None):
        return sign_checkpoint(key or self.key, self.checkpoint(size)).note

    async def proof(self, old, size=None):
        return await consistency(self, old, self.size if size is None else size)


def addition(old, proof, note):
    """The body of add-checkpoint."""
    return f"old {old}\n".encode() + b"".join(b64encode(node) + b"\n" for node in proof) + b"\n" + note


class Clock:
    """That of a witness, which a test turns."""

    def __init__(self, now=NOW):
        self.now = float(now)

    def __call__(self):
        return self.now


class Asking(httpx.AsyncClient):
    """A client of one witness."""

    def __init__(self, url, **more):
        super().__init__(base_url=url, trust_env=False, timeout=20)
        self.url = url
        self.__dict__.update(more)

    async def add(self, log, old, size=None, *, proof=None, note=None):
        """add-checkpoint with an honest proof, or with what is given."""
        if proof is None:
            proof = await log.proof(old, size)
        return await self.post("/add-checkpoint", content=addition(old, proof, note or log.note(size)))


@asynccontextmanager
async def witness_here(folder, *logs, clock=None, limits=LIMITS, name="witness.example/w1", key=None):
    """A witness in this process, with a clock that tests turn; its state stays in `folder`."""
    folder.mkdir(exist_ok=True)
    seed = folder / "seed"
    if not seed.exists():
        seed.write_bytes(secrets.token_bytes(32))
    state = State(folder / "witness.sqlite3")
    keys: dict[str, list[Verifier]] = {}
    for log in logs:
        keys.setdefault(log.origin, []).append(log.verifier)
    clock = clock or Clock()
    witness = Witness(NoteKey(seed.read_bytes()), name, keys, state, clock)
    server = Server(witness.handle, limits)
    url = await server.listen("127.0.0.1", 0)
    try:
        async with Asking(url, witness=witness, state=state, clock=clock, server=server) as client:
            yield client
    finally:
        await server.stop(1.0)
        state.close()


class Running:
    """`strongroom serve witness`, up and waiting."""

    def __init__(self, process):
        self.process = process
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, text
            text += line.decode()
        self.ready = json.loads(text)
        self.url = self.ready["url"]
        self.vkey = self.ready["verifier_key"]

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def witness_process(folder: Path, *logs, name="witness.example/w1", program=("-m", "strongroom.cli"), port=0):
    """As a process of its own; `program` is what Python runs instead of the command line, with its arguments."""
    command = [sys.executable, *program, "serve", "witness", "--data", str(folder), "--listen", f"127.0.0.1:{port}"]
    command += ["--json", "--until-eof", "--name", name]
    for log in logs:
        command += ["--log", str(log.verifier)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
