"""Threat: a host shows an SEV-SNP report that is forged, revived, somebody else's, or means less than it seems to."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attestation import amd_chain
from strongroom.attestation.amd_chain import MAX_COLLATERAL
from strongroom.attestation.amd_roots import AMD_CHAINS, AttestationKey
from strongroom.attestation.reports import SnpReport
from strongroom.attestation.snp import verify_snp_report
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint
from tests.support.synthetic_snp import (
    DAY,
    FOUNDED,
    ISSUED,
    LISTED,
    MEASUREMENT,
    NOW,
    POLICY,
    REPORT_DATA,
    SIGNED,
    Amd,
    Extensions,
    Revoked,
    amd,
    ec_key,
    integer,
    pem,
    pem_text,
    put,
    resigned,
    rsa_key,
    text,
    tlv,
)

GENOA, TURIN, MILAN = amd("Genoa"), amd("Turin"), amd("Milan")
PRODUCTS = pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
KEYS = pytest.mark.parametrize("key", ["vcek", "vlek"])
REPORT, COLLATERAL = GENOA.report(), GENOA.collateral()
CURRENT, REPORTED, COMMITTED, LAUNCH = 0x38, 0x180, 0x1E0, 0x1F0


def verify(report: bytes = REPORT, collateral: bytes = COLLATERAL, *, by: Amd = GENOA, now: int = NOW) -> SnpReport:
    return verify_snp_report(report, collateral, now, chains=by.chains)


def refused(reason: str, report: bytes = REPORT, collateral: bytes = COLLATERAL, **how: Any) -> None:
    with pytest.raises(Untrusted, match=re.escape(reason)) as caught:
        verify(report, collateral, **how)
    assert caught.value.number is Number.EVIDENCE


def bent(at: int, *values: int, by: Amd = GENOA, **how: Any) -> bytes:
    """A report with other bytes in one place, signed by the genuine key: what firmware would have to say."""
    return by.report(bend=put(at, *values), **how)


# --- genuine --------------------------------------------------------------------------------------------------


@PRODUCTS
@KEYS
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_genuine_reports_of_each_product_are_read_exactly(product, key, version):
    by = amd(product)
    report = verify(by.report(key, version=version), by.collateral(key, crl=by.crl()), by=by)
    assert (report.product, report.key, report.tcb) == (product, key, by.tcb)
    assert report.registers == (("MEASUREMENT", MEASUREMENT),)
    assert report.report_data == REPORT_DATA
    assert report.root == by.chains[0].ark
    assert (report.guest_policy, report.vmpl, report.guest_svn) == (POLICY, 0, 7)
    assert (report.family_id, report.image_id) == (b"family".ljust(16, b"\x00"), b"image".ljust(16, b"\x00"))
    assert (report.id_key_digest, report.author_key_digest) == (b"\x1d" * 48, bytes(48))
    assert report.chip_id == (by.chip if key == "vcek" else bytes(64))
    assert report.crl_checked


def test_a_report_is_proven_by_the_latest_date_and_holds_until_the_first_expiry():
    listed = verify(collateral=GENOA.collateral(crl=GENOA.crl()))
    assert (listed.proven_at, listed.valid_until) == (LISTED, LISTED + 30 * DAY)
    report = verify()
    assert (report.proven_at, report.valid_until) == (ISSUED, ISSUED + 2555 * DAY)
    assert not report.crl_checked


@pytest.mark.parametrize("vmpl", range(4))
def test_every_privilege_level_of_a_guest_is_for_the_policy_to_judge(vmpl):
    assert verify(GENOA.report(vmpl=vmpl)).vmpl == vmpl


def test_synthetic_keys_are_not_amds():
    with pytest.raises(Untrusted, match="none of AMD's that are known here"):
        verify_snp_report(REPORT, COLLATERAL, NOW)
    assert {chain.ark for chain in GENOA.chains}.isdisjoint(chain.ark for chain in AMD_CHAINS)


# --- the report's form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [b"", REPORT[:-1], REPORT + b"\x00", REPORT[:SIGNED]], ids=len)
def test_a_report_of_another_length_is_refused(report):
    refused("1184 bytes long", report)


@pytest.mark.parametrize("version", [0, 1, 6, 1 << 24])
def test_a_report_of_an_unknown_version_is_refused(version):
    refused(f"version {version} of SNP reports", bent(0, *version.to_bytes(4, "little")))


@pytest.mark.parametrize("algorithm", [0, 2])
def test_another_signature_algorithm_is_refused(algorithm):
    refused("not signed with ECDSA P-384", bent(0x34, algorithm))


@pytest.mark.parametrize("at", [0x48, 0x49, 0x4C, 0x4F, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x208, 0x29F])
def test_something_hidden_in_a_reserved_part_is_refused(at):
    refused("a reserved part of the report", bent(at, 0x20))


def test_the_end_of_the_signature_field_cannot_carry_anything():
    refused("a reserved part of the report", REPORT[:-1] + b"\x01")


@pytest.mark.parametrize(("version", "at"), [(2, 0x188), (2, 0x18A), (4, 0x1F8), (3, 0x207)])
def test_fields_of_a_later_version_are_refused(version, at):
    refused("a reserved part of the report", bent(at, 1, version=version))


@pytest.mark.parametrize("policy", [POLICY & ~(1 << 17), POLICY | 1 << 26, POLICY | 1 << 63])
def test_a_guest_policy_that_is_not_understood_is_refused(policy):
    refused("the guest policy has bits", GENOA.report(policy=policy))


def test_every_policy_bit_that_is_defined_is_for_the_policy_to_judge():
    policy = ((1 << 26) - 1) & ~(1 << 19)
    assert verify(GENOA.report(policy=policy)).guest_policy == policy


def test_a_guest_that_may_be_debugged_is_refused():
    refused("this guest may be debugged", GENOA.report(policy=POLICY | 1 << 19))


def test_a_report_that_the_host_asked_for_is_refused():
    refused("the host asked for this report", GENOA.report(vmpl=0xFFFFFFFF))


def test_a_privilege_level_that_does_not_exist_is_refused():
    refused("no such privilege level", GENOA.report(vmpl=4))


def test_a_stray_author_key_is_refused():
    refused("an author key without saying so", bent(0x110, 1))
    refused("an author key without saying so", bent(0x48, 1))

    def with_author(body: bytearray) -> None:
        body[0x48] = 1
        body[0x110:0x140] = b"\xaa" * 48

    assert verify(GENOA.report(bend=with_author)).author_key_digest == b"\xaa" * 48


# --- the signature --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0x04, 0x10, 0x50, 0x90, 0xC0, 0xE0, 0x140, 0x1E8, 0x1F8, SIGNED, SIGNED + 72])
def test_a_changed_report_is_refused(at):
    refused("not signed by the key", REPORT[:at] + bytes((REPORT[at] ^ 1,)) + REPORT[at + 1 :])


@pytest.mark.parametrize("at", [SIGNED + 48, SIGNED + 71, SIGNED + 120, SIGNED + 143])
def test_numbers_of_a_signature_that_are_too_large_are_refused(at):
    refused("not signed by the key", REPORT[:at] + b"\x01" + REPORT[at + 1 :])


@pytest.mark.parametrize("size", [144, 72])
def test_a_signature_of_zeroes_is_refused(size):
    refused("not signed by the key", REPORT[:SIGNED] + bytes(size) + REPORT[SIGNED + size :])


def test_a_report_of_another_chips_key_is_refused():
    refused("not signed by the key", GENOA.report(signer=ec_key(b"another chip")))


# --- the chain ------------------------------------------------------------------------------------------------


def test_a_chain_of_somebody_elses_root_with_the_same_names_is_refused():
    forged = Amd("Genoa", root="attacker")
    refused("none of AMD's that are known here", collateral=forged.collateral())


def test_a_chain_that_the_relying_party_does_not_name_is_refused():
    for chains in ([], GENOA.chains[1:]):
        with pytest.raises(Untrusted, match="none of AMD's that are known here"):
            verify_snp_report(REPORT, COLLATERAL, NOW, chains=chains)


def test_a_pinned_chain_whose_signatures_do_not_hold_is_refused():
    """The pins come from the relying party, and a mistake there must not make a chain out of two strangers."""
    other = Amd("Genoa", root="attacker")
    ask, ark = other.chains[0].ask, GENOA.chains[0].ark
    collateral = pem(other.leaf(), other.ask, GENOA.ark)
    with pytest.raises(Untrusted, match="the signing key is not signed by its issuer"):
        verify_snp_report(REPORT, collateral, NOW, chains=[GENOA.chains[0]._replace(ask=ask)])
    forged = pem(GENOA.leaf(), GENOA.ask, GENOA.ask)
    with pytest.raises(Untrusted, match="the root is not signed by its issuer"):
        verify_snp_report(REPORT, forged, NOW, chains=[GENOA.chains[0]._replace(ark=GENOA.chains[0].ask)])
    assert ark != ask


@pytest.mark.parametrize(
    "leaf",
    [
        GENOA.leaf(signer=rsa_key("attacker ask", 2048)),
        GENOA.leaf(signer=GENOA.attestation_key),
        GENOA.leaf(digest=hashes.SHA256()),
        GENOA.leaf(rsa_padding=padding.PKCS1v15()),
        GENOA.leaf(rsa_padding=padding.PSS(padding.MGF1(hashes.SHA384()), 32)),
    ],
    ids=["another key", "itself", "SHA-256", "PKCS #1 v1.5", "another salt"],
)
def test_a_leaf_that_the_signing_key_did_not_sign_as_amd_does_is_refused(leaf):
    refused("the attestation key's certificate is not signed by its issuer", collateral=GENOA.collateral(leaf=leaf))


def test_a_leaf_that_names_another_issuer_is_refused():
    leaf = GENOA.leaf(issuer=GENOA.asvk.subject)
    refused("names another issuer", collateral=GENOA.collateral(leaf=leaf))


@pytest.mark.parametrize(
    "key",
    [ec_key(b"P-256", ec.SECP256R1()).public_key(), rsa_key("amd ask", 2048).public_key()],
    ids=["P-256", "RSA"],
)
def test_an_attestation_key_of_another_kind_is_refused(key):
    refused("not on the curve P-384", collateral=GENOA.collateral(leaf=GENOA.leaf(public_key=key)))


@pytest.mark.parametrize(
    ("leaf", "now", "reason"),
    [
        ({"ends": NOW - 1}, NOW, "the attestation key's certificate has expired"),
        ({"starts": NOW + 1}, NOW, "the attestation key's certificate is not valid yet"),
        ({"starts": FOUNDED - DAY}, FOUNDED - 1, "the signing key is not valid yet"),
        ({"ends": FOUNDED + 9999 * DAY}, FOUNDED + 9000 * DAY + 1, "the signing key has expired"),
        ({"ends": FOUNDED + 9999 * DAY}, FOUNDED + 8000 * DAY + 1, "the root has expired"),
    ],
)
def test_a_chain_outside_its_dates_is_refused(leaf, now, reason):
    refused(reason, collateral=GENOA.collateral(leaf=GENOA.leaf(**leaf)), now=now)


def test_a_chain_is_good_to_the_last_second():
    leaf = GENOA.leaf(starts=NOW, ends=NOW)
    assert verify(collateral=GENOA.collateral(leaf=leaf)).valid_until == NOW


def test_a_kept_chain_still_expires():
    """The issuers are parsed once and kept: their dates must not be."""
    collateral = GENOA.collateral(leaf=GENOA.leaf(ends=FOUNDED + 9999 * DAY))
    verify(collateral=collateral)
    refused("the signing key has expired", collateral=collateral, now=FOUNDED + 9001 * DAY)


# --- what the leaf says ---------------------------------------------------------------------------------------


def with_extensions(
    changes: Extensions | None = None, *, by: Amd = GENOA, key: AttestationKey = "vcek", without: str = ""
) -> bytes:
    """Collateral whose leaf has other contents in some of AMD's extensions."""
    extensions = by.extensions(key) | (changes or {})
    extensions.pop(without, None)
    return by.collateral(key, leaf=by.leaf(key, extensions=extensions))


