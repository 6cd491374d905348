"""Enclaves that should not get the ring, hosts that would like to have it, and databases that are not the ring's."""

import dataclasses
from copy import deepcopy

import msgspec
import pytest

from strongroom.attestation import appraisal
from strongroom.attestation.candidates import Candidate
from strongroom.attestation.reports import SnpReport, SnpTcb
from strongroom.enclave.platform import insecure_software
from strongroom.enclave.platform.synthetic_quote import EnclaveReport
from strongroom.enclave.runtime.sealed_ring import (
    Instance,
    InstanceWrap,
    SealedRing,
    instance_key,
    open_by_instance,
    parse_sealed,
    seal_ring,
)
from strongroom.enclave.runtime.service import Caller
from strongroom.enclave.vault import witnessing
from strongroom.protocol.cluster_messages import Publish, Rotate, TakeRing
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.evidence import parse_any_evidence
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.invitations import Invitation, invite
from strongroom.protocol.leaves import LifeLeaf, parse_leaf
from strongroom.protocol.limits import MAX_INSTANCES, MAX_INVITATION, MAX_MESSAGE
from strongroom.protocol.link import Operation, Row
from strongroom.protocol.primitives import Domain, KemKey, SigningKey, kem_seal
from strongroom.protocol.releases import ListedRelease, Program
from strongroom.protocol.status import decode_status
from tests.support.ceremony import found, found_watched, talk
from tests.support.joining import Forger, Sealless, invited, join, joiner_of, reach
from tests.support.policies import witness_key
from tests.support.recovering import OtherMachine
from tests.support.releases import NEW, Program2, listing, own, release, signed, status_of
from tests.support.ssh_keys import SshKey


@pytest.fixture
def key():
    return SshKey()


@pytest.fixture
async def founded(tmp_path, key):
    """A Vault whose programs one person approves."""
    return await found(tmp_path, approvers=[key.public_key])


async def number_of(work):
    with pytest.raises(StrongroomError) as caught:
        await work
    return caught.value.number


async def publish(founded, key, serial, *measurements):
    releases = listing(founded.cluster_id, serial, *(release(str(at), one) for at, one in enumerate(measurements)))
    await (await talk(founded.instance)).ask(Publish(releases=signed(releases, [key])))


def given(founded):
    leaves = map(parse_leaf, founded.instance.host.log)
    return [leaf for leaf in leaves if isinstance(leaf, LifeLeaf) and leaf.event == "given"]


# --- who gets it ----------------------------------------------------------------------------------------------------


async def test_a_released_program_gets_the_ring_and_goes_on_in_the_database(founded, key):
    await publish(founded, key, 1, own(founded), NEW)
    joiner = await join(founded, Program2("vault", founded.instance.state))
    status = decode_status(await joiner.enclave.handle(Operation.STATUS, b""))
    assert (status.state, status.cluster) == ("standing-by", founded.cluster_id.hex())
    assert [one.own for one in status.instances] == [True]
    assert [(one.number, one.text) for one in given(founded)] == [(2, f"insecure-software {NEW.hex()}")]
    assert (await status_of(founded.instance)).handovers == 1
    await joiner.serve()
    assert parse_any_evidence(await joiner.evidence())[1].cluster_id == founded.cluster_id
    # and by itself from then on
    again = joiner_of(founded, joiner.platform)
    await again.begin("open")
    assert len((await status_of(again)).instances) == 2


async def test_the_same_program_needs_no_list(founded):
    joiner = await join(founded)
    await joiner.serve()
    assert (await status_of(joiner)).state == "serving"


async def test_a_program_that_nobody_released_gets_nothing(founded, capfd):
    row = founded.instance.host.rows[RING_KEY]
    assert await number_of(join(founded, Program2("vault", founded.instance.state))) is Number.NOT_RELEASED
    assert founded.instance.host.rows[RING_KEY] == row
    assert "not joined: the member answered" in (said := capfd.readouterr().err)
    assert f"not given to insecure-software {NEW.hex()}" in said


