"""A machine, its owner and whoever took a key out of it, against the appraisal of SGX and TDX quotes.

Every piece of evidence is signed all the way up and wrong in one thing only, unless a test says otherwise.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attestation.intel import root_certificate
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.enclave.platform.synthetic_pki import Configuration, raw_signature
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64, EnclaveReport
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.primitives import fingerprint
from tests.support.synthetic_tdx import (
    MODULE,
    SEPT_VE_DISABLE,
    TDX_10,
    TDX_15,
    XFAM,
    BentPki,
    TdReport,
    TdxPki,
    sgx_quote,
    sign_sgx,
    sign_tdx,
    tdx_quote,
)

NOW = 1_790_000_000
DAY = 86400
FOUNDED = NOW - 1000
SEED = bytes(32)
ENCLAVE = EnclaveReport(
    measurement=b"\x01" * 32, signer=b"\x02" * 32, product_id=3, svn=4, report_data=bytes(range(64))
)
NO_CHANGE: Mapping[str, Any] = MappingProxyType({})
KINDS = ("sgx", "tdx-4", "tdx-5-10", "tdx-5-15")


@cache
def pki(kind):
    return BentPki(SEED, FOUNDED) if kind == "sgx" else TdxPki(SEED, FOUNDED)


def make(kind, **bent):
    """A quote of that kind, bent as the functions in tests/support/synthetic_tdx.py say."""
    chosen = bent.pop("pki", None) or pki(kind)
    if kind == "sgx":
        return sgx_quote(chosen, ENCLAVE, **bent)
    version, body = {"tdx-4": (4, TDX_15), "tdx-5-10": (5, TDX_10), "tdx-5-15": (5, TDX_15)}[kind]
    options: dict[str, Any] = {"version": version, "body": body} | bent
    return tdx_quote(chosen, **options)


def as_is(statement):
    pass


def collateral_of(chosen, texts=NO_CHANGE, *, tcb_info=as_is, qe_identity=as_is):
    """Collateral whose statements were changed before they were signed, and whose texts afterwards."""
    info, identity = chosen.tcb_info(NOW), chosen.qe_identity(NOW)
    tcb_info(info)
    qe_identity(identity)
    return json.dumps(json.loads(chosen.signed_collateral(info, identity, NOW)) | dict(texts)).encode()


@cache
def good_collateral(kind):
    return pki(kind).collateral(NOW)


def verify(kind, quote, collateral=None, *, root=None, now=NOW):
    function = verify_sgx_quote if kind == "sgx" else verify_tdx_quote
    return function(quote, collateral or good_collateral(kind), root or pki(kind).root_der, now)


def refused(reason, kind, quote, collateral=None, **where):
    with pytest.raises(Untrusted, match=reason) as refusal:
        verify(kind, quote, collateral, **where)
    assert refusal.value.number is Number.EVIDENCE


def refusal_of(kind, quote, collateral=None):
    try:
        verify(kind, quote, collateral)
    except Untrusted as refusal:
        return refusal
    return None


def td(**fields):
    return {"report": TdReport(**fields)}


# What holds


def test_an_sgx_report_says_what_the_quote_says():
    report = verify("sgx", make("sgx"))
    assert report.registers == (("MRENCLAVE", ENCLAVE.measurement),)
    assert (report.signer, report.product_id, report.svn) == (ENCLAVE.signer, 3, 4)
    assert report.report_data == ENCLAVE.report_data
    assert report.root == fingerprint(pki("sgx").root_der)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_tdx_report_says_what_the_quote_says(kind):
    told = TdReport()
    report = verify(kind, make(kind))
    assert report.measurement == told.mr_td + b"".join(told.rtmrs)
    assert [name for name, _ in report.registers] == ["MRTD", "RTMR0", "RTMR1", "RTMR2", "RTMR3"]
    assert report.report_data == told.report_data
    assert (report.td_attributes, report.xfam) == (SEPT_VE_DISABLE, XFAM)
    assert report.mr_seam == told.mr_seam
    assert (report.mr_config_id, report.mr_owner, report.mr_owner_config) == (
        told.mr_config_id,
        told.mr_owner,
        told.mr_owner_config,
    )
    assert report.intel.tcb_status == "UpToDate"


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_the_machine_is_what_the_signed_statements_say(kind):
    chosen = type(pki(kind))(SEED, FOUNDED, Configuration(dynamic_platform=True, cached_keys=False, smt=True))

    def info(statement):
        statement["tcbEvaluationDataNumber"] = 7
        statement["issueDate"] = "2026-09-20T00:00:00Z"
        statement["tcbLevels"][0] |= {"tcbStatus": "SWHardeningNeeded", "advisoryIDs": ["INTEL-SA-00615"]}

    def identity(statement):
        statement["tcbEvaluationDataNumber"] = 5
        statement["issueDate"] = "2026-09-20T00:00:01Z"
        statement["tcbLevels"][0] |= {"tcbDate": "2024-03-13T00:00:00Z", "advisoryIDs": ["INTEL-SA-00001"]}

    report = verify(kind, make(kind, pki=chosen), collateral_of(chosen, tcb_info=info, qe_identity=identity))
    state = report.intel
    assert (state.dynamic_platform, state.cached_keys, state.smt) == (True, False, True)
    assert state.tcb_status == "SWHardeningNeeded"
    assert set(state.advisories) == {"INTEL-SA-00615", "INTEL-SA-00001"}
    assert state.tcb_evaluation_number == 5
    assert state.tcb_date == 1_710_288_000  # 2024-03-13, the earlier one
    assert state.platform_id == chosen.bytes_for(b"ppid", 16)
    assert report.proven_at == 1_789_862_401  # the later one
    assert report.valid_until == NOW + 30 * DAY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("older", ["tcb_info", "qe_identity"])
def test_the_evaluation_number_is_that_of_the_older_statement(kind, older):
    numbers = {"tcb_info": 9, "qe_identity": 9} | {older: 8}
    changes = {name: lambda it, to=to: it.update(tcbEvaluationDataNumber=to) for name, to in numbers.items()}
    assert verify(kind, make(kind), collateral_of(pki(kind), **changes)).intel.tcb_evaluation_number == 8


def test_a_certificate_that_states_no_configuration_leaves_it_open():
    state = verify("sgx", make("sgx")).intel
    assert (state.dynamic_platform, state.cached_keys, state.smt) == (None, None, None)


# The TD

TD_ATTRIBUTES = {
    **dict.fromkeys([0], "debug enclave or TD"),
    **dict.fromkeys([*range(1, 8)], "open to profiling"),
    **dict.fromkeys([*range(8, 27)], "attributes that are reserved"),
    **dict.fromkeys([28], "SEPT_VE_DISABLE is off"),
    **dict.fromkeys([29], "moved to another machine"),
    **dict.fromkeys([*range(32, 63)], "attributes that are reserved"),
}


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_td_with_any_attribute_that_opens_it_is_refused(kind):
    for bit, reason in TD_ATTRIBUTES.items():
        refused(reason, kind, make(kind, **td(td_attributes=SEPT_VE_DISABLE ^ 1 << bit)))


@pytest.mark.parametrize("bit", sorted({*range(64)} - set(TD_ATTRIBUTES)))
def test_a_td_may_use_features_and_performance_counters(bit):
    assert bit in (27, 30, 31, 63)
    attributes = SEPT_VE_DISABLE | 1 << bit
    assert verify("tdx-4", make("tdx-4", **td(td_attributes=attributes))).td_attributes == attributes


@pytest.mark.parametrize(
    "xfam",
    [0, 0x1, 0x2, XFAM & ~0x2, XFAM | 1 << 3, XFAM | 1 << 19, XFAM | 1 << 63, 0x23, 0xC7, 0xE3, 0x803, 0x1003, 0x20003],
    ids=hex,
)
def test_a_set_of_features_that_no_module_allows_is_refused(xfam):
    refused("XFAM", "tdx-4", make("tdx-4", **td(xfam=xfam)))


@pytest.mark.parametrize("xfam", [0x3, 0x7, 0xE7, 0x207, 0x602E7, 0x618E7, 0x642E7, 0x6DBE7], ids=hex)
def test_sets_of_features_of_real_tds_are_accepted(xfam):
    assert verify("tdx-4", make("tdx-4", **td(xfam=xfam))).xfam == xfam


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_module_that_is_not_intels_is_refused(kind):
    """Also where signed TCB info names that signer, or leaves the attributes open."""
    refused("not a production module", kind, make(kind, **td(mr_signer_seam=b"\x01".rjust(48, b"\x00"))))
    refused("not a production module", kind, make(kind, **td(seam_attributes=1 << 63)))

    def info(statement):
        for module in (statement["tdxModule"], *statement["tdxModuleIdentities"]):
            module["mrsigner"] = "11" * 48

    others = collateral_of(pki(kind), tcb_info=info)
    refused("not a production module", kind, make(kind, **td(mr_signer_seam=b"\x11" * 48)), others)


def test_a_service_td_that_nobody_appraised_is_refused():
    for bound in (b"\x01".ljust(48, b"\x00"), b"\x01".rjust(48, b"\x00")):
        refused("which nobody appraised", "tdx-5-15", make("tdx-5-15", **td(mr_service_td=bound)))


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("reserved", [b"\x01\x00\x00\x00", b"\x00\x00\x00\x01"], ids=["first", "last"])
def test_reserved_fields_of_the_header_are_zero(kind, reserved):
    refused("reserved fields", kind, make(kind, reserved=reserved))


def levels(*, svn, status, date="2020-01-01T00:00:00Z"):
    """Adds a level for older modules to what Intel says of the module and of the platform."""

    def change(statement):
        level = {"tcbDate": date, "tcbStatus": status}
        identity = {"tcb": {"isvsvn": svn}} | level
        statement["tdxModuleIdentities"][0]["tcbLevels"].append(identity)
        below = json.loads(json.dumps(statement["tcbLevels"][0]["tcb"]))
        below["tdxtcbcomponents"][0]["svn"] = svn
        statement["tcbLevels"].append({"tcb": below} | level)

    return change


RUNS_OLDER = td(tee_tcb_svn2=bytes((1, MODULE[1])) + bytes(14))
STARTED_OLDER = td(tee_tcb_svn=bytes((1, MODULE[1])) + bytes(14))


def test_a_module_that_is_older_than_at_the_start_makes_the_machine_out_of_date():
    """The library calls this up to date."""
    collateral = collateral_of(pki("tdx-5-15"), tcb_info=levels(svn=1, status="OutOfDate"))
    state = verify("tdx-5-15", make("tdx-5-15", **RUNS_OLDER), collateral).intel
    assert state.tcb_status == "OutOfDate"
    assert state.tcb_date == 1_577_836_800


def component(status):
    """Of the third component of a TDX module: version 4 is the best, 1 has this status and an advisory."""

    def change(statement):
        best = statement["tcbLevels"][0]
        best["tcb"]["tdxtcbcomponents"][2]["svn"] = 4
        older = json.loads(json.dumps(best["tcb"]))
        older["tdxtcbcomponents"][2]["svn"] = 1
        level = {"tcbDate": "2020-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": ["INTEL-SA-09999"]}
        statement["tcbLevels"].append({"tcb": older} | level)

    return change


@pytest.mark.parametrize("status", ["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate"])
def test_whatever_is_wrong_with_the_module_that_runs_is_wrong_with_the_machine(status):
    """The library looks at the one of the start, but for revocation."""
    quote = make(
        "tdx-5-15",
        **td(
            tee_tcb_svn=bytes((*MODULE[:2], 4)) + bytes(13),
            tee_tcb_svn2=bytes((*MODULE[:2], 1)) + bytes(13),
        ),
    )
    state = verify("tdx-5-15", quote, collateral_of(pki("tdx-5-15"), tcb_info=component(status))).intel
    assert (state.tcb_status, state.advisories) == (status, ("INTEL-SA-09999",))


def test_a_module_that_runs_though_revoked_is_refused():
    collateral = collateral_of(pki("tdx-5-15"), tcb_info=levels(svn=1, status="Revoked"))
    refused("Revoked", "tdx-5-15", make("tdx-5-15", **RUNS_OLDER), collateral)


def test_a_module_updated_since_the_start_does_not_make_the_machine_up_to_date():
    collateral = collateral_of(pki("tdx-5-15"), tcb_info=levels(svn=1, status="OutOfDate"))
    state = verify("tdx-5-15", make("tdx-5-15", **STARTED_OLDER), collateral).intel
    assert state.tcb_status == "TDRelaunchAdvised"
    assert state.tcb_date == 1_577_836_800


def test_the_date_of_a_machine_is_not_after_that_of_its_module():
    """A grace for machines that are out of date counts from it."""

    def info(statement):
        later = {"tcb": {"isvsvn": 9}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"}
        older = {"tcb": {"isvsvn": 1}, "tcbDate": "2018-01-01T00:00:00Z", "tcbStatus": "OutOfDate"}
        reached = {"tcb": {"isvsvn": 3}, "tcbDate": "2020-01-01T00:00:00Z", "tcbStatus": "OutOfDate"}
        statement["tdxModuleIdentities"][0]["tcbLevels"] = [later, reached, older]

    state = verify("tdx-4", make("tdx-4"), collateral_of(pki("tdx-4"), tcb_info=info)).intel
    assert (state.tcb_status, state.tcb_date) == ("OutOfDate", 1_577_836_800)


# The enclave


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (INIT | MODE64 | 0x02, "debug enclave"),
        (MODE64, "not those of an initialised"),
        (INIT, "not those of an initialised"),
        (0, "not those of an initialised"),
    ],
)
def test_an_enclave_that_is_not_for_production_is_refused(flags, reason):
    refused(reason, "sgx", sgx_quote(pki("sgx"), replace(ENCLAVE, flags=flags)))


# The form


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["after_chain", "after_certification", "after_signatures", "after"])
@pytest.mark.parametrize("what", [b"\x00", b"\x00\x00", b"smuggled"], ids=repr)
def test_bytes_that_no_signature_covers_are_refused(kind, where, what):
    if kind == "sgx" and where == "after_certification":
        where = "after_signatures"  # nothing is nested there
    reason = "not exactly 3 certificates" if where == "after_chain" else "not exactly as long"
    refused(reason, kind, make(kind, parts={where: what}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_quote_cut_anywhere_is_refused(kind):
    quote = make(kind)
    for size in range(len(quote)):
        refused("cut short", kind, quote[:size])


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_before_the_signatures_is_covered_by_them(kind):
    quote = make(kind)
    signed = len(quote) - len(make(kind, parts={"chain": b""})) + quote.index(b"-----BEGIN")  # beyond the report
    ends = {"sgx": 432, "tdx-4": 632, "tdx-5-10": 638, "tdx-5-15": 702}[kind]
    assert ends < signed
    for at in (*range(0, ends, 5), ends - 1):
        bent = bytearray(quote)
        bent[at] ^= 0x10
        with pytest.raises(Untrusted):
            verify(kind, bytes(bent))


@pytest.mark.parametrize("kind", ["sgx", "tdx-4"])
@pytest.mark.parametrize(
    "bend",
    [
        lambda pem: b"",
        lambda pem: b"hidden\n" + pem,
        lambda pem: pem.replace(b"-----BEGIN", b"hidden\n-----BEGIN"),
        lambda pem: pem + pem[pem.rindex(b"-----BEGIN") :],
        lambda pem: pem[: pem.rindex(b"-----BEGIN")],
        lambda pem: pem[: pem.rindex(b"-----BEGIN")] + b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem.replace(b"\n", b" \n"),
        lambda pem: pem[:100] + b"\n" + pem[100:],
        lambda pem: pem.removesuffix(b"\n"),
        lambda pem: pem + b"\x00\x00",
        lambda pem: pem.replace(b"CERTIFICATE", b"X509 CRL"),
        lambda pem: pem.replace(b"=\n-----END", b"\n-----END", 1),
        lambda pem: pem[:200] + b"=" + pem[201:],
        lambda pem: re.sub(rb"([A-Za-z0-9+/])(=+\n-----END)", lambda it: bytes([it[1][0] + 1]) + it[2], pem, count=1),
    ],
    ids=[
        "empty",
        "text before",
        "text between",
        "a fourth certificate",
        "no root",
        "an empty root",
        "line ends",
        "blanks",
        "line lengths",
        "no end",
        "NULs",
        "not certificates",
        "padding",
        "stray padding",
        "bits left over",
    ],
)
def test_nothing_hides_between_certificates(kind, bend):
    refused("not exactly 3 certificates", kind, make(kind, parts={"chain": bend(pki(kind).pck_chain)}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_without_the_final_nul_is_accepted(kind):
    verify(kind, make(kind, parts={"chain": pki(kind).pck_chain}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 6, 7, 0xFFFF])
def test_certification_data_of_another_type_is_refused(kind, number):
    refused("does not carry its certificate chain", kind, make(kind, parts={"kind": number}))
    if kind != "sgx":
        refused("does not carry its certificate chain", kind, make(kind, parts={"outer_kind": number % 6}))


@pytest.mark.parametrize("kind", KINDS)
def test_authentication_data_of_another_length_is_refused(kind):
    for size in (0, 31, 33, 1000):
        refused("auth data length", kind, make(kind, parts={"authentication": bytes(size) or b""}))


@pytest.mark.parametrize(
    "body", [(1, 384), (2, 648), (3, 584), (4, 648), (3, 649), (3, 0), (3, 2**32 - 1), (0xFFFF, 648)]
)
def test_a_descriptor_of_another_report_is_refused(body):
    refused("neither of TDX 1.0 nor of TDX 1.5", "tdx-5-15", make("tdx-5-15", body=body))


@pytest.mark.parametrize(
    ("version", "tee"), [(3, 0x81), (4, 0), (5, 0), (2, 0), (6, 0x81), (0, 0), (0xFFFF, 0x81), (4, 1)]
)
def test_other_versions_are_refused(version, tee):
    for kind in ("sgx", "tdx-4"):
        refused("neither an SGX quote of version 3 nor", kind, make(kind, version=version, tee=tee))


def test_one_kind_of_quote_never_passes_for_the_other():
    refused("not a TDX quote", "tdx-4", make("sgx"))
    refused("not an SGX quote", "sgx", make("tdx-4"))
    refused("not an SGX quote", "sgx", make("tdx-5-15"))
    refused("QE Identity id", "tdx-4", make("tdx-4"), good_collateral("sgx"))
    refused("QE Identity id", "sgx", make("sgx"), good_collateral("tdx-4"))
    # The report of a TD behind the header of an enclave, and the other way round, each signed as a whole.
    enclave, guest = make("sgx")[:432], make("tdx-4")[:632]
    refused("cut short|not exactly as long|certificate chain", "sgx", sign_sgx(pki("sgx"), enclave[:48] + guest[48:]))
    refused(
        "cut short|not exactly as long|certificate chain", "tdx-4", sign_tdx(pki("tdx-4"), guest[:48] + enclave[48:])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_another_key_type_or_vendor_is_refused(kind):
    refused("key type", kind, make(kind, key_type=3))
    refused("vendor", kind, make(kind, vendor=bytes(16)))


# The collateral, and who signs it


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("statement", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize("chain", ["PCK, issuer", "PCK, root", "PCK, issuer, root", "PCK"])
def test_a_key_taken_out_of_a_machine_cannot_declare_it_up_to_date(kind, statement, chain):
    """A PCK certificate is Intel's too; the library takes it as one that signs TCB info."""
    chosen = pki(kind)
    forged = chosen.tcb_info(NOW) if statement == "tcb_info" else chosen.qe_identity(NOW)
    forged["tcbEvaluationDataNumber"] = 99
    exact = json.dumps(forged)
    pck, issuer, root = chosen.pck_pem
    texts = {
        statement: exact,
        f"{statement}_signature": raw_signature(chosen.pck_key, exact.encode()).hex(),
        f"{statement}_issuer_chain": "".join(
            {"PCK": pck, "issuer": issuer, "root": root}[it] for it in chain.split(", ")
        ),
    }
    reason = {
        "PCK, issuer": "does not end in the root",
        "PCK, root": "does not verify: Failed to verify certificate chain",
    }.get(chain, "not exactly 2 certificates")
    refused(reason, kind, make(kind), collateral_of(chosen, texts))