PARTS = [
    (product, part)
    for product in ("Milan", "Genoa", "Turin")
    for part in ("bootloader", "tee", "snp", "microcode", "fmc")
    if part != "fmc" or product == "Turin"
]


@KEYS
@pytest.mark.parametrize(("product", "part"), PARTS)
@pytest.mark.parametrize("step", [-1, 1])
def test_the_certificate_of_another_state_of_the_firmware_is_refused(product, key, part, step):
    """Else the key of firmware known to be broken, or of firmware that the host never ran, would vouch for this one."""
    by = amd(product)
    tcb = by.tcb._replace(**{part: getattr(by.tcb, part) + step})
    leaf = by.leaf(key, extensions=by.extensions(key, tcb))
    refused(f"{part} differs", by.report(key), by.collateral(key, leaf=leaf), by=by)


def test_a_version_in_another_encoding_is_refused():
    refused("microcode differs", collateral=with_extensions({"3.8": b"\x02\x01\xd9"}))
    refused("microcode differs", collateral=with_extensions({"3.8": integer(0xD9) + b"\x00"}))


def test_a_reserved_version_in_the_certificate_is_refused():
    refused("a reserved part differs", collateral=with_extensions({"3.5": integer(1)}))


@pytest.mark.parametrize("end", ["1", "2", "3.1", "3.5", "3.8", "4"])
def test_a_certificate_without_one_of_the_extensions_is_refused(end):
    refused("exactly the extensions of a VCEK for Genoa", collateral=with_extensions(without=end))


