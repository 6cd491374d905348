import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.attestation.policy import NitroMeasurement, SgxSigner, TdxMeasurement, TrustPolicy
from strongroom.attestation.trust_file import (
    MAX_TRUST_FILE,
    format_trust_policy,
    parse_trust_policy,
    parse_workload_policy,
)
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import ConfigValue
from strongroom.protocol.notes import ED25519, Verifier
from tests.support import policies

ROLE = policies.role(
    clusters=[b"\xcd" * 32],
    sgx=policies.sgx(measurements=[bytes(32)], signers=[SgxSigner(b"\xab" * 32, 1, 2)], min_tcb_evaluation=17),
)
ALL = policies.role(
    clusters=[b"\xcd" * 32],
    config=[ConfigValue("a", "b")],
    sgx=policies.sgx(),
    tdx=policies.tdx(measurements=[TdxMeasurement(*(bytes([at] * 48) for at in range(5))) for _ in range(2)]),
    snp=policies.snp(chip_ids=[b"\x11" * 64]),
    nitro=policies.nitro(measurements=[NitroMeasurement(bytes(48), bytes(48), bytes(48))]),
    releases=policies.release_authority(approvals=2, min_serial=3),
)
POLICY = TrustPolicy(1, "house", ROLE, ROLE, [], 0)
TEXT = format_trust_policy(POLICY)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(policies.TRUST_POLICIES)
def test_every_policy_survives_its_text(policy):
    assert parse_trust_policy(format_trust_policy(policy)) == policy


def test_the_text_says_what_each_pin_means():
    text = format_trust_policy(TrustPolicy(1, "house", ALL, ROLE, [], 0))
    assert tomllib.loads(text)["vault"]["clusters"] == ["cd" * 32]
    for section, fields in tomllib.loads(text)["vault"].items():
        mark = f"\n[vault.{section}]\n" if isinstance(fields, dict) else f"\n{section} = "
        above = text.split(mark)[0].splitlines()[-1]
        assert above.startswith("# "), section
    assert "CAN READ" in text
    assert max(len(line) for line in text.splitlines()) < 160


def test_what_names_no_machine_says_any():
    assert 'platform_ids = "any"' in TEXT
    empty = TEXT.replace('platform_ids = "any"', "platform_ids = []", 1)
    section = parse_trust_policy(empty).vault.sgx
    assert section is not None
    assert section.platform_ids == []  # which accepts none


def test_a_platform_left_out_is_refused_and_any_stands_for_no_section():
    assert parse_trust_policy(TEXT).vault.tdx is None
    with pytest.raises(Misuse, match=r"vault\.tdx"):
        parse_trust_policy(TEXT.replace("[vault]", '[vault]\ntdx = "any"'))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version = 1", "version = 2", "version"),
        ("version = 1", "version = true", "version"),
        ("version = 1\n", "", "missing required field `version`"),
        ("[vault]", "extra = 1\n[vault]", "unknown field 'extra' - at extra, line "),
        (
            "min_tcb_evaluation = 17",
            "min_tcb_evaluation = 17\nextra = 1",
            "unknown field 'extra' - at vault.sgx.extra, line",
        ),
        (
            "min_tcb_evaluation = 17",
            "min_tcb_evalution = 17",
            "did you mean 'min_tcb_evaluation'? - at vault.sgx.min_tcb",
        ),
        ("[vault.sgx]", "[vault.insecure-software]", "did you mean 'insecure_software'? - at vault.insecure-software"),
        ("[vault]", "[valut]", "unknown field 'valut', did you mean 'vault'? - at valut, line"),
        ('"UpToDate"', '"uptodate"', "or 'UpToDate' - at vault.sgx.tcb_statuses[0]"),
        ('platform_ids = "any"', 'platform_ids = ["any"]', "expected 32 hex digits - at vault.sgx.platform_ids[0]"),
        (
            "refused_advisories = []",
            'refused_advisories = ["INTEL-SA-289"]',
            "at vault.sgx.refused_advisories[0], line",
        ),
        ("min_tcb_evaluation = 17", 'min_tcb_evaluation = "17"', "at vault.sgx.min_tcb_evaluation"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = -1", "at vault.sgx.min_tcb_evaluation"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = 17.0", "at vault.sgx.min_tcb_evaluation"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = 2026-01-01", "at vault.sgx.min_tcb_evaluation"),
        ("[vault.sgx]", "[vault.SGX]", "unknown field 'SGX', did you mean 'sgx'? - at vault.SGX, line"),
        ('platform_ids = "any"', 'platform_ids = "all"', "at vault.sgx.platform_ids, line"),
        ("allow_smt = true", "allow_smt = 1", "expected true or false - at vault.sgx.allow_smt, line"),
        ("grace_days = 0\n", "", "missing required field `grace_days` - at vault.sgx, line"),
        ('"UpToDate"', '"Revoked"', "at vault.sgx.tcb_statuses[0], line"),
        (f'"{"00" * 32}"', '"00"', "expected 64 hex digits - at vault.sgx.measurements[0], line"),
        (f'"{"00" * 32}"', "0", "expected 64 hex digits - at vault.sgx.measurements[0], line"),
        (f'"{"00" * 32}"', f'"{"0 " * 32}"', "expected 64 hex digits - at vault.sgx.measurements[0], line"),
        (f'"{"ab" * 32}"', '"xyz"', "expected 64 hex digits - at vault.sgx.signers[0].signer"),
        ("min_svn = 2", "min_svn = 65536", "at vault.sgx.signers[0].min_svn"),
        (", min_svn = 2", "", "at vault.sgx.signers[0]"),
        ("signers = [", "signers = [[], ", "at vault.sgx.signers[0]"),
        ("refused_advisories = []", 'refused_advisories = ""', "at vault.sgx.refused_advisories, line"),
        ("[vault]", "[vault", "not TOML: Expected ']' at the end of a table declaration (at line"),
        ("[vault]", "[vault]\n[vault]", "not TOML"),
        ("[vault]", "x = " + "[" * 5000, "not TOML"),
        ("version = 1", "version = " + "1" * 5000, "not TOML"),
    ],
)
def test_a_mistake_is_refused_with_its_place(old, new, reason):
    assert old in TEXT
    with pytest.raises(Misuse) as caught:
        parse_trust_policy(TEXT.replace(old, new, 1))
    assert caught.value.number is Number.MALFORMED
    assert reason in caught.value.reason


