"""What is fuzzed: each function that reads evidence, or what comes with it, with good input and what it promises.

Every subject promises the same: whatever comes in, nothing but a declared error comes out, with a reason that is fit
for a terminal, and nothing is accepted that says anything else than what was signed. Used by `python -m tests.fuzz`
and by `tests/property/test_evidence_parsers.py`.
"""

from __future__ import annotations

import binascii
import json
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.nitro import verify_nitro_document
from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.snp import verify_snp_report
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.attestation.trust_file import format_trust_policy, parse_trust_policy
from strongroom.attestation.verification import HARDWARE, verify_quote
from strongroom.client.errors import BadInput
from strongroom.client.release import REGISTERS, Release, parse_release, release_text
from strongroom.enclave.platform.synthetic_pki import SyntheticPki, raw_signature
from strongroom.enclave.platform.synthetic_quote import EnclaveReport
from strongroom.host.collateral import amd, intel
from strongroom.host.collateral.cache import Cache, Kept
from strongroom.host.collateral.items import Answer, Item, Unusable, Wanted
from strongroom.host.collateral.table import read_table
from strongroom.protocol.errors import Misuse, Unavailable, Untrusted
from strongroom.protocol.evidence import PlatformKind
from strongroom.protocol.primitives import fingerprint
from tests.support import evidence, policies, synthetic_nitro, synthetic_snp, synthetic_tdx

NOW: Final = evidence.NOW
LIMIT: Final = 64 * 1024
"""Bytes of one part of an input: as many as a part of evidence may have."""
ROOT: Final = Path(__file__).resolve().parents[2]
VECTORS: Final = ROOT.parent / "shared" / "vectors"
"""Evidence of real hardware, if it is there: no part of the repository."""

Parts = tuple[bytes, ...]


@dataclass(kw_only=True)
class Subject:
    """One function, or several that read the same."""

    seeds: Sequence[Parts]
    """Good input, in the parts that `read` takes."""
    read: Callable[..., object]
    declared: tuple[type[Exception], ...] = (Untrusted,)
    signed: bool = True
    """What is accepted must say what a seed says. False: nobody signs it, or the subject signs whatever comes."""

    @cached_property
    def said(self) -> list[object]:
        return [self.read(*seed) for seed in self.seeds]

    def feed(self, *parts: bytes) -> bool:
        """Whether it is accepted. Raises what must never be raised."""
        try:
            said = self.read(*parts)
        except self.declared as error:
            if not str(error).isprintable():
                raise AssertionError(f"a reason that is not fit for a terminal: {error!s:.200}") from None
            return False
        if self.signed and said not in self.said:
            raise AssertionError(f"accepted, though it says what nobody signed: {said}")
        return True


def number(part: bytes) -> int:
    """A time as a part of an input."""
    return int.from_bytes(part[:9], "big", signed=True)


def time(at: int) -> bytes:
    return at.to_bytes(9, "big", signed=True)


# --- the platforms' verifiers -------------------------------------------------------------------------------------


@cache
def sgx() -> Subject:
    pki = evidence.pki()
    report = EnclaveReport(bytes(32), bytes(32), 1, 1, bytes(64))
    quote, collateral = synthetic_tdx.sgx_quote(pki, report), pki.collateral(NOW)
    return Subject(
        seeds=[(quote, collateral), (quote, json.dumps(json.loads(collateral), indent=1).encode())],
        read=lambda quote, collateral: verify_sgx_quote(quote, collateral, pki.root_der, NOW),
    )


@cache
def tdx() -> Subject:
    pki = synthetic_tdx.TdxPki(bytes(32), NOW - 1000)
    collateral = pki.collateral(NOW)
    quotes = [synthetic_tdx.tdx_quote(pki)]
    quotes += [
        synthetic_tdx.tdx_quote(pki, version=5, body=body) for body in (synthetic_tdx.TDX_10, synthetic_tdx.TDX_15)
    ]
    return Subject(
        seeds=[(quote, collateral) for quote in quotes],
        read=lambda quote, collateral: verify_tdx_quote(quote, collateral, pki.root_der, NOW),
    )


@cache
def snp() -> Subject:
    genoa, turin = synthetic_snp.amd("Genoa"), synthetic_snp.amd("Turin")
    chains = [*genoa.chains, *turin.chains]
    crl = genoa.crl(synthetic_snp.Revoked(7))
    leaf = genoa.leaf()
    return Subject(
        seeds=[
            (genoa.report(), genoa.collateral(leaf=leaf)),
            (genoa.report(), genoa.collateral(leaf=leaf, crl=crl)),
            (genoa.report("vlek", version=2), genoa.collateral("vlek", crl=crl)),
            (genoa.report("vlek", version=2), genoa.collateral("vlek")),
            (turin.report(), turin.collateral()),
        ],
        read=lambda report, collateral: verify_snp_report(report, collateral, NOW, chains=chains),
    )


