/**
 * Every message type, made by generate.mjs from spec/messages.json. What fields mean stands in spec/messages.md.
 *
 * Of each there are the type and, under the same name, the kind that `codec.ts` reads and writes it by. Names of
 * fields are those of the wire. The types of the enclaves' own talk stand here too: the vectors hold them.
 */

import type { Bytes } from "./bytes.js";
import { type Kind, bool, bytes, either, int, list, map, oneOf, optional, text } from "./kinds.js";

export interface Custodian {
  readonly name: string;
  readonly recipient: string;
  readonly key: Bytes;
}
export const Custodian: Kind<Custodian> = map(null, [
  ["name", text(0, 256)],
  ["recipient", text(0, 2600)],
  ["key", bytes(0, 65)],
]);

export interface Council {
  readonly recovery_key: Bytes;
  readonly ring_token: Bytes;
  readonly custodians: readonly Custodian[];
  readonly threshold: number;
  readonly approvers: readonly Bytes[];
  readonly approvals: number;
  readonly release_delay: number;
}
export const Council: Kind<Council> = map(null, [
  ["recovery_key", bytes(1216)],
  ["ring_token", bytes(32)],
  ["custodians", list(Custodian, 0, 16)],
  ["threshold", int(0, 2 ** 63)],
  ["approvers", list(bytes(0, 512), 0, 16)],
  ["approvals", int(0, 2 ** 63)],
  ["release_delay", int(0, 2 ** 63)],
]);

export interface Genesis {
  readonly version: 1;
  readonly role: "authenticator" | "vault";
  readonly cluster_key: Bytes;
  readonly owner_key: Bytes;
  readonly council: Council;
  readonly log_key: Bytes;
  readonly witnesses: readonly string[];
  readonly cosignatures: number;
  readonly development: boolean;
}
export const Genesis: Kind<Genesis> = map(null, [
  ["version", oneOf(1)],
  ["role", oneOf("authenticator", "vault")],
  ["cluster_key", bytes(65)],
  ["owner_key", bytes(65)],
  ["council", Council],
  ["log_key", bytes(32)],
  ["witnesses", list(text(0, 256), 0, 15)],
  ["cosignatures", int(0, 2 ** 63)],
  ["development", bool],
]);

export interface Watchers {
  readonly witnesses: readonly string[];
  readonly cosignatures: number;
}
export const Watchers: Kind<Watchers> = map(null, [
  ["witnesses", list(text(0, 256), 0, 15)],
  ["cosignatures", int(0, 2 ** 63)],
]);

export interface Attempt {
  readonly key: Bytes;
  readonly ring: Bytes;
  readonly council: number;
  readonly recoveries: number;
  readonly drill: boolean;
}
export const Attempt: Kind<Attempt> = map(null, [
  ["key", bytes(1216)],
  ["ring", bytes(32)],
  ["council", int(0, 2 ** 63)],
  ["recoveries", int(0, 2 ** 63)],
  ["drill", bool],
]);

export interface PeerBinding {
  readonly purpose: "decide" | "join" | "recover";
  readonly kem_key: Bytes;
  readonly binding_key: Bytes;
  readonly peer_evidence: Bytes;
}
export const PeerBinding: Kind<PeerBinding> = map(null, [
  ["purpose", oneOf("decide", "join", "recover")],
  ["kem_key", bytes(1216)],
  ["binding_key", bytes(65)],
  ["peer_evidence", bytes(32)],
]);

export interface ConfigValue {
  readonly name: string;
  readonly value: string;
}
export const ConfigValue: Kind<ConfigValue> = map(null, [["name", text(0, 256)], ["value", text(0, 4096)]]);

export interface Claims {
  readonly version: 1;
  readonly role: "authenticator" | "vault";
  readonly stage: "founding" | "joining" | "member" | "recovering";
  readonly kem_key: Bytes;
  readonly expires_at: number;
  readonly receipt_key: Bytes;
  readonly cluster_id: Bytes;
  readonly recoveries: number;
  readonly generation: number;
  readonly council: number;
  readonly release: number;
  readonly watchers: Watchers | null;
  readonly attempt: Attempt | null;
  readonly config: readonly ConfigValue[];
  readonly build: string;
  readonly peer: PeerBinding | null;
}
export const Claims: Kind<Claims> = map(null, [
  ["version", oneOf(1)],
  ["role", oneOf("authenticator", "vault")],
  ["stage", oneOf("founding", "joining", "member", "recovering")],
  ["kem_key", bytes(1216)],
  ["expires_at", int(0, 1099511627776)],
  ["receipt_key", bytes(65)],
  ["cluster_id", bytes(32)],
  ["recoveries", int(0, 2 ** 63)],
  ["generation", int(0, 1099511627776)],
  ["council", int(0, 2 ** 63)],
  ["release", int(0, 2 ** 63)],
  ["watchers", optional(Watchers)],
  ["attempt", optional(Attempt)],
  ["config", list(ConfigValue, 0, 64)],
  ["build", text(0, 256)],
  ["peer", optional(PeerBinding)],
]);

export interface Evidence {
  readonly version: 1;
  readonly kind: "insecure-software" | "nitro" | "sgx" | "snp" | "tdx";
  readonly quote: Bytes;
  readonly collateral: Bytes;
  readonly claims: Bytes;
  readonly genesis: Bytes;
  readonly cluster_signature: Bytes;
  readonly releases: Bytes;
}
export const Evidence: Kind<Evidence> = map(null, [
  ["version", oneOf(1)],
  ["kind", oneOf("insecure-software", "nitro", "sgx", "snp", "tdx")],
  ["quote", bytes(0, 32768)],
  ["collateral", bytes(0, 65536)],
  ["claims", bytes(0, 16384)],
  ["genesis", bytes(0, 32768)],
  ["cluster_signature", bytes(0, 64)],
  ["releases", bytes(0, 32768)],
]);

export interface SgxSigner {
  readonly signer: Bytes;
  readonly product_id: number;
  readonly min_svn: number;
}
export const SgxSigner: Kind<SgxSigner> = map(null, [
  ["signer", bytes(32)],
  ["product_id", int(0, 65535)],
  ["min_svn", int(0, 65535)],
]);

export interface SgxPolicy {
  readonly tcb_statuses: readonly ("ConfigurationAndSWHardeningNeeded" | "ConfigurationNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded" | "SWHardeningNeeded" | "TDRelaunchAdvised" | "TDRelaunchAdvisedConfigurationNeeded" | "UpToDate")[];
  readonly grace_days: number;
  readonly refused_advisories: readonly string[];
  readonly min_tcb_evaluation: number;
  readonly platform_ids: readonly Bytes[] | null;
  readonly allow_smt: boolean;
  readonly allow_dynamic_platform: boolean;
  readonly allow_cached_keys: boolean;
  readonly measurements: readonly Bytes[];
  readonly signers: readonly SgxSigner[];
}
export const SgxPolicy: Kind<SgxPolicy> = map(null, [
  ["tcb_statuses", list(oneOf("ConfigurationAndSWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "SWHardeningNeeded", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded", "UpToDate"), 0, 8)],
  ["grace_days", int(0, 3650)],
  ["refused_advisories", list(text(0, 256), 0, 64)],
  ["min_tcb_evaluation", int(0, 2 ** 63)],
  ["platform_ids", optional(list(bytes(16), 0, 256))],
  ["allow_smt", bool],
  ["allow_dynamic_platform", bool],
  ["allow_cached_keys", bool],
  ["measurements", list(bytes(32), 0, 64)],
  ["signers", list(SgxSigner, 0, 16)],
]);

export interface SoftwarePolicy {
  readonly tcb_statuses: readonly ("ConfigurationAndSWHardeningNeeded" | "ConfigurationNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded" | "SWHardeningNeeded" | "TDRelaunchAdvised" | "TDRelaunchAdvisedConfigurationNeeded" | "UpToDate")[];
  readonly grace_days: number;
  readonly refused_advisories: readonly string[];
  readonly min_tcb_evaluation: number;
  readonly platform_ids: readonly Bytes[] | null;
  readonly allow_smt: boolean;
  readonly allow_dynamic_platform: boolean;
  readonly allow_cached_keys: boolean;
  readonly measurements: readonly Bytes[];
  readonly signers: readonly SgxSigner[];
  readonly roots: readonly Bytes[];
}
export const SoftwarePolicy: Kind<SoftwarePolicy> = map(null, [
  ["tcb_statuses", list(oneOf("ConfigurationAndSWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "SWHardeningNeeded", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded", "UpToDate"), 0, 8)],
  ["grace_days", int(0, 3650)],
  ["refused_advisories", list(text(0, 256), 0, 64)],
  ["min_tcb_evaluation", int(0, 2 ** 63)],
  ["platform_ids", optional(list(bytes(16), 0, 256))],
  ["allow_smt", bool],
  ["allow_dynamic_platform", bool],
  ["allow_cached_keys", bool],
  ["measurements", list(bytes(32), 0, 64)],
  ["signers", list(SgxSigner, 0, 16)],
  ["roots", list(bytes(32), 0, 8)],
]);

