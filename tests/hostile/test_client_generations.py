"""Old machines of a cluster, older lists of releases, and logs that are said to have begun anew (RULES 7, 25)."""

import os

import pytest

from strongroom.client.checkpoints import KeptCheckpoints, MemoryCheckpoints
from strongroom.client.standings import Standing
from strongroom.protocol.cluster_messages import CharterIs
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.evidence import Custodian
from strongroom.protocol.governance import Charter, Gap, Seat, SignedGap, SignedGenesis
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.log_messages import Freshen
from strongroom.protocol.messages import ById
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.releases import ReleaseList, SignedReleases
from strongroom.protocol.vault_messages import Describe, Described
from tests.support.councils import council
from tests.support.evidence import NOW
from tests.support.fake_vault import FakeVault
from tests.support.witnesses import GrowingLog

QUESTION = Describe(address=ById(id=bytes(16)), tickets=[])
KEYS = [SigningKey.generate() for _ in range(3)]
COUNCIL = council(
    custodians=[Custodian(name=f"custodian {at}", recipient="", key=key.public) for at, key in enumerate(KEYS)],
    threshold=2,
)


@pytest.fixture
def vault():
    return FakeVault(council=COUNCIL, size=9)


@pytest.fixture
def checkpoints():
    return MemoryCheckpoints()


class Notices(list):
    """What the user was told."""

    __call__ = list.append


async def ask(client):
    try:
        return await client.ask(QUESTION, Described)
    finally:
        await client.aclose()


async def refusal(client):
    with pytest.raises(StrongroomError) as caught:
        await ask(client)
    return caught.value


def recover(vault, *, found, known=9, generation=1, signers=(0, 2), **changes):
    """The Vault as it is after a recovery whose database ended at `found`; the log goes on under another name."""
    old = vault.log
    fields = {
        "version": 1, "cluster": vault.cluster.id, "recoveries": 1, "generation": generation, "attempt": bytes(32),
        "found_size": found, "found_root": old.roots[found], "known_size": known, "known_root": old.roots[known],
        "at": NOW,
    } | changes  # fmt: skip
    statement = encode(Gap(**fields))
    seats = [Seat(index=at, signature=KEYS[at].sign(Domain.GAP, statement)) for at in signers]
    gap = SignedGap(statement=statement, council=0, signed=seats)
    origin = log_origin(vault.cluster.id, generation=generation)
    vault.log = GrowingLog(origin, old.key).grow(*old.leaves[:found]).grow_to(found + 3, b"after")
    vault.claims = {"recoveries": 1, "generation": generation}
    show(vault, gap)


def show(vault, *gaps, genesis=None):
    signed = SignedGenesis(
        statement=genesis or vault.cluster.genesis,
        accepted=[],
    )
    charter = Charter(genesis=signed, successions=[], gaps=list(gaps), recoveries=1, releases=b"", named=[])

    async def answer():
        return CharterIs(charter=encode(charter), pending=b"")

    vault.charter = answer


# --- recoveries -----------------------------------------------------------------------------------------------------


