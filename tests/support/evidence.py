"""Evidence for tests: real synthetic quotes over claims that a test may bend in any one place.

`Cluster("vault")` has keys and a genesis statement; its `evidence()` is genuine, its `policy()` accepts exactly that;
`evidence(product_id=7)` is another enclave's, `evidence(quote=lambda quote: quote + b"x")` a bent one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec

from strongroom.attestation.policy import RolePolicy, SoftwarePolicy
from strongroom.enclave.platform.insecure_software import SIGNER
from strongroom.enclave.platform.synthetic_pki import SyntheticPki
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64, EnclaveReport, synthetic_quote
from strongroom.protocol.codec import Message, encode
from strongroom.protocol.evidence import (
    Claims,
    Council,
    Evidence,
    Genesis,
    PeerBinding,
    Role,
    cluster_id,
    report_data,
)
from strongroom.protocol.primitives import Domain, KemKey, NoteKey, SigningKey, fingerprint
from tests.support import policies
from tests.support.councils import council as empty_council

NOW = 1_790_000_000
MEASUREMENT = bytes(range(32))
Statement = dict[str, Any]


def changed(message: Any, **fields: Any) -> Any:
    """A message with other field values."""
    return msgspec.structs.replace(message, **fields)


def as_is(statement: Statement) -> None:
    """Leaves a TCB info or QE identity as it is."""


@cache
def pki(seed: bytes = bytes(32)) -> SyntheticPki:
    return SyntheticPki(seed, NOW - 1000)


class Cluster:
    """A cluster of one role, with its keys."""

    def __init__(
        self,
        role: Role,
        seed: bytes = bytes(32),
        *,
        witnesses: Sequence[str] = (),
        cosignatures: int = 0,
        council: Council | None = None,
    ) -> None:
        self.role: Role = role
        self.log_key = NoteKey(os.urandom(32))
        self.pki = pki(seed)
        self.key = SigningKey.generate()
        self.kem = KemKey(bytes(31) + b"\x01")
        self.genesis = encode(
            Genesis(
                version=1,
                role=role,
                cluster_key=self.key.public,
                owner_key=SigningKey.generate().public,
                council=council or empty_council(),
                log_key=self.log_key.public,
                witnesses=list(witnesses),
                cosignatures=cosignatures,
                development=True,
            )
        )

    @property
    def id(self) -> bytes:
        return cluster_id(self.genesis)

    def claims(self, **fields: Any) -> Claims:
        values: dict[str, Any] = {
            "version": 1,
            "role": self.role,
            "stage": "member",
            "kem_key": self.kem.public,
            "expires_at": NOW + 3600,
            "receipt_key": self.key.public,
            "cluster_id": self.id,
            "recoveries": 0,
            "generation": 0,
            "council": 0,
            "release": 0,
            "watchers": None,
            "attempt": None,
            "config": [],
            "build": "test",
            "peer": None,
        }
        return Claims(**values | fields)

    def peer_claims(self, binding: PeerBinding, **fields: Any) -> Claims:
        return self.claims(peer=binding, **fields)

    def evidence(
        self,
        claims: Message | None = None,
        *,
        kind: str = "insecure-software",
        measurement: bytes = MEASUREMENT,
        signer: bytes = SIGNER,
        product_id: int = 1,
        svn: int = 1,
        flags: int = INIT | MODE64,
        quoted: bytes | None = None,
        signing_key: SigningKey | None = None,
        genesis: bytes | None = None,
        releases: bytes = b"",
        issued_at: int = NOW,
        tcb_info: Callable[[Statement], None] = as_is,
        qe_identity: Callable[[Statement], None] = as_is,
        quote: Callable[[bytes], bytes] = bytes,
    ) -> bytes:
        """Encoded evidence. `quoted`: report data other than the claims'; `quote`: changes the finished quote;
        `tcb_info` and `qe_identity` change the statements in place before they are signed."""
        exact = encode(claims or self.claims())
        report = EnclaveReport(measurement, signer, product_id, svn, quoted or report_data(exact), flags)
        info, identity = self.pki.tcb_info(issued_at), self.pki.qe_identity(issued_at)
        tcb_info(info)
        qe_identity(identity)
        return encode(
            Evidence(
                version=1,
                kind=kind,  # type: ignore[arg-type]
                quote=quote(synthetic_quote(self.pki, report)),
                collateral=self.pki.signed_collateral(info, identity, issued_at),
                claims=exact,
                genesis=genesis or self.genesis,
                cluster_signature=(signing_key or self.key).sign(Domain.CLAIMS_SIGNATURE, exact),
                releases=releases,
            )
        )

    def policy(self, **fields: Any) -> RolePolicy:
        """`fields` of the role's policy, or of its section for software evidence."""
        values = {"roots": [fingerprint(self.pki.root_der)], "measurements": [MEASUREMENT]}
        values |= {name: fields.pop(name) for name in SoftwarePolicy.__struct_fields__ if name in fields}
        return policies.role(**{"clusters": [self.id], "insecure_software": policies.software(**values)} | fields)