export interface TdxMeasurement {
  readonly mrtd: Bytes;
  readonly rtmr0: Bytes;
  readonly rtmr1: Bytes;
  readonly rtmr2: Bytes;
  readonly rtmr3: Bytes;
}
export const TdxMeasurement: Kind<TdxMeasurement> = map(null, [
  ["mrtd", bytes(48)],
  ["rtmr0", bytes(48)],
  ["rtmr1", bytes(48)],
  ["rtmr2", bytes(48)],
  ["rtmr3", bytes(48)],
]);

export interface TdxPolicy {
  readonly tcb_statuses: readonly ("ConfigurationAndSWHardeningNeeded" | "ConfigurationNeeded" | "OutOfDate" | "OutOfDateConfigurationNeeded" | "SWHardeningNeeded" | "TDRelaunchAdvised" | "TDRelaunchAdvisedConfigurationNeeded" | "UpToDate")[];
  readonly grace_days: number;
  readonly refused_advisories: readonly string[];
  readonly min_tcb_evaluation: number;
  readonly platform_ids: readonly Bytes[] | null;
  readonly allow_smt: boolean;
  readonly allow_dynamic_platform: boolean;
  readonly allow_cached_keys: boolean;
  readonly measurements: readonly TdxMeasurement[];
  readonly allow_perfmon: boolean;
}
export const TdxPolicy: Kind<TdxPolicy> = map(null, [
  ["tcb_statuses", list(oneOf("ConfigurationAndSWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "SWHardeningNeeded", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded", "UpToDate"), 0, 8)],
  ["grace_days", int(0, 3650)],
  ["refused_advisories", list(text(0, 256), 0, 64)],
  ["min_tcb_evaluation", int(0, 2 ** 63)],
  ["platform_ids", optional(list(bytes(16), 0, 256))],
  ["allow_smt", bool],
  ["allow_dynamic_platform", bool],
  ["allow_cached_keys", bool],
  ["measurements", list(TdxMeasurement, 0, 64)],
  ["allow_perfmon", bool],
]);

export interface SnpSigner {
  readonly key_digest: Bytes;
  readonly family_id: Bytes;
  readonly image_id: Bytes;
  readonly min_svn: number;
}
export const SnpSigner: Kind<SnpSigner> = map(null, [
  ["key_digest", bytes(48)],
  ["family_id", bytes(16)],
  ["image_id", bytes(16)],
  ["min_svn", int(0, 4294967295)],
]);

export interface SnpProduct {
  readonly name: "Genoa" | "Milan" | "Turin";
  readonly min_bootloader: number;
  readonly min_tee: number;
  readonly min_snp: number;
  readonly min_microcode: number;
  readonly min_fmc: number;
}
export const SnpProduct: Kind<SnpProduct> = map(null, [
  ["name", oneOf("Genoa", "Milan", "Turin")],
  ["min_bootloader", int(0, 255)],
  ["min_tee", int(0, 255)],
  ["min_snp", int(0, 255)],
  ["min_microcode", int(0, 255)],
  ["min_fmc", int(0, 255)],
]);

export interface SnpPolicy {
  readonly measurements: readonly Bytes[];
  readonly signers: readonly SnpSigner[];
  readonly products: readonly SnpProduct[];
  readonly chip_ids: readonly Bytes[] | null;
  readonly vmpls: readonly number[];
  readonly vlek_providers: readonly string[] | null;
  readonly allow_smt: boolean;
  readonly allow_migration_agent: boolean;
  readonly require_page_swap_disable: boolean;
  readonly require_crl: boolean;
}
export const SnpPolicy: Kind<SnpPolicy> = map(null, [
  ["measurements", list(bytes(48), 0, 64)],
  ["signers", list(SnpSigner, 0, 16)],
  ["products", list(SnpProduct, 0, 8)],
  ["chip_ids", optional(list(bytes(64), 0, 256))],
  ["vmpls", list(int(0, 3), 0, 4)],
  ["vlek_providers", optional(list(text(0, 256), 0, 16))],
  ["allow_smt", bool],
  ["allow_migration_agent", bool],
  ["require_page_swap_disable", bool],
  ["require_crl", bool],
]);

export interface NitroMeasurement {
  readonly pcr0: Bytes;
  readonly pcr1: Bytes;
  readonly pcr2: Bytes;
}
export const NitroMeasurement: Kind<NitroMeasurement> = map(null, [
  ["pcr0", bytes(48)],
  ["pcr1", bytes(48)],
  ["pcr2", bytes(48)],
]);

export interface NitroPolicy {
  readonly measurements: readonly NitroMeasurement[];
  readonly signers: readonly Bytes[];
  readonly instances: readonly string[] | null;
}
export const NitroPolicy: Kind<NitroPolicy> = map(null, [
  ["measurements", list(NitroMeasurement, 0, 64)],
  ["signers", list(bytes(48), 0, 16)],
  ["instances", optional(list(text(0, 256), 0, 256))],
]);

export interface ReleaseAuthority {
  readonly approvers: readonly Bytes[];
  readonly approvals: number;
  readonly min_serial: number;
}
export const ReleaseAuthority: Kind<ReleaseAuthority> = map(null, [
  ["approvers", list(bytes(0, 512), 0, 16)],
  ["approvals", int(0, 2 ** 63)],
  ["min_serial", int(0, 2 ** 63)],
]);

export interface RolePolicy {
  readonly clusters: readonly Bytes[];
  readonly config: readonly ConfigValue[];
  readonly sgx: SgxPolicy | null;
  readonly tdx: TdxPolicy | null;
  readonly snp: SnpPolicy | null;
  readonly nitro: NitroPolicy | null;
  readonly insecure_software: SoftwarePolicy | null;
  readonly releases: ReleaseAuthority | null;
}
export const RolePolicy: Kind<RolePolicy> = map(null, [
  ["clusters", list(bytes(32), 0, 64)],
  ["config", list(ConfigValue, 0, 64)],
  ["sgx", optional(SgxPolicy)],
  ["tdx", optional(TdxPolicy)],
  ["snp", optional(SnpPolicy)],
  ["nitro", optional(NitroPolicy)],
  ["insecure_software", optional(SoftwarePolicy)],
  ["releases", optional(ReleaseAuthority)],
]);

export interface TrustPolicy {
  readonly version: 1;
  readonly name: string;
  readonly vault: RolePolicy;
  readonly authenticator: RolePolicy;
  readonly witnesses: readonly string[];
  readonly cosignatures: number;
}
export const TrustPolicy: Kind<TrustPolicy> = map(null, [
  ["version", oneOf(1)],
  ["name", text(0, 256)],
  ["vault", RolePolicy],
  ["authenticator", RolePolicy],
  ["witnesses", list(text(0, 256), 0, 15)],
  ["cosignatures", int(0, 2 ** 63)],
]);

export interface AuthenticatorRef {
  readonly url: string;
  readonly policy: Bytes;
}
export const AuthenticatorRef: Kind<AuthenticatorRef> = map(null, [["url", text(0, 512)], ["policy", bytes(0, 8192)]]);

export interface Audience {
  readonly channel: "device" | "native" | "web";
  readonly client_id: string;
  readonly redirect_uri: string;
}
export const Audience: Kind<Audience> = map(null, [
  ["channel", oneOf("device", "native", "web")],
  ["client_id", text(0, 256)],
  ["redirect_uri", text(0, 512)],
]);

export interface OidcPublic {
  readonly issuer: string;
  readonly audiences: readonly Audience[];
  readonly scopes: readonly string[];
}
export const OidcPublic: Kind<OidcPublic> = map(null, [
  ["issuer", text(0, 512)],
  ["audiences", list(Audience, 1, 8)],
  ["scopes", list(text(0, 256), 0, 16)],
]);

export interface OidcSecret {
  readonly client_secret: string;
}
export const OidcSecret: Kind<OidcSecret> = map(null, [["client_secret", text(0, 1024)]]);

export interface OidcMethod {
  readonly type: "oidc";
  readonly public: OidcPublic;
  readonly secret: OidcSecret;
  readonly algorithms: readonly ("ES256" | "EdDSA" | "RS256")[];
  readonly email_domains: readonly string[];
  readonly acr_values: readonly string[];
  readonly max_age: number;
  readonly pushed: boolean;
}
export const OidcMethod: Kind<OidcMethod> = map(["type", "oidc"], [
  ["public", OidcPublic],
  ["secret", OidcSecret],
  ["algorithms", list(oneOf("ES256", "EdDSA", "RS256"), 1, 3)],
  ["email_domains", list(text(0, 256), 0, 64)],
  ["acr_values", list(text(0, 256), 0, 8)],
  ["max_age", int(0, 2 ** 63)],
  ["pushed", bool],
]);

export interface Passkey {
  readonly person: string;
  readonly credential_id: Bytes;
  readonly public_key: Bytes;
}
export const Passkey: Kind<Passkey> = map(null, [
  ["person", text(0, 256)],
  ["credential_id", bytes(1, 1023)],
  ["public_key", bytes(1, 1024)],
]);

export interface PasskeyPublic {
  readonly rp_id: string;
  readonly origins: readonly string[];
  readonly credential_ids: readonly Bytes[];
}
export const PasskeyPublic: Kind<PasskeyPublic> = map(null, [
  ["rp_id", text(0, 256)],
  ["origins", list(text(0, 512), 1, 8)],
  ["credential_ids", list(bytes(1, 1023), 1, 32)],
]);

