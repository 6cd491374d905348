"""The platform without hardware, for development and tests: INSECURE, whoever runs the machine can read everything.

All that a processor would keep for itself stands in one file of a state directory that the Vault and the
Authenticator of a machine share, as enclaves of one machine share its processor.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from strongroom.enclave.platform.machine_network import MachineNetwork
from strongroom.enclave.platform.measurement import PRODUCT_IDS, measure
from strongroom.enclave.platform.port import Quoted, SealingKey
from strongroom.enclave.platform.synthetic_pki import SyntheticPki
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import PlatformKind, Role
from strongroom.protocol.primitives import Domain, derive_key, digest, fingerprint

SIGNER: Final = digest(Domain.MEASUREMENT, b"insecure software signer")
"""MRSIGNER of every software enclave: nobody signed it."""
SVN: Final = 1

_MACHINE_FILE: Final = "insecure-machine-secret"
_SECRET: Final = 32
_DATE: Final = 8


class InsecureSoftware(MachineNetwork):
    """`Platform` in software. `state` is the machine's directory; it is made, 0700, at first use."""

    def __init__(self, role: Role, state: Path) -> None:
        self._secret, founded_at = _machine(state)
        self._role: Final = role
        self._measurement: Final = measure(role)
        self._pki: Final = SyntheticPki(self._secret, founded_at)
        self._root: Final = fingerprint(self._pki.root_der)

    @property
    def kind(self) -> PlatformKind:
        return "insecure-software"

    @property
    def roots(self) -> tuple[bytes, ...]:
        return (self._root,)

    def now(self) -> float:
        return time.time()

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def quote(self, report_data: bytes) -> Quoted:
        """Raises ValueError unless there are exactly 64 bytes to quote."""
        if len(report_data) != 64:
            raise ValueError("report data are 64 bytes")
        report = EnclaveReport(self._measurement, SIGNER, PRODUCT_IDS[self._role], SVN, report_data)
        return Quoted(synthetic_quote(self._pki, report), self._pki.collateral(int(time.time())))

    def sealing_key(self) -> SealingKey:
        # Bound to the exact measurement, never to the signer: a signed update must not open what this one sealed.
        key = derive_key(self._secret, Domain.PLATFORM_SEALING, self._measurement)
        return SealingKey(key, f"insecure software, program {self._measurement.hex()}")

    def development_custodian(self) -> bytes | None:
        # Not bound to the measurement: it recovers a ring after the code, and with it the sealing key, has changed.
        return derive_key(self._secret, Domain.PLATFORM_SEALING, b"development custodian", self._role.encode())


def _machine(state: Path) -> tuple[bytes, int]:
    """The machine's secret (32 bytes) and the date of its making, unix seconds."""
    path = state / _MACHINE_FILE
    if not path.exists():
        _make_machine(state, path)
    stored = path.read_bytes()
    if len(stored) != _SECRET + _DATE:
        raise Untrusted(Number.INTEGRITY, f"{_MACHINE_FILE} has the wrong size")
    return stored[:_SECRET], int.from_bytes(stored[_SECRET:], "big")


def _make_machine(state: Path, path: Path) -> None:
    """Vault and Authenticator may start at once: each writes a file of its own, and `link` lets exactly one be the
    machine's, complete from the first moment that it can be seen."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = state / f".{_MACHINE_FILE}-{os.urandom(8).hex()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(os.urandom(_SECRET) + int(time.time()).to_bytes(_DATE, "big"))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # the other process was first: its machine is ours
    finally:
        draft.unlink()
