"""Evidence, claims and the genesis statement (RFC 9334 terms; `spec/evidence.md`).

A quote commits to the claims by its report data, the claims commit to the keys of the session, and the key
of the cluster signs the claims, so a genuine enclave of *another* cluster can't stand in (RULES 6).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message, decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.limits import (
    MAX_CUSTODIANS,
    MAX_EVIDENCE,
    MAX_GENESIS,
    MAX_RELEASE_APPROVERS,
    MAX_RELEASES,
    MAX_WITNESSES,
)
from strongroom.protocol.primitives import KEM_PUBLIC_KEY, SIGNATURE, SIGNING_PUBLIC_KEY, Domain, digest

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes48 = Annotated[bytes, Meta(min_length=48, max_length=48)]
Bytes64 = Annotated[bytes, Meta(min_length=SIGNATURE, max_length=SIGNATURE)]
KemPublicKey = Annotated[bytes, Meta(min_length=KEM_PUBLIC_KEY, max_length=KEM_PUBLIC_KEY)]
SigningPublicKey = Annotated[bytes, Meta(min_length=SIGNING_PUBLIC_KEY, max_length=SIGNING_PUBLIC_KEY)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
UnixTime = Annotated[int, Meta(ge=0, le=2**40)]
Generation = Annotated[int, Meta(ge=0, le=2**40)]
"""Of a log. One that nobody can have used before is numbered by the time; of a larger number a host could make one
that no client takes, or after which none can come."""
ShortText = Annotated[str, Meta(max_length=256)]
ConfigText = Annotated[str, Meta(max_length=4096)]

Role = Literal["vault", "authenticator"]
Purpose = Literal["decide", "join", "recover"]
PlatformKind = Literal["sgx", "tdx", "snp", "nitro", "insecure-software"]


Stage = Literal["member", "founding", "joining", "recovering"]
"""How an enclave stands to its cluster. Only a member holds the key ring, and only a member serves clients."""
SshKeyBytes = Annotated[bytes, Meta(max_length=512)]
"""A public key as OpenSSH writes it, decoded (`protocol.sshsig`)."""


class Custodian(Message):
    """Somebody who holds a share of the recovery key."""

    name: ShortText
    recipient: Annotated[str, Meta(max_length=2600)]
    """age recipient to which the share was encrypted; empty for the automatic one of a development cluster."""
    key: Annotated[bytes, Meta(max_length=SIGNING_PUBLIC_KEY)]
    """P-256 public key (65) whose private half is derived from the share itself: a signature shows that the share was
    decrypted, and there is no other key to lose. Empty for the automatic one."""


class Council(Message):
    """Who may bring the key ring back, and who approves programs (RULES 6 to 8). Replaced as a whole."""

    recovery_key: KemPublicKey
    """The second wrap of every ring. Its private half was split into the custodians' shares and is kept nowhere."""
    ring_token: Bytes32
    """Digest of a secret that lives in the ring and begins with this council: who has a ring of before it, and so all
    that never turns, makes none that opens under it."""
    custodians: Annotated[list[Custodian], Meta(max_length=MAX_CUSTODIANS)]
    threshold: Count
    """How many shares make the recovery key, and how many custodians must sign what binds the cluster."""
    approvers: Annotated[list[SshKeyBytes], Meta(max_length=MAX_RELEASE_APPROVERS)]
    """Who approves programs that may have the ring. None: only the program that runs now gets it."""
    approvals: Count
    """How many of them it takes; 0 without approvers."""
    release_delay: Count
    """Seconds for which a list of releases must stand in the log before a program that is new in it gets the ring."""


class Genesis(Message):
    """The statement whose digest is the cluster id. `cluster_key`'s private half lives only in the key ring."""

    version: Literal[1]
    role: Role
    cluster_key: SigningPublicKey
    owner_key: SigningPublicKey
    """Makes namespaces: a session whose binding key is this one is the owner's (RULES 20)."""
    council: Council
    """The first one. Later ones are a chain of signed statements; the cluster id stays (`protocol.governance`)."""
    log_key: Bytes32
    """Ed25519 public key of the log's checkpoints (RULES 23). Its private half lives in the ring and never turns."""
    witnesses: Annotated[list[ShortText], Meta(max_length=MAX_WITNESSES)]
    """Verifier keys (C2SP signed-note) of who cosigns checkpoints. None: that a whole database was put back, or that a
    copy of it is served beside it, is noticed by clients alone."""
    cosignatures: Count
    """How many of them it takes: more than half, so that no two histories both get as many. 0 without witnesses."""
    development: bool
    """True: one automatic custodian, no protection against the operator. Said everywhere."""