@cache
def nitro() -> Subject:
    pki = synthetic_nitro.SyntheticNitro()
    documents = [pki.document(), pki.document(payload={"user_data": None, "public_key": b"key", "nonce": b"n"})]
    return Subject(
        seeds=[(document,) for document in documents],
        read=lambda document: verify_nitro_document(document, NOW, root=pki.root),
    )


# --- where the platforms meet -------------------------------------------------------------------------------------

KINDS: Final[tuple[PlatformKind, ...]] = (*HARDWARE, "insecure-software")


@cache
def quote() -> Subject:
    """`verify_quote`, at any time: real evidence of each kind where there is some, else the makers' roots are bare."""
    pki = evidence.pki()
    synthetic = [sgx().seeds[0], tdx().seeds[0], snp().seeds[1], (*nitro().seeds[0], b"")]
    seeds = [(bytes((KINDS.index("insecure-software"),)), time(NOW), *sgx().seeds[0])]

    def read(kind: bytes, now: bytes, quote: bytes, collateral: bytes) -> object:
        report = verify_quote(
            KINDS[kind[0] % len(KINDS)] if kind else "sgx",
            quote,
            collateral,
            platforms=KINDS,
            insecure_roots=[fingerprint(pki.root_der)],
            now=number(now),
        )
        # Lists and statements of one maker may be exchanged for those of another day: they say until when, not who.
        return type(report), report.registers, report.report_data, report.root

    subject = Subject(seeds=seeds + real(), read=read)
    _ = subject.said  # before seeds that are refused join
    subject.seeds = [
        *subject.seeds,
        *((bytes((at,)), time(NOW), *parts) for at, parts in enumerate(synthetic)),
    ]
    return subject


def real() -> list[Parts]:
    """Kind, time, quote and collateral of what verifies under the makers' own roots."""
    if not VECTORS.is_dir():
        return []
    found: list[Parts] = []
    for vector in json.loads((VECTORS / "index.json").read_text()):
        kind = vector["name"].partition("/")[0]
        files = {
            name: VECTORS / vector[name]
            for name in ("quote", "collateral", "doc", "report", "leaf", "chain")
            if name in vector
        }
        if kind not in HARDWARE or str(vector.get("kind", "")).startswith("synthetic"):
            continue
        parts = {name: path.read_bytes() for name, path in files.items()}
        if kind == "nitro":
            both = (parts["doc"], b"")
        elif kind == "snp":
            both = (parts["report"], pem(parts["leaf"]) + parts["chain"])
        else:
            both = (unpadded(parts["quote"]), parts["collateral"])
        found.append((bytes((KINDS.index(kind),)), time(vector["now"]), *both))
    return found


def pem(der: bytes) -> bytes:
    text = binascii.b2a_base64(der, newline=False)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


def unpadded(quote: bytes) -> bytes:
    """A quote without what its cloud appended: the size of the signature data says where it ends."""
    body = {3: 384, 4: 584, 5: 6 + int.from_bytes(quote[50:54], "little")}[quote[0]]
    return quote[: 48 + body + 4 + int.from_bytes(quote[48 + body : 48 + body + 4], "little")]


@cache
def appraisal() -> Subject:
    cluster = evidence.Cluster("vault")
    policy = cluster.policy()

    def read(untrusted: bytes) -> object:
        genuine = appraise(untrusted, role="vault", policy=policy, now=NOW).genuine
        return genuine.kind, genuine.claims, genuine.genesis, genuine.report

    return Subject(seeds=[(cluster.evidence(),)], read=read)


# --- what a maker or a hardware key signs: nonsense from there must be refused as well --------------------------------


@cache
def signed_statements() -> Subject:
    """TCB info and QE identity, any text, signed by the key that may."""
    pki = evidence.pki()
    quote, collateral = sgx().seeds[0]
    good = json.loads(collateral)

    def read(tcb_info: bytes, qe_identity: bytes) -> object:
        return verify_sgx_quote(quote, restated(pki, good, tcb_info, qe_identity), pki.root_der, NOW)

    return Subject(seeds=[(good["tcb_info"].encode(), good["qe_identity"].encode())], read=read, signed=False)


def restated(pki: SyntheticPki, good: dict[str, Any], tcb_info: bytes, qe_identity: bytes) -> bytes:
    """Collateral with other statements, signed as Intel would."""
    parts = dict(good)
    for name, said in (("tcb_info", tcb_info), ("qe_identity", qe_identity)):
        text = said.decode("utf-8", "replace")
        parts |= {name: text, f"{name}_signature": raw_signature(pki._tcb_key, text.encode()).hex()}
    return json.dumps(parts).encode()