@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_in_the_collateral_never_stands_in_for_that_of_the_quote(kind):
    chain = pki(kind).pck_chain.decode()
    refused("collateral does not parse", kind, make(kind), collateral_of(pki(kind), {"pck_certificate_chain": chain}))


@pytest.mark.parametrize("kind", KINDS)
def test_another_root_is_refused_whatever_it_is_called(kind):
    attacker = type(pki(kind))(b"\x01" * 32, FOUNDED)
    quote, collateral = make(kind, pki=attacker), attacker.collateral(NOW)
    verify(kind, quote, collateral, root=attacker.root_der)
    refused("does not end in the root", kind, quote, collateral)
    refused("does not end in the root", kind, quote)
    refused("does not end in the root", kind, make(kind), collateral)


def test_software_never_passes_for_hardware():
    with pytest.raises(Untrusted, match="does not end in the root that is trusted"):
        verify_sgx_quote(make("sgx"), good_collateral("sgx"), None, NOW)
    with pytest.raises(Untrusted, match="does not end in the root that is trusted"):
        verify_tdx_quote(make("tdx-4"), good_collateral("tdx-4"), None, NOW)


def test_the_root_certificate_of_a_quote_is_its_last():
    for kind in KINDS:
        assert root_certificate(make(kind)) == pki(kind).root_der
    with pytest.raises(Untrusted):
        root_certificate(make("sgx") + b"\x00")