export interface PasskeyMethod {
  readonly type: "passkey";
  readonly public: PasskeyPublic;
  readonly passkeys: readonly Passkey[];
}
export const PasskeyMethod: Kind<PasskeyMethod> = map(["type", "passkey"], [
  ["public", PasskeyPublic],
  ["passkeys", list(Passkey, 1, 32)],
]);

export interface WorkloadPublic {
  readonly issuer: string;
  readonly audience: string;
}
export const WorkloadPublic: Kind<WorkloadPublic> = map(null, [["issuer", text(0, 512)], ["audience", text(0, 256)]]);

export interface WorkloadMethod {
  readonly type: "workload";
  readonly public: WorkloadPublic;
  readonly algorithms: readonly ("ES256" | "EdDSA" | "RS256")[];
  readonly keys: Bytes;
  readonly claims: readonly string[];
}
export const WorkloadMethod: Kind<WorkloadMethod> = map(["type", "workload"], [
  ["public", WorkloadPublic],
  ["algorithms", list(oneOf("ES256", "EdDSA", "RS256"), 1, 3)],
  ["keys", bytes(0, 8192)],
  ["claims", list(text(0, 256), 0, 16)],
]);

export interface DirectoryPublic {
  readonly name: string;
}
export const DirectoryPublic: Kind<DirectoryPublic> = map(null, [["name", text(0, 256)]]);

export interface DirectoryMethod {
  readonly type: "directory";
  readonly public: DirectoryPublic;
  readonly flavour: "active-directory" | "ldap";
  readonly servers: readonly string[];
  readonly certificates: Bytes;
  readonly base: string;
  readonly user_dn: string;
  readonly groups: readonly string[];
  readonly email_domains: readonly string[];
}
export const DirectoryMethod: Kind<DirectoryMethod> = map(["type", "directory"], [
  ["public", DirectoryPublic],
  ["flavour", oneOf("active-directory", "ldap")],
  ["servers", list(text(0, 512), 1, 4)],
  ["certificates", bytes(0, 8192)],
  ["base", text(0, 256)],
  ["user_dn", text(0, 256)],
  ["groups", list(text(0, 256), 0, 32)],
  ["email_domains", list(text(0, 256), 0, 64)],
]);

export interface KeyOfPerson {
  readonly person: string;
  readonly public_key: Bytes;
}
export const KeyOfPerson: Kind<KeyOfPerson> = map(null, [["person", text(0, 256)], ["public_key", bytes(1, 512)]]);

export interface KeysPublic {
  readonly fingerprints: readonly Bytes[];
}
export const KeysPublic: Kind<KeysPublic> = map(null, [["fingerprints", list(bytes(32), 1, 32)]]);

export interface KeysMethod {
  readonly type: "keys";
  readonly public: KeysPublic;
  readonly keys: readonly KeyOfPerson[];
  readonly verified: boolean;
}
export const KeysMethod: Kind<KeysMethod> = map(["type", "keys"], [
  ["public", KeysPublic],
  ["keys", list(KeyOfPerson, 1, 32)],
  ["verified", bool],
]);

export interface Workload {
  readonly name: string;
  readonly policy: Bytes;
}
export const Workload: Kind<Workload> = map(null, [["name", text(0, 256)], ["policy", bytes(0, 8192)]]);

export interface EnclavePublic {
  readonly names: readonly string[];
}
export const EnclavePublic: Kind<EnclavePublic> = map(null, [["names", list(text(0, 256), 1, 16)]]);

export interface EnclaveMethod {
  readonly type: "enclave";
  readonly public: EnclavePublic;
  readonly workloads: readonly Workload[];
}
export const EnclaveMethod: Kind<EnclaveMethod> = map(["type", "enclave"], [
  ["public", EnclavePublic],
  ["workloads", list(Workload, 1, 16)],
]);

export interface CodePublic {
  readonly sender: string;
}
export const CodePublic: Kind<CodePublic> = map(null, [["sender", text(0, 256)]]);

export interface CodeSecret {
  readonly server: string;
  readonly user: string;
  readonly password: string;
}
export const CodeSecret: Kind<CodeSecret> = map(null, [
  ["server", text(0, 512)],
  ["user", text(0, 256)],
  ["password", text(0, 1024)],
]);

export interface CodeMethod {
  readonly type: "email-code";
  readonly public: CodePublic;
  readonly secret: CodeSecret;
  readonly certificates: Bytes;
  readonly addresses: readonly string[];
  readonly domains: readonly string[];
}
export const CodeMethod: Kind<CodeMethod> = map(["type", "email-code"], [
  ["public", CodePublic],
  ["secret", CodeSecret],
  ["certificates", bytes(0, 8192)],
  ["addresses", list(text(0, 256), 0, 64)],
  ["domains", list(text(0, 256), 0, 64)],
]);

export interface Instructions {
  readonly schema_version: 1;
  readonly authenticators: readonly AuthenticatorRef[];
  readonly quorum: number;
  readonly methods: readonly Bytes[];
  readonly rules: string;
  readonly permanent: boolean;
}
export const Instructions: Kind<Instructions> = map(null, [
  ["schema_version", oneOf(1)],
  ["authenticators", list(AuthenticatorRef, 1, 8)],
  ["quorum", int(1, 8)],
  ["methods", list(bytes(0, 16384), 1, 16)],
  ["rules", text(0, 32768)],
  ["permanent", bool],
]);

export interface Hello {
  readonly version: 1;
  readonly seed: Bytes;
  readonly kem_key: Bytes;
  readonly binding_key: Bytes;
  readonly evidence: Bytes;
}
export const Hello: Kind<Hello> = map(null, [
  ["version", oneOf(1)],
  ["seed", bytes(32)],
  ["kem_key", bytes(1216)],
  ["binding_key", bytes(65)],
  ["evidence", bytes(32)],
]);

export interface Answer {
  readonly session_id: Bytes;
  readonly sealed_seed: Bytes;
}
export const Answer: Kind<Answer> = map(null, [["session_id", bytes(16)], ["sealed_seed", bytes(0, Infinity)]]);

export interface Prove {
  readonly type: "prove";
  readonly signature: Bytes;
  readonly evidence: Bytes | null;
}
export const Prove: Kind<Prove> = map(["type", "prove"], [
  ["signature", bytes(64)],
  ["evidence", optional(bytes(0, 196608))],
]);

export interface Proved {
  readonly type: "proved";
}
export const Proved: Kind<Proved> = map(["type", "proved"], []);

export interface ErrorReply {
  readonly type: "error";
  readonly number: number;
  readonly index: number;
  readonly place: number;
  readonly version: number;
}
export const ErrorReply: Kind<ErrorReply> = map(["type", "error"], [
  ["number", int(0, 999)],
  ["index", int(0, 2 ** 63)],
  ["place", int(0, 2 ** 63)],
  ["version", int(0, 2 ** 63)],
]);

export interface ById {
  readonly by: "id";
  readonly id: Bytes;
}
export const ById: Kind<ById> = map(["by", "id"], [["id", bytes(16)]]);

export interface ByName {
  readonly by: "name";
  readonly namespace: string;
  readonly name: string;
}
export const ByName: Kind<ByName> = map(["by", "name"], [["namespace", text(1, 256)], ["name", text(1, 256)]]);

export interface OfNamespace {
  readonly by: "namespace";
  readonly namespace: string;
}
export const OfNamespace: Kind<OfNamespace> = map(["by", "namespace"], [["namespace", text(1, 256)]]);

export interface ByPerson {
  readonly by: "person";
  readonly namespace: string;
  readonly person: string;
  readonly name: string;
}
export const ByPerson: Kind<ByPerson> = map(["by", "person"], [
  ["namespace", text(1, 256)],
  ["person", text(0, 512)],
  ["name", text(1, 256)],
]);

export interface Terms {
  readonly expires_at: number;
  readonly max_opens: number;
  readonly closed: boolean;
  readonly fillable: boolean;
  readonly blob: Bytes | null;
  readonly blob_bytes: number;
}
export const Terms: Kind<Terms> = map(null, [
  ["expires_at", int(0, 1099511627776)],
  ["max_opens", int(0, 2 ** 63)],
  ["closed", bool],
  ["fillable", bool],
  ["blob", optional(bytes(16))],
  ["blob_bytes", int(0, 2 ** 63)],
]);

export interface Person {
  readonly principal: string;
  readonly email: string;
}
export const Person: Kind<Person> = map(null, [["principal", text(0, 512)], ["email", text(0, 256)]]);

export interface Ticket {
  readonly authenticator: Bytes;
  readonly sealed: Bytes;
}
export const Ticket: Kind<Ticket> = map(null, [["authenticator", bytes(32)], ["sealed", bytes(0, 4096)]]);

export interface Freshen {
  readonly type: "freshen";
  readonly size: number;
}
export const Freshen: Kind<Freshen> = map(["type", "freshen"], [["size", int(0, 2 ** 63)]]);

export interface Freshness {
  readonly type: "freshness";
  readonly checkpoint: Bytes;
  readonly proof: readonly Bytes[];
  readonly cosigned: Bytes | null;
}
export const Freshness: Kind<Freshness> = map(["type", "freshness"], [
  ["checkpoint", bytes(0, 4096)],
  ["proof", list(bytes(32), 0, 63)],
  ["cosigned", optional(bytes(0, 4096))],
]);

