"""Lists of releases, and approvers with ssh keys in software, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strongroom.protocol.cluster_messages import AskCharter, AskStatus, CharterIs, StatusIs
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.governance import MAX_CHARTER, Charter
from strongroom.protocol.releases import (
    NAMESPACE,
    Approval,
    ListedRelease,
    Program,
    ReleaseList,
    SignedReleases,
)
from strongroom.protocol.status import Status, decode_status
from tests.support.ceremony import Founded, Nursed, talk
from tests.support.ssh_keys import SshKey
from tests.support.world import Platform

NEW = bytes([0x77]) * 32
"""Measurement of a program that nobody runs here."""


class Program2(Platform):
    """The same machine with another program."""

    def __init__(self, role: Any, state: Path, measurement: bytes = NEW) -> None:
        super().__init__(role, state)
        self._measurement = measurement  # type: ignore[misc]


def release(version: str, *measurements: bytes, svn: int = 1) -> ListedRelease:
    return ListedRelease(version, svn, [Program("insecure-software", one) for one in measurements])


def listing(
    cluster: bytes, serial: int, *releases: ListedRelease, role: Any = "vault", min_svn: int = 0
) -> ReleaseList:
    return ReleaseList(version=1, cluster=cluster, role=role, serial=serial, min_svn=min_svn, releases=list(releases))


def signed(releases: ReleaseList, keys: Sequence[SshKey], **bent: Any) -> bytes:
    """The list with a signature of each key, as it should be or bent (`SshKey.sign`)."""
    statement = encode(releases)
    approvals = [Approval(one.public_key, one.sign(statement, **{"namespace": NAMESPACE} | bent)) for one in keys]
    return encode(SignedReleases(statement, approvals))


def own(founded: Founded) -> bytes:
    """Measurement of the program that serves."""
    return founded.instance.platform._measurement


async def charter_of(instance: Nursed) -> Charter:
    reply = await (await talk(instance)).ask(AskCharter())
    assert isinstance(reply, CharterIs)
    return decode(reply.charter, Charter, limit=MAX_CHARTER)


async def status_of(instance: Nursed) -> Status:
    reply = await (await talk(instance)).ask(AskStatus())
    assert isinstance(reply, StatusIs)
    return decode_status(reply.status)


async def admitted(instance: Nursed) -> dict[str, bool]:
    """Version → whether its (first) program may have the ring now."""
    return {one.version: one.admitted for one in (await status_of(instance)).releases}
