"""The kit that attacks a deployment, run on this machine: what is promised of each attack holds, and the kit can tell.

Servers are real processes. What the kit says of a Vault without a defence was tried by hand with each defence taken out
of a copy; here it is held to what it makes of outcomes.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from strongroom.attack.outcomes import Verdict, harmless, judge, noticed, unnoticed
from strongroom.attack.promises import HARMLESS, PROMISES, Promise, Scenario, When, Who
from strongroom.attack.registry import ATTACKS
from strongroom.attack.run import chosen
from tests.support.command import ROOT, environment, strongroom

SECONDS = 600

AT_START = Promise(Who.VAULT, When.AT_START)
NOT_PROMISED = Promise(Who.NOBODY, When.NEVER, why="for a reason")


def attacked(tmp_path, *arguments):
    """Exit status of `strongroom attack …`, and what it found, by attack."""
    done = subprocess.run(
        [sys.executable, "-m", "strongroom.cli", "attack", *arguments, "--json"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, timeout=SECONDS, check=False,
    )  # fmt: skip
    (lines,) = json.loads(done.stdout).values()
    return done.returncode, {line["attack"]: line for line in lines}


def only(names):
    return [part for name in names for part in ("--only", name)]


def failures(lines):
    return {name: line["said"] for name, line in lines.items() if line["verdict"] == Verdict.FAIL}


ALONE = (
    "old-database", "old-database-newcomer", "lost-commit", "clone", "old-record", "altered-row", "absent-row-running",
    "forged-bucket", "old-head", "old-ring", "drop-leaf", "altered-leaf-audit", "truncate-log", "clock-back",
    "replay-frame", "swap-answers", "flip-answer", "other-cluster",
)  # fmt: skip
"""One of each kind. `strongroom attack --local` runs the others, by hand."""
TWO_OF_THREE = ("clone", "lying-witness", "lease")


def test_attacks_without_witnesses_are_noticed_as_documented(tmp_path):
    status, lines = attacked(tmp_path, "--local", "--scenario", "no-witness", *only(ALONE))
    assert failures(lines) == {}
    assert status == 0
    assert set(lines) == set(ALONE)
    assert {name for name, line in lines.items() if line["verdict"] == Verdict.NOT_RUN} == set()
    # What is not promised is said, with the reason.
    assert lines["old-database-newcomer"]["verdict"] == Verdict.NOT_PROMISED
    assert lines["old-database-newcomer"]["why_not"]


def test_two_of_three_witnesses_notice_what_a_vault_alone_can_not(tmp_path):
    status, lines = attacked(tmp_path, "--local", "--scenario", "two-of-three", *only(TWO_OF_THREE))
    assert failures(lines) == {}
    assert status == 0
    assert set(lines) == set(TWO_OF_THREE)
    assert lines["clone"]["noticed_by"] == lines["lying-witness"]["noticed_by"] == Who.WITNESS


def test_there_is_an_attack_for_every_promise_and_a_promise_for_every_attack():
    assert set(PROMISES) == set(ATTACKS)
    assert all(promised for promised in PROMISES.values())
    assert {one.name for one in chosen(Scenario.TWO_OF_THREE, ())} == set(ATTACKS), "all make sense with witnesses"
    for name, promised in PROMISES.items():
        for scenario, promise in promised.items():
            assert promise.who is not Who.NOBODY or promise.harmless or promise.why, (name, scenario)


def promised_table():
    """As it stands in the page: attack, what the host does, and for each scenario who notices and when."""
    head = ("attack", "the host …", *(scenario.replace("-", " ") for scenario in Scenario))
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, promised in PROMISES.items():
        cells = [str(promised[scenario]) if scenario in promised else "" for scenario in Scenario]
        if len(set(cells)) == 1:
            cells = [cells[0], "〃", "〃"]
        lines.append(f"| `{name}` | {ATTACKS[name].act} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_page_promises_what_the_kit_holds_a_vault_to():
    page = (ROOT / "docs" / "howto" / "attack.md").read_text()
    assert page.partition("<!-- promises -->\n")[2].partition("\n<!-- /promises -->")[0] == promised_table()


@pytest.mark.parametrize(
    ("promise", "seen", "verdict"),
    [
        (AT_START, noticed(Who.VAULT, When.AT_START, "…"), Verdict.OK),
        (AT_START, unnoticed("it was served"), Verdict.FAIL),
        (AT_START, harmless("nothing came of it"), Verdict.FAIL),
        (AT_START, noticed(Who.CLIENT, When.AT_START, "…"), Verdict.FAIL),
        (AT_START, noticed(Who.VAULT, When.NEXT_READ, "…"), Verdict.FAIL),
        (HARMLESS, harmless("the true answer"), Verdict.OK),
        (HARMLESS, noticed(Who.VAULT, When.AT_ONCE, "…"), Verdict.OK),
        (HARMLESS, unnoticed("two sessions with the same keys"), Verdict.FAIL),
        (NOT_PROMISED, unnoticed("it was served"), Verdict.NOT_PROMISED),
        (NOT_PROMISED, noticed(Who.CLIENT, When.AT_START, "…"), Verdict.OK),
    ],
)
def test_what_went_unnoticed_otherwise_than_promised_fails(promise, seen, verdict):
    assert judge(promise, seen) is verdict


def test_a_database_is_attacked_only_by_who_says_that_it_is_theirs(tmp_path):
    ran = strongroom(
        "attack", "http://127.0.0.1:1", "--trust", "t", "--namespace", "n", "--instructions", "i", "--ssh-key", "k",
        "--database", "d", "--stop", "true", "--start", "true", cwd=tmp_path,
    )  # fmt: skip
    assert ran.status == 2
    assert "--yes-this-deployment-is-mine" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--local", "--only", "old-databse"], "did you mean old-database"),
        (["--local", "--only", "xyzzy"], "docs/howto/attack.md"),
        (["http://127.0.0.1:1", "--scenario", "no-witness"], "--scenario is for --local"),
        (["--put-back", "saved.sqlite3"], "--put-back takes --database"),
        (["--local", "--put-back", "saved.sqlite3", "--database", "d"], "--put-back takes --database"),
    ],
)
def test_what_is_asked_wrongly_is_misuse_and_the_answer_says_how(tmp_path, arguments, said):
    ran = strongroom("attack", *arguments, cwd=tmp_path)
    assert ran.status == 2
    assert said in ran.err
