"""The worst input that is known, for time and memory: at most 64 KiB in each part."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Final

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import parse_evidence
from tests.fuzz import subjects
from tests.fuzz.subjects import LIMIT, NOW, Parts, pem
from tests.support import evidence, synthetic_nitro, synthetic_snp

_DAY: Final = 86400

Cases = dict[str, tuple[str, Parts]]
"""Name of the case → subject and parts of the input."""


def certificate(*, extensions: int = 0, names: int = 1) -> bytes:
    """DER, signed by nobody that anybody trusts."""
    key = synthetic_snp.ec_key(b"anybody")
    name = [x509.NameAttribute(NameOID.COMMON_NAME, f"x{at}") for at in range(names)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(name))
        .issuer_name(synthetic_snp.amd("Genoa").ask.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(datetime.fromtimestamp(NOW - _DAY, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + _DAY, UTC))
    )
    for at in range(extensions):
        oid = x509.ObjectIdentifier(f"1.3.6.1.{at + 1}")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b""), critical=False)
    return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def tlv(tag: int, *content: bytes) -> bytes:
    """DER of one value."""
    body = b"".join(content)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag,)) + (bytes((0x80 | len(size),)) + size if len(body) >= 0x80 else bytes((len(body),))) + body


def body(der: bytes) -> bytes:
    """What stands in the outermost DER value."""
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def with_rsa(modulus_bits: int, exponent_bits: int) -> bytes:
    """DER of a certificate with an RSA key of any size, which no library would make."""
    der = certificate()
    found = x509.load_der_x509_certificate(der)
    tbs = found.tbs_certificate_bytes
    old = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    numbers = [(1 << bits) - 1 for bits in (modulus_bits, exponent_bits)]
    key = tlv(0x30, *(tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in numbers))
    new = tlv(0x30, tlv(0x30, bytes.fromhex("06092a864886f70d0101010500")), tlv(3, b"\x00", key))
    return tlv(0x30, tlv(0x30, body(tbs).replace(old, new)), body(der)[len(tbs) :])


def dated(text: bytes) -> bytes:
    """DER of a certificate that ends at this time, 15 characters of a GeneralizedTime (`99991231235959Z`)."""
    der = certificate()
    tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    end = datetime.fromtimestamp(NOW + _DAY, UTC).strftime("%y%m%d%H%M%SZ").encode()
    if (old := b"\x17\x0d" + end) not in tbs:
        raise AssertionError("the date is not where it was looked for")
    content = body(tbs).replace(old, b"\x18\x0f" + text)
    # The validity that holds the date is two bytes longer now.
    start = content.index(b"\x18\x0f") - 15 - 2
    content = content[: start + 1] + bytes((content[start + 1] + 2,)) + content[start + 2 :]
    return tlv(0x30, tlv(0x30, content), body(der)[len(tbs) :])


@cache
def bad_certificates() -> dict[str, bytes]:
    """DER of certificates that nobody vouches for."""
    return {
        "an RSA modulus of 300,000 bits": with_rsa(300_000, 17),
        "an RSA exponent as long as its modulus": with_rsa(16_384, 16_383),
        "3,000 extensions": certificate(extensions=3000),
        "1,000 names": certificate(names=1000),
        "an end in the year 9999": dated(b"99991231235959Z"),
        "DER nested without end": b"\x30\x80" * (LIMIT // 4),
    }


def _of_intel() -> Cases:
    quote, collateral = subjects.sgx().seeds[0]
    good = json.loads(collateral)
    root = pem(evidence.pki().root_der).decode()
    crl = synthetic_snp.amd("Genoa").crl(*(synthetic_snp.Revoked(at + 1) for at in range(800)))
    found: dict[str, bytes | dict[str, str]] = {
        "collateral of brackets only": b"[" * LIMIT,
        "collateral of objects only": b'{"tcb_info":' * (LIMIT // 12),
        "brackets in a field": b'{"tcb_info":' + b"[" * 60_000,
        "a chain of openings only": {"tcb_info_issuer_chain": "-----BEGIN CERTIFICATE-----\n" * 1800},
        "a certificate of empty lines": {"tcb_info_issuer_chain": "-----BEGIN CERTIFICATE-----\n" + "\n" * 50_000},
        "a chain of 60 certificates": {"pck_crl_issuer_chain": root * 60},
        "a list of 800 revocations": {"root_ca_crl": crl.public_bytes(Encoding.DER).hex()},
        "statements of 50,000 characters": {"tcb_info": "[" * 50_000},
        "a signature of 50,000 digits": {"tcb_info_signature": "00" * 25_000},
    }
    for what, der in bad_certificates().items():
        for field in ("pck_crl_issuer_chain", "tcb_info_issuer_chain"):
            found[f"{what}, in {field}"] = {field: pem(der).decode() + root}
    collaterals = {
        what: json.dumps(good | one).encode() if isinstance(one, dict) else one for what, one in found.items()
    }
    cases: Cases = {f"SGX: {what}": ("sgx", (quote, one)) for what, one in collaterals.items()}
    cases["SGX: a quote of openings only"] = (
        "sgx",
        (quote[:1000] + b"-----BEGIN CERTIFICATE-----\n" * 1100, collateral),
    )
    cases["SGX: a quote cut short"] = ("sgx", (quote[:-6], collateral))
    good_one, _, _ = parse_evidence(subjects.appraisal().seeds[0][0])
    for what, one in list(collaterals.items())[:6]:
        changed = encode(evidence.changed(good_one, collateral=one[:LIMIT]))
        cases[f"appraisal: {what}"] = ("appraisal", (changed,))
    deep = "[" * 20_000 + "]" * 20_000
    for at in (0, 1):
        statements = list(subjects.signed_statements().seeds[0])
        statements[at] = statements[at][:-1] + f',"x":{deep}}}'.encode()
        cases[f"signed: statement {at} with depth"] = ("signed-statements", tuple(statements))
    return cases


def _of_amd() -> Cases:
    chip = synthetic_snp.amd("Genoa")
    report, collateral = subjects.snp().seeds[0]
    issuers = synthetic_snp.pem(chip.ask, chip.ark)
    many = synthetic_snp.pem(chip.crl(*(synthetic_snp.Revoked(at + 100) for at in range(1200))))
    found = {
        "openings only": b"-----BEGIN CERTIFICATE-----\n" * 2300,
        "empty lines only": b"-----BEGIN CERTIFICATE-----\n" + b"\n" * 60_000,
        "30 certificates": issuers * 15,
        "a list of 1,200 revocations": collateral + many,
        "a list of 1,200 revocations by nobody": collateral
        + synthetic_snp.pem(chip.crl(*(synthetic_snp.Revoked(at + 100) for at in range(1200)), signer=_anybody())),
    }
    found |= {what: pem(der) + issuers for what, der in bad_certificates().items()}
    cases: Cases = {f"SNP: {what}"[:80]: ("snp", (report, one)) for what, one in found.items()}
    for what, der in bad_certificates().items():
        cases[f"answer of AMD: {what}"] = ("amd-answers", (der,))
        cases[f"chain of AMD: {what}"] = ("amd-answers", (pem(der) * 2,))
        chain = pem(der)[: 16 * 1024]
        for at, (seed, _) in enumerate(subjects.intel_answers().seeds[2:]):
            cases[f"answer {at} of Intel: {what}"] = ("intel-answers", (seed, chain))
    cases["answer of AMD: many lists"] = ("amd-answers", (many[:LIMIT],))
    cases["answer of AMD: openings only"] = ("amd-answers", (b"-----BEGIN CERTIFICATE-----\n" * 2300,))
    cases["answer of Intel: brackets"] = ("intel-answers", (b'{"tcbInfo":' + b"[" * 60_000, b""))
    return cases


@cache
def _anybody() -> rsa.RSAPrivateKey:
    return synthetic_snp.rsa_key("anybody", 2048)


def _of_nitro() -> Cases:
    pki = synthetic_nitro.SyntheticNitro()
    small_rsa = with_rsa(5_000, 1_000)
    leaf = pki.chain()["leaf"]
    found = {
        "arrays without end": b"\x81" * 16_000,
        "maps without end": b"\xa1\x01" * 8_000,
        "indefinite arrays": b"\x9f" * 16_000,
        "tags without end": b"\xd8\x40" * 8_000,
        "a bignum": b"\xc2\x59\x3e\x00" + b"\xff" * 0x3E00,
        "a decimal fraction of a huge exponent": bytes.fromhex("c4821b7fffffffffffffff01"),
        "a big float of 2^40 bits": bytes.fromhex("c5821b000000ffffffffff01"),
        "a regular expression": b"\xd8\x23" + cbor2.dumps("(a*)*" * 3000),
        "a date far away": bytes.fromhex("c11b7fffffffffffffff"),
        "an array that says 2^63": b"\x9b\x7f" + b"\xff" * 7,
        "an array that says 2^31": b"\x9a\x7f" + b"\xff" * 3 + b"\x00" * 16_000,
        "a map that says 2^63": b"\xbb\x7f" + b"\xff" * 7,
        "bytes that say 2^63": b"\x5b\x7f" + b"\xff" * 7,
        "bytes that say 2^31": b"\x5a\x7f" + b"\xff" * 3,
        "text that says 2^40": b"\x7b\x00\x00\x01" + b"\x00" * 5,
        "16,000 small numbers": cbor2.dumps([0] * 16_000),
        "3,000 keys": cbor2.dumps(dict.fromkeys(range(3_000), 0)),
        "a payload of 3,000 keys": cbor2.dumps(
            [synthetic_nitro.PROTECTED, {}, cbor2.dumps(dict.fromkeys(range(3_000), 0)), bytes(96)]
        ),
    }
    cases: Cases = {f"Nitro: {what}": ("nitro", (one,)) for what, one in found.items()}
    for what, der in (("a large RSA key", small_rsa), ("one again and again", leaf)):
        payload = cbor2.dumps(pki.payload(cabundle=[pki.chain()["root"], *[der] * 7], certificate=der))
        cases[f"Nitro: eight certificates, {what}"] = ("signed-nitro", (payload,))
    return cases


def _of_files() -> Cases:
    found = {
        "brackets": b"a=" + b"[" * 60_000,
        "tables in tables": b"a=" + b"{a=" * 20_000,
        "arrays of tables": b"[[a]]\n" * 10_000,
        "escaped lines": b'a="""' + b"\\\n" * 30_000 + b'"""',
        "a number of 60,000 digits": b"a=" + b"1" * 60_000,
        "tables": b"".join(b"[k%d]\n" % at for at in range(7_000)),
        "keys": b"".join(b"k%d=1\n" % at for at in range(7_000)),
        "spaces": b"a=" + b" " * 60_000 + b"1",
        "open brackets in lines": b"[ \n" * 20_000,
    }
    cases: Cases = {f"trust policy: {what}": ("trust-policy", (one,)) for what, one in found.items()}
    return cases | {f"release: {what}": ("release", (one[: 16 * 1024], b"x.toml")) for what, one in found.items()}


WORST: Final[tuple[Callable[[], Cases], ...]] = (_of_intel, _of_amd, _of_nitro, _of_files)
"""By whose formats they are."""


def overlapping_table() -> Parts:
    """A hypervisor's table of certificates in which each entry is (nearly) all of the table."""
    entries = b"".join(struct.pack("<QQII", at + 1, 1, 0, LIMIT - 1) for at in range(LIMIT // 24))
    return (entries.ljust(LIMIT, b"\x01"),)


def endless_key(dots: int) -> Parts:
    """TOML with one key of that many parts, under which `tomllib` makes each of its beginnings."""
    return (b"a." * dots + b"a = 1\n",)
