"""How fast this machine is right now, against the machine that the design's figures were measured on."""

import os
import time
from collections.abc import Callable

from strongroom.protocol.primitives import Domain, KemKey, SigningKey, kem_seal

REFERENCE = {"P-256 sign": 22.0, "HPKE open": 74.0}
"""Microseconds on the reference machine when quiet (design, section 10)."""


def microseconds(work: Callable[[], object], count: int) -> float:
    """CPU time of one call, the best of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(count):
            work()
        rounds.append((time.process_time() - began) / count * 1e6)
    return min(rounds)


def slowness() -> tuple[float, dict[str, float]]:
    """Geometric mean of the ratios to the reference, and what was measured in microseconds."""
    signing, kem = SigningKey.generate(), KemKey(os.urandom(32))
    sealed = kem_seal(kem.public, bytes(32), Domain.HELLO)
    measured = {
        "P-256 sign": microseconds(lambda: signing.sign(Domain.PROOF, b""), 500),
        "HPKE open": microseconds(lambda: kem.open(sealed, Domain.HELLO), 200),
    }
    product = 1.0
    for name, value in measured.items():
        product *= value / REFERENCE[name]
    return product ** (1 / len(measured)), measured
