"""`strongroom serve --database`: the rows are elsewhere, the instance the same; mistakes are said before any harm."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from bench.scene import RULES, scene
from strongroom.host.store.opening import ELSEWHERE, FILE
from strongroom.protocol.messages import Address, ById
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect
from tests.support import postgres
from tests.support.command import environment, strongroom

LISTEN = ("--listen", "127.0.0.1:0", "--json", "--until-eof")


@pytest.fixture
def server(postgres_server):
    return postgres_server


@pytest.fixture
def url(server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    return server.url(server.database())


def arguments(folder, *database, role="vault", data="data"):
    return ["serve", role, "--data", folder / data, "--platform", folder / "platform", *database, *LISTEN]


@contextmanager
def serving(folder, *database, **more):
    """What a server says of itself, until it is stopped."""
    command = [sys.executable, "-m", "strongroom.cli", *map(str, arguments(folder, *database, **more))]
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
    with process:  # closes its pipes and waits for it; the end of stdin is what stops it
        assert process.stdout is not None
        said = b""
        while not said.endswith(b"}\n"):
            line = process.stdout.readline()
            assert line, errors.read_text()
            said += line
        yield json.loads(said)
    assert process.returncode == 0, errors.read_text()


def refused(folder, *database, status=None, **more):
    ran = strongroom(*arguments(folder, *database, **more), cwd=folder)
    assert ran.status == status if status else ran.status != 0
    assert "hint:" in ran.err
    return " ".join(ran.err.split())


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("role", ["vault", "authenticator"])
def test_a_cluster_is_the_same_at_the_next_start_and_its_rows_are_elsewhere(tmp_path, url, role):
    with serving(tmp_path, "--database", url, role=role) as first:
        assert "another instance" in refused(tmp_path, "--database", url, role=role, data="other")
    with serving(tmp_path, "--database", url, role=role) as again:
        assert again["cluster_id"] == first["cluster_id"]
    assert not (tmp_path / "data" / FILE).exists()


@pytest.mark.needs("postgres")
def test_a_forgotten_or_a_new_option_founds_no_second_cluster(tmp_path, url):
    with serving(tmp_path, "--database", url):
        pass
    assert "in a database elsewhere" in refused(tmp_path, status=2)
    assert not (tmp_path / "data" / FILE).exists()
    with serving(tmp_path, data="file"):
        pass
    assert "holds a database itself" in refused(tmp_path, "--database", url, data="file")
    assert not (tmp_path / "file" / ELSEWHERE).exists()


@pytest.mark.needs("postgres")
def test_a_mistyped_database_founds_no_second_cluster(tmp_path, server, url):
    mistyped = server.url(server.database())
    with serving(tmp_path, "--database", url) as first:
        pass
    text = refused(tmp_path, "--database", mistyped, status=2)
    assert "this database is empty, and" in text
    assert "name the database that this directory belongs to" in text
    with serving(tmp_path, "--database", url) as again:
        assert again["cluster_id"] == first["cluster_id"]
    with serving(tmp_path, "--database", mistyped, data="another"):
        pass


@pytest.mark.needs("postgres")
def test_a_new_directory_on_a_database_that_has_a_cluster_is_said(tmp_path, url):
    def warned():
        return "this database holds a cluster already" in (tmp_path / "stderr").read_text()

    with serving(tmp_path, "--database", url):
        pass
    assert not warned()
    with serving(tmp_path, "--database", url, data="new"):
        pass
    assert warned()
    with serving(tmp_path, "--database", url, data="new"):
        pass
    assert not warned()


@pytest.mark.needs("postgres")
def test_a_password_is_taken_from_the_environment_and_never_from_an_argument(tmp_path, server, url, monkeypatch):
    monkeypatch.delenv("PGPASSWORD")
    full = url.replace("@", f":{postgres.PASSWORD}@")
    text = refused(tmp_path, "--database", full)
    assert "whoever lists the processes" in text
    assert postgres.PASSWORD not in text
    assert "password" in refused(tmp_path, "--database", url)
    monkeypatch.setenv("STRONGROOM_DATABASE", full)
    with serving(tmp_path):
        pass
    assert (tmp_path / "data" / ELSEWHERE).exists()
    assert postgres.PASSWORD not in (tmp_path / "data" / ELSEWHERE).read_text()


def test_a_database_that_can_not_be_reached_is_said_at_once(tmp_path):
    assert "can't reach the database: connection refused" in refused(
        tmp_path, "--database", "postgresql://nobody@127.0.0.1:1/vault", status=12
    )
    assert "no URL of a PostgreSQL database" in refused(tmp_path, "--database", "vault.sqlite3", status=2)
    assert not (tmp_path / "data" / ELSEWHERE).exists()


@pytest.mark.needs("postgres")
async def test_a_vault_on_postgresql_keeps_keys_through_its_restart():
    async with scene("postgresql") as it:
        binding = SigningKey.generate()
        wire = await it.wire("vault", binding)
        ticket, instructions = await it.ticket(binding, wire), it.instructions(RULES)
        names = [os.urandom(16) for _ in range(20)]
        for name in names:
            await wire.ask(it.store(ticket, [name], instructions, size=256))
        it.vault.stop()
        it.restart_vault()
        wire = await it.wire("vault", binding)
        addresses: list[Address] = [ById(id=name) for name in names]
        reply = await wire.ask(Collect(request_id=os.urandom(16), tickets=[ticket], addresses=addresses))
        assert [result.version for result in reply.results] == [1] * 20
