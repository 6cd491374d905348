"""`instructions.toml`: each kind of sign-in, and texts that stand in files of their own."""

import re
from pathlib import Path
from typing import get_args

import pytest

from strongroom import load_instructions
from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.methods import (
    code_method,
    directory_method,
    enclave_method,
    keys_method,
    oidc_method,
    workload_method,
)
from strongroom.protocol.errors import Misuse
from strongroom.protocol.instructions import Kind, parse_instructions, parse_method
from tests.support import policies
from tests.support.evidence import Cluster

ROLE = Cluster("authenticator").policy()
TRUST = TrustPolicy(
    version=1, name="insecure test", vault=Cluster("vault").policy(), authenticator=ROLE, witnesses=[], cosignatures=0
)
AUTHENTICATOR = '[[authenticator]]\nurl = "https://authenticator.example.com"\n'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFFWv5Cd2GhVIJfBGPPvmN+tSuiu6LcQQlmzNvNu3BUh"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYgGuRPmzSh1LqWfwC8Vt9yVLhS8LQg6NSyUI1Y1Nfv"

OIDC = """type = "oidc"
issuer = "https://login.example.com"
client_id = "native"
acr_values = ["phr", "mfa"]
max_age = 900
pushed = true
"""
WORKLOAD = """type = "workload"
issuer = "https://token.actions.githubusercontent.com"
audience = "strongroom"
claims = ["repository", "ref"]
algorithms = ["RS256"]
jwks = '{"keys": []}'
"""
DIRECTORY = """type = "directory"
name = "ad.example.com"
flavour = "active-directory"
servers = ["ldaps://dc1.example.com", "ldap://dc2.example.com:3890"]
ca = "PEM"
base = "DC=example,DC=com"
groups = ["CN=keys,DC=example,DC=com"]
email_domains = ["Example.com"]
"""
LDAP = """type = "directory"
name = "ldap.example.com"
flavour = "ldap"
servers = ["ldaps://ldap.example.com"]
base = "dc=example,dc=com"
user_dn = "uid={},ou=people,dc=example,dc=com"
"""
KEYS = f"""type = "keys"
verified = true
[[method.key]]
person = "bob@example.com"
public_key = "{KEY} laptop"
[[method.key]]
person = "build-7"
public_key = '''
{OTHER}
'''
"""
SNP = """
measurements = []
signers = []
products = [{ name = "Genoa", min_bootloader = 1, min_tee = 0, min_snp = 2, min_microcode = 3, min_fmc = 0 }]
chip_ids = "any"
vmpls = [0]
vlek_providers = []
allow_smt = true
allow_migration_agent = false
require_page_swap_disable = false
require_crl = true
"""
ENCLAVE = f"""type = "enclave"
[[method.workload]]
name = "signer"
[method.workload.policy.snp]
{SNP.replace("measurements = []", f'measurements = ["{"ab" * 48}"]')}
[[method.workload]]
name = "builder"
[method.workload.policy.snp]
{SNP}
"""
BARE = 'type = "enclave"\n[[method.workload]]\nname = "a"\n'
CODES = """type = "email-code"
sender = "keys@example.com"
server = "smtps://mail.example.com"
user = "keys"
password = "secret"
ca = "PEM"
addresses = ["Bob@Example.org"]
domains = ["Example.com"]
"""


def parse(method, **more):
    """The one method of a file."""
    text = f"{AUTHENTICATOR}[[method]]\n{method}"
    found = parse_instructions(parse_instructions_file(text, authenticator=ROLE, **more))
    return parse_method(found.methods[0])


def snp(**fields):
    (product,) = [one for one in policies.snp().products if one.name == "Genoa"]
    product = type(product)("Genoa", 1, 0, 2, 3, 0)
    return policies.role(
        snp=policies.snp(
            products=[product],
            chip_ids=None,
            vmpls=[0],
            vlek_providers=[],
            allow_smt=True,
            allow_migration_agent=False,
            require_page_swap_disable=False,
            require_crl=True,
            **fields,
        )
    )


