"""Python and the browser SDK about the same quotes, each signed all the way and bent in something.

Both know from different code what Intel's statements mean: Python from `dcap-qvl`, the SDK from its own. Where they
differ, one of them is wrong. (The SDK is stricter with certificates and lists; `certificates.test.ts` has those.)
"""

import copy
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.attestation.nitro import CLOCK_SKEW
from strongroom.enclave.platform.synthetic_pki import Configuration, raw_public_key, raw_signature
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64, EnclaveReport
from strongroom.protocol.errors import StrongroomError
from tests.support.synthetic_nitro import SyntheticNitro
from tests.support.synthetic_snp import Revoked, amd, text
from tests.support.synthetic_tdx import SEPT_VE_DISABLE, XFAM, BentPki, TdReport, TdxPki, sgx_quote, tdx_quote
from tests.vectors.test_spec_vectors import to_json, verify_quote
from tools.node import commands

WEB = Path(__file__).resolve().parents[2] / "web"
NOW = 1_790_000_000
UNKNOWN = x509.ObjectIdentifier("1.2.3.4")
FOUNDED = NOW - 1000
CONFIGURATION = Configuration(dynamic_platform=False, cached_keys=True, smt=False)
SGX = BentPki(b"s" * 32, FOUNDED, CONFIGURATION)
TDX = TdxPki(b"s" * 32, FOUNDED, CONFIGURATION)
REPORT = EnclaveReport(b"m" * 32, b"s" * 32, 3, 4, b"r" * 64, INIT | MODE64)
QUOTE = sgx_quote(SGX, REPORT)
SIZE = 384
"""Of an enclave's report."""
SIGNED = 48 + SIZE
SIGNATURE = SIGNED + 4
QE_REPORT = SIGNATURE + 64 + 64
"""Where in an SGX quote the signature, and the quoting enclave's report, begin."""
STATUSES = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
)
RARE = ("Revoked", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded", "Unheard")
DATES = ("2024-03-13T00:00:00Z", "2025-01-01T00:00:00Z", "2022-05-05T00:00:00+02:00", "2026-01-01T00:00:00.500Z")

Case = dict[str, Any]
Statement = dict[str, Any]

pytestmark = pytest.mark.needs("web")


def case(kind: str, quote: bytes, collateral: bytes, now: int = NOW) -> Case:
    root = (SGX if kind == "sgx" else TDX).root_der
    return {"kind": kind, "quote": quote.hex(), "collateral": collateral.hex(), "root": root.hex(), "now": now}


def bend_standing(rng: random.Random, level: Statement) -> Statement:
    level["tcbStatus"] = rng.choice(RARE if rng.random() < 0.05 else STATUSES)
    level["tcbDate"] = rng.choice(DATES)
    if rng.random() < 0.7:
        level["advisoryIDs"] = [f"INTEL-SA-0000{rng.randrange(1, 6)}" for _ in range(rng.randrange(3))]
    return level


def bend_info(rng: random.Random, info: Statement) -> Statement:
    levels = []
    for _ in range(rng.randrange(1, 5)):
        level = bend_standing(rng, copy.deepcopy(info["tcbLevels"][0]))
        for component in rng.sample(range(16), rng.randrange(3)):
            level["tcb"]["sgxtcbcomponents"][component]["svn"] = rng.choice((0, 1, 2, 3))
        level["tcb"]["pcesvn"] = rng.choice((5, 12, 13, 13, 13, 14))
        for component in level["tcb"].get("tdxtcbcomponents", [])[:3]:
            component["svn"] = rng.choice((0, 0, 1, 3, 5))
        levels.append(level)
    return info | {"tcbLevels": levels, "tcbEvaluationDataNumber": rng.randrange(1, 30)}


def bend_identity(rng: random.Random, identity: Statement) -> Statement:
    if rng.random() < 0.4:
        return identity
    levels = []
    for _ in range(rng.randrange(1, 4)):
        level = bend_standing(rng, copy.deepcopy(identity["tcbLevels"][0]))
        level["tcb"]["isvsvn"] = rng.choice((5, 8, 8, 9))
        levels.append(level)
    return identity | {"tcbLevels": levels, "tcbEvaluationDataNumber": rng.randrange(1, 30)}


def bend_modules(rng: random.Random, info: Statement) -> Statement:
    model, found = info["tdxModuleIdentities"][0], []
    for version in rng.sample((1, 3, 4, 10), rng.randrange(1, 4)):
        levels = []
        for _ in range(rng.randrange(1, 3)):
            level = bend_standing(rng, copy.deepcopy(model["tcbLevels"][0]))
            level["tcb"]["isvsvn"] = rng.choice((0, 3, 5, 6))
            levels.append(level)
        found.append(model | {"id": rng.choice(("TDX_%02X", "tdx_%02x")) % version, "tcbLevels": levels})
    return info | {"tdxModuleIdentities": found}


def module(rng: random.Random) -> bytes:
    return bytes((rng.choice((3, 5, 5, 6)), rng.choice((0, 1, 3, 3, 3, 4, 10)), rng.choice((0, 0, 0, 1)))) + bytes(13)


def levels() -> dict[str, Case]:
    """States of machine, module and quoting enclave, in every mixture."""
    rng, found = random.Random(20), {}
    for at in range(150):
        info, identity = bend_info(rng, SGX.tcb_info(NOW)), bend_identity(rng, SGX.qe_identity(NOW))
        found[f"sgx levels {at}"] = case("sgx", QUOTE, SGX.signed_collateral(info, identity, NOW))
    for at in range(300):
        info, identity = bend_info(rng, TDX.tcb_info(NOW)), bend_identity(rng, TDX.qe_identity(NOW))
        info = bend_modules(rng, info) if rng.random() < 0.7 else info
        version = rng.choice((4, 5, 5))
        later: Any = {"tee_tcb_svn2": module(rng)} if version == 5 else {}
        quote = tdx_quote(TDX, TdReport(tee_tcb_svn=module(rng), **later), version=version)
        found[f"tdx levels {at}"] = case("tdx", quote, TDX.signed_collateral(info, identity, NOW))
    return found


def statements() -> dict[str, Case]:
    """What Intel states of its quoting enclave and of the machine, changed before it is signed."""
    found = {}
    of_enclave: dict[str, Statement] = {
        "qe mrsigner": {"mrsigner": "01" * 32},
        "qe product": {"isvprodid": 9},
        "qe miscselect": {"miscselect": "01000000"},
        "qe miscselect outside of its mask": {"miscselect": "01000000", "miscselectMask": "FEFFFFFF"},
        "qe attributes": {"attributes": "13" + "00" * 15},
        "qe attributes outside of their mask": {"attributes": "15" + "00" * 14 + "01"},
        "qe debug under a mask that lets it": {"attributesMask": "F9FFFFFFFFFFFFFF" + "00" * 8},
        "qe id": {"id": "TD_QE"},
        "qe version": {"version": 3},
        "qe from the future": {"issueDate": "2026-09-21T14:13:21Z"},
        "qe of this second": {"issueDate": "2026-09-21T14:13:20Z"},
        "qe expires this second": {"nextUpdate": "2026-09-21T14:13:20Z"},
        "qe expires next second": {"nextUpdate": "2026-09-21T14:13:21Z"},
        "qe without levels": {"tcbLevels": []},
        "qe number as text": {"isvprodid": "1"},
        "qe short": {"mrsigner": "00"},
    }
    for name, changes in of_enclave.items():
        collateral = SGX.signed_collateral(SGX.tcb_info(NOW), SGX.qe_identity(NOW) | changes, NOW)
        found[name] = case("sgx", QUOTE, collateral)
    of_machine: dict[str, Statement] = {
        "info id": {"id": "TDX"},
        "info version 2": {"version": 2},
        "info version 1": {"version": 1},
        "info fmspc": {"fmspc": "DEADBEEF0001"},
        "info fmspc in small letters": {"fmspc": "deadbeef0000"},
        "info pce": {"pceId": "0001"},
        "info from the future": {"issueDate": "2026-09-21T14:13:21Z"},
        "info expired": {"nextUpdate": "2026-09-21T14:13:19Z"},
        "info expires this second": {"nextUpdate": "2026-09-21T14:13:20Z"},
        "info on a day that is none": {"issueDate": "2026-02-30T00:00:00Z"},
        "info without a time": {"issueDate": "2026-09-21"},
        "info without levels": {"tcbLevels": []},
    }
    for name, changes in of_machine.items():
        collateral = SGX.signed_collateral(SGX.tcb_info(NOW) | changes, SGX.qe_identity(NOW), NOW)
        found[name] = case("sgx", QUOTE, collateral)
    identity = TDX.tcb_info(NOW)["tdxModuleIdentities"][0]
    of_module: dict[str, Statement] = {
        "module unknown": {"tdxModuleIdentities": []},
        "module signer": {"tdxModuleIdentities": [identity | {"mrsigner": "01" + "00" * 47}]},
        "module attributes": {"tdxModuleIdentities": [identity | {"attributes": "01" + "00" * 7}]},
        "module mask": {"tdxModuleIdentities": [identity | {"attributesMask": "00" * 8}]},
        "module missing": {"tdxModule": None},
    }
    for name, changes in of_module.items():
        collateral = TDX.signed_collateral(TDX.tcb_info(NOW) | changes, TDX.qe_identity(NOW), NOW)
        found[name] = case("tdx", tdx_quote(TDX, TdReport()), collateral)
    return found


def relaunches() -> dict[str, Case]:
    """TDs that started under a module that is out of date, and go on under one that is not, on any kind of machine."""
    found = {}
    older = {"tcb": {"isvsvn": 3}, "tcbDate": DATES[0], "tcbStatus": "OutOfDate", "advisoryIDs": ["INTEL-SA-00001"]}
    quote = tdx_quote(TDX, TdReport(tee_tcb_svn=bytes((3, 3)) + bytes(14)), version=5)
    for status in STATUSES:
        for enclave in ("UpToDate", "OutOfDate", "Revoked"):
            info, identity = TDX.tcb_info(NOW), TDX.qe_identity(NOW)
            info["tcbLevels"][0] |= {"tcbStatus": status}
            info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"][0]["svn"] = 0
            info["tdxModuleIdentities"][0]["tcbLevels"].append(older)
            identity["tcbLevels"][0] |= {"tcbStatus": enclave}
            found[f"relaunch {status} {enclave}"] = case("tdx", quote, TDX.signed_collateral(info, identity, NOW))
    return found


def with_own_key() -> bytes:
    """A quote whose attestation key is the attacker's own, beside the report of a quoting enclave that never saw it."""
    key = BentPki(b"attacker" * 4, FOUNDED).attestation_key
    return QUOTE[:SIGNATURE] + raw_signature(key, QUOTE[:SIGNED]) + raw_public_key(key) + QUOTE[QE_REPORT:]


def with_debug_enclave() -> tuple[bytes, bytes]:
    """A quote of a quoting enclave in debug mode, and collateral that does not look at that bit."""
    report = bytearray(QUOTE[QE_REPORT : QE_REPORT + SIZE])
    report[48] |= 2
    rest = QUOTE[QE_REPORT + SIZE + 64 :]
    identity = SGX.qe_identity(NOW) | {"attributesMask": "F9" + "FF" * 7 + "00" * 8}
    quote = QUOTE[:QE_REPORT] + bytes(report) + raw_signature(SGX.pck_key, bytes(report)) + rest
    return quote, SGX.signed_collateral(SGX.tcb_info(NOW), identity, NOW)


def quotes() -> dict[str, Case]:
    """Headers, framing, attributes, and the moments at which collateral begins and ends."""
    found, collateral = {}, SGX.collateral(NOW)
    framing: dict[str, Any] = {
        "shorter authentication data": {"authentication": b"a" * 31},
        "longer authentication data": {"authentication": b"a" * 33},
        "no authentication data": {"authentication": b""},
        "chain without its NUL": {"chain": SGX.pck_chain},
        "chain with two": {"chain": SGX.pck_chain + bytes(2)},
        "another kind of certification data": {"kind": 4},
        "after the signatures": {"after_signatures": b"x"},
        "after the quote": {"after": b"x"},
        "windows' ends of lines": {"chain": SGX.pck_chain.replace(b"\n", b"\r\n")},
    }
    for name, parts in framing.items():
        found[name] = case("sgx", sgx_quote(SGX, REPORT, parts=parts), collateral)
    found["own attestation key"] = case("sgx", with_own_key(), collateral)
    found["debug quoting enclave"] = case("sgx", *with_debug_enclave())
    headers: dict[str, Any] = {
        "version": {"version": 4},
        "tee": {"tee": 0x81},
        "key type": {"key_type": 3},
        "vendor": {"vendor": b"x" * 16},
    }
    for name, header in headers.items():
        found[f"header {name}"] = case("sgx", sgx_quote(SGX, REPORT, **header), collateral)
    for flags in (0, INIT, MODE64, INIT | MODE64 | 2, INIT | MODE64 | 0x10):
        report = EnclaveReport(b"m" * 32, b"s" * 32, 3, 4, b"r" * 64, flags)
        found[f"flags {flags}"] = case("sgx", sgx_quote(SGX, report), collateral)
    for bit in range(64):
        attributes = TdReport(td_attributes=SEPT_VE_DISABLE ^ (1 << bit))
        found[f"attribute {bit}"] = case("tdx", tdx_quote(TDX, attributes), TDX.collateral(NOW))
        found[f"feature {bit}"] = case("tdx", tdx_quote(TDX, TdReport(xfam=XFAM ^ (1 << bit))), TDX.collateral(NOW))
    for after in (-86400 - 1001, -301, -300, 30 * 86400 - 1, 30 * 86400):
        found[f"at {after}"] = case("sgx", QUOTE, collateral, NOW + after)
    return found


def collaterals() -> dict[str, Case]:
    """Fields of the collateral left out, emptied, exchanged and written otherwise."""
    whole: dict[str, str] = json.loads(SGX.collateral(NOW))
    bent: dict[str, Any] = {}
    for name, value in whole.items():
        bent[f"without {name}"] = {other: one for other, one in whole.items() if other != name}
        bent[f"empty {name}"] = whole | {name: ""}
        bent[f"capitals {name}"] = whole | {name: value.upper()}
        bent[f"longer {name}"] = whole | {name: value + "\n"}
        bent[f"null {name}"] = whole | {name: None}
    bent["one more"] = whole | {"pck_certificate_chain": SGX.pck_chain.decode()}
    bent["lists exchanged"] = whole | {"root_ca_crl": whole["pck_crl"], "pck_crl": whole["root_ca_crl"]}
    bent["one list twice"] = whole | {"pck_crl": whole["root_ca_crl"]}
    bent["issuer of the list"] = whole | {"pck_crl_issuer_chain": whole["tcb_info_issuer_chain"]}
    bent["statements exchanged"] = whole | {"tcb_info": whole["qe_identity"], "qe_identity": whole["tcb_info"]}
    found = {name: case("sgx", QUOTE, json.dumps(value).encode()) for name, value in bent.items()}
    exact = SGX.collateral(NOW)
    for name, exactly in {"a mark": b"\xef\xbb\xbf" + exact, "an end": exact + b"x", "room": exact + b" \n"}.items():
        found[f"with {name}"] = case("sgx", QUOTE, exactly)
    return found


def of_amd() -> dict[str, Case]:
    """Leaves and lists that the right key signed, and that say what none of AMD's does."""
    maker = amd("Genoa")

    def described(**changes: Any) -> bytes:
        return maker.collateral(leaf=maker.leaf(extensions=maker.extensions(**changes)))

    unknown = x509.Extension(UNKNOWN, True, x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"))
    harmless = x509.Extension(UNKNOWN, False, x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"))
    bent = {
        "leaf": maker.collateral(),
        "leaf with a critical extension": maker.collateral(leaf=maker.leaf(others=[unknown])),
        "leaf with an extension of others": maker.collateral(leaf=maker.leaf(others=[harmless])),
        "leaf with a critical part": maker.collateral(leaf=maker.leaf(critical=["3.8"])),
        "leaf with one extension less": maker.collateral(
            leaf=maker.leaf(extensions={end: one for end, one in maker.extensions().items() if end != "3.4"})
        ),
        "leaf with one more": described(**{"9": b"\x05\x00"}),
        "leaf of another product": described(**{"2": text("Milan")}),
        "leaf of a product unheard of": described(**{"2": text("Genoa-B00")}),
        "leaf with SHA-256": maker.collateral(leaf=maker.leaf(digest=hashes.SHA256())),
        "list": maker.collateral(crl=maker.crl()),
        "list of another name": maker.collateral(crl=maker.crl(issuer=maker.ask.subject)),
        "list from the future": maker.collateral(crl=maker.crl(starts=NOW + 1)),
        "list of this second": maker.collateral(crl=maker.crl(starts=NOW)),
        "list that ends this second": maker.collateral(crl=maker.crl(ends=NOW)),
        "list with a critical extension": maker.collateral(crl=maker.crl(others=[unknown])),
        "list of another's certificate": maker.collateral(crl=maker.crl(Revoked(99))),
        "list of the leaf": maker.collateral(crl=maker.crl(Revoked(0x5EED))),
        "list of the root": maker.collateral(crl=maker.crl(Revoked(maker.ark.serial_number))),
    }
    chains = [one._asdict() | {"ark": one.ark.hex(), "ask": one.ask.hex()} for one in maker.chains]
    given = {"kind": "snp", "quote": maker.report().hex(), "chains": chains, "now": NOW}
    return {f"amd {name}": given | {"collateral": collateral.hex()} for name, collateral in bent.items()}


def of_aws() -> dict[str, Case]:
    """Certificates of a document's chain, each changed before it is signed."""
    maker = SyntheticNitro("python and the sdk")
    bent: dict[str, dict[str, dict[str, Any]]] = {
        "as it is": {},
        "leaf that is an authority": {"leaf": {"ca": True}},
        "leaf that may issue": {"leaf": {"usage": ("digital_signature", "key_cert_sign")}},
        "leaf that may not sign": {"leaf": {"usage": ("content_commitment",)}},
        "leaf that does not say": {"leaf": {"usage": None}},
        "leaf without constraints": {"leaf": {"ca": None}},
        "zone that may not issue": {"zone": {"usage": ("digital_signature",)}},
        "zone without constraints": {"zone": {"ca": None, "path_length": None}},
        "zone from the future": {"zone": {"before": CLOCK_SKEW + 1}},
        "zone from as far as may be": {"zone": {"before": CLOCK_SKEW}},
        "zone of another issuer": {"zone": {"issuer": "root", "signed_by": "region"}},
        "region on another curve": {"region": {"curve": ec.SECP256R1()}},
        "leaf with a critical extension": {"leaf": {"extra": x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00")}},
    }
    given = {"kind": "nitro", "collateral": "", "root": maker.root.hex(), "now": NOW}
    return {f"aws {name}": given | {"quote": maker.document(certificates=bends).hex()} for name, bends in bent.items()}


CASES = of_amd() | of_aws() | levels() | relaunches() | statements() | quotes() | collaterals()


def python_says(given: Case) -> Any:
    try:
        return json.loads(json.dumps(to_json(verify_quote(given))))
    except StrongroomError as refusal:
        return {"error": int(refusal.number), "reason": refusal.reason}


@pytest.fixture(scope="module")
def sdk_says():
    found = commands()
    assert found is not None
    done = subprocess.run(
        [*found[0], "sdk/test/run.mjs", "sdk/test/verdicts.ts"],
        cwd=WEB,
        input="".join(json.dumps(one) + "\n" for one in CASES.values()),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_both_say_the_same_of_a_bent_quote(name, sdk_says):
    ours, theirs = python_says(CASES[name]), sdk_says[name]
    if "error" in ours:
        assert theirs.get("error") == ours["error"], ours["reason"]
    else:
        assert theirs == ours


def test_the_cases_are_of_every_outcome():
    verdicts = [python_says(given) for given in CASES.values()]
    reasons = {verdict["reason"] for verdict in verdicts if "error" in verdict}
    states = {verdict["report"].get("intel", {}).get("tcb_status") for verdict in verdicts if "report" in verdict}
    assert len(reasons) > 40
    assert states >= {*STATUSES, "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"}
