"""Shares of a recovery key: SLIP-39 words, and the signing key that each of them is (`spec/cluster.md`).

https://github.com/satoshilabs/slips/blob/master/slip-0039.md, one group, no passphrase. A share is a random secret of
its own, so it makes the custodian's signing key, too: who signs has decrypted his share, and has nothing else to lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share as Slip39
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.limits import MAX_CUSTODIANS
from strongroom.protocol.primitives import KEM_SEED, Domain, SigningKey, derive_key

WORDS: Final = 33
"""Of one share of a secret of 32 bytes."""
_SHOWN: Final = 6
"""Numbers of wrong words that are told."""


@dataclass(frozen=True, slots=True)
class Share:
    """One custodian's share."""

    words: str = field(repr=False)
    """Lower case, one space between two of them."""
    index: int
    """Of the share among those of one secret, as SLIP-39 counts; not that of the custodian."""
    threshold: int
    key: SigningKey = field(repr=False)


def verify_numbers(count: int, threshold: int) -> None:
    """So many shares, of which so many make the secret, can be made. Raises `Misuse` COUNCIL_INVALID."""
    if not 1 <= count <= MAX_CUSTODIANS:
        raise Misuse(Number.COUNCIL_INVALID, f"a council has 1 to {MAX_CUSTODIANS} custodians, not {count}")
    if not 1 <= threshold <= count:
        raise Misuse(Number.COUNCIL_INVALID, f"{threshold} of {count} custodians can never agree")
    if threshold == 1 and count > 1:
        # SLIP-39 has no such thing, and rightly: each of them alone could take everything.
        raise Misuse(Number.COUNCIL_INVALID, "each of several custodians alone could take the ring: ask for 2 at least")


def split(seed: bytes, count: int, threshold: int) -> list[Share]:
    """Shares of `seed` (32 bytes), any `threshold` of which make it. Raises `Misuse` COUNCIL_INVALID."""
    verify_numbers(count, threshold)
    if len(seed) != KEM_SEED:
        raise ValueError(f"a recovery key's seed has {KEM_SEED} bytes")
    made = generate_mnemonics(1, [(threshold, count)], seed, iteration_exponent=0)
    return [parse_share(words) for words in made[0]]


def parse_share(untrusted_words: str) -> Share:
    """Raises `Misuse` SHARE_WRONG for anything but the words of one share; says where, and repeats none of them."""
    listed = untrusted_words.lower().split()
    words = " ".join(listed)
    if wrong := _wrong(listed):
        raise Misuse(Number.SHARE_WRONG, wrong)
    try:
        parsed = Slip39.from_mnemonic(words)
    except (MnemonicError, ValueError):
        # No text of the library: it repeats words.
        raise Misuse(Number.SHARE_WRONG, "every word is one of the list, and they do not belong together") from None
    if len(parsed.value) != KEM_SEED or (parsed.group_count, parsed.iteration_exponent) != (1, 0):
        raise Misuse(Number.SHARE_WRONG, "a share of another kind of secret")
    return Share(words, parsed.index, parsed.member_threshold, _signing_key(parsed.value))


def combine(shares: Sequence[Share]) -> bytes:
    """The seed (32 bytes) that exactly as many shares make as their threshold says. Raises `Misuse` SHARE_WRONG when
    they are not of one secret."""
    try:
        return bytes(combine_mnemonics([share.words for share in shares]))
    except (MnemonicError, ValueError):
        raise Misuse(Number.SHARE_WRONG, "the shares do not belong together") from None


def _wrong(listed: Sequence[str]) -> str:
    """What can be said of them without their checksum, for whoever typed them unseen; empty: nothing."""
    unknown = [at for at, word in enumerate(listed, 1) if word not in WORD_INDEX_MAP]
    found = []
    if len(listed) != WORDS:
        found.append(f"{len(listed)} words, {WORDS} wanted")
    if len(unknown) == 1:
        found.append(f"word {unknown[0]} is not in the list of SLIP-39")
    elif unknown:
        numbers = ", ".join(map(str, unknown[:_SHOWN])) + ("…" if len(unknown) > _SHOWN else "")
        found.append(f"words {numbers} are not in the list of SLIP-39")
    return "; ".join(found)


def _signing_key(value: bytes) -> SigningKey:
    for attempt in range(8):
        try:
            return SigningKey.from_scalar(derive_key(value, Domain.CUSTODIAN_KEY, bytes([attempt])))
        except ValueError:
            continue  # out of range: one in four thousand million
    raise Misuse(Number.SHARE_WRONG, "no key can be made of it")
