from base64 import urlsafe_b64encode

import pytest

from strongroom.client.errors import BadInput
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.methods import oidc_method, passkey_method
from strongroom.client.policy import Policy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import parse_instructions, parse_method
from tests.support.evidence import Cluster
from tests.support.passkeys import SoftwarePasskey

ROLE = Cluster("authenticator").policy()
AUTHENTICATOR = '[[authenticator]]\nurl = "https://authenticator.example.com/"\n'
METHOD = '[[method]]\ntype = "oidc"\nissuer = "https://login.example.com"\nclient_id = "native"\n'
RULES = 'permit (principal, action in [Action::"collect", Action::"update", Action::"delete"], resource);'
TEXT = f"rules = '''{RULES}'''\n{AUTHENTICATOR}{METHOD}"


def parse(text, **more):
    return parse_instructions(parse_instructions_file(text, authenticator=ROLE, **more))


def test_a_file_says_who_decides_by_which_sign_in_under_which_rules():
    found = parse(TEXT)
    assert [one.url for one in found.authenticators] == ["https://authenticator.example.com"]
    assert found.authenticators[0].policy == encode(ROLE)
    assert [parse_method(method) for method in found.methods] == [oidc_method("https://login.example.com", "native")]
    assert (found.rules, found.quorum, found.permanent) == (RULES, 1, False)


def test_every_field_arrives():
    more = (
        'device_client_id = "tv"\nweb_client_id = "web"\nweb_redirect_uri = "https://vault.example.com/back"\n'
        'redirect_uri = "http://127.0.0.1/done"\nclient_secret = "s"\nscopes = ["openid"]\nalgorithms = ["ES256"]\n'
        'email_domains = ["Example.com"]\n'
    )
    two = AUTHENTICATOR + AUTHENTICATOR.replace("authenticator.", "other.")
    found = parse(f"quorum = 2\npermanent = true\nrules = '''{RULES}'''\n{two}{METHOD}{more}")
    assert (found.quorum, found.permanent, len(found.authenticators)) == (2, True, 2)
    assert parse_method(found.methods[0]) == oidc_method(
        "https://login.example.com",
        "native",
        redirect_uri="http://127.0.0.1/done",
        web_client_id="web",
        web_redirect_uri="https://vault.example.com/back",
        device_client_id="tv",
        client_secret="s",
        scopes=["openid"],
        algorithms=["ES256"],
        email_domains=["example.com"],
    )


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


CARD = SoftwarePasskey("bob@example.com").public
PASSKEYS = f"""[[method]]
type = "passkey"
rp_id = "share.test"
origins = ["https://share.test"]
[[method.passkey]]
person = "bob@example.com"
credential_id = "{_text(CARD.credential_id)}"
public_key = "{_text(CARD.public_key)}"
"""


def test_passkeys_are_written_as_their_cards_have_them():
    found = parse(TEXT + PASSKEYS)
    assert parse_method(found.methods[1]) == passkey_method("share.test", ["https://share.test"], [CARD])


def test_rules_may_be_left_to_the_caller():
    assert parse(AUTHENTICATOR + METHOD).rules == ""
    given = Policy(RULES + "// mine")
    assert parse(TEXT, rules=given).rules == given.cedar


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "authenticator"),
        (AUTHENTICATOR, "method"),
        (METHOD, "authenticator"),
        (TEXT + "quorom = 1", "quorom"),
        (TEXT.replace("issuer", "isuer"), "method[0]"),
        (TEXT.replace('"oidc"', '"password"'), "method[0].type"),
        (TEXT.replace('client_id = "native"', ""), "method[0]"),
        (TEXT.replace('"native"', "7"), "method[0].client_id"),
        (TEXT + 'algorithms = ["none"]', "method[0].algorithms[0]"),
        (TEXT + PASSKEYS.replace('rp_id = "share.test"\n', ""), "method[1]"),
        (TEXT + PASSKEYS.replace(_text(CARD.credential_id), "not base64!"), "credential_id is not base64url - at meth"),
        (TEXT + PASSKEYS.replace("person", "persona"), "persona"),
        (TEXT + PASSKEYS + 'issuer = "https://login.example.com"', "issuer"),
        ("quorum = 0\n" + TEXT, "quorum"),
        ("permanent = 1\n" + TEXT, "permanent"),
        (TEXT.replace("https://authenticator", "authenticator"), "not the URL of a server"),
        (TEXT.replace("https://auth", "https://user@auth"), "no user name"),
        ("rules = '''", "not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
        ("x" * 70_000, "too long"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text, words):
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert words in caught.value.error
    assert "$" not in caught.value.error


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (TEXT.replace("permit", "permitt"), Number.RULES_INVALID),
        (TEXT.replace(', Action::"delete"', ""), Number.LOCKS_OUT),
        ("quorum = 2\n" + TEXT, Number.INSTRUCTIONS_INVALID),
        (TEXT + METHOD, Number.INSTRUCTIONS_INVALID),
    ],
)
def test_what_an_authenticator_would_refuse_is_refused_here(text, number):
    with pytest.raises(Misuse) as caught:
        parse(text)
    assert caught.value.number is number
