"""A new program takes over from the old one while people store and collect: real processes, one database.

The old one lists the new one's measurement as released, gives it the ring, and goes. Nobody is refused anything, and
nothing is lost; then the old one is retired, and gets nothing any more.
"""

import asyncio

import pytest

from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.methods import keys_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.sign_in import KeySignIn
from strongroom.client.vault import AsyncVault
from strongroom.enclave.platform.measurement import measure
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import AuthenticatorRef
from tests.soak.cluster import _identity
from tests.support import policies
from tests.support.machines import Machine, Serving, founded, ports
from tests.support.upgrading import Approved, Balancer, Load, another_program, measurement_of

NAMESPACE = "upgrade"
BIG = 2**40


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "machine").mkdir()
    return Machine(tmp_path / "machine")


async def test_a_new_program_takes_over_under_load_and_the_old_one_gets_nothing_any_more(machine, tmp_path):
    people = Approved(tmp_path / "home", 2, 2, machine.roots)
    alice = _identity(tmp_path, "alice")
    old, new = measure("vault"), measurement_of(second := another_program(tmp_path / "next"), "vault")
    assert old != new
    vault_port, next_port, authenticator_port, last_port = ports(4)
    running, invited = [], ("--owner-key", str(people.folder / "owner.key"))
    try:
        running.append(authenticator := Serving(machine, "authenticator", authenticator_port))
        running.append(serving := await founded(machine, people, "vault", vault_port))
        shown = await asyncio.to_thread(authenticator.says, state="serving")
        people.clusters["authenticator"] = bytes.fromhex(shown["cluster_id"])
        await people.publish(serving, old, new)

        trust = policies.trust(people.by_releases("vault"), people.policy("authenticator"))
        method = keys_method({"alice": alice.line})
        reference = AuthenticatorRef(url=authenticator.url, policy=encode(people.policy("authenticator")))

        def written(rules, **more):
            return instructions(authenticators=[reference], methods=[method], rules=rules, **more)

        async with (
            Balancer([vault_port, next_port]).open() as balancer,
            AsyncVault(balancer.url, trust, binding_key=people.owner, checkpoints=MemoryCheckpoints()) as owner,
            AsyncVault(balancer.url, trust, sign_in=KeySignIn(alice.key), checkpoints=MemoryCheckpoints()) as before,
        ):
            await owner.create_namespace(
                NAMESPACE,
                instructions=written(Policy.namespace(create=Policy.anyone_signed_in(method)), permanent=True),
                max_records=BIG, max_bytes=BIG, max_records_per_identity=BIG, max_bytes_per_identity=BIG,
            )  # fmt: skip
            rules = written(Policy.listed(method, "alice").may("collect", "update", "delete", "audit"))
            loads = [Load(before, NAMESPACE, rules)]
            await loads[0].more(3)

            standby = Serving(machine, "vault", next_port, "--join", serving.url, *invited, program=second)
            running.append(standby)
            await asyncio.to_thread(standby.says, state="standing-by")
            async with AsyncVault(
                standby.url, trust, sign_in=KeySignIn(alice.key), checkpoints=MemoryCheckpoints()
            ) as through:
                # The address of the one that stands by serves as well.
                loads.append(Load(through, NAMESPACE, rules))
                for load in loads:
                    await load.more(3)
                await asyncio.to_thread(serving.end)
                assert (await asyncio.to_thread(standby.says, state="serving"))["measurement"] == new.hex()
                for load in loads:
                    await load.more(5)
                    await load.stop()
                for load in loads:
                    await load.verify(through)

        await people.publish(standby, new)
        again = Serving(machine, "vault", last_port, "--join", standby.url, *invited)
        running.append(again)
        with pytest.raises(RuntimeError, match="gives its key ring to no such program"):
            await asyncio.to_thread(again.says)
        await asyncio.to_thread(standby.end)
        again = Serving(machine, "vault", last_port)
        running.append(again)
        with pytest.raises(RuntimeError, match="does not open on this platform with this program") as refused:
            await asyncio.to_thread(again.says)
        assert "--join URL" in str(refused.value)
        assert "--recover" in str(refused.value)
    finally:
        for one in running:
            one.end()
