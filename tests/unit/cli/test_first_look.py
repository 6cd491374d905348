"""Before there is a trust policy: the program is named, or nothing is accepted."""

import re

import pytest
from msgspec.structs import replace as changed

from strongroom.attestation.acceptance import accept_program
from strongroom.attestation.appraisal import appraise
from strongroom.attestation.policy import sections_of
from strongroom.cli import first_look
from strongroom.cli.first_look import Accepting, policy_for, verify_owner_shown
from strongroom.cli.terminal import Failure
from strongroom.client.release import Release, release_text
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import ConfigValue, Evidence
from strongroom.protocol.limits import MAX_EVIDENCE
from tests.support.evidence import NOW, Cluster
from tests.support.seen import REPORTS

HARDWARE = ["sgx", "tdx", "snp", "nitro"]
URL = "http://127.0.0.1:1"


@pytest.fixture
def shown(monkeypatch):
    """Evidence of a kind of hardware, found genuine: nobody here has a key of a maker."""

    def show(kind):
        monkeypatch.setattr(first_look, "_verified", lambda *_: REPORTS[kind])
        evidence = decode(Cluster("vault").evidence(), Evidence, limit=MAX_EVIDENCE)
        return encode(changed(evidence, kind=kind))

    return show


def released(folder, kind, **changes):
    fields = {"version": "0.1.0", "role": "vault", "kind": kind, "registers": REPORTS[kind].registers}
    release = Release(**fields | {"tcb": bytes(32), "built": "0" * 40} | changes)
    path = folder / release.name
    path.write_text(release_text(release))
    return path


@pytest.mark.parametrize("kind", HARDWARE)
def test_on_hardware_a_program_that_nobody_named_is_not_accepted(shown, kind):
    for accepting in (Accepting("vault"), Accepting("vault", insecure=True)):
        with pytest.raises(Failure) as caught:
            policy_for(URL, shown(kind), accepting, [])
        assert REPORTS[kind].measurement.hex() in caught.value.hint


@pytest.mark.parametrize("kind", HARDWARE)
def test_another_program_than_the_named_one_is_not_accepted(shown, kind, tmp_path):
    measurement = REPORTS[kind].measurement.hex()
    others = tuple((name, b"\x99" * len(value)) for name, value in REPORTS[kind].registers)
    for accepting in (
        Accepting("vault", measurement=measurement[:-2] + "99"),
        Accepting("vault", measurement=measurement[:64] + measurement[:64]),
        Accepting("vault", measurement=""),
        Accepting("vault", release=released(tmp_path, kind, registers=others)),
        Accepting("vault", release=released(tmp_path, kind, role="authenticator")),
        Accepting("vault", release=released(tmp_path, "nitro" if kind != "nitro" else "snp")),
    ):
        with pytest.raises(Untrusted):
            policy_for(URL, shown(kind), accepting, [])


@pytest.mark.parametrize("kind", HARDWARE)
@pytest.mark.parametrize("by", ["measurement", "release"])
def test_the_named_program_is_pinned_exactly_and_nothing_else(shown, kind, by, tmp_path):
    named = {
        "measurement": {"measurement": REPORTS[kind].measurement.hex().upper()},
        "release": {"release": released(tmp_path, kind)},
    }[by]
    policy = policy_for(URL, shown(kind), Accepting("vault", **named, settings=["page=00"]), [bytes(32)])
    assert list(sections_of(policy)) == [kind]
    assert (policy.clusters, policy.config, policy.releases) == ([bytes(32)], [ConfigValue("page", "00")], None)
    section = sections_of(policy)[kind]
    assert accept_program(REPORTS[kind], section) == "measurement"
    assert len(section.measurements) == 1
    assert getattr(section, "signers", []) == []


def test_software_evidence_is_taken_only_by_its_name():
    cluster = Cluster("vault")
    with pytest.raises(Failure, match="everything"):
        policy_for(URL, cluster.evidence(), Accepting("vault"), [])


def test_software_evidence_is_pinned_by_root_and_program(monkeypatch):
    cluster = Cluster("vault")
    monkeypatch.setattr("strongroom.cli.first_look.time.time", lambda: NOW)
    monkeypatch.setattr("strongroom.cli.evidence.time.time", lambda: NOW)
    policy = policy_for(URL, cluster.evidence(), Accepting("vault", insecure=True), [cluster.id])
    assert appraise(cluster.evidence(), role="vault", policy=policy, now=NOW).accepted_by == "measurement"
    other_root, other_program = Cluster("vault", bytes([1]) * 32), cluster.evidence(measurement=bytes(32))
    for evidence in (other_root.evidence(), other_program):
        with pytest.raises(Untrusted):
            appraise(evidence, role="vault", policy=changed(policy, clusters=[cluster.id, other_root.id]), now=NOW)
    with pytest.raises(Untrusted):
        policy_for(URL, cluster.evidence(), Accepting("vault", insecure=True, measurement="00" * 32), [])


def test_software_evidence_that_shows_a_released_measurement_is_not_that_release(monkeypatch, tmp_path):
    """It has the form of SGX, and whoever makes it writes what he likes."""
    monkeypatch.setattr("strongroom.cli.first_look.time.time", lambda: NOW)
    evidence = Cluster("vault").evidence(measurement=REPORTS["sgx"].measurement)
    monkeypatch.setattr("strongroom.cli.evidence.time.time", lambda: NOW)
    accepting = Accepting("vault", release=released(tmp_path, "sgx"), insecure=True)
    with pytest.raises(Untrusted, match="the release is for sgx"):
        policy_for(URL, evidence, accepting, [])


def test_a_trust_policy_and_something_beside_it_is_a_mistake(tmp_path):
    accepting = Accepting("vault", trust=tmp_path / "trust.toml", insecure=True)
    with pytest.raises(Failure, match="--trust"):
        policy_for(URL, Cluster("vault").evidence(), accepting, [])


@pytest.mark.parametrize("text", ["page", "=x", ""])
def test_a_setting_has_a_name_and_a_value(monkeypatch, text):
    monkeypatch.setattr("strongroom.cli.first_look.time.time", lambda: NOW)
    monkeypatch.setattr("strongroom.cli.evidence.time.time", lambda: NOW)
    with pytest.raises(Failure, match="NAME=VALUE"):
        policy_for(URL, Cluster("vault").evidence(), Accepting("vault", insecure=True, settings=[text]), [])


def test_an_enclave_that_takes_another_owners_word_is_turned_away():
    mine, cluster = bytes([4]) + bytes(64), Cluster("vault")

    def showing(*config):
        return cluster.evidence(cluster.claims(config=list(config)))

    for config in ([], [ConfigValue("owner", "04" + "11" * 64)]):
        with pytest.raises(Failure, match=re.escape("another owner")):
            verify_owner_shown(showing(*config), mine)
    verify_owner_shown(showing(ConfigValue("owner", mine.hex())), mine)
