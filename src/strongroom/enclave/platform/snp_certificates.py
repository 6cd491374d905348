"""The certificate table that an SNP host sends along with a report, as the PEM text that verifiers take.

"SEV-ES Guest-Hypervisor Communication Block Standardization", section 4.1.8.1: entries of GUID (16 bytes, in the
order of its text), offset and length (4, little-endian), ended by an entry of zeros; then the certificates in DER. The
host wrote all of it. Nothing is believed here: certificates that are none make evidence that everybody refuses.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final
from uuid import UUID

_ENTRY: Final = 24
_VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
_VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
_ASK: Final = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
_ARK: Final = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
_CRL: Final = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
_COLUMNS: Final = 64


def collateral_of_table(table: bytes) -> bytes | None:
    """Leaf, ASK, ARK and, if it is there, their list of revocations; None unless the chain is whole."""
    found: dict[UUID, bytes] = {}
    for kind, der in _entries(table):
        if found.setdefault(kind, der) is not der:
            return None  # which of two would it be?
    leaf = found.get(_VCEK) or found.get(_VLEK)
    if not (leaf and found.get(_ASK) and found.get(_ARK)) or (_VCEK in found and _VLEK in found):
        return None
    parts = [_pem("CERTIFICATE", der) for der in (leaf, found[_ASK], found[_ARK])]
    if found.get(_CRL):
        parts.append(_pem("X509 CRL", found[_CRL]))
    return "".join(parts).encode()


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
