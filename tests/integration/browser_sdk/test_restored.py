"""A host that puts an older database back under a Vault: pages notice, and what they show convinces others."""

from contextlib import contextmanager

import msgspec
import pytest

from strongroom.client.attacks import verify_evidence
from strongroom.protocol.errors import Number, Untrusted
from tests.support import policies
from tests.support.in_front import page, stored


class Copies:
    """Copies of a Vault's database, and the Vault started again on one of them."""

    def __init__(self, instance):
        self.instance = instance

    def made(self):
        return dict(self.instance.host.rows), list(self.instance.host.log)

    async def start(self, copy):
        rows, log = copy
        self.instance.host.rows, self.instance.host.log = dict(rows), list(log)
        await self.instance.start()


@pytest.fixture
def copies(alone):
    return Copies(alone.vault.instance)


@contextmanager
def caught():
    with pytest.raises(Untrusted) as error:
        yield
    assert error.value.number is Number.ROLLED_BACK


async def shown(page, tmp_path):
    """What the page would offer to save, as Python's side reads it."""
    path = tmp_path / "evidence.json"
    path.write_text(await page.call("evidence"))
    return verify_evidence(path)


async def test_a_page_that_saw_a_newer_state_is_not_shown_an_older_one(alone, copies, tmp_path):
    address = (await stored(alone, "bob")).address.id.hex()
    async with page(alone, "bob") as bob:
        await bob.call("collect", address)
        old = copies.made()
        await bob.call("collect", address)
        await copies.start(old)
        with caught():  # open all along
            await bob.call("collect", address)
        attack = await shown(bob, tmp_path)
        assert attack.finding == "shorter"
        assert attack.known.checkpoint.size > attack.shown.checkpoint.size == len(old[1]) + 1
        assert attack.url == alone.vault.url
        await bob.load()
        with caught():  # and loaded anew
            await bob.call("collect", address)
        with caught():
            await bob.call("verifyHistory")


async def test_a_restored_database_that_grew_past_what_was_seen_is_noticed(alone, copies, tmp_path):
    address = (await stored(alone, "bob")).address.id.hex()
    async with page(alone, "bob") as bob:
        old = copies.made()
        await bob.call("collect", address)
        await copies.start(old)
        for _ in range(4):
            await stored(alone, "carol")
        with caught():
            await bob.call("collect", address)
        attack = await shown(bob, tmp_path)
        assert attack.finding == "not-extended"
        assert attack.known.checkpoint.size < attack.shown.checkpoint.size


async def test_a_vault_that_starts_again_on_its_own_database_is_as_good_as_before(alone, copies):
    address = (await stored(alone, "bob")).address.id.hex()
    async with page(alone, "bob") as bob:
        await bob.call("collect", address)
        await copies.start(copies.made())
        await bob.call("collect", address)
        await bob.load()
        await bob.call("verifyHistory")
        assert await bob.call("evidence") is None


async def test_a_vault_without_the_witnesses_of_the_policy_is_refused_before_anything_is_sent(served):
    trust = msgspec.structs.replace(served.trust, witnesses=[policies.witness_key(0)], cosignatures=1)
    async with page(served, "bob", trust=trust) as bob:
        for call in ("verify", "describe"):
            with pytest.raises(Untrusted) as error:
                await bob.call(call, *(["share/anything"] if call == "describe" else []))
            assert error.value.number is Number.POLICY
            assert "witness-0.example" in str(error.value)
