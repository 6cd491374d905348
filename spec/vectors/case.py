"""What a vector is, and how ciphertexts that can't be made twice alike are kept from one run to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from wire import to_json

from strongroom.protocol.errors import Number, StrongroomError
from strongroom.protocol.primitives import Domain, frame_parts

VECTORS = Path(__file__).resolve().parent


class Case(NamedTuple):
    """One vector. `expect` is "accept" or (number, layer that refuses)."""

    name: str
    what: str
    run: str
    inputs: dict[str, Any]
    expect: str | tuple[Number, str]
    outputs: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    def text(self) -> str:
        """The file."""
        expect: Any = self.expect
        if isinstance(expect, tuple):
            expect = {"error": int(expect[0]), "layer": expect[1]}
        value = {"what": self.what, "run": self.run, "inputs": to_json(self.inputs), "expect": expect}
        if self.outputs:
            value["outputs"] = to_json(self.outputs)
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


Cases = Iterator[Case]


def accepted(name: str, what: str, run: str, inputs: dict[str, Any], **outputs: Any) -> Case:
    return Case(name, what, run, inputs, "accept", outputs)


def refused(name: str, what: str, run: str, inputs: dict[str, Any], number: Number, layer: str) -> Case:
    return Case(name, what, run, inputs, (number, layer))


def fixed(label: str, size: int = 32) -> bytes:
    """Sample secrets that every run makes alike."""
    return hashlib.shake_256(f"strongroom vector {label}".encode()).digest(size)


def kept(name: str, field: str, verify: Callable[[bytes], bool], make: Callable[[], bytes]) -> bytes:
    """The bytes that stand in the vector now if they still hold, else new ones."""
    path = VECTORS / f"{name}.json"
    if path.exists():
        try:
            stored = bytes.fromhex(json.loads(path.read_text())["inputs"][field])
            if verify(stored):
                return stored
        except (StrongroomError, ValueError, KeyError, TypeError):
            pass  # damaged or outdated: made anew
    made = make()
    if not verify(made):
        raise ValueError(f"{name}: what was just made does not hold")
    return made


def flipped(data: bytes, at: int) -> bytes:
    """With the lowest bit of one byte changed."""
    bent = bytearray(data)
    bent[at] ^= 1
    return bytes(bent)


def sign(scalar: bytes, domain: Domain, *parts: bytes) -> bytes:
    """r ‖ s as `SigningKey.sign` makes it, but with the nonce of RFC 6979: alike in every run."""
    key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    r, s = decode_dss_signature(key.sign(frame_parts(domain, *parts), algorithm))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
