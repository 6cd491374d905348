"""What the host holds: the newest sealed rows, and a search through every byte that the servers keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from strongroom.cli.terminal import EXIT_FAILED, Failure


@dataclass(frozen=True, slots=True)
class Searched:
    """How much was searched, and in which files each needle was found."""

    files: int
    size: int
    found: dict[str, list[str]]


def sealed_rows(database: Path) -> dict[bytes, bytes]:
    """Sealed rows by their keys, as anybody with the file can read them."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return dict(connection.execute("SELECT key, sealed FROM rows"))
    except sqlite3.Error as error:
        raise Failure(f"can't read {database}: {error}", "run the demo again", status=EXIT_FAILED) from None
    finally:
        connection.close()


def search(root: Path, needles: Mapping[str, list[bytes]]) -> Searched:
    """Look for every form of every needle in every file below `root`, upper and lower case alike."""
    found: dict[str, list[str]] = {name: [] for name in needles}
    files = size = 0
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        files, size = files + 1, size + len(data)
        lower = data.lower()
        for name, forms in needles.items():
            if any(form in data or form.lower() in lower for form in forms):
                found[name].append(str(path.relative_to(root)))
    return Searched(files, size, found)


def forms_of(text: str) -> list[bytes]:
    """A text as it may stand in a file: UTF-8, UTF-16, hex, and base64 at any of the three offsets."""
    from base64 import b64encode

    plain = text.encode()
    # The characters of base64 that depend on neighbours are cut off at both ends.
    in_base64 = [b64encode(bytes(offset) + plain)[(0, 2, 3)[offset] :].rstrip(b"=")[:-1] for offset in range(3)]
    return [plain, text.encode("utf-16-le"), plain.hex().encode(), *in_base64]


def hexdump(data: bytes, lines: int) -> list[str]:
    """The first lines of 16 bytes: offset, hex, printable characters."""
    shown = []
    for at in range(0, min(len(data), 16 * lines), 16):
        row = data[at : at + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        shown.append(f"{at:04x}  {row.hex(' ', 2):<39}  {text}")
    return shown