@pytest.mark.parametrize("kind", KINDS)
def test_an_expired_root_is_refused_and_a_root_that_expires_limits_the_verdict(kind):
    """The library takes the root as given."""
    old = type(pki(kind))(SEED, FOUNDED, root_founded_at=NOW - 3650 * DAY - 1)
    refused("expired", kind, make(kind, pki=old), old.collateral(NOW), root=old.root_der)
    ends = type(pki(kind))(SEED, FOUNDED, root_founded_at=NOW - 3645 * DAY)
    assert verify(kind, make(kind, pki=ends), ends.collateral(NOW), root=ends.root_der).valid_until == NOW + 5 * DAY


@pytest.mark.parametrize("kind", KINDS)
def test_collateral_out_of_its_time_is_refused(kind):
    assert verify(kind, make(kind), now=NOW + 30 * DAY - 1).valid_until == NOW + 30 * DAY
    refused("[Ee]xpired", kind, make(kind), now=NOW + 30 * DAY)
    refused("in the future", kind, make(kind), now=NOW - 301)
    for statement in ("tcb_info", "qe_identity"):
        late = {statement: lambda it: it.update(nextUpdate="2026-01-01T00:00:00Z")}
        refused("expired", kind, make(kind), collateral_of(pki(kind), **late))
        early = {statement: lambda it: it.update(issueDate="2027-01-01T00:00:00Z")}
        refused("in the future", kind, make(kind), collateral_of(pki(kind), **early))