@pytest.mark.parametrize("end", ["3.9", "3.10", "5", "6"])
def test_a_certificate_with_one_more_of_amds_extensions_is_refused(end):
    refused("exactly the extensions of a VCEK for Genoa", collateral=with_extensions({end: integer(0)}))


@pytest.mark.parametrize(
    "provider",
    [
        b"",
        b"CN=cloud",
        b"\x16\x00",
        b"\x0c\x02CN",
        b"\x16\x03CN",
        b"\x16\x02CN=",
        b"\x16\x02C\n",
        b"\x16\x81\x02CN",
    ],
)
def test_a_vlek_that_names_its_provider_in_another_way_is_refused(provider):
    """Policies list providers, and a terminal shows them."""
    collateral = with_extensions({"5": provider}, key="vlek")
    refused("does not say to which provider", GENOA.report("vlek"), collateral)


def test_a_vlek_without_its_provider_is_refused():
    refused("exactly the extensions of a VLEK", GENOA.report("vlek"), with_extensions(key="vlek", without="5"))


def test_a_certificate_of_an_unknown_structure_is_refused():
    refused("of a version that is not known", collateral=with_extensions({"1": integer(2)}))


@pytest.mark.parametrize(
    "value",
    [text("Milan-B0"), text("Turin"), text("Genoa-B0 "), text("Genoa-"), b"\x0c\x05Genoa", b"\x16\x06Genoa", b""],
)
def test_the_certificate_of_another_product_is_refused(value):
    refused("does not name Genoa as its product", collateral=with_extensions({"2": value}))