async def test_a_program_that_was_retired_gets_nothing(founded, key):
    await publish(founded, key, 1, own(founded), NEW)
    await publish(founded, key, 2, own(founded))
    assert await number_of(join(founded, Program2("vault", founded.instance.state))) is Number.NOT_RELEASED


async def test_a_program_that_was_retired_after_it_joined_does_not_take_over(founded, key):
    await publish(founded, key, 1, own(founded), NEW)
    joiner = await join(founded, Program2("vault", founded.instance.state))
    await publish(founded, key, 2, own(founded))
    assert await number_of(joiner.serve()) is Number.CONFLICT


async def test_another_configuration_gets_nothing(founded):
    assert await number_of(join(founded, config={"page": "00" * 32})) is Number.PEER_REFUSED


async def test_software_gets_nothing_from_hardware(founded):
    class OnHardware:
        kind, roots, now = "sgx", founded.instance.platform.roots, founded.instance.platform.now

    forger = await Forger(founded).open()
    evidence = await forger.evidence()
    door = founded.instance.enclave._door
    real = door._platform
    door._platform = OnHardware()
    assert await number_of(forger.take(evidence)) in (Number.EVIDENCE, Number.POLICY)
    # and where a door would let it in
    door._platform = real
    founded.instance.enclave._cluster._giving._platform = OnHardware()
    forger = await Forger(founded).open()
    assert await number_of(forger.take(await forger.evidence())) is Number.PEER_REFUSED


async def test_a_debug_enclave_gets_nothing(founded, monkeypatch):
    forger = await Forger(founded).open()
    monkeypatch.setattr(
        insecure_software, "EnclaveReport", lambda *fields: dataclasses.replace(EnclaveReport(*fields), flags=0x07)
    )
    debug = await forger.evidence()
    assert await number_of(forger.take(debug)) is Number.EVIDENCE
    monkeypatch.undo()
    forger = await Forger(founded).open()
    assert (await forger.take(await forger.evidence())).ring


async def test_an_enclave_of_another_role_or_cluster_gets_nothing(founded):
    forger = await Forger(founded).open()
    assert await number_of(forger.take(await forger.evidence(role="authenticator"))) is Number.EVIDENCE
    forger = await Forger(founded).open()
    assert await number_of(forger.take(await forger.evidence(cluster=bytes(32)))) is Number.PEER_REFUSED


@pytest.mark.parametrize("stage", ["founding", "recovering"])
async def test_evidence_for_something_else_gets_nothing(founded, stage):
    forger = await Forger(founded).open()
    assert await number_of(forger.take(await forger.evidence(stage=stage))) is Number.EVIDENCE


@pytest.mark.parametrize("purpose", ["decide", "recover"])
async def test_evidence_for_another_purpose_gets_nothing(founded, purpose):
    forger = await Forger(founded).open()
    assert await number_of(forger.take(await forger.evidence(purpose=purpose))) is Number.EVIDENCE


async def test_a_client_gets_nothing(founded):
    client = await talk(founded.instance, founded.owner)
    assert await number_of(client.ask(TakeRing(label="", invitation=invited(founded)))) is Number.PEER_REFUSED


async def test_a_member_gets_nothing_as_a_joiner(founded):
    """It has the ring. Who shows a member's evidence is a host that had it made for something else."""
    forger = await Forger(founded).open()
    identity = founded.instance.enclave._door._identity
    evidence = await identity.peer_evidence(
        forger.client.kem_public, forger.client.binding.public, forger.shown, purpose="join", own=forger.key
    )
    assert await number_of(forger.take(evidence)) is Number.PEER_REFUSED


# --- whom nobody invited --------------------------------------------------------------------------------------------


async def test_a_stranger_with_the_released_program_on_his_own_machine_gets_nothing(founded, capfd):
    row = founded.instance.host.rows[RING_KEY]
    assert await number_of(join(founded, OtherMachine("vault", founded.instance.state), invitation=b"")) is (
        Number.NOT_OWNER_KEY
    )
    assert founded.instance.host.rows[RING_KEY] == row
    assert given(founded) == []
    assert "the owner of the cluster has not invited it" in capfd.readouterr().err


