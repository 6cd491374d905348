"""Approvals as two people use them: with the SDK, and on the command line."""

import json
from typing import Any

import pytest

from strongroom.cli.demo.stage import Stage
from strongroom.client.errors import BadInput
from strongroom.client.policy import Policy
from strongroom.client.sync import Vault
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import SigningKey, fingerprint
from tests.support.command import strongroom
from tests.support.served import SECRET, ServedWorld, number_of

RULES = """
permit(principal, action == Action::"ask", resource)
when { context.identity has email && context.identity.email == "bob@example.com" };
permit(principal, action == Action::"collect", resource)
when { context.identity has email && context.identity.email == "bob@example.com" }
when { context.record.approval_count >= 1 };
permit(principal, action in [Action::"approve", Action::"update", Action::"delete"], resource)
when { context.identity has email && context.identity.email == "alice@example.com" };
"""
INSTRUCTIONS = """
[[authenticator]]
url = "{authenticator}"
[[method]]
type = "oidc"
issuer = "{issuer}"
client_id = "strongroom-demo"
client_secret = "any"
"""


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


async def for_approval(served):
    rules = served.instructions(Policy(RULES))
    async with served.sdk("alice") as alice:
        return (await alice.store(SECRET, namespace="team", instructions=rules, name="key")).address


async def test_one_asks_another_approves_and_it_is_collected_once(served):
    address, key = await for_approval(served), SigningKey.generate()
    async with served.sdk("bob", binding_key=key) as bob, served.sdk("alice") as alice:
        assert await number_of(bob.collect(address)) is Number.REFUSED
        asked = await bob.ask("team/key", seconds=3600)
        assert (asked.address, asked.version) == (address, 1)
        assert await number_of(bob.approve(address, asked.question)) is Number.REFUSED
        (shown,) = (await alice.questions(address)).questions
        assert (shown.question, shown.person.email, shown.key) == (
            asked.question,
            "bob@example.com",
            fingerprint(key.public),
        )
        assert await alice.approve("team/key", asked.question.hex()) == 1
    async with served.sdk("bob") as elsewhere:
        assert await number_of(elsewhere.collect(address)) is Number.REFUSED
    async with served.sdk("bob", binding_key=key) as later:
        assert (await later.collect(address)).secret == SECRET
        assert await number_of(later.collect(address)) is Number.REFUSED


async def test_what_can_not_be_asked_or_answered_is_said_before_anything_is_sent(served):
    async with served.sdk("bob") as bob:
        for seconds in (59, 31 * 86_400):
            with pytest.raises(BadInput, match="30 days"):
                await bob.ask("team/key", seconds=seconds)
        for question in (b"short", "zz" * 16, "00" * 15):
            with pytest.raises(BadInput, match="not the id of a question"):
                await bob.approve("team/key", question)
    assert served.vault.calls.count("session") == 0


async def test_a_sign_in_that_a_later_one_overtook_is_made_anew(served):
    """A passkey's counter went on in another client: the Vault refuses the earlier ticket."""
    address = await for_approval(served)
    async with served.sdk("alice") as alice:
        await alice.questions(address)
        refused: list[Any] = []
        honest = alice._server.ask

        async def overtaken(request, reply):
            if not refused and getattr(request, "tickets", None):
                refused.append(request)
                raise Untrusted(Number.TOKEN_UNTRUSTED)
            return await honest(request, reply)

        alice._server.ask = overtaken
        assert (await alice.questions(address)).version == 1
        assert len(refused) == 1


def test_the_blocking_face_has_the_same():
    for name in ("ask", "questions", "approve"):
        assert callable(getattr(Vault, name))


