"""What the owner of the demo's Vault does: open namespaces."""

from __future__ import annotations

import asyncio
from pathlib import Path

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli.connection import namespace_instructions
from strongroom.cli.demo.stage import Stage
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.keys import load_key
from strongroom.client.vault import AsyncVault


def open_namespace(
    stage: Stage,
    trust: TrustPolicy,
    name: str,
    instructions: Path,
    *,
    max_records: int,
    max_bytes: int,
    max_records_each: int,
    max_bytes_each: int,
) -> int:
    """Whoever signs in by the methods in `instructions` may create there. The version of the namespace."""
    encoded = namespace_instructions(instructions, trust, [], [])

    async def create() -> int:
        owner = load_key(stage.servers / "vault" / "owner.key")
        async with AsyncVault(stage.vault["url"], trust, binding_key=owner, checkpoints=MemoryCheckpoints()) as vault:
            return await vault.create_namespace(
                name,
                instructions=encoded,
                max_records=max_records,
                max_bytes=max_bytes,
                max_records_per_identity=max_records_each,
                max_bytes_per_identity=max_bytes_each,
            )

    return asyncio.run(create())
