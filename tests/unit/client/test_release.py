import hashlib
from dataclasses import replace
from typing import Any

import pytest

from strongroom.client.errors import BadInput
from strongroom.client.release import (
    REGISTERS,
    Release,
    parse_release,
    release_text,
    verify_is_page,
    verify_is_release,
)
from strongroom.protocol.errors import Number, Untrusted
from tests.support.seen import REPORTS

SIGNERS = {"sgx": bytes([9]) * 32, "tdx": None, "snp": bytes([9]) * 48, "nitro": bytes([9]) * 48}
KINDS = list(REGISTERS)


def release(kind, **changes):
    fields = {
        "version": "0.1.0",
        "role": "vault",
        "kind": kind,
        "registers": tuple((name, bytes([at]) * size) for at, (name, size) in enumerate(REGISTERS[kind].items(), 1)),
        "tcb": bytes(range(32)),
        "built": "0123456789abcdef0123456789abcdef01234567",
        "signer": SIGNERS[kind],
        "product": 1 if kind == "sgx" else None,
        "svn": 2 if kind == "sgx" else None,
    }
    return Release(**(fields | changes))


SIGNED: dict[str, Any] = {
    "sgx": {"signer": SIGNERS["sgx"], "product_id": 1, "svn": 2},
    "tdx": {},
    "snp": {"id_key_digest": SIGNERS["snp"]},
    "nitro": {"pcrs": {8: SIGNERS["nitro"]}},
}


def report(kind, **changes):
    """Verified evidence of exactly `release(kind)`."""
    return replace(REPORTS[kind], **({"registers": release(kind).registers} | SIGNED[kind] | changes))


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_reads_as_it_was_written(kind):
    for one in (release(kind), release(kind, signer=None, product=None, svn=None, role="authenticator")):
        assert parse_release(release_text(one), one.name) == one


def test_a_release_is_named_after_what_was_measured():
    assert release("sgx").name == f"{(bytes([1]) * 32).hex()}.toml"
    whole = b"".join(bytes([at]) * 48 for at in (1, 2, 3))
    assert release("nitro").name == f"{hashlib.sha256(whole).hexdigest()}.toml"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(5))
def test_a_release_whose_registers_were_edited_no_longer_has_its_name(kind, at):
    if at >= len(REGISTERS[kind]):
        at = 0
    one = release(kind)
    name = one.registers[at][0]
    edited = replace(one, registers=tuple((n, bytes(len(v)) if n == name else v) for n, v in one.registers))
    with pytest.raises(BadInput, match=f"should be named {edited.name}"):
        parse_release(release_text(edited), one.name)


TEXT = release_text(release("sgx"))
NAME = release("sgx").name


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ('role = "vault"', 'role = "admin"', "line 3, role: Invalid enum value"),
        ('kind = "sgx"', 'kind = "insecure-software"', "line 4, kind: Invalid enum value"),
        ('kind = "sgx"', 'kind = "nitro"', "MRENCLAVE: nitro has no such register, only PCR0, PCR1, PCR2"),
        ('version = "0.1.0"', 'version = "0.1 0"', "line 2, version:"),
        ('version = "0.1.0"', "version = 1", "line 2, version: Expected `str`, got `int`"),
        ("svn = 2", "svn = 65536", "line 9, svn:"),
        ("svn = 2", "svn = true", "line 9, svn: Expected `int | null`, got `bool`"),
        ("svn = 2", "sevn = 2", "line 9, sevn: Object contains unknown field|contains unknown field `sevn`"),
        ('signer = "09', 'signer = "9', "line 7, signer: 64 lower-case hex digits are wanted"),
        ('MRENCLAVE = "01', 'MRENCLAVE = "0A', "line 12, registers.MRENCLAVE: 64 lower-case hex digits are wanted"),
        ('MRENCLAVE = "', 'MRENCLAVE = "\\u0661', "registers.MRENCLAVE: 64 lower-case hex digits are wanted"),
        ('MRENCLAVE = "', 'MRSIGNER = "', "line 12, registers.MRSIGNER: sgx has no such register, only MRENCLAVE"),
        ("[registers]\nMRENCLAVE", "[registers]\n# MRENCLAVE", "line 11, registers: MRENCLAVE is missing"),
        ("[registers]", "[registres]", "missing required field `registers`|unknown field `registres`"),
        ('built = "0', 'built = "\\n0', "line 6, built:"),
        ('built = "0', 'built = "', "line 6, built:"),
        ('tcb = "00', 'tcb = "', "line 5, tcb:"),
        ("[registers]", "[registers", "not TOML"),
        ("svn = 2", "svn = 2\nsvn = 2", "not TOML"),
        ("svn = 2", f"svn = 2 #{'x' * 20_000}", "too long"),
    ],
)  # fmt: skip
def test_a_release_that_is_not_right_is_refused_with_its_place(was, now, words):
    assert was in TEXT
    with pytest.raises(BadInput, match=words):
        parse_release(TEXT.replace(was, now), NAME)


