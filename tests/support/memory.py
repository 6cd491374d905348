"""All that processes hold in memory, searched for something that was planted."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r")
_NOT_MEMORY = ("[vvar", "[vsyscall", "[vdso")


def regions(pid: int) -> Iterator[bytes]:
    """Every readable mapping of a process, heaps and stacks and files alike."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = _MAPPING.match(line)
            if found is None or any(name in line for name in _NOT_MEMORY):
                continue
            start, end = int(found[1], 16), int(found[2], 16)
            memory.seek(start)
            try:
                yield memory.read(end - start)
            except OSError:
                continue  # given back meanwhile, or never backed


def spellings(secret: bytes) -> list[bytes]:
    """As it is, as hex, as UTF-16 and UCS-4, and as base64 of both alphabets at each of its three alignments."""
    text = secret.decode("latin-1")
    found = [secret, secret.hex().encode(), text.encode("utf-16-le"), text.encode("utf-32-le")]
    for shift in range(3):
        encoded = b64encode(bytes(shift) + secret)
        # Without what the bytes before and after have a part in.
        core = encoded[4 if shift else 0 : -4]
        found += [core, core.replace(b"+", b"-").replace(b"/", b"_")]
    return found


def held(pids: Iterable[int], planted: dict[str, bytes]) -> set[str]:
    """Names of what was planted and stands, in any spelling, in the memory of one of these processes."""
    wanted = {name: spellings(secret) for name, secret in planted.items()}
    found: set[str] = set()
    for pid in pids:
        for region in regions(pid):
            found |= {name for name, forms in wanted.items() if any(form in region for form in forms)}
    return found
