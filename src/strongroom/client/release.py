"""A release file: what the hardware says of one program that somebody built from source.

    version = "0.1.0"
    role = "vault"
    kind = "sgx"
    tcb = "…"      # SHA-256 of images/tcb/sgx-vault.lock: what the program is made of
    built = "…"    # commit of the source, 40 hex digits
    signer = "…"   # optional, and on SGX product and svn: who signed it, as what, at which security version
    page = "…"     # optional: digest of the web page that is used with it, as `strongroom verify-page` prints it

    [registers]
    MRENCLAVE = "…"

The file is named after the registers, so that two people who measured differently can't mistake each other's files.
The name covers nothing else: version, commit and signer are the author's word. And it proves nothing by itself: whoever
trusts it has built the program, or trusts who did. Text in, text out; no files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from strongroom.attestation.reports import NitroReport, Report, SgxReport, SnpReport, TdxReport
from strongroom.attestation.toml_text import parse_toml
from strongroom.client.errors import BadInput
from strongroom.protocol.errors import Number, Untrusted

Kind = Literal["sgx", "tdx", "snp", "nitro"]
Role = Literal["vault", "authenticator"]

REGISTERS: Final[dict[Kind, dict[str, int]]] = {
    "sgx": {"MRENCLAVE": 32},
    "tdx": {"MRTD": 48, "RTMR0": 48, "RTMR1": 48, "RTMR2": 48, "RTMR3": 48},
    "snp": {"MEASUREMENT": 48},
    "nitro": {"PCR0": 48, "PCR1": 48, "PCR2": 48},
}
"""Of each platform: name → bytes of every register that says which program runs, in the maker's order."""
_SIGNERS: Final[dict[Kind, int]] = {"sgx": 32, "snp": 48, "nitro": 48}
"""Bytes that name who signed: MRSIGNER, digest of the ID or author key, PCR8. A TD has no signer."""
_REPORTS: Final[dict[Kind, type[Report]]] = {
    "sgx": SgxReport,
    "tdx": TdxReport,
    "snp": SnpReport,
    "nitro": NitroReport,
}
_MAX_FILE: Final = 16 * 1024
_HINT: Final = "images/released/README.md shows a file with everything that it may hold"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,64}\Z")]
    role: Role
    kind: Kind
    tcb: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    built: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
    registers: dict[str, str]
    signer: str | None = None
    product: Annotated[int, Meta(ge=0, lt=2**16)] | None = None
    svn: Annotated[int, Meta(ge=0, lt=2**16)] | None = None
    page: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One measured program."""

    version: str
    role: Role
    kind: Kind
    registers: tuple[tuple[str, bytes], ...]
    """Name and value, in the order of `REGISTERS`."""
    tcb: bytes
    """SHA-256 of the lock of its closure."""
    built: str
    """Commit of the source."""
    signer: bytes | None = None
    product: int | None = None
    """ISVPRODID."""
    svn: int | None = None
    """ISVSVN."""
    page: bytes | None = None
    """Digest of the web page that is used with it (`client.page`)."""

    @property
    def name(self) -> str:
        """Of the file: the register in hex, or SHA-256 of all of them one behind the other where there are several."""
        if len(self.registers) == 1:
            return f"{self.registers[0][1].hex()}.toml"
        return f"{sha256(b''.join(value for _, value in self.registers)).hexdigest()}.toml"


def parse_release(text: str, name: str) -> Release:
    """The release in a file of this name (no folder). Raises `BadInput` with line and field of what is wrong."""
    if len(text.encode("utf-8", "replace")) > _MAX_FILE:
        raise BadInput("the release file is too long", _HINT)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except ValueError as error:
        if not isinstance(error, msgspec.ValidationError):
            raise BadInput(f"the release file is not TOML: {error}", _HINT) from None
        # msgspec ends its text with " - at `$.registers`".
        what, _, place = str(error).partition(" - at ")
        raise _wrong(text, place.strip("`$."), what) from None
    release = Release(
        version=file.version,
        role=file.role,
        kind=file.kind,
        registers=_registers(text, file),
        tcb=bytes.fromhex(file.tcb),
        built=file.built,
        signer=_signer(text, file),
        product=_of_sgx(text, file, "product"),
        svn=_of_sgx(text, file, "svn"),
        page=bytes.fromhex(file.page) if file.page is not None else None,
    )
    if name != release.name:
        raise BadInput(
            f"the release file should be named {release.name}",
            "a release is named after its registers: they were edited, or are another program's",
        )
    return release


def release_text(release: Release) -> str:
    """The file, as `parse_release` reads it."""
    lines = [f"# Strongroom {release.version}: the {release.role} on {release.kind}. See docs/howto/measure.md."]
    words = {"version": release.version, "role": release.role, "kind": release.kind, "tcb": release.tcb.hex()}
    words["built"] = release.built
    if release.signer is not None:
        words["signer"] = release.signer.hex()
    if release.page is not None:
        words["page"] = release.page.hex()
    lines += [f'{field} = "{value}"' for field, value in words.items()]
    numbers = {"product": release.product, "svn": release.svn}
    lines += [f"{field} = {value}" for field, value in numbers.items() if value is not None]
    lines += ["", "[registers]", *(f'{register} = "{value.hex()}"' for register, value in release.registers)]
    return "\n".join([*lines, ""])


def verify_is_release(report: Report, release: Release, *, role: str) -> None:
    """Verified evidence of an enclave that claims `role` is of exactly the program that this release measured.

    Raises `Untrusted` POLICY with everything that differs.
    """
    if not isinstance(report, _REPORTS[release.kind]):
        raise Untrusted(Number.POLICY, f"the release is for {release.kind}, the evidence is of another platform")
    differs = [] if role == release.role else [f"the release is of the {release.role}"]
    shown = dict(report.registers)
    for register, value in release.registers:
        if shown.get(register) != value:
            found = shown[register].hex() if register in shown else "absent"
            differs.append(f"{register} is {found}, released was {value.hex()}")
    differs += _signature_differs(report, release)
    if differs:
        raise Untrusted(Number.POLICY, f"not the release {release.version}: {'; '.join(differs)}")


def verify_is_page(page: bytes, release: Release) -> None:
    """A page of this digest is the one that was released. Raises `Untrusted` POLICY, also where none was."""
    if release.page is None:
        raise Untrusted(Number.POLICY, f"the release {release.version} names no page")
    if page != release.page:
        raise Untrusted(
            Number.POLICY, f"not the page of release {release.version}: {page.hex()}, released was {release.page.hex()}"
        )


def _signature_differs(report: Report, release: Release) -> list[str]:
    signers: list[bytes] = []
    differs = []
    if isinstance(report, SgxReport):
        signers = [report.signer]
        if release.product not in (None, report.product_id):
            differs.append(f"product is {report.product_id}, released was {release.product}")
        if release.svn not in (None, report.svn):
            differs.append(f"security version is {report.svn}, released was {release.svn}")
    elif isinstance(report, SnpReport):
        signers = [report.author_key_digest, report.id_key_digest]
    elif isinstance(report, NitroReport):
        signers = [report.pcrs.get(8, b"")]
    if release.signer is not None and release.signer not in signers:
        differs.append(f"it was not signed by {release.signer.hex()}")
    return differs


def _registers(text: str, file: _File) -> tuple[tuple[str, bytes], ...]:
    wanted = REGISTERS[file.kind]
    for name in file.registers:
        if name not in wanted:
            raise _wrong(text, f"registers.{name}", f"{file.kind} has no such register, only {', '.join(wanted)}")
    for name in wanted:
        if name not in file.registers:
            raise _wrong(text, "registers", f"{name} is missing")
    return tuple((name, _hex(text, f"registers.{name}", file.registers[name], wanted[name])) for name in wanted)


def _signer(text: str, file: _File) -> bytes | None:
    if file.signer is None:
        return None
    if file.kind not in _SIGNERS:
        raise _wrong(text, "signer", f"a program on {file.kind} has no signer")
    return _hex(text, "signer", file.signer, _SIGNERS[file.kind])


def _of_sgx(text: str, file: _File, field: Literal["product", "svn"]) -> int | None:
    value: int | None = getattr(file, field)
    if value is not None and file.kind != "sgx":
        raise _wrong(text, field, f"only SGX has it, this is {file.kind}")
    return value


def _hex(text: str, field: str, value: str, size: int) -> bytes:
    if not re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", value):
        raise _wrong(text, field, f"{2 * size} lower-case hex digits are wanted")
    return bytes.fromhex(value)


def _wrong(text: str, field: str, what: str) -> BadInput:
    """`field` is a dotted name; a field that is not there has no line."""
    last = re.escape(field.rpartition(".")[2])
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines, 1) if re.match(rf"\s*(\[\s*)?{last}\s*[=\]]", line)), None)
    place = ", ".join(part for part in (f"line {at}" if at else "", field if field.isprintable() else "") if part)
    return BadInput(f"the release file is not right: {place or 'the top level'}: {what}", _HINT)