@pytest.mark.parametrize("value", ["Genoa", "Genoa-B1", "Bergamo-A0", "Siena"])
def test_products_that_share_the_genoa_keys_are_genoa(value):
    assert verify(collateral=with_extensions({"2": text(value)})).product == "Genoa"


def test_a_critical_extension_that_is_not_understood_is_refused():
    leaf = GENOA.leaf(critical=["3.8"])
    refused("a critical extension that is not known", collateral=GENOA.collateral(leaf=leaf))


def test_extensions_that_say_nothing_of_the_chip_are_let_be():
    key_id = x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)
    leaf = GENOA.leaf(others=[x509.Extension(key_id.oid, False, key_id)])
    assert verify(collateral=GENOA.collateral(leaf=leaf)).product == "Genoa"


# --- chip and kind of key -------------------------------------------------------------------------------------


@PRODUCTS
def test_the_certificate_of_another_chip_is_refused(product):
    by = amd(product)
    refused("for another chip", bent(0x1A0, 0xEE, by=by), by.collateral(), by=by)


def test_bytes_behind_the_name_of_a_turin_chip_are_refused():
    refused("for another chip", bent(0x1A8, 1, by=TURIN), TURIN.collateral(), by=TURIN)


def test_a_name_of_64_bytes_in_the_certificate_of_a_turin_chip_is_refused():
    refused("for another chip", TURIN.report(), with_extensions({"4": TURIN.chip}, by=TURIN), by=TURIN)


