"""What a person or a program may be called, whoever says so: a provider's token, a definition, or an Authenticator."""

from __future__ import annotations

from typing import Final

MAX_SUBJECT: Final = 255


def is_subject(text: str) -> bool:
    """Whether `text` is 1 to MAX_SUBJECT printable ASCII characters: others have look-alikes, and end lines of logs."""
    return 0 < len(text) <= MAX_SUBJECT and text.isascii() and text.isprintable()