async def test_a_recovery_is_told_to_every_client_that_was_here_before(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert notices == []
    vault.claims = {"recoveries": 1}
    await ask(vault.client(monkeypatch, checkpoints, notices))
    await ask(vault.client(monkeypatch, checkpoints, notices))
    assert len(notices) == 1
    assert "recovered by its custodians" in notices[0]


async def test_a_new_client_is_told_nothing_of_old_recoveries(vault, checkpoints, monkeypatch):
    vault.claims = {"recoveries": 3}
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert notices == []


async def test_a_machine_from_before_a_recovery_is_refused_before_anything_is_sent(vault, checkpoints, monkeypatch):
    vault.claims = {"recoveries": 1}
    await ask(vault.client(monkeypatch, checkpoints))
    vault.claims, vault.asked = {}, []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "from before a recovery" in error.reason
    assert vault.asked == []


# --- releases -------------------------------------------------------------------------------------------------------


def go_by(vault, serial, **claims):
    statement = ReleaseList(version=1, cluster=vault.cluster.id, role="vault", serial=serial, min_svn=0, releases=[])
    releases = encode(SignedReleases(statement=encode(statement), approvals=[]))
    claims = vault.cluster.claims(release=serial, **claims)

    async def evidence():
        return vault.cluster.evidence(claims, releases=releases)

    vault.evidence = evidence


async def test_an_older_list_of_releases_than_was_seen_is_refused(vault, checkpoints, monkeypatch):
    go_by(vault, 3)
    await ask(vault.client(monkeypatch, checkpoints))
    go_by(vault, 2)
    vault.asked = []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.POLICY
    assert "list 3" in error.reason
    assert vault.asked == []
    go_by(vault, 4)
    await ask(vault.client(monkeypatch, checkpoints))


async def test_a_recovery_may_bring_an_older_list_back(vault, checkpoints, monkeypatch):
    go_by(vault, 3)
    await ask(vault.client(monkeypatch, checkpoints))
    go_by(vault, 2, recoveries=1)
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert len(notices) == 1


# --- generations ----------------------------------------------------------------------------------------------------


async def test_a_log_that_began_anew_is_followed_when_custodians_signed_the_gap(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=9)
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert checkpoints.highest(log_origin(vault.cluster.id, generation=1)) is not None
    assert [one.size for one in vault.asked if isinstance(one, Freshen)][-2:] == [9, 0]
    assert len(notices) == 1
    await ask(vault.client(monkeypatch, checkpoints))  # the charter is asked for once
    assert [one.size for one in vault.asked if isinstance(one, Freshen)][-1] == 12


async def test_who_has_seen_what_was_given_up_is_told_how_much(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    await ask(vault.client(monkeypatch, checkpoints, notices := Notices()))
    assert "5 lines that you have seen are gone" in notices[0]


async def test_below_the_gap_the_log_must_be_the_one_that_was_seen(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=9)
    vault.log = GrowingLog(vault.log.origin, vault.log.key).grow_to(12, b"another history")
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "does not extend the 9 entries" in error.reason


@pytest.mark.parametrize("signers", [(), (1,)])
async def test_a_gap_that_too_few_custodians_signed_is_refused(vault, checkpoints, monkeypatch, signers):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, signers=signers)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_one_custodian_twice_is_one(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, signers=(1, 1))
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


@pytest.mark.parametrize("changes", [{"cluster": bytes(32)}, {"generation": 2}])
async def test_a_gap_of_another_cluster_or_generation_is_refused(vault, checkpoints, monkeypatch, changes):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4, **changes)
    vault.claims = {"recoveries": 1, "generation": 1}
    vault.log = GrowingLog(log_origin(vault.cluster.id, generation=1), vault.log.key).grow_to(7)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_a_log_that_began_anew_without_a_word_is_refused(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    show(vault)
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_a_charter_of_another_cluster_is_refused(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, found=4)
    other = FakeVault(council=COUNCIL, size=9)
    recover(other, found=4)
    vault.charter = other.charter
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_who_was_killed_before_it_kept_how_the_cluster_stood_asks_for_the_gap_all_the_same(
    vault, checkpoints, monkeypatch
):
    await ask(vault.client(monkeypatch, checkpoints))
    monkeypatch.setattr(checkpoints, "_standings", {})
    recover(vault, found=4, signers=())
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


async def test_an_earlier_generation_is_refused_though_its_log_grew(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    before = vault.log
    recover(vault, found=4)
    await ask(vault.client(monkeypatch, checkpoints))
    vault.log = before.grow_to(30)
    vault.claims = {"recoveries": 1, "generation": 0}
    assert (await refusal(vault.client(monkeypatch, checkpoints))).number is Number.ROLLED_BACK


# --- keeping --------------------------------------------------------------------------------------------------------

CLUSTER = bytes(range(32))


@pytest.fixture
def kept(tmp_path):
    return KeptCheckpoints(tmp_path / "checkpoints", said.append)


said = []


def test_what_was_seen_of_a_cluster_is_kept_for_the_next_program(tmp_path, kept):
    assert kept.standing(CLUSTER) is None
    kept.raise_standing(CLUSTER, Standing(1, 0, 7))
    assert KeptCheckpoints(tmp_path / "checkpoints").standing(CLUSTER) == Standing(1, 0, 7)


def test_a_slower_program_does_not_lower_it(tmp_path, kept):
    slow = KeptCheckpoints(tmp_path / "checkpoints")
    kept.raise_standing(CLUSTER, Standing(1, 1, 2))
    slow.raise_standing(CLUSTER, Standing(0, 0, 9))
    assert slow.standing(CLUSTER) == kept.standing(CLUSTER) == Standing(1, 1, 2)


def test_in_memory_it_is_not_lowered_either(checkpoints):
    checkpoints.raise_standing(CLUSTER, Standing(1, 1, 2))
    checkpoints.raise_standing(CLUSTER, Standing(1, 0, 9))
    assert checkpoints.standing(CLUSTER) == Standing(1, 1, 2)


@pytest.mark.parametrize("content", [b"", b"recoveries 1\n", b"\xff", os.urandom(99)])
def test_a_damaged_standing_is_moved_aside_with_a_word(tmp_path, kept, content):
    kept.raise_standing(CLUSTER, Standing(1, 1, 2))
    path = tmp_path / "checkpoints" / f"{CLUSTER.hex()}.standing"
    path.write_bytes(content)
    fresh = KeptCheckpoints(tmp_path / "checkpoints", said.append)
    assert fresh.standing(CLUSTER) is None
    assert "is damaged" in said[-1]
    assert not path.exists()
    assert any(".standing.damaged-" in one.name for one in path.parent.iterdir())
