"""Evidence, claims and the genesis statement (RFC 9334 terms; `spec/evidence.md`).

A quote commits to the claims by its report data, the claims commit to the keys of the session, and the key
of the cluster signs the claims, so a genuine enclave of *another* cluster can't stand in (RULES 6).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.limits import MAX_EVIDENCE, MAX_WITNESSES
from strongroom.protocol.primitives import KEM_PUBLIC_KEY, SIGNATURE, SIGNING_PUBLIC_KEY, Domain, digest

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes48 = Annotated[bytes, Meta(min_length=48, max_length=48)]
Bytes64 = Annotated[bytes, Meta(min_length=SIGNATURE, max_length=SIGNATURE)]
KemPublicKey = Annotated[bytes, Meta(min_length=KEM_PUBLIC_KEY, max_length=KEM_PUBLIC_KEY)]
SigningPublicKey = Annotated[bytes, Meta(min_length=SIGNING_PUBLIC_KEY, max_length=SIGNING_PUBLIC_KEY)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
UnixTime = Annotated[int, Meta(ge=0, le=2**40)]
ShortText = Annotated[str, Meta(max_length=256)]
ConfigText = Annotated[str, Meta(max_length=4096)]

Role = Literal["vault", "authenticator"]
Purpose = Literal["decide", "join", "recover"]
PlatformKind = Literal["sgx", "tdx", "snp", "nitro", "insecure-software"]


class Custodian(Message):
    """Somebody who holds a share of the recovery key."""

    name: ShortText
    kem_key: KemPublicKey


class Genesis(Message):
    """The statement whose digest is the cluster id. `cluster_key`'s private half lives only in the key ring."""

    version: Literal[1]
    role: Role
    cluster_key: SigningPublicKey
    owner_key: SigningPublicKey
    """Makes namespaces: a session whose binding key is this one is the owner's (RULES 20)."""
    custodians: Annotated[list[Custodian], Meta(max_length=32)]
    threshold: Count
    approvers: Annotated[list[SigningPublicKey], Meta(max_length=32)]
    approvals: Count
    log_key: Bytes32
    """Ed25519 public key of the log's checkpoints (RULES 23). Its private half lives in the ring and never turns."""
    witnesses: Annotated[list[ShortText], Meta(max_length=MAX_WITNESSES)]
    """Verifier keys (C2SP signed-note) of who cosigns checkpoints. None: whole-database rollback is noticed by clients
    alone, and the cluster has exactly one instance."""
    cosignatures: Count
    """How many of them it takes: more than half, so that no two histories both get as many. 0 without witnesses."""
    development: bool
    """True: one automatic custodian, no protection against the operator. Said everywhere."""


class PeerBinding(Message):
    """Makes evidence good for one handshake only: an enclave that acts as a client (RULES 4)."""

    purpose: Purpose
    kem_key: KemPublicKey
    binding_key: SigningPublicKey
    peer_evidence: Bytes32


class ConfigValue(Message):
    """One configuration value that affects trust, in clear (RULES 7)."""

    name: ShortText
    value: ConfigText


class Claims(Message):
    """What the quote's report data commits to."""

    version: Literal[1]
    role: Role
    kem_key: KemPublicKey
    expires_at: UnixTime
    receipt_key: SigningPublicKey
    """Reserved for signed receipts; today the cluster key."""
    cluster_id: Bytes32
    config: Annotated[list[ConfigValue], Meta(max_length=64)]
    """Sorted by name, each name once; only values that differ from the default."""
    build: ShortText
    peer: PeerBinding | None


class Evidence(Message):
    """What `GET /v1/evidence` answers. Nothing here is trusted before appraisal."""

    version: Literal[1]
    kind: PlatformKind
    quote: Annotated[bytes, Meta(max_length=32 * 1024)]
    collateral: Annotated[bytes, Meta(max_length=64 * 1024)]
    """What the quote is appraised with, for each kind of platform another thing."""
    claims: Annotated[bytes, Meta(max_length=16 * 1024)]
    genesis: Annotated[bytes, Meta(max_length=16 * 1024)]
    cluster_signature: Bytes64
    """By the genesis statement's cluster key, over the claims."""


def report_data(claims: bytes) -> bytes:
    """The 64 bytes of report data: digest of the claims' exact bytes ‖ 32 zero bytes."""
    return digest(Domain.REPORT_DATA, claims) + bytes(32)


def cluster_id(genesis: bytes) -> bytes:
    """Cluster id (32 bytes) of the exact bytes of a genesis statement."""
    return digest(Domain.GENESIS, genesis)


def evidence_digest(evidence: bytes) -> bytes:
    """Digest (32 bytes) of the exact bytes of evidence: what a hello says it accepted."""
    return digest(Domain.EVIDENCE, evidence)


def parse_evidence(untrusted_evidence: bytes) -> tuple[Evidence, Claims, Genesis]:
    """Decode evidence and what it carries, trusting nothing. Raises `Untrusted` EVIDENCE."""
    try:
        evidence = decode(untrusted_evidence, Evidence, limit=MAX_EVIDENCE)
        claims = decode(evidence.claims, Claims, limit=MAX_EVIDENCE)
        genesis = decode(evidence.genesis, Genesis, limit=MAX_EVIDENCE)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"evidence does not parse ({error.error})") from None
    names = [value.name for value in claims.config]
    if names != sorted(set(names)):
        raise Untrusted(Number.EVIDENCE, "configuration values are not sorted and unique")
    return evidence, claims, genesis