export interface Logged {
  readonly type: "logged";
  readonly checkpoint: Bytes;
  readonly reply: Bytes;
}
export const Logged: Kind<Logged> = map(["type", "logged"], [
  ["checkpoint", bytes(0, 4096)],
  ["reply", bytes(0, 1048576)],
]);

export interface Trail {
  readonly type: "trail";
  readonly address: ById | ByName | ByPerson;
  readonly tickets: readonly Ticket[];
  readonly place: number;
  readonly limit: number;
}
export const Trail: Kind<Trail> = map(["type", "trail"], [
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["tickets", list(Ticket, 0, 8)],
  ["place", int(0, 2 ** 63)],
  ["limit", int(1, 128)],
]);

export interface TrailEntry {
  readonly index: number;
  readonly leaf: Bytes;
  readonly opened: Bytes;
  readonly proof: readonly Bytes[];
}
export const TrailEntry: Kind<TrailEntry> = map(null, [
  ["index", int(0, 2 ** 63)],
  ["leaf", bytes(0, 4096)],
  ["opened", bytes(0, 4096)],
  ["proof", list(bytes(32), 0, 63)],
]);

export interface TrailOf {
  readonly type: "trail-of";
  readonly version: number;
  readonly entries: readonly TrailEntry[];
  readonly checkpoint: Bytes;
}
export const TrailOf: Kind<TrailOf> = map(["type", "trail-of"], [
  ["version", int(0, 2 ** 63)],
  ["entries", list(TrailEntry, 0, 128)],
  ["checkpoint", bytes(0, 4096)],
]);

export interface StoreItem {
  readonly address: ById | ByName | ByPerson;
  readonly replaces: number;
  readonly secret: Bytes;
  readonly metadata: Bytes;
  readonly instructions: Bytes;
  readonly terms: Terms | null;
}
export const StoreItem: Kind<StoreItem> = map(null, [
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["replaces", int(0, 2 ** 63)],
  ["secret", bytes(0, 65536)],
  ["metadata", bytes(0, 4096)],
  ["instructions", bytes(0, 65536)],
  ["terms", optional(Terms)],
]);

export interface Store {
  readonly type: "store";
  readonly request_id: Bytes;
  readonly namespace: string;
  readonly tickets: readonly Ticket[];
  readonly items: readonly StoreItem[];
}
export const Store: Kind<Store> = map(["type", "store"], [
  ["request_id", bytes(16)],
  ["namespace", text(1, 256)],
  ["tickets", list(Ticket, 0, 8)],
  ["items", list(StoreItem, 1, 256)],
]);

export interface Stored {
  readonly type: "stored";
  readonly versions: readonly number[];
}
export const Stored: Kind<Stored> = map(["type", "stored"], [["versions", list(int(0, 2 ** 63), 0, Infinity)]]);

export interface Collect {
  readonly type: "collect";
  readonly request_id: Bytes;
  readonly tickets: readonly Ticket[];
  readonly addresses: readonly (ById | ByName | ByPerson)[];
}
export const Collect: Kind<Collect> = map(["type", "collect"], [
  ["request_id", bytes(16)],
  ["tickets", list(Ticket, 0, 8)],
  ["addresses", list(either<unknown>(ById, ByName, ByPerson), 1, 256)],
]);

export interface Item {
  readonly result: "item";
  readonly version: number;
  readonly secret: Bytes;
  readonly metadata: Bytes;
  readonly author: Person;
  readonly terms: Terms | null;
  readonly opens: number;
}
export const Item: Kind<Item> = map(["result", "item"], [
  ["version", int(0, 2 ** 63)],
  ["secret", bytes(0, 65536)],
  ["metadata", bytes(0, 4096)],
  ["author", Person],
  ["terms", optional(Terms)],
  ["opens", int(0, 2 ** 63)],
]);

export interface ItemError {
  readonly result: "error";
  readonly number: number;
}
export const ItemError: Kind<ItemError> = map(["result", "error"], [["number", int(0, 999)]]);

export interface Collected {
  readonly type: "collected";
  readonly results: readonly (Item | ItemError)[];
}
export const Collected: Kind<Collected> = map(["type", "collected"], [
  ["results", list(either<unknown>(Item, ItemError), 0, Infinity)],
]);

export interface Update {
  readonly type: "update";
  readonly request_id: Bytes;
  readonly address: ById | ByName | ByPerson;
  readonly replaces: number;
  readonly tickets: readonly Ticket[];
  readonly secret: Bytes | null;
  readonly metadata: Bytes | null;
  readonly instructions: Bytes | null;
  readonly terms: Terms | null;
}
export const Update: Kind<Update> = map(["type", "update"], [
  ["request_id", bytes(16)],
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["replaces", int(0, 2 ** 63)],
  ["tickets", list(Ticket, 0, 8)],
  ["secret", optional(bytes(0, 65536))],
  ["metadata", optional(bytes(0, 4096))],
  ["instructions", optional(bytes(0, 65536))],
  ["terms", optional(Terms)],
]);

export interface Fill {
  readonly type: "fill";
  readonly request_id: Bytes;
  readonly address: ById | ByName | ByPerson;
  readonly replaces: number;
  readonly tickets: readonly Ticket[];
  readonly secret: Bytes;
  readonly metadata: Bytes;
}
export const Fill: Kind<Fill> = map(["type", "fill"], [
  ["request_id", bytes(16)],
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["replaces", int(0, 2 ** 63)],
  ["tickets", list(Ticket, 0, 8)],
  ["secret", bytes(0, 65536)],
  ["metadata", bytes(0, 4096)],
]);

export interface Updated {
  readonly type: "updated";
  readonly version: number;
}
export const Updated: Kind<Updated> = map(["type", "updated"], [["version", int(0, 2 ** 63)]]);

export interface Delete {
  readonly type: "delete";
  readonly request_id: Bytes;
  readonly address: ById | ByName | ByPerson;
  readonly replaces: number;
  readonly tickets: readonly Ticket[];
}
export const Delete: Kind<Delete> = map(["type", "delete"], [
  ["request_id", bytes(16)],
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["replaces", int(0, 2 ** 63)],
  ["tickets", list(Ticket, 0, 8)],
]);

export interface Deleted {
  readonly type: "deleted";
  readonly version: number;
  readonly epoch: number;
}
export const Deleted: Kind<Deleted> = map(["type", "deleted"], [
  ["version", int(0, 2 ** 63)],
  ["epoch", int(0, 2 ** 63)],
]);

export interface History {
  readonly type: "history";
  readonly address: ById | ByName | ByPerson;
  readonly tickets: readonly Ticket[];
}
export const History: Kind<History> = map(["type", "history"], [
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["tickets", list(Ticket, 0, 8)],
]);

export interface Visit {
  readonly number: number;
  readonly at: number;
  readonly action: "admin" | "approve" | "ask" | "audit" | "collect" | "create" | "delete" | "describe" | "fill" | "set-quota" | "update";
  readonly person: Person;
  readonly version: number;
  readonly outcome: number;
}
export const Visit: Kind<Visit> = map(null, [
  ["number", int(0, 2 ** 63)],
  ["at", int(0, 1099511627776)],
  ["action", oneOf("admin", "approve", "ask", "audit", "collect", "create", "delete", "describe", "fill", "set-quota", "update")],
  ["person", Person],
  ["version", int(0, 2 ** 63)],
  ["outcome", int(0, 999)],
]);

export interface HistoryOf {
  readonly type: "history-of";
  readonly version: number;
  readonly opens: number;
  readonly terms: Terms;
  readonly visits: readonly Visit[];
}
export const HistoryOf: Kind<HistoryOf> = map(["type", "history-of"], [
  ["version", int(0, 2 ** 63)],
  ["opens", int(0, 2 ** 63)],
  ["terms", Terms],
  ["visits", list(Visit, 0, 100)],
]);

export interface GrantBlob {
  readonly type: "grant-blob";
  readonly address: ById | ByName | ByPerson;
  readonly tickets: readonly Ticket[];
}
export const GrantBlob: Kind<GrantBlob> = map(["type", "grant-blob"], [
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["tickets", list(Ticket, 0, 8)],
]);

export interface BlobGranted {
  readonly type: "blob-granted";
  readonly statement: Bytes;
  readonly signature: Bytes;
}
export const BlobGranted: Kind<BlobGranted> = map(["type", "blob-granted"], [
  ["statement", bytes(0, 512)],
  ["signature", bytes(64)],
]);

export interface Ask {
  readonly type: "ask";
  readonly request_id: Bytes;
  readonly address: ById | ByName | ByPerson;
  readonly action: "admin" | "approve" | "ask" | "audit" | "collect" | "create" | "delete" | "describe" | "fill" | "set-quota" | "update";
  readonly tickets: readonly Ticket[];
  readonly seconds: number;
}
export const Ask: Kind<Ask> = map(["type", "ask"], [
  ["request_id", bytes(16)],
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["action", oneOf("admin", "approve", "ask", "audit", "collect", "create", "delete", "describe", "fill", "set-quota", "update")],
  ["tickets", list(Ticket, 0, 8)],
  ["seconds", int(60, 2592000)],
]);

