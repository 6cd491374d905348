"""`strongroom status`, as people and monitors meet it: before a real Vault, and before hosts that lie."""

import asyncio
import json
import threading
from contextlib import contextmanager

import httpx
import pytest

from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli.main import run
from strongroom.client.status import parse_reported
from strongroom.host.front.http import Front
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.link import Operation
from strongroom.protocol.status import InstanceStatus, encode_status
from tests.support import policies, standing
from tests.support.world import World


@contextmanager
def looped():
    """An event loop in a thread of its own: `run` has one here. Gives what waits for something in that one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def fronted(do, ask):
    async def listening():
        front = Front(ask)
        return front, await front.listen("127.0.0.1", 0)

    front, url = do(listening())
    try:
        yield url
    finally:
        do(front.drain(0))


def saying(*answer):
    """A host that answers so, whatever its enclave says."""

    def ask(operation, body, answered):
        answered(*answer)

    return ask


def asking(enclave):
    """The way from a front to an enclave of this process."""
    tasks = set()

    def ask(operation, body, answered):
        async def call():
            try:
                answered(Operation.OK, await enclave.handle(operation, body))
            except StrongroomError as error:
                answered(Operation.ERROR, int(error.number).to_bytes(2, "big"))

        tasks.add(asyncio.create_task(call()))

    return ask


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """URL of a Vault that serves, and the file of a trust policy that accepts it."""
    state = tmp_path_factory.mktemp("vault")
    with looped() as do:
        world = World(state / "platform")
        do(world.start())
        trust = policies.trust(world.policy("vault"), world.policy("authenticator"))
        (state / "trust.toml").write_text(format_trust_policy(trust))
        other = policies.trust(policies.role(clusters=[b"\1" * 32], insecure_software=trust.vault.insecure_software))
        (state / "other.toml").write_text(format_trust_policy(other))
        with fronted(do, asking(world.vault.enclave)) as url:
            yield url, state


def test_the_enclave_itself_says_how_it_stands_to_whom_has_a_policy(vault, capsys):
    url, files = vault
    assert run(["status", url, "--policy", str(files / "trust.toml")]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Serving\n")
    assert "a DEVELOPMENT cluster" in shown.out
    assert "said by the enclave itself, accepted by" in shown.err


def test_the_program_of_a_machine_is_shown_once(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = InstanceStatus(f"insecure software, program {'ab' * 32}", "ab" * 32, standing.NOW, True)
    with looped() as do, fronted(do, saying(Operation.OK, encode_status(standing.changed(instances=[own])))) as url:
        run(["status", url])
    shown = capsys.readouterr().out
    assert "insecure software (this one)" in shown
    assert shown.count("ab" * 32) == 1


def test_an_enclave_that_the_policy_does_not_accept_is_not_asked(vault, capsys):
    url, files = vault
    assert run(["status", url, "--policy", str(files / "other.toml")]) == 10
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is not one that the policy names" in shown.err


def test_a_host_that_lies_about_its_enclave_is_not_believed_by_who_has_a_policy(vault, capsys):
    """It shows the evidence of a genuine one, and a status of its own."""
    url, files = vault
    evidence = httpx.get(f"{url}/v1/evidence", trust_env=False).content

    def ask(operation, body, answered):
        answered(Operation.OK, evidence if operation == Operation.EVIDENCE else encode_status(standing.SERVING))

    with looped() as do, fronted(do, ask) as liar:
        assert run(["status", liar, "--policy", str(files / "trust.toml")]) == 11
    assert capsys.readouterr().out == ""


def test_without_a_policy_it_says_that_this_is_the_hosts_word(vault, capsys, tmp_path, monkeypatch):
    url, _ = vault
    monkeypatch.chdir(tmp_path)
    assert run(["status", url]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Serving\n")
    assert "this is the host's word, and nothing of it is proven" in shown.err


def test_programs_get_one_object_that_says_whether_it_was_attested(vault, capsys, tmp_path, monkeypatch):
    url, files = vault
    monkeypatch.chdir(tmp_path)
    for arguments, attested in (([], False), (["--policy", str(files / "trust.toml")], True)):
        assert run(["status", url, "--json", *arguments]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["attested"], said["state"], said["status"]["role"]) == (attested, "serving", "vault")
        assert said["host"]["url"] == url


def test_the_hosts_word_can_be_had_where_the_settings_name_a_policy(vault, capsys, tmp_path, monkeypatch):
    url, files = vault
    (tmp_path / "strongroom.toml").write_text(f'trust = "{files / "other.toml"}"\n')
    monkeypatch.chdir(tmp_path)
    assert run(["status", url]) == 10
    capsys.readouterr()
    assert run(["status", url, "--host"]) == 0
    assert "this is the host's word" in capsys.readouterr().err
    assert run(["status", url, "--host", "--policy", str(files / "trust.toml")]) == 2


def test_quiet_is_quiet_about_settings_and_about_what_went_wrong(vault, capsys, tmp_path, monkeypatch):
    url, files = vault
    (tmp_path / "strongroom.toml").write_text(f'trust = "{files / "trust.toml"}"\n')
    monkeypatch.chdir(tmp_path)
    assert run(["status", url, "--quiet"]) == 0
    assert run(["status", url, "--quiet", "--policy", str(files / "other.toml")]) == 10
    assert run(["status", url, "--quiet", "--policy", "absent.toml"]) == 2
    assert run(["status", "http://127.0.0.1:1", "--quiet", "--host"]) == 12
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("serving", 0),
        ("starting", 20),
        ("standing-by", 21),
        ("joining", 22),
        ("founding", 23),
        ("recovering", 24),
        ("gap", 25),
        ("drilling", 26),
        ("drilled", 27),
    ],
)
def test_the_exit_status_tells_the_state_and_quiet_is_quiet(capsys, tmp_path, monkeypatch, state, expected):
    monkeypatch.chdir(tmp_path)
    status = encode_status(standing.changed(state=state))
    with looped() as do, fronted(do, saying(Operation.OK, status)) as url:
        assert run(["status", url, "--quiet"]) == expected
        assert capsys.readouterr() == ("", "")


def test_a_host_whose_enclave_is_silent_and_no_host_at_all_are_no_answer(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    number = int(Number.STOPPING).to_bytes(2, "big")
    with looped() as do, fronted(do, saying(Operation.ERROR, number)) as url:
        assert run(["status", url]) == 12
        assert capsys.readouterr().out.startswith("No answer\n")
    assert run(["status", url]) == 12
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (standing.FOUNDING, "next: Custodians accept: 1 of 3 have. Waiting for Bob and Cleo."),
        (standing.RECOVERING, "1 of the 2 shares that it takes are here; 1 more: strongroom recover seal."),
        (standing.GAP, "12,245 lines of the log"),
        (standing.SERVING, "kept: 2, 3; 4,200 of about 10,000 rows looked at"),
    ],
)
def test_it_says_in_words_what_comes_next(capsys, tmp_path, monkeypatch, status, expected):
    monkeypatch.chdir(tmp_path)
    with looped() as do, fronted(do, saying(Operation.OK, encode_status(status))) as url:
        run(["status", url])
    assert expected in capsys.readouterr().out


def test_a_label_moves_no_cursor_and_an_absurd_time_ends_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with looped() as do, fronted(do, saying(Operation.OK, encode_status(standing.HOSTILE_LABELS))) as url:
        assert run(["status", url]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "<script>alert(1)</script>" in shown


@pytest.mark.parametrize("untrusted", [b"[]", b"{}", b'{"state":1}', b'{"state":"serving","version":1}', b"<html>"])
def test_a_server_that_answers_with_something_else_is_no_server(untrusted):
    with pytest.raises(Untrusted):
        parse_reported(untrusted)
