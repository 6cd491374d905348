"""What stands in for MRENCLAVE without hardware: a digest of the files that an enclave is made of.

It is read from disk at start, so it proves nothing against whoever runs the machine. It serves to run the one
appraisal path for real, and to make every change of measured code visible in development.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import strongroom
from strongroom.protocol.evidence import Role
from strongroom.protocol.primitives import Domain, digest

PRODUCT_IDS: Final[dict[Role, int]] = {"vault": 1, "authenticator": 2}

CLOSURES: Final[dict[Role, tuple[str, ...]]] = {
    "authenticator": (
        "cbor2",
        "cedarpy",
        "certifi",
        "cffi",
        "cryptography",
        "dcap-qvl",
        "h11",
        "joserfc",
        "msgspec",
        "pycparser",
        "shamir-mnemonic",
    ),
    "vault": (
        "cbor2",
        "cffi",
        "cryptography",
        "dcap-qvl",
        "msgspec",
        "pycparser",
        "shamir-mnemonic",
    ),
}
"""Installed distributions that each enclave may import, and theirs; `make tcb` copies them out of the locks."""


@cache
def measure(role: Role) -> bytes:
    """Measurement (32 bytes): sorted paths and contents of the measured files, versions of what they import.

    Once a process: what is on the disk later is another program.
    """
    root = Path(strongroom.__file__).parent
    parts = [role.encode()]
    for path in sorted(measured_files(role), key=lambda path: path.relative_to(root).as_posix()):
        parts += [path.relative_to(root).as_posix().encode(), path.read_bytes()]
    parts.append(f"python=={platform.python_version()}".encode())
    parts += [f"{name}=={_version(name)}".encode() for name in CLOSURES[role]]
    return digest(Domain.MEASUREMENT, *parts)


def measured_files(role: Role) -> Iterator[Path]:
    """Every file of this package that an enclave of this role may run."""
    root = Path(strongroom.__file__).parent
    rooms = ("protocol", "attestation", "enclave/runtime", "enclave/platform", f"enclave/{role}")
    for room in rooms:
        yield from (root / room).rglob("*.py")
    # Importing a package runs the __init__ of every package around it.
    for package in ("", "enclave", "enclave/entries"):
        yield root / package / "__init__.py"
    yield root / "enclave" / "entries" / f"insecure_software_{role}.py"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