export interface Asked {
  readonly type: "asked";
  readonly question: Bytes;
  readonly version: number;
  readonly expires_at: number;
}
export const Asked: Kind<Asked> = map(["type", "asked"], [
  ["question", bytes(16)],
  ["version", int(0, 2 ** 63)],
  ["expires_at", int(0, 1099511627776)],
]);

export interface Questions {
  readonly type: "questions";
  readonly address: ById | ByName | ByPerson;
  readonly tickets: readonly Ticket[];
}
export const Questions: Kind<Questions> = map(["type", "questions"], [
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["tickets", list(Ticket, 0, 8)],
]);

export interface Question {
  readonly question: Bytes;
  readonly action: "admin" | "approve" | "ask" | "audit" | "collect" | "create" | "delete" | "describe" | "fill" | "set-quota" | "update";
  readonly person: Person;
  readonly key: Bytes;
  readonly asked_at: number;
  readonly expires_at: number;
  readonly approvals: readonly Person[];
}
export const Question: Kind<Question> = map(null, [
  ["question", bytes(16)],
  ["action", oneOf("admin", "approve", "ask", "audit", "collect", "create", "delete", "describe", "fill", "set-quota", "update")],
  ["person", Person],
  ["key", bytes(32)],
  ["asked_at", int(0, 1099511627776)],
  ["expires_at", int(0, 1099511627776)],
  ["approvals", list(Person, 0, 16)],
]);

export interface QuestionsOf {
  readonly type: "questions-of";
  readonly version: number;
  readonly questions: readonly Question[];
}
export const QuestionsOf: Kind<QuestionsOf> = map(["type", "questions-of"], [
  ["version", int(0, 2 ** 63)],
  ["questions", list(Question, 0, 16)],
]);

export interface Approve {
  readonly type: "approve";
  readonly request_id: Bytes;
  readonly address: ById | ByName | ByPerson;
  readonly question: Bytes;
  readonly tickets: readonly Ticket[];
}
export const Approve: Kind<Approve> = map(["type", "approve"], [
  ["request_id", bytes(16)],
  ["address", either<unknown>(ById, ByName, ByPerson)],
  ["question", bytes(16)],
  ["tickets", list(Ticket, 0, 8)],
]);

export interface Approved {
  readonly type: "approved";
  readonly approvals: number;
}
export const Approved: Kind<Approved> = map(["type", "approved"], [["approvals", int(0, 2 ** 63)]]);

export interface Describe {
  readonly type: "describe";
  readonly address: ById | ByName | ByPerson | OfNamespace;
  readonly tickets: readonly Ticket[];
}
export const Describe: Kind<Describe> = map(["type", "describe"], [
  ["address", either<unknown>(ById, ByName, ByPerson, OfNamespace)],
  ["tickets", list(Ticket, 0, 8)],
]);

export interface PublicMethod {
  readonly digest: Bytes;
  readonly kind: "directory" | "email-code" | "enclave" | "keys" | "oidc" | "passkey" | "workload";
  readonly public: Bytes;
}
export const PublicMethod: Kind<PublicMethod> = map(null, [
  ["digest", bytes(32)],
  ["kind", oneOf("directory", "email-code", "enclave", "keys", "oidc", "passkey", "workload")],
  ["public", bytes(0, 16384)],
]);

export interface SignInAt {
  readonly url: string;
  readonly cluster_id: Bytes;
  readonly capsule: Bytes;
}
export const SignInAt: Kind<SignInAt> = map(null, [
  ["url", text(0, 512)],
  ["cluster_id", bytes(32)],
  ["capsule", bytes(0, 81920)],
]);

export interface Described {
  readonly type: "described";
  readonly authenticators: readonly SignInAt[];
  readonly quorum: number;
  readonly methods: readonly PublicMethod[];
}
export const Described: Kind<Described> = map(["type", "described"], [
  ["authenticators", list(SignInAt, 0, 8)],
  ["quorum", int(0, 2 ** 63)],
  ["methods", list(PublicMethod, 0, 16)],
]);

export interface CreateNamespace {
  readonly type: "create-namespace";
  readonly request_id: Bytes;
  readonly namespace: string;
  readonly replaces: number;
  readonly instructions: Bytes;
  readonly max_records: number;
  readonly max_bytes: number;
  readonly max_records_per_identity: number;
  readonly max_bytes_per_identity: number;
}
export const CreateNamespace: Kind<CreateNamespace> = map(["type", "create-namespace"], [
  ["request_id", bytes(16)],
  ["namespace", text(1, 256)],
  ["replaces", int(0, 2 ** 63)],
  ["instructions", bytes(0, 65536)],
  ["max_records", int(0, 2 ** 63)],
  ["max_bytes", int(0, 2 ** 63)],
  ["max_records_per_identity", int(0, 2 ** 63)],
  ["max_bytes_per_identity", int(0, 2 ** 63)],
]);

export interface NamespaceCreated {
  readonly type: "namespace-created";
  readonly version: number;
}
export const NamespaceCreated: Kind<NamespaceCreated> = map(["type", "namespace-created"], [
  ["version", int(0, 2 ** 63)],
]);

export interface Begin {
  readonly type: "begin";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
  readonly channel: "device" | "native" | "web";
}
export const Begin: Kind<Begin> = map(["type", "begin"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
  ["channel", oneOf("device", "native", "web")],
]);

export interface Begun {
  readonly type: "begun";
  readonly issuer: string;
  readonly authorization_endpoint: string;
  readonly client_id: string;
  readonly redirect_uri: string;
  readonly scope: string;
  readonly iss_in_redirect: boolean;
  readonly acr_values: string;
  readonly max_age: number;
  readonly pushed: boolean;
}
export const Begun: Kind<Begun> = map(["type", "begun"], [
  ["issuer", text(0, 512)],
  ["authorization_endpoint", text(0, 512)],
  ["client_id", text(0, 256)],
  ["redirect_uri", text(0, 512)],
  ["scope", text(0, 2048)],
  ["iss_in_redirect", bool],
  ["acr_values", text(0, 2304)],
  ["max_age", int(0, 2 ** 63)],
  ["pushed", bool],
]);

export interface Push {
  readonly type: "push";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
  readonly channel: "device" | "native" | "web";
  readonly redirect_uri: string;
  readonly state: string;
  readonly salt: Bytes;
  readonly code_challenge: string;
  readonly anew: boolean;
}
export const Push: Kind<Push> = map(["type", "push"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
  ["channel", oneOf("device", "native", "web")],
  ["redirect_uri", text(0, 512)],
  ["state", text(1, 128)],
  ["salt", bytes(32)],
  ["code_challenge", text(43, 43)],
  ["anew", bool],
]);

export interface Pushed {
  readonly type: "pushed";
  readonly request_uri: string;
}
export const Pushed: Kind<Pushed> = map(["type", "pushed"], [["request_uri", text(0, 512)]]);

export interface Redeem {
  readonly type: "redeem";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
  readonly channel: "device" | "native" | "web";
  readonly redirect_uri: string;
  readonly code: string;
  readonly code_verifier: string;
  readonly salt: Bytes;
  readonly with_ticket: Ticket | null;
}
export const Redeem: Kind<Redeem> = map(["type", "redeem"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
  ["channel", oneOf("device", "native", "web")],
  ["redirect_uri", text(0, 512)],
  ["code", text(1, 4096)],
  ["code_verifier", text(43, 128)],
  ["salt", bytes(32)],
  ["with_ticket", optional(Ticket)],
]);

export interface SignedIn {
  readonly type: "signed-in";
  readonly ticket: Ticket;
  readonly expires_at: number;
  readonly subject: string;
  readonly email: string;
}
export const SignedIn: Kind<SignedIn> = map(["type", "signed-in"], [
  ["ticket", Ticket],
  ["expires_at", int(0, 1099511627776)],
  ["subject", text(0, 256)],
  ["email", text(0, 256)],
]);

export interface DeviceBegin {
  readonly type: "device-begin";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
}
export const DeviceBegin: Kind<DeviceBegin> = map(["type", "device-begin"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
]);

export interface DeviceBegun {
  readonly type: "device-begun";
  readonly handle: Bytes;
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete: string;
  readonly interval: number;
  readonly expires_at: number;
}
export const DeviceBegun: Kind<DeviceBegun> = map(["type", "device-begun"], [
  ["handle", bytes(0, 4096)],
  ["user_code", text(0, 256)],
  ["verification_uri", text(0, 512)],
  ["verification_uri_complete", text(0, 512)],
  ["interval", int(0, 2 ** 63)],
  ["expires_at", int(0, 1099511627776)],
]);

export interface DevicePoll {
  readonly type: "device-poll";
  readonly capsule: Bytes;
  readonly handle: Bytes;
}
export const DevicePoll: Kind<DevicePoll> = map(["type", "device-poll"], [
  ["capsule", bytes(0, 81920)],
  ["handle", bytes(0, 4096)],
]);

export interface Challenge {
  readonly type: "challenge";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
}
export const Challenge: Kind<Challenge> = map(["type", "challenge"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
]);

export interface Challenged {
  readonly type: "challenged";
  readonly handle: Bytes;
  readonly salt: Bytes;
}
export const Challenged: Kind<Challenged> = map(["type", "challenged"], [
  ["handle", bytes(0, 4096)],
  ["salt", bytes(32)],
]);

