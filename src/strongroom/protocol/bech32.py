"""Bech32 (BIP 173) without its limit of 90 characters: how age writes keys."""

from __future__ import annotations

from typing import Final

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6


def encode_bech32(prefix: str, data: bytes) -> str:
    """Lower-case text of `data` behind a lower-case prefix."""
    values = _regroup(data, 8, 5)
    checksum = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    values += [checksum >> 5 * (_CHECKSUM - 1 - at) & 31 for at in range(_CHECKSUM)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def decode_bech32(text: str) -> tuple[str, bytes]:
    """Prefix, in lower case, and data. Raises `ValueError`, which does not quote the text: it may be a secret."""
    lower = text.lower()
    prefix, one, rest = lower.rpartition("1")
    if text not in (lower, text.upper()) or not one or not prefix or len(rest) < _CHECKSUM:
        raise ValueError("not Bech32")
    if not all("!" <= c <= "~" for c in prefix) or not set(rest) <= set(_ALPHABET):
        raise ValueError("not Bech32")
    values = [_ALPHABET.index(c) for c in rest]
    if _polymod([*_expand(prefix), *values]) != 1:
        raise ValueError("the checksum of this Bech32 text is wrong")
    return prefix, bytes(_regroup(values[:-_CHECKSUM], 5, 8))


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for at, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> at & 1 else 0
    return checksum


def _expand(prefix: str) -> list[int]:
    return [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix)]


def _regroup(values: bytes | list[int], old: int, new: int) -> list[int]:
    """Groups of `old` bits as groups of `new`; encoding fills the last one up with zeros, decoding demands that."""
    held = bits = 0
    out = []
    for value in values:
        held = (held << old | value) & 0xFFF
        bits += old
        while bits >= new:
            bits -= new
            out.append(held >> bits & (1 << new) - 1)
    rest = held & (1 << bits) - 1
    if new < old:  # encoding
        return [*out, rest << new - bits] if bits else out
    if bits >= old or rest:
        raise ValueError("not canonical Bech32")
    return out
