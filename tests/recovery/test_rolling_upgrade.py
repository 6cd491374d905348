"""A new program takes over from the old one while people store and collect: real processes, one database.

The old one lists the new one's measurement as released, gives it the ring, and goes. Nobody is refused anything, and
nothing is lost; then the old one is retired, and gets nothing any more.
"""

import asyncio
import os
import time

import pytest

from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.methods import keys_method
from strongroom.client.policy import Policy, instructions
from strongroom.client.sign_in import KeySignIn
from strongroom.client.vault import AsyncVault
from strongroom.enclave.platform.measurement import measure
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.messages import ById
from tests.soak.cluster import _identity
from tests.support import policies
from tests.support.machines import Machine, Serving, founded, ports
from tests.support.upgrading import Approved, Balancer, another_program, measurement_of

NAMESPACE = "upgrade"
BIG = 2**40


class Load:
    """Somebody who stores and collects all the while, and whom no request may fail."""

    def __init__(self, vault, written):
        self.vault = vault
        self.instructions = written
        self.secrets = {}
        self.longest = 0.0
        self._round = asyncio.Event()
        self._stopped = False
        self.working = asyncio.ensure_future(self._run())

    async def _run(self):
        while not self._stopped:
            record, secret = os.urandom(16), os.urandom(300)
            began = time.monotonic()
            await self.vault.store(secret, instructions=self.instructions, namespace=NAMESPACE, record_id=record)
            self.secrets[record] = secret
            assert (await self.vault.collect(ById(record))).secret == secret
            self.longest = max(self.longest, time.monotonic() - began)
            self._round.set()
            await asyncio.sleep(0.02)

    async def more(self, rounds):
        for _ in range(rounds):
            self._round.clear()
            waiting = asyncio.ensure_future(self._round.wait())
            await asyncio.wait({waiting, self.working}, return_when=asyncio.FIRST_COMPLETED)
            if self.working.done():
                waiting.cancel()
                await self.working

    async def stop(self):
        self._stopped = True
        await self.working


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "machine").mkdir()
    return Machine(tmp_path / "machine")


async def test_a_new_program_takes_over_under_load_and_the_old_one_gets_nothing_any_more(machine, tmp_path, capfd):
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
            rules = written(Policy.listed(method, "alice").may("collect", "update", "delete"))
            loads = [Load(before, rules)]
            await loads[0].more(3)

            began = time.monotonic()
            standby = Serving(machine, "vault", next_port, "--join", serving.url, *invited, program=second)
            running.append(standby)
            await asyncio.to_thread(standby.says, state="standing-by")
            joined = time.monotonic() - began
            async with AsyncVault(
                standby.url, trust, sign_in=KeySignIn(alice.key), checkpoints=MemoryCheckpoints()
            ) as through:
                # The address of the one that stands by serves as well.
                loads.append(Load(through, rules))
                for load in loads:
                    await load.more(3)
                began = time.monotonic()
                await asyncio.to_thread(serving.end)
                assert (await asyncio.to_thread(standby.says, state="serving"))["measurement"] == new.hex()
                taken_over = time.monotonic() - began
                for load in loads:
                    await load.more(5)
                    await load.stop()
                for load in loads:
                    collected = await asyncio.gather(*(through.collect(ById(record)) for record in load.secrets))
                    assert [one.secret for one in collected] == list(load.secrets.values())

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
    with capfd.disabled():
        longest = max(one.longest for one in loads)
        print(f"\njoined {joined:.2f} s, taken over {taken_over:.2f} s, longest request {longest:.2f} s")
