"""Every vector of the specification against the implementation, and the specification against the code."""

import json
import re
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.policy import RolePolicy, policy_digest
from strongroom.enclave.platform.synthetic_pki import SyntheticPki
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.door import Door
from strongroom.enclave.runtime.keys import TurningKey
from strongroom.protocol import evidence, instructions, messages, primitives, rules, session
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.link import Operation
from strongroom.protocol.primitives import Domain, KemKey, SigningKey
from strongroom.protocol.session import Channel, ClientHandshake
from tests.support.evidence import NOW, Cluster
from tools.node import commands

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "spec"
VECTORS = SPEC / "vectors"
FILES = sorted(VECTORS.rglob("*.json"))
JS = ROOT / "tests" / "vectors" / "js"
LAYERS = {
    "AES-GCM", "HPKE", "answer", "encoding", "evidence", "evidence digest", "frame", "instructions", "key id", "padding",
    "proof", "reply", "rules", "session id", "signature", "size", "window",
}  # fmt: skip

Inputs = dict[str, Any]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def parts_of(given: Inputs) -> tuple[Domain, list[bytes]]:
    return Domain(given["domain"]), [unhex(part) for part in given["parts"]]


def typed(kind: Any, value: Any) -> Any:
    """A message from its JSON form."""

    def dec_hook(wanted: type, text: Any) -> Any:
        raise NotImplementedError(wanted)

    return msgspec.convert(_bytes_in(msgspec.inspect.type_info(kind), value), kind, builtin_types=(bytes,))


def _bytes_in(kind: Any, value: Any) -> Any:
    match kind:
        case msgspec.inspect.Metadata():
            return _bytes_in(kind.type, value)
        case msgspec.inspect.BytesType():
            return unhex(value)
        case msgspec.inspect.IntType():
            return int(value)
        case msgspec.inspect.ListType():
            return [_bytes_in(kind.item_type, one) for one in value]
        case msgspec.inspect.StructType():
            inner = {field.encode_name: _bytes_in(field.type, value[field.encode_name]) for field in kind.fields}
            return ({kind.tag_field: value[kind.tag_field]} if kind.tag_field else {}) | inner
        case msgspec.inspect.UnionType():
            if value is None:
                return None
            others = [one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)]
            fits = [one for one in others if not isinstance(one, msgspec.inspect.StructType) or value[one.tag_field] == one.tag]
            (one,) = fits
            return _bytes_in(one, value)
    return value


# --- what is done with the inputs of each kind of vector: the outputs, or an error ------------------------------


def frame_parts(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    return {"framed": primitives.frame_parts(domain, *parts)}


def digest(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    return {"digest": primitives.digest(domain, *parts)}


def keyed_hash(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    return {"hash": primitives.keyed_hash(unhex(given["key"]), domain, *parts)}


def derive_key(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    return {"key": primitives.derive_key(unhex(given["secret"]), domain, *parts, salt=unhex(given["salt"]))}


def expand_key(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    return {"key": primitives.expand_key(unhex(given["key"]), domain, *parts)}


def open_once(given: Inputs) -> Inputs:
    plaintext = primitives.open_once(unhex(given["key"]), unhex(given["sealed"]), unhex(given["associated"]))
    return {"plaintext": plaintext}


def kem_key(given: Inputs) -> Inputs:
    public = KemKey(unhex(given["seed"])).public
    return {"public": public, "key_id": session.key_id(public)}


def hpke_open(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    return {"plaintext": KemKey(unhex(given["seed"])).open(unhex(given["sealed"]), domain, *parts)}


def verify_signature(given: Inputs) -> Inputs:
    domain, parts = parts_of(given)
    primitives.verify_signature(unhex(given["public"]), unhex(given["signature"]), domain, *parts)
    return {}


def unpad(given: Inputs) -> Inputs:
    return {"message": primitives.unpad(unhex(given["padded"]))}


def digest_of(given: Inputs) -> Inputs:
    exact = unhex(given["exact"])
    functions: dict[str, Callable[[bytes], bytes]] = {
        "method": instructions.method_digest,
        "instructions": instructions.instructions_digest,
        "rules": lambda text: instructions.rules_digest(text.decode()),
        "context": messages.context_digest,
        "decision": messages.decision_digest,
    }
    return {"digest": functions[given["domain"]](exact)}


def nonce(given: Inputs) -> Inputs:
    method, binding_key, salt = (unhex(given[name]) for name in ("method", "binding_key", "salt"))
    return {"nonce": instructions.bound_nonce(method, binding_key, salt)}


def open_capsule(given: Inputs) -> Inputs:
    capsule = unhex(given["capsule"])
    key = TurningKey(unhex(given["ratchet"]), 0).find(capsule, 0)
    contents = key.open(capsule[session.KEY_ID :], Domain.CAPSULE, unhex(given["vault_cluster"]))
    return {"contents": decode(contents, messages.CapsuleContents, limit=MAX_MESSAGE)}


def decode_message(given: Inputs) -> Inputs:
    kind = type_named(given["type"])
    return {"value": decode(unhex(given["message"]), kind, limit=given["limit"])}


def type_named(name: str) -> Any:
    from strongroom.attestation import policy

    return next(vars(module)[name] for module in (messages, instructions, evidence, session, policy) if name in vars(module))


def verify_claims(given: Inputs) -> Inputs:
    """The claims in evidence whose quote holds the report data stated; everything else about it is in order."""
    cluster = Cluster("vault")
    exact = unhex(given["claims"])
    quote = EnclaveReport(bytes(32), bytes(32), 1, 1, unhex(given["report_data"]))
    shown = encode(
        evidence.Evidence(
            version=1,
            kind="insecure-software",
            quote=synthetic_quote(cluster.pki, quote),
            collateral=cluster.pki.collateral(NOW),
            claims=exact,
            genesis=unhex(given["genesis"]),
            cluster_signature=unhex(given["cluster_signature"]),
        )
    )
    assert given["now"] == NOW
    policy = cluster.policy(
        measurements=[bytes(32)],
        clusters=[unhex(one) for one in given["clusters"]],
        config=[evidence.ConfigValue(**one) for one in given["config"]],
    )
    appraise(shown, role=given["role"], policy=policy, now=given["now"])
    return {"cluster_id": evidence.cluster_id(unhex(given["genesis"])), "report_data": evidence.report_data(exact)}


def appraise_evidence(given: Inputs) -> Inputs:
    policy = typed(RolePolicy, given["policy"])
    found = appraise(unhex(given["evidence"]), role=given["role"], policy=policy, now=given["now"])
    genuine = found.genuine
    return {
        "evidence_digest": genuine.evidence_digest,
        "policy_digest": policy_digest(policy),
        "cluster_id": genuine.claims.cluster_id,
        "measurement": genuine.measurement,
        "signer": genuine.signer,
        "product_id": genuine.product_id,
        "svn": genuine.svn,
        "kem_key": genuine.claims.kem_key,
        "signer_can_read": found.signer_can_read,
    }
