"""`cluster invite`, and what `serve --join` takes for an invitation."""

import pytest

from strongroom.cli import inviting
from strongroom.cli.inviting import invitation_command, invitation_for, read_invitation
from strongroom.cli.terminal import EXIT_REFUSED, Failure
from strongroom.client.keys import load_or_make_key
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Refused
from strongroom.protocol.invitations import Invitation, verify_invitation
from strongroom.protocol.limits import MAX_INVITATION
from strongroom.protocol.primitives import SigningKey

URL, CLUSTER = "http://member.test", b"\xab" * 32
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr("strongroom.cli.inviting.time.time", lambda: float(NOW))


@pytest.fixture
def key(tmp_path):
    return load_or_make_key(tmp_path / "owner.key")


def served_by(monkeypatch, owner):
    """A member at that URL, of a cluster of this owner."""

    async def cluster_at(url, role):
        assert (url, role) == (URL, "vault")
        return CLUSTER, owner

    monkeypatch.setattr(inviting, "cluster_at", cluster_at)


def verify(encoded, key, *, cluster=CLUSTER, now=NOW):
    verify_invitation(decode(encoded, Invitation, limit=4096), key.public, cluster, now)


def test_an_invitation_is_made_without_asking_anybody(tmp_path, key, capsys):
    invitation_command(CLUSTER.hex(), tmp_path / "owner.key", tmp_path / "file", lasts="7d")
    encoded = read_invitation(tmp_path / "file", NOW)
    verify(encoded, key, now=NOW + MAX_INVITATION - 1)
    with pytest.raises(Refused):
        verify(encoded, key, now=NOW + MAX_INVITATION)
    assert CLUSTER.hex() in capsys.readouterr().err
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_an_invitation_for_longer_than_a_member_takes_is_not_made(tmp_path, key):
    with pytest.raises(Failure, match="7 days at most"):
        invitation_command(CLUSTER.hex(), tmp_path / "owner.key", tmp_path / "file", lasts="8d")
    assert not (tmp_path / "file").exists()


def test_to_a_cluster_that_a_url_shows_only_its_owner_invites(tmp_path, key, monkeypatch):
    served_by(monkeypatch, key.public)
    invitation_command(URL, tmp_path / "owner.key", tmp_path / "file")
    verify(read_invitation(tmp_path / "file", NOW), key)
    served_by(monkeypatch, SigningKey.generate().public)
    with pytest.raises(Failure, match="not that of the owner"):
        invitation_command(URL, tmp_path / "owner.key", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "text", ["", "strongroom invitation \n", "strongroom invitation 80\n", "# Strongroom binding key\n", "\x00"]
)
def test_what_is_no_invitation_is_said_before_anything_starts(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(Failure, match="is not an invitation"):
        read_invitation(tmp_path / "file", NOW)


def test_one_that_has_expired_is_said_before_anything_starts(tmp_path, key):
    invitation_command(CLUSTER.hex(), tmp_path / "owner.key", tmp_path / "file")
    read_invitation(tmp_path / "file", NOW + 3599)
    with pytest.raises(Failure, match="expired at 2027-01-15 09:00 UTC"):
        read_invitation(tmp_path / "file", NOW + 3600)


async def test_where_the_owners_key_is_no_other_step_is_needed(tmp_path, key, monkeypatch):
    served_by(monkeypatch, key.public)
    for named in (b"", CLUSTER):
        cluster, encoded = await invitation_for(URL, named, "vault", None, tmp_path / "owner.key")
        assert cluster == CLUSTER
        verify(encoded, key)


async def test_with_somebody_elses_key_or_none_the_next_step_is_said(tmp_path, key, monkeypatch):
    served_by(monkeypatch, SigningKey.generate().public)
    with pytest.raises(Failure, match="not that of the owner") as caught:
        await invitation_for(URL, b"", "vault", None, tmp_path / "owner.key")
    assert f"cluster invite --cluster {URL}" in (caught.value.hint or "")
    with pytest.raises(Failure, match="nobody has invited this vault"):
        await invitation_for(URL, b"", "vault", None, tmp_path / "absent.key")
    assert not (tmp_path / "absent.key").exists()


async def test_a_file_counts_before_a_key(tmp_path, key, monkeypatch):
    served_by(monkeypatch, key.public)
    invitation_command(CLUSTER.hex(), tmp_path / "owner.key", tmp_path / "file")
    given = await invitation_for(URL, b"", "vault", tmp_path / "file", tmp_path / "absent.key")
    assert given == (CLUSTER, read_invitation(tmp_path / "file", NOW))


async def test_an_invitation_is_not_told_to_whoever_answers_there(tmp_path, key, monkeypatch):
    """Whoever has it can have machines of his own join, and push the owner's out."""
    invitation_command((b"\xcd" * 32).hex(), tmp_path / "owner.key", tmp_path / "file")
    for owner in (key.public, SigningKey.generate().public):
        served_by(monkeypatch, owner)
        with pytest.raises(Failure, match="is not to the cluster at") as caught:
            await invitation_for(URL, b"", "vault", tmp_path / "file", tmp_path / "absent.key")
        assert caught.value.status == EXIT_REFUSED
