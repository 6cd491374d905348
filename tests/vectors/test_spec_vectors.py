"""Every vector of the specification against the implementation, and the specification against the code."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from strongroom.attestation import policy
from strongroom.attestation.amd_roots import AmdChain
from strongroom.attestation.appraisal import appraise, verify_released
from strongroom.attestation.candidates import appraise_candidate
from strongroom.attestation.nitro import verify_nitro_document
from strongroom.attestation.policy import ReleaseAuthority, RolePolicy, policy_digest
from strongroom.attestation.reports import Report, SgxReport
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.snp import verify_snp_report
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.door import Door
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.keys import TurningKey
from strongroom.protocol import (
    authenticator_messages,
    blobs,
    cluster_messages,
    evidence,
    governance,
    instructions,
    leaves,
    log_messages,
    messages,
    notes,
    primitives,
    releases,
    rules,
    session,
    shares,
    sign_in_messages,
    status,
    tlog,
    vault_messages,
)
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Number, StrongroomError, Untrusted
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.link import Operation
from strongroom.protocol.primitives import Domain, KemKey, SigningKey
from strongroom.protocol.session import Channel, ClientHandshake
from tests.support.evidence import NOW, Cluster

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "spec"
VECTORS = SPEC / "vectors"
FILES = sorted(VECTORS.rglob("*.json"))
PLACES = (
    messages,
    log_messages,
    vault_messages,
    sign_in_messages,
    authenticator_messages,
    instructions,
    evidence,
    session,
    policy,
    blobs,
    governance,
    releases,
    cluster_messages,
    leaves,
)
KINDS = SimpleNamespace(**{name: value for module in PLACES for name, value in vars(module).items()})
"""Message types by name, wherever they are defined."""
LAYERS = {
    "AES-GCM",
    "HPKE",
    "answer",
    "charter",
    "checkpoint",
    "encoding",
    "evidence",
    "evidence digest",
    "frame",
    "instructions",
    "key id",
    "padding",
    "proof",
    "quote",
    "releases",
    "reply",
    "rules",
    "session id",
    "share",
    "signature",
    "size",
    "window",
}

Inputs = dict[str, Any]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def parts_of(given: Inputs) -> tuple[Domain, list[bytes]]:
    return Domain(given["domain"]), [unhex(part) for part in given["parts"]]


def typed(kind: Any, value: Any) -> Any:
    """A message from its JSON form."""
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
            return _bytes_in(next(one for one in kind.types if _fits(one, value)), value)
    return value


def _fits(kind: Any, value: Any) -> bool:
    if value is not None and isinstance(kind, msgspec.inspect.StructType):
        return kind.tag_field is None or bool(value[kind.tag_field] == kind.tag)
    return isinstance(kind, msgspec.inspect.NoneType) == (value is None)


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
        "context": KINDS.context_digest,
        "decision": KINDS.decision_digest,
    }
    return {"digest": functions[given["domain"]](exact)}


def nonce(given: Inputs) -> Inputs:
    method, binding_key, salt = (unhex(given[name]) for name in ("method", "binding_key", "salt"))
    return {"nonce": instructions.bound_nonce(method, binding_key, salt)}


def sign_in_challenge(given: Inputs) -> Inputs:
    method, binding_key, salt = (unhex(given[name]) for name in ("method", "binding_key", "salt"))
    return {"challenge": instructions.sign_in_challenge(given["kind"], method, binding_key, salt)}


def workload_audience(given: Inputs) -> Inputs:
    return {
        "audience": instructions.workload_audience(unhex(given["authenticator_cluster"]), unhex(given["binding_key"]))
    }


def blob_statement(given: Inputs) -> Inputs:
    statement, signature, key = (unhex(given[name]) for name in ("statement", "signature", "cluster_key"))
    return {"value": blobs.verify_statement(statement, signature, key)}


def decode_message(given: Inputs) -> Inputs:
    kind = type_named(given["type"])
    return {"value": decode(unhex(given["message"]), kind, limit=given["limit"])}


def type_named(name: str) -> Any:
    return vars(KINDS)[name]


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
            releases=unhex(given["releases"]),
        )
    )
    assert given["now"] == NOW
    accepted = cluster.policy(
        measurements=[bytes(32)],
        clusters=[unhex(one) for one in given["clusters"]],
        config=[evidence.ConfigValue(**one) for one in given["config"]],
    )
    appraise(shown, role=given["role"], policy=accepted, now=given["now"])
    return {"cluster_id": evidence.cluster_id(unhex(given["genesis"])), "report_data": evidence.report_data(exact)}


def verify_candidate(given: Inputs) -> Inputs:
    """The same, of an enclave that holds no ring."""
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
            cluster_signature=b"",
            releases=b"",
        )
    )
    assert given["now"] == NOW
    accepted = cluster.policy(
        measurements=[bytes(32)],
        clusters=[unhex(one) for one in given["clusters"]],
        config=[evidence.ConfigValue(**one) for one in given["config"]],
    )
    appraise_candidate(shown, role=given["role"], stage=given["stage"], policy=accepted, releases=b"", now=given["now"])
    return {"report_data": evidence.report_data(exact)}


def verify_charter(given: Inputs) -> Inputs:
    charter = decode(unhex(given["charter"]), governance.Charter, limit=governance.MAX_CHARTER)
    genesis, councils = governance.verify_charter(charter)
    assert genesis.council == councils[0]
    return {
        "cluster_id": evidence.cluster_id(charter.genesis.statement),
        "council": len(councils) - 1,
        "generation": governance.parse_gap(charter.gaps[-1].statement).generation if charter.gaps else 0,
    }


def share(given: Inputs) -> Inputs:
    found = shares.parse_share(given["words"])
    return {"public": found.key.public, "threshold": found.threshold, "index": found.index}


def combine_shares(given: Inputs) -> Inputs:
    seed = shares.combine([shares.parse_share(words) for words in given["shares"]])
    return {"seed": seed, "public": KemKey(seed).public}


def verify_releases(given: Inputs) -> Inputs:
    found = releases.verify_releases(
        unhex(given["releases"]),
        cluster=unhex(given["cluster"]),
        role=given["role"],
        approvers=[unhex(key) for key in given["approvers"]],
        approvals=given["approvals"],
    )
    return {"serial": found.serial}


def released(given: Inputs) -> Inputs:
    authority = ReleaseAuthority([unhex(key) for key in given["approvers"]], given["approvals"], given["min_serial"])
    report: Any = SimpleNamespace(measurement=unhex(given["measurement"]))
    found = verify_released(
        given["kind"], report, authority, unhex(given["cluster"]), given["role"], unhex(given["releases"])
    )
    return {"serial": found.serial}


def releases_follow(given: Inputs) -> Inputs:
    kind = releases.ReleaseList
    current = None if given["current"] is None else typed(kind, given["current"])
    releases.verify_follows(typed(kind, given["next"]), current)
    return {"serial": given["next"]["serial"]}


def appraise_evidence(given: Inputs) -> Inputs:
    accepted = typed(RolePolicy, given["policy"])
    found = appraise(unhex(given["evidence"]), role=given["role"], policy=accepted, now=given["now"])
    genuine = found.genuine
    report = genuine.report
    assert isinstance(report, SgxReport)
    return {
        "evidence_digest": genuine.evidence_digest,
        "policy_digest": policy_digest(accepted),
        "cluster_id": genuine.claims.cluster_id,
        "measurement": report.measurement,
        "signer": report.signer,
        "product_id": report.product_id,
        "svn": report.svn,
        "kem_key": genuine.claims.kem_key,
        "signer_can_read": found.signer_can_read,
    }


def verify_quote(given: Inputs) -> Inputs:
    """A quote by itself, under the root or the chains that the vector names."""
    quote, collateral, now = unhex(given["quote"]), unhex(given["collateral"]), given["now"]
    match given["kind"]:
        case "sgx":
            return {"report": verify_sgx_quote(quote, collateral, unhex(given["root"]), now)}
        case "tdx":
            return {"report": verify_tdx_quote(quote, collateral, unhex(given["root"]), now)}
        case "snp":
            chains = [
                AmdChain(one["product"], one["key"], ark=unhex(one["ark"]), ask=unhex(one["ask"]))
                for one in given["chains"]
            ]
            return {"report": verify_snp_report(quote, collateral, now, chains=chains)}
        case "nitro":
            return {"report": verify_nitro_document(quote, now, root=unhex(given["root"]))}
    raise ValueError(given["kind"])


class Port:
    """Clock and randomness of a platform; nothing else of it is used here."""

    kind = "insecure-software"

    def now(self) -> float:
        return 1.0

    def random(self, size: int) -> bytes:
        return os.urandom(size)


class Shown(Identity):
    """An enclave whose current evidence has the digest that a vector states."""

    def __init__(self, port: Any, ratchet: bytes, shown: bytes) -> None:
        self.role = "vault"  # type: ignore[misc]
        self._clock = Clock(port)
        self._keys = TurningKey(ratchet, 0)
        self._accepted = {shown: self._keys.expires_at}


def hello(given: Inputs) -> Inputs:
    """Through the door of an enclave, as a host would bring it."""
    port: Any = Port()
    identity = Shown(port, unhex(given["ratchet"]), unhex(given["shown"]))
    service: Any = SimpleNamespace(requests=None)  # no request gets that far
    door = Door(port, Clock(port), identity, service)
    asyncio.run(door.handle(Operation.SESSION, unhex(given["hello"])))
    opened = session.open_hello(KemKey(unhex(given["server_kem_seed"])), unhex(given["hello"]))
    return {"message": encode(opened)}


def client_of(given: Inputs, server_kem_key: bytes, binding_key: bytes) -> ClientHandshake:
    """The client of a vector, as if it had just sent the hello that stands there."""
    client = ClientHandshake(
        given["role"],
        unhex(given["evidence"]),
        server_kem_key,
        binding_key,
        seed=unhex(given["client_seed"]),
        kem_seed=unhex(given["client_kem_seed"]),
    )
    client.hello = unhex(given["hello"])  # type: ignore[misc] # HPKE draws its own randomness: no two are alike
    return client


def answer(given: Inputs) -> Inputs:
    client = client_of(given, KemKey(bytes(32)).public, SigningKey.from_scalar(bytes(31) + b"\x01").public)
    channel = client.finish(unhex(given["answer"]))
    if "frame" in given:
        channel.open(unhex(given["frame"]))
    return {"session_id": channel.session_id}


def handshake(given: Inputs) -> Inputs:
    """Both sides; what only a random signature tells apart is looked at by a test of its own."""
    server = KemKey(unhex(given["server_kem_seed"]))
    binding = SigningKey.from_scalar(unhex(given["binding_scalar"]))
    client = client_of(given, server.public, binding.public)
    channel = client.finish(unhex(given["answer"]))
    opened = session.open_hello(server, client.hello)
    seed, salt = opened.seed, unhex(given["salt"])
    bound = hashlib.sha256(client.hello).digest()
    answer_key = primitives.derive_key(seed, Domain.ANSWER, bound, salt=salt)
    plaintext = primitives.open_once(answer_key, unhex(given["answer"])[32:], bound)
    message = decode(plaintext, session.Answer, limit=MAX_MESSAGE)
    assert message.session_id == channel.session_id == unhex(given["session_id"])
    seeds, transcript = seed + unhex(given["server_seed"]), channel.transcript
    return {
        "server_kem_key": server.public,
        "key_id": session.key_id(server.public),
        "client_kem_key": client.kem_public,
        "binding_key": binding.public,
        "hello_message": encode(opened),
        "answer_key": answer_key,
        "answer_message": plaintext,
        "transcript": transcript,
        "key_to_server": primitives.derive_key(seeds, Domain.TRAFFIC, session.TO_SERVER, salt=transcript),
        "key_to_client": primitives.derive_key(seeds, Domain.TRAFFIC, session.TO_CLIENT, salt=transcript),
        "proved_message": session.reply_message(0, encode(KINDS.Proved())),
    }


def proof(given: Inputs) -> Inputs:
    primitives.verify_signature(
        unhex(given["binding_key"]), unhex(given["signature"]), Domain.PROOF, unhex(given["transcript"])
    )
    return {}


def receiver(given: Inputs) -> Channel:
    """A channel that has received what came before."""
    other = {session.TO_SERVER: session.TO_CLIENT, session.TO_CLIENT: session.TO_SERVER}
    direction = given["direction"].encode()
    channel = Channel(
        unhex(given["session_id"]),
        unhex(given["seeds"]),
        unhex(given["transcript"]),
        sends=other[direction],
        receives=direction,
    )
    for earlier in given["before"]:
        with suppress(StrongroomError):
            channel.open(unhex(earlier))
    return channel


def frame(given: Inputs) -> Inputs:
    counter, message = receiver(given).open(unhex(given["frame"]))
    return {"counter": str(counter), "message": message}


def reply(given: Inputs) -> Inputs:
    counter, plaintext = receiver(given).open(unhex(given["frame"]))
    request, message = session.split_reply(plaintext)
    if request != given["request"]:
        raise Untrusted(Number.INTEGRITY)
    return {"counter": str(counter), "message": message}


def parse_instructions(given: Inputs) -> Inputs:
    instructions.parse_instructions(unhex(given["instructions"]))
    return {}


def verify_rules(given: Inputs) -> Inputs:
    return {"permitted": rules.verify_rules(given["rules"]).permitted}


def verifier_key(given: Inputs) -> Inputs:
    verifier = notes.parse_verifier(given["vkey"], given["type"])
    assert str(verifier) == given["vkey"]
    return {"key_name": verifier.name, "key_id": verifier.key_id, "public": verifier.public}


def checkpoint(given: Inputs) -> Inputs:
    signed = notes.verify_checkpoint(unhex(given["note"]), notes.parse_verifier(given["log"], notes.ED25519))
    assert signed.note == unhex(given["note"])
    found = signed.checkpoint
    return {"origin": found.origin, "size": found.size, "root": found.root}


def cosignatures(given: Inputs) -> Inputs:
    witnesses = [notes.parse_verifier(vkey, notes.COSIGNATURE) for vkey in given["witnesses"]]
    found = notes.cosignatures(notes.parse_checkpoint(unhex(given["note"])), witnesses)
    return {"cosignatures": [{"name": one.witness.name, "time": one.time} for one in found]}


def inclusion(given: Inputs) -> Inputs:
    proof = [unhex(node) for node in given["proof"]]
    tlog.verify_inclusion(given["index"], unhex(given["leaf"]), given["size"], unhex(given["root"]), proof)
    return {}


def consistency(given: Inputs) -> Inputs:
    proof = [unhex(node) for node in given["proof"]]
    old_root, root = unhex(given["old_root"]), unhex(given["root"])
    tlog.verify_consistency(given["old"], old_root, given["size"], root, proof)
    return {}


def code_challenge(given: Inputs) -> Inputs:
    return {"digest": hashlib.sha256(given["verifier"].encode()).digest()}


RUN: dict[str, Callable[[Inputs], Inputs]] = {
    "frame parts": frame_parts,
    "digest": digest,
    "keyed hash": keyed_hash,
    "derive key": derive_key,
    "expand key": expand_key,
    "open once": open_once,
    "kem key": kem_key,
    "hpke open": hpke_open,
    "verify signature": verify_signature,
    "unpad": unpad,
    "digest of": digest_of,
    "nonce": nonce,
    "sign-in challenge": sign_in_challenge,
    "workload audience": workload_audience,
    "blob statement": blob_statement,
    "code challenge": code_challenge,
    "decode": decode_message,
    "verify claims": verify_claims,
    "verify candidate": verify_candidate,
    "verify charter": verify_charter,
    "share": share,
    "combine shares": combine_shares,
    "verify releases": verify_releases,
    "released": released,
    "releases follow": releases_follow,
    "verify quote": verify_quote,
    "appraise": appraise_evidence,
    "hello": hello,
    "answer": answer,
    "handshake": handshake,
    "proof": proof,
    "frame": frame,
    "reply": reply,
    "parse instructions": parse_instructions,
    "verify rules": verify_rules,
    "verifier key": verifier_key,
    "checkpoint": checkpoint,
    "cosignatures": cosignatures,
    "inclusion": inclusion,
    "consistency": consistency,
}
SIGNED = {"proof", "prove_message", "first_frame", "reply_frame"}
"""Outputs of a handshake that `test_the_complete_run_is_proved` looks at."""


def read(path: Path) -> dict[str, Any]:
    """A vector, with inputs of other vectors filled in."""
    vector: dict[str, Any] = json.loads(path.read_text())
    for name, value in vector["inputs"].items():
        if isinstance(value, str) and value.startswith("@"):
            vector["inputs"][name] = read(path.with_name(f"{value[1:]}.json"))["inputs"][name]
    return vector


def to_json(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case Message() | Report():
            return to_json(msgspec.to_builtins(value, builtin_types=(bytes,)))
        case dict():
            return {str(name): to_json(one) for name, one in value.items()}
        case list() | tuple():
            return [to_json(one) for one in value]
        case int() if value > 2**53 - 1:
            return str(value)
    return value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(VECTORS).as_posix())
def test_vector(path):
    vector = read(path)
    run = RUN[vector["run"]]
    if vector["expect"] == "accept":
        outputs = to_json(run(vector["inputs"]))
        wanted = {name: value for name, value in vector.get("outputs", {}).items() if name not in SIGNED}
        assert {name: outputs[name] for name in wanted} == wanted
    else:
        assert vector["expect"]["layer"] in LAYERS
        with pytest.raises(StrongroomError) as refusal:
            run(vector["inputs"])
        assert refusal.value.number == vector["expect"]["error"]


def test_good_messages_have_one_encoding():
    for path in FILES:
        vector = read(path)
        if vector["run"] == "decode" and vector["expect"] == "accept":
            message = typed(type_named(vector["inputs"]["type"]), vector["outputs"]["value"])
            assert encode(message).hex() == vector["inputs"]["message"], path


def test_the_complete_run_is_proved():
    vector = read(VECTORS / "handshake" / "complete.json")
    given, outputs = vector["inputs"], vector["outputs"]
    binding, transcript = unhex(outputs["binding_key"]), unhex(outputs["transcript"])
    primitives.verify_signature(binding, unhex(outputs["proof"]), Domain.PROOF, transcript)
    seeds = unhex(given["client_seed"]) + unhex(given["server_seed"])
    session_id = unhex(given["session_id"])
    ends = {"sends": session.TO_CLIENT, "receives": session.TO_SERVER}
    server = Channel(session_id, seeds, transcript, **ends)
    counter, message = server.open(unhex(outputs["first_frame"]))
    assert (counter, message.hex()) == (0, outputs["prove_message"])
    prove = decode(message, KINDS.VaultRequest, limit=MAX_MESSAGE)
    assert prove == KINDS.Prove(signature=unhex(outputs["proof"]), evidence=None)
    assert server.seal(unhex(outputs["proved_message"])) == (0, unhex(outputs["reply_frame"]))


def test_every_error_a_vector_expects_has_words_in_the_specification():
    table = (SPEC / "errors.md").read_text()
    for path in FILES:
        expect = read(path)["expect"]
        if expect != "accept":
            assert f"| {expect['error']} |" in table


def test_the_specification_names_every_field_of_a_status():
    page = (SPEC / "cluster.md").read_text().partition("## Status")[2]
    kinds = [kind for kind in vars(status).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    assert len(kinds) == 6
    assert [name for kind in kinds for name in kind.__struct_fields__ if f"`{name}`" not in page] == []


def test_links_between_pages_lead_somewhere():
    for page in SPEC.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_domain_in_use_stands_in_the_golden_file_with_its_use():
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    used = set(re.findall(r"Domain\.([A-Z_]+)\b", source))
    golden = (VECTORS / "authenticated-bytes.txt").read_text()
    reserved = set(re.findall(r"^\[(.+)\] reserved$", golden, re.MULTILINE))
    for domain in Domain:
        assert f"[{domain.value}]" in golden
        assert (domain.name in used) != (domain.value in reserved), domain


def test_nothing_has_drifted():
    command = [sys.executable, str(VECTORS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_drift_is_noticed(tmp_path):
    copy = tmp_path / "spec"
    shutil.copytree(SPEC, copy, ignore=shutil.ignore_patterns("__pycache__"))
    victim = copy / "vectors" / "nonce" / "nonce.json"
    victim.write_text(victim.read_text().replace('"salt": "', '"salt": "00'))
    (copy / "vectors" / "nonce" / "surplus.json").write_text("{}")
    errors = copy / "errors.md"
    errors.write_text(errors.read_text().replace("| 101 |", "| 100 |"))
    command = [sys.executable, str(copy / "vectors" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for name in ("spec/vectors/nonce/nonce.json", "spec/vectors/nonce/surplus.json", "spec/errors.md"):
        assert name in done.stderr
