"""Each way of the SDK to sign in, against a real Vault, a real Authenticator and real issuers, keys and mail."""

import os
import subprocess
from urllib.parse import parse_qs, urlsplit

import pytest

from strongroom import BadInput, Policy, Unavailable, Untrusted
from strongroom.attack.network import listening
from strongroom.client.methods import keys_method, workload_method
from strongroom.client.results import Person
from strongroom.client.sign_in import (
    KeySignIn,
    NoWay,
    TokenSignIn,
    token_of_environment,
    token_of_file,
    token_of_github,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import method_digest, sign_in_challenge, workload_audience
from strongroom.protocol.link import Operation
from strongroom.protocol.sign_in_messages import Challenged
from tests.support.issuer import Issuer, answer
from tests.support.served import SECRET, AtTheIssuer, ServedWorld


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


async def put(served, *methods, rules=None):
    """A record of alice that anybody may collect who signs in by one of these methods."""
    everybody = rules or Policy("")
    for method in methods:
        everybody |= Policy.anyone_signed_in(method).may("collect")
    rules = everybody | Policy.depositor_may("update", "delete")
    async with served.sdk("alice") as alice:
        encoded = served.instructions(rules, methods=[*methods, served.method])
        return (await alice.store(SECRET, namespace="team", instructions=encoded)).address


# --- workloads ------------------------------------------------------------------------------------------------


class Job:
    """A job on a platform that signs tokens: `issuer` is the platform, `token(audience)` what it gives to the job."""

    def __init__(self, issuer, **claims):
        self.issuer = issuer
        self.claims = {"sub": "repo:example/app:ref:refs/heads/main", "repository": "example/app", "email": None}
        self.claims |= claims
        self.asked = []

    async def token(self, audience):
        self.asked.append(audience)
        self.issuer.claims = self.claims | {"aud": audience}
        return self.issuer.token()


@pytest.fixture
async def platform(served):
    platform = Issuer(served.issuer.clock)
    async with platform.serving():
        yield platform


async def test_a_program_signs_in_by_a_token_for_its_own_session(served, platform):
    method = workload_method(platform.url, claims=["repository"])
    address = await put(served, method)
    job, people = Job(platform), list[Person]()
    async with served.sdk(sign_in=TokenSignIn(job.token), signed_in=people.append) as program:
        assert (await program.collect(address)).secret == SECRET
        key = program._desk._key.public
    assert job.asked == [workload_audience(served.world.authenticator_cluster, key)]
    assert [(one.issuer, one.subject, one.email) for one in people] == [(platform.url, job.claims["sub"], "")]


async def test_the_token_of_one_session_is_of_no_use_in_another(served, platform):
    address = await put(served, workload_method(platform.url))
    job = Job(platform)
    async with served.sdk(sign_in=TokenSignIn(job.token)) as program:
        await program.collect(address)
    stolen = platform.token()

    async def stealing(audience):
        return stolen

    async with served.sdk(sign_in=TokenSignIn(stealing)) as thief:
        with pytest.raises(BadInput, match="is for 'strongroom:"):  # this client would not even send it
            await thief.collect(address)


async def test_a_fixed_audience_counts_for_the_first_session_that_brings_the_token(served, platform, tmp_path):
    address = await put(served, workload_method(platform.url, audience="strongroom"))
    (tmp_path / "token").write_text(await Job(platform).token("strongroom") + "\n")
    async with served.sdk(sign_in=TokenSignIn(token_of_file(tmp_path / "token"))) as program:
        assert (await program.collect(address)).secret == SECRET
        assert (await program.collect(address)).secret == SECRET
    async with served.sdk(sign_in=TokenSignIn(token_of_file(tmp_path / "token"))) as thief:
        with pytest.raises(Untrusted, match="this token was used by another key") as caught:
            await thief.collect(address)
    assert caught.value.number is Number.TOKEN_UNTRUSTED
    assert "the same --key FILE" in caught.value.hint


async def test_a_token_for_another_service_stays_at_home(served, platform, monkeypatch):
    """A depositor may write any audience into a method, that of a cloud's accounts for example."""
    address = await put(served, workload_method(platform.url, audience="sts.amazonaws.com"))
    monkeypatch.setenv("STRONGROOM_TOKEN", await Job(platform).token("strongroom"))
    served.authenticator.calls.clear()
    async with served.sdk(sign_in=TokenSignIn(token_of_environment("STRONGROOM_TOKEN"))) as program:
        with pytest.raises(BadInput, match=r"is for 'strongroom', not for 'sts.amazonaws.com'"):
            await program.collect(address)
    assert served.authenticator.count(Operation.FRAME) <= 1  # the session's proof


class GitHub:
    """What a runner of GitHub Actions offers to its jobs."""

    def __init__(self, job):
        self.job = job
        self.answer = None
        self.seen = []

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(head)
        query = parse_qs(urlsplit(head.split(" ")[1]).query)
        assert query["api-version"] == ["2.0"]
        await answer(writer, self.answer or {"count": 1, "value": await self.job.token(query["audience"][0])})


@pytest.fixture
async def github(platform, monkeypatch):
    github = GitHub(Job(platform))
    async with listening(github.serve) as url:
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{url}/token?api-version=2.0")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of the runner")
        yield github


