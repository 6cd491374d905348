"""What is wrong with a share, in words for who opens it. They never cross the wire."""

from __future__ import annotations

from strongroom.client.errors import InOwnWords
from strongroom.protocol.errors import Number, Unavailable, Untrusted


class Damaged(Untrusted):
    """Bytes of a share are not those that its sender sealed."""

    def __init__(self, reason: str) -> None:
        super().__init__(Number.INTEGRITY, reason)

    @property
    def error(self) -> str:
        return f"the file was altered or damaged: {self.reason}"

    @property
    def hint(self) -> str:
        return "nothing of the altered part was written; try again, then ask the sender to send it again"


class Unreadable(Untrusted):
    """A share's own description breaks the rules of `spec/share.md`: whoever sent it used no honest, current client."""

    def __init__(self, reason: str) -> None:
        super().__init__(Number.INTEGRITY, reason)

    @property
    def error(self) -> str:
        return f"this is not a share that may be opened: {self.reason}"

    @property
    def hint(self) -> str:
        return "ask the sender to send it again with a current client; if they did not send it so, beware"


class NotReady(InOwnWords, Unavailable):
    """The share is not complete yet, or no more."""

    def __init__(self, error: str, hint: str) -> None:
        super().__init__(Number.INTERNAL, error, hint)
