"""The documented way to change a key must not lock the owner out: one key more makes another method of it."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from strongroom import Policy
from strongroom.client.lockout import LockedOut
from strongroom.client.methods import keys_method
from strongroom.client.sign_in import KeySignIn
from strongroom.protocol.errors import Number
from strongroom.protocol.link import Operation
from tests.support.people import ssh_key
from tests.support.served import SECRET, ServedWorld

OWNER = Policy.depositor_may("update", "delete")


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "id"
    private = Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return KeySignIn(path)


@pytest.fixture
async def keys(served, key):
    """A namespace whose people sign in by the method that this gives: `key` is the owner's."""
    served.method = keys_method({"owner": key.line, "bob": ssh_key("bob")})
    await served.namespace("keys")
    return served.method


def lines(key, *others):
    return {"owner": key.line, "bob": ssh_key("bob")} | {name: ssh_key(name) for name in others}


def rules(*methods, whose=OWNER):
    for method in methods:
        whose |= Policy.anyone_signed_in(method).may("collect")
    return whose


async def test_one_more_key_in_the_owners_method_is_refused_before_it_is_sent(served, key, keys):
    more = keys_method(lines(key, "carol"))
    locking = served.instructions(rules(more), methods=[more])
    async with served.sdk(sign_in=key) as owner:
        address = (await owner.store(SECRET, namespace="keys", instructions=served.instructions(rules(keys)))).address
        await owner.sign_in(address)
        sent = served.vault.count(Operation.FRAME)
        with pytest.raises(LockedOut, match="nobody could update or delete this record again") as caught:
            await owner.update(address, instructions=locking)
        assert served.vault.count(Operation.FRAME) == sent
        assert caught.value.number is Number.LOCKS_OUT
        assert "keep that [[method]] unchanged" in caught.value.hint
        assert (await owner.update(address, secret=b"still the owner's")).version == 2


async def test_a_method_that_is_not_the_namespaces_is_refused_at_store(served, key, keys):
    more = keys_method(lines(key, "carol"))
    async with served.sdk(sign_in=key) as owner:
        with pytest.raises(LockedOut):
            await owner.store(SECRET, namespace="keys", instructions=served.instructions(rules(more), methods=[more]))


async def test_what_is_said_to_be_permanent_may_lock_out(served, key, keys):
    more = keys_method(lines(key, "carol"))
    for_ever = served.instructions(rules(more), methods=[more], permanent=True)
    async with served.sdk(sign_in=key) as owner:
        receipt = await owner.store(SECRET, namespace="keys", instructions=for_ever)
        assert (await owner.collect(receipt.address)).secret == SECRET


async def test_with_the_owners_method_kept_the_others_may_change_and_the_owner_comes_again(served, key, keys):
    others = keys_method({"carol": ssh_key("carol")})
    both = served.instructions(rules(keys, others), methods=[keys, others])
    async with served.sdk(sign_in=key) as owner:
        address = (await owner.store(SECRET, namespace="keys", instructions=served.instructions(rules(keys)))).address
        await owner.update(address, instructions=both)
        assert (await owner.update(address, secret=b"again")).version == 3
        await owner.delete(address)


async def test_whom_the_rules_name_nobody_needs_to_be_the_depositor(served, key, keys):
    more = keys_method(lines(key, "carol"))
    named = Policy.listed(more, "owner").may("update", "delete")
    named_too = served.instructions(rules(more, whose=named), methods=[more])
    async with served.sdk(sign_in=key) as owner:
        address = (await owner.store(SECRET, namespace="keys", instructions=named_too)).address
        assert (await owner.update(address, secret=b"as whom the rules name")).version == 2
