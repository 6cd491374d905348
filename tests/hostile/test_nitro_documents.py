"""Attestation documents of AWS Nitro with one thing wrong, everything signed after it was made wrong."""

import time
from itertools import pairwise

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attestation.nitro import AWS_ROOT as REAL_ROOT
from strongroom.attestation.nitro import CLOCK_SKEW, MAX_CA_CERTIFICATES, verify_nitro_document
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint
from tests.support.synthetic_nitro import ABSENT, CERTIFICATES, MODULE, NOW, PROTECTED, Certificate, SyntheticNitro, pcr

AWS = SyntheticNitro()
ROOT = AWS.root
GOOD = AWS.document()


def verify(document, now=NOW):
    return verify_nitro_document(document, now, root=ROOT)


def refused(reason, document, now=NOW):
    with pytest.raises(Untrusted) as caught:
        verify(document, now)
    assert caught.value.number is Number.EVIDENCE
    assert reason in caught.value.reason
    assert caught.value.reason.isascii()
    assert caught.value.reason.isprintable()


def payload(**fields):
    return AWS.document(payload=fields)


def raw(exact):
    """A document over exactly these bytes as payload."""
    return AWS.document(payload=exact)


# --- the promise ---------------------------------------------------------------------------------------------------


def test_what_the_hypervisor_signs_is_reported():
    report = verify(GOOD)
    assert report.registers == (("PCR0", pcr(0)), ("PCR1", pcr(1)), ("PCR2", pcr(2)))
    assert report.measurement == pcr(0) + pcr(1) + pcr(2)
    assert report.pcrs == {index: pcr(index) for index in range(16)}
    assert report.report_data == bytes(range(64))
    assert report.module_id == MODULE
    assert report.root == ROOT
    assert report.signed_at == report.proven_at == NOW
    assert report.valid_until == NOW + CERTIFICATES["leaf"].after


def test_optional_fields_may_be_absent_or_full():
    report = verify(payload(user_data=ABSENT, nonce=ABSENT, public_key=ABSENT))
    assert report.report_data == b""
    assert verify(payload(user_data=None)).report_data == b""
    assert verify(payload(user_data=bytes(512), nonce=bytes(512), public_key=bytes(1024))).report_data == bytes(512)


@pytest.mark.parametrize("level", CERTIFICATES)
def test_evidence_lasts_no_longer_than_the_first_certificate_that_expires(level):
    bent = AWS.document(certificates={level: {"after": 600}})
    assert verify_nitro_document(bent, NOW, root=root_of(bent)).valid_until == NOW + 600


def root_of(document):
    return fingerprint(cbor2.loads(cbor2.loads(document)[2])["cabundle"][0])


def test_any_number_of_authorities_up_to_the_limit_may_stand_between():
    chain = longer_chain(MAX_CA_CERTIFICATES)
    assert verify(AWS.document(payload=chain)).module_id == MODULE
    refused("as many CA certificates", AWS.document(payload=longer_chain(MAX_CA_CERTIFICATES + 1)))


def longer_chain(size):
    """`cabundle` and `certificate` with `size` authorities, none of which limits the path."""
    names = ["root", *[f"between{number}" for number in range(size - 2)], "instance"]
    authorities = [
        AWS.certificate(Certificate(name=name, issuer=issuer, before=-60, after=6000))
        for issuer, name in pairwise(names)
    ]
    return {"cabundle": [AWS.chain()["root"], *authorities], "certificate": AWS.chain()["leaf"]}


# --- encoding ------------------------------------------------------------------------------------------------------

ONE_ENCODING = "not in its one encoding"
NOT_CBOR = "not CBOR"
FOREIGN = "CBOR that no attestation document has"
NOT_COSE = "not a COSE_Sign1 structure"
HEADER = "does not say ES384 and nothing else"