export interface PasskeySignIn {
  readonly type: "passkey-sign-in";
  readonly capsule: Bytes;
  readonly handle: Bytes;
  readonly credential_id: Bytes;
  readonly authenticator_data: Bytes;
  readonly client_data: Bytes;
  readonly signature: Bytes;
  readonly with_ticket: Ticket | null;
}
export const PasskeySignIn: Kind<PasskeySignIn> = map(["type", "passkey-sign-in"], [
  ["capsule", bytes(0, 81920)],
  ["handle", bytes(0, 4096)],
  ["credential_id", bytes(1, 1023)],
  ["authenticator_data", bytes(0, 1024)],
  ["client_data", bytes(0, 4096)],
  ["signature", bytes(0, 1024)],
  ["with_ticket", optional(Ticket)],
]);

export interface KeySignIn {
  readonly type: "key-sign-in";
  readonly capsule: Bytes;
  readonly handle: Bytes;
  readonly public_key: Bytes;
  readonly signature: Bytes;
  readonly with_ticket: Ticket | null;
}
export const KeySignIn: Kind<KeySignIn> = map(["type", "key-sign-in"], [
  ["capsule", bytes(0, 81920)],
  ["handle", bytes(0, 4096)],
  ["public_key", bytes(1, 512)],
  ["signature", bytes(1, 1024)],
  ["with_ticket", optional(Ticket)],
]);

export interface EnclaveSignIn {
  readonly type: "enclave-sign-in";
  readonly capsule: Bytes;
  readonly handle: Bytes;
  readonly kind: "insecure-software" | "nitro" | "sgx" | "snp" | "tdx";
  readonly quote: Bytes;
  readonly collateral: Bytes;
  readonly with_ticket: Ticket | null;
}
export const EnclaveSignIn: Kind<EnclaveSignIn> = map(["type", "enclave-sign-in"], [
  ["capsule", bytes(0, 81920)],
  ["handle", bytes(0, 4096)],
  ["kind", oneOf("insecure-software", "nitro", "sgx", "snp", "tdx")],
  ["quote", bytes(0, 32768)],
  ["collateral", bytes(0, 65536)],
  ["with_ticket", optional(Ticket)],
]);

export interface PasswordSignIn {
  readonly type: "password-sign-in";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
  readonly user: string;
  readonly password: string;
  readonly with_ticket: Ticket | null;
}
export const PasswordSignIn: Kind<PasswordSignIn> = map(["type", "password-sign-in"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
  ["user", text(1, 256)],
  ["password", text(1, 1024)],
  ["with_ticket", optional(Ticket)],
]);

export interface TokenSignIn {
  readonly type: "token-sign-in";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
  readonly token: string;
  readonly with_ticket: Ticket | null;
}
export const TokenSignIn: Kind<TokenSignIn> = map(["type", "token-sign-in"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
  ["token", text(1, 16384)],
  ["with_ticket", optional(Ticket)],
]);

export interface CodeBegin {
  readonly type: "code-begin";
  readonly vault_cluster: Bytes;
  readonly capsule: Bytes;
  readonly method: Bytes;
  readonly email: string;
}
export const CodeBegin: Kind<CodeBegin> = map(["type", "code-begin"], [
  ["vault_cluster", bytes(32)],
  ["capsule", bytes(0, 81920)],
  ["method", bytes(32)],
  ["email", text(0, 256)],
]);

export interface CodeBegun {
  readonly type: "code-begun";
  readonly handle: Bytes;
  readonly expires_at: number;
}
export const CodeBegun: Kind<CodeBegun> = map(["type", "code-begun"], [
  ["handle", bytes(0, 4096)],
  ["expires_at", int(0, 1099511627776)],
]);

export interface CodeSignIn {
  readonly type: "code-sign-in";
  readonly capsule: Bytes;
  readonly handle: Bytes;
  readonly code: string;
  readonly with_ticket: Ticket | null;
}
export const CodeSignIn: Kind<CodeSignIn> = map(["type", "code-sign-in"], [
  ["capsule", bytes(0, 81920)],
  ["handle", bytes(0, 4096)],
  ["code", text(8, 8)],
  ["with_ticket", optional(Ticket)],
]);

export interface RecordRef {
  readonly handle: Bytes;
  readonly version: number;
}
export const RecordRef: Kind<RecordRef> = map(null, [["handle", bytes(32)], ["version", int(0, 2 ** 63)]]);

export interface RecordFacts {
  readonly kind: "namespace" | "secret";
  readonly depositor: string;
  readonly approvals: readonly string[];
  readonly idle_days: number | null;
  readonly time: number | null;
}
export const RecordFacts: Kind<RecordFacts> = map(null, [
  ["kind", oneOf("namespace", "secret")],
  ["depositor", text(0, 512)],
  ["approvals", list(text(0, 512), 0, 16)],
  ["idle_days", optional(int(0, 2 ** 63))],
  ["time", optional(int(0, 1099511627776))],
]);

export interface DecisionRequest {
  readonly request_id: Bytes;
  readonly vault_cluster: Bytes;
  readonly binding_key: Bytes;
  readonly action: "admin" | "approve" | "ask" | "audit" | "collect" | "create" | "delete" | "describe" | "fill" | "set-quota" | "update";
  readonly rules_digest: Bytes;
  readonly instructions_digest: Bytes;
  readonly context_digest: Bytes;
  readonly records: readonly RecordRef[];
}
export const DecisionRequest: Kind<DecisionRequest> = map(null, [
  ["request_id", bytes(16)],
  ["vault_cluster", bytes(32)],
  ["binding_key", bytes(65)],
  ["action", oneOf("admin", "approve", "ask", "audit", "collect", "create", "delete", "describe", "fill", "set-quota", "update")],
  ["rules_digest", bytes(32)],
  ["instructions_digest", bytes(32)],
  ["context_digest", bytes(32)],
  ["records", list(RecordRef, 1, 256)],
]);

export interface DecideItem {
  readonly request: Bytes;
  readonly schema_version: number;
  readonly rules: string;
  readonly methods: readonly Bytes[];
  readonly facts: Bytes;
  readonly ticket: Ticket;
}
export const DecideItem: Kind<DecideItem> = map(null, [
  ["request", bytes(0, 65536)],
  ["schema_version", int(0, 2 ** 63)],
  ["rules", text(0, 32768)],
  ["methods", list(bytes(32), 0, 16)],
  ["facts", bytes(0, 4096)],
  ["ticket", Ticket],
]);

export interface Decide {
  readonly type: "decide";
  readonly items: readonly DecideItem[];
}
export const Decide: Kind<Decide> = map(["type", "decide"], [["items", list(DecideItem, 1, 256)]]);

export interface Identity {
  readonly method: Bytes;
  readonly subject: string;
  readonly email: string;
}
export const Identity: Kind<Identity> = map(null, [
  ["method", bytes(32)],
  ["subject", text(0, 256)],
  ["email", text(0, 256)],
]);

export interface Mark {
  readonly name: Bytes;
  readonly value: number;
  readonly token: Bytes;
  readonly expires_at: number;
}
export const Mark: Kind<Mark> = map(null, [
  ["name", bytes(32)],
  ["value", int(0, 2 ** 63)],
  ["token", bytes(32)],
  ["expires_at", int(0, 1099511627776)],
]);

export interface PersonMark {
  readonly person: string;
  readonly mark: Mark;
}
export const PersonMark: Kind<PersonMark> = map(null, [["person", text(0, 512)], ["mark", Mark]]);

export interface Decision {
  readonly request_digest: Bytes;
  readonly number: number;
  readonly identity: Identity | null;
  readonly marks: readonly PersonMark[];
}
export const Decision: Kind<Decision> = map(null, [
  ["request_digest", bytes(32)],
  ["number", int(0, 999)],
  ["identity", optional(Identity)],
  ["marks", list(PersonMark, 0, 4)],
]);

export interface Decisions {
  readonly type: "decisions";
  readonly decisions: readonly Decision[];
}
export const Decisions: Kind<Decisions> = map(["type", "decisions"], [["decisions", list(Decision, 0, Infinity)]]);

export interface Validate {
  readonly type: "validate";
  readonly instructions: Bytes;
}
export const Validate: Kind<Validate> = map(["type", "validate"], [["instructions", bytes(0, 65536)]]);

export interface Validated {
  readonly type: "validated";
  readonly permitted: readonly ("admin" | "approve" | "ask" | "audit" | "collect" | "create" | "delete" | "describe" | "fill" | "set-quota" | "update")[];
}
export const Validated: Kind<Validated> = map(["type", "validated"], [
  ["permitted", list(oneOf("admin", "approve", "ask", "audit", "collect", "create", "delete", "describe", "fill", "set-quota", "update"), 0, 16)],
]);

export interface Enclose {
  readonly type: "enclose";
  readonly methods: readonly Bytes[];
}
export const Enclose: Kind<Enclose> = map(["type", "enclose"], [["methods", list(bytes(0, 16384), 1, 16)]]);

export interface Enclosed {
  readonly type: "enclosed";
  readonly capsule: Bytes;
}
export const Enclosed: Kind<Enclosed> = map(["type", "enclosed"], [["capsule", bytes(0, 81920)]]);

