"""Whether a text tells words of a share.

Our own texts have words that are in SLIP-39's list, too, and so in one of many shares by chance. Those don't count.
"""

import re
from typing import Final

from tests.support.command import ROOT

SOURCE: Final = "".join(path.read_text() for path in sorted((ROOT / "src" / "strongroom").rglob("*.py")))


def words_told(share: str, text: str) -> set[str]:
    """Words of a share, some of 33, that a text has and we never write."""
    return set(share.split()) & set(re.findall("[a-z]+", text.lower())) - set(re.findall("[a-z]+", SOURCE.lower()))