@pytest.mark.parametrize("now", [-1, 0, 2**62, 2**63, 2**64, 10**30])
def test_a_time_that_cannot_be_is_refused(now):
    for kind in KINDS:
        refused("does not verify", kind, make(kind), now=now)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Development SGX PCK Certificate", "Development SGX PCK Platform CA"])
def test_a_revoked_machine_is_refused(kind, name):
    gone = type(pki(kind))(SEED, FOUNDED, revoked=[name])
    refused("CertRevoked", kind, make(kind, pki=gone), gone.collateral(NOW))


@pytest.mark.parametrize("kind", KINDS)
def test_what_intel_says_of_other_machines_is_refused(kind):
    refused("PCE id", kind, make(kind), collateral_of(pki(kind), tcb_info=lambda it: it.update(pceId="0001")))
    refused("Fmspc", kind, make(kind), collateral_of(pki(kind), tcb_info=lambda it: it.update(fmspc="00906ED50000")))
    refused(
        "QE MRSIGNER", kind, make(kind), collateral_of(pki(kind), qe_identity=lambda it: it.update(mrsigner="11" * 32))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_without_a_name_is_refused(kind):
    nameless = type(pki(kind))(SEED, FOUNDED, identifiers={b"ppid": bytes(15)})
    refused("does not name the machine|does not verify", kind, make(kind, pki=nameless), nameless.collateral(NOW))


@pytest.mark.parametrize("kind", ["sgx", "tdx-4"])
def test_a_revoked_level_is_refused_and_every_other_status_is_left_to_the_policy(kind):
    for status in ("OutOfDate", "ConfigurationNeeded", "SWHardeningNeeded", "OutOfDateConfigurationNeeded"):
        collateral = collateral_of(pki(kind), tcb_info=lambda it, to=status: it["tcbLevels"][0].update(tcbStatus=to))
        assert verify(kind, make(kind), collateral).intel.tcb_status == status
    for part in ("tcb_info", "qe_identity"):
        change = {part: lambda it: it["tcbLevels"][0].update(tcbStatus="Revoked")}
        refused("Revoked", kind, make(kind), collateral_of(pki(kind), **change))


NO_COLLATERAL = {
    "empty": b"",
    "not JSON": b"\x00",
    "not UTF-8": b'{"tcb_info": "\xff"}',
    "a surrogate": b'{"tcb_info": "\\ud800"}',
    "a list": b"[]",
    "null": b"null",
    "no field": b"{}",
    "deep": b"[" * 60_000,
    "deep field": b'{"x":' * 10_000,
    "long number": b"1" * 60_000,
}


@pytest.mark.parametrize("collateral", NO_COLLATERAL.values(), ids=NO_COLLATERAL)
def test_collateral_that_is_none_is_refused(collateral):
    with pytest.raises(Untrusted, match="collateral does not parse"):
        verify_sgx_quote(make("sgx"), collateral, pki("sgx").root_der, NOW)


@pytest.mark.parametrize("field", json.loads(BentPki(SEED, FOUNDED).collateral(NOW)))
def test_every_field_of_the_collateral_is_needed(field):
    whole = json.loads(good_collateral("tdx-4"))
    without = {name: value for name, value in whole.items() if name != field}
    for bent in (without, whole | {field: None}, whole | {field: 1}, whole | {"more": ""}):
        refused("collateral does not parse", "tdx-4", make("tdx-4"), json.dumps(bent).encode())
    for nonsense in ("", "zz", "é", "\x00", "0", "00", "\ud7ff" * 9):
        if field != "pck_crl_issuer_chain":  # only its dates are looked at, and they can only shorten
            with pytest.raises(Untrusted):
                verify("tdx-4", make("tdx-4"), json.dumps(whole | {field: nonsense}).encode())


@pytest.mark.parametrize("statement", ["tcb_info", "qe_identity"])
def test_signed_nonsense_is_refused(statement):
    """Even of a root that somebody trusts: nothing but a refusal comes of it."""
    chosen = pki("tdx-4")
    key = chosen._tcb_key
    whole = chosen.tcb_info(NOW) if statement == "tcb_info" else chosen.qe_identity(NOW)
    nonsense: list[Any] = [None, [], {}, -1, 2**70, "\x1b[2J", "x" * 999]
    exacts = ["", "null", "[]", "[" * 20_000, '{"x":' * 9_000 + "1" + "}" * 9_000]
    for field in whole:
        exacts.append(json.dumps({name: value for name, value in whole.items() if name != field}))
        exacts += [json.dumps(whole | {field: wrong}) for wrong in nonsense]
    exacts.append(json.dumps(whole)[:-1] + ',"more":' + "[" * 120 + "]" * 120 + "}")
    for exact in exacts:
        texts = {statement: exact, f"{statement}_signature": raw_signature(key, exact.encode()).hex()}
        refusal = refusal_of("tdx-4", make("tdx-4"), collateral_of(chosen, texts))
        assert refusal is None or (str(refusal).isascii() and str(refusal).isprintable())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6)), min_size=1, max_size=4))
def test_whatever_is_written_into_a_quote_only_a_refusal_comes_of_it(kind, writes):
    quote = bytearray(make(kind))
    for at, data in writes:
        quote[at : at + len(data)] = data
    refusal = refusal_of(kind, bytes(quote))
    assert refusal is None or refusal.number is Number.EVIDENCE
