"""What one sign-in proved about somebody, and how rules see it: the same for the Authenticator that decides and for
`strongroom policy simulate`, which foretells what it would decide."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.authenticator_messages import Mark
from strongroom.protocol.codec import Message
from strongroom.protocol.evidence import Bytes32, ShortText, UnixTime
from strongroom.protocol.instructions import Kind, Url


class Fact(Message):
    """What one sign-in proved about somebody. Empty text: not known."""

    method: Bytes32
    kind: Kind
    issuer: Url
    subject: ShortText
    email: ShortText
    groups: list[ShortText]
    claims: Annotated[list[Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
    """`NAME=VALUE` of the claims that a workload's method names, or of what the quote of an enclave shows."""
    hd: ShortText
    tid: ShortText
    oid: ShortText
    acr: ShortText
    amr: list[ShortText]
    auth_time: UnixTime | None
    channel: Literal["native", "web", "device", "direct"]
    """direct: at the Authenticator itself, with no provider's page in between."""
    phishable: bool
    mark: Mark | None
    marked_as: Annotated[str, Meta(max_length=512)]
    """Whom the mark is of, when other definitions would say the same of this sign-in; empty: the principal."""


def fact(method: bytes, kind: Kind, subject: str) -> Fact:
    """Of somebody of whom nothing else is known yet, who signed in at the Authenticator itself."""
    return Fact(
        method=method,
        kind=kind,
        issuer="",
        subject=subject,
        email="",
        groups=[],
        claims=[],
        hd="",
        tid="",
        oid="",
        acr="",
        amr=[],
        auth_time=None,
        channel="direct",
        phishable=False,
        mark=None,
        marked_as="",
    )
