"""A cluster whose machines are to be lost, and the people who use it: what they stored, and what they know of it."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.client.checkpoints import KeptCheckpoints, MemoryCheckpoints
from strongroom.client.methods import keys_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.results import NewSecret, Released
from strongroom.client.sign_in import KeySignIn
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.evidence import Role
from strongroom.protocol.instructions import AuthenticatorRef, KeysMethod
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.messages import ById
from strongroom.protocol.notes import parse_checkpoint
from tests.soak.cluster import _identity
from tests.support.command import strongroom
from tests.support.machines import Machine, People

NAMESPACE = "drill"
BIG = 2**40
ROLES: tuple[Role, ...] = ("vault", "authenticator")
Records = dict[bytes, bytes]
"""Secrets by record id."""


@dataclass
class Site:
    """The cluster, its people, and what was stored."""

    root: Path
    people: People
    ports: dict[Role, int]
    first: Machine
    second: Machine
    """Stands by, switched off. Its processor's maker is known to every policy, as a real one's would be."""
    secrets: Records = field(default_factory=dict)
    """All that was acknowledged before the last backup began."""
    meanwhile: Records = field(default_factory=dict)
    """Acknowledged while it was made."""
    given_up: Records = field(default_factory=dict)
    """Acknowledged after it."""
    backups: dict[Role, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now = self.secrets
        """Where what is acknowledged now is remembered."""
        self.alice = _identity(self.root, "alice")
        self.chance = random.Random(7)

    def url(self, role: Role) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    @property
    def method(self) -> KeysMethod:
        return keys_method({"alice": self.alice.line})

    def instructions(self, rules: Policy, **fields: Any) -> bytes:
        reference = AuthenticatorRef(url=self.url("authenticator"), policy=encode(self.people.policy("authenticator")))
        return instructions(authenticators=[reference], methods=[self.method], rules=rules, **fields)

    def client(self, **options: Any) -> AsyncVault:
        """Somebody who knows no more than a trust policy, and has an ssh key."""
        options.setdefault("checkpoints", MemoryCheckpoints())
        return AsyncVault(self.url("vault"), self.people.trust, sign_in=KeySignIn(self.alice.key), **options)

    @property
    def kept(self) -> KeptCheckpoints:
        """What a user at home keeps of the cluster, from one program to the next."""
        return KeptCheckpoints(self.people.folder / "checkpoints")

    def returning(self, notices: list[str]) -> AsyncVault:
        """A new program of that user, who is told `notices`."""
        return self.client(checkpoints=self.kept, notice=notices.append)

    def seen(self, generation: int = 0) -> int:
        """Lines of the log that this user has seen."""
        note = self.kept.highest(log_origin(self.people.clusters["vault"], generation=generation))
        assert note is not None
        return parse_checkpoint(note).checkpoint.size

    async def namespace(self) -> None:
        everybody = Policy.namespace(create=Policy.anyone_signed_in(self.method))
        async with AsyncVault(
            self.url("vault"), self.people.trust, binding_key=self.people.owner, checkpoints=MemoryCheckpoints()
        ) as owner:
            await owner.create_namespace(
                NAMESPACE,
                instructions=self.instructions(everybody, permanent=True),
                max_records=BIG, max_bytes=BIG, max_records_per_identity=BIG, max_bytes_per_identity=BIG,
            )  # fmt: skip

    async def store(self, client: AsyncVault, count: int) -> None:
        """New records; those that were acknowledged are remembered."""
        rules = self.instructions(Policy.listed(self.method, "alice").may("collect", "update", "delete"))
        new = {self.chance.randbytes(16): self.chance.randbytes(300) for _ in range(count)}
        await client.store_many(
            [NewSecret(secret, rules, record_id=record) for record, secret in new.items()], namespace=NAMESPACE
        )
        self.now.update(new)

    async def collect_all(self, client: AsyncVault) -> None:
        """Every record that must be there, and each as it was."""
        for secret, found in await self._collected(client, self.secrets):
            assert not isinstance(found, StrongroomError), found
            assert found.secret == secret

    async def miss_the_rest(self, client: AsyncVault) -> None:
        """What was stored while the backup was made is there as it was, or not at all; of what came later, nothing."""
        for secret, found in await self._collected(client, self.meanwhile):
            assert found.number is Number.REFUSED if isinstance(found, StrongroomError) else found.secret == secret
        for _, found in await self._collected(client, self.given_up):
            assert isinstance(found, StrongroomError)
            assert found.number is Number.REFUSED

    async def _collected(self, client: AsyncVault, records: Records) -> list[tuple[bytes, Released | StrongroomError]]:
        ids, pairs = list(records), []
        for first in range(0, len(ids), 200):
            some = ids[first : first + 200]
            found = await client.collect_many([ById(id=one) for one in some])
            pairs += [(records[one], each) for one, each in zip(some, found, strict=True)]
        return pairs

    async def backed_up(self, role: Role, name: str, *options: object) -> dict[str, Any]:
        """By the command, as operators do; from the first machine while it serves."""
        target = self.root / name
        done = await asyncio.to_thread(
            strongroom, "backup", target, "--data", self.first.data(role), "--json", *options, cwd=self.root
        )
        assert done.status == 0, done.err
        self.backups[role] = target
        made: dict[str, Any] = json.loads(done.out)
        return made

    def restored(self, role: Role, machine: Machine, *options: object) -> None:
        done = strongroom("restore", self.backups[role], "--data", machine.data(role), *options, cwd=self.root)
        assert done.status == 0, done.err
        people = self.people
        assert f"--recover, and then {people.threshold} of {people.count}: custodian-0" in " ".join(done.err.split())
