"""What every test gets: sockets off in tests/unit, asyncio for async tests, an account of what was skipped.

And how two workers share the work (`make test`).
"""

import os
import shutil
import socket
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.hardware import machine
from tests.idp import provider, samba, slapd
from tests.support import postgres
from tests.support.command import STATE
from tests.support.site import page_missing
from tools import openssh
from tools.chromium import find
from tools.node import commands

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
NOTHING_SKIPPED = "STRONGROOM_NOTHING_SKIPPED"
BROWSER = "tests/browser/"


def web_missing(package):
    """Why tests can't use this npm package of `web`, or None."""
    if commands() is None:
        return "there is no Node.js here (`make test` installs one)"
    if not (ROOT / "web" / "node_modules" / package).is_dir():
        return f"web/node_modules/{package} is missing (`make test` installs it)"
    return None


# What a test may ask for with @pytest.mark.needs(name): a function that says why it is missing, or None.
NEEDS = {
    "oidc": provider.missing,
    "samba": samba.missing,
    "slapd": slapd.missing,
    "postgres": postgres.missing,
    "web": lambda: web_missing("age-encryption"),
    "cctv": lambda: web_missing("cctv-age"),
    "page": page_missing,
    "chromium": lambda: None if find() else "there is no Chromium here (`make test` installs one where it is root)",
    "shared": lambda: None if SHARED.is_dir() else "../shared is not beside this clone",
    "ssh": lambda: f"there is no {openssh.missing()[0]} here (`make test` installs it)" if openssh.missing() else None,
    "cc": lambda: None if shutil.which("cc") else "there is no C compiler here (`cc`)",
    "root": lambda: None if os.geteuid() == 0 else "only root can change the root directory",
    **machine.NEEDS,
}
MAY_BE_SKIPPED = {"shared", *machine.NEEDS}  # no part of the repository, and hardware that few have


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server():
    """One PostgreSQL server for all tests that neither stop nor set it up in another way: each has its own database."""
    with postgres.server() as running:
        yield running


class UnixSocketsOnly(socket.socket):
    def __init__(self, family=-1, *args, **kwargs):
        if family != socket.AF_UNIX and kwargs.get("fileno") is None and (len(args) < 3 or args[2] is None):
            raise RuntimeError("sockets are off in tests/unit; a test that needs one belongs into tests/integration")
        super().__init__(family, *args, **kwargs)


@pytest.fixture(autouse=True)
def _sockets_off_in_unit_tests(request, monkeypatch):
    if (ROOT / "tests" / "unit") in request.path.parents:
        monkeypatch.setattr(socket, "socket", UnixSocketsOnly)


@pytest.fixture(autouse=True)
def _keys_are_kept_elsewhere(monkeypatch):
    """Commands that a test runs in its own process keep no key in the home of whoever runs it."""
    monkeypatch.setenv("XDG_STATE_HOME", STATE.name)


def pytest_collection_modifyitems(items):
    missing = cache(lambda name: NEEDS[name]())  # only what is asked for: looking for some of it takes seconds
    for item in items:
        for name in [name for mark in item.iter_markers("needs") for name in mark.args]:
            if reason := missing(name):
                item.add_marker(pytest.mark.skip(reason=f"group {name}: skipped because {reason}"))
                if name in MAY_BE_SKIPPED:
                    item.user_properties.append((NOTHING_SKIPPED, "excused"))


class OneBrowser(LoadFileScheduling):  # type: ignore[misc] # pytest-xdist brings no types
    """A file at a time to each worker; but what drives a browser is one piece of work.

    So one worker has the only Chromium and the only site for it, while the others do the rest: two browsers at once
    would share the processors with each other. Files go out in the order of the folders: what takes long comes
    before the many small ones of tests/unit, so that all workers end together.
    """

    def _split_scope(self, nodeid):
        return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # it would put files of few tests last, whatever each of those takes
    return OneBrowser(config, log)


def skipped(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")  # the workers of pytest-xdist have none
    return [] if reporter is None else reporter.stats.get("skipped", [])


def forbidden(reports):
    """Whether something was skipped in a run that may not skip anything."""
    strict = os.environ.get(NOTHING_SKIPPED) or os.environ.get("CI") == "true"
    excused = (NOTHING_SKIPPED, "excused")
    return bool(strict) and any(excused not in getattr(report, "user_properties", ()) for report in reports)


def pytest_sessionfinish(session):
    if session.exitstatus == pytest.ExitCode.OK and forbidden(skipped(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    reports = skipped(config)
    if not reports:
        return
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in reports]
    terminalreporter.section("what could not run")
    for reason in sorted(set(reasons)):
        terminalreporter.line(f"{reason} ({reasons.count(reason)} skipped)")
    if forbidden(reports):
        terminalreporter.line(f"error: this run may skip nothing (CI=true or {NOTHING_SKIPPED} is set)")