@pytest.mark.parametrize(
    ("text", "method"),
    [
        (OIDC, oidc_method("https://login.example.com", "native", acr_values=["phr", "mfa"], max_age=900, pushed=True)),
        (
            WORKLOAD,
            workload_method(
                "https://token.actions.githubusercontent.com",
                audience="strongroom",
                claims=["repository", "ref"],
                algorithms=["RS256"],
                keys=b'{"keys": []}',
            ),
        ),
        (
            DIRECTORY,
            directory_method(
                "ad.example.com",
                ["ldaps://dc1.example.com", "ldap://dc2.example.com:3890"],
                base="DC=example,DC=com",
                certificates=b"PEM",
                groups=["CN=keys,DC=example,DC=com"],
                email_domains=["example.com"],
            ),
        ),
        (
            LDAP,
            directory_method(
                "ldap.example.com",
                ["ldaps://ldap.example.com"],
                base="dc=example,dc=com",
                flavour="ldap",
                user_dn="uid={},ou=people,dc=example,dc=com",
            ),
        ),
        (KEYS, keys_method({"bob@example.com": KEY, "build-7": OTHER}, verified=True)),
        (ENCLAVE, enclave_method({"signer": snp(measurements=[b"\xab" * 48]), "builder": snp()})),
        (
            CODES,
            code_method(
                "keys@example.com",
                "smtps://mail.example.com",
                user="keys",
                password="secret",
                addresses=["bob@example.org"],
                domains=["example.com"],
                certificates=b"PEM",
            ),
        ),
    ],
)
def test_every_kind_is_written_as_its_builder_builds_it(text, method):
    assert parse(text) == method


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OIDC.replace("900", '"900"'), "method[0].max_age"),
        (OIDC.replace("900", "-1"), "method[0].max_age"),
        (OIDC.replace('"phr"', "1"), "method[0].acr_values[0]"),
        (OIDC.replace("pushed = true", "pushed = 1"), "method[0].pushed"),
        (WORKLOAD.replace("https", "h" * 600), "method[0].issuer"),
        (WORKLOAD.replace('"RS256"', '"HS256"'), "method[0].algorithms[0]"),
        (WORKLOAD.replace('["RS256"]', "[]"), "method[0].algorithms"),
        (WORKLOAD + 'client_id = "c"\n', "client_id"),
        (DIRECTORY.replace('"active-directory"', '"AD"'), "method[0].flavour"),
        (DIRECTORY.replace('name = "ad.example.com"', 'name = ""'), "method[0].name"),
        (DIRECTORY.replace("servers", "server"), "server"),
        (DIRECTORY + 'password = "x"\n', "password"),
        (KEYS.replace("person", "persona"), "persona"),
        (KEYS.replace(KEY, "ssh-rsa AAAA"), "line 1 of the public keys: ssh-rsa is not taken"),
        (KEYS.replace(OTHER, "ssh-rsa AAAA"), "at method[0].key[1].public_key"),
        (KEYS.replace(OTHER, "ecdsa-sha2-nistp384 AAAA"), "ecdsa-sha2-nistp384 is not taken"),
        (KEYS.replace(OTHER, "restrict ssh-ed25519 AAAA"), "line 1 of the public keys does not begin with"),
        (KEYS.replace(OTHER, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"), "that is a private key"),
        (OIDC.replace("https://", ""), "expected a URL, https://HOST - at method[0].issuer"),
        (WORKLOAD.replace("https://", "ldap://"), "at method[0].issuer"),
        (DIRECTORY.replace("ldap://", "https://"), "expected a URL, ldaps://HOST - at method[0].servers[1]"),
        (DIRECTORY + 'user_dn = "uid={}"\n', "at method[0].user_dn"),
        (LDAP.replace("user_dn", "# "), "at method[0].user_dn"),
        (LDAP.replace("{}", "bob"), "at method[0].user_dn"),
        (CODES.replace("smtps://", ""), "at method[0].server"),
        (KEYS.partition("[[")[0], "key"),
        (ENCLAVE.replace("chip_ids", "chips"), "method[0].workload[0].policy.snp.chips"),
        (ENCLAVE.replace("abab", "ab"), "expected 96 hex digits - at method[0].workload[0].policy.snp.measurements[0]"),
        (ENCLAVE.replace("vmpls = [0]", "vmpls = [4]"), "method[0].workload[0].policy.snp.vmpls[0]"),
        (ENCLAVE.replace("require_crl = true", ""), "require_crl"),
        (ENCLAVE.replace("builder", "signer"), "stands here already - at method[0].workload[1].name"),
        (
            'type = "enclave"\n[[method.workload]]\nname = "a"\n[method.workload.policy]\n',
            "method[0].workload[0].policy",
        ),
        (
            'type = "enclave"\n[[method.workload]]\nname = "a"\n[method.workload.policy]\nclusters = []\n',
            "method[0].workload[0].policy.clusters",
        ),
        ('type = "enclave"\n[[method.workload]]\nname = "a"\npolicy = 1\n', "method[0].workload[0].policy"),
        (CODES.replace("sender", "from"), "from"),
        (CODES.replace('["Example.com"]', '"example.com"'), "method[0].domains"),
        ('type = "kerberos"\n', "method[0].type"),
        ('issuer = "https://login.example.com"\n', "type"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text, words):
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert words in caught.value.error
    assert "$" not in caught.value.error
    assert not caught.value.error.endswith("at ")


# --- files ----------------------------------------------------------------------------------------------------


def load(folder, method):
    path = folder / "instructions.toml"
    path.write_text(f"{AUTHENTICATOR}[[method]]\n{method}")
    return parse_method(parse_instructions(load_instructions(path, TRUST)).methods[0])


def test_secrets_and_certificates_may_stand_in_files_beside_it(tmp_path):
    for name, text in {
        "oidc": "client secret\n",
        "mail.password": " pass word \r\n",
        "corp-ca.pem": "PEM\n",
        "jwks.json": '{"keys": []}\n',
        "authorized_keys": f"{KEY} laptop\n# the old one\n{OTHER}\n",
    }.items():
        (tmp_path / name).write_bytes(text.encode())
    assert load(tmp_path, OIDC + 'client_secret_file = "oidc"').secret.client_secret == "client secret"
    mail = load(tmp_path, CODES.replace('password = "secret"', 'password_file = "mail.password"'))
    assert mail.secret.password == " pass word "
    assert load(tmp_path, LDAP + 'ca_file = "corp-ca.pem"').certificates == b"PEM\n"
    token = load(tmp_path, WORKLOAD.replace("jwks = '{\"keys\": []}'", 'jwks_file = "jwks.json"'))
    assert token.keys == b'{"keys": []}\n'
    keys = load(tmp_path, 'type = "keys"\n[[method.key]]\nperson = "bob"\npublic_key_file = "authorized_keys"\n')
    assert keys == keys_method({"bob": f"{KEY}\n{OTHER}"})


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "folder/secret", ".netrc", "..", "", "~", "C:\\secret", "a b", "x" * 200, "a\\u0000b"],
)
def test_instructions_of_somebody_else_read_no_file_of_yours_but_those_beside_them(tmp_path, name):
    (tmp_path / "secret").write_text("not theirs")
    (tmp_path / "in" / "folder").mkdir(parents=True)
    for at in ("in/.netrc", "in/folder/secret"):
        (tmp_path / at).write_text("not theirs")
    escaped = name.replace("C:\\", "C:\\\\")
    with pytest.raises(BadInput, match=r"plain name of a file .* - at method\[0\].client_secret_file"):
        load(tmp_path / "in", OIDC + f'client_secret_file = "{escaped}"')