def test_a_chips_name_wrapped_once_more_is_the_same_name():
    wrapped = b"\x04\x40" + GENOA.chip
    assert verify(collateral=with_extensions({"4": wrapped})).chip_id == GENOA.chip
    refused("for another chip", collateral=with_extensions({"4": b"\x04\x3f" + GENOA.chip}))


def test_a_report_whose_chip_is_masked_is_refused():
    refused("the host masks the chip's name", bent(0x1A0, *bytes(64)))


def test_a_report_that_nobody_signed_is_refused():
    unsigned = bent(0x48, 7 << 2)
    refused("no key signed it", unsigned[:SIGNED] + bytes(512))


def test_a_report_of_a_chip_with_masked_key_is_refused():
    refused("the chip's own key is masked", bent(0x48, 2))


def test_a_providers_key_signs_where_the_chips_is_masked():
    masked = bent(0x48, 1 << 2 | 2, key="vlek")
    assert verify(masked, GENOA.collateral("vlek")).key == "vlek"


@pytest.mark.parametrize("selected", [1, 2, 6])
def test_a_report_that_names_another_kind_of_key_is_refused(selected):
    refused("another kind of key", bent(0x48, selected << 2))


def test_a_providers_key_does_not_pass_for_a_chips():
    """ASK and ASVK are one key here: only the pinned certificate tells what a leaf below it is."""
    refused("another kind of key", GENOA.report("vcek"), GENOA.collateral("vlek"))
    posing = pem(GENOA.leaf(issuer=GENOA.asvk.subject), GENOA.asvk, GENOA.ark)
    refused("exactly the extensions of a VLEK", GENOA.report("vlek"), posing)


def test_a_chip_that_only_the_report_names_is_refused():
    report = bent(0x1A0, *GENOA.chip, key="vlek")
    refused("names no chip, and this one does", report, GENOA.collateral("vlek"))


# --- processor and firmware -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "model"), [(0x19, 0x01), (0x19, 0x20), (0x19, 0x9F), (0x19, 0xB0), (0x1A, 0x11), (0, 0), (0x17, 0x31)]
)
def test_the_processor_of_another_product_is_refused(family, model):
    refused("family and model are not those of Genoa", bent(0x188, family, model))


@pytest.mark.parametrize(
    ("by", "family", "model"),
    [(MILAN, 0x19, 0x0F), (GENOA, 0x19, 0xA0), (GENOA, 0x19, 0x1F), (TURIN, 0x1A, 0x11)],
    ids=["Milan", "Bergamo", "Genoa", "Turin dense"],
)
def test_every_model_of_a_product_is_that_product(by, family, model):
    assert verify(bent(0x188, family, model, by=by), by.collateral(), by=by).product == by.product


