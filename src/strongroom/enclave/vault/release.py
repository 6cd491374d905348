"""Giving out: `collect` and `describe`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from strongroom.enclave.runtime.peers import Peers
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.cases import Asker, Case
from strongroom.enclave.vault.decisions import REFUSED, Verdict, at_once
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.journal import Note
from strongroom.enclave.vault.plans import plan_of
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.standing import Approvers
from strongroom.enclave.vault.writer import Change, Writer
from strongroom.protocol.authenticator_messages import Enclose, Enclosed
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.instructions import AuthenticatorRef, method_digest, parse_method
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.messages import ByName, ByPerson
from strongroom.protocol.vault_messages import (
    Collect,
    Collected,
    Describe,
    Described,
    Item,
    ItemError,
    PublicMethod,
    SignInAt,
)

MAX_RELEASE: Final = MAX_MESSAGE - 64 * 1024
"""Bytes of secrets and metadata in one reply."""
TOLD: Final = frozenset({0, Number.TOO_LARGE, Number.CLOSED, Number.EXPIRED, Number.OPENED_OUT})
"""Answers that only those get whom the record's own rules permit: they know that it is there."""


class Release:
    """Operations that give out secrets, or how to sign in for them."""

    def __init__(self, peers: Peers, shelf: Shelf, writer: Writer, gate: Gate) -> None:
        self._peers = peers
        self._shelf = shelf
        self._writer = writer
        self._gate = gate

    async def collect(self, caller: Caller, request: Collect) -> Collected:
        handles = [self._shelf.handle(address) for address in request.addresses]
        if len(set(handles)) != len(handles):
            raise Misuse(Number.MALFORMED, "an address is listed twice")
        asker = Asker.of(caller, request.tickets, request.request_id)
        return await until_settled(lambda: self._collect(asker, request, handles))

    async def _collect(self, asker: Asker, request: Collect, handles: list[bytes]) -> Collected:
        async with self._writer.watching(handles) as watches:
            found = await self._shelf.find_each(handles)
            verdicts, told, change = await self._decide_apart(asker, request, found)
            tokens = await self._gate.hold_to_terms(asker, request.request_id, found, verdicts)
            refusals, room = [], MAX_RELEASE
            notes: dict[bytes, Note | None] = {}
            for one in found:
                verdict = verdicts[one.handle]
                if verdict.allowed:
                    room -= one.size
                    if room < 0:
                        # Before it is logged as released: the client asks for the rest in another request.
                        verdict = verdicts[one.handle] = verdict.but(Number.TOO_LARGE)
                if verdict.allowed:
                    token = tokens.get(one.handle)
                    notes[one.handle] = self._gate.trace(change, "collect", one, verdict, token)
                    change.watches.append(watches[one.handle])
                else:
                    refusals.append((one, verdict))
            if change.log:
                # No secret leaves before its access-log entry is durable.
                await self._writer.submit(change)
        await self._gate.write_refusals("collect", refusals)
        results = []
        for address, one in zip(request.addresses, found, strict=True):
            unknown = isinstance(address, ByName | ByPerson) and not told[address.namespace]
            verdict = REFUSED if unknown and _hides(verdicts[one.handle]) else verdicts[one.handle]
            results.append(_result(one, verdict, notes.get(one.handle)))
        return Collected(results=results)

    async def _decide_apart(
        self, asker: Asker, request: Collect, found: Sequence[Found]
    ) -> tuple[dict[bytes, Verdict], dict[str, bool], Change]:
        """One decision per distinct instructions and record facts.

        A verdict per handle; by namespace named, whether the caller may know what is in it; the traces of that.
        """
        verdicts = {
            one.handle: REFUSED if one.damaged is None else Verdict(int(one.damaged))
            for one in found
            if one.live is None
        }
        live = [(one, one.live) for one in found if one.live is not None]
        groups: dict[tuple[bytes, bytes, Approvers], list[Case]] = {}
        for case in await self._gate.cases("collect", live, asker):
            groups.setdefault((case.record.instructions, case.facts, case.approvers), []).append(case)
        named = (address for address in request.addresses if isinstance(address, ByName | ByPerson))
        namespaces = list({address.namespace for address in named})
        deciding = [self._gate.decide("collect", group, asker) for group in groups.values()]
        describing = [self._gate.may_describe(asker, namespace) for namespace in namespaces]
        if describing:
            # Beside each other, so that neither the number nor the time tells whether a name exists.
            decided, described = await asyncio.gather(at_once(deciding), at_once(describing))
        else:
            decided, described = await at_once(deciding), []
        for group, answers in zip(groups.values(), decided, strict=True):
            verdicts |= {case.found.handle: verdict for case, verdict in zip(group, answers, strict=True)}
        told = {namespace: allowed for namespace, (allowed, _) in zip(namespaces, described, strict=True)}
        change = Change()
        for _, traces in described:
            change.take(traces)
        return verdicts, told, change

    async def describe(self, caller: Caller, request: Describe) -> Described:
        if isinstance(request.address, ByName | ByPerson):
            asker = Asker.of(caller, request.tickets)
            allowed, traces = await self._gate.may_describe(asker, request.address.namespace)
            if traces.log:
                await self._writer.submit(traces)
            if not allowed:
                raise Refused
        record = (await self._shelf.find_one(self._shelf.handle(request.address))).record
        if record is None:
            self._writer.count_unticketed()
            raise Refused
        instructions = plan_of(record.instructions).instructions
        reached = await at_once([self._sign_in_at(one, instructions.methods) for one in instructions.authenticators])
        usable = [one for one in reached if isinstance(one, SignInAt)]
        for problem in reached:
            if isinstance(problem, StrongroomError) and len(usable) < instructions.quorum:
                raise problem
        return Described(
            authenticators=usable,
            quorum=instructions.quorum,
            methods=[
                PublicMethod(digest=method_digest(exact), kind=method.kind, public=encode(method.public))
                for exact, method in ((exact, parse_method(exact)) for exact in instructions.methods)
            ],
        )

    async def _sign_in_at(self, reference: AuthenticatorRef, methods: list[bytes]) -> SignInAt | StrongroomError:
        request = Enclose(methods=methods)
        try:
            cluster, reply = await self._peers.ask(reference.url, reference.policy, request, Enclosed)
        except StrongroomError as error:
            return error
        return SignInAt(url=reference.url, cluster_id=cluster, capsule=reply.capsule)


def _hides(verdict: Verdict) -> bool:
    """Whether who may not even describe is told REFUSED instead of this verdict."""
    return verdict.number not in TOLD


def _result(found: Found, verdict: Verdict, note: Note | None) -> Item | ItemError:
    if verdict.allowed and found.live is not None:
        return Item(
            version=found.version,
            secret=found.live.secret,
            metadata=found.live.metadata,
            author=found.live.author,
            terms=found.live.terms,
            opens=0 if note is None else note.opens,
        )
    return ItemError(number=verdict.number)