export interface BlobStatement {
  readonly blob: Bytes;
  readonly version: number;
  readonly max_bytes: number;
  readonly expires_at: number;
  readonly live: boolean;
}
export const BlobStatement: Kind<BlobStatement> = map(null, [
  ["blob", bytes(16)],
  ["version", int(0, 2 ** 63)],
  ["max_bytes", int(0, 2 ** 63)],
  ["expires_at", int(0, 1099511627776)],
  ["live", bool],
]);

export interface Seat {
  readonly index: number;
  readonly signature: Bytes;
}
export const Seat: Kind<Seat> = map(null, [["index", int(0, 2 ** 63)], ["signature", bytes(64)]]);

export interface SignedGenesis {
  readonly statement: Bytes;
  readonly accepted: readonly Seat[];
}
export const SignedGenesis: Kind<SignedGenesis> = map(null, [
  ["statement", bytes(0, 32768)],
  ["accepted", list(Seat, 0, 16)],
]);

export interface Succession {
  readonly version: 1;
  readonly cluster: Bytes;
  readonly serial: number;
  readonly previous: Bytes;
  readonly council: Council;
}
export const Succession: Kind<Succession> = map(null, [
  ["version", oneOf(1)],
  ["cluster", bytes(32)],
  ["serial", int(1, 64)],
  ["previous", bytes(32)],
  ["council", Council],
]);

export interface SignedSuccession {
  readonly statement: Bytes;
  readonly accepted: readonly Seat[];
  readonly endorsed: readonly Seat[];
}
export const SignedSuccession: Kind<SignedSuccession> = map(null, [
  ["statement", bytes(0, 32768)],
  ["accepted", list(Seat, 0, 16)],
  ["endorsed", list(Seat, 0, 16)],
]);

export interface Gap {
  readonly version: 1;
  readonly cluster: Bytes;
  readonly recoveries: number;
  readonly generation: number;
  readonly attempt: Bytes;
  readonly found_size: number;
  readonly found_root: Bytes;
  readonly known_size: number;
  readonly known_root: Bytes;
  readonly at: number;
  readonly watchers: Watchers | null;
}
export const Gap: Kind<Gap> = map(null, [
  ["version", oneOf(1)],
  ["cluster", bytes(32)],
  ["recoveries", int(0, 2 ** 63)],
  ["generation", int(0, 1099511627776)],
  ["attempt", bytes(32)],
  ["found_size", int(0, 2 ** 63)],
  ["found_root", bytes(32)],
  ["known_size", int(0, 2 ** 63)],
  ["known_root", bytes(32)],
  ["at", int(0, 1099511627776)],
  ["watchers", optional(Watchers)],
]);

export interface SignedGap {
  readonly statement: Bytes;
  readonly council: number;
  readonly signed: readonly Seat[];
}
export const SignedGap: Kind<SignedGap> = map(null, [
  ["statement", bytes(0, 16384)],
  ["council", int(0, 2 ** 63)],
  ["signed", list(Seat, 0, 16)],
]);

export interface Named {
  readonly kind: "insecure-software" | "nitro" | "sgx" | "snp" | "tdx";
  readonly measurement: Bytes;
  readonly at: number;
  readonly witnessed: number;
}
export const Named: Kind<Named> = map(null, [
  ["kind", oneOf("insecure-software", "nitro", "sgx", "snp", "tdx")],
  ["measurement", bytes(32, 512)],
  ["at", int(0, 1099511627776)],
  ["witnessed", int(0, 1099511627776)],
]);

export interface Charter {
  readonly genesis: SignedGenesis;
  readonly successions: readonly SignedSuccession[];
  readonly gaps: readonly SignedGap[];
  readonly recoveries: number;
  readonly releases: Bytes;
  readonly named: readonly Named[];
}
export const Charter: Kind<Charter> = map(null, [
  ["genesis", SignedGenesis],
  ["successions", list(SignedSuccession, 0, 64)],
  ["gaps", list(SignedGap, 0, 64)],
  ["recoveries", int(0, 2 ** 63)],
  ["releases", bytes(0, Infinity)],
  ["named", list(Named, 0, 256)],
]);

export interface Program {
  readonly kind: "insecure-software" | "nitro" | "sgx" | "snp" | "tdx";
  readonly measurement: Bytes;
}
export const Program: Kind<Program> = map(null, [
  ["kind", oneOf("insecure-software", "nitro", "sgx", "snp", "tdx")],
  ["measurement", bytes(32, 512)],
]);

export interface ListedRelease {
  readonly version: string;
  readonly svn: number;
  readonly programs: readonly Program[];
}
export const ListedRelease: Kind<ListedRelease> = map(null, [
  ["version", text(0, 256)],
  ["svn", int(0, 2 ** 63)],
  ["programs", list(Program, 1, 8)],
]);

export interface ReleaseList {
  readonly version: 1;
  readonly cluster: Bytes;
  readonly role: "authenticator" | "vault";
  readonly serial: number;
  readonly min_svn: number;
  readonly releases: readonly ListedRelease[];
}
export const ReleaseList: Kind<ReleaseList> = map(null, [
  ["version", oneOf(1)],
  ["cluster", bytes(32)],
  ["role", oneOf("authenticator", "vault")],
  ["serial", int(1, 2147483648)],
  ["min_svn", int(0, 2 ** 63)],
  ["releases", list(ListedRelease, 0, 32)],
]);

export interface Approval {
  readonly key: Bytes;
  readonly signature: Bytes;
}
export const Approval: Kind<Approval> = map(null, [["key", bytes(0, 512)], ["signature", bytes(0, 1024)]]);

export interface SignedReleases {
  readonly statement: Bytes;
  readonly approvals: readonly Approval[];
}
export const SignedReleases: Kind<SignedReleases> = map(null, [
  ["statement", bytes(0, 32768)],
  ["approvals", list(Approval, 0, 16)],
]);

export interface Invitation {
  readonly expires_at: number;
  readonly signature: Bytes;
}
export const Invitation: Kind<Invitation> = map(null, [
  ["expires_at", int(0, 1099511627776)],
  ["signature", bytes(64)],
]);

export interface AskStatus {
  readonly type: "ask-status";
}
export const AskStatus: Kind<AskStatus> = map(["type", "ask-status"], []);

export interface StatusIs {
  readonly type: "status-is";
  readonly status: Bytes;
}
export const StatusIs: Kind<StatusIs> = map(["type", "status-is"], [["status", bytes(0, 262144)]]);

export interface AskCharter {
  readonly type: "ask-charter";
}
export const AskCharter: Kind<AskCharter> = map(["type", "ask-charter"], []);

export interface CharterIs {
  readonly type: "charter-is";
  readonly charter: Bytes;
  readonly pending: Bytes;
}
export const CharterIs: Kind<CharterIs> = map(["type", "charter-is"], [
  ["charter", bytes(0, 524288)],
  ["pending", bytes(0, 32768)],
]);

export interface Nominee {
  readonly name: string;
  readonly recipient: string;
}
export const Nominee: Kind<Nominee> = map(null, [["name", text(0, 256)], ["recipient", text(0, 2600)]]);

export interface Convene {
  readonly type: "convene";
  readonly custodians: readonly Nominee[];
  readonly threshold: number;
  readonly approvers: readonly Bytes[];
  readonly approvals: number;
  readonly release_delay: number;
  readonly witnesses: readonly string[];
  readonly cosignatures: number;
}
export const Convene: Kind<Convene> = map(["type", "convene"], [
  ["custodians", list(Nominee, 0, 16)],
  ["threshold", int(0, 2 ** 63)],
  ["approvers", list(bytes(0, 512), 0, 16)],
  ["approvals", int(0, 2 ** 63)],
  ["release_delay", int(0, 2 ** 63)],
  ["witnesses", list(text(0, 256), 0, 15)],
  ["cosignatures", int(0, 2 ** 63)],
]);

export interface Convened {
  readonly type: "convened";
  readonly statement: Bytes;
  readonly shares: readonly Bytes[];
}
export const Convened: Kind<Convened> = map(["type", "convened"], [
  ["statement", bytes(0, 32768)],
  ["shares", list(bytes(0, 8192), 0, 16)],
]);

export interface Accept {
  readonly type: "accept";
  readonly statement: Bytes;
  readonly index: number;
  readonly signature: Bytes;
}
export const Accept: Kind<Accept> = map(["type", "accept"], [
  ["statement", bytes(32)],
  ["index", int(0, 2 ** 63)],
  ["signature", bytes(64)],
]);

export interface Endorse {
  readonly type: "endorse";
  readonly statement: Bytes;
  readonly index: number;
  readonly signature: Bytes;
}
export const Endorse: Kind<Endorse> = map(["type", "endorse"], [
  ["statement", bytes(32)],
  ["index", int(0, 2 ** 63)],
  ["signature", bytes(64)],
]);

export interface Seated {
  readonly type: "seated";
  readonly missing: number;
}
export const Seated: Kind<Seated> = map(["type", "seated"], [["missing", int(0, 2 ** 63)]]);

export interface TakeRing {
  readonly type: "take-ring";
  readonly label: string;
  readonly invitation: Invitation | null;
}
export const TakeRing: Kind<TakeRing> = map(["type", "take-ring"], [
  ["label", text(0, 256)],
  ["invitation", optional(Invitation)],
]);

export interface RingGiven {
  readonly type: "ring-given";
  readonly ring: Bytes;
}
export const RingGiven: Kind<RingGiven> = map(["type", "ring-given"], [["ring", bytes(0, 1048576)]]);

