import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attestation.policy import RolePolicy, SignerRule, TrustPolicy
from strongroom.attestation.trust_file import MAX_TRUST_FILE, format_trust_policy, parse_trust_policy
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import ConfigValue

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
DIGESTS = st.lists(st.binary(min_size=32, max_size=32), max_size=3)
ROLES = st.builds(
    RolePolicy,
    platforms=st.just(["sgx"]),
    insecure_roots=DIGESTS,
    measurements=DIGESTS,
    signers=st.lists(
        st.builds(
            SignerRule,
            signer=st.binary(min_size=32, max_size=32),
            product_id=st.integers(0, 0xFFFF),
            min_svn=st.integers(0, 0xFFFF),
        ),
        max_size=2,
    ),
    clusters=DIGESTS,
    tcb_statuses=st.lists(st.sampled_from(["UpToDate", "OutOfDate"]), max_size=2),
    refused_advisories=st.lists(TEXTS, max_size=2),
    min_tcb_evaluation=st.integers(0, 2**63 - 1),
    config=st.lists(st.builds(ConfigValue, name=TEXTS, value=TEXTS), max_size=2),
)
ROLE = RolePolicy(["sgx"], [], [bytes(32)], [SignerRule(b"\xab" * 32, 1, 2)], [b"\xcd" * 32], ["UpToDate"], [], 17, [])
POLICY = TrustPolicy(1, "house", ROLE, ROLE)
TEXT = format_trust_policy(POLICY)


@given(TEXTS.map(lambda text: text.replace("insecure", "")), ROLES, ROLES)
def test_every_policy_survives_its_text(name, vault, authenticator):
    policy = TrustPolicy(1, name.replace("insecure", ""), vault, authenticator)
    assert parse_trust_policy(format_trust_policy(policy)) == policy


def test_the_text_says_what_each_pin_means():
    assert tomllib.loads(TEXT)["vault"]["clusters"] == ["cd" * 32]
    for field in tomllib.loads(TEXT)["vault"]:
        above = TEXT.split(f"\n{field} = ")[0].splitlines()[-1]
        assert above.startswith("# ")
    assert "CAN READ" in TEXT


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version = 1", "version = 2", "version"),
        ("version = 1", "version = true", "version"),
        ("version = 1\n", "", "missing required field `version`"),
        ("[vault]", "extra = 1\n[vault]", "unknown field `extra`"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = 17\nextra = 1", "unknown field `extra` - at vault"),
        ("min_tcb_evaluation = 17", 'min_tcb_evaluation = "17"', "at vault.min_tcb_evaluation"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = -1", "at vault.min_tcb_evaluation"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = 17.0", "at vault.min_tcb_evaluation"),
        ("min_tcb_evaluation = 17", "min_tcb_evaluation = 2026-01-01", "at vault.min_tcb_evaluation"),
        ('    "sgx"', '    "SGX"', "at vault.platforms[0]"),
        ('"UpToDate"', '"Revoked"', "at vault.tcb_statuses[0]"),
        (f'"{"00" * 32}"', '"00"', "expected 64 hex digits - at vault.measurements[0]"),
        (f'"{"00" * 32}"', "0", "expected 64 hex digits - at vault.measurements[0]"),
        (f'"{"00" * 32}"', f'"{"0 " * 32}"', "expected 64 hex digits - at vault.measurements[0]"),
        (f'"{"ab" * 32}"', '"xyz"', "expected 64 hex digits - at vault.signers[0].signer"),
        ("min_svn = 2", "min_svn = 65536", "at vault.signers[0].min_svn"),
        (", min_svn = 2", "", "at vault.signers[0]"),
        ("signers = [", "signers = [[], ", "at vault.signers[0]"),
        ("insecure_roots = []", 'insecure_roots = ""', "at vault.insecure_roots"),
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
    with pytest.raises(Misuse, match=r"Expected `object`.* at vault"):
        parse_trust_policy(f'version = 1\nname = ""\nvault = {value}\nauthenticator = {value}')


@pytest.mark.parametrize("role", ["vault", "authenticator"])
def test_a_policy_that_accepts_software_evidence_must_say_so_by_name(role):
    insecure = msgspec.structs.replace(ROLE, platforms=["insecure-software"])
    fields: dict[str, Any] = {"version": 1, "vault": ROLE, "authenticator": ROLE, role: insecure}
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
