"""What answers are read as: expiry, identity, exact bytes; and that nothing which comes in breaks the reader."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.host.collateral import amd, intel
from strongroom.host.collateral.items import Answer, Unusable, revocations
from strongroom.protocol.errors import Unavailable
from tests.support.evidence import NOW, pki
from tests.support.pccs import amd_pages, intel_pages
from tests.support.synthetic_snp import amd as synthetic
from tests.support.synthetic_snp import pem

DAY = 86400
SNP = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "snp"
QUOTE = synthetic_quote(pki(), EnclaveReport(bytes(32), bytes(32), 1, 1, bytes(64)))
INTEL = intel.wanted("sgx", QUOTE)
PAGES = intel_pages(pki().collateral(NOW), "sgx")
TURIN = synthetic("Turin")


def answer(page):
    return Answer(page.body, unquote(next(iter(page.headers.values()), "")))


def path(wanted):
    return wanted.url("").partition("?")[0]


def turin():
    report = amd.read_report(TURIN.report())
    return amd.leaf(report, "Turin"), amd.Chain("vcek", "Turin"), amd.Revocations("vcek", "Turin")


GOOD = [(wanted, answer(PAGES[path(wanted)])) for wanted in INTEL]
GOOD += [(wanted, answer(amd_pages(TURIN, at=NOW)[path(wanted)])) for wanted in turin()]
NAMES = [wanted.name for wanted, _ in GOOD]


# --- Intel ----------------------------------------------------------------------------------------------------------


def test_signed_statements_keep_their_exact_characters():
    statement = '{ "id":"SGX", "version":3,\n"issueDate":"2026-01-01T00:00:00Z","nextUpdate":"2026-01-31T00:00:00Z",'
    statement += '"fmspc":"deadbeef0000" ,"tcbEvaluationDataNumber":18,"x":1.0e2,"tcbLevels":[ ] }'
    body = f' {{"signature":"{"ab" * 64}", "tcbInfo": {statement} }}\n'.encode()
    item = intel.TcbInfo("sgx", "DEADBEEF0000").read(Answer(body, answer(PAGES[path(INTEL.tcb_info)]).chain))
    assert item.parts["tcb_info"] == statement
    assert (item.issued, item.expires, item.number) == (1767225600, 1769817600, 18)


@pytest.mark.parametrize("wanted", INTEL, ids=NAMES[:4])
def test_what_comes_with_intels_answers_bounds_their_life(wanted):
    assert wanted.read(answer(PAGES[path(wanted)])).expires == NOW + 30 * DAY
    if not wanted.chain_headers:
        return
    late = pki().collateral(NOW + 3649 * DAY)  # ends when its signers' certificates do
    assert wanted.read(answer(intel_pages(late, "sgx")[path(wanted)])).expires == NOW - 1000 + 3650 * DAY


def test_lists_come_in_der_hex_and_pem():
    crl = synthetic("Milan").crl(starts=NOW, ends=NOW + 30 * DAY)
    der = crl.public_bytes(Encoding.DER)
    for form in (der, der.hex().encode(), der.hex().upper().encode() + b"\n", crl.public_bytes(Encoding.PEM)):
        found = revocations(form)
        assert (found.crl.public_bytes(Encoding.DER), found.issued, found.update) == (der, NOW, NOW + 30 * DAY)


def test_only_intels_own_service_is_asked_for_the_roots_list_elsewhere():
    at_intel = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
    assert INTEL.root_crl.url(intel.SERVICE) == at_intel
    assert INTEL.root_crl.url(f"{intel.SERVICE}:443") == at_intel
    for base in ("https://pccs.example", "https://api.trustedservices.intel.com.example"):
        assert INTEL.root_crl.url(base) == f"{base}/sgx/certification/v4/rootcacrl"


def test_addresses_are_those_of_version_4():
    assert [wanted.url("https://x") for wanted in INTEL] == [
        "https://x/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "https://x/sgx/certification/v4/rootcacrl",
        "https://x/sgx/certification/v4/tcb?fmspc=DEADBEEF0000&update=standard",
        "https://x/sgx/certification/v4/qe/identity?update=standard",
    ]
    assert (
        intel.TcbInfo("tdx", "00806F050000").url("") == "/tdx/certification/v4/tcb?fmspc=00806F050000&update=standard"
    )
    assert intel.QeIdentity("tdx").url("") == "/tdx/certification/v4/qe/identity?update=standard"


def test_the_identity_of_another_quoting_enclave_is_unusable():
    with pytest.raises(Unusable, match="another enclave's"):
        intel.QeIdentity("tdx").read(answer(PAGES[path(INTEL.qe_identity)]))


def test_a_signature_that_no_verifier_could_read_is_unusable():
    good = answer(PAGES[path(INTEL.tcb_info)])
    signed = json.loads(good.body)
    for signature in ("", signed["signature"][:-2], signed["signature"] + "00", "zz" * 64, "é" * 128):
        body = good.body.replace(signed["signature"].encode(), signature.encode())
        with pytest.raises(Unusable, match="signature"):
            INTEL.tcb_info.read(Answer(body, good.chain))


def test_a_list_whose_issuer_is_of_a_wrong_type_is_unusable():
    # `cryptography` says so with a TypeError, and only when the name is asked for.
    der = bytes.fromhex(INTEL.root_crl.read(answer(PAGES[path(INTEL.root_crl)])).parts["root_ca_crl"])
    country = b"\x06\x03\x55\x04\x06\x0c\x02ZZ"
    if country not in der:
        country = country.replace(b"\x0c", b"\x13")
    assert country in der
    with pytest.raises(Unusable, match="does not parse"):
        INTEL.root_crl.read(Answer(der.replace(country, country[:5] + b"\x03\x02\x00Z"), ""))


# --- AMD ------------------------------------------------------------------------------------------------------------


def test_addresses_of_certificates_spell_the_firmware_out():
    milan = amd.leaf(amd.read_report(synthetic("Milan").report()), "Milan")
    hwid = bytes(range(1, 65)).hex()
    assert milan.url("https://x") == f"https://x/vcek/v1/Milan/{hwid}?blSPL=10&teeSPL=01&snpSPL=23&ucodeSPL=217"
    leaf, chain, crl = turin()
    query = "fmcSPL=03&blSPL=02&teeSPL=01&snpSPL=04&ucodeSPL=84"
    assert leaf.url("") == f"/vcek/v1/Turin/0102030405060708?{query}"
    assert (chain.url(""), crl.url("")) == ("/vcek/v1/Turin/cert_chain", "/vcek/v1/Turin/crl")
    assert amd.Chain("vlek", "Genoa").url("") == "/vlek/v1/Genoa/cert_chain"


def bent_report(at, value):
    """A report of Milan's with other bytes at one place."""
    report = synthetic("Milan").report()
    return report[:at] + value + report[at + len(value) :]


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x01, "Milan"), (0x19, 0x11, "Genoa"), (0x19, 0xA0, "Genoa"), (0x19, 0xAF, "Genoa"),
        (0x1A, 0x02, "Turin"), (0x1A, 0x11, "Turin"),
    ],
)  # fmt: skip
def test_processors_are_told_apart_by_family_and_model(family, model, product):
    assert amd.read_report(bent_report(0x188, bytes([family, model]))).products == (product,)
    assert amd.read_report(synthetic("Milan").report(version=2)).products == amd.PRODUCTS