@pytest.mark.parametrize("at", [CURRENT, REPORTED, COMMITTED, LAUNCH])
@pytest.mark.parametrize(("by", "spare"), [(GENOA, 2), (GENOA, 5), (TURIN, 4), (TURIN, 6)], ids=lambda x: str(x)[:3])
def test_something_in_a_reserved_part_of_a_firmware_version_is_refused(at, by, spare):
    reason = "a reserved part differs" if at == REPORTED else "TCB is not zero"
    refused(reason, bent(at + spare, 1, by=by), by.collateral(), by=by)


@pytest.mark.parametrize(("by", "offset", "part"), [(GENOA, 7, "microcode"), (GENOA, 6, "snp"), (TURIN, 0, "fmc")])
def test_firmware_that_reports_more_than_it_is_is_refused(by, offset, part):
    report = bent(CURRENT + offset, by.report()[CURRENT + offset] - 1, by=by)
    refused(f"TCB is above CURRENT_TCB in {part}", report, by.collateral(), by=by)
    lower = by.report()[REPORTED + offset] - 1

    def committed_only(body: bytearray) -> None:
        body[CURRENT + offset] = body[REPORTED + offset] = lower

    leaf = by.leaf(extensions=by.extensions(tcb=by.tcb._replace(**{part: lower})))
    refused(
        f"COMMITTED_TCB is above CURRENT_TCB in {part}",
        by.report(bend=committed_only),
        by.collateral(leaf=leaf),
        by=by,
    )


def test_reported_firmware_above_the_current_one_is_refused():
    def lowered(body: bytearray) -> None:
        body[CURRENT + 7] -= 1
        body[COMMITTED + 7] -= 1

    refused("REPORTED_TCB is above CURRENT_TCB in microcode", GENOA.report(bend=lowered))


def test_firmware_that_is_not_committed_yet_is_for_the_policy_to_judge():
    def provisional(body: bytearray) -> None:
        body[COMMITTED + 7] -= 2
        body[LAUNCH + 7] += 3

    assert verify(GENOA.report(bend=provisional)).tcb == GENOA.tcb


def test_a_turin_report_is_not_read_as_an_earlier_one():
    """The parts stand elsewhere: read in the other layout, FMC passes for the bootloader."""
    report = verify(TURIN.report(), TURIN.collateral(), by=TURIN)
    assert report.tcb == TURIN.tcb != verify().tcb
    posing = replace_product(TURIN, "Genoa")
    refused("extensions of a VCEK for Genoa", posing.report(), TURIN.collateral(), by=posing)


def replace_product(by: Amd, product: Any) -> Amd:
    """The same keys, which a relying party has pinned as another product's."""
    posing = Amd.__new__(Amd)
    posing.__dict__ = by.__dict__ | {"product": product}
    return posing


# --- revocation -----------------------------------------------------------------------------------------------


def listed(*revoked: Revoked, **how: Any) -> bytes:
    return GENOA.collateral(crl=GENOA.crl(*revoked, **how))


@pytest.mark.parametrize("serial", [0x10000, 0x10001, 0x5EED], ids=["root", "signing key", "leaf"])
def test_a_revoked_certificate_is_refused(serial):
    refused("AMD has revoked a certificate", collateral=listed(Revoked(1), Revoked(serial), Revoked(2)))


def test_a_list_that_revokes_others_is_a_list_that_was_checked():
    assert verify(collateral=listed(Revoked(0x10101), Revoked(1))).crl_checked


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"signer": rsa_key("attacker ark", 2048)}, "the revocation list is not signed by its issuer"),
        ({"signer": GENOA.ask_key}, "the revocation list is not signed by its issuer"),
        ({"issuer": GENOA.ask.subject}, "the revocation list is not the root's"),
        ({"starts": NOW + 1}, "the revocation list is not valid yet"),
        ({"ends": NOW - 1}, "the revocation list has expired"),
    ],
)
def test_a_list_that_is_not_the_roots_current_one_is_refused(how, reason):
    refused(reason, collateral=listed(**how))