@pytest.mark.parametrize("value", ["3", "[]", '""'])
def test_a_role_that_is_no_table_is_refused(value):
    with pytest.raises(Misuse, match="expected a section - at vault, line"):
        parse_trust_policy(f'version = 1\nname = ""\nvault = {value}\nauthenticator = {value}')


@pytest.mark.parametrize("role", ["vault", "authenticator"])
def test_a_policy_that_accepts_software_evidence_must_say_so_by_name(role):
    insecure = msgspec.structs.replace(ROLE, insecure_software=policies.software())
    fields: dict[str, Any] = {"version": 1, "vault": ROLE, "authenticator": ROLE, "witnesses": [], "cosignatures": 0}
    fields[role] = insecure
    honest = TrustPolicy(**fields, name="insecure demo")
    text = format_trust_policy(honest)
    assert "# INSECURE" in text
    assert parse_trust_policy(text) == honest
    with pytest.raises(Misuse, match='must have "insecure" in its name'):
        format_trust_policy(TrustPolicy(**fields, name="demo"))
    with pytest.raises(Misuse, match='must have "insecure" in its name'):
        parse_trust_policy(text.replace("insecure demo", "demo"))


def test_a_policy_that_accepts_no_software_evidence_must_not_be_named_insecure():
    with pytest.raises(Misuse, match="accepts no software evidence"):
        parse_trust_policy(TEXT.replace("house", "insecure house"))


def test_the_line_that_an_error_names_is_the_one():
    text = format_trust_policy(TrustPolicy(1, "house", ALL, ALL, [], 0))
    lines = text.splitlines()
    second = [at for at, line in enumerate(lines) if line == "[[authenticator.tdx.measurements]]"][1]
    assert lines[second + 3].startswith("rtmr1 = ")
    lines[second + 3] = 'rtmr1 = "00"'
    with pytest.raises(Misuse) as caught:
        parse_trust_policy("\n".join(lines))
    expected = f"expected 96 hex digits - at authenticator.tdx.measurements[1].rtmr1, line {second + 4}"
    assert caught.value.reason.endswith(expected)


def test_a_huge_file_is_refused_before_parsing():
    with pytest.raises(Misuse) as caught:
        parse_trust_policy(TEXT + "#" * MAX_TRUST_FILE)
    assert caught.value.number is Number.TOO_LARGE


@given(st.text(max_size=200))
def test_any_text_gives_only_declared_errors(text):
    with pytest.raises(Misuse):
        parse_trust_policy(text)
    with pytest.raises(Misuse):
        parse_trust_policy(TEXT[: len(text)] + text)


WITNESSES = [policies.witness_key(at) for at in range(3)]
WATCHED = format_trust_policy(TrustPolicy(1, "house", ROLE, ROLE, WITNESSES, 2))


