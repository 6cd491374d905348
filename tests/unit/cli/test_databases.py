"""Which database a command takes, and what is said of what is none."""

import pytest

from strongroom.cli.backups import failures, known_checkpoints
from strongroom.cli.databases import VARIABLE, database_url
from strongroom.cli.terminal import EXIT_MISUSE, EXIT_UNAVAILABLE, Failure
from strongroom.host.store.port import CannotOpen, WrongDatabase

SECRET = "postgres+driver://app:s3cret@db.test/vault"


def test_a_bad_url_of_the_environment_is_said_to_stand_there_and_is_not_repeated(monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET)
    with pytest.raises(Failure, match=f"the variable {VARIABLE}: that is no URL of a PostgreSQL") as caught:
        database_url(None)
    assert caught.value.status == EXIT_MISUSE
    assert "unset it" in caught.value.hint
    assert "s3cret" not in f"{caught.value.error}{caught.value.hint}"


def test_a_bad_url_of_the_command_line_is_said_to_stand_there(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(Failure, match=r"^--database: that is no URL"):
        database_url("vault.sqlite3")
    assert database_url(None) is None


def test_a_password_on_the_command_line_is_refused_and_one_in_the_environment_is_taken(monkeypatch):
    monkeypatch.setenv(VARIABLE, "postgresql://app:s3cret@db.test/vault")
    assert database_url(None) == "postgresql://app:s3cret@db.test/vault"
    with pytest.raises(Failure, match="would read the password"):
        database_url("postgresql://app:s3cret@db.test/vault")


@pytest.mark.parametrize(("kind", "status"), [(WrongDatabase, EXIT_MISUSE), (CannotOpen, EXIT_UNAVAILABLE)])
def test_a_database_that_will_never_do_is_misuse_and_one_that_is_away_is_not(kind, status):
    with pytest.raises(Failure) as caught, failures():
        raise kind("this one does not do", "name another")
    assert caught.value.status == status


async def test_an_authenticators_backup_is_compared_with_no_log_and_the_option_is_not_ignored():
    with pytest.raises(Failure, match="an Authenticator's, which has no log"):
        await known_checkpoints(None, "http://127.0.0.1:1", "authenticator")
    assert await known_checkpoints(None, None, "authenticator") == []
