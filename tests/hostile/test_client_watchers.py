"""What clients make of witnesses whom custodians have replaced, and of a charter that keeps the newest gaps only."""

import pytest

from strongroom.client import generations
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.standings import Standing
from strongroom.protocol import governance
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.evidence import Custodian, Watchers
from strongroom.protocol.governance import Gap, Seat, SignedGap
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.messages import ById
from strongroom.protocol.primitives import Domain, SigningKey
from strongroom.protocol.vault_messages import Describe, Described
from tests.support import policies
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
WITNESSES = [policies.witness_key(at) for at in range(4)]
OLD = Watchers(witnesses=WITNESSES[:2], cosignatures=2)
NEW = Watchers(witnesses=WITNESSES[1:], cosignatures=2)


@pytest.fixture
def vault():
    vault = FakeVault(witnesses=OLD.witnesses, cosignatures=2, council=COUNCIL, size=9)
    vault.signers = [policies.witness_signer(at) for at in range(4)]
    return vault


@pytest.fixture
def checkpoints():
    return MemoryCheckpoints()


async def ask(client):
    try:
        return await client.ask(QUESTION, Described)
    finally:
        await client.aclose()


async def refusal(client):
    with pytest.raises(StrongroomError) as caught:
        await ask(client)
    return caught.value


def signed_gap(vault, generation, found, watchers, signers=(0, 2)):
    root = vault.log.roots[found]
    statement = encode(
        Gap(
            version=1, cluster=vault.cluster.id, recoveries=1, generation=generation, attempt=bytes(32),
            found_size=found, found_root=root, known_size=found, known_root=root, at=NOW, watchers=watchers,
        )
    )  # fmt: skip
    seats = [Seat(index=at, signature=KEYS[at].sign(Domain.GAP, statement)) for at in signers]
    return SignedGap(statement=statement, council=0, signed=seats)


def recover(vault, *gaps, watchers=None, generation=None):
    """The log goes on after these gaps, in the generation of the last; the evidence says that these watch it."""
    generation = generation or governance.parse_gap(gaps[-1].statement).generation
    old = vault.log
    vault.log = GrowingLog(log_origin(vault.cluster.id, generation=generation), old.key).grow(*old.leaves)
    vault.claims = {"recoveries": len(gaps), "generation": generation, "watchers": watchers}
    vault.show_charter(gaps, recoveries=len(gaps))


# --- witnesses who were replaced --------------------------------------------------------------------------------------


async def test_a_client_with_the_old_policy_is_not_moved_to_new_witnesses_unsaid(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, signed_gap(vault, 1, 9, NEW), watchers=NEW)
    vault.asked = []
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.POLICY
    assert "custodians have named other witnesses" in error.reason
    assert "then pin anew" in error.reason
    assert all(key in error.reason for key in NEW.witnesses)
    assert vault.asked == []


async def test_a_client_that_knew_of_no_witnesses_is_told_the_same(vault, monkeypatch):
    recover(vault, signed_gap(vault, 1, 9, NEW), watchers=NEW)
    error = await refusal(vault.client(monkeypatch, witnesses=[], cosignatures=0))
    assert error.number is Number.POLICY
    assert "custodians have named other witnesses" in error.error


async def test_a_client_with_the_new_policy_goes_on_and_is_told_once(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, signed_gap(vault, 1, 9, NEW), watchers=NEW)
    notices: list[str] = []
    for _ in range(2):
        await ask(vault.client(monkeypatch, checkpoints, notices.append, witnesses=NEW.witnesses[::-1]))
    assert len(notices) == 1
    assert "recovered by its custodians" in notices[0]


async def test_a_client_with_the_new_policy_takes_no_machine_from_before(vault, monkeypatch):
    """Whose witnesses may be anybody's by now; also where it was never here."""
    client = vault.client(monkeypatch, witnesses=NEW.witnesses)
    assert (await refusal(client)).number is Number.POLICY


async def test_the_new_witnesses_must_have_seen_the_log(vault, checkpoints, monkeypatch):
    recover(vault, signed_gap(vault, 1, 9, NEW), watchers=NEW)
    vault.signers = vault.signers[:2]  # one of each, and one of those who went
    error = await refusal(vault.client(monkeypatch, checkpoints, witnesses=NEW.witnesses))
    assert error.number is Number.INTEGRITY


@pytest.mark.parametrize("said", [Watchers(witnesses=WITNESSES[2:], cosignatures=2), None])
async def test_custodians_who_signed_for_some_witnesses_have_not_signed_for_others(
    vault, checkpoints, monkeypatch, said
):
    """What its evidence says is what stands in the charter that it shows."""
    trust = said or OLD
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, signed_gap(vault, 1, 9, NEW), watchers=said)
    error = await refusal(vault.client(monkeypatch, checkpoints, witnesses=trust.witnesses, cosignatures=2))
    assert error.number is Number.ROLLED_BACK
    assert "names others to watch the log" in error.reason


async def test_fewer_custodians_than_it_takes_name_no_witnesses(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, signed_gap(vault, 1, 9, NEW, signers=(1,)), watchers=NEW)
    error = await refusal(vault.client(monkeypatch, checkpoints, witnesses=NEW.witnesses))
    assert error.number is Number.ROLLED_BACK


async def test_an_older_gaps_witnesses_are_not_revived_by_a_gap_that_names_none(vault, checkpoints, monkeypatch):
    await ask(vault.client(monkeypatch, checkpoints))
    recover(vault, signed_gap(vault, 1, 9, NEW), signed_gap(vault, 2, 9, None))
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "leaves out the witnesses" in error.reason


# --- a charter that keeps the newest gaps -----------------------------------------------------------------------------


@pytest.fixture
def _keeps_three(monkeypatch):
    for module in (governance, generations):
        monkeypatch.setattr(module, "MAX_RECOVERIES", 3)


@pytest.mark.usefixtures("_keeps_three")
@pytest.mark.parametrize(("kept", "refused"), [((1, 2, 3), True), ((3, 4, 5), True), ((2, 3), False)])
async def test_who_was_here_before_the_oldest_gap_that_is_kept_is_refused(
    vault, checkpoints, monkeypatch, kept, refused
):
    """Before it more may have been given up than any that is kept says. Of a list that is not full nothing is gone."""
    await ask(vault.client(monkeypatch, checkpoints))
    gaps = [signed_gap(vault, generation, 9, None) for generation in kept]
    recover(vault, *gaps)
    if not refused:
        await ask(vault.client(monkeypatch, checkpoints))
        return
    error = await refusal(vault.client(monkeypatch, checkpoints))
    assert error.number is Number.ROLLED_BACK
    assert "is not kept any more" in error.reason
    assert "forget what was kept of it" in error.reason


@pytest.mark.usefixtures("_keeps_three")
async def test_who_was_here_after_the_oldest_gap_that_is_kept_goes_on(vault, checkpoints, monkeypatch):
    gaps = [signed_gap(vault, generation, 9, None) for generation in (7, 8, 9)]
    recover(vault, gaps[0])
    await ask(vault.client(monkeypatch, checkpoints))
    assert checkpoints.standing(vault.cluster.id) == Standing(1, 7, 0, 0)
    recover(vault, *gaps)
    await ask(vault.client(monkeypatch, checkpoints))


@pytest.mark.usefixtures("_keeps_three")
async def test_who_was_never_here_is_not_kept_out(vault, monkeypatch):
    recover(vault, *[signed_gap(vault, generation, 9, None) for generation in (7, 8, 9)])
    await ask(vault.client(monkeypatch))
