"""docs/howto/instances.md as operators follow it: Vaults with a PostgreSQL database, started, killed and suspended."""

import asyncio
import os
import shutil
import signal
from contextlib import AsyncExitStack

import pytest

from strongroom.cli.terminal import EXIT_UNAVAILABLE
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.methods import keys_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.sign_in import KeySignIn
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError, Unavailable
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.messages import ById
from tests.soak.cluster import _identity
from tests.support.command import strongroom
from tests.support.howto import commands
from tests.support.machines import Machine, People, Serving, founded, ports
from tests.support.postgres import PASSWORD
from tests.support.upgrading import Balancer, Load

pytestmark = pytest.mark.needs("postgres")
NAMESPACE = "instances"
BIG = 2**40
PATIENCE = 15.0
"""Seconds: five for the lease, and what a busy machine takes for the rest."""


class Cluster:
    """Two machines with a Vault each, whose database is the same. The first one was founded."""

    def __init__(self, folder, database):
        self.database = database
        self.home, *folders = (folder / name for name in ("home", "one", "two"))
        for made in (self.home, *folders):
            made.mkdir()
        self.machines = [Machine(one) for one in folders]
        self.machines[1].platform = self.machines[0].platform  # software believes in software of the same maker
        self.people = People(self.home, 1, 1, self.machines[0].roots)
        self.alice = _identity(folder, "alice")
        self.ports = ports(2)
        self.started = []

    @property
    def urls(self):
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    async def found(self):
        self.started.append(authenticator := Serving(self.machines[0], "authenticator", ports(1)[0]))
        vault = await founded(self.machines[0], self.people, "vault", self.ports[0], "--database", self.database)
        self.started.append(vault)
        shown = await asyncio.to_thread(authenticator.says, state="serving")
        self.people.clusters["authenticator"] = bytes.fromhex(shown["cluster_id"])
        await asyncio.to_thread(self._invite)
        method = keys_method({"alice": self.alice.line})
        policy = encode(self.people.policy("authenticator"))
        self.rules, permanent = (
            instructions(
                authenticators=[AuthenticatorRef(url=authenticator.url, policy=policy)], methods=[method], **rules
            )
            for rules in (
                {"rules": Policy.listed(method, "alice").may("collect", "update", "delete", "audit")},
                {"rules": Policy.namespace(create=Policy.anyone_signed_in(method)), "permanent": True},
            )
        )
        async with AsyncVault(vault.url, self.people.trust, binding_key=self.people.owner) as owner:
            await owner.create_namespace(
                NAMESPACE, instructions=permanent,
                max_records=BIG, max_bytes=BIG, max_records_per_identity=BIG, max_bytes_per_identity=BIG,
            )  # fmt: skip
        return vault

    def client(self, url):
        """Alice, who keeps nothing."""
        key = KeySignIn(self.alice.key)
        return AsyncVault(url, self.people.trust, sign_in=key, checkpoints=MemoryCheckpoints())

    def join(self, at, member):
        """The page's command on that machine, which the owner has invited."""
        documented = {
            "https://vault-1.example.com": member,
            "postgresql://strongroom_vault@db.example.com/vault": self.database,
            "10.0.0.2:8400": f"127.0.0.1:{self.ports[at]}",
        }
        [options] = commands("instances", "serve vault", documented)
        self.started.append(joining := Serving(self.machines[at], "vault", self.ports[at], *options))
        return joining

    async def stand_by(self, at, member):
        joining = self.join(at, member)
        await asyncio.to_thread(joining.says, state="standing-by", url=joining.url)
        return joining

    def serve(self, at):
        """Without a word about the others."""
        vault = Serving(self.machines[at], "vault", self.ports[at], "--database", self.database)
        self.started.append(vault)
        return vault

    def _invite(self):
        invite, _ = commands("instances", "cluster invite", {"https://vault-1.example.com": self.urls[0]})
        ran = strongroom("cluster", "invite", *invite, cwd=self.home)
        assert ran.status == 0, ran.err
        for machine in self.machines:
            shutil.copy(self.home / "invitation", machine.folder)


@pytest.fixture
async def cluster(tmp_path, postgres_server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    made = Cluster(tmp_path, postgres_server.url(postgres_server.database()))
    yield made
    for one in made.started:
        one.end()


async def test_one_that_stands_by_takes_over_under_load_from_one_that_stops_is_killed_or_suspended(cluster):
    one = await cluster.found()
    two = await cluster.stand_by(1, one.url)
    async with AsyncExitStack() as stack:
        loads = []
        for order in (cluster.ports, cluster.ports[::-1]):
            balancer = await stack.enter_async_context(Balancer(order).open())
            vault = await stack.enter_async_context(cluster.client(balancer.url))
            loads += [Load(vault, NAMESPACE, cluster.rules) for _ in range(2)]

        async def more():
            await asyncio.gather(*(load.more(3) for load in loads if not load.working.done()))

        async def stop():
            await asyncio.gather(*(load.stop() for load in loads))

        await more()
        await asyncio.to_thread(one.end)
        await asyncio.to_thread(two.says, state="serving")
        await more()

        one = await cluster.stand_by(0, two.url)
        await more()
        await asyncio.to_thread(two.kill)
        await asyncio.to_thread(one.says, state="serving")
        await more()
        await stop()

        # Whoever talks to the one that is suspended gets no answer, so there is nobody but one, who will get none.
        two = await cluster.stand_by(1, one.url)
        stale, through = [await stack.enter_async_context(cluster.client(vault.url)) for vault in (one, two)]
        loads += [Load(through, NAMESPACE, cluster.rules) for _ in range(2)]
        await more()
        await stale.collect(ById(next(iter(loads[0].secrets))))
        one.signal(signal.SIGSTOP)
        late = ById(id=os.urandom(16))
        storing = asyncio.ensure_future(
            stale.store(b"late", instructions=cluster.rules, namespace=NAMESPACE, record_id=late.id)
        )
        await asyncio.to_thread(two.says, state="serving")
        await more()
        await stop()
        one.signal(signal.SIGCONT)
        assert await asyncio.to_thread(one.ended) == EXIT_UNAVAILABLE
        assert "another instance has taken the database over" in one.log.read_text()
        with pytest.raises(Unavailable):
            await storing
        with pytest.raises(StrongroomError) as absent:
            await through.collect(late)
        assert absent.value.number is Number.REFUSED
        for load in loads:
            await load.verify(through)
        assert max(load.longest for load in loads) < PATIENCE
