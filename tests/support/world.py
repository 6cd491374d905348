"""A Vault and an Authenticator in this process, joined by a host that tests can make lie.

Everything measured is real: platform, quotes, appraisal, sessions, sealing, rules. The host's part, which carries
bytes and keeps rows, is an object that tests mutate: its rows, its courier, its clock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from strongroom.attestation.policy import RolePolicy
from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.measurement import measure
from strongroom.enclave.runtime.enclave import Enclave
from strongroom.enclave.runtime.ring import Ring, open_ring
from strongroom.enclave.runtime.sealed_ring import instance_key
from strongroom.enclave.vault import build_vault
from strongroom.protocol.authenticator_messages import AuthenticatorReply
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Unavailable, from_number
from strongroom.protocol.evidence import evidence_digest, parse_evidence
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.index import HEAD_KEY, RING_KEY, bucket_key
from strongroom.protocol.instructions import (
    Audience,
    AuthenticatorRef,
    Instructions,
    OidcMethod,
    OidcPublic,
    OidcSecret,
    method_digest,
)
from strongroom.protocol.leaves import Entry, EntryLeaf, log_origin, parse_leaf
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.link import Operation, Put, Row
from strongroom.protocol.link import encode as encode_link
from strongroom.protocol.log_messages import Logged
from strongroom.protocol.messages import Error, Prove, Ticket
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.session import ClientHandshake, split_reply
from strongroom.protocol.tlog import leaf_hash
from strongroom.protocol.vault_messages import (
    Collect,
    CreateNamespace,
    Delete,
    Describe,
    Fill,
    GrantBlob,
    History,
    Store,
    StoreItem,
    Update,
    VaultReply,
)
from tests.support import policies, starting, trees

AUTHENTICATOR_URL = "http://authenticator.test"
ISSUER = "https://idp.example.com"
METHOD = encode(
    OidcMethod(
        public=OidcPublic(
            issuer=ISSUER,
            audiences=[Audience(channel="native", client_id="strongroom", redirect_uri="http://127.0.0.1/callback")],
            scopes=["openid", "email"],
        ),
        secret=OidcSecret(client_secret=""),
        algorithms=["ES256"],
        email_domains=[],
        acr_values=[],
        max_age=0,
        pushed=False,
    )
)
OPERATIONS = {"evidence": Operation.EVIDENCE, "session": Operation.SESSION, "frame": Operation.FRAME}


class Platform(InsecureSoftware):
    """The software platform with a clock that a test can turn."""

    ahead: float = 0

    def now(self) -> float:
        return super().now() + self.ahead


class Host:
    """Keeps rows in memory and carries bytes to other enclaves; every part of it may be replaced by a liar."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.log: list[bytes] = []
        self.commits = 0
        self.fail_commit: StrongroomError | None = None
        self.witnesses: Callable[[bytes], Awaitable[bytes]] = self.no_witnesses
        self.routes: dict[str, Callable[[Operation, bytes], Awaitable[bytes]]] = {}
        self.carry: Callable[[str, bytes | None], Awaitable[bytes]] = self.post_honestly

    @property
    def kept(self) -> dict[bytes, Row]:
        """The rows but those in which the Vault keeps account of the others."""
        own = {HEAD_KEY, *map(bucket_key, range(len(self.rows)))}
        return {key: row for key, row in self.rows.items() if key not in own}

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        await asyncio.sleep(0)
        return [self.rows.get(key) for key in keys]

    async def commit(self, puts: Sequence[Put], size: int, leaves: Sequence[bytes]) -> None:
        await asyncio.sleep(0)
        if self.fail_commit is not None:
            raise self.fail_commit
        for put in puts:
            row = self.rows.get(put.key)
            if (row.version if row else 0) != put.replaces:
                raise Misuse(Number.CONFLICT)
        if size != len(self.log):
            raise Misuse(Number.CONFLICT)
        for put in puts:
            self.rows[put.key] = Row(put.version, put.sealed)
        self.log.extend(leaves)
        self.commits += 1

    async def leaves(self, indexes: Sequence[int]) -> list[bytes | None]:
        await asyncio.sleep(0)
        return [self.log[index] if index < len(self.log) else None for index in indexes]

    async def inclusion(self, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        hashes = [leaf_hash(leaf) for leaf in self.log[:size]]
        return [trees.inclusion(index, hashes) for index in indexes]

    async def consistency(self, old: int, size: int) -> list[bytes]:
        return trees.consistency(old, [leaf_hash(leaf) for leaf in self.log[:size]])

    async def cosign(self, note: bytes) -> bytes:
        return await self.witnesses(note)

    async def no_witnesses(self, note: bytes) -> bytes:
        return b""

    async def post(self, url: str, body: bytes | None) -> bytes:
        return await self.carry(url, body)

    async def collateral(self, kind: str, quote: bytes, endorsements: bytes) -> bytes:
        raise Unavailable(Number.COLLATERAL_UNAVAILABLE)  # software enclaves bring their own

    async def post_honestly(self, url: str, body: bytes | None) -> bytes:
        base, _, name = url.partition("/v1/")
        if base not in self.routes:
            raise Unavailable(Number.AUTHENTICATOR_UNAVAILABLE)
        return await self.routes[base](OPERATIONS[name], body or b"")


class Instance:
    """One enclave with its host."""

    def __init__(self, role: Any, state: Path, build: Any, owner_key: bytes) -> None:
        self.role = role
        self.state = state
        self.build = build
        self.owner_key = owner_key
        self.host = Host()
        self.witnesses: list[str] = []
        self.cosignatures = 0
        self.platform = Platform(role, state)
        self.enclave: Enclave

    async def start(self) -> None:
        self.enclave = Enclave(self.platform, self.role, self.build, self.host)  # type: ignore[arg-type]
        start = starting.start(
            mode="open" if self.host.rows else "develop",
            owner_key=self.owner_key,
            witnesses=self.witnesses,
            cosignatures=self.cosignatures,
        )
        await self.enclave.handle(Operation.START, encode_link(start))

    async def evidence(self) -> bytes:
        return await self.enclave.handle(Operation.EVIDENCE, b"")

    @property
    def ring(self) -> Ring:
        """The open ring, also before anything is served."""
        return open_ring(self.platform, self.host.rows[RING_KEY], self.role, instance_key(self.platform))[0]

    @property
    def ring_origin(self) -> str:
        return log_origin(self.ring.cluster_id)


class RawClient:
    """A client that speaks the protocol by hand, without any of the SDK's manners."""

    def __init__(self, instance: Instance, binding: SigningKey | None = None) -> None:
        self.instance = instance
        self.binding = binding or SigningKey.generate()
        self.replies: Any = VaultReply if instance.role == "vault" else AuthenticatorReply

    async def open(self) -> RawClient:
        await self.handshake()
        await self.ask(self.proof())
        return self

    async def handshake(self) -> None:
        evidence = await self.instance.evidence()
        _, claims, _ = parse_evidence(evidence)
        handshake = ClientHandshake(
            self.instance.role,
            evidence_digest(evidence),
            claims.kem_key,
            self.binding.public,
            seed=os.urandom(32),
            kem_seed=os.urandom(32),
        )
        self.handshaken = handshake
        self.answer = await self.send(Operation.SESSION, handshake.hello)
        self.channel = handshake.finish(self.answer)

    def proof(self, evidence: bytes | None = None) -> Prove:
        return Prove(signature=self.binding.sign(Domain.PROOF, self.channel.transcript), evidence=evidence)

    async def send(self, operation: Operation, body: bytes) -> bytes:
        return await self.instance.enclave.handle(operation, body)

    async def ask(self, request: Message) -> Any:
        """The reply; an `Error` is raised as the error that it stands for."""
        return await self.ask_bytes(encode(request))

    async def ask_bytes(self, request: bytes) -> Any:
        counter, frame = self.channel.seal(request)
        _, plaintext = self.channel.open(await self.send(Operation.FRAME, frame))
        replies_to, message = split_reply(plaintext)
        assert replies_to == counter
        reply = decode(message, self.replies, limit=MAX_MESSAGE)
        if isinstance(reply, Logged):
            self.checkpoint = reply.checkpoint
            reply = decode(reply.reply, self.replies, limit=MAX_MESSAGE)
        if isinstance(reply, Error):
            raise from_number(reply.number, index=reply.index, place=reply.place, version=reply.version)
        return reply


class World:
    """One Vault and one Authenticator of the same machine."""

    def __init__(self, state: Path) -> None:
        self.owner = SigningKey.generate()
        self.vault = Instance("vault", state, build_vault, self.owner.public)
        self.authenticator = Instance("authenticator", state, build_authenticator, self.owner.public)
        self.vault.host.routes[AUTHENTICATOR_URL] = self._to_authenticator

    async def _to_authenticator(self, operation: Operation, body: bytes) -> bytes:
        return await self.authenticator.enclave.handle(operation, body)

    async def start(self) -> World:
        await self.vault.start()
        await self.authenticator.start()
        self.vault_cluster = parse_evidence(await self.vault.evidence())[1].cluster_id
        self.authenticator_cluster = parse_evidence(await self.authenticator.evidence())[1].cluster_id
        return self

    def policy(self, role: Any = "authenticator") -> RolePolicy:
        """Accepts exactly the enclave of this world in that role."""
        program = policies.software(roots=list(self.vault.platform.roots), measurements=[measure(role)])
        cluster = self.vault_cluster if role == "vault" else self.authenticator_cluster
        return policies.role(clusters=[cluster], insecure_software=program)

    def ticket(self, person: str, binding: SigningKey, *, vault_cluster: bytes | None = None) -> Ticket:
        """The ticket that the Authenticator issues to `person` once the provider of `METHOD` has signed them in."""
        signed_in = msgspec.structs.replace(
            fact(method_digest(METHOD), "oidc", person), issuer=ISSUER, email=f"{person}@example.com", channel="native"
        )
        return self.ticket_for(signed_in, binding, vault_cluster=vault_cluster)

    def ticket_for(
        self,
        signed_in: Fact,
        binding: SigningKey,
        *,
        vault_cluster: bytes | None = None,
        beside: Fact | None = None,
    ) -> Ticket:
        """The ticket of the Authenticator for whatever a sign-in has proved, joined by another one `beside`."""
        service: Any = self.authenticator.enclave._door._service  # type: ignore[union-attr]
        cluster, sealer = vault_cluster or self.vault_cluster, service._sealer
        now = int(self.authenticator.platform.now())
        ticket, _ = sealer.issue_ticket(binding.public, cluster, signed_in, now)
        if beside is not None:
            earlier = sealer.open_ticket(ticket, binding_key=binding.public, vault_cluster=cluster, now=now)
            ticket, _ = sealer.issue_ticket(binding.public, cluster, beside, now, earlier)
        return ticket

    def instructions(self, rules: str, **changes: Any) -> bytes:
        """Encoded instructions with these Cedar rules, this world's Authenticator and `METHOD`."""
        fields: dict[str, Any] = {
            "schema_version": 1,
            "authenticators": [AuthenticatorRef(url=AUTHENTICATOR_URL, policy=encode(self.policy()))],
            "quorum": 1,
            "methods": [METHOD],
            "rules": rules,
            "permanent": False,
        }
        return encode(Instructions(**(fields | changes)))

    def handle(self, address: Any) -> bytes:
        """Row key of a record of the Vault."""
        service: Any = self.vault.enclave._door._service  # type: ignore[union-attr]
        return service._release._shelf.handle(address)

    def entries(self, since: int = 0) -> list[Entry]:
        """Lines of the access log in leaves from `since` on, as only the Vault can read them."""
        service: Any = self.vault.enclave._door._service  # type: ignore[union-attr]
        log, leaves = service._ledger.log, self.vault.host.log
        entries = (at for at in range(since, len(leaves)) if isinstance(parse_leaf(leaves[at]), EntryLeaf))
        return [log.open(leaves[at], at)[1] for at in entries]

    async def client(self, person: str | None = None) -> Person:
        """A proved session to the Vault, with tickets of `person` if one is named."""
        client = Person(self.vault)
        await client.open()
        if person is not None:
            client.tickets = [self.ticket(person, client.binding)]
        return client

    async def namespace(self, name: str = "team", *, create: str = "", **quota: int) -> None:
        """A namespace in which anybody signed in may create and describe, or who the rules `create` say."""
        owner = RawClient(self.vault, self.owner)
        await owner.open()
        fields = {
            "max_records": 1000,
            "max_bytes": 10_000_000,
            "max_records_per_identity": 1000,
            "max_bytes_per_identity": 10_000_000,
        } | quota
        await owner.ask(
            CreateNamespace(
                request_id=os.urandom(16),
                namespace=name,
                replaces=0,
                instructions=self.instructions(create or permit("create", "describe"), permanent=True),
                **fields,
            )
        )


class Person(RawClient):
    """A client with tickets, and the operations in one line each."""

    tickets: list[Ticket] = []  # noqa: RUF012

    async def store(self, address: Any, secret: bytes, instructions: bytes, **changes: Any) -> Any:
        item = StoreItem(
            address=address,
            replaces=changes.pop("replaces", 0),
            secret=secret,
            metadata=b"",
            instructions=instructions,
            terms=changes.pop("terms", None),
        )
        fields = {"request_id": os.urandom(16), "namespace": "team", "tickets": self.tickets, "items": [item]}
        return await self.ask(Store(**(fields | changes)))

    async def collect(self, *addresses: Any, request_id: bytes | None = None) -> Any:
        request = Collect(request_id=request_id or os.urandom(16), tickets=self.tickets, addresses=list(addresses))
        return (await self.ask(request)).results

    async def update(self, address: Any, replaces: int, **changes: Any) -> Any:
        fields: dict[str, Any] = {"request_id": os.urandom(16), "secret": None, "metadata": None, "instructions": None}
        fields |= {"terms": None, "tickets": self.tickets}
        return await self.ask(Update(address=address, replaces=replaces, **(fields | changes)))

    async def fill(self, address: Any, replaces: int, secret: bytes, **changes: Any) -> Any:
        fields = {"request_id": os.urandom(16), "metadata": b"", "tickets": self.tickets}
        return await self.ask(Fill(address=address, replaces=replaces, secret=secret, **(fields | changes)))

    async def history(self, address: Any) -> Any:
        return await self.ask(History(address=address, tickets=self.tickets))

    async def grant_blob(self, address: Any) -> Any:
        return await self.ask(GrantBlob(address=address, tickets=self.tickets))

    async def delete(self, address: Any, replaces: int, **changes: Any) -> Any:
        fields = {"request_id": os.urandom(16), "tickets": self.tickets}
        return await self.ask(Delete(address=address, replaces=replaces, **(fields | changes)))

    async def describe(self, address: Any) -> Any:
        return await self.ask(Describe(address=address, tickets=self.tickets))


def permit(*actions: str, email: str | None = None) -> str:
    """One Cedar policy."""
    names = ", ".join(f'Action::"{action}"' for action in actions)
    condition = f' when {{ context.identity has email && context.identity.email == "{email}" }}' if email else ""
    return f"permit(principal, action in [{names}], resource){condition};\n"


def for_bob() -> str:
    """bob may collect; alice may do the rest."""
    return permit("collect", email="bob@example.com") + permit("update", "delete", "audit", email="alice@example.com")
