"""What is written in TypeScript: its types, its own tests, and the same bundle from the same sources."""

import subprocess

import pytest

from tests.support.command import ROOT, environment
from tools.node import commands
from tools.page import check

WEB = ROOT / "web"
pytestmark = pytest.mark.needs("web")


def node(*arguments):
    found = commands()
    assert found is not None
    done = subprocess.run(
        [*found[0], *arguments], cwd=WEB, env=environment(CI="true"), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize("project", ["sdk", "sdk/tsconfig.test.json", "page"])
def test_types_are_right(project):
    node("node_modules/typescript/bin/tsc", "-b" if project != "sdk/tsconfig.test.json" else "-p", project)


def test_its_own_tests_pass():
    node("node_modules/vitest/vitest.mjs", "run", "--reporter=dot")


def test_two_builds_of_the_page_are_the_same_bytes(capsys):
    check()
    assert capsys.readouterr().out.startswith("page ")


def test_the_package_holds_what_it_exports(tmp_path):
    node("node_modules/typescript/bin/tsc", "-p", "sdk", "--outDir", str(tmp_path), "--composite", "false")
    assert (tmp_path / "index.js").is_file()
    assert (tmp_path / "index.d.ts").is_file()
