"""Trust policies as data: which evidence a relying party accepts for a role.

A platform that has no section is refused, and an empty list denies. Where a list is optional, nil (in `trust.toml`:
"any") says so in the open. Software evidence is accepted only by a policy whose name says `insecure`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from strongroom.protocol.codec import Message, encode
from strongroom.protocol.evidence import (
    Bytes16,
    Bytes32,
    Bytes48,
    Bytes64,
    ConfigValue,
    Count,
    PlatformKind,
    ShortText,
    SshKeyBytes,
)
from strongroom.protocol.limits import MAX_RELEASE_APPROVERS, MAX_WITNESSES
from strongroom.protocol.primitives import Domain, digest

TcbStatus = Literal[
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
]
SnpProductName = Literal["Milan", "Genoa", "Turin"]
Svn8 = Annotated[int, Meta(ge=0, le=0xFF)]
Svn16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
Svn32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class IntelPolicy(Message):
    """What SGX and TDX have in common: the state of the machine, as Intel sees it."""

    tcb_statuses: Annotated[list[TcbStatus], Meta(max_length=8)]
    grace_days: Annotated[int, Meta(ge=0, le=3650)]
    """Days, counted from the date of the TCB level that a machine reaches, for which `OutOfDate` (and
    `OutOfDateConfigurationNeeded`, if `ConfigurationNeeded` is listed) is accepted though not listed."""
    refused_advisories: Annotated[list[ShortText], Meta(max_length=64)]
    """As Intel writes them: `INTEL-SA-` and five digits."""
    min_tcb_evaluation: Count
    platform_ids: Annotated[list[Bytes16], Meta(max_length=256)] | None
    """PPIDs; nil accepts any machine. Quotes forged with keys extracted from some machine pass everything else."""
    allow_smt: bool
    """False, here and below: the PCK certificate must state that it is off."""
    allow_dynamic_platform: bool
    allow_cached_keys: bool


class SgxSigner(Message):
    """Trust in whoever holds a signing key: every verdict from it says `signer_can_read`."""

    signer: Bytes32
    """MRSIGNER."""
    product_id: Svn16
    min_svn: Svn16


class EnclavePolicy(IntelPolicy):
    """What SGX and the platform that imitates it have in common."""

    measurements: Annotated[list[Bytes32], Meta(max_length=64)]
    """Exact MRENCLAVE values."""
    signers: Annotated[list[SgxSigner], Meta(max_length=16)]


class SgxPolicy(EnclavePolicy):
    """Intel SGX."""


class SoftwarePolicy(EnclavePolicy):
    """The platform without hardware, whose quotes have the form of SGX: whoever runs the machine can make them."""

    roots: Annotated[list[Bytes32], Meta(max_length=8)]
    """SHA-256 of the DER of development roots."""


class TdxMeasurement(Message):
    """One TD: firmware, and what was measured after it."""

    mrtd: Bytes48
    rtmr0: Bytes48
    rtmr1: Bytes48
    rtmr2: Bytes48
    rtmr3: Bytes48


class TdxPolicy(IntelPolicy):
    """Intel TDX. A TD has no signer."""

    measurements: Annotated[list[TdxMeasurement], Meta(max_length=64)]
    allow_perfmon: bool
    """True: the TD may use performance counters, which the host then switches."""


class SnpSigner(Message):
    """Trust in the author of an ID block: every verdict from it says `signer_can_read`."""

    key_digest: Bytes48
    """SHA-384 of the author key, or of the ID key where the report names no author."""
    family_id: Bytes16
    image_id: Bytes16
    min_svn: Svn32


class SnpProduct(Message):
    """One line of processors, and the lowest security version of each of its parts."""

    name: SnpProductName
    min_bootloader: Svn8
    min_tee: Svn8
    min_snp: Svn8
    min_microcode: Svn8
    min_fmc: Svn8
    """Only Turin has this part."""


class SnpPolicy(Message):
    """AMD SEV-SNP."""

    measurements: Annotated[list[Bytes48], Meta(max_length=64)]
    signers: Annotated[list[SnpSigner], Meta(max_length=16)]
    products: Annotated[list[SnpProduct], Meta(max_length=8)]
    """Name Milan only if you must: software can extract the seed of its attestation key."""
    chip_ids: Annotated[list[Bytes64], Meta(max_length=256)] | None
    """CHIP_IDs; nil accepts any machine. A VLEK names none, so a list refuses it."""
    vmpls: Annotated[list[Annotated[int, Meta(ge=0, le=3)]], Meta(max_length=4)]
    """Privilege levels at which the report may have been asked for."""
    vlek_providers: Annotated[list[ShortText], Meta(max_length=16)] | None
    """Cloud providers, as certificates name them, whose key (VLEK) may sign for the chip's; nil accepts any."""
    allow_smt: bool
    allow_migration_agent: bool
    require_page_swap_disable: bool
    require_crl: bool
    """True: AMD's current list of revoked certificates must come along."""