def test_bytes_after_the_end_are_refused():
    """No signature covers them: two evidences for one document."""
    refused(ONE_ENCODING, GOOD + b"\x00")
    refused(ONE_ENCODING, raw(cbor2.dumps(AWS.payload()) + b"\xf6"))


def test_another_encoding_of_the_same_document_is_refused():
    assert GOOD[:2] == b"\x84\x44"
    refused(FOREIGN, b"\xd2" + GOOD)  # tag 18: the security module sets none
    refused(ONE_ENCODING, b"\x98\x04" + GOOD[1:])
    refused(ONE_ENCODING, b"\x84\x58\x04" + GOOD[2:])
    refused(FOREIGN, b"\x9f" + GOOD[1:] + b"\xff")
    refused(FOREIGN, b"\x84\x5f\x44" + GOOD[2:6] + b"\xff" + GOOD[6:])


def test_a_key_twice_in_a_map_is_refused():
    """One verifier would read the first value, another the last."""
    one = cbor2.dumps(AWS.payload())
    assert one[0] == 0xA9
    refused(NOT_CBOR, raw(b"\xaa" + one[1:] + cbor2.dumps("digest") + cbor2.dumps("SHA384")))
    registers = AWS.payload()["pcrs"]
    doubled = b"\xb1" + cbor2.dumps(registers)[1:] + b"\x00" + cbor2.dumps(pcr(0))
    refused(NOT_CBOR, raw(one.replace(cbor2.dumps(registers), doubled)))


@pytest.mark.parametrize(
    "value",
    [
        b"\xc1\x00",  # a date
        b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",  # 2 to the power of 9223372036854775807
        b"\xd8\x23\x68(a{999})*",  # a regular expression
        b"\xf9\x00\x00",  # a floating-point number
        b"\xf4",  # false
        b"\xf7",  # undefined
        b"\xff",  # an end
        b"\x1c",  # reserved
        b"\x5f\xff",  # of unknown length
    ],
)
def test_cbor_that_no_document_has_is_refused_before_it_is_acted_upon(value):
    one = cbor2.dumps(AWS.payload(nonce=None))
    assert one.endswith(cbor2.dumps("nonce") + b"\xf6")
    refused(FOREIGN, raw(one[:-1] + value))
    refused(FOREIGN, value)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x81" * 16000,
        b"\xa1\x01" * 8000,
        b"\x9b" + b"\xff" * 8,
        b"\xbb" + b"\xff" * 8,
        b"\x5b" + b"\xff" * 8,
        b"\x7a\xff\xff\xff\xff",
        b"\x99\x3f\x00" + bytes(16000),
        b"\xb9\x10\x00" + b"".join(b"\x1b" + (number * (2**61 - 1)).to_bytes(8, "big") for number in range(8)) * 200,
        b"\xa1" * 16000,
    ],
    ids=range(9),
)
def test_nesting_and_declared_lengths_cost_next_to_nothing(bomb):
    began = time.process_time()
    with pytest.raises(Untrusted):
        verify(bomb)
    with pytest.raises(Untrusted):
        verify(raw(bomb))
    assert time.process_time() - began < 0.5


def test_a_structure_deeper_than_any_is_refused():
    refused("nested deeper than any", raw(cbor2.dumps([[[1]]])))


def test_a_document_larger_than_any_is_not_looked_at():
    refused("larger than any", bytes(65536))
    refused("payload is not as large", raw(bytes(16385)))


@pytest.mark.parametrize("text", [b"", b"\x84", b"\x84\x44\xa1", GOOD[:-1], GOOD[:1000]])
def test_a_document_that_is_cut_short_is_refused(text):
    refused(NOT_CBOR, text)