@pytest.mark.parametrize(("family", "model"), [(0, 0), (0x17, 0x31), (0x19, 0x21), (0x1A, 0x44)])
def test_a_processor_of_unknown_kind_is_refused_rather_than_guessed(family, model):
    with pytest.raises(Unavailable, match="410") as refused:
        amd.read_report(bent_report(0x188, bytes([family, model])))
    assert "unknown kind" in refused.value.reason


def test_reports_that_lead_to_no_certificate_are_refused():
    report = synthetic("Milan").report()
    unsigned, unknown = bent_report(0x48, b"\x1c"), bent_report(0x48, b"\x08")
    for other in (b"", report[:-1], report + b"\0", unsigned, unknown):
        with pytest.raises(Unavailable):
            amd.read_report(other)
    with pytest.raises(Unavailable) as refused:
        amd.read_report(bent_report(0x1A0, bytes(64)))
    assert "names no chip" in refused.value.reason


@pytest.mark.parametrize("product", amd.PRODUCTS)
def test_the_certificate_of_another_chip_or_firmware_or_product_is_unusable(product):
    chip = synthetic(product)
    wanted = amd.leaf(amd.read_report(chip.report()), product)

    def read(leaf):
        return wanted.read(Answer(leaf.public_bytes(Encoding.DER), ""))

    assert read(chip.leaf(ends=NOW + DAY)).expires == NOW + DAY
    with pytest.raises(Unusable, match="another chip's"):
        read(chip.leaf(extensions=chip.extensions() | {"4": bytes(len(wanted.hwid))}))
    for part in ("bootloader", "tee", "snp", "microcode", *(["fmc"] if product == "Turin" else [])):
        other = chip.tcb._replace(**{part: getattr(chip.tcb, part) + 1})
        with pytest.raises(Unusable, match="another level"):
            read(chip.leaf(extensions=chip.extensions(tcb=other)))
    with pytest.raises(Unusable, match="another product's"):
        read(synthetic("Genoa" if product == "Milan" else "Milan").leaf())


