"""`strongroom policy`: exit statuses, words and JSON; rules alone, or with the instructions around them."""

import json

import pytest

from strongroom.cli.main import run
from strongroom.client.policy import Policy
from tests.support.people import OIDC

INSTRUCTIONS = """
quorum = 1

[[authenticator]]
url = "https://authenticator.example.com"

[[method]]
type = "oidc"
issuer = "https://login.example.com"
client_id = "native"
device_client_id = "device"
"""
PEOPLE = """
[record]
depositor = "alice"

[[person]]
name = "bob"
email = "bob@example.com"

[[person]]
name = "alice"
"""
FOR_BOB = ["instructions.toml", "--for", "bob@example.com"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "instructions.toml").write_text(INSTRUCTIONS)
    (tmp_path / "people.toml").write_text(PEOPLE)
    (tmp_path / "bob.cedar").write_text(Policy.person(OIDC, "bob").may("collect").cedar)
    (tmp_path / "open.cedar").write_text("permit (principal, action, resource);")
    (tmp_path / "bad.cedar").write_text("permit (principal, action, resource); permit (")


def strongroom(capsys, *arguments):
    status = run(["policy", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_check_says_that_rules_are_valid_and_what_to_think_about(capsys):
    status, out, _ = strongroom(capsys, "check", *FOR_BOB)
    assert (status, out) == (0, "valid: somebody may audit, collect, delete, update\n")
    status, out, _ = strongroom(capsys, "check", "--rules", "bob.cedar")
    assert status == 0
    assert "LOCKS OUT: nobody may update or delete" in out
    assert strongroom(capsys, "check", "--rules", "bob.cedar", "--strict")[0] == 10
    assert strongroom(capsys, "check", *FOR_BOB, "--strict")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--rules", "bad.cedar"], "policy 1"),
        (["check", "--rules", "none.cedar"], "can't read the rules"),
        (["check", "instructions.toml"], "nobody may collect it yet"),
        (["check", "instructions.toml", "--rules", "bob.cedar"], "nobody could update or delete"),
        (["check"], "--instructions is missing"),
        (["simulate", *FOR_BOB], "nobody to try"),
        (["simulate", *FOR_BOB, "--person", "bob"], "NAME=VALUE"),
        (["simulate", *FOR_BOB, "--person", "name=bob", "--action", "fly"], "no action fly"),
        (["simulate", *FOR_BOB, "--person", "name=bob", "--time", "noon"], "not a time"),
        (["explain", "--rules", "bad.cedar"], "policy 1"),
    ],
)
def test_mistakes_are_misuse_with_a_hint(capsys, arguments, words):
    status, out, err = strongroom(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert "hint: " in err


def test_explain_says_who_may_do_what(capsys):
    status, out, _ = strongroom(capsys, "explain", *FOR_BOB)
    assert status == 0
    assert out.splitlines()[:4] == [
        "policy 0: may collect, if all of this holds:",
        "  the sign-in method is method 0 (oidc https://login.example.com)",
        "  the verified address is bob@example.com",
        "  nobody can have tricked them into the sign-in",
    ]
    out = strongroom(capsys, "explain", "--rules", "open.cedar")[1]
    assert "whoever signed in may do anything" in out
    assert "the whole world" in out


def test_simulate_says_who_would_get_in(capsys):
    status, out, _ = strongroom(capsys, "simulate", *FOR_BOB, "--people", "people.toml")
    assert status == 0
    words = [" ".join(line.split()) for line in out.splitlines()]
    assert words[:5] == [
        "bob",
        "audit no no policy permits it",
        "collect yes permitted by policy 0",
        "delete no no policy permits it",
        "update no no policy permits it",
    ]
    assert words[5:8] == ["alice", "audit yes permitted by policy 1", "collect no no policy permits it"]


def test_an_action_that_somebody_is_refused_gives_the_status_of_a_refusal(capsys):
    bob, eve = "name=bob email=bob@example.com", "name=eve email=eve@example.com"
    assert strongroom(capsys, "simulate", *FOR_BOB, "--person", bob, "--action", "collect")[0] == 0
    assert strongroom(capsys, "simulate", *FOR_BOB, "--person", bob, "--person", eve, "--action", "collect")[0] == 10
    phished = f"{bob} channel=device"
    assert strongroom(capsys, "simulate", *FOR_BOB, "--person", phished, "--action", "collect")[0] == 10
    who = ["--person", "name=x", "--depositor", "x", "--action", "update"]
    assert strongroom(capsys, "simulate", *FOR_BOB, *who)[0] == 0


def test_programs_get_json(capsys):
    _, out, _ = strongroom(capsys, "simulate", *FOR_BOB, "--people", "people.toml", "--action", "collect", "--json")
    assert json.loads(out)["results"][0] == {
        "person": "bob", "action": "collect", "allowed": True, "policies": [0], "why": ""
    }  # fmt: skip
    checked = json.loads(strongroom(capsys, "check", "--rules", "open.cedar", "--json")[1])
    assert "collect" in checked["permitted"]
    assert {"name", "policy", "text"} == set(checked["findings"][0])
    explained = json.loads(strongroom(capsys, "explain", *FOR_BOB, "--json")[1])
    assert explained["policies"][0]["who"][1] == "the verified address is bob@example.com"


def test_a_name_does_not_move_the_cursor(capsys):
    out = strongroom(capsys, "simulate", *FOR_BOB, "--person", "name=\x1b[2Jbob", "--action", "collect")[1]
    assert "\x1b[2J" not in out
    assert "bob" in out