# --- COSE_Sign1 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "structure",
    [
        {},
        [],
        cbor2.loads(GOOD)[:3],
        [*cbor2.loads(GOOD), b""],
        [{1: -35}, *cbor2.loads(GOOD)[1:]],
        [PROTECTED, b"", *cbor2.loads(GOOD)[2:]],
        [PROTECTED, {}, None, cbor2.loads(GOOD)[3]],
        [PROTECTED, {}, cbor2.loads(GOOD)[2], None],
        GOOD,
        1,
        None,
    ],
)
def test_anything_but_a_cose_sign1_is_refused(structure):
    refused(NOT_COSE, cbor2.dumps(structure))


@pytest.mark.parametrize(
    "protected",
    [
        b"",
        cbor2.dumps({}),
        cbor2.dumps({1: -7}),  # ES256
        cbor2.dumps({1: -36}),  # ES512
        cbor2.dumps({1: 5}),  # HMAC: the public key would be the secret
        cbor2.dumps({1: -35, 4: b"key"}),
        b"\xa1\x18\x01\x38\x22",  # the same in another encoding
        b"\xbf\x01\x38\x22\xff",
    ],
)
def test_another_algorithm_is_refused_though_the_signature_fits(protected):
    refused(HEADER, AWS.document(protected=protected))


def test_a_header_that_no_signature_covers_is_refused():
    refused(HEADER, AWS.document(unprotected={1: -35}))
    refused(HEADER, AWS.document(unprotected={4: b"key"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: signature[:-1],
        lambda signature: signature + b"\x00",
        lambda signature: b"",
        lambda signature: signature[:64],
    ],
)
def test_a_signature_of_another_size_is_refused(change):
    refused("not one of ES384", AWS.document(signature=change))


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: bytes(96),
        lambda signature: b"\xff" * 96,
        lambda signature: signature[48:] + signature[:48],
        lambda signature: bytes([signature[0] ^ 1]) + signature[1:],
        lambda signature: signature[:95] + bytes([signature[95] ^ 1]),
    ],
)
def test_a_forged_signature_is_refused(change):
    refused("signature is not that of its certificate", AWS.document(signature=change))


def test_a_signature_by_another_key_is_refused():
    for key in ("instance", "root", "somebody"):
        refused("signature is not that of its certificate", AWS.document(signed_by=key))


def test_a_signature_with_another_digest_is_refused():
    refused("signature is not that of its certificate", AWS.document(algorithm="SHA256"))


def test_a_changed_payload_is_refused():
    """Each of these passes every other check."""
    protected, unprotected, _, signature = cbor2.loads(GOOD)
    for bend in ({"user_data": bytes(64)}, {"timestamp": NOW * 1000}, {"pcrs": {0: pcr(4), 1: pcr(1), 2: pcr(2)}}):
        forged = cbor2.dumps([protected, unprotected, cbor2.dumps(AWS.payload(**bend)), signature])
        refused("signature is not that of its certificate", forged)


# --- payload -------------------------------------------------------------------------------------------------------

FIELDS = "does not have the fields"


@pytest.mark.parametrize("name", ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"])
def test_a_document_without_a_mandatory_field_is_refused(name):
    refused(FIELDS, payload(**{name: ABSENT}))
    with pytest.raises(Untrusted):
        verify(payload(**{name: None}))


def test_a_field_that_aws_does_not_define_is_refused():
    refused(FIELDS, payload(claims=b"mine"))
    refused(FIELDS, raw(cbor2.dumps(AWS.payload() | {1: 2})))
    refused(FIELDS, raw(cbor2.dumps([MODULE])))


@pytest.mark.parametrize("value", ["", "SHA256", "SHA512", "sha384", b"SHA384", 384])
def test_registers_of_another_digest_are_refused(value):
    refused("not SHA-384", payload(digest=value))


@pytest.mark.parametrize("value", ["", "a b", "i-1\x1b[2J", "i-1\n", "ï-1", "i" * 129, b"i-1", 1, ["i-1"]])
def test_a_module_id_that_a_terminal_would_act_upon_is_refused(value):
    refused("module id", payload(module_id=value))


@pytest.mark.parametrize("value", [0, -1, "1790000000000", b"1", [1]])
def test_a_timestamp_that_is_none_is_refused(value):
    refused("timestamp", payload(timestamp=value))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: None}, "lacks a register of the image"),
        ({1: None}, "lacks a register of the image"),
        ({2: None}, "lacks a register of the image"),
        ({32: bytes(48)}, "does not exist"),
        ({-1: bytes(48)}, "does not exist"),
        ({2**64 - 1: bytes(48)}, "does not exist"),
        ({"0": bytes(48)}, "does not exist"),
        ({b"0": bytes(48)}, "does not exist"),
        ({0: bytes(32)}, "not a SHA-384 digest"),
        ({0: bytes(64)}, "not a SHA-384 digest"),
        ({31: b""}, "not a SHA-384 digest"),
        ({31: "x" * 48}, "not a SHA-384 digest"),
    ],
)
def test_registers_out_of_bounds_are_refused(change, reason):
    registers = AWS.payload()["pcrs"] | change
    refused(reason, payload(pcrs={index: value for index, value in registers.items() if value is not None}))