@cache
def signed_sgx() -> Subject:
    """Header and report of an SGX quote."""
    pki = evidence.pki()
    quote, collateral = sgx().seeds[0]
    return Subject(
        seeds=[(quote[:432],)],
        read=lambda body: verify_sgx_quote(synthetic_tdx.sign_sgx(pki, body), collateral, pki.root_der, NOW),
        signed=False,
    )


@cache
def signed_tdx() -> Subject:
    """Header and report of a TDX quote."""
    pki = synthetic_tdx.TdxPki(bytes(32), NOW - 1000)
    collateral = tdx().seeds[0][1]
    return Subject(
        seeds=[(quote[:size],) for (quote, _), size in zip(tdx().seeds, (632, 638, 702), strict=True)],
        read=lambda body: verify_tdx_quote(synthetic_tdx.sign_tdx(pki, body), collateral, pki.root_der, NOW),
        signed=False,
    )


@cache
def signed_snp() -> Subject:
    """Body of an SNP report."""
    chip = synthetic_snp.amd("Genoa")
    collateral = snp().seeds[0][1]

    def read(body: bytes) -> object:
        report = body + synthetic_snp.signature(chip.attestation_key, body)
        return verify_snp_report(report, collateral, NOW, chains=chip.chains)

    return Subject(seeds=[(snp().seeds[0][0][: synthetic_snp.SIGNED],)], read=read, signed=False)


@cache
def signed_nitro() -> Subject:
    """Payload of a Nitro document."""
    pki = synthetic_nitro.SyntheticNitro()
    return Subject(
        seeds=[(cbor2.dumps(pki.payload()),)],
        read=lambda payload: verify_nitro_document(pki.document(payload=payload), NOW, root=pki.root),
        signed=False,
    )


# --- files of people ----------------------------------------------------------------------------------------------


@cache
def trust_policy() -> Subject:
    role = policies.role(
        clusters=[bytes(32)],
        sgx=policies.sgx(measurements=[bytes(32)], platform_ids=[bytes(16)]),
        tdx=policies.tdx(),
        snp=policies.snp(),
        nitro=policies.nitro(),
        insecure_software=policies.software(roots=[bytes(32)]),
    )
    full = TrustPolicy(1, "insecure", role, policies.role(), [], 0)

    def read(text: bytes) -> object:
        policy = parse_trust_policy(text.decode("utf-8", "surrogateescape"))
        if parse_trust_policy(format_trust_policy(policy)) != policy:
            raise AssertionError("written anew, it is another policy")
        return policy

    return Subject(seeds=[(format_trust_policy(full).encode(),)], read=read, declared=(Misuse,), signed=False)


@cache
def release() -> Subject:
    def one(kind: Any, **fields: Any) -> Parts:
        registers = tuple((name, bytes(size)) for name, size in REGISTERS[kind].items())
        it = Release(
            version="1.0", role="vault", kind=kind, registers=registers, tcb=bytes(32), built="0" * 40, **fields
        )
        return release_text(it).encode(), it.name.encode()

    def read(text: bytes, name: bytes) -> object:
        found = parse_release(text.decode("utf-8", "surrogateescape"), name.decode("utf-8", "surrogateescape"))
        if parse_release(release_text(found), found.name) != found:
            raise AssertionError("written anew, it is another release")
        return found

    seeds = [one("sgx", signer=bytes(32), product=1, svn=2), one("tdx"), one("snp", signer=bytes(48)), one("nitro")]
    return Subject(seeds=seeds, read=read, declared=(BadInput,), signed=False)


# --- the host's collateral: nothing is verified there, but nothing may break it either --------------------------------


def _items(*wanted: Wanted) -> Callable[[bytes, bytes], object]:
    """Reads an answer as each of these items; declared is what all of them say."""

    def read(body: bytes, chain: bytes) -> object:
        found: list[Item | None] = []
        for one in wanted:
            try:
                # A chain that is not ASCII, or too long, is no chain to `sources` already.
                found.append(
                    one.read(Answer(body, chain[: 16 * 1024].decode("ascii", "replace").replace("\ufffd", "?")))
                )
            except Unusable:
                found.append(None)
        if not any(found):
            raise Unusable("by none")
        return found

    return read