def test_a_policy_that_says_nothing_of_witnesses_is_of_a_vault_without():
    assert "witnesses" not in TEXT
    assert parse_trust_policy(TEXT).witnesses == []
    assert parse_trust_policy(TEXT.replace("[vault]", "witnesses = []\ncosignatures = 0\n[vault]", 1)) == POLICY


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("cosignatures = 2\n", "", "missing required field `cosignatures`"),
        ("cosignatures = 2", "cosignatures = 1", "not more than half of 3, and at most all - at cosignatures, line"),
        ("cosignatures = 2", "cosignatures = 4", "not more than half of 3, and at most all - at cosignatures, line"),
        ("cosignatures = 2", "cosignatures = 0", "not more than half of 3, and at most all - at cosignatures, line"),
        ("cosignatures = 2", "cosignatures = -1", "at cosignatures, line"),
        ("cosignatures = 2", 'cosignatures = "any"', "at cosignatures, line"),
        (WITNESSES[1], WITNESSES[0], "the same witness is named twice"),
        (WITNESSES[1], WITNESSES[1].replace("witness-1", "w"), "hash in the verifier key w.example does not fit"),
        (WITNESSES[1], "x+y+?", "a verifier key is NAME+HASH+KEY - at witnesses[1], line"),
        (WITNESSES[2], str(Verifier("log", ED25519, bytes(32))), "is not a witness's"),
        (f'"{WITNESSES[2]}"', "2", "at witnesses[2], line"),
    ],
)
def test_witnesses_that_nobody_could_count_are_refused_with_their_place(old, new, reason):
    assert old in WATCHED
    with pytest.raises(Misuse) as caught:
        parse_trust_policy(WATCHED.replace(old, new, 1))
    assert reason in caught.value.reason


def test_a_number_of_cosignatures_of_nobody_is_refused():
    with pytest.raises(Misuse, match="not more than half of 0"):
        parse_trust_policy(TEXT.replace("[vault]", "witnesses = []\ncosignatures = 1\n[vault]", 1))
    with pytest.raises(Misuse, match="missing required field `witnesses`"):
        parse_trust_policy(TEXT.replace("[vault]", "cosignatures = 0\n[vault]", 1))


RELEASES = format_trust_policy(TrustPolicy(1, "house", ALL, ROLE, [], 0))
LINE = RELEASES.split("approvers = [")[1].split('"')[1]


def test_approvers_are_lines_as_ssh_writes_them_and_may_have_a_name():
    assert LINE.startswith("ssh-ed25519 AAAA")
    named = RELEASES.replace(LINE, f"{LINE} alice@example.com", 1)
    assert parse_trust_policy(named).vault.releases == policies.release_authority(approvals=2, min_serial=3)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (LINE, LINE[:-8], "at vault.releases.approvers[0], line"),
        (LINE, "alice@example.com", "as: ssh-ed25519 AAAA… name - at vault.releases.approvers[0], line"),
        (LINE, LINE.replace("ssh-ed25519", "ssh-rsa", 1), "at vault.releases.approvers[0], line"),
        (f'"{LINE}"', "7", "at vault.releases.approvers[0], line"),
        (f'"{LINE}"', f'"{LINE}", "{LINE} twin"', "counted once - at vault.releases.approvers[1], line"),
        (
            "approvals = 2",
            "approvals = 4",
            "expected a number from 1 to 3, the approvers - at vault.releases.approvals",
        ),
        ("approvals = 2", "approvals = 0", "at vault.releases.approvals, line"),
        ("approvals = 2\n", "", "missing required field `approvals` - at vault.releases, line"),
        ("min_serial = 3", "min_serial = -1", "at vault.releases.min_serial, line"),
        ("min_serial = 3", "min_seriel = 3", "did you mean 'min_serial'? - at vault.releases.min_seriel, line"),
        ("[vault.releases]", '[vault]\nreleases = "any"\n[x]', "not TOML"),
    ],
)
def test_a_mistake_about_releases_is_refused_with_its_place(old, new, reason):
    assert old in RELEASES
    with pytest.raises(Misuse) as caught:
        parse_trust_policy(RELEASES.replace(old, new, 1))
    assert reason in caught.value.reason


def test_an_approver_whose_key_anybody_can_sign_for_is_refused():
    low = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", bytes(32)))
    authority = msgspec.structs.replace(policies.release_authority(), approvers=[low], approvals=1)
    bad = TrustPolicy(1, "house", msgspec.structs.replace(ROLE, releases=authority), ROLE, [], 0)
    with pytest.raises(Misuse, match="low order"):
        format_trust_policy(bad)


def test_other_peoples_code_has_no_approvers_here():
    with pytest.raises(Misuse, match="releases are of Strongroom's own enclaves, and other code has none"):
        parse_workload_policy({"releases": {}}, "enclave")
