"""The charter of a running Vault's cluster, asked for by an auditor who trusts no enclave: people have signed it."""

from __future__ import annotations

import time

from strongroom.attestation.policy import RolePolicy
from strongroom.cli.evidence import verify_any_cluster
from strongroom.client.session import AttestedServer, Shown
from strongroom.protocol.cluster_messages import AskCharter, CharterIs, ClusterReply
from strongroom.protocol.errors import Misuse, Untrusted
from strongroom.protocol.primitives import SigningKey

_NOBODY = RolePolicy(
    clusters=[], config=[], sgx=None, tdx=None, snp=None, nitro=None, insecure_software=None, releases=None
)


async def fetch_charter(url: str) -> bytes | None:
    """Encoded `Charter`, verified by nobody yet; None from a Vault that has none to show. Raises `Unavailable`."""
    server = _Anybody(url)
    try:
        return (await server.ask(AskCharter(), CharterIs)).charter
    except (Misuse, Untrusted):
        return None  # the audit says that there was none, and what it could not check without
    finally:
        await server.aclose()


class _Anybody(AttestedServer):
    """A session with whatever enclave answers: nothing is said in it that is anybody's business."""

    def __init__(self, url: str) -> None:
        super().__init__(url, role="vault", policy=_NOBODY, binding_key=SigningKey.generate(), now=time.time)
        self._replies = ClusterReply

    def _accept(self, evidence: bytes) -> Shown:
        genuine = verify_any_cluster(evidence, "vault")
        return Shown(evidence, genuine.evidence_digest, genuine.claims, genuine.report, None)
