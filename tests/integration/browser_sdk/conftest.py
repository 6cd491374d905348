"""Worlds in which pages sign in: one for all tests of a file in which nobody lies, or one of a test's own."""

import pytest

from tests.support.in_front import opened, web_method


@pytest.fixture(scope="module")
async def together(tmp_path_factory):
    async with opened(tmp_path_factory.mktemp("sdk") / "state") as served:
        yield served


@pytest.fixture
async def served(together):
    """A world for all tests in which nobody lies: each stores records of its own."""
    claims = dict(together.issuer.claims)
    yield together
    together.issuer.claims = claims
    together.method = web_method(together)


@pytest.fixture
async def alone(tmp_path):
    """A world of its own."""
    async with opened(tmp_path / "state") as served:
        yield served


def pytest_collection_modifyitems(items):
    for item in items:
        if "/integration/browser_sdk/" in str(item.path):
            item.add_marker(pytest.mark.needs("web"))
