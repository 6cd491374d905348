"""Says what the hardware will say of each enclave: `python -m tools.measure [KIND-ROLE …]`, by default all of them.

Assembles the image, has the platform's own tool compute or sign, and writes a release file beside the image. What this
machine has no tool or no input for is said in one line each. Exit status: 0 everything measured, 3 something not, 1 a
fault.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple, cast

from strongroom.client.release import Kind, Release, Role, release_text
from strongroom.enclave.platform.measurement import PRODUCT_IDS
from tools import tcb
from tools.closure import ROOT
from tools.image import GLIBC, PYTHON, build

SVN: Final = 1
"""ISVSVN: raised with every release that closes a hole, so that policies can refuse the ones before."""
NOT_HERE: Final = 3
TEMPLATE: Final = ROOT / "images" / "sgx" / "strongroom.manifest.template"
COMMAND_LINES: Final = {
    "tdx": "console=hvc0 quiet panic=-1 random.trust_cpu=on",
    "snp": "console=hvc0 quiet panic=-1 random.trust_cpu=on",
    "nitro": "console=ttyS0 reboot=k panic=30 pci=off nomodules random.trust_cpu=on",
}
"""Of a guest's kernel: they are measured."""

_GRAMINE: Final = "install Gramine 1.9 (https://gramine.readthedocs.io/en/v1.9/installation.html)"


_HEADER: Final = bytes.fromhex("06000000e10000000000010000000000")
_HEADER2: Final = bytes.fromhex("01010000600000006000000001000000")
_DEBUG: Final = 2


class NotHere(Exception):
    """A measurement needs what this machine lacks; the text says what, and how to get it."""


class Inputs(NamedTuple):
    """What only the operator can name."""

    key: Path | None
    """RSA-3072 key for SIGSTRUCT; Gramine's own place for it otherwise."""
    kernel: Path | None
    ovmf: Path | None
    vcpus: int
    vcpu_type: str


class Sigstruct(NamedTuple):
    """What the signature of an SGX enclave states."""

    mrenclave: bytes
    mrsigner: bytes
    product: int
    svn: int
    debug: bool


def parse_sigstruct(data: bytes) -> Sigstruct:
    """Fields of a SIGSTRUCT (Intel SDM volume 3D, 38.13). Raises ValueError for anything else."""
    if len(data) != 1808 or data[:16] != _HEADER or data[24:40] != _HEADER2:
        raise ValueError("not a SIGSTRUCT")
    product, svn = struct.unpack_from("<HH", data, 1024)
    (flags,) = struct.unpack_from("<Q", data, 928)
    return Sigstruct(data[960:992], hashlib.sha256(data[128:512]).digest(), product, svn, bool(flags & _DEBUG))


def manifest_variables(name: str, listing: str) -> dict[str, str]:
    """What the template of the SGX manifest is rendered with, from `root.list` of the image."""
    role = name.rpartition("-")[2]
    files = [line.split(maxsplit=2) for line in listing.splitlines()]
    return {
        "entry": tcb.read(name).entry,
        "role": role,
        "product": str(PRODUCT_IDS[cast(Role, role)]),
        "svn": str(SVN),
        "files": " ".join(f"{sha256}:{path}" for sha256, _, path in files),
        "glibc": " ".join(sorted(GLIBC)),
    }


def measure_sgx(name: str, folder: Path, inputs: Inputs) -> Release:
    """Render, sign, and read what was signed."""
    manifest_tool, sign = _tool("gramine-manifest", _GRAMINE), _tool("gramine-sgx-sign", _GRAMINE)
    variables = manifest_variables(name, (folder / "root.list").read_text())
    defines = [f"-D{key}={value}" for key, value in variables.items()]
    _run(folder, manifest_tool, *defines, str(TEMPLATE), "strongroom.manifest")
    key = ["--key", str(inputs.key)] if inputs.key else []
    _run(
        folder,
        sign,
        *key,
        "--manifest",
        "strongroom.manifest",
        "--output",
        "strongroom.manifest.sgx",
        "--sigfile",
        "strongroom.sig",
    )
    signed = parse_sigstruct((folder / "strongroom.sig").read_bytes())
    if signed.debug:
        raise SystemExit("error: Gramine signed a debug enclave, which its host can read")
    return _release(name, {"MRENCLAVE": signed.mrenclave}, signed)


def measure_snp(name: str, folder: Path, inputs: Inputs) -> Release:
    """Launch digest of firmware, kernel, initramfs and command line, for one number and type of processors."""
    tool = _tool("sev-snp-measure", "pip install sev-snp-measure")
    ovmf, kernel = _input(inputs.ovmf, "--ovmf", "snp"), _input(inputs.kernel, "--kernel", "snp")
    # 0x1: SNP alone; QEMU adds other features only if asked.
    said = _run(
        folder, tool, "--mode=snp", "--output-format=hex", "--guest-features=0x1", f"--vcpus={inputs.vcpus}",
        f"--vcpu-type={inputs.vcpu_type}", f"--ovmf={ovmf}", f"--kernel={kernel}", "--initrd=initramfs.cpio",
        f"--append={COMMAND_LINES['snp']}",
    )  # fmt: skip
    return _release(name, {"MEASUREMENT": bytes.fromhex(said.strip())})