async def test_a_job_of_github_asks_its_runner(served, platform, github):
    address = await put(served, workload_method(platform.url))
    async with served.sdk(sign_in=TokenSignIn(token_of_github())) as program:
        assert (await program.collect(address)).secret == SECRET
    assert "authorization: Bearer of the runner" in github.seen[0]


async def test_github_is_asked_for_no_token_that_others_could_use(served, platform, github):
    address = await put(served, workload_method(platform.url, audience="sts.amazonaws.com"))
    async with served.sdk(sign_in=TokenSignIn(token_of_github())) as program:
        with pytest.raises(BadInput, match=r"sts.amazonaws.com"):
            await program.collect(address)
    assert github.seen == []


@pytest.mark.parametrize("said", [{"value": 7}, [], {}, b"<html>", {"value": "no token"}])
async def test_a_runner_that_gives_no_token_is_explained(served, platform, github, said):
    address = await put(served, workload_method(platform.url))
    github.answer = said or {"error": "x"}
    async with served.sdk(sign_in=TokenSignIn(token_of_github())) as program:
        with pytest.raises((Unavailable, BadInput), match="token"):
            await program.collect(address)


async def test_outside_of_a_job_it_is_said_what_is_missing(served, platform, monkeypatch, tmp_path):
    address = await put(served, workload_method(platform.url))
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    (tmp_path / "binary").write_bytes(b"\xff")
    for source, words in (
        (token_of_github(), "no job of GitHub Actions"),
        (token_of_environment("STRONGROOM_NO_SUCH"), "STRONGROOM_NO_SUCH holds no token"),
        (token_of_file(tmp_path / "missing"), "can't read the token"),
        (token_of_file(tmp_path / "binary"), "holds no token"),
        (token_of_file(os.devnull), "no JSON Web Token"),
    ):
        async with served.sdk(sign_in=TokenSignIn(source)) as program:
            with pytest.raises(BadInput, match=words):
                await program.collect(address)


# --- choosing -------------------------------------------------------------------------------------------------


async def test_the_first_way_that_a_record_takes_is_used(served, platform):
    address = await put(served, workload_method(platform.url))
    job, browser = Job(platform), AtTheIssuer(served.issuer, "alice")
    async with served.sdk(sign_in=[TokenSignIn(job.token), browser]) as both:
        await both.collect(address)
        assert (len(job.asked), browser.urls) == (1, [])
        # The namespace takes providers only.
        await both.store(SECRET, namespace="team", instructions=served.for_("bob"))
    assert (len(job.asked), len(browser.urls)) == (1, 1)


async def test_what_a_record_takes_is_said_where_nothing_fits(served, platform):
    address = await put(served, workload_method(platform.url))
    ways = TokenSignIn(Job(platform).token)
    async with served.sdk(sign_in=ways, issuer=served.issuer.url) as program:
        with pytest.raises(NoWay, match="no sign-in method suits this client at") as caught:
            await program.collect(address)
    assert f"a workload's token of {platform.url}" in caught.value.hint
    assert f"an account at {served.issuer.url} (native)" in caught.value.hint
    assert [method.kind for method in caught.value.offered] == ["workload", "oidc"]


# --- keys -----------------------------------------------------------------------------------------------------


def made_by_ssh_keygen(folder, name, kind="ed25519"):
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", kind, "-C", f"{name}@laptop", "-f", folder / name], check=True)
    return folder / name


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
async def test_somebody_signs_in_with_a_key_that_ssh_keygen_made(served, tmp_path, kind):
    bob, mallory = (made_by_ssh_keygen(tmp_path, name, kind) for name in ("bob", "mallory"))
    method = keys_method({"bob@example.com": bob.with_suffix(".pub").read_text()})
    address = await put(served, method, rules=Policy.listed(method, "bob@example.com").may("collect"))
    people: list[Person] = []
    async with served.sdk(sign_in=KeySignIn(bob), signed_in=people.append) as vault:
        assert (await vault.collect(address)).secret == SECRET
    assert [one.subject for one in people] == ["bob@example.com"]
    async with served.sdk(sign_in=KeySignIn(mallory)) as vault:
        with pytest.raises(NoWay, match="no sign-in method suits") as caught:
            await vault.collect(address)
    assert "an ssh key: SHA256:" in caught.value.hint


async def test_a_key_signs_what_this_client_computed_and_nothing_that_a_server_chose(served, tmp_path):
    """The challenge comes of the client's own binding key: a server could else have it answer for another session."""
    bob = made_by_ssh_keygen(tmp_path, "bob")
    method = keys_method({"bob": bob.with_suffix(".pub").read_text()})
    address = await put(served, method)
    signed, salts = [], []
    service = served.world.authenticator.enclave._door._service
    honest = service.handle

    async def handle(caller, request):
        reply = await honest(caller, request)
        if isinstance(reply, Challenged):
            salts.append(reply.salt)
        return reply

    service.handle = handle

    class Noting(KeySignIn):
        async def sign(self, challenge):
            signed.append(challenge)
            return await super().sign(challenge)

    async with served.sdk(sign_in=Noting(bob)) as vault:
        await vault.collect(address)
        key = vault._desk._key.public
    digest = method_digest(encode(method))
    assert signed == [sign_in_challenge("keys", digest, key, salt) for salt in salts]
    assert len(signed) == 1
