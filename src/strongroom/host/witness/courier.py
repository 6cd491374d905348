"""Has a Vault's checkpoints cosigned: posts them to all its witnesses at once, with proofs that the log only grew.

Nothing here is trusted. The enclave verifies the lines that come back, and without enough of them it acknowledges
nothing that could be rolled back. So all that this owes is speed, and telling the operator what is wrong: of a witness
that is slow or gone, and of one that refuses because it has seen more, or something else, than this database holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Sequence
from enum import Enum
from math import inf
from typing import Final
from urllib.parse import urlsplit

from strongroom.host.log.proofs import Hashes, consistency
from strongroom.host.lookups import look_up
from strongroom.host.supervisor.exchange import Answer, Connection, ConnectionLost
from strongroom.host.witness.policy import Policy, WitnessAt
from strongroom.protocol.errors import Number, StrongroomError, Unavailable
from strongroom.protocol.notes import Cosignature, SignedCheckpoint, cosignatures, parse_checkpoint

EXCHANGE_SECONDS: Final = 2.0
"""For one question to a witness, connecting included."""
CALL_SECONDS: Final = 5.0
"""For all questions to a witness about one checkpoint, and for all witnesses together."""
GRACE_SECONDS: Final = 0.05
"""For those who have not answered when enough have, if they answered as fast last time: nobody waits for one that is
slow or gone."""
CLOCK_ERROR: Final = 300
"""Seconds by which a witness's clock may differ from ours: enclave and clients bear no more."""
IDLE_SECONDS: Final = 30.0
"""After which an unused connection is not used again: less than servers keep theirs."""
_ATTEMPTS: Final = 3
"""The size that we remember, the one that the witness tells, and one more if that changes meanwhile."""
_MAX_ANSWER: Final = 64 * 1024
_CONFIGURE: Final = ": configure it with --log VKEY, the verifier key that this Vault tells when it starts"
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_log: Final = logging.getLogger("strongroom.host.witness")


class Trouble(Enum):
    """What an operator must hear of once, however often it comes."""

    UNREACHABLE = "does not answer"
    UNKNOWN_LOG = "does not know this log"
    OTHER_KEY = "knows this log's name with another key"
    LATER = "has cosigned a later state than this database holds"
    FORKED = "has cosigned another history of this log"
    ENDED = "has cosigned a later log of this cluster"
    NO_PROOF = "gets no proof, because the database did not give it"
    NONSENSE = "answers what is no cosignature"


_OVERTAKEN: Final = (Trouble.LATER, Trouble.FORKED, Trouble.ENDED)


class _Failed(Exception):
    def __init__(self, trouble: Trouble, more: str = "") -> None:
        self.trouble = trouble
        self.text = f"{trouble.value}{more}"
        super().__init__(self.text)