def measure_nitro(name: str, folder: Path, inputs: Inputs) -> Release:
    """PCR0 to PCR2 of the image file that is built of the kernel and both ramdisks."""
    tool = _tool("eif_build", "cargo install eif_build (images/nitro/README.md)")
    kernel = _input(inputs.kernel, "--kernel", "nitro")
    said = _run(
        folder, tool, f"--kernel={kernel}", f"--cmdline={COMMAND_LINES['nitro']}", "--ramdisk=boot.cpio",
        "--ramdisk=program.cpio", f"--output={folder / 'strongroom.eif'}",
    )  # fmt: skip
    found = json.loads(said[said.index("{") :])
    return _release(name, {pcr: bytes.fromhex(found[pcr]) for pcr in ("PCR0", "PCR1", "PCR2")})


def measure_tdx(name: str, folder: Path, inputs: Inputs) -> Release:
    """MRTD and RTMRs also depend on how the host starts the machine (memory, tables), which only its operator knows."""
    raise NotHere(
        "virtee's tdx-measure computes the registers of a TD, from firmware, kernel, initramfs.cpio, command line and "
        "the machine's configuration: images/tdx/README.md"
    )


MEASURES: Final[dict[str, Callable[[str, Path, Inputs], Release]]] = {
    "sgx": measure_sgx,
    "tdx": measure_tdx,
    "snp": measure_snp,
    "nitro": measure_nitro,
}


def _release(name: str, registers: dict[str, bytes], signed: Sigstruct | None = None) -> Release:
    kind, _, role = name.rpartition("-")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Release(
        version=version("strongroom"),
        role=cast(Role, role),
        kind=cast(Kind, kind),
        registers=tuple(registers.items()),
        tcb=hashlib.sha256((tcb.LOCKS / f"{name}.lock").read_bytes()).digest(),
        built=commit.strip(),
        signer=signed.mrsigner if signed else None,
        product=signed.product if signed else None,
        svn=signed.svn if signed else None,
    )


def _tool(name: str, hint: str) -> str:
    if (found := shutil.which(name)) is None:
        raise NotHere(f"{name} is not installed: {hint}")
    return found


def _input(path: Path | None, option: str, kind: str) -> Path:
    if path is None:
        raise NotHere(f"name the file by {option}: images/{kind}/README.md says where it comes from")
    return path.resolve()


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: {Path(command[0]).name} failed with {done.returncode}\nhint: see the lines above")
    return done.stdout


def _dirty() -> bool:
    """Whether the measured inputs are other than the commit that the release would name."""
    inputs = ["src", "images", "tools", "uv.lock"]
    status = ["git", "status", "--porcelain", "--", *inputs]
    return bool(subprocess.run(status, cwd=ROOT, check=True, capture_output=True).stdout)


def main() -> None:
    names = [name for name in tcb.entries() if not name.startswith("insecure")]
    parser = argparse.ArgumentParser(prog="python -m tools.measure", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="KIND-ROLE", help=", ".join(names))
    parser.add_argument("--python", default=PYTHON, help="interpreter of the images [%(default)s]")
    parser.add_argument("--key", type=Path, help="SGX: RSA-3072 key that signs")
    parser.add_argument("--kernel", type=Path, help="guests: bzImage")
    parser.add_argument("--ovmf", type=Path, help="SNP: firmware")
    parser.add_argument("--vcpus", type=int, default=2, help="SNP [%(default)s]")
    parser.add_argument("--vcpu-type", default="EPYC-v4", help="SNP [%(default)s]")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(names)}")
    inputs = Inputs(arguments.key, arguments.kernel, arguments.ovmf, arguments.vcpus, arguments.vcpu_type)
    missing = False
    for name in arguments.names or names:
        folder = build(name, arguments.python)
        digest = hashlib.sha256((folder / "root.list").read_bytes()).hexdigest()
        print(f"{name}: assembled in {os.path.relpath(folder)}, root.list {digest}")
        try:
            release = MEASURES[name.rpartition("-")[0]](name, folder, inputs)
        except NotHere as reason:
            missing = True
            print(f"  not measured: {reason}")
            continue
        for register, value in release.registers:
            print(f"  {register:<12} {value.hex()}")
        if release.signer is not None:
            print(f"  {'signed by':<12} {release.signer.hex()}, product {release.product}, version {release.svn}")
        if _dirty():
            print("  no release file: the source differs from its commit")
            continue
        (folder / release.name).write_text(release_text(release))
        print(f"  {'release':<12} {os.path.relpath(folder / release.name)}")
    sys.exit(NOT_HERE if missing else 0)


if __name__ == "__main__":
    main()
