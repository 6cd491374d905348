"""The smallest PDF: objects written by hand, and the table that says where each begins (ISO 32000-1 §7.5)."""

from __future__ import annotations

from collections.abc import Sequence


def write_pdf(objects: Sequence[str]) -> bytes:
    """A file of these objects, numbered from 1; the first is the catalogue. ASCII only."""
    body, places = "%PDF-1.4\n", []
    for number, described in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{described}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode("ascii")