class Witnesses:
    """Those of one Vault. `store` keeps the hashes of its log."""

    def __init__(self, policy: Policy, store: Hashes) -> None:
        self._enough = policy.cosignatures
        tls = ssl.create_default_context() if any(at.url.startswith("https:") for at in policy.witnesses) else None
        self._witnesses = [_Asked(at, store, tls) for at in policy.witnesses]
        self._tasks: set[asyncio.Task[Cosignature | None]] = set()

    async def cosign(self, note: bytes) -> bytes:
        """Signature lines under this signed checkpoint: of all who answer until enough have, and a moment longer.

        Empty when nobody does. Raises `Untrusted` INTEGRITY for a note that is no checkpoint of a Vault's log.
        """
        signed = parse_checkpoint(note)
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(witness.ask(signed)): witness for witness in self._witnesses}
        for task in tasks:  # who is too late is still heard: next time it is known what it has
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lines: list[str] = []
        timely = 0
        begun = loop.time()
        deadline = begun + CALL_SECONDS
        while tasks and (left := deadline - loop.time()) > 0:
            done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            had = timely
            came = [one for task in done if not task.cancelled() and (one := task.result())]
            lines += [one.line for one in came]
            # One whose clock is wrong is handed over, and not counted: with it alone, nobody would believe the time.
            timely += sum(abs(one.time - time.time()) <= CLOCK_ERROR for one in came)
            tasks = {task: witness for task, witness in tasks.items() if task not in done}
            if had < self._enough <= timely:
                deadline = min(deadline, loop.time() + GRACE_SECONDS)
            if timely >= self._enough and not any(begun + witness.seconds < deadline for witness in tasks.values()):
                break
        return "".join(f"{line}\n" for line in lines).encode()

    async def witnessed(self, origin: str) -> list[bytes]:
        """The latest checkpoint of the log of this name that each witness has cosigned, of those who have one.

        Each is asked to cosign it once more, so that it says when it knew of no later one. Raises `Unavailable`
        WITNESSES_UNAVAILABLE when so few answer that enough of the others may know of more.
        """
        answers = await asyncio.gather(*(witness.latest(origin) for witness in self._witnesses))
        if sum(answer is not None for answer in answers) <= len(self._witnesses) - self._enough:
            raise Unavailable(Number.WITNESSES_UNAVAILABLE)
        return [answer for answer in answers if answer]

    def overtaken(self) -> str | None:
        """What a witness says that has seen another history than this database holds, once so many do that the others
        are too few: waiting does not help then."""
        seen = [one for one in self._witnesses if one.trouble in _OVERTAKEN]
        return f"{seen[0].name} {seen[0].problem}" if len(self._witnesses) - len(seen) < self._enough else None

    def problems(self) -> list[str]:
        """A line for each witness that did not cosign when last asked: what is wrong, and what to do."""
        return [f"{witness.name} {witness.problem}" for witness in self._witnesses if witness.problem]

    async def close(self) -> None:
        """Ask nobody any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        for witness in self._witnesses:
            witness.close()


class _Asked:
    """One witness: what it has, as far as we know, and one question at a time."""

    def __init__(self, at: WitnessAt, store: Hashes, tls: ssl.SSLContext | None) -> None:
        self.name: Final = at.verifier.name
        self.problem = ""
        self.seconds = 0.0
        """That its last answer took; without end if it gave none."""
        self._verifier = at.verifier
        self._store = store
        self._line = _Line(at.url, tls)
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Cosignature | None] | None = None
        self._size = 0
        self.trouble: Trouble | None = None

    def close(self) -> None:
        self._line.close()

    async def ask(self, signed: SignedCheckpoint) -> Cosignature | None:
        """Its signature line; None when it gives none, or when a newer checkpoint came while this one waited."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        begun = loop.time()
        if self._next is not None:
            self._next.cancel()
        self._next = task
        async with self._turn:
            if self._next is task:
                self._next = None
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    line = await self._ask(signed)
            except _Failed as failed:
                self._found(failed.trouble, failed.text)
            except StrongroomError as error:
                self._found(Trouble.NO_PROOF, f"{Trouble.NO_PROOF.value}: {error.error}")
            except TimeoutError:
                self._found(Trouble.UNREACHABLE, f"{Trouble.UNREACHABLE.value} within {CALL_SECONDS:.0f} s")
            else:
                self._found(None, "")
                self.seconds = loop.time() - begun
                return line
        return None

    async def latest(self, origin: str) -> bytes | None:
        """The latest checkpoint of this log that it cosigned, with its word of now; empty: none. None: no answer."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._latest(origin)
        except _Failed as failed:
            self._found(failed.trouble, failed.text)
        except StrongroomError:
            self._found(Trouble.NONSENSE, ", asked for what it cosigned last")
        except TimeoutError:
            self._found(Trouble.UNREACHABLE, f"{Trouble.UNREACHABLE.value} within {CALL_SECONDS:.0f} s")
        return None

    async def _latest(self, origin: str) -> bytes:
        """Raises `_Failed`, `Untrusted` for what is no checkpoint."""
        answer = await self._line.get(f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint")
        if answer.status == 404:
            return b""
        if answer.status != 200:
            raise _failed(answer.status)
        signed = parse_checkpoint(answer.body)
        again = await self._line.post(_request(signed.checkpoint.size, [], signed))
        if again.status != 200:  # it has cosigned a newer one meanwhile, or says nothing now: this it has said
            return signed.note
        return signed.with_lines([self._verified(signed, again).line]).note

    async def _ask(self, signed: SignedCheckpoint) -> Cosignature:
        """Raises `_Failed`, `StrongroomError` from the database."""
        size = signed.checkpoint.size
        old = min(self._size, size)
        for _ in range(_ATTEMPTS):
            proof = await consistency(self._store, old, size)
            answer = await self._line.post(_request(old, proof, signed))
            if answer.status == 200:
                line = self._verified(signed, answer)
                self._size = size
                return line
            told = _SIZE.fullmatch(answer.body) if answer.status == 409 else None
            if told is None:
                raise _failed(answer.status)
            self._size = old = int(told[1])
            if old > size:
                more = f": {old} entries, not {size}. The database was rolled back, or another instance runs"
                raise _Failed(Trouble.LATER, more)
        raise _Failed(Trouble.NONSENSE, f": it wants a proof from {old} entries on, and then another")

    def _verified(self, signed: SignedCheckpoint, answer: Answer) -> Cosignature:
        """The line by its key; what else it says is not for us. Raises `_Failed`."""
        if len(answer.body) > _MAX_ANSWER:
            raise _Failed(Trouble.NONSENSE, ": it is too long")
        lines = tuple(answer.body.decode("utf-8", "replace").split("\n"))
        held = cosignatures(SignedCheckpoint(signed.checkpoint, lines), [self._verifier])
        if not held:
            raise _Failed(
                Trouble.NONSENSE, " by the key in the policy: compare it with the one that the witness prints"
            )
        return held[0]

    def _found(self, trouble: Trouble | None, text: str) -> None:
        self.problem = text
        self.seconds = inf
        if trouble is self.trouble:
            return
        self.trouble = trouble
        if trouble is None:
            _log.warning("witness %s cosigns again", self.name)  # as loud as the trouble was
        else:
            _log.warning("witness %s %s", self.name, text)


class _Line:
    """The connection to one witness; it stays open between questions."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        encrypted = parts.scheme == "https"
        self._path = parts.path
        self._tls = tls if encrypted else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if encrypted else 80)
        self._who = f" HTTP/1.1\r\nhost: {parts.netloc}\r\nuser-agent: strongroom\r\n"
        self._head = (
            f"POST {parts.path}/add-checkpoint{self._who}content-type: text/plain; charset=utf-8\r\ncontent-length: "
        ).encode()
        self._idle: Connection | None = None

    def close(self) -> None:
        if self._idle is not None:
            self._idle.abort()

    async def post(self, body: bytes) -> Answer:
        """To add-checkpoint. Raises `_Failed` UNREACHABLE."""
        return await self._answer(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    async def get(self, path: str) -> Answer:
        """Raises `_Failed` UNREACHABLE."""
        return await self._answer(f"GET {self._path}/{path}{self._who}\r\n".encode())

    async def _answer(self, request: bytes) -> Answer:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                return await self._exchange(request)
        except TimeoutError:
            raise _Failed(Trouble.UNREACHABLE, f" within {EXCHANGE_SECONDS:.0f} s") from None
        except OSError as error:
            raise _Failed(Trouble.UNREACHABLE, f": {(error.strerror or str(error)).lower()}") from None
        except ValueError:
            raise _Failed(Trouble.UNREACHABLE, ": its URL names no host") from None
        except ConnectionLost:
            raise _Failed(Trouble.UNREACHABLE, ": it closed the connection") from None

    async def _exchange(self, request: bytes) -> Answer:
        connection, self._idle = self._idle, None
        if connection is not None:
            fresh = asyncio.get_running_loop().time() - connection.idle_since <= IDLE_SECONDS
            if fresh and connection.reusable:
                try:
                    return await self._ask(connection, request)
                except ConnectionLost as error:
                    if error.answer_begun:
                        raise
                    # Closed by the witness while it lay idle. If the question did arrive, the answer is a new size.
            connection.abort()
        return await self._ask(await self._connect(), request)

    async def _ask(self, connection: Connection, request: bytes) -> Answer:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.abort()  # also when cancelled: a late answer must not meet the next question
            raise
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle = connection
        else:
            connection.abort()
        return answer

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("it has no address")
        for address in await look_up(self._host, self._port):
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(self._lost),
                    address,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
                return connection
            except OSError as error:
                failure = error
        raise failure

    def _lost(self, connection: Connection) -> None:
        if self._idle is connection:
            self._idle = None


def _request(old: int, proof: Sequence[bytes], signed: SignedCheckpoint) -> bytes:
    hashes = "".join(f"{b64encode(node).decode()}\n" for node in proof)
    return f"old {old}\n{hashes}\n".encode() + signed.note


def _failed(status: int) -> _Failed:
    """What an answer means that is neither a cosignature nor a size."""
    match status:
        case 404:
            return _Failed(Trouble.UNKNOWN_LOG, _CONFIGURE)
        case 403:
            return _Failed(Trouble.OTHER_KEY, _CONFIGURE)
        case 410:
            return _Failed(Trouble.ENDED, ": custodians have recovered it, and this is what they gave up")
        case 409 | 422:
            return _Failed(Trouble.FORKED, ": the database was restored and written to, or another instance runs")
        case _:
            return _Failed(Trouble.NONSENSE, f": HTTP status {status}")
