"""Threat: a host that lies to an enclave about what only the host can fetch or keep: collateral, time, the sealed ring.

The enclaves here run on the software platform, changed to ask and to seal as the hardware ones do."""

import asyncio
import threading
from dataclasses import replace

import pytest

from strongroom.enclave.platform.port import Quoted
from strongroom.enclave.runtime.identity import RETRY_SECONDS, STALE_MARGIN, peer_platforms
from strongroom.enclave.runtime.sealed_ring import InstanceWrap, SealedRing
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Number, Refused, Unavailable
from strongroom.protocol.evidence import evidence_digest, parse_evidence
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.instructions import AuthenticatorRef
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.link import Operation, Row
from tests.support.evidence import changed
from tests.support.evidence import pki as other_pki
from tests.support.vault import SECRET, fresh, number_of, stored
from tests.support.world import RawClient, for_bob

DAY = 86400


@pytest.fixture
def asked(world, monkeypatch):
    """The Vault's platform has no collateral: its host is asked, and answers well. Quotes that were made."""
    platform, quotes = world.vault.platform, []
    real = platform.quote

    def quote(report_data):
        quotes.append(report_data)
        return Quoted(real(report_data).quote, None)

    async def collateral(kind, quote, endorsements):
        assert kind == "insecure-software"
        await asyncio.sleep(0)
        answer = world.vault.host.answer
        if isinstance(answer, Exception):
            raise answer
        return answer or platform._pki.collateral(int(platform.now()))

    monkeypatch.setattr(platform, "quote", quote)
    monkeypatch.setattr(world.vault.host, "collateral", collateral)
    monkeypatch.setattr(world.vault.host, "answer", None, raising=False)
    return quotes


# --- collateral -----------------------------------------------------------------------------------------------


async def test_collateral_of_the_host_makes_evidence_that_clients_accept(world, asked):
    await world.vault.start()
    client = RawClient(world.vault)
    await client.handshake()
    assert len(asked) == 1


async def test_wrong_collateral_makes_no_evidence(world, asked):
    for wrong in (b"[]", b"{}", other_pki(b"\x07" * 32).collateral(int(world.vault.platform.now())), bytes(65 * 1024)):
        world.vault.host.answer = wrong
        assert await number_of(world.vault.start()) is Number.EVIDENCE


async def test_old_collateral_makes_no_evidence(world, asked):
    old = world.vault.platform._pki.collateral(int(world.vault.platform.now()) - 31 * DAY)
    world.vault.host.answer = old
    assert await number_of(world.vault.start()) is Number.EVIDENCE


async def test_missing_collateral_is_unavailable(world, asked):
    world.vault.host.answer = Unavailable(Number.COLLATERAL_UNAVAILABLE)
    assert await number_of(world.vault.start()) is Number.COLLATERAL_UNAVAILABLE


async def test_evidence_is_made_anew_before_its_collateral_expires(world, asked):
    """Else clients refuse a good enclave until its key turns. Its evidence of before still opens sessions."""
    platform = world.vault.platform
    ends = platform.now() + 600
    world.vault.host.answer = platform._pki.collateral(int(ends) - 30 * DAY)
    await world.vault.start()
    first = await world.vault.evidence()
    world.vault.host.answer = platform._pki.collateral(int(platform.now()))
    platform.ahead = 600 - STALE_MARGIN - 30
    assert await world.vault.evidence() == first
    platform.ahead = 600 - STALE_MARGIN + 30
    second = await world.vault.evidence()
    assert parse_evidence(second)[1].kem_key == parse_evidence(first)[1].kem_key
    assert parse_evidence(second)[0].collateral != parse_evidence(first)[0].collateral
    identity = world.vault.enclave._door._identity
    assert identity.expiry_of(evidence_digest(first)) == identity.expiry_of(evidence_digest(second))


