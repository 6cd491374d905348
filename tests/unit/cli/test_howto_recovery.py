"""The commands of docs/howto/recovery.md are ones that there are; what they do is tested where it is done."""

import re
import shlex

import typer

from strongroom.cli.main import build_app
from strongroom.protocol.errors import WORDS, Number
from tests.support.command import ROOT

PAGE = (ROOT / "docs" / "howto" / "recovery.md").read_text()
LINES = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_every_command_and_option_on_the_page_exists():
    root = typer.main.get_command(build_app(("recover", "restore", "serve")))
    assert {line.split()[2] for line in LINES if " recover " in line} == {"status", "seal", "submit", "approve-gap"}
    for line in LINES:
        words = shlex.split(line)[1:]
        command = root
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-") and word != "-"} <= known, line


def test_words_for_errors_on_the_page_are_those_of_the_program():
    for text, number in re.findall(r"^\| `([^`]*)` \((\d+)\)", PAGE, re.MULTILINE):
        assert text in WORDS[Number(int(number))][0]
    assert len(re.findall(r"^\| `[^`]*` \((\d+)\)", PAGE, re.MULTILINE)) == 5