def test_chains_and_lists_of_another_product_or_key_are_unusable():
    genoa, wanted = synthetic("Genoa"), amd.Chain("vcek", "Genoa")
    wanted.read(Answer(pem(genoa.ask, genoa.ark), ""))
    others = [(TURIN.ask, TURIN.ark), (genoa.asvk, genoa.ark), (genoa.ark, genoa.ask), (genoa.ask,), (genoa.ark,)]
    for chain in [*others, (genoa.ask, genoa.ark, genoa.ark), (genoa.ask, TURIN.ark)]:
        with pytest.raises(Unusable):
            wanted.read(Answer(pem(*chain), ""))
    with pytest.raises(Unusable, match="another product's"):
        amd.Revocations("vcek", "Genoa").read(Answer(TURIN.crl().public_bytes(Encoding.DER), ""))


def test_a_list_without_a_next_update_is_unusable():
    # It would be kept for ever, and no verifier takes it.
    der = bytearray(synthetic("Milan").crl(starts=NOW, ends=NOW + 30 * DAY).public_bytes(Encoding.DER))
    update = datetime.fromtimestamp(NOW + 30 * DAY, UTC).strftime("%y%m%d%H%M%SZ").encode()
    at = der.index(b"\x17\x0d" + update)
    del der[at : at + 15]
    inside = 0
    for _ in range(2):  # a SEQUENCE in a SEQUENCE, each with a length of its own length
        length = slice(inside + 2, inside + 2 + (der[inside + 1] & 0x7F))
        der[length] = (int.from_bytes(der[length], "big") - 15).to_bytes(length.stop - length.start, "big")
        inside = length.stop
    with pytest.raises(Unusable, match="names no next update"):
        revocations(bytes(der))


@pytest.mark.needs("shared")
@pytest.mark.parametrize(
    ("name", "product"), [("trustee-azure-genoa", "Genoa"), ("trustee-milan", "Milan"), ("virtee-sev-milan", "Milan")]
)
def test_real_certificates_are_what_real_reports_ask_for(name, product):
    report = amd.read_report((SNP / f"{name}.report.bin").read_bytes())
    assert product in report.products
    leaf = Answer((SNP / f"{name}.leaf.der").read_bytes(), "")
    amd.leaf(report, product).read(leaf)
    amd.Chain("vcek", product).read(Answer((SNP / "chains" / f"{product.lower()}.pem").read_bytes(), ""))
    with pytest.raises(Unusable):
        amd.leaf(report._replace(chip_id=bytes(64)), product).read(leaf)


@pytest.mark.needs("shared")
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_real_certificates_of_turin_and_of_a_provider_are_understood():
    tcb = (("fmc", 0), ("bl", 0), ("tee", 0), ("snp", 0), ("ucode", 9))
    leaf = amd.Leaf("Turin", bytes.fromhex("1e550a8ee5cf9f4d"), tcb)
    leaf.read(Answer((SNP / "chains" / "turin-vcek-sample.der").read_bytes(), ""))
    amd.Chain("vlek", "Turin").read(Answer((SNP / "chains" / "turin-vlek.pem").read_bytes(), ""))
    assert amd.read_report((SNP / "trustee-milan-vlek.report.bin").read_bytes()).key == "vlek"
    assert amd.read_provided_leaf((SNP / "trustee-milan-vlek.leaf.der").read_bytes(), "vlek")[0] == "Milan"


# --- anything at all ------------------------------------------------------------------------------------------------


def bent(random_, content):
    out = bytearray(content)
    for _ in range(random_.choice([1, 1, 2, 5])):
        at = random_.randrange(len(out) + 1)
        match random_.randrange(4):
            case 0:
                del out[at:]
            case 1:
                out[at:at] = random_.randbytes(3)
            case _ if at < len(out):
                out[at] ^= 1 << random_.randrange(8)
    return bytes(out)


@pytest.mark.parametrize(("wanted", "good"), GOOD, ids=NAMES)
def test_no_answer_breaks_the_reader(wanted, good):
    wanted.read(good)
    random_ = random.Random(wanted.name)
    for _ in range(1500):
        chain = bent(random_, good.chain.encode()).decode("latin-1") if random_.random() < 0.2 else good.chain
        try:
            wanted.read(Answer(bent(random_, good.body), chain))
        except Unusable:
            continue
    for body in (b"", b"\x30", b"\x30\x82", b"{" * 60000, b"[" * 60000, b"-----BEGIN", random_.randbytes(9000)):
        with pytest.raises(Unusable):
            wanted.read(Answer(body, good.chain))


def test_no_quote_breaks_the_reader():
    random_ = random.Random(1)
    report = synthetic("Milan").report()
    for _ in range(1500):
        for read, content in ((lambda quote: intel.wanted("sgx", quote), QUOTE), (amd.read_report, report)):
            try:
                read(bent(random_, content))
            except Unavailable:
                continue


def test_collateral_has_the_nine_fields():
    items = [wanted.read(good) for wanted, good in GOOD[:4]]
    assert json.loads(intel.collateral(items)) == json.loads(pki().collateral(NOW)) | {
        field: part for item in items for field, part in item.parts.items() if field.endswith(("crl", "signature"))
    }