async def test_strangers_do_not_push_the_owners_machine_out_of_the_ring(founded):
    standby = await join(founded, OtherMachine("vault", founded.instance.state))
    for _ in range(MAX_INSTANCES):
        forger = await Forger(founded).open()
        own_words = invite(SigningKey.generate(), founded.cluster_id, int(forger.platform.now()) + 60)
        assert await number_of(forger.take(await forger.evidence(), invitation=own_words)) is Number.NOT_OWNER_KEY
    await standby.serve()


async def test_of_more_machines_than_a_ring_holds_the_first_has_to_join_again(founded):
    """That much the owner's guests can do to each other."""
    first = await join(founded, OtherMachine("vault", founded.instance.state))
    for later in range(1, MAX_INSTANCES):
        founded.instance.platform.ahead = later
        last = await join(founded, OtherMachine("vault", founded.instance.state))
    assert await number_of(first.serve()) is Number.CONFLICT
    await last.serve()


async def test_an_invitation_to_another_cluster_of_the_same_owner_is_none(founded):
    elsewhere = invite(founded.owner, bytes(32), int(founded.instance.platform.now()) + 60)
    forger = await Forger(founded).open()
    assert await number_of(forger.take(await forger.evidence(), invitation=elsewhere)) is Number.NOT_OWNER_KEY


@pytest.mark.parametrize(("seconds", "counts"), [(-1, False), (0, False), (60, True), (MAX_INVITATION, True)])
async def test_an_invitation_counts_until_it_ends(founded, seconds, counts):
    forger = await Forger(founded).open()
    invitation = invited(founded, seconds=seconds)
    taking = forger.take(await forger.evidence(), invitation=invitation)
    if counts:
        assert (await taking).ring
    else:
        assert await number_of(taking) is Number.NOT_OWNER_KEY


async def test_an_invitation_for_ever_is_none(founded):
    forger = await Forger(founded).open()
    invitation = invited(founded, seconds=MAX_INVITATION + 60)
    assert await number_of(forger.take(await forger.evidence(), invitation=invitation)) is Number.NOT_OWNER_KEY


async def test_an_invitation_whose_end_was_put_off_is_none(founded):
    forger = await Forger(founded).open()
    longer = msgspec.structs.replace(invited(founded), expires_at=int(forger.platform.now()) + 7200)
    assert await number_of(forger.take(await forger.evidence(), invitation=longer)) is Number.NOT_OWNER_KEY


async def test_what_the_owner_signed_for_something_else_invites_nobody(founded):
    """The owner's key proves sessions, too."""
    at = int(founded.instance.platform.now()) + 60
    signature = founded.owner.sign(Domain.PROOF, founded.cluster_id, at.to_bytes(8, "big"))
    forger = await Forger(founded).open()
    invitation = Invitation(expires_at=at, signature=signature)
    assert await number_of(forger.take(await forger.evidence(), invitation=invitation)) is Number.NOT_OWNER_KEY


async def test_what_is_no_invitation_starts_no_enclave(founded):
    assert await number_of(join(founded, invitation=b"\x80")) is Number.MALFORMED


async def test_a_hand_over_costs_the_member_no_quote(founded, monkeypatch):
    joiner = joiner_of(founded)
    quotes: list[bytes] = []
    real = founded.instance.platform.quote

    def quote(data):
        quotes.append(data)
        return real(data)

    monkeypatch.setattr(founded.instance.platform, "quote", quote)
    before = await founded.instance.evidence()
    await joiner.begin("join")
    assert await founded.instance.evidence() == before
    assert quotes == []


# --- machines on which a genuine program keeps no secret -----------------------------------------------------------


def snp(**changes):
    lowest = SnpTcb(**dict.fromkeys(SnpTcb._fields, 0))
    good = SnpReport(
        registers=(("MEASUREMENT", bytes(range(48))),), report_data=bytes(64), root=bytes(32), proven_at=0,
        valid_until=2**40, product="Genoa", key="vcek", guest_policy=(1 << 17) | (1 << 16), vmpl=0, guest_svn=0,
        family_id=bytes(16), image_id=bytes(16), id_key_digest=bytes(48), author_key_digest=bytes(48), provider="",
        tcb=lowest, committed_tcb=lowest, launch_tcb=lowest, chip_id=b"\1" * 64, crl_checked=False,
    )  # fmt: skip
    return dataclasses.replace(good, **changes)