class NitroMeasurement(Message):
    """One enclave image."""

    pcr0: Bytes48
    pcr1: Bytes48
    pcr2: Bytes48


class NitroPolicy(Message):
    """AWS Nitro Enclaves."""

    measurements: Annotated[list[NitroMeasurement], Meta(max_length=64)]
    signers: Annotated[list[Bytes48], Meta(max_length=16)]
    """PCR8: digest of the certificate that signed the image. Each signer can read."""
    instances: Annotated[list[ShortText], Meta(max_length=256)] | None
    """EC2 instance ids; nil accepts any."""


class ReleaseAuthority(Message):
    """Trust in whoever approves releases: a program that enough of them have listed is accepted as if it were measured
    here (RULES 7). The list comes with the evidence; which enclaves may have the cluster's ring it decides as well."""

    approvers: Annotated[list[SshKeyBytes], Meta(max_length=MAX_RELEASE_APPROVERS)]
    """Public keys as OpenSSH writes them."""
    approvals: Count
    """How many of them it takes; none and 0 accept nothing."""
    min_serial: Count
    """Of the list: an older one is refused."""


class RolePolicy(Message):
    """What evidence must show to be accepted in one role."""

    clusters: Annotated[list[Bytes32], Meta(max_length=64)]
    """Cluster ids. Without them a host could start a genuine enclave of its own cluster."""
    config: Annotated[list[ConfigValue], Meta(max_length=64)]
    """Accepted configuration claims, exactly; an unmentioned value other than the default is refused (RULES 7)."""
    sgx: SgxPolicy | None
    tdx: TdxPolicy | None
    snp: SnpPolicy | None
    nitro: NitroPolicy | None
    insecure_software: SoftwarePolicy | None
    releases: ReleaseAuthority | None
    """nil: only the programs and signers that the sections name. A section still says on which platforms, in what state
    of the machine; its lists of measurements and signers may be empty then."""


AnyPlatformPolicy = SgxPolicy | SoftwarePolicy | TdxPolicy | SnpPolicy | NitroPolicy


class TrustPolicy(Message):
    """A client's own policy: `trust.toml`."""

    version: Literal[1]
    name: ShortText
    """Must contain `insecure` when software evidence is accepted."""
    vault: RolePolicy
    authenticator: RolePolicy
    witnesses: Annotated[list[ShortText], Meta(max_length=MAX_WITNESSES)]
    """Verifier keys (C2SP signed-note) of the Vault's witnesses: exactly those of its genesis statement. None: a
    database that was restored in secret is noticed by this client alone, where it has been here before."""
    cosignatures: Count
    """How many of them it takes: more than half. 0 without witnesses."""


def sections_of(policy: RolePolicy) -> dict[PlatformKind, AnyPlatformPolicy]:
    """What a policy says of each platform that it names; of any other it accepts nothing."""
    sections: dict[PlatformKind, AnyPlatformPolicy | None] = {
        "sgx": policy.sgx,
        "tdx": policy.tdx,
        "snp": policy.snp,
        "nitro": policy.nitro,
        "insecure-software": policy.insecure_software,
    }
    return {kind: section for kind, section in sections.items() if section is not None}


def policy_digest(policy: RolePolicy) -> bytes:
    """Digest (32 bytes) of a complete policy: what caches and pooled sessions are keyed by (RULES 5)."""
    return digest(Domain.POLICY, encode(policy))
