"""docs/howto/backup.md, as an operator follows it: backed up, verified, restored, drilled."""

import asyncio
import re
import shlex

import pytest

from strongroom.attestation.trust_file import format_trust_policy
from strongroom.host.backup.notes import read_notes
from tests.support.command import ROOT, strongroom
from tests.support.machines import Machine, People, Serving, drilled, drilling, founded, ports

PAGE = (ROOT / "docs" / "howto" / "backup.md").read_text()
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def ending():
    started: list[Serving] = []
    yield started.append
    for serving in started:
        serving.end()


async def test_the_page_works_as_it_stands(tmp_path, ending):
    machine, spare = Machine(tmp_path), Machine(tmp_path / "elsewhere")
    spare.platform.rename(tmp_path / "spare")
    home = tmp_path / "home"
    home.mkdir()
    people = People(home, count=3, threshold=2, roots=[*machine.roots, *spare.roots])
    free = dict(zip(("8400", "8401", "8500"), ports(3), strict=True))
    vault = await founded(machine, people, "vault", free["8400"])
    ending(vault)
    authenticator = await founded(machine, people, "authenticator", free["8401"])
    ending(authenticator)
    (tmp_path / "shares").mkdir()
    for name, file, identity in zip(("alice", "bob", "carol"), people.files["vault"], people.identities, strict=True):
        (tmp_path / "shares" / f"{name}.share.age").write_bytes(file)
        (tmp_path / f"{name}.key").write_text(identity)
    # As it stands for real processors: the maker of the spare one is known.
    (tmp_path / "trust.toml").write_text(format_trust_policy(people.trust))

    async def told(line):
        for port, used in free.items():
            line = line.replace(f"127.0.0.1:{port}", f"127.0.0.1:{used}")
        program, *arguments = shlex.split(line)
        assert program == "strongroom"
        if arguments[:2] == ["recover", "submit"]:
            arguments.append("--yes")
        done = await asyncio.to_thread(strongroom, *arguments, cwd=tmp_path)
        assert done.status == 0, done.err
        return done.out.decode() + done.err

    said = {}
    for line in COMMANDS:
        if line.startswith("strongroom serve"):
            assert "--drill" in line
            serving = await drilling(Spare(tmp_path, spare.roots), "vault", free["8500"])
            ending(serving)
            continue
        if "--drilled" in line:
            await drilled(serving)
        said[line] = await told(line)
    assert "incremental backup of vault" in said[next(line for line in said if "--onto" in line)]
    verified = said[next(line for line in said if line.startswith("strongroom verify-backup tuesday.backup --trust"))]
    assert "2 of 3: custodian-0, custodian-1, custodian-2" in verified
    assert "0 fail" not in verified
    restored = said["strongroom restore tuesday.backup --data restored"]
    assert "ROLLBACK" in restored
    notes = read_notes(tmp_path / "vault")
    assert notes.backup is not None
    assert notes.backup.path.endswith("tuesday.backup")
    assert notes.drill is not None
    assert notes.drill.recoveries == 0, "a drill is no recovery"
    submitted = [said[line] for line in said if line.startswith("strongroom recover submit")]
    assert all("DRILL" in one for one in submitted)
    assert "nothing serves" in submitted[-1]


def test_no_gap_is_signed_in_the_drill_of_the_page():
    drill = PAGE.partition("## The drill")[2]
    assert "Custodians never sign a gap in a drill" in drill
    assert not any("approve-gap" in command for command in COMMANDS)


class Spare(Machine):
    """The spare machine of the page, with its directories."""

    def __init__(self, folder, roots):
        self.folder, self.platform, self.roots = folder, folder / "spare", roots

    def data(self, role):
        return self.folder / "drill"


def test_what_it_says_of_exit_statuses_is_what_the_help_says():
    told = strongroom("verify-backup", "--help", cwd=ROOT).out.decode()
    assert {"0", "11", "12"} <= set(re.findall(r"\b\d+\b", " ".join(told.split()).partition("Exit status:")[2]))
    assert set(re.findall(r"^\| (0|11|12) \|", PAGE, re.MULTILINE)) == {"0", "11", "12"}
