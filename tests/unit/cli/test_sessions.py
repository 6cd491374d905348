"""What a library warns its program of, a command says in a line for people."""

import ast
from pathlib import Path

import strongroom.cli
from strongroom.cli.sessions import cluster_session


def test_that_a_cluster_was_recovered_is_a_line_and_no_warning_of_python(capsys, recwarn):
    cluster_session.keywords["notice"]("this Vault was recovered\x1b[2J")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "notice: this Vault was recovered\\x1b[2J\n")
    assert not recwarn


def test_no_command_opens_a_session_that_warns():
    """Each takes the one of `cli.sessions`."""
    importing = set()
    for path in Path(strongroom.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "cluster_session" in {one.name for one in node.names}:
                importing.add((path.name, node.module))
    assert ("recover.py", "strongroom.cli.sessions") in importing
    assert {module for _, module in importing} == {"strongroom.cli.sessions"}
