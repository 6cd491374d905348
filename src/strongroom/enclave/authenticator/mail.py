"""The mail that brings a code: short text without a link, which people could be led astray by."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final

_TEXT: Final = """\
Your code to sign in to Strongroom is

    {code}

It counts for ten minutes and once.

Type it only into the program or page where you have just asked for it
yourself. Whoever has it can sign in as you: tell it to nobody, whoever
asks and whatever the reason.

If you have not asked for a code, do nothing. Without it nobody gets in.
"""


def code_mail(sender: str, recipient: str, code: str, unique: bytes, now: int) -> bytes:
    """ASCII lines that end in CRLF. `unique`: 16 random bytes; `now`: unix seconds.

    Nothing in it comes from the machine or from whoever asked, but for the addresses, which are verified.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Strongroom <{sender}>"
    message["To"] = recipient
    message["Subject"] = "Your code for Strongroom"
    message["Date"] = formatdate(now)
    message["Message-ID"] = f"<{unique.hex()}@{sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies to it
    message.set_content(_TEXT.format(code=code), charset="us-ascii", cte="7bit")
    return message.as_bytes()