@pytest.mark.parametrize(
    "narrow",
    [
        x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
        x509.DeltaCRLIndicator(1),
    ],
    ids=["users only", "delta"],
)
def test_a_list_of_part_of_the_certificates_is_refused(narrow):
    others = [x509.Extension(narrow.oid, True, narrow)]
    refused("the revocation list has a critical extension", collateral=listed(others=others))


def test_the_number_of_a_list_is_let_be():
    number = x509.CRLNumber(7)
    assert verify(collateral=listed(others=[x509.Extension(number.oid, False, number)])).crl_checked


# --- the collateral's form ------------------------------------------------------------------------------------

LEAF, CRL = GENOA.leaf(), GENOA.crl()
ORDERS = {
    "nothing": pem(),
    "leaf alone": pem(LEAF),
    "no root": pem(LEAF, GENOA.ask),
    "root twice": pem(LEAF, GENOA.ask, GENOA.ark, GENOA.ark),
    "list first": pem(CRL, LEAF, GENOA.ask, GENOA.ark),
    "two lists": pem(LEAF, GENOA.ask, GENOA.ark, CRL, CRL),
    "list for a root": pem(LEAF, GENOA.ask, CRL),
}


@pytest.mark.parametrize("collateral", ORDERS.values(), ids=ORDERS)
def test_other_sets_of_certificates_are_refused(collateral):
    refused("the collateral is not leaf, signing key and root", collateral=collateral)


@pytest.mark.parametrize("order", [(GENOA.ask, LEAF, GENOA.ark), (LEAF, GENOA.ark, GENOA.ask)])
def test_certificates_in_another_order_are_refused(order):
    refused("none of AMD's that are known here", collateral=pem(*order))


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "text before": lambda good: b"x\n" + good,
    "text behind": lambda good: good + b"x",
    "an empty line": lambda good: good.replace(b"-----\n-----", b"-----\n\n-----", 1),
    "a private key": lambda good: good.replace(b"CERTIFICATE", b"PRIVATE KEY", 2),
    "labels that differ": lambda good: good.replace(b"BEGIN CERTIFICATE", b"BEGIN X509 CRL", 1),
    "headers": lambda good: good.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nProc-Type: 4\n\n", 1),
    "DER": lambda _: b"\x30\x82\x05\x00",
    "bad base64": lambda good: good.replace(b"\nMII", b"\n=MI", 1),
    "half of it": lambda good: good[: len(good) // 2],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_anything_but_plain_pem_is_refused(form):
    refused("the collateral is not PEM text", collateral=form(COLLATERAL))


def test_something_hidden_behind_the_padding_of_base64_is_refused():
    padded = next(leaf for leaf in (GENOA.leaf(serial=1 << 8 * size) for size in range(3)) if b"=\n-" in pem(leaf))
    hidden = pem(padded).replace(b"=\n-", b"=\nAAAA\n-")
    verify(collateral=pem(padded, GENOA.ask, GENOA.ark))
    refused("the collateral is not PEM text", collateral=hidden + pem(GENOA.ask, GENOA.ark))


def test_collateral_beyond_its_limit_is_refused_unread():
    refused("the collateral is longer than", collateral=COLLATERAL + b"\n" * MAX_COLLATERAL)


@pytest.mark.parametrize("at", [0, 3])
def test_a_certificate_or_list_that_does_not_parse_is_refused(at):
    parts = [pem(part) for part in (LEAF, GENOA.ask, GENOA.ark, CRL)]
    label = b"X509 CRL" if at else b"CERTIFICATE"
    parts[at] = b"-----BEGIN %b-----\nMAA=\n-----END %b-----\n" % (label, label)
    refused("does not parse", collateral=b"".join(parts))


LEAF_DER, CRL_DER = LEAF.public_bytes(Encoding.DER), GENOA.crl(Revoked(1)).public_bytes(Encoding.DER)
LEAF_BODY = LEAF.tbs_certificate_bytes
CRL_BODY = x509.load_der_x509_crl(CRL_DER).tbs_certlist_bytes
NEXT_UPDATE = re.compile(rb"(?<=Z)\x17\x0d[0-9]{12}Z(?=\x30)", re.DOTALL)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\x2b\x81\x04\x00\x22", b"\x2b\x81\x04\x00\x7f", "certificate does not parse"),
        (b"NO HARDWARE", b"NO\xffHARDWARE", "certificate does not parse"),
        (b"\x9c\x78\x01\x03\x07", b"\x9c\x78\x01\x03\x06", "has extensions that do not parse"),
    ],
    ids=["curve", "name", "extension twice"],
)
def test_a_certificate_that_is_signed_and_yet_does_not_parse_is_refused(old, new, reason):
    assert old in LEAF_BODY
    leaf = resigned(LEAF_DER, LEAF_BODY, LEAF_BODY.replace(old, new), GENOA.ask_key)
    refused(reason, collateral=pem_text("CERTIFICATE", leaf) + pem(GENOA.ask, GENOA.ark))