async def take_with(founded, key, report, kind="snp"):
    """What a released program gets whose quote verifies and says this of its machine."""
    released = ListedRelease("2", 2, [Program(kind, report.measurement)])
    releases = listing(founded.cluster_id, 1, release("1", own(founded)), released)
    await (await talk(founded.instance)).ask(Publish(releases=signed(releases, [key])))
    forger = await Forger(founded).open()
    claims = parse_any_evidence(await forger.evidence())[1]
    caller = Caller(forger.client.binding.public, None, Candidate(bytes(32), kind, "vault", claims, report))
    request = TakeRing(label="rented", invitation=invited(founded))
    return await founded.instance.enclave._cluster._giving.give(caller, request)


async def test_a_machine_in_good_state_gets_the_ring(founded, key):
    assert (await take_with(founded, key, snp())).ring


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(snp(product="Milan"), id="a processor whose keys software can extract"),
        pytest.param(snp(guest_policy=(1 << 18) | (1 << 17) | (1 << 16)), id="a migration agent of the host"),
        pytest.param(snp(vmpl=3), id="below a more privileged level"),
    ],
)
async def test_a_released_program_on_a_machine_whose_host_may_read_it_gets_nothing(founded, key, report, capfd):
    assert await number_of(take_with(founded, key, report)) is Number.PEER_REFUSED
    assert given(founded) == []
    assert "not given to snp" in capfd.readouterr().err


# --- proofs that cost -----------------------------------------------------------------------------------------------


async def test_a_session_ends_with_its_first_proof_that_fails(founded):
    """Else one hello has the enclave verify quote after quote."""
    forger = await Forger(founded).open()
    evidence = await forger.evidence(purpose="decide")
    assert await number_of(forger.take(evidence)) is Number.EVIDENCE
    assert await number_of(forger.client.ask(forger.client.proof(await forger.evidence()))) is Number.UNKNOWN_SESSION


async def test_a_proof_that_names_another_handshake_has_no_quote_verified(founded, monkeypatch):
    """A genuine one may be sent as often as somebody likes."""
    other = await (await Forger(founded).open()).evidence()
    member = await founded.instance.enclave._door._identity.peer_evidence(bytes(1216), bytes(65), bytes(32))
    monkeypatch.setattr(appraisal, "verify_quote", None)  # whoever calls it answers INTERNAL
    for evidence in (other, member):
        forger = await Forger(founded).open()
        assert await number_of(forger.client.ask(forger.client.proof(evidence))) in (
            Number.EVIDENCE,
            Number.PEER_REFUSED,
        )


# --- the host between them ------------------------------------------------------------------------------------------


async def test_a_host_that_relays_a_genuine_joiners_evidence_gets_nothing(founded):
    """RULES 4: what was made for one handshake is refused in every other."""
    genuine = await Forger(founded).open()
    evidence = await genuine.evidence()
    thief = await Forger(founded).open()
    assert await number_of(thief.take(evidence)) is Number.EVIDENCE
    # nor has the ring that the genuine one gets a wrap for anybody else
    ring = parse_sealed((await genuine.take(evidence)).ring)
    assert [one.instance.key for one in ring.instances].count(genuine.key.public) == 1
    assert thief.key.public not in [one.instance.key for one in ring.instances]


async def test_a_replayed_hello_and_proof_get_nothing_twice(founded):
    forger = await Forger(founded).open()
    evidence = await forger.evidence()
    await forger.take(evidence)
    again = await Forger(founded).open()
    again.key = forger.key
    assert await number_of(again.take(evidence)) is Number.EVIDENCE


async def test_a_joiner_is_not_led_into_another_cluster(founded, capfd):
    other = await found(founded.instance.state)
    joiner = joiner_of(founded)
    reach(joiner, other.instance)
    assert await number_of(joiner.begin("join")) is Number.POLICY
    assert other.cluster_id.hex() in capfd.readouterr().err