export interface Publish {
  readonly type: "publish";
  readonly releases: Bytes;
}
export const Publish: Kind<Publish> = map(["type", "publish"], [["releases", bytes(0, 32768)]]);

export interface Published {
  readonly type: "published";
  readonly serial: number;
}
export const Published: Kind<Published> = map(["type", "published"], [["serial", int(0, 2 ** 63)]]);

export interface Rotate {
  readonly type: "rotate";
}
export const Rotate: Kind<Rotate> = map(["type", "rotate"], []);

export interface Rotated {
  readonly type: "rotated";
  readonly epoch: number;
}
export const Rotated: Kind<Rotated> = map(["type", "rotated"], [["epoch", int(0, 2 ** 63)]]);

export interface SubmitShare {
  readonly type: "submit-share";
  readonly sealed: Bytes;
}
export const SubmitShare: Kind<SubmitShare> = map(["type", "submit-share"], [["sealed", bytes(0, 4096)]]);

export interface ShareSecret {
  readonly words: string;
}
export const ShareSecret: Kind<ShareSecret> = map(null, [["words", text(0, 1024)]]);

export interface ShareTaken {
  readonly type: "share-taken";
  readonly name: string;
  readonly missing: number;
}
export const ShareTaken: Kind<ShareTaken> = map(["type", "share-taken"], [
  ["name", text(0, 256)],
  ["missing", int(0, 2 ** 63)],
]);

export interface ApproveGap {
  readonly type: "approve-gap";
  readonly gap: Bytes;
  readonly index: number;
  readonly signature: Bytes;
}
export const ApproveGap: Kind<ApproveGap> = map(["type", "approve-gap"], [
  ["gap", bytes(32)],
  ["index", int(0, 2 ** 63)],
  ["signature", bytes(64)],
]);

export interface GapApproved {
  readonly type: "gap-approved";
  readonly missing: number;
}
export const GapApproved: Kind<GapApproved> = map(["type", "gap-approved"], [["missing", int(0, 2 ** 63)]]);

export interface EntryLeaf {
  readonly leaf: "entry";
  readonly commitment: Bytes;
  readonly sealed: Bytes;
}
export const EntryLeaf: Kind<EntryLeaf> = map(["leaf", "entry"], [
  ["commitment", bytes(32)],
  ["sealed", bytes(0, 2048)],
]);

export interface CommitLeaf {
  readonly leaf: "commit";
  readonly version: 1;
  readonly shard: number;
  readonly generation: number;
  readonly owner: Bytes;
  readonly start: boolean;
  readonly nonce: Bytes;
  readonly at: number;
  readonly clock_floor: number;
  readonly index_root: Bytes;
  readonly buckets: number;
  readonly ring: Bytes;
  readonly release: number;
  readonly recoveries: number;
  readonly unticketed: number;
  readonly changes: number;
}
export const CommitLeaf: Kind<CommitLeaf> = map(["leaf", "commit"], [
  ["version", oneOf(1)],
  ["shard", int(0, 2 ** 63)],
  ["generation", int(0, 1099511627776)],
  ["owner", bytes(16)],
  ["start", bool],
  ["nonce", bytes(16)],
  ["at", int(0, 1099511627776)],
  ["clock_floor", int(0, 1099511627776)],
  ["index_root", bytes(32)],
  ["buckets", int(0, 2 ** 63)],
  ["ring", bytes(32)],
  ["release", int(0, 2 ** 63)],
  ["recoveries", int(0, 2 ** 63)],
  ["unticketed", int(0, 2 ** 63)],
  ["changes", int(0, 2 ** 63)],
]);

export interface LifeLeaf {
  readonly leaf: "life";
  readonly event: "erased" | "given" | "governed" | "recovered" | "released" | "rotated";
  readonly at: number;
  readonly about: Bytes;
  readonly number: number;
  readonly text: string;
}
export const LifeLeaf: Kind<LifeLeaf> = map(["leaf", "life"], [
  ["event", oneOf("erased", "given", "governed", "recovered", "released", "rotated")],
  ["at", int(0, 1099511627776)],
  ["about", bytes(32)],
  ["number", int(0, 2 ** 63)],
  ["text", text(0, 256)],
]);

export interface Entry {
  readonly handle: Bytes;
  readonly number: number;
  readonly previous: number;
  readonly at: number;
  readonly version: number;
  readonly action: string;
  readonly identity: string;
  readonly outcome: number;
  readonly blinding: Bytes;
}
export const Entry: Kind<Entry> = map(null, [
  ["handle", bytes(32)],
  ["number", int(0, 2 ** 63)],
  ["previous", int(0, 2 ** 63)],
  ["at", int(0, 1099511627776)],
  ["version", int(0, 2 ** 63)],
  ["action", text(0, 32)],
  ["identity", text(0, 512)],
  ["outcome", int(0, 2 ** 63)],
  ["blinding", bytes(32)],
]);

export type VaultRequest =
  | Prove
  | Freshen
  | Store
  | Collect
  | Update
  | Fill
  | Delete
  | History
  | Trail
  | GrantBlob
  | Ask
  | Questions
  | Approve
  | Describe
  | CreateNamespace;
export const VaultRequest: Kind<VaultRequest> = either<VaultRequest>(
  Prove,
  Freshen,
  Store,
  Collect,
  Update,
  Fill,
  Delete,
  History,
  Trail,
  GrantBlob,
  Ask,
  Questions,
  Approve,
  Describe,
  CreateNamespace,
);

export type VaultReply =
  | Proved
  | Freshness
  | Logged
  | Stored
  | Collected
  | Updated
  | Deleted
  | HistoryOf
  | TrailOf
  | BlobGranted
  | Asked
  | QuestionsOf
  | Approved
  | Described
  | NamespaceCreated
  | ErrorReply;
export const VaultReply: Kind<VaultReply> = either<VaultReply>(
  Proved,
  Freshness,
  Logged,
  Stored,
  Collected,
  Updated,
  Deleted,
  HistoryOf,
  TrailOf,
  BlobGranted,
  Asked,
  QuestionsOf,
  Approved,
  Described,
  NamespaceCreated,
  ErrorReply,
);

export type AuthenticatorRequest =
  | Prove
  | Begin
  | Push
  | Redeem
  | DeviceBegin
  | DevicePoll
  | Challenge
  | PasskeySignIn
  | KeySignIn
  | EnclaveSignIn
  | PasswordSignIn
  | TokenSignIn
  | CodeBegin
  | CodeSignIn
  | Decide
  | Validate
  | Enclose;
export const AuthenticatorRequest: Kind<AuthenticatorRequest> = either<AuthenticatorRequest>(
  Prove,
  Begin,
  Push,
  Redeem,
  DeviceBegin,
  DevicePoll,
  Challenge,
  PasskeySignIn,
  KeySignIn,
  EnclaveSignIn,
  PasswordSignIn,
  TokenSignIn,
  CodeBegin,
  CodeSignIn,
  Decide,
  Validate,
  Enclose,
);

export type AuthenticatorReply =
  | Proved
  | Begun
  | Pushed
  | DeviceBegun
  | Challenged
  | CodeBegun
  | SignedIn
  | Decisions
  | Validated
  | Enclosed
  | ErrorReply;
export const AuthenticatorReply: Kind<AuthenticatorReply> = either<AuthenticatorReply>(
  Proved,
  Begun,
  Pushed,
  DeviceBegun,
  Challenged,
  CodeBegun,
  SignedIn,
  Decisions,
  Validated,
  Enclosed,
  ErrorReply,
);

export type ClusterRequest =
  | AskStatus
  | AskCharter
  | Convene
  | Accept
  | Endorse
  | TakeRing
  | Publish
  | Rotate
  | SubmitShare
  | ApproveGap;
export const ClusterRequest: Kind<ClusterRequest> = either<ClusterRequest>(
  AskStatus,
  AskCharter,
  Convene,
  Accept,
  Endorse,
  TakeRing,
  Publish,
  Rotate,
  SubmitShare,
  ApproveGap,
);

export type ClusterReply =
  | StatusIs
  | CharterIs
  | Convened
  | Seated
  | RingGiven
  | Published
  | Rotated
  | ShareTaken
  | GapApproved
  | Proved
  | ErrorReply;
export const ClusterReply: Kind<ClusterReply> = either<ClusterReply>(
  StatusIs,
  CharterIs,
  Convened,
  Seated,
  RingGiven,
  Published,
  Rotated,
  ShareTaken,
  GapApproved,
  Proved,
  ErrorReply,
);

export type NurseryRequest =
  | Prove
  | AskStatus
  | AskCharter
  | Convene
  | Accept
  | Endorse
  | TakeRing
  | Publish
  | Rotate
  | SubmitShare
  | ApproveGap;
export const NurseryRequest: Kind<NurseryRequest> = either<NurseryRequest>(
  Prove,
  AskStatus,
  AskCharter,
  Convene,
  Accept,
  Endorse,
  TakeRing,
  Publish,
  Rotate,
  SubmitShare,
  ApproveGap,
);

export type AnyLeaf = EntryLeaf | LifeLeaf | CommitLeaf;
export const AnyLeaf: Kind<AnyLeaf> = either<AnyLeaf>(EntryLeaf, LifeLeaf, CommitLeaf);
