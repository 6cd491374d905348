"""Somebody who audits the log of a Vault from outside, by the command that everybody has."""

from __future__ import annotations

from strongroom.attack.outcomes import Seen, SetUpFailed, noticed, unnoticed
from strongroom.attack.processes import command
from strongroom.attack.promises import When, Who
from strongroom.cli.terminal import EXIT_UNTRUSTED


async def audited(url: str, cluster: bytes) -> Seen:
    """What an audit of the log at `url` comes to, by somebody who knows the id of the cluster."""
    status, said = await command("audit", "--url", url, "--cluster", cluster.hex())
    if status == EXIT_UNTRUSTED:
        return noticed(Who.AUDITOR, When.NEXT_AUDIT, said.strip().splitlines()[0])
    if status == 0:
        return unnoticed("the audit finds nothing wrong")
    raise SetUpFailed(f"the audit ended with exit status {status}: {said.strip()}")