async def test_a_joiner_takes_no_ring_that_is_not_sealed_to_it(founded, monkeypatch):
    giving = founded.instance.enclave._cluster._giving
    row = founded.instance.host.rows[RING_KEY].sealed

    async def stale(joiner, label):
        return row

    monkeypatch.setattr(giving, "_given", stale)
    # a machine and program of which the row says nothing
    joiner = joiner_of(founded, Sealless("vault", founded.instance.state))
    assert await number_of(joiner.begin("join")) is Number.INTEGRITY


async def test_a_joiner_takes_no_ring_of_another_cluster(founded, monkeypatch):
    other = await found(founded.instance.state)
    cluster = other.instance.enclave._cluster
    assert cluster is not None
    ring = cluster._ring

    async def swapped(joiner, label):
        guest = Instance("guest", joiner.kind, joiner.report.measurement, joiner.claims.kem_key, 0)
        return seal_ring(founded.instance.platform, ring.state, ring.council.recovery_key, guest=(guest,))

    monkeypatch.setattr(founded.instance.enclave._cluster._giving, "_given", swapped)
    for platform in (None, Sealless("vault", founded.instance.state)):
        assert await number_of(join(founded, platform)) is Number.INTEGRITY


async def test_evidence_that_a_member_made_for_a_handshake_is_nobody_to_join(founded):
    identity = founded.instance.enclave._door._identity
    evidence = await identity.peer_evidence(bytes(1216), SigningKey.generate().public, bytes(32))
    joiner = joiner_of(founded)
    honest = joiner.host.carry

    async def carry(url, body):
        return evidence if url.endswith("/evidence") else await honest(url, body)

    joiner.host.carry = carry
    assert await number_of(joiner.begin("join")) is Number.EVIDENCE


async def test_whoever_keeps_the_row_can_not_add_himself_to_the_machines_that_open_it(founded):
    """Else the next change would seal the ring to his key."""
    row = founded.instance.host.rows[RING_KEY]
    sealed, thief = parse_sealed(row.sealed), KemKey(bytes(range(32)))
    added = InstanceWrap(
        Instance("mine", "sgx", bytes(32), thief.public, 0), kem_seal(thief.public, b"x", Domain.RING_WRAP)
    )
    bent = msgspec.structs.replace(sealed, instances=[*sealed.instances, added])
    with pytest.raises(StrongroomError) as caught:
        open_by_instance(decode(encode(bent), SealedRing, limit=MAX_MESSAGE), instance_key(founded.instance.platform))
    assert caught.value.number is Number.INTEGRITY
    assert open_by_instance(sealed, instance_key(founded.instance.platform))


# --- the database ---------------------------------------------------------------------------------------------------


async def test_a_ring_older_than_the_one_that_was_given_is_noticed(founded):
    """A host puts the database back while the joiner stands by: what the member had was durable."""
    await join(founded)
    rows, log = deepcopy(founded.instance.host.rows), list(founded.instance.host.log)
    await (await talk(founded.instance, founded.owner)).ask(Rotate())
    joiner = await join(founded)
    joiner.host.rows, joiner.host.log = rows, log
    assert await number_of(joiner.serve()) is Number.ROLLED_BACK


async def test_an_older_row_of_the_ring_alone_is_noticed(founded):
    await join(founded)
    old = founded.instance.host.rows[RING_KEY]
    joiner = await join(founded)
    joiner.host.rows = dict(founded.instance.host.rows)
    joiner.host.rows[RING_KEY] = Row(joiner.host.rows[RING_KEY].version, old.sealed)
    assert await number_of(joiner.serve()) is Number.ROLLED_BACK


async def test_a_vault_serves_no_empty_database_and_none_of_another_cluster(founded, tmp_path):
    joiner = await join(founded)
    joiner.host.rows, joiner.host.log = {}, []
    assert await number_of(joiner.serve()) is Number.CONFLICT
    other = await found(tmp_path / "other")
    joiner = await join(founded)
    joiner.host.rows, joiner.host.log = other.instance.host.rows, other.instance.host.log
    assert await number_of(joiner.serve()) is Number.CONFLICT