def crl_with(body: bytes) -> bytes:
    return pem(LEAF, GENOA.ask, GENOA.ark) + pem_text("X509 CRL", resigned(CRL_DER, CRL_BODY, body, GENOA.ark_key))


def test_a_list_that_is_signed_and_yet_does_not_parse_is_refused():
    assert verify(collateral=crl_with(CRL_BODY)).crl_checked
    refused("the revocation list does not parse", collateral=crl_with(CRL_BODY.replace(b"NO HARDW", b"NO\xffHARDW")))


def test_a_list_that_holds_for_ever_is_refused():
    content, removed = NEXT_UPDATE.subn(b"", CRL_BODY[2 + (CRL_BODY[1] & 0x7F) :])
    assert (CRL_BODY[1] & 0x80, removed) == (0x80, 1)
    refused("does not say until when it holds", collateral=crl_with(tlv(0x30, content)))


def test_a_pinned_root_without_an_rsa_key_is_refused():
    ark = GENOA._issuer("ARK-Genoa", ec_key(b"a root of another kind"), 1)
    chains = [GENOA.chains[0]._replace(ark=fingerprint(ark.public_bytes(Encoding.DER)))]
    with pytest.raises(Untrusted, match="the root has no RSA key"):
        verify_snp_report(REPORT, pem(LEAF, GENOA.ask, ark), NOW, chains=chains)


def test_the_issuers_of_others_do_not_fill_the_cache():
    verify()
    before = amd_chain._issuers.cache_info().currsize
    for number in range(3):
        collateral = pem(LEAF, GENOA._issuer(f"other {number}", GENOA.ask_key, 9), GENOA.ark)
        refused("none of AMD's", collateral=collateral)
    assert amd_chain._issuers.cache_info().currsize == before


BOTH = GENOA.collateral(crl=GENOA.crl(Revoked(1)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_evidence_changed_anywhere_is_the_same_evidence_or_refused(data):
    """Any other error than `Untrusted` fails. What certificates and lists carry outside their signatures may differ."""
    parts = [REPORT, BOTH]
    which = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, len(parts[which]) - 1))
    byte = data.draw(st.integers(0, 255))
    parts[which] = parts[which][:at] + bytes((byte,)) + parts[which][at + 1 :]
    try:
        report = verify(parts[0], parts[1])
    except Untrusted:
        return
    assert report == verify(REPORT, BOTH)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=1300), st.binary(max_size=300))
def test_any_bytes_at_all_are_refused(report, collateral):
    for one, other in ((report, collateral), (REPORT, collateral), (report, COLLATERAL)):
        with pytest.raises(Untrusted):
            verify(one, other)
