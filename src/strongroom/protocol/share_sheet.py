"""A custodian's share as a page of text: to print, to read aloud and to type in again (`spec/cluster.md`).

An enclave writes it and encrypts it to the custodian; `client.custodians` reads it and takes nothing but exactly what
is written here. So each line means one thing, and a page that somebody edited is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from strongroom.protocol.evidence import Role

HEAD: Final = "STRONGROOM SHARE, VERSION 1"

_WORDS_IN_ROW: Final = 4


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on the page."""

    cluster: bytes
    """Cluster id (32 bytes)."""
    role: Role
    council: int
    """Serial of the council: 0 is that of the genesis statement."""
    custodian: str
    """Name: printable, on one line."""
    index: int
    """Of the custodian in the council, from 0."""
    count: int
    threshold: int
    words: str = field(repr=False)
    """The mnemonic: lower case, one space between two words."""


def write_sheet(sheet: Sheet) -> str:
    """The page."""
    numbered = [f"{at:2} {word}" for at, word in enumerate(sheet.words.split(" "), 1)]
    rows = [numbered[at : at + _WORDS_IN_ROW] for at in range(0, len(numbered), _WORDS_IN_ROW)]
    words = "\n".join("  " + "".join(f"{word:<14}" for word in row).rstrip() for row in rows)
    return f"""{HEAD}

Cluster    {sheet.cluster.hex()}
Role       {sheet.role}
Council    {sheet.council}
Custodian  {sheet.custodian}
Share      {sheet.index + 1} of {sheet.count}, any {sheet.threshold}

Words
{words}

These words are secret: {sheet.threshold} of the {sheet.count} shares open all keys of this cluster.
Keep them where you find them in years, and nobody else does. They are needed when
all machines of the cluster are lost, and to agree to another council.
Never tell them to anybody. You give them to an enclave that you have appraised, and
only sealed to it: strongroom recover seal
When another council has taken office, and a backup was made since: destroy them.
"""