# --- the command line -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("approvals") / "stage") as stage:
        stage.start()
        stage.wait()
        home = stage.client
        servers = ("--vault", stage.vault["url"], "--authenticator", stage.authenticator["url"])
        assert strongroom("trust", "pin", *servers, "--insecure", "--yes", cwd=home).status == 0
        instructions = INSTRUCTIONS.format(authenticator=stage.authenticator["url"], issuer=stage.issuer)
        (home / "instructions.toml").write_text(instructions)
        (home / "rules.cedar").write_text(RULES)
        (home / "strongroom.toml").write_text(
            f'vault = "{stage.vault["url"]}"\ntrust = "trust.toml"\n'
            'instructions = "instructions.toml"\nnamespace = "team"\n'
        )
        owner = stage.servers / "vault" / "owner.key"
        made = strongroom("namespace", "create", "team", "--anyone", "--owner-key", owner, cwd=home)
        assert made.status == 0, made.err
        yield home


def test_two_people_on_the_command_line(home):
    stored = strongroom(
        "store", "-", "--name", "key", "--rules", "rules.cedar", cwd=home, user="alice", stdin=b"the secret"
    )
    assert stored.status == 0, stored.err
    asked = strongroom("approval", "ask", "team/key", "--for", "2d", "--key", "bob.key", cwd=home, user="bob")
    assert asked.status == 0, asked.err
    question = asked.out.decode().strip()
    assert f"strongroom approval approve team/key {question}" in asked.err
    early = strongroom("collect", "team/key", "-o", "early", "--key", "bob.key", cwd=home, user="bob")
    assert (early.status, (home / "early").exists()) == (10, False)
    listed = strongroom("approval", "list", "team/key", cwd=home, user="alice")
    assert question in listed.out.decode()
    assert "bob@example.com" in listed.out.decode()
    own = strongroom("approval", "approve", "team/key", question, "--yes", cwd=home, user="bob")
    assert own.status == 10
    asking = strongroom("approval", "approve", "team/key", question, cwd=home, user="alice")
    assert asking.status == 2
    assert "no terminal to confirm" in asking.err
    done = strongroom("approval", "approve", "team/key", question, "--yes", "--json", cwd=home, user="alice")
    assert json.loads(done.out)["approvals"] == 1, done.err
    other = strongroom("collect", "team/key", "-o", "other", "--key", "other.key", cwd=home, user="bob")
    assert other.status == 10
    collected = strongroom("collect", "team/key", "-o", "secret", "--key", "bob.key", cwd=home, user="bob")
    assert collected.status == 0, collected.err
    assert (home / "secret").read_bytes() == b"the secret"
    again = strongroom("collect", "team/key", "-o", "again", "--key", "bob.key", cwd=home, user="bob")
    assert again.status == 10
    gone = strongroom("approval", "approve", "team/key", question, "--yes", cwd=home, user="alice")
    assert gone.status == 10
    assert "approval list" in gone.err
    assert "nothing waits" in strongroom("approval", "list", "team/key", cwd=home, user="alice").err


def test_without_a_key_of_its_own_a_question_counts_for_the_one_that_is_kept(home):
    stored = strongroom(
        "store", "-", "--name", "other", "--rules", "rules.cedar", cwd=home, user="alice", stdin=b"another secret"
    )
    assert stored.status == 0, stored.err
    asked = strongroom("approval", "ask", "team/other", cwd=home, user="bob")
    assert asked.status == 0, asked.err
    done = strongroom("approval", "approve", "team/other", asked.out.decode().strip(), "--yes", cwd=home, user="alice")
    assert done.status == 0, done.err
    elsewhere = strongroom("collect", "team/other", "-o", "o", "--key", "other.key", cwd=home, user="bob")
    assert elsewhere.status == 10
    collected = strongroom("collect", "team/other", "-o", "collected", cwd=home, user="bob")
    assert (collected.status, (home / "collected").read_bytes()) == (0, b"another secret"), collected.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["approval", "ask", "team/key", "--for", "2 weeks", "--key", "k"], "not a length of time"),
        (["approval", "ask", "team/key", "--for", "90d", "--key", "k"], "30 days"),
        (["approval", "ask", "team/key", "--action", "approve", "--key", "k"], "--action"),
        (["approval", "approve", "team/key", "nonsense"], "not the id of a question"),
    ],
)
def test_mistakes_are_said_clearly(home, arguments, error):
    ran = strongroom(*arguments, cwd=home)
    assert ran.status == 2
    assert error in ran.err
