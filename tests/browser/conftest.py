"""One site and one Chromium for all tests here; each test gets people with browser profiles of their own."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.people import Person
from tests.support.site import DIST, Site
from tools.chromium import find

ARGUMENTS = [
    "--no-sandbox",  # the tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site") / "site") as site:
        yield site


@pytest.fixture(scope="package")
def own_site(tmp_path_factory):
    """Another one, for tests that stop its share server or have it serve something else. They leave it as it was."""
    root = tmp_path_factory.mktemp("own")
    with Site(root / "site", page=shutil.copytree(DIST, root / "page")) as site:
        yield site


@pytest.fixture
def person(chromium, site):
    """`person("alice", **context options)`: somebody in front of a fresh browser profile."""
    people = []

    def make(user, *, at=site, **context):
        people.append(Person(chromium, at, user, **context))
        return people[-1]

    yield make
    for one in people:
        one.close()


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.needs("oidc", "page", "chromium"))
