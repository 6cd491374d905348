"""docs/cli.md is what the program says."""

import os
import re
import subprocess
import sys

import pytest

from strongroom.cli.main import COMMANDS
from tools import cli_docs


@pytest.fixture(scope="module")
def text():
    # A process of its own: help is laid out for the terminal that the environment describes.
    subprocess.run([sys.executable, "-m", "tools.cli_docs", "--check"], check=True, cwd=cli_docs.PAGE.parent.parent)
    return cli_docs.PAGE.read_text()


def test_the_page_is_what_the_program_says(text):
    assert "Usage: strongroom collect" in text


def test_every_command_and_subcommand_is_on_the_page(text):
    sections = dict(re.findall(r"^## `strongroom ?([^`]*)`\n\n```text\n(.*?)\n```", text, re.MULTILINE | re.DOTALL))
    for name, shown in sections.items():
        listed = re.findall(r"^  ([a-z-]+)", shown.partition("\nCommands:\n")[2], re.MULTILINE)
        assert {f"{name} {one}".strip() for one in listed} <= set(sections)
    assert {"", *COMMANDS, "history", "attack", "serve witness", "approval ask"} <= set(sections)


def test_a_page_that_differs_is_noticed(tmp_path, monkeypatch):
    page = tmp_path / "cli.md"
    page.write_text(cli_docs.PAGE.read_text().replace("--no-browser", "--no-window", 1))
    monkeypatch.setattr(cli_docs, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["cli_docs", "--check"])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit, match="differs"):
        cli_docs.main()


def test_no_line_is_wider_than_a_terminal(text):
    blocks = text.split("```text\n")[1:]
    assert max(len(line) for block in blocks for line in block.split("```")[0].splitlines()) <= 80