async def test_the_one_that_was_overtaken_writes_nothing_more(founded):
    joiner = await join(founded)
    await joiner.serve()
    rows = dict(founded.instance.host.rows)
    old = await talk(founded.instance, founded.owner)
    assert await number_of(old.ask(Rotate())) in (Number.CONFLICT, Number.ROLLED_BACK, Number.STORE_UNAVAILABLE)
    assert rows == founded.instance.host.rows


# --- machines without a sealing key ---------------------------------------------------------------------------------


async def test_a_machine_without_a_sealing_key_takes_over_with_what_it_was_given(founded):
    row = founded.instance.host.rows[RING_KEY]
    joiner = await join(founded, Sealless("vault", founded.instance.state))
    status = decode_status(await joiner.enclave.handle(Operation.STATUS, b""))
    assert (status.state, status.instances) == ("standing-by", [])
    assert founded.instance.host.rows[RING_KEY] == row  # no wrap is kept that nobody can use again
    assert len(given(founded)) == 1
    await joiner.serve()
    assert [one.own for one in (await status_of(joiner)).instances] == [False]


async def test_a_machine_without_a_sealing_key_joins_again_when_the_ring_has_changed(founded, key):
    joiner = await join(founded, Sealless("vault", founded.instance.state))
    await publish(founded, key, 1, own(founded))
    assert await number_of(joiner.serve()) is Number.CONFLICT
    joiner = await join(founded, Sealless("vault", founded.instance.state))
    # An epoch that began shows in no charter, and the head is still sealed under the one before.
    await (await talk(founded.instance, founded.owner)).ask(Rotate())
    assert await number_of(joiner.serve()) is Number.CONFLICT


# --- Authenticators -------------------------------------------------------------------------------------------------


async def test_an_authenticator_keeps_the_ring_in_a_database_of_its_own(tmp_path):
    founded = await found(tmp_path, role="authenticator")
    joiner = await join(founded)
    assert joiner.host.rows == {}
    await joiner.serve()
    again = joiner_of(founded, data=joiner)
    await again.begin("open")
    assert (await status_of(again)).cluster == founded.cluster_id.hex()
    # joining again replaces it
    again = joiner_of(founded, data=joiner)
    await again.begin("join")
    await again.serve()
    assert joiner.host.rows[RING_KEY].version == 2


async def test_an_authenticator_does_not_replace_the_ring_of_another_cluster(tmp_path):
    founded, other = await found(tmp_path, role="authenticator"), await found(tmp_path, role="authenticator")
    joiner = joiner_of(founded, data=other.instance)
    await joiner.begin("join")
    row = other.instance.host.rows[RING_KEY]
    assert await number_of(joiner.serve()) is Number.CONFLICT
    assert other.instance.host.rows[RING_KEY] == row


async def test_what_comes_again_after_a_lost_answer_gets_the_ring_again(founded, key):
    await publish(founded, key, 1, own(founded), NEW)
    for _ in range(2):
        await join(founded, Program2("vault", founded.instance.state))
    assert len((await status_of(founded.instance)).instances) == 2
    assert (await status_of(founded.instance)).handovers == 2


# --- with witnesses -------------------------------------------------------------------------------------------------


async def test_of_a_database_and_its_copy_witnesses_know_one(tmp_path, monkeypatch):
    """A host that lets the joiner serve a copy while the member goes on: one of the two says nothing more."""
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    founded, watch = await found_watched(tmp_path)
    joiner = await join(founded)
    joiner.host.rows, joiner.host.log = dict(founded.instance.host.rows), list(founded.instance.host.log)
    joiner.host.witnesses = watch.carry_for(joiner)
    await joiner.serve()
    await (await talk(joiner, founded.owner)).ask(Rotate())
    monkeypatch.setattr(witnessing, "WITNESS_PATIENCE", 0.2)
    assert await number_of((await talk(founded.instance, founded.owner)).ask(Rotate())) in (
        Number.WITNESSES_UNAVAILABLE,
        Number.LEASE_ENDED,
    )


async def test_a_joiner_that_is_told_of_other_witnesses_does_not_join(founded):
    assert await number_of(join(founded, witnesses=[witness_key(0)], cosignatures=1)) is Number.POLICY
