"""What a Vault shows of its log: that it is the one a client knows, and an owner's part of it.

Attacks stopped here: a host that holds back a line of the access log. Entries about one record are numbered, each names
the leaf of the one before, and the index names the last. So a missing one has a place in the log, to which a
checkpoint commits that whoever asks already has: the Vault does not skip it, it says so.
"""

from __future__ import annotations

from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.cases import Asker
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.log_messages import Freshen, Freshness, Trail, TrailEntry, TrailOf


class Trails:
    """Operations on the log."""

    def __init__(self, link: HostLink, ledger: Ledger, witnessing: Witnessing, gate: Gate) -> None:
        self._link = link
        self._ledger = ledger
        self._witnessing = witnessing
        self._gate = gate

    @property
    def checkpoint(self) -> bytes:
        """The newest one, signed, with cosignatures as soon as there are."""
        newest, cosigned = self._ledger.log.checkpoint, self._witnessing.cosigned
        return (cosigned if cosigned is not None and cosigned.checkpoint == newest.checkpoint else newest).note

    @property
    def shown(self) -> bytes:
        """For anybody: the newest that is cosigned, where there are witnesses."""
        return (self._witnessing.cosigned or self._ledger.log.checkpoint).note

    async def freshen(self, request: Freshen) -> Freshness:
        size, cosigned = self._ledger.log.size, self._witnessing.cosigned
        checkpoint = self.checkpoint
        proof = await self._link.consistency(request.size, size) if 0 < request.size < size else []
        return Freshness(checkpoint=checkpoint, proof=proof, cosigned=None if cosigned is None else cosigned.note)

    async def trail(self, caller: Caller, request: Trail) -> TrailOf:
        return await until_settled(lambda: self._trail(caller, request))

    async def _trail(self, caller: Caller, request: Trail) -> TrailOf:
        found = (await self._gate.audit(Asker.of(caller, request.tickets), request.address)).found
        opened = await self._walk(found.handle, request)
        # What an owner is shown should not be gone after a rollback.
        self._witnessing.rest_on_size(max((index + 1 for index, _, _ in opened), default=0))
        log = self._ledger.log
        checkpoint = log.checkpoint
        proofs = await self._link.inclusion([index for index, _, _ in opened], checkpoint.checkpoint.size)
        return TrailOf(
            version=found.version,
            entries=[
                TrailEntry(index=index, leaf=leaf, opened=exact, proof=proof)
                for (index, leaf, exact), proof in zip(opened, proofs, strict=True)
            ],
            checkpoint=checkpoint.note,
        )

    async def _walk(self, handle: bytes, request: Trail) -> list[tuple[int, bytes, bytes]]:
        """Index, leaf and encoded entry, newest first.

        Where to begin, a client may say: an entry opens in its own place only, and names its record. Whether it left
        one out between two answers, it sees by the numbers.
        """
        log, newest = self._ledger.log, await self._ledger.listing(handle)
        place, number = request.place or newest.last, 0 if request.place else newest.entries
        opened: list[tuple[int, bytes, bytes]] = []
        while place and len(opened) < request.limit:
            index = place - 1
            leaf = (await self._link.leaves([index]))[0] if index < log.size else None
            if leaf is None:
                raise Untrusted(Number.LOG_OMITTED, f"the host does not show leaf {index}")
            exact, said = log.open(leaf, index)
            if said.handle != handle or said.number != (number or said.number):
                raise Untrusted(Number.INTEGRITY, "the chain of a record's entries is broken")
            opened.append((index, leaf, exact))
            place, number = said.previous, said.number - 1
        return opened