def test_nesting_bombs_are_refused():
    with pytest.raises(BadInput, match="not TOML"):
        parse_release("a = " + "[" * 8000, NAME)


@pytest.mark.parametrize(
    ("kind", "line", "words"),
    [
        ("tdx", f'signer = "{"09" * 48}"', "a program on tdx has no signer"),
        ("nitro", "svn = 1", "only SGX has it"),
        ("snp", "product = 1", "only SGX has it"),
    ],
)
def test_a_field_of_another_platform_is_refused(kind, line, words):
    one = release(kind, signer=None)
    with pytest.raises(BadInput, match=words):
        parse_release(release_text(one).replace("\n\n[registers]", f"\n{line}\n\n[registers]"), one.name)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_of_the_released_program_is_accepted(kind):
    verify_is_release(report(kind), release(kind), role="vault")
    verify_is_release(report(kind), release(kind, signer=None, product=None, svn=None), role="vault")


@pytest.mark.parametrize(("kind", "register"), [(kind, name) for kind in KINDS for name in REGISTERS[kind]])
def test_a_program_that_differs_in_one_register_is_refused(kind, register):
    other = tuple((n, bytes(len(v)) if n == register else v) for n, v in release(kind).registers)
    without = tuple((n, v) for n, v in release(kind).registers if n != register)
    with pytest.raises(Untrusted, match=f"{register} is 00.*, released was 0[1-5]") as refused:
        verify_is_release(report(kind, registers=other), release(kind), role="vault")
    assert refused.value.number == Number.POLICY
    with pytest.raises(Untrusted, match=f"{register} is absent"):
        verify_is_release(report(kind, registers=without), release(kind), role="vault")


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("sgx", {"signer": bytes(32)}, "not signed by 0909"),
        ("sgx", {"product_id": 2}, "product is 2, released was 1"),
        ("sgx", {"svn": 1}, "security version is 1, released was 2"),
        ("snp", {"id_key_digest": bytes(48)}, "not signed by 0909"),
        ("nitro", {"pcrs": {}}, "not signed by 0909"),
    ],
)
def test_a_program_that_others_signed_is_not_the_release(kind, changes, words):
    with pytest.raises(Untrusted, match=words):
        verify_is_release(report(kind, **changes), release(kind), role="vault")


def test_one_role_s_release_does_not_stand_for_the_other():
    with pytest.raises(Untrusted, match="the release is of the vault"):
        verify_is_release(report("sgx"), release("sgx"), role="authenticator")


def test_evidence_of_another_platform_is_refused():
    with pytest.raises(Untrusted, match="the release is for snp, the evidence is of another platform"):
        verify_is_release(report("sgx"), release("snp"), role="vault")


def test_a_release_may_name_the_page_that_is_used_with_it():
    one = release("sgx", page=bytes([5]) * 32)
    assert f'page = "{(bytes([5]) * 32).hex()}"' in release_text(one)
    assert parse_release(release_text(one), one.name) == one
    verify_is_page(bytes([5]) * 32, one)
    for page, of in ((bytes(32), one), (bytes([5]) * 32, release("sgx"))):
        with pytest.raises(Untrusted) as caught:
            verify_is_page(page, of)
        assert caught.value.number == Number.POLICY
    with pytest.raises(BadInput, match="page"):
        parse_release(release_text(one).replace((bytes([5]) * 32).hex(), "00"), one.name)
