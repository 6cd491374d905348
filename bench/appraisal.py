"""`python -m bench.appraisal`: what it costs to verify evidence, in milliseconds of one core.

Each figure is CPU time (`time.process_time`) of one call from bytes to verified report: that other processes use the
machine shows in it through shared caches only. Beside it stands the ratio to a P-256 verification, measured in the same
run, and the figure "at reference speed": divided by how slow this machine is now (`bench.calibration`). A promise is
reached when the median at reference speed keeps it. Synthetic evidence is always there; evidence of real hardware only
where it lies beside the clone.

The verifiers keep two things from call to call: AMD's two issuers, verified once for the bytes that are pinned
(`amd_chain`), and which of AWS's authorities issued which (`nitro`). "cold" forgets them before each call, "warm" keeps
them. Nothing else is remembered. As a proof that each call does its work, a forgery of one bit is shown as often as the
genuine evidence, not measured, and must be refused.
"""

from __future__ import annotations

import functools
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.calibration import microseconds, slowness
from strongroom.attestation import amd_chain, nitro
from strongroom.attestation.snp import verify_snp_report
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.primitives import Domain, SigningKey, verify_signature
from tests.fuzz import subjects
from tests.fuzz.subjects import KINDS, NOW, Parts
from tests.support import synthetic_snp

RUNS: Final = int(os.environ.get("BENCH_RUNS", "200"))
WARM_UP: Final = 20
PROMISED: Final = {"sgx": 1.5, "tdx": 1.5, "snp": 3.0, "nitro": 5.0}
"""Milliseconds, by platform."""
SIGNED_AT: Final = {"sgx": 48 + 64, "tdx": 300, "snp": 0x90, "nitro": -10}
"""Where a bit is flipped: a place that the hardware's signature alone protects; in a document, that signature."""


def keep() -> None:
    """Forgets nothing."""


@dataclass(frozen=True)
class Case:
    """Evidence, and the function that verifies it."""

    what: str
    platform: str
    verify: Callable[..., object]
    parts: Parts
    """The quote is the last but one, or the only one."""
    forget: Callable[[], None] = keep

    def forgery(self) -> Parts:
        at = max(len(self.parts) - 2, 0)
        quote = bytearray(self.parts[at])
        quote[SIGNED_AT[self.platform]] ^= 1
        return (*self.parts[:at], bytes(quote), *self.parts[at + 1 :])


def synthetic() -> Iterator[Case]:
    yield Case("SGX", "sgx", subjects.sgx().read, subjects.sgx().seeds[0])
    for version, parts in zip(("4", "5 (1.0)", "5 (1.5)"), subjects.tdx().seeds, strict=True):
        yield Case(f"TDX, version {version}", "tdx", subjects.tdx().read, parts)
    # AMD's issuers have keys of 4,096 bits; those of the tests are smaller.
    chip = synthetic_snp.Amd("Genoa", root="bench", bits=4096)
    verify = functools.partial(verify_snp_report, now=NOW, chains=chip.chains)
    crl = chip.crl(synthetic_snp.Revoked(7))
    for what, collateral in (("", chip.collateral()), (", revocation list", chip.collateral(crl=crl))):
        for state, forget in (("warm", keep), ("cold", amd_chain._issuers.cache_clear)):
            yield Case(f"SNP, VCEK{what}, {state}", "snp", verify, (chip.report(), collateral), forget)
    for state, forget in (("warm", keep), ("cold", nitro._verify_authority_issued.cache_clear)):
        yield Case(f"Nitro, {state}", "nitro", subjects.nitro().read, subjects.nitro().seeds[0], forget)


def real() -> Iterator[Case]:
    counts = dict.fromkeys(KINDS, 0)
    for parts in subjects.real():
        kind = KINDS[parts[0][0]]
        counts[kind] += 1
        if counts[kind] <= 2:
            yield Case(f"{kind.upper()}, of hardware ({counts[kind]})", kind, subjects.quote().read, parts)


def measure(case: Case) -> list[float]:
    """Milliseconds of each call."""
    found = []
    forgery = case.forgery()
    for run in range(WARM_UP + RUNS):
        case.forget()
        fresh = tuple(bytes(bytearray(part)) for part in case.parts)
        began = time.process_time()
        case.verify(*fresh)
        taken = time.process_time() - began
        if run >= WARM_UP:
            found.append(1e3 * taken)
        try:
            case.verify(*forgery)
        except Untrusted:
            continue
        raise RuntimeError(f"{case.what}: a forgery was accepted, so what was measured is no verification")
    return found


def p256_verify() -> float:
    """Milliseconds of CPU time."""
    key = SigningKey.generate()
    public, signature = key.public, key.sign(Domain.PROOF, b"")
    return microseconds(lambda: verify_signature(public, signature, Domain.PROOF, b""), 200) / 1e3


def main() -> int:
    """Status 1 when a promise is not reached."""
    cases = [*synthetic(), *real()]
    print(f"{'verified':<34}{'promise':>8}{'median':>8}{'p95':>8}{'at reference':>14}{'P-256 verify':>14}")
    broken = 0
    for case in cases:
        gc.collect()
        # Before and after: machines change their pace within seconds.
        before, unit = slowness()[0], p256_verify()
        times = measure(case)
        slow = (before + slowness()[0]) / 2
        median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        reached = median / slow < PROMISED[case.platform]
        broken += not reached
        print(
            f"{case.what:<34}{PROMISED[case.platform]:>8.1f}{median:>8.2f}{p95:>8.2f}{median / slow:>14.2f}"
            f"{median / unit:>12.1f} ×  {'reached' if reached else 'NOT REACHED'} ({slow:.1f} × the reference)",
            flush=True,
        )
    if not subjects.VECTORS.is_dir():
        print("evidence of real hardware: not measured, there is none beside this clone")
    return 1 if broken else 0


if __name__ == "__main__":
    print(f"Python {sys.version.split()[0]}, {RUNS} runs a figure, milliseconds of CPU time of one core")
    sys.exit(main())
