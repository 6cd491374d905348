"""Every use of a domain label: what is computed under it and which parts it frames, with a sample of each part.

The table of spec/primitives.md and the golden file authenticated-bytes.txt are made from this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from strongroom.protocol.primitives import Domain, frame_parts


class Use(NamedTuple):
    domain: Domain
    by: str
    parts: tuple[tuple[str, bytes], ...] = ()


def _of(first: int, size: int) -> bytes:
    """Sample bytes: counting up from `first`."""
    return bytes((first + at) % 256 for at in range(size))


CLUSTER = ("cluster id (32)", _of(0xC0, 32))
BINDING = ("binding public key (65)", b"\x04" + _of(1, 64))
SESSION = ("session id (16)", _of(0x50, 16))
METHOD = ("method digest (32)", _of(0x20, 32))
NAMESPACE = ("namespace (UTF-8)", "schlüssel".encode())
PERSON = ("principal id (UTF-8)", b"20ab:alice")
EPOCH = ("epoch (4, big-endian)", bytes(3) + b"\x01")
SMALL_MAP = b"\x81\xa1a\x01"


def _exact(name: str) -> tuple[tuple[str, bytes], ...]:
    return ((f"{name}, exact bytes", SMALL_MAP),)


USES: tuple[Use, ...] = (
    Use(Domain.GENESIS, "digest: cluster id", _exact("genesis statement")),
    Use(Domain.REPORT_DATA, "digest: first half of the report data", _exact("claims")),
    Use(Domain.CLAIMS_SIGNATURE, "signature by the cluster key", _exact("claims")),
    Use(Domain.EVIDENCE, "digest: what a hello says it accepted", _exact("evidence")),
    Use(Domain.RATCHET_STEP, "expand: the next state of the ratchet"),
    Use(Domain.RATCHET_KEY, "expand: seed of this period's HPKE key"),
    Use(Domain.HELLO, "HPKE info of a hello", (("key id (8)", _of(0x10, 8)),)),
    Use(Domain.ANSWER, "derive: key of the answer", (("SHA-256 of the hello (32)", _of(0x80, 32)),)),
    Use(Domain.SERVER_SEED, "HPKE info of the server's seed", (SESSION,)),
    Use(
        Domain.TRANSCRIPT,
        "digest: transcript",
        (
            ("role (ASCII)", b"vault"),
            ("evidence digest (32)", _of(0xE0, 32)),
            ("hello", _of(0, 24)),
            ("answer", _of(0x40, 24)),
        ),
    ),
    Use(Domain.PROOF, "signature by the binding key", (("transcript (32)", _of(0x70, 32)),)),
    Use(Domain.TRAFFIC, "derive: key of one direction", (("direction (ASCII)", b"client to server"),)),
    Use(
        Domain.FRAME,
        "associated data of a frame, before the counter",
        (SESSION, ("direction (ASCII)", b"client to server")),
    ),
    Use(Domain.RING, "derive: key of the sealed ring"),
    Use(
        Domain.RING,
        "digest: what a sealed ring is bound to: the charter, and each instance in its order",
        (*_exact("charter"), *_exact("instance"), ("instance, exact bytes", b"\x81\xa1a\x02")),
    ),
    Use(Domain.RING_TOKEN, "digest: by which a council knows the secret in its ring", (("token (32)", _of(0x10, 32)),)),
    Use(Domain.INSTANCE_WRAP, "derive: seed of an instance's key, from the platform's sealing key"),
    Use(Domain.RING_WRAP, "HPKE info of an instance's wrap of the ring", (CLUSTER, *_exact("instance"))),
    Use(Domain.RECOVERY_WRAP, "HPKE info of the custodians' wrap of the ring", (CLUSTER,)),
    Use(Domain.CUSTODIAN_KEY, "derive: a custodian's signing key, from his share", (("attempt (1)", b"\x00"),)),
    Use(Domain.COUNCIL, "digest: what the next succession names", _exact("genesis statement or succession")),
    Use(Domain.ACCEPTANCE, "signature by a custodian's key", _exact("genesis statement or succession")),
    Use(
        Domain.INVITATION,
        "signature by the owner's key",
        (CLUSTER, ("expires_at (8, big-endian)", (1_900_000_000).to_bytes(8, "big"))),
    ),
    Use(Domain.ENDORSEMENT, "signature by a custodian's key", _exact("succession")),
    Use(
        Domain.SHARE,
        "HPKE info of a share sealed to a recovery",
        (CLUSTER, ('"recover"', b"recover"), *_exact("attempt")),
    ),
    Use(Domain.ATTEMPT, "digest: names an attempt", (("attempt's key (1216)", _of(0x60, 24)),)),
    Use(Domain.GAP, "signature by a custodian's key; digest: names a gap", _exact("gap")),
    Use(Domain.RELEASES, "digest: names a list of releases in the log", _exact("list of releases")),
    Use(
        Domain.RECORD_HANDLE,
        "keyed hash: handle of a record by id",
        (('"id"', b"id"), ("record id (16)", _of(0xA0, 16))),
    ),
    Use(
        Domain.RECORD_HANDLE,
        "keyed hash: handle of a record by name",
        (('"name"', b"name"), NAMESPACE, ("name (UTF-8)", b"backup key")),
    ),
    Use(
        Domain.RECORD_HANDLE,
        "keyed hash: handle of a person's own record",
        (('"person"', b"person"), NAMESPACE, PERSON, ("name (UTF-8)", b"desk-1")),
    ),
    Use(Domain.NAMESPACE_HANDLE, "keyed hash: handle of a namespace", (NAMESPACE,)),
    Use(
        Domain.USAGE_HANDLE,
        "keyed hash: row of what is used of a quota",
        (NAMESPACE, ("principal id (UTF-8), empty for all", b"20ab:alice")),
    ),
    Use(
        Domain.USAGE_HANDLE,
        "keyed hash: row of what is used of a quota by marks",
        (NAMESPACE, ("principal id (UTF-8), empty for all", b"20ab:alice"), ('"marks"', b"marks")),
    ),
    Use(Domain.ATTEMPTS_HANDLE, "keyed hash: row of refused attempts", (("handle (32)", _of(0x30, 32)),)),
    Use(Domain.JOURNAL_HANDLE, "keyed hash: row of the journal of a record", (("handle (32)", _of(0x30, 32)),)),
    Use(Domain.BLOB_HANDLE, "keyed hash: row of the claim to a blob", (("blob id (16)", _of(0xB0, 16)),)),
    Use(Domain.RING_HANDLE, "digest: row of the sealed ring"),
    Use(Domain.RECORD, "derive: key of a row"),
    Use(
        Domain.RECORD,
        "associated data of a row",
        (
            ("format (1)", b"\x01"),
            CLUSTER,
            EPOCH,
            ("row key (32)", _of(0x30, 32)),
            ("version (8, big-endian)", bytes(7) + b"\x02"),
        ),
    ),
    Use(Domain.LOG_KEY, "derive: seed of the key that signs checkpoints of the log; key material is the handle key"),
    Use(Domain.LOG_ENTRY, "derive: root key of entries of the log; key material is the handle key"),
    Use(Domain.LOG_ENTRY, "digest: stands for the row key where an entry of the log is sealed"),
    Use(Domain.LOG_COMMITMENT, "digest: what a leaf says of its entry in public", _exact("entry")),
    Use(Domain.HEAD_HANDLE, "digest: row of the head of a shard", (("shard (8)", bytes(8)),)),
    Use(
        Domain.BUCKET_HANDLE,
        "digest: row of a bucket of the index",
        (("shard (8)", bytes(8)), ("number (8)", (5).to_bytes(8, "big"))),
    ),
    Use(
        Domain.BUCKET,
        "digest: a leaf of the index's tree",
        (
            ("number (8)", (5).to_bytes(8, "big")),
            ("row version (8)", (2).to_bytes(8, "big")),
            ("listings (88 each)", _of(0xC0, 88)),
        ),
    ),
    Use(Domain.ROW, "digest: a row as the index lists it", (("sealed row, exact bytes", _of(0xD0, 64)),)),
    Use(Domain.PAYLOAD, "digest: payload of `store`", (NAMESPACE, ("item, exact bytes", SMALL_MAP))),
    Use(
        Domain.PAYLOAD,
        "digest: payload of `update`, each part empty for nil, else 01 ‖ value",
        (
            ("secret", b"\x01key"),
            ("metadata", b""),
            ("instructions", b"\x01" + SMALL_MAP),
            ("terms, exact bytes", b"\x01" + SMALL_MAP),
        ),
    ),
    Use(
        Domain.PAYLOAD,
        "digest: payload of `fill`, each part 01 ‖ value",
        (("secret", b"\x01key"), ("metadata", b"\x01")),
    ),
    Use(Domain.PAYLOAD, "digest: payload of `create-namespace`", _exact("request")),
    Use(
        Domain.OPENING,
        "digest: what makes a `collect` the repetition of an earlier one",
        (PERSON, BINDING, ("request id (16)", _of(0xD0, 16))),
    ),
    Use(Domain.INSTRUCTIONS, "digest: instructions", _exact("instructions")),
    Use(Domain.METHOD, "digest: sign-in method", _exact("definition")),
    Use(Domain.RULES, "digest: rules", (("rules (UTF-8)", b"permit (principal, action, resource);"),)),
    Use(Domain.CONTEXT, "digest: record facts", _exact("facts")),
    Use(Domain.POLICY, "digest: trust policy of a role", _exact("policy")),
    Use(Domain.DECISION, "digest: decision request", _exact("request")),
    Use(Domain.NONCE, "digest: OIDC nonce", (METHOD, BINDING, ("salt (32)", _of(0x90, 32)))),
    Use(Domain.CAPSULE, "derive: key of a capsule; its associated data", (CLUSTER,)),
    Use(Domain.TICKET, "expand: the tickets' root key"),
    Use(Domain.TICKET, "derive: key of a ticket; associated data of a ticket", (CLUSTER,)),
    Use(Domain.DEVICE_FLOW, "derive: key of a device-flow handle; its associated data", (CLUSTER,)),
    Use(
        Domain.CHALLENGE,
        "digest: what a passkey, a key or an enclave answers for",
        (("kind (ASCII)", b"passkey"), METHOD, BINDING, ("salt (32)", _of(0x90, 32))),
    ),
    Use(Domain.CEREMONY, "derive: key of a handle of such a sign-in; its associated data", (CLUSTER,)),
    Use(Domain.WORKLOAD_AUDIENCE, "digest: audience of a workload's token", (BINDING,)),
    Use(Domain.EMAIL_CODE, "derive: key of a handle of a code; its associated data", (CLUSTER,)),
    Use(Domain.MARK, "digest: name of what must not come twice", (METHOD, ("what (bytes)", b"credential id"))),
    Use(Domain.MARKS_HANDLE, "keyed hash: row key of what a cluster says of a person's sign-ins", (CLUSTER, PERSON)),
    Use(Domain.STANDING_HANDLE, "keyed hash: row key of a record's standing", (("row key (32)", _of(0x30, 32)),)),
    Use(Domain.BLOB, "signature by the cluster key", _exact("blob statement")),
    Use(Domain.PLATFORM_SEALING, "software platform only", (("measurement (32)", _of(0xB0, 32)),)),
    Use(Domain.MEASUREMENT, "software platform only", (("role (ASCII)", b"vault"),)),
    Use(
        Domain.MEASUREMENT,
        "digest: stands for a measurement of several registers in a line of the log",
        (("measurement", _of(0xB0, 144)),),
    ),
    Use(Domain.SYNTHETIC_PKI, "software platform only", (("purpose (ASCII)", b"key"), ("name (ASCII)", b"root"))),
)


def golden() -> str:
    """authenticated-bytes.txt. Raises ValueError when a domain has no use here."""
    if missing := set(Domain) - {use.domain for use in USES}:
        raise ValueError(f"spec/vectors/domains.py does not say what uses {sorted(d.name for d in missing)}")
    return "\n".join(_golden_lines())


def _golden_lines() -> Iterator[str]:
    yield "# Framed parts (primitives.md) of every use of every domain label, for sample parts. Made by generate.py."
    for use in USES:
        yield ""
        yield f"[{use.domain.value}] {use.by}"
        for name, sample in use.parts:
            yield f"  {name} = {sample.hex()}"
        yield f"  framed = {frame_parts(use.domain, *(sample for _, sample in use.parts)).hex()}"
    yield ""
