"""A copy of a security key is noticed once both were used, at a real Vault and a real Authenticator."""

import pytest

from strongroom import Untrusted
from strongroom.client.policy import Policy
from strongroom.client.results import Method
from strongroom.client.sign_in import Flow
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.errors import Number
from tests.support.served import ServedWorld
from tests.support.ssh_keys import SshKey, keys_of


class Counting:
    """A security key that counts its signatures, and can be copied."""

    def __init__(self, key: SshKey, counter: int) -> None:
        self.key = key
        self.counter = counter

    def fits(self, method: Method) -> bool:
        return method.kind == "keys"

    async def run(self, flow: Flow) -> wire.SignedIn:
        ceremony = await flow.begin_ceremony()
        self.counter += 1
        request = wire.KeySignIn(
            capsule=flow.place.capsule,
            handle=ceremony.handle,
            public_key=self.key.public_key,
            signature=self.key.sign(ceremony.challenge, counter=self.counter),
            with_ticket=flow.with_ticket,
        )
        return await flow.server.ask(request, wire.SignedIn)


async def test_a_copy_that_is_behind_its_original_opens_nothing(tmp_path):
    key = SshKey(kind="sk-ssh-ed25519@openssh.com")
    original, copy = Counting(key, 41), Counting(key, 30)
    method = keys_of(key)
    rules = Policy.listed(method, "bob@example.com").may("collect") | Policy.depositor_may("update", "delete")
    async with ServedWorld.open(tmp_path / "state") as served:
        async with served.sdk("alice") as alice:
            instructions = served.instructions(rules, methods=[served.method, method])
            stored = await alice.store(b"a secret", namespace="team", instructions=instructions)
        async with served.sdk(sign_in=original) as bob:
            for _ in range(2):
                assert (await bob.collect(stored.address)).secret == b"a secret"
        assert original.counter == 42
        async with served.sdk(sign_in=copy) as thief:
            with pytest.raises(Untrusted) as caught:
                await thief.collect(stored.address)
        assert caught.value.number is Number.TOKEN_UNTRUSTED
        # A copy that has got ahead: then it is the owner who notices.
        async with served.sdk(sign_in=Counting(key, 50)) as thief:
            assert (await thief.collect(stored.address)).secret == b"a secret"
        async with served.sdk(sign_in=original) as bob:
            with pytest.raises(Untrusted):
                await bob.collect(stored.address)


async def test_a_key_that_is_used_on_two_devices_in_turn_serves_both(tmp_path):
    """A ticket that a later sign-in has overtaken is of no more use: the client signs in again by itself."""
    key = SshKey(kind="sk-ecdsa-sha2-nistp256@openssh.com")
    method, one = keys_of(key), Counting(key, 7)
    rules = Policy.listed(method, "bob@example.com").may("collect") | Policy.depositor_may("update", "delete")
    async with ServedWorld.open(tmp_path / "state") as served:
        async with served.sdk("alice") as alice:
            instructions = served.instructions(rules, methods=[served.method, method])
            stored = await alice.store(b"a secret", namespace="team", instructions=instructions)
        async with served.sdk(sign_in=one) as laptop, served.sdk(sign_in=one) as desktop:
            for vault, signatures in ((laptop, 8), (desktop, 9), (laptop, 10), (laptop, 10), (desktop, 11)):
                assert (await vault.collect(stored.address)).secret == b"a secret"
                assert one.counter == signatures