@cache
def intel_answers() -> Subject:
    pki = evidence.pki()
    parts = json.loads(sgx().seeds[0][1])
    wanted = intel.wanted("sgx", sgx().seeds[0][0])
    info = f'{{"tcbInfo":{parts["tcb_info"]},"signature":"{parts["tcb_info_signature"]}"}}'.encode()
    identity = f'{{"enclaveIdentity":{parts["qe_identity"]},"signature":"{parts["qe_identity_signature"]}"}}'.encode()
    chain = pki.pck_chain
    lists = [parts[name].encode() for name in ("pck_crl", "root_ca_crl")]
    seeds = [*lists, *(binascii.unhexlify(one) for one in lists), info, identity]
    return Subject(seeds=[(seed, chain) for seed in seeds], read=_items(*wanted), declared=(Unusable,), signed=False)


@cache
def intel_quotes() -> Subject:
    """What is asked for on behalf of a quote."""

    def read(quote: bytes) -> object:
        try:
            return intel.wanted("sgx", quote)
        except Unavailable:
            return intel.wanted("tdx", quote)

    seeds = [(quote,) for quote, _ in (*sgx().seeds[:1], *tdx().seeds)]
    return Subject(seeds=seeds, read=read, declared=(Unavailable,), signed=False)


@cache
def amd_answers() -> Subject:
    chip = synthetic_snp.amd("Genoa")
    leaf = chip.leaf()
    wanted: list[Wanted] = [
        amd.leaf(amd.read_report(chip.report()), "Genoa"),
        amd.Chain("vcek", "Genoa"),
        amd.Chain("vlek", "Genoa"),
        amd.Revocations("vcek", "Genoa"),
    ]
    items = _items(*wanted)

    def read(body: bytes) -> object:
        try:
            return items(body, b"")
        except Unusable:
            return amd.read_provided_leaf(body, "vlek")

    parts = (leaf, chip.leaf("vlek"), chip.crl(synthetic_snp.Revoked(5)))
    ders = [part.public_bytes(Encoding.DER) for part in parts]
    pems = [synthetic_snp.pem(*some) for some in ((leaf,), (chip.ask, chip.ark), (chip.asvk, chip.ark), (parts[2],))]
    return Subject(seeds=[(seed,) for seed in ders + pems], read=read, declared=(Unusable,), signed=False)


@cache
def amd_reports() -> Subject:
    """What is asked for on behalf of a report."""

    def read(report: bytes) -> object:
        found = amd.read_report(report)
        return [(leaf.name, leaf.url(amd.SERVICE)) for leaf in (amd.leaf(found, one) for one in found.products)]

    seeds = [(report,) for report, _ in snp().seeds]
    return Subject(seeds=seeds, read=read, declared=(Unavailable,), signed=False)


@cache
def cache_files() -> Subject:
    """A file of the collateral cache. Its digest finds accidents: libFuzzer guesses it in a minute."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name)
    kept = Cache(path)
    kept.store(Kept(1, "item", NOW, "chain", bytes(range(256))))
    file = next(path.glob("*"))

    def read(content: bytes, _: object = folder) -> object:
        file.write_bytes(content)
        found = kept.load("item")
        if found is None:
            raise Unusable("damaged")
        return found

    return Subject(seeds=[(file.read_bytes(),)], read=read, declared=(Unusable,), signed=False)


@cache
def tables() -> Subject:
    """A hypervisor's table of certificates: whatever of it can be read, never an error."""
    parts = (synthetic_snp.amd("Genoa").leaf(), synthetic_snp.amd("Genoa").ask, synthetic_snp.amd("Genoa").ark)
    names = ("63da758de6644564adc5f4b93be8accd", "4ab7b379bbac4fe4a02f05aef327c782", "c0b406a4a803495297433fb6014cd0ae")
    head, body = b"", b""
    for name, part in zip(names, parts, strict=True):
        der = part.public_bytes(Encoding.DER)
        head += bytes.fromhex(name) + struct.pack("<II", 24 * 4 + len(body), len(der))
        body += der
    return Subject(seeds=[(head + bytes(24) + body,)], read=read_table, declared=(), signed=False)


SUBJECTS: Final[dict[str, Callable[[], Subject]]] = {
    "sgx": sgx,
    "tdx": tdx,
    "snp": snp,
    "nitro": nitro,
    "quote": quote,
    "appraisal": appraisal,
    "signed-statements": signed_statements,
    "signed-sgx": signed_sgx,
    "signed-tdx": signed_tdx,
    "signed-snp": signed_snp,
    "signed-nitro": signed_nitro,
    "trust-policy": trust_policy,
    "release": release,
    "intel-answers": intel_answers,
    "intel-quotes": intel_quotes,
    "amd-answers": amd_answers,
    "amd-reports": amd_reports,
    "cache-files": cache_files,
    "tables": tables,
}