@pytest.mark.parametrize("value", [[pcr(0), pcr(1), pcr(2)], {}, b"", 0])
def test_registers_that_are_no_map_are_refused(value):
    refused("lacks a register", payload(pcrs=value))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_debug_enclave_is_refused(index):
    """Its console can be read by the host. All three are zero in practice; one is enough."""
    refused("debug enclave", payload(pcrs={number: pcr(number) for number in range(16)} | {index: bytes(48)}))


@pytest.mark.parametrize("value", [b"", bytes(1025), "text", None, 1])
def test_certificates_out_of_bounds_are_refused(value):
    refused("certificate that is none", payload(certificate=value))
    refused("certificate that is none", payload(cabundle=[AWS.chain()["root"], value]))


@pytest.mark.parametrize("value", [[], {}, b"", None, AWS.chain()["root"]])
def test_a_bundle_that_is_none_is_refused(value):
    refused("as many CA certificates", payload(cabundle=value))


@pytest.mark.parametrize("wrong", ["text", 0, [], {}])
@pytest.mark.parametrize(("name", "most"), [("user_data", 512), ("nonce", 512), ("public_key", 1024)])
def test_optional_fields_out_of_bounds_are_refused(name, most, wrong):
    refused(f"{name} is not as AWS defines it", payload(**{name: wrong}))
    refused(f"{name} is not as AWS defines it", payload(**{name: bytes(most + 1)}))


# --- chain ---------------------------------------------------------------------------------------------------------

NOT_ISSUED = "not issued by the one before it"


def test_another_root_is_refused():
    """The same names, the same structure, correctly signed: only AWS's key is missing."""
    stranger = SyntheticNitro("stranger")
    assert verify_nitro_document(stranger.document(), NOW, root=stranger.root).module_id == MODULE
    refused("does not rest on the root", stranger.document())
    with pytest.raises(Untrusted, match="does not rest on the root"):
        verify_nitro_document(GOOD, NOW)  # what every caller who names no root gets
    assert REAL_ROOT.hex().startswith("641a0321a3e244ef")


def test_a_strangers_chain_below_the_genuine_root_is_refused():
    chain = SyntheticNitro("stranger").chain() | {"root": AWS.chain()["root"]}
    *authorities, leaf = chain.values()
    stranger = SyntheticNitro("stranger").document(payload={"cabundle": authorities, "certificate": leaf})
    refused(NOT_ISSUED, stranger)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_chain_with_a_gap_is_refused(missing):
    bundle = AWS.payload()["cabundle"]
    refused(NOT_ISSUED, payload(cabundle=bundle[:missing] + bundle[missing + 1 :]))


def test_a_chain_in_another_order_is_refused():
    root, region, zone, instance = AWS.payload()["cabundle"]
    refused("does not rest on the root", payload(cabundle=[instance, zone, region, root]))
    refused("longer than one of its certificates permits", payload(cabundle=[root, zone, region, instance]))
    refused("does not rest on the root", payload(cabundle=[region, zone, instance]))


