"""A Vault and an Authenticator with a host that lies, for every file here."""

import pytest

from tests.support.world import World


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path).start()
    await world.namespace()
    return world
