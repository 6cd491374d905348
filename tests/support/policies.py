"""Trust policies for tests: sections that accept one thing and let everything else be, and strategies for any."""

from typing import Any

from hypothesis import strategies as st
from msgspec import inspect as shape

from strongroom.attestation.policy import (
    NitroPolicy,
    ReleaseAuthority,
    RolePolicy,
    SgxPolicy,
    SnpPolicy,
    SnpProduct,
    SoftwarePolicy,
    TdxPolicy,
    TrustPolicy,
)
from strongroom.protocol.notes import COSIGNATURE, Verifier
from strongroom.protocol.primitives import NoteKey

INTEL: dict[str, Any] = {
    "tcb_statuses": ["UpToDate"],
    "grace_days": 0,
    "refused_advisories": [],
    "min_tcb_evaluation": 0,
    "platform_ids": None,
    "allow_smt": True,
    "allow_dynamic_platform": True,
    "allow_cached_keys": True,
}
APPROVERS = [
    b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", NoteKey(bytes([at]) * 32).public))
    for at in range(3)
]
"""Public keys as OpenSSH writes them."""
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def sgx(**fields: Any) -> SgxPolicy:
    return SgxPolicy(**INTEL | {"measurements": [], "signers": []} | fields)


def software(**fields: Any) -> SoftwarePolicy:
    return SoftwarePolicy(**INTEL | {"measurements": [], "signers": [], "roots": []} | fields)


def tdx(**fields: Any) -> TdxPolicy:
    return TdxPolicy(**INTEL | {"measurements": [], "allow_perfmon": False} | fields)


def snp(**fields: Any) -> SnpPolicy:
    values: dict[str, Any] = {
        "measurements": [],
        "signers": [],
        "products": [SnpProduct(name, 0, 0, 0, 0, 0) for name in ("Genoa", "Turin")],
        "chip_ids": None,
        "vmpls": [0],
        "vlek_providers": None,
        "allow_smt": True,
        "allow_migration_agent": False,
        "require_page_swap_disable": False,
        "require_crl": False,
    }
    return SnpPolicy(**values | fields)


def nitro(**fields: Any) -> NitroPolicy:
    return NitroPolicy(**{"measurements": [], "signers": [], "instances": None} | fields)


def role(**fields: Any) -> RolePolicy:
    """Nobody, unless `fields` says more."""
    values: dict[str, Any] = {
        "clusters": [],
        "config": [],
        "sgx": None,
        "tdx": None,
        "snp": None,
        "nitro": None,
        "insecure_software": None,
        "releases": None,
    }
    return RolePolicy(**values | fields)


def any_of(kind: shape.Type) -> st.SearchStrategy[Any]:
    """Every value of a type in a policy."""
    match kind:
        case shape.Metadata():
            return any_of(kind.type)
        case shape.BytesType():
            return st.binary(min_size=kind.min_length or 0, max_size=kind.max_length)
        case shape.StrType():
            return TEXTS
        case shape.IntType():
            return st.integers(kind.ge, kind.le)
        case shape.BoolType():
            return st.booleans()
        case shape.NoneType():
            return st.none()
        case shape.LiteralType():
            return st.sampled_from(kind.values)
        case shape.ListType():
            return st.lists(any_of(kind.item_type), max_size=2)
        case shape.UnionType():
            return st.one_of(*map(any_of, kind.types))
        case shape.StructType() if kind.cls is ReleaseAuthority:
            return st.builds(release_authority, st.integers(0, len(APPROVERS)), st.integers(0, 2**31))
        case shape.StructType():
            fields = {field.name: any_of(field.type) for field in kind.fields}
            if "refused_advisories" in fields:
                fields["refused_advisories"] = st.lists(st.integers(0, 99999).map("INTEL-SA-{:05}".format), max_size=2)
            return st.builds(kind.cls, **fields)
    raise TypeError(kind)


def release_authority(approvals: int = 1, min_serial: int = 0) -> ReleaseAuthority:
    """All approvers that there are, of whom so many must agree; of 0 nobody is one."""
    return ReleaseAuthority(approvers=APPROVERS if approvals else [], approvals=approvals, min_serial=min_serial)


def honestly_named(policy: TrustPolicy) -> TrustPolicy:
    accepts = policy.vault.insecure_software is not None or policy.authenticator.insecure_software is not None
    name = policy.name.replace("insecure", "")
    return TrustPolicy(
        1,
        f"{name} insecure" if accepts else name,
        policy.vault,
        policy.authenticator,
        [witness_key(at) for at in range(len(policy.witnesses))],
        len(policy.witnesses) // 2 + 1 if policy.witnesses else 0,
    )


def witness_signer(at: int) -> NoteKey:
    """Key of a witness of this number."""
    return NoteKey(bytes([at]) * 32)


def witness_key(at: int) -> str:
    """Its verifier key, as policies name it."""
    return str(Verifier(f"witness-{at}.example", COSIGNATURE, witness_signer(at).public))


def trust(vault: RolePolicy, authenticator: RolePolicy | None = None) -> TrustPolicy:
    """A client's policy for the software platform."""
    return TrustPolicy(1, "insecure test", vault, authenticator or role(), [], 0)


TRUST_POLICIES = any_of(shape.type_info(TrustPolicy)).map(honestly_named)