def test_a_root_alone_does_not_sign_for_everybody():
    refused(NOT_ISSUED, payload(cabundle=[AWS.chain()["root"]]))


@pytest.mark.parametrize("level", ["region", "zone", "instance", "leaf"])
def test_a_certificate_with_the_right_names_by_another_key_is_refused(level):
    refused(NOT_ISSUED, AWS.document(certificates={level: {"signed_by": "somebody"}}))


@pytest.mark.parametrize("level", ["region", "zone", "instance", "leaf"])
def test_a_certificate_that_names_another_issuer_is_refused(level):
    signer = CERTIFICATES[level].issuer
    refused(NOT_ISSUED, AWS.document(certificates={level: {"issuer": "somebody", "signed_by": signer}}))


@pytest.mark.parametrize("level", ["region", "zone", "instance"])
def test_a_certificate_that_is_no_authority_issues_nothing(level):
    """Whoever holds the key of any leaf could otherwise issue leaves."""
    refused("must not issue any", AWS.document(certificates={level: {"ca": False, "path_length": None}}))
    refused("must not issue any", AWS.document(certificates={level: {"usage": ("digital_signature", "crl_sign")}}))
    refused("does not say what it is for", AWS.document(certificates={level: {"ca": None}}))
    refused("does not say what it is for", AWS.document(certificates={level: {"usage": None}}))


def test_an_enclaves_own_key_can_not_issue_a_document():
    """A genuine leaf, and below it a leaf of its own making."""
    chain = AWS.chain()
    own = AWS.certificate(
        Certificate(name="own", issuer="leaf", before=-60, after=60, ca=False, usage=("digital_signature",))
    )
    bent = AWS.document(payload={"cabundle": list(chain.values()), "certificate": own}, signed_by="own")
    refused("must not issue any", bent)


@pytest.mark.parametrize(("level", "length"), [("region", 1), ("zone", 0)])
def test_a_chain_longer_than_an_authority_permits_is_refused(level, length):
    refused("longer than one of its certificates permits", AWS.document(certificates={level: {"path_length": length}}))


def test_an_instance_can_not_found_authorities():
    chain = AWS.chain()
    own = AWS.certificate(Certificate(name="own", issuer="instance", before=-60, after=60))
    leaf = AWS.certificate(Certificate(name="mine", issuer="own", before=-60, after=60, ca=False))
    bundle = [*list(chain.values())[:-1], own]
    bent = AWS.document(payload={"cabundle": bundle, "certificate": leaf}, signed_by="mine")
    refused("longer than one of its certificates permits", bent)


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        ({"ca": True}, "not one for signing"),
        ({"ca": None}, "does not say what it is for"),
        ({"usage": None}, "does not say what it is for"),
        ({"usage": ("content_commitment",)}, "not one for signing"),
        ({"usage": ("digital_signature", "key_cert_sign")}, "not one for signing"),
    ],
)
def test_a_leaf_that_is_not_for_signing_documents_is_refused(bend, reason):
    refused(reason, AWS.document(certificates={"leaf": bend}))


def test_an_authority_does_not_sign_documents_itself():
    root, region, zone, instance = AWS.payload()["cabundle"]
    bent = AWS.document(payload={"cabundle": [root, region, zone], "certificate": instance}, signed_by="instance")
    refused("not one for signing", bent)


@pytest.mark.parametrize("level", ["region", "zone", "instance", "leaf"])
def test_a_critical_extension_that_is_not_understood_is_refused(level):
    constraint = x509.NameConstraints([x509.DNSName("example.com")], None)
    refused("critical extension", AWS.document(certificates={level: {"extra": constraint}}))
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    refused("critical extension", AWS.document(certificates={level: {"extra": unknown}}))


