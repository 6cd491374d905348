import pytest

from strongroom import BadInput, Policy, load_instructions, load_trust
from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.trust_file import MAX_TRUST_FILE, format_trust_policy
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import parse_instructions
from tests.support.evidence import Cluster

TRUST = TrustPolicy(
    version=1,
    name="insecure test",
    vault=Cluster("vault").policy(),
    authenticator=Cluster("authenticator").policy(),
    witnesses=[],
    cosignatures=0,
)


def test_a_policy_reads_back(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text(format_trust_policy(TRUST))
    assert load_trust(path) == load_trust(str(path)) == TRUST


def test_a_policy_that_everybody_may_write_is_refused(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text(format_trust_policy(TRUST))
    path.chmod(0o666)
    with pytest.raises(BadInput, match="everybody may write"):
        load_trust(path)


@pytest.mark.parametrize("content", [b"\xff", b"version = 2", b"nonsense", b"x" * (MAX_TRUST_FILE + 1)])
def test_what_is_no_policy_is_refused_by_file_and_place(tmp_path, content):
    path = tmp_path / "trust.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load_trust(path)
    assert str(path) in caught.value.error


def test_a_missing_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(BadInput) as caught:
        load_trust(tmp_path / "trust.toml")
    assert "trust pin" in caught.value.hint


def test_instructions_take_their_authenticators_recognition_from_the_trust_policy(tmp_path):
    path = tmp_path / "instructions.toml"
    path.write_text(
        '[[authenticator]]\nurl = "https://a.example.com"\n[[method]]\ntype = "oidc"\n'
        'issuer = "https://login.example.com"\nclient_id = "native"\n'
    )
    rules = Policy.anyone_with_email("bob@example.com", issuer="https://login.example.com").may("collect")
    rules |= Policy.depositor_may("update", "delete")
    found = parse_instructions(load_instructions(path, TRUST, rules))
    assert found.authenticators[0].policy == encode(TRUST.authenticator)
    assert found.rules == rules.cedar