async def test_a_host_whose_collateral_is_always_about_to_expire_gets_no_quote_a_request(world, asked):
    platform = world.vault.platform
    world.vault.host.answer = platform._pki.collateral(int(platform.now()) + STALE_MARGIN // 2 - 30 * DAY)
    await world.vault.start()
    for _ in range(20):
        await world.vault.evidence()
    assert len(asked) == 1


async def test_many_clients_at_the_turn_of_the_key_cause_one_quote(world, asked):
    await world.vault.start()
    world.vault.platform.ahead = 3700
    shown = await asyncio.gather(*(world.vault.evidence() for _ in range(100)))
    assert len(set(shown)) == 1
    assert len(asked) == 2


async def test_while_collateral_fails_requests_cause_no_quotes(world, asked):
    await world.vault.start()
    world.vault.platform.ahead = 3700  # the key has turned
    world.vault.host.answer = Unavailable(Number.COLLATERAL_UNAVAILABLE)
    for _ in range(50):
        assert await number_of(world.vault.evidence()) is Number.COLLATERAL_UNAVAILABLE
    assert len(asked) == 2
    world.vault.host.answer = None
    world.vault.platform.ahead += RETRY_SECONDS + 1
    await world.vault.evidence()
    assert len(asked) == 3


async def test_evidence_that_is_still_good_is_shown_while_it_cannot_be_renewed(world, asked):
    platform = world.vault.platform
    world.vault.host.answer = platform._pki.collateral(int(platform.now()) + 600 - 30 * DAY)
    await world.vault.start()
    first = await world.vault.evidence()
    world.vault.host.answer = Unavailable(Number.COLLATERAL_UNAVAILABLE)
    platform.ahead = 600 - STALE_MARGIN // 2
    assert await world.vault.evidence() == first
    platform.ahead = 601
    assert await number_of(world.vault.evidence()) is Number.COLLATERAL_UNAVAILABLE


async def test_the_evidence_of_clients_never_waits_behind_quotes_for_tenants(world, monkeypatch):
    """Whoever names Authenticators without end has a quote made for each."""
    await world.vault.start()
    identity, real = world.vault.enclave._door._identity, world.vault.platform.quote
    loop, begun = asyncio.get_running_loop(), asyncio.Semaphore(0)
    under_way, most, go = set(), [], threading.Event()

    def quote(report_data):
        under_way.add(report_data)
        most.append(len(under_way))
        loop.call_soon_threadsafe(begun.release)
        go.wait(20)
        under_way.discard(report_data)
        return real(report_data)

    monkeypatch.setattr(world.vault.platform, "quote", quote)
    peers = [asyncio.create_task(identity.peer_evidence(bytes(1216), bytes(65), bytes(32))) for _ in range(8)]
    await begun.acquire()
    world.vault.platform.ahead = 3700
    evidence = asyncio.create_task(world.vault.evidence())
    await begun.acquire()  # it has begun beside one of theirs
    go.set()
    assert parse_evidence(await evidence)[1].peer is None
    await asyncio.gather(*peers)
    assert max(most) == 2


# --- the sealed ring ------------------------------------------------------------------------------------------


def kept(world) -> SealedRing:
    return decode(world.vault.host.rows[RING_KEY].sealed, SealedRing, limit=MAX_MESSAGE)


def sealed_for(world) -> list[str]:
    return [wrap.instance.label for wrap in kept(world).instances]


def put(world, *, label: str | None = None, wrapped: bytes | None = None) -> None:
    """Bend the one wrap of the ring that is for this machine and program."""
    row, (wrap,) = world.vault.host.rows[RING_KEY], kept(world).instances
    instance = wrap.instance if label is None else changed(wrap.instance, label=label)
    bent = InstanceWrap(instance, wrap.wrapped if wrapped is None else wrapped)
    world.vault.host.rows[RING_KEY] = Row(row.version, encode(changed(kept(world), instances=[bent])))


def without_custodian(world, monkeypatch) -> None:
    monkeypatch.setattr(world.vault.platform, "development_custodian", lambda: None)


async def test_the_row_says_what_sealed_it_and_a_failure_says_what_changed(world, monkeypatch, capsys):
    measurement = world.vault.platform._measurement.hex()
    assert sealed_for(world) == [f"insecure software, program {measurement}"]
    without_custodian(world, monkeypatch)
    monkeypatch.setattr(world.vault.platform, "_measurement", b"\xbb" * 32)
    assert await number_of(world.vault.start()) is Number.INTEGRITY
    said = capsys.readouterr().err
    assert f"it was sealed for 'insecure software, program {measurement}'" in said
    assert f"this is insecure software, program {'bb' * 32}" in said


async def test_a_label_that_the_host_changed_closes_the_wrap(world, monkeypatch, capsys):
    """It reaches the operator's terminal, so it must not be the host's word, nor move the cursor."""
    without_custodian(world, monkeypatch)
    put(world, label="\x1b[2Jall is well")
    assert await number_of(world.vault.start()) is Number.INTEGRITY
    assert "\x1b" not in capsys.readouterr().err


async def test_a_ring_sealed_under_another_label_is_sealed_anew_at_start(world, monkeypatch, capsys):
    """As after an update of microcode that leaves the old key derivable."""
    real = world.vault.platform.sealing_key
    monkeypatch.setattr(world.vault.platform, "sealing_key", lambda: replace(real(), label="microcode 2"))
    # Sealed under the label of before, by the same key.
    before = world.vault.host.rows[RING_KEY].version
    await world.vault.start()
    assert sealed_for(world) == ["microcode 2"]
    assert world.vault.host.rows[RING_KEY].version == before + 1
    assert "sealed anew" in capsys.readouterr().err
    without_custodian(world, monkeypatch)
    await world.vault.start()
    assert world.vault.host.rows[RING_KEY].version == before + 1


async def test_a_platform_without_sealing_relies_on_custodians_alone(world, monkeypatch):
    world.vault.host.rows.clear()
    world.vault.host.log.clear()
    monkeypatch.setattr(world.vault.platform, "sealing_key", lambda: None)
    await world.vault.start()
    assert kept(world).instances == []
    await world.vault.start()
    without_custodian(world, monkeypatch)
    assert await number_of(world.vault.start()) is Number.INTEGRITY


async def test_an_empty_wrap_opens_nothing(world, monkeypatch):
    without_custodian(world, monkeypatch)
    for wrap in (b"", bytes(16), bytes(48)):
        put(world, wrapped=wrap)
        assert await number_of(world.vault.start()) is Number.INTEGRITY


# --- editions ---------------------------------------------------------------------------------------------------


async def test_nobody_turns_a_vault_away_from_an_authenticator_of_others(world):
    """A tenant relays its genuine evidence with collateral of an edition that its host doesn't have yet."""
    address, _ = await stored(world)
    pki = world.authenticator.platform._pki

    async def relay(operation, body):
        if operation is not Operation.EVIDENCE:
            return await world.authenticator.enclave.handle(operation, body)
        now = int(world.vault.platform.now())
        info, identity = pki.tcb_info(now), pki.qe_identity(now)
        for statement in (info, identity):
            statement["tcbEvaluationDataNumber"] += 1
        genuine = parse_evidence(await world.authenticator.evidence())[0]
        return encode(changed(genuine, collateral=pki.signed_collateral(info, identity, now)))

    world.vault.host.routes["https://mallory.example"] = relay
    mallory = await world.client("mallory")
    named = AuthenticatorRef(url="https://mallory.example", policy=encode(world.policy()))
    trap = world.instructions(for_bob(), authenticators=[named])
    assert await number_of(mallory.store(fresh(), SECRET, trap)) is Number.AUTHENTICATOR_UNAVAILABLE
    for instance in (world.vault, world.authenticator):
        instance.platform.ahead = 700  # the pooled session is over
    bob = await world.client("bob")
    (item,) = await bob.collect(address)
    assert item.secret == SECRET


# --- peers ------------------------------------------------------------------------------------------------------


def test_an_enclave_on_hardware_believes_hardware_only():
    assert set(peer_platforms("sgx")) == {"sgx", "tdx", "snp", "nitro"}
    assert set(peer_platforms("insecure-software")) == {"sgx", "tdx", "snp", "nitro", "insecure-software"}


async def test_a_vault_on_hardware_refuses_a_software_authenticator_that_a_depositor_accepts(world, monkeypatch):
    await world.vault.start()  # no session with the Authenticator is left
    client = await world.client("alice")
    monkeypatch.setattr(type(world.vault.platform), "kind", "sgx")
    got = await number_of(client.store(fresh(), SECRET, world.instructions(for_bob())))
    assert got is Number.AUTHENTICATOR_UNTRUSTED


async def test_the_hosts_word_on_collateral_becomes_no_verdict_of_the_enclave():
    from strongroom.enclave.runtime.link import HostLink

    link = HostLink()

    async def lying(operation, body):
        raise Refused()

    link._ask = lying  # type: ignore[method-assign]
    with pytest.raises(Unavailable) as caught:
        await link.collateral("sgx", b"quote", b"")
    assert caught.value.number is Number.COLLATERAL_UNAVAILABLE
