from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from strongroom.client.methods import (
    KEY_TYPES,
    code_method,
    directory_method,
    enclave_method,
    keys_method,
    oidc_method,
    ssh_keys,
    workload_method,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.instructions import parse_method
from tests.support import policies


def line(kind="ssh-ed25519", key=b"k" * 32, comment=" bob@laptop"):
    return f"{kind} {b64encode(blob(kind, key)).decode()}{comment}"


def blob(kind, key):
    return b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), key))


def test_a_request_may_ask_for_a_second_factor_a_fresh_sign_in_and_a_push():
    method = oidc_method("https://login.test", "c", acr_values=["mfa", "phr"], max_age=300, pushed=True)
    assert (method.acr_values, method.max_age, method.pushed) == (["mfa", "phr"], 300, True)
    plain = oidc_method("https://login.test", "c")
    assert (plain.acr_values, plain.max_age, plain.pushed) == ([], 0, False)


def test_each_builder_gives_what_a_message_can_hold():
    methods: list[Any] = [
        workload_method("https://token.actions.githubusercontent.com", claims=["repository"], keys=b"{}"),
        directory_method("ad.example.com", ["ldaps://dc1"], base="DC=example,DC=com", email_domains=["Example.com"]),
        keys_method({"bob@example.com": line()}, verified=True),
        enclave_method({"signer": policies.role(sgx=policies.sgx(measurements=[bytes(32)]))}),
        code_method("keys@example.com", "smtps://mail", addresses=["Bob@Example.com"], domains=["Example.ORG"]),
    ]
    for method in methods:
        assert parse_method(encode(method)) == method
    assert methods[1].email_domains == ["example.com"]
    assert (methods[4].addresses, methods[4].domains) == (["bob@example.com"], ["example.org"])
    assert methods[3].public.names == ["signer"]


def test_what_no_message_can_hold_is_refused_by_the_builder():
    for build in (
        lambda: oidc_method("https://login.test"),
        lambda: oidc_method("https://login.test", "c", max_age=-1),
        lambda: workload_method("https://x.test/" + "a" * 600),
        lambda: directory_method("ad", [], base="DC=x"),
        lambda: enclave_method({}),
        lambda: keys_method({}),
    ):
        with pytest.raises(Misuse) as caught:
            build()
        assert caught.value.number is Number.METHOD_INVALID


# --- ssh keys -----------------------------------------------------------------------------------------------------


def test_an_authorized_keys_file_gives_all_keys_of_one_person():
    text = f"# of bob\n\n{line()}\r\n{line(key=b'other' * 8, comment='')}\n\t{line('ecdsa-sha2-nistp256')}\n"
    method = keys_method({"bob": text, "build-7": line(key=b"m" * 32)})
    assert [one.person for one in method.keys] == ["bob"] * 3 + ["build-7"]
    assert method.keys[0].public_key == blob("ssh-ed25519", b"k" * 32)
    assert method.public.fingerprints == [sha256(one.public_key).digest() for one in method.keys]


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_keys_are_of_the_types_that_the_definition_knows(kind):
    assert ssh_keys(line(kind)) == [blob(kind, b"k" * 32)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        line("ssh-rsa"),
        line("ecdsa-sha2-nistp384"),
        line("ssh-ed25519-cert-v01@openssh.com"),
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 not*base64",
        line().replace("ssh-ed25519 ", "ecdsa-sha2-nistp256 "),
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_is_no_such_key_is_refused(text):
    with pytest.raises(Misuse) as caught:
        ssh_keys(text)
    assert caught.value.number is Number.METHOD_INVALID


@pytest.mark.parametrize("options", ['from="10.0.0.0/8"', "restrict", 'command="ls",no-pty', "cert-authority"])
def test_options_that_would_go_unheeded_are_refused(options):
    """`from="…"` says where the key may be used from, and here nothing would see to it."""
    with pytest.raises(Misuse, match="line 2"):
        ssh_keys(f"{line()}\n{options} {line()}")