def test_a_file_is_refused_where_it_is_missing_too_much_or_everybodys(tmp_path):
    wanted = OIDC + 'client_secret_file = "secret"\n'
    with pytest.raises(BadInput, match="can't read"):
        load(tmp_path, wanted)
    (tmp_path / "secret").write_text("s")
    with pytest.raises(BadInput, match=r"leave one of them out - at method\[0\].client_secret_file"):
        load(tmp_path, wanted + 'client_secret = "s"')
    with pytest.raises(BadInput, match=r"expected the plain name .* - at method\[0\].client_secret_file"):
        load(tmp_path, OIDC + "client_secret_file = 1")
    (tmp_path / "secret").chmod(0o666)
    with pytest.raises(BadInput, match="everybody may write"):
        load(tmp_path, wanted)
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "secret").write_text("s" * 20_000)
    with pytest.raises(BadInput, match=r"method\[0\].client_secret"):
        load(tmp_path, wanted)


def test_a_text_without_a_folder_names_no_files():
    with pytest.raises(BadInput, match="no folder"):
        parse(OIDC + 'client_secret_file = "secret"\n')


def test_only_these_texts_come_from_files(tmp_path):
    with pytest.raises((BadInput, Misuse), match="issuer_file"):
        load(tmp_path, 'type = "oidc"\nclient_id = "c"\nissuer_file = "x"\n')


# --- documents ----------------------------------------------------------------------------------------------------

HOWTO = Path(__file__).resolve().parents[3] / "docs" / "howto"
TEXTS = {".json": '{"keys": []}', ".pub": KEY, "authorized_keys": KEY}


def blocks(path):
    return [
        block for block in re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.M | re.S) if "[[method]]" in block
    ]


def written(name):
    """A file beside the instructions, of the kind that its name promises."""
    return next((text for end, text in TEXTS.items() if name.endswith(end)), "of the file")


@pytest.mark.parametrize("path", [HOWTO / "instructions.md", *sorted((HOWTO / "sign-in").glob("*.md"))])
def test_what_the_documents_show_is_what_this_reads(path):
    shown = blocks(path)
    assert shown
    for block in shown:
        text = block if "[[authenticator]]" in block else AUTHENTICATOR + block
        assert parse_instructions(parse_instructions_file(text, authenticator=ROLE, read=written)).methods


def test_the_documents_show_every_kind():
    text = "".join(blocks(HOWTO / "instructions.md"))
    assert set(re.findall(r'^type = "(.*?)"', text, re.M)) == set(get_args(Kind))
