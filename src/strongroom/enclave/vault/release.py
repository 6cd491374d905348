"""Giving out: `collect` and `describe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strongroom.enclave.runtime.peers import Peers
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault.decisions import Verdict, at_once, plan_of
from strongroom.enclave.vault.gate import Gate, until_settled
from strongroom.enclave.vault.records import Record
from strongroom.enclave.vault.shelf import Found, Shelf
from strongroom.enclave.vault.writer import Change, Writer
from strongroom.protocol.authenticator_messages import CapsuleContents
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError
from strongroom.protocol.instructions import method_digest, parse_method
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.messages import (
    ByName,
    Collect,
    Collected,
    Describe,
    Described,
    Item,
    ItemError,
    PublicMethod,
    SignInAt,
)
from strongroom.protocol.primitives import Domain, kem_seal
from strongroom.protocol.session import key_id

MAX_RELEASE: Final = MAX_MESSAGE - 64 * 1024
"""Bytes of secrets and metadata in one reply."""


class Release:
    """Operations that give out secrets, or how to sign in for them."""

    def __init__(self, cluster_id: bytes, peers: Peers, shelf: Shelf, writer: Writer, gate: Gate) -> None:
        self._cluster_id = cluster_id
        self._peers = peers
        self._shelf = shelf
        self._writer = writer
        self._gate = gate

    async def collect(self, caller: Caller, request: Collect) -> Collected:
        handles = [self._shelf.handle(address) for address in request.addresses]
        if len(set(handles)) != len(handles):
            raise Misuse(Number.MALFORMED, "an address is listed twice")
        return await until_settled(lambda: self._collect(caller, request, handles))

    async def _collect(self, caller: Caller, request: Collect, handles: list[bytes]) -> Collected:
        async with self._writer.watching(handles) as watches:
            found = await self._shelf.find(handles)
            verdicts = await self._decide_apart(caller, request, found)
            change, refusals, room = Change(), [], MAX_RELEASE
            for one in found:
                verdict = verdicts[one.handle]
                if verdict.allowed:
                    room -= one.size
                    if room < 0:
                        # Before it is logged as released: the client asks for the rest in another request.
                        verdict = verdicts[one.handle] = Verdict(int(Number.TOO_LARGE), verdict.identity)
                entry = self._gate.entry("collect", one, verdict)
                if verdict.allowed:
                    change.log.append(entry)
                    change.watches.append(watches[one.handle])
                else:
                    refusals.append((one, verdict, entry))
            if change.log:
                # No secret leaves before its access-log entry is durable.
                await self._writer.submit(change)
        await self._gate.write_refusals(refusals)
        return Collected(results=[_result(one, verdicts[one.handle]) for one in found])

    async def _decide_apart(self, caller: Caller, request: Collect, found: Sequence[Found]) -> dict[bytes, Verdict]:
        """One decision per distinct instructions and record facts; a verdict per handle."""
        groups: dict[tuple[bytes, bytes], tuple[Record, list[Found]]] = {}
        verdicts: dict[bytes, Verdict] = {}
        for address, one in zip(request.addresses, found, strict=True):
            if one.live is not None:
                groups.setdefault((one.live.instructions, one.live.facts), (one.live, []))[1].append(one)
                continue
            verdicts[one.handle] = Verdict(int(Number.REFUSED), "")
            if isinstance(address, ByName):
                # The same path as for a record that exists and refuses (RULES 19).
                await self._gate.may_describe(caller, address.namespace, request.tickets)
        decided = await at_once(
            [
                self._gate.decide("collect", record, group, caller.binding_key, request.tickets)
                for record, group in groups.values()
            ]
        )
        for (_, group), answers in zip(groups.values(), decided, strict=True):
            verdicts |= {one.handle: verdict for one, verdict in zip(group, answers, strict=True)}
        return verdicts

    async def describe(self, caller: Caller, request: Describe) -> Described:
        if isinstance(request.address, ByName) and not await self._gate.may_describe(
            caller, request.address.namespace, request.tickets
        ):
            raise Refused
        record = (await self._shelf.find_one(self._shelf.handle(request.address))).record
        if record is None:
            self._writer.count_unticketed()
            raise Refused
        instructions = plan_of(record.instructions).instructions
        contents = encode(CapsuleContents(vault_cluster=self._cluster_id, methods=instructions.methods))
        reached = await at_once(
            [self._sign_in_at(one.url, one.policy, contents) for one in instructions.authenticators]
        )
        usable = [one for one in reached if isinstance(one, SignInAt)]
        for problem in reached:
            if isinstance(problem, StrongroomError) and len(usable) < instructions.quorum:
                raise problem
        return Described(
            authenticators=usable,
            quorum=instructions.quorum,
            methods=[
                PublicMethod(digest=method_digest(method), kind="oidc", public=encode(parse_method(method).public))
                for method in instructions.methods
            ],
        )

    async def _sign_in_at(self, url: str, policy: bytes, contents: bytes) -> SignInAt | StrongroomError:
        try:
            peer = await self._peers.get(url, policy)
        except StrongroomError as error:
            return error
        kem_key = peer.genuine.claims.kem_key
        capsule = key_id(kem_key) + kem_seal(kem_key, contents, Domain.CAPSULE, self._cluster_id)
        return SignInAt(url=url, cluster_id=peer.cluster_id, capsule=capsule)


def _result(found: Found, verdict: Verdict) -> Item | ItemError:
    if verdict.allowed and found.live is not None:
        return Item(version=found.version, secret=found.live.secret, metadata=found.live.metadata)
    return ItemError(number=verdict.number)
