"""Two Authenticators of one cluster behind one address: real processes, each with a database of its own."""

import asyncio
import os

import pytest

from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.methods import keys_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.sign_in import KeySignIn
from strongroom.client.vault import AsyncVault
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.messages import ById
from tests.soak.cluster import _identity
from tests.support.command import strongroom
from tests.support.machines import Machine, People, Serving, ports
from tests.support.upgrading import InTurn

QUOTA = {"max_records": 100, "max_bytes": 10**6, "max_records_per_identity": 100, "max_bytes_per_identity": 10**6}


@pytest.fixture
def running():
    started: list[Serving] = []
    yield started
    for one in started:
        one.end()


async def test_what_one_has_sealed_the_other_takes_and_either_serves_alone(tmp_path, running):
    (tmp_path / "home").mkdir()
    (tmp_path / "machine").mkdir()
    machine = Machine(tmp_path / "machine")
    people, alice = People(tmp_path / "home", 1, 1, machine.roots), _identity(tmp_path, "alice")
    owner = ("--owner-key", str(people.folder / "owner.key"))
    first_port, second_port, vault_port = ports(3)
    running.append(first := Serving(machine, "authenticator", first_port, *owner))
    running.append(vault := Serving(machine, "vault", vault_port, *owner))
    for serving in (first, vault):
        shown = await asyncio.to_thread(serving.says, state="serving")
        people.clusters[serving.role] = bytes.fromhex(shown["cluster_id"])
    data, file = ("--data", str(machine.folder / "second")), str(people.folder / "invitation")
    inviting = ("cluster", "invite", "--cluster", first.url, "--role", "authenticator", *owner, "--out", file)
    invited = await asyncio.to_thread(strongroom, *inviting, cwd=people.folder)
    assert people.clusters["authenticator"].hex() in invited.err
    joining = ("--join", first.url, "--invitation", file)
    running.append(second := Serving(machine, "authenticator", second_port, *joining, *data))
    await asyncio.to_thread(second.says, state="serving", cluster_id=people.clusters["authenticator"].hex())

    async with InTurn([first_port, second_port]).open() as both:
        method = keys_method({"alice": alice.line})
        reference = AuthenticatorRef(url=both.url, policy=encode(people.policy("authenticator")))

        def written(rules, **more):
            return instructions(authenticators=[reference], methods=[method], rules=rules, **more)

        def client(**options):
            """Somebody who signs in anew, on a connection of its own: at the other one than the person before."""
            return AsyncVault(vault.url, people.trust, checkpoints=MemoryCheckpoints(), **options)

        async with client(binding_key=people.owner) as owner:
            everybody = written(Policy.namespace(create=Policy.anyone_signed_in(method)), permanent=True)
            await owner.create_namespace("team", instructions=everybody, **QUOTA)
        record = os.urandom(16)
        rules = written(Policy.listed(method, "alice").may("collect", "update", "delete"))
        for round_ in range(4):
            # The Vault stays with one of the two: it has capsules sealed and tickets judged there, whoever made them.
            async with client(sign_in=KeySignIn(alice.key)) as person:
                if round_ == 0:
                    await person.store(b"secret", instructions=rules, namespace="team", record_id=record)
                assert (await person.collect(ById(record))).secret == b"secret"
        assert set(both.used) == {first_port, second_port}
        assert sum(both.used.values()) >= 4

        await asyncio.to_thread(first.end)
        async with client(sign_in=KeySignIn(alice.key)) as person:
            assert (await person.collect(ById(record))).secret == b"secret"

    # The one that joined opens its ring by itself from now on.
    await asyncio.to_thread(second.end)
    running.append(second := Serving(machine, "authenticator", second_port, *data))
    await asyncio.to_thread(second.says, state="serving", cluster_id=people.clusters["authenticator"].hex())
