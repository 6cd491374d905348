"""The certificate table that an SNP hypervisor sends along with a report.

"SEV-ES Guest-Hypervisor Communication Block Standardization", section 4.1.8.1: entries of GUID (16 bytes, in the
order of its text), offset and length (4, little-endian), ended by an entry of zeros; then the certificates in DER.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final, NamedTuple
from uuid import UUID

_ENTRY: Final = 24
_VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
_VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
_ASK: Final = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
_ARK: Final = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
_CRL: Final = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
_KINDS: Final = frozenset({_VCEK, _VLEK, _ASK, _ARK, _CRL})
_COLUMNS: Final = 64


class Table(NamedTuple):
    """What was in it; empty where there was nothing, or two of a kind."""

    vcek: bytes
    vlek: bytes
    """DER."""
    chain: str
    """PEM of intermediate and root, or of neither."""
    crl: str
    """PEM."""


def read_table(table: bytes) -> Table:
    """Whatever of it can be read: the verifiers judge it."""
    found: dict[UUID, bytes] = {}
    for kind, der in _entries(table):
        # Others are let be: entries may overlap, and thousands of them would each be the whole table.
        if kind in _KINDS:
            found[kind] = der if kind not in found else b""  # which of two would it be?
    vcek, vlek, ask, ark, crl = (found.get(kind, b"") for kind in (_VCEK, _VLEK, _ASK, _ARK, _CRL))
    chain = _pem("CERTIFICATE", ask) + _pem("CERTIFICATE", ark) if ask and ark else ""
    return Table(vcek, vlek, chain, _pem("X509 CRL", crl) if crl else "")


def _entries(table: bytes) -> Iterator[tuple[UUID, bytes]]:
    """What lies wholly within the table, up to its end mark."""
    for at in range(0, len(table) - _ENTRY + 1, _ENTRY):
        entry = table[at : at + _ENTRY]
        if not any(entry):
            return
        offset, length = int.from_bytes(entry[16:20], "little"), int.from_bytes(entry[20:], "little")
        if offset + length <= len(table):
            yield UUID(bytes=entry[:16]), table[offset : offset + length]


def _pem(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
