"""Somebody's enclaves on every platform, their quotes, and policies that accept exactly these.

`machines["tdx"].quote(challenge)` is genuine under a root of our own; with `trusting_our_roots` that root stands in the
place of the maker's. `machines["insecure-software"]` needs no such thing: its root is named by policies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from strongroom.attestation import verification
from strongroom.attestation.nitro import verify_nitro_document
from strongroom.attestation.policy import NitroMeasurement, RolePolicy, TdxMeasurement
from strongroom.attestation.snp import verify_snp_report
from strongroom.enclave.platform.insecure_software import SIGNER
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64, EnclaveReport
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import PlatformKind
from strongroom.protocol.instructions import EnclaveMethod, EnclavePublic, Workload, method_digest
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.sign_in_messages import EnclaveSignIn, SignedIn
from tests.support import policies
from tests.support.evidence import MEASUREMENT, NOW, pki
from tests.support.passkeys import Begun, ChallengeDesk
from tests.support.synthetic_nitro import SyntheticNitro, pcr
from tests.support.synthetic_snp import MEASUREMENT as SNP_MEASUREMENT
from tests.support.synthetic_snp import amd
from tests.support.synthetic_tdx import BentPki, TdReport, TdxPki, sgx_quote, tdx_quote
from tests.support.world import Platform

FOUNDED = NOW - 1000
SEED = bytes(32)
SGX_PKI, TDX_PKI, AMD, AWS = BentPki(SEED, FOUNDED), TdxPki(SEED, FOUNDED), amd("Genoa"), SyntheticNitro()
TD = TdReport()
Quote = tuple[bytes, bytes]
"""Quote and collateral."""


@dataclass(frozen=True)
class Machine:
    """One platform: how a workload on it quotes, and the section of a policy that accepts that one."""

    quote: Callable[..., Quote]
    """Of 64 bytes of report data; named arguments bend it."""
    section: Callable[..., Any]
    measurement: bytes

    def policy(self, kind: str, **fields: Any) -> RolePolicy:
        return policies.role(**{kind.replace("-", "_"): self.section(**fields)})


def report(report_data: bytes, **fields: Any) -> EnclaveReport:
    values: dict[str, Any] = {
        "measurement": MEASUREMENT,
        "signer": SIGNER,
        "product_id": 1,
        "svn": 1,
        "report_data": report_data,
        "flags": INIT | MODE64,
    }
    return EnclaveReport(**values | fields)


def software(report_data: bytes, *, seed: bytes = SEED, issued_at: int = NOW, **fields: Any) -> Quote:
    root = pki(seed)
    return sgx_quote(root, report(report_data, **fields)), root.collateral(issued_at)


def sgx(report_data: bytes, *, issued_at: int = NOW, **fields: Any) -> Quote:
    return sgx_quote(SGX_PKI, report(report_data, **fields)), SGX_PKI.collateral(issued_at)


def tdx(report_data: bytes, *, issued_at: int = NOW, **fields: Any) -> Quote:
    return tdx_quote(TDX_PKI, TdReport(report_data=report_data, **fields)), TDX_PKI.collateral(issued_at)


def snp(report_data: bytes, **fields: Any) -> Quote:
    return AMD.report(report_data=report_data, **fields), AMD.collateral()


def nitro(report_data: bytes, **fields: Any) -> Quote:
    return AWS.document(payload={"user_data": report_data, **fields}), b""


machines: Mapping[str, Machine] = {
    "insecure-software": Machine(
        software,
        lambda **fields: policies.software(
            **{"roots": [fingerprint(pki(SEED).root_der)], "measurements": [MEASUREMENT]} | fields
        ),
        MEASUREMENT,
    ),
    "sgx": Machine(sgx, lambda **fields: policies.sgx(**{"measurements": [MEASUREMENT]} | fields), MEASUREMENT),
    "tdx": Machine(
        tdx,
        lambda **fields: policies.tdx(**{"measurements": [TdxMeasurement(TD.mr_td, *TD.rtmrs)]} | fields),
        TD.mr_td + b"".join(TD.rtmrs),
    ),
    "snp": Machine(snp, lambda **fields: policies.snp(**{"measurements": [SNP_MEASUREMENT]} | fields), SNP_MEASUREMENT),
    "nitro": Machine(
        nitro,
        lambda **fields: policies.nitro(**{"measurements": [NitroMeasurement(pcr(0), pcr(1), pcr(2))]} | fields),
        pcr(0) + pcr(1) + pcr(2),
    ),
}


def trusting_our_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Intel, AMD and AWS had our roots: nobody here can sign by theirs."""
    for name, root in (("sgx", SGX_PKI.root_der), ("tdx", TDX_PKI.root_der)):
        _replace(
            monkeypatch, f"verify_{name}_quote", partial(_below, getattr(verification, f"verify_{name}_quote"), root)
        )
    _replace(monkeypatch, "verify_snp_report", partial(verify_snp_report, chains=AMD.chains))
    _replace(monkeypatch, "verify_nitro_document", partial(verify_nitro_document, root=AWS.root))


def _replace(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    monkeypatch.setattr(verification, name, function)


def _below(
    verify: Callable[..., Any], root: bytes, quote: bytes, collateral: bytes, given: bytes | None, now: int
) -> Any:
    return verify(quote, collateral, given or root, now)


def enclaves_of(**workloads: RolePolicy) -> EnclaveMethod:
    """A method that lists these workloads."""
    listed = [Workload(name=name, policy=encode(policy)) for name, policy in workloads.items()]
    return EnclaveMethod(public=EnclavePublic(names=list(workloads)), workloads=listed)


class EnclaveDesk(ChallengeDesk):
    """An Authenticator and a client that runs in an enclave."""

    def __init__(self, platform: Platform, enclaves: EnclaveMethod) -> None:
        super().__init__(platform)
        self.enclaves = enclaves

    @property
    def enclaves_digest(self) -> bytes:
        return method_digest(encode(self.enclaves))

    async def quote_begin(self, **changes: Any) -> Begun:
        return await self.challenged("enclave", self.enclaves, **changes)

    async def quote_finish(self, begun: Begun, kind: PlatformKind, quoted: Quote, **changes: Any) -> SignedIn:
        quote, collateral = quoted
        fields = {
            "capsule": self.capsule(self.enclaves),
            "handle": begun.handle,
            "kind": kind,
            "quote": quote,
            "collateral": collateral,
            "with_ticket": None,
        }
        reply = await self.service.handle(self.caller(), EnclaveSignIn(**fields | changes))
        assert isinstance(reply, SignedIn)
        return reply

    async def quote_sign_in(self, kind: PlatformKind = "insecure-software", **bent: Any) -> SignedIn:
        begun = await self.quote_begin()
        return await self.quote_finish(begun, kind, machines[kind].quote(begun.challenge + bytes(32), **bent))
