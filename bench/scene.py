"""A Vault, an Authenticator and an issuer on this machine, a namespace, and people with tickets."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.database import postgresql
from bench.processes import Server, cpu_of
from bench.watchers import policy_of, tell, watchers
from bench.wire import Wire, fetch_evidence
from strongroom.attestation.policy import RolePolicy
from strongroom.client.methods import oidc_method
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.platform.measurement import measure
from strongroom.enclave.runtime.clock import Clock
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import Role, parse_evidence
from strongroom.protocol.instructions import AuthenticatorRef, Instructions, bound_nonce, method_digest
from strongroom.protocol.messages import ById, OfNamespace, Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import Redeem
from strongroom.protocol.vault_messages import CreateNamespace, Describe, Store, StoreItem
from tests.support import policies
from tests.support.issuer import CLIENT_ID, REDIRECT, Issuer

RULES = """
permit(principal, action in [Action::"collect"], resource)
when { context.identity has email && context.identity.email == "bob@example.com" };
permit(principal, action in [Action::"update", Action::"delete", Action::"audit"], resource)
when { context.record.depositor == context.identity.principal };
"""
OPEN = 'permit(principal, action in [Action::"create", Action::"describe"], resource);'
NAMESPACE = "bench"


class Scene:
    """Servers running, and how to use them."""

    def __init__(
        self, vault: Server, authenticator: Server, issuer: Issuer, platform: InsecureSoftware, owner: SigningKey
    ) -> None:
        self.vault = vault
        self.authenticator = authenticator
        self.platform = platform
        self.owner = owner
        self.clusters: dict[str, bytes] = {}
        self.others: dict[str, int] = {}
        """Pids of what else works for them, by name."""
        self.use(issuer)

    def use(self, issuer: Issuer) -> None:
        """People sign in there from now on; the namespace has to be told."""
        self.issuer = issuer
        self.method = oidc_method(issuer.url, CLIENT_ID)

    def namespace(self, name: str, *, replaces: int = 0) -> CreateNamespace:
        """Of all whom the issuer signs in, without limits."""
        big = 2**40
        return CreateNamespace(
            request_id=os.urandom(16),
            namespace=name,
            replaces=replaces,
            instructions=self.instructions(OPEN, permanent=True),
            max_records=big,
            max_bytes=big,
            max_records_per_identity=big,
            max_bytes_per_identity=big,
        )

    def restart_vault(self) -> None:
        self.vault = self.vault.again()

    def restart_authenticator(self) -> None:
        self.authenticator = self.authenticator.again()

    def others_cpu(self) -> dict[str, float]:
        """CPU seconds of each of the others, with its children."""
        return {name: cpu_of(pid) for name, pid in self.others.items()}

    def policy(self, role: Role) -> RolePolicy:
        program = policies.software(roots=list(self.platform.roots), measurements=[measure(role)])
        return policies.role(clusters=[self.clusters[role]], insecure_software=program)

    def instructions(self, rules: str, *, permanent: bool = False) -> bytes:
        reference = AuthenticatorRef(url=self.authenticator.url, policy=encode(self.policy("authenticator")))
        return encode(
            Instructions(
                schema_version=1,
                authenticators=[reference],
                quorum=1,
                methods=[encode(self.method)],
                rules=rules,
                permanent=permanent,
            )
        )

    async def wire(self, role: Role, binding: SigningKey) -> Wire:
        url = self.vault.url if role == "vault" else self.authenticator.url
        return await Wire(url, role, self.policy(role), binding).open()

    async def ticket(self, binding: SigningKey, vault: Wire) -> Ticket:
        """Sign in as bob."""
        described: Any = await vault.ask(Describe(address=OfNamespace(namespace=NAMESPACE), tickets=[]))
        desk = await self.wire("authenticator", binding)
        ticket = await self.redeem(desk, binding, described.authenticators[0].capsule)
        desk.close()
        return ticket

    async def redeem(self, desk: Wire, binding: SigningKey, capsule: bytes) -> Ticket:
        """What the provider's code is worth at the Authenticator."""
        digest, salt = method_digest(encode(self.method)), os.urandom(32)
        self.issuer.nonce = bound_nonce(digest, binding.public, salt)
        signed_in = await desk.ask(
            Redeem(
                vault_cluster=self.clusters["vault"],
                capsule=capsule,
                method=digest,
                channel="native",
                redirect_uri=REDIRECT,
                code="code",
                code_verifier="v" * 43,
                salt=salt,
                with_ticket=None,
            )
        )
        ticket: Ticket = signed_in.ticket
        return ticket

    def store(self, ticket: Ticket, ids: list[bytes], instructions: bytes, size: int = 1024) -> Store:
        """A `store` of fresh records."""
        return Store(
            request_id=os.urandom(16),
            namespace=NAMESPACE,
            tickets=[ticket],
            items=[
                StoreItem(
                    address=ById(id=name),
                    replaces=0,
                    secret=bytes(size),
                    metadata=b"",
                    instructions=instructions,
                    terms=None,
                )
                for name in ids
            ],
        )


@asynccontextmanager
async def scene(store: str = "sqlite", witnesses: str = "0", cosignatures: str = "0") -> AsyncIterator[Scene]:
    """`store`: where the Vault keeps its rows, "sqlite" or "postgresql"; the Authenticator always has a file.

    So many `witnesses` run, and so many `cosignatures` it takes.
    """
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        owner = SigningKey.generate()
        platform = InsecureSoftware("vault", root / "platform")
        database = stack.enter_context(postgresql()) if store == "postgresql" else None
        url = "" if database is None else database.url
        watched = stack.enter_context(watchers(root, int(witnesses)))
        watching: dict[str, Any] = {}
        if watched:
            policy = root / "witnesses"
            policy.write_text(policy_of(watched, int(cosignatures)))
            watching = {"witnesses": policy, "founded": partial(tell, watched)}
        servers = [
            Server("vault", root / "vault", root / "platform", owner.public.hex(), database=url, **watching),
            Server("authenticator", root / "authenticator", root / "platform", owner.public.hex()),
        ]
        found: Scene | None = None
        try:
            async with Issuer(Clock(platform)).serving() as issuer:
                found = Scene(servers[0], servers[1], issuer, platform, owner)
                found.others = {f"witness {number}": one.pid for number, one in enumerate(watched)}
                if database is not None:
                    found.others["postgresql"] = database.pid
                for role, server in zip(("vault", "authenticator"), servers, strict=True):
                    found.clusters[role] = await cluster_of(server.url)
                wire = await found.wire("vault", owner)
                await wire.ask(found.namespace(NAMESPACE))
                wire.close()
                yield found
        finally:
            for server in servers if found is None else (found.vault, found.authenticator):
                server.stop()


async def cluster_of(url: str) -> bytes:
    """Cluster id that a server's evidence states; a benchmark trusts its own servers."""
    return parse_evidence(await fetch_evidence(url))[1].cluster_id