class Watchers(Message):
    """Who cosigns the checkpoints of a log: as in a genesis statement, or as custodians named them since (RULES 25)."""

    witnesses: Annotated[list[ShortText], Meta(max_length=MAX_WITNESSES)]
    """Verifier keys, as in `Genesis`."""
    cosignatures: Count
    """How many of them it takes: more than half. 0 without witnesses."""

    def are(self, other: Watchers) -> bool:
        """The same witnesses, in whatever order, and as many of them."""
        mine, others = (sorted(one.witnesses) for one in (self, other))
        return (mine, self.cosignatures) == (others, other.cosignatures)


class Attempt(Message):
    """One attempt of one enclave to recover a ring: what a custodian's share is sealed to (RULES 25)."""

    key: KemPublicKey
    """Lives as long as the process, and nowhere else. Shares are sealed to this, never to the key of the session."""
    ring: Bytes32
    """Digest of the row of the sealed ring that is to be opened (`protocol.index.row_digest`)."""
    council: Count
    """Serial of the council whose shares are wanted: 0 is that of the genesis statement."""
    recoveries: Count
    """How often the ring was recovered before."""
    drill: bool
    """True: custodians try out whether their shares open it. Whatever they bring, this enclave never serves."""


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
    stage: Stage
    kem_key: KemPublicKey
    expires_at: UnixTime
    receipt_key: SigningPublicKey
    """Reserved for signed receipts; today the cluster key, and the session's own of an enclave that is no member."""
    cluster_id: Bytes32
    """Of an enclave that joins or recovers: of the cluster that it wants to be in. Zeros while founding."""
    recoveries: Count
    """How often custodians recovered the ring. Public, and rises only: clients keep the highest that they have seen."""
    generation: Generation
    """Of the log, as in its origin (RULES 25)."""
    council: Count
    """Serial of the council in office; of an enclave that recovers that of its attempt. Rises only: clients take
    nothing from custodians who were replaced. 0 while founding or joining."""
    release: Count
    """Serial of the list of releases that this enclave goes by; 0: none."""
    watchers: Watchers | None
    """Whom custodians have named at a recovery to watch the log; None: those of the genesis statement watch it. None of
    an enclave that is no member."""
    attempt: Attempt | None
    """Of an enclave that recovers, and of no other."""
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
    genesis: Annotated[bytes, Meta(max_length=MAX_GENESIS)]
    """The statement of the cluster; empty while founding."""
    cluster_signature: Annotated[bytes, Meta(max_length=SIGNATURE)]
    """By the genesis statement's cluster key, over the claims (64 bytes); empty of an enclave that is no member."""
    releases: Annotated[bytes, Meta(max_length=MAX_RELEASES)]
    """Encoded `SignedReleases` that `release` of the claims is the serial of; empty for 0."""


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
    """Decode evidence of a member and what it carries, trusting nothing. Raises `Untrusted` EVIDENCE."""
    evidence, claims = parse_any_evidence(untrusted_evidence)
    if claims.stage != "member":
        raise Untrusted(Number.EVIDENCE, f"this enclave is no member of a cluster, it is {claims.stage}")
    return evidence, claims, parse_genesis(evidence.genesis)


def parse_any_evidence(untrusted_evidence: bytes) -> tuple[Evidence, Claims]:
    """Decode evidence of an enclave at any stage, trusting nothing. Raises `Untrusted` EVIDENCE."""
    try:
        evidence = decode(untrusted_evidence, Evidence, limit=MAX_EVIDENCE)
        claims = decode(evidence.claims, Claims, limit=MAX_EVIDENCE)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"evidence does not parse ({error.error})") from None
    if claims.watchers is not None and claims.stage != "member":
        raise Untrusted(Number.EVIDENCE, "an enclave that is no member names who watches the log")
    names = [value.name for value in claims.config]
    if names != sorted(set(names)):
        raise Untrusted(Number.EVIDENCE, "configuration values are not sorted and unique")
    if (claims.attempt is not None) != (claims.stage == "recovering"):
        raise Untrusted(Number.EVIDENCE, "an enclave that recovers names its attempt, and no other does")
    return evidence, claims


def parse_genesis(untrusted_genesis: bytes) -> Genesis:
    """Raises `Untrusted` EVIDENCE."""
    try:
        return decode(untrusted_genesis, Genesis, limit=MAX_GENESIS)
    except Misuse as error:
        raise Untrusted(Number.EVIDENCE, f"the genesis statement does not parse ({error.error})") from None


def watchers_by(genesis: Genesis, named: Watchers | None) -> Watchers:
    """Who watches a log: whom custodians `named` last, else those of the genesis statement."""
    return named or Watchers(witnesses=genesis.witnesses, cosignatures=genesis.cosignatures)