@pytest.mark.parametrize("level", ["region", "zone", "instance", "leaf"])
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
def test_a_key_of_another_curve_is_refused(level, curve):
    bent = AWS.chain({level: {"curve": curve}})
    *authorities, leaf = bent.values()
    refused("not of P-384", payload(cabundle=authorities, certificate=leaf))


@pytest.mark.parametrize("level", ["region", "zone", "instance", "leaf"])
def test_a_certificate_signed_with_another_digest_is_refused(level):
    refused("not signed by ECDSA with SHA-384", AWS.document(certificates={level: {"algorithm": "SHA256"}}))


def test_a_certificate_that_does_not_parse_is_refused():
    for der in (b"\x30\x00", b"\x00", AWS.chain()["leaf"] + b"\x00", AWS.chain()["leaf"][:-1]):
        refused("does not parse", payload(certificate=der))


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", CERTIFICATES)
def test_an_expired_certificate_is_refused(level):
    bent = AWS.document(certificates={level: {"after": 10}})
    root = root_of(bent)
    assert verify_nitro_document(bent, NOW + 10, root=root).module_id == MODULE
    with pytest.raises(Untrusted, match="not valid now"):
        verify_nitro_document(bent, NOW + 11, root=root)


@pytest.mark.parametrize("level", CERTIFICATES)
def test_a_certificate_that_is_not_valid_yet_is_refused(level):
    """But for a clock that is a little behind: a leaf begins with its document."""
    bent = AWS.document(certificates={level: {"before": 0}})
    root = root_of(bent)
    assert verify_nitro_document(bent, NOW - CLOCK_SKEW, root=root).module_id == MODULE
    with pytest.raises(Untrusted, match="not valid now"):
        verify_nitro_document(bent, NOW - CLOCK_SKEW - 1, root=root)


def test_a_document_of_three_hours_ago_is_refused():
    refused("not valid now", GOOD, now=NOW + 3 * 3600)


def test_a_time_outside_the_life_of_the_leaf_is_refused():
    """It would raise clocks, or keep a stale document young."""
    before, after = NOW + CERTIFICATES["leaf"].before, NOW + CERTIFICATES["leaf"].after
    for second in (before, after):
        assert verify(payload(timestamp=second * 1000), now=after).signed_at == second
    for second in (before - 1, after + 1, 1, 2**50):
        refused("not within the life", payload(timestamp=second * 1000), now=after)


def test_a_document_from_the_future_is_refused():
    limit = NOW + CLOCK_SKEW
    assert verify(payload(timestamp=limit * 1000 + 999)).signed_at == limit
    refused("from the future", payload(timestamp=(limit + 1) * 1000))


# --- anything at all -----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_happens(untrusted):
    for document in (untrusted, b"\x84\x44" + PROTECTED + b"\xa0" + untrusted):
        with pytest.raises(Untrusted):
            verify(document)


plain = st.recursive(
    st.none() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 40) | st.text(max_size=9), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(AWS.payload())), plain)
def test_any_value_in_any_field_is_accepted_or_refused_and_nothing_else_happens(name, value):
    protected, unprotected, exact, signature = cbor2.loads(GOOD)
    fields = cbor2.loads(exact) | {name: value}
    with pytest.raises(Untrusted):
        verify(cbor2.dumps([protected, unprotected, cbor2.dumps(fields), signature[::-1]]))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["region", "instance", "leaf"]), st.integers(0, 10_000), st.integers(1, 255))
def test_any_byte_changed_in_a_certificate_is_refused_and_nothing_else_happens(level, place, change):
    chain = AWS.chain()
    bent = bytearray(chain[level])
    bent[place % len(bent)] ^= change
    protected, unprotected, _, signature = cbor2.loads(GOOD)
    fields = AWS.payload(chain | {level: bytes(bent)})
    with pytest.raises(Untrusted):
        verify(cbor2.dumps([protected, unprotected, cbor2.dumps(fields), signature]))
