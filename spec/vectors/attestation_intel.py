"""Vectors of SGX and TDX quotes with their collateral, signed up to a root that stands in the vector.

Each refused one is complete and signed all the way, and wrong in the one thing that its name says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from case import Case, Cases, accepted, fixed, flipped, refused

import strongroom
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.enclave.platform.synthetic_pki import Configuration, raw_signature
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64, EnclaveReport
from strongroom.protocol.errors import Number

# Quotes are bent here as they are in the tests.
sys.path.append(str(Path(strongroom.__file__).resolve().parents[2]))
from tests.support.synthetic_tdx import (
    MODULE,
    SEPT_VE_DISABLE,
    BentPki,
    TdReport,
    TdxPki,
    sgx_quote,
    tdx_quote,
)

NOW = 1_790_000_000
DAY = 86400
FOUNDED = NOW - 1000
SEED = fixed("intel pki seed")
CONFIGURATION = Configuration(dynamic_platform=False, cached_keys=True, smt=False)
HERE = "attestation/"
RUN = "verify quote"

Statement = dict[str, Any]
Bad = dict[str, tuple[str, dict[str, Any]]]


def collateral(
    pki: BentPki,
    *,
    info: Callable[[Statement], None] | None = None,
    identity: Callable[[Statement], None] | None = None,
    texts: Statement | None = None,
) -> bytes:
    """Collateral whose statements are changed before they are signed, and whose texts afterwards."""
    tcb_info, qe_identity = pki.tcb_info(NOW), pki.qe_identity(NOW)
    if info:
        info(tcb_info)
    if identity:
        identity(qe_identity)
    found = json.loads(pki.signed_collateral(tcb_info, qe_identity, NOW)) | (texts or {})
    return json.dumps(found, separators=(",", ":")).encode()


def signed_by_pck(pki: BentPki) -> bytes:
    """TCB info under the key of the machine that it is about."""
    exact = json.dumps(pki.tcb_info(NOW) | {"tcbEvaluationDataNumber": 99})
    pck, issuer, _ = pki.pck_pem
    return collateral(
        pki,
        texts={
            "tcb_info": exact,
            "tcb_info_signature": raw_signature(pki.pck_key, exact.encode()).hex(),
            "tcb_info_issuer_chain": pck + issuer,
        },
    )


def other_pce(info: Statement) -> None:
    info["pceId"] = "0001"


def revoked_level(info: Statement) -> None:
    info["tcbLevels"][0]["tcbStatus"] = "Revoked"


def hardening(info: Statement) -> None:
    info["tcbLevels"][0] |= {"tcbStatus": "SWHardeningNeeded", "advisoryIDs": ["INTEL-SA-00615"]}


def older_module(info: Statement) -> None:
    """A further level, for modules of security version 1."""
    level = {"tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "OutOfDate", "advisoryIDs": ["INTEL-SA-01036"]}
    below = json.loads(json.dumps(info["tcbLevels"][0]["tcb"]))
    below["tdxtcbcomponents"][0]["svn"] = 1
    info["tcbLevels"].append({"tcb": below} | level)
    info["tdxModuleIdentities"][0]["tcbLevels"].append({"tcb": {"isvsvn": 1}} | level)


def references(kind: str, of: str | None = None) -> dict[str, Any]:
    """Inputs that are those of the genuine case, of this or the other kind."""
    return {"kind": kind} | dict.fromkeys(("quote", "collateral", "root"), f"@{of or kind}") | {"now": NOW}


def in_common(pki: BentPki, genuine: dict[str, Any], make: Callable[..., bytes]) -> Bad:
    """What is wrong in the same way, but in another form, with quotes of both kinds."""
    quote, given = genuine["quote"], references(genuine["kind"])
    return {
        "signature": (
            "a bit of the report differs from what was signed",
            given | {"quote": flipped(quote, 431)},
        ),
        "trailing-byte": (
            "a byte after the quote's end, which no signature covers",
            given | {"quote": quote + b"\x00"},
        ),
        "hidden-in-chain": (
            "a byte after the PCK chain, counted in its length",
            given | {"quote": make(parts={"after_chain": b"\x00"})},
        ),
        "another-root": (
            "a root of the same name with another key",
            given | {"root": type(pki)(fixed("attacker"), FOUNDED).root_der},
        ),
        "tcb-info-by-pck": (
            "TCB info under the key of a machine, with its true chain up to the root: a machine that was broken into "
            "declares itself up to date",
            given | {"collateral": signed_by_pck(pki)},
        ),
    }


def sgx() -> Cases:
    pki = BentPki(SEED, FOUNDED, CONFIGURATION)

    def enclave(flags: int = INIT | MODE64, **bent: Any) -> bytes:
        report = EnclaveReport(fixed("mrenclave"), fixed("mrsigner"), 3, 4, fixed("report data", 64), flags)
        return sgx_quote(bent.pop("pki", pki), report, **bent)

    genuine = {"kind": "sgx", "quote": enclave(), "collateral": collateral(pki), "root": pki.root_der, "now": NOW}
    given = references("sgx")
    revoked = BentPki(SEED, FOUNDED, CONFIGURATION, revoked=["Development SGX PCK Certificate"])
    old = BentPki(SEED, FOUNDED, CONFIGURATION, root_founded_at=NOW - 3650 * DAY - 1)
    chain = pki.pck_chain.decode()
    yield good("sgx", "an enclave on a machine that is up to date", genuine)
    yield good(
        "sgx-hardening-needed",
        "a status other than up to date is no matter of verification but of policy",
        given | {"collateral": collateral(pki, info=hardening)},
        genuine,
    )
    yield from bad("sgx", in_common(pki, genuine, enclave))
    yield from bad(
        "sgx",
        {
            "debug": ("a debug enclave: its host reads all of it", given | {"quote": enclave(INIT | MODE64 | 2)}),
            "not-initialised": ("the flag INIT is missing", given | {"quote": enclave(MODE64)}),
            "is-tdx": ("a genuine TD in an enclave's place", references("sgx", "tdx")),
            "cut-short": ("the last byte is missing", given | {"quote": genuine["quote"][:-1]}),
            "collateral-expired": ("the collateral's last second is over", given | {"now": NOW + 30 * DAY}),
            "root-expired": (
                "only the root has expired",
                given | {"quote": enclave(pki=old), "collateral": old.collateral(NOW), "root": old.root_der},
            ),
            "machine-revoked": (
                "the list of the PCK issuer names this certificate",
                given | {"collateral": revoked.collateral(NOW)},
            ),
            "level-revoked": (
                "the machine's TCB level is revoked",
                given | {"collateral": collateral(pki, info=revoked_level)},
            ),
            "another-pce": (
                "TCB info of machines with another PCE id",
                given | {"collateral": collateral(pki, info=other_pce)},
            ),
            "pck-chain-in-collateral": (
                "a field that some libraries prefer to the chain in the quote",
                given | {"collateral": collateral(pki, texts={"pck_certificate_chain": chain})},
            ),
        },
    )


def tdx() -> Cases:
    pki = TdxPki(SEED, FOUNDED, CONFIGURATION)

    def guest(**bent: Any) -> bytes:
        fields = {name: bent.pop(name) for name in TdReport.__slots__ if name in bent}
        return tdx_quote(bent.pop("pki", pki), TdReport(report_data=fixed("report data", 64), **fields), **bent)

    genuine = {"kind": "tdx", "quote": guest(), "collateral": collateral(pki), "root": pki.root_der, "now": NOW}
    given = references("tdx")
    yield good("tdx", "a TD, in a quote of version 4", genuine)
    yield good("tdx-5", "a TD of TDX 1.5, in a quote of version 5", given | {"quote": guest(version=5)}, genuine)
    older = bytes((1, MODULE[1])) + bytes(14)
    yield good(
        "tdx-5-module-older-than-at-start",
        "the module that runs now reaches a lower level than the one under which the TD started: the lower one counts",
        given | {"quote": guest(version=5, tee_tcb_svn2=older), "collateral": collateral(pki, info=older_module)},
        genuine,
    )
    yield from bad("tdx", in_common(pki, genuine, guest))
    guests: dict[str, tuple[str, dict[str, Any]]] = {
        "debug": ("a debug TD: its host reads all of it", {"td_attributes": SEPT_VE_DISABLE | 1}),
        "profiled": ("a TD open to profiling", {"td_attributes": SEPT_VE_DISABLE | 1 << 5}),
        "sept-ve": ("SEPT_VE_DISABLE is off", {"td_attributes": 0}),
        "migratable": ("a migration TD may move it", {"td_attributes": SEPT_VE_DISABLE | 1 << 29}),
        "reserved-attribute": ("an attribute that is reserved", {"td_attributes": SEPT_VE_DISABLE | 1 << 32}),
        "xfam": ("a part of AVX-512 without the rest", {"xfam": 0x27}),
        "seam-signer": ("a TDX module that somebody else signed", {"mr_signer_seam": b"\x01" * 48}),
        "seam-attributes": ("a debug TDX module", {"seam_attributes": 1}),
        "header-reserved": ("reserved bytes of the header are not zero", {"reserved": b"\x00\x00\x01\x00"}),
        "5-service-td": ("a service TD is bound to it", {"version": 5, "mr_service_td": b"\x01" * 48}),
        "5-descriptor": ("a size that is not its type's", {"version": 5, "body": (3, 584)}),
    }
    yield from bad("tdx", {name: (what, given | {"quote": guest(**bent)}) for name, (what, bent) in guests.items()})
    yield from bad("tdx", {"is-sgx": ("a genuine enclave in a TD's place", references("tdx", "sgx"))})


def good(name: str, what: str, given: dict[str, Any], whole: dict[str, Any] | None = None) -> Case:
    """An accepted case; `whole` holds what its references stand for."""
    full = {key: (whole or {})[key] if str(value).startswith("@") else value for key, value in given.items()}
    verify = verify_sgx_quote if given["kind"] == "sgx" else verify_tdx_quote
    report = verify(full["quote"], full["collateral"], full["root"], full["now"])
    return accepted(HERE + name, what, RUN, given, report=report)


def bad(kind: str, cases: Bad) -> Cases:
    for name, (what, given) in cases.items():
        yield refused(f"{HERE}{kind}-{name}", what, RUN, given, Number.EVIDENCE, "quote")


def every() -> list[Case]:
    return [*sgx(), *tdx()]
