/**
 * AMD SEV-SNP attestation reports: from untrusted bytes to a verified report.
 *
 * Layouts are those of AMD's "SEV Secure Nested Paging Firmware ABI Specification" (56860, revision 1.58): the report in
 * table 23, TCB_VERSION in section 2.2, the signature in chapter 10. Certificates are those of the "VCEK Certificate and
 * KDS Interface Specification" (57230).
 *
 * What verifiers of these reports have got wrong elsewhere, and is refused here:
 * - The product decides how a TCB_VERSION is read. Taken from the report, or guessed from the chip's name, it lets the
 *   host choose the reading. It is taken from the pinned chain.
 * - A certificate endorses a key for one chip and one state of its firmware. Every part must be the report's, byte for
 *   byte: to compare with "at least", or to leave out a part, revives a key whose firmware is known to be broken.
 * - A report that the host asked for, that nobody signed, or whose guest may be debugged is well-formed all the same.
 */

import { type Bytes, concat } from "../protocol/bytes.js";
import { type Endorsement, verifyAmdChain } from "./amd_chain.js";
import { AMD_CHAINS, type AmdChain, type AttestationKey, type Product } from "./amd_roots.js";
import { refuse } from "./refusal.js";
import type { SnpReport, SnpTcb } from "./reports.js";
import { sameBytes, verifyEcdsa } from "./x509.js";

const LENGTH = 0x4a0;
/** The signature covers everything before this offset, and stands behind it. */
const SIGNED = 0x2a0;
const ECDSA_P384_SHA384 = 1;

const WITH_CPUID = 3;
const WITH_MITIGATIONS = 5;
/**
 * 2: the first in the field. 3 adds the processor's family, model and stepping; 4 has the layout of 3; 5 adds the vectors
 * of mitigations that were verified.
 */
const VERSIONS = [2, 3, 4, 5];

type Range = readonly [start: number, end: number];
const RESERVED: readonly Range[] = [
  [0x4c, 0x50],
  [0x18b, 0x1a0],
  [0x1eb, 0x1ec],
  [0x1ef, 0x1f0],
  [0x208, SIGNED],
  [0x330, LENGTH],
];
const CPUID: Range = [0x188, 0x18b];
const MITIGATIONS: Range = [0x1f8, 0x208];

const KEYS: readonly AttestationKey[] = ["vcek", "vlek"];
const UNSIGNED = 7;
const AUTHOR_KEY_EN = 1;
const MASK_CHIP_KEY = 2;

const POLICY_ONE = 1 << 17;
const POLICY_DEBUG = 1 << 19;
/** Bits that the ABI defines; PAGE_SWAP_DISABLE is the highest. */
const POLICY_BITS = 26;
const LOWEST_VMPL = 3;
/** VMPL of a report that the host asked for (SNP_HV_REPORT_REQ). */
const HOST = 0xffff_ffff;

const TCBS = { CURRENT_TCB: 0x38, REPORTED_TCB: 0x180, COMMITTED_TCB: 0x1e0, LAUNCH_TCB: 0x1f0 } as const;
type TcbName = keyof typeof TCBS;
const EARLY = ["3.1", "3.2", "3.4", "3.5", "3.6", "3.7", "3.3", "3.8"];
/** For each byte of a TCB_VERSION, the certificate extension that repeats it. */
const TCB_LAYOUTS: Readonly<Record<Product, readonly string[]>> = {
  Milan: EARLY,
  Genoa: EARLY,
  Turin: ["3.9", "3.1", "3.2", "3.3", "3.5", "3.6", "3.7", "3.8"],
};
/** What these extensions stand for; the others are reserved. */
const PARTS: ReadonlyMap<string, keyof SnpTcb> = new Map([
  ["3.1", "bootloader"],
  ["3.2", "tee"],
  ["3.3", "snp"],
  ["3.8", "microcode"],
  ["3.9", "fmc"],
]);

/** Product names in certificates, with the stepping in some; three lines of processors share the Genoa keys. */
const NAMES: Readonly<Record<Product, RegExp>> = {
  Milan: /^Milan(?:-[A-Z][0-9])?$/,
  Genoa: /^(?:Genoa|Bergamo|Siena)(?:-[A-Z][0-9])?$/,
  Turin: /^Turin(?:-[A-Z][0-9])?$/,
};
/** CPUID family, and models (first, and the one past the last), of each. */
const MODELS: Readonly<Record<Product, { family: number; models: readonly Range[] }>> = {
  Milan: { family: 0x19, models: [[0x00, 0x10]] },
  // prettier-ignore
  Genoa: { family: 0x19, models: [[0x10, 0x20], [0xa0, 0xb0]] },
  Turin: { family: 0x1a, models: [[0x00, 0x20]] },
};
/** Bytes of CHIP_ID that Turin uses; the other products use all 64. */
const TURIN_CHIP = 8;
const STRUCT_VERSIONS = ["2,1,0", "2,1,1"];
const IA5_STRING = 0x16;
const OCTET_STRING = 0x04;
const PROVIDER = /^[ -~]{1,127}$/;

/**
 * Verify a report (1,184 bytes) against its collateral at `now`, unix seconds.
 *
 * Collateral is PEM text (at most 64 KiB): certificates of attestation key (VCEK or VLEK), signing key (ASK or ASVK) and
 * root (ARK), in this order, optionally followed by the root's revocation list. `chains` are the roots and signing keys
 * to trust. A guest that may be debugged is refused; all else that it, its machine and its firmware are is for the
 * relying party's policy to judge. Throws `Untrusted` EVIDENCE.
 */
export async function verifySnpReport(
  untrustedReport: Bytes,
  untrustedCollateral: Bytes,
  now: number,
  chains: readonly AmdChain[] = AMD_CHAINS,
): Promise<SnpReport> {
  const report = new RawReport(untrustedReport);
  verifyForm(report);
  const endorsement = await verifyAmdChain(untrustedCollateral, now, chains);
  const { product, key, ark } = endorsement.chain;
  verifyKey(report, endorsement);
  verifyEndorsed(report, endorsement);
  verifyTcbs(report, product);
  await verifySignature(report, endorsement);
  // Last, or a reason would be the word of whoever set a bit in a good report.
  if (report.policy & POLICY_DEBUG) throw refuse("this guest may be debugged: its host can read all of its memory");
  return {
    platform: "snp",
    registers: [["MEASUREMENT", report.bytes(0x90, 0xc0)]],
    reportData: report.bytes(0x50, 0x90),
    root: ark,
    provenAt: endorsement.provenAt,
    validUntil: endorsement.validUntil,
    product,
    key,
    guestPolicy: report.policy,
    vmpl: report.uint32(0x30),
    guestSvn: report.uint32(0x04),
    familyId: report.bytes(0x10, 0x20),
    imageId: report.bytes(0x20, 0x30),
    idKeyDigest: report.bytes(0xe0, 0x110),
    authorKeyDigest: report.bytes(0x110, 0x140),
    provider: providerOf(endorsement),
    tcb: tcbOf(report, "REPORTED_TCB", product),
    committedTcb: tcbOf(report, "COMMITTED_TCB", product),
    launchTcb: tcbOf(report, "LAUNCH_TCB", product),
    chipId: report.bytes(0x1a0, 0x1e0),
    crlChecked: endorsement.crlChecked,
  };
}

/** The bytes of a report that is as long as all are. */
class RawReport {
  readonly #data: Bytes;
  readonly #view: DataView;

  constructor(untrusted: Bytes) {
    if (untrusted.length !== LENGTH) {
      throw refuse(`an SNP report is ${LENGTH} bytes long, and this is ${untrusted.length}`);
    }
    this.#data = untrusted;
    this.#view = new DataView(untrusted.buffer, untrusted.byteOffset, untrusted.byteLength);
  }

  bytes(start: number, end: number): Bytes {
    return this.#data.slice(start, end);
  }

  byte(at: number): number {
    return this.#view.getUint8(at);
  }

  uint32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  isZero(start: number, end: number): boolean {
    return isZero(this.#data.subarray(start, end));
  }

  get version(): number {
    return this.uint32(0);
  }

  /** Which key signed, and how the host set it up. */
  get flags(): number {
    return this.uint32(0x48);
  }

  /** The low half of the guest policy; of the high one no bit is defined. */
  get policy(): number {
    return this.uint32(0x08);
  }
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** Whatever can be told from the report alone. Nothing of it is verified yet, and all that this does is refuse. */
function verifyForm(report: RawReport): void {
  const { version, policy, flags } = report;
  if (!VERSIONS.includes(version)) throw refuse(`version ${version} of SNP reports is not known here`);
  if (report.uint32(0x34) !== ECDSA_P384_SHA384) throw refuse("the report is not signed with ECDSA P-384 and SHA-384");
  const empty = [...RESERVED];
  if (version < WITH_CPUID) empty.push(CPUID);
  if (version < WITH_MITIGATIONS) empty.push(MITIGATIONS);
  if (empty.some(([start, end]) => !report.isZero(start, end)) || flags >>> 5 !== 0) {
    throw refuse("a reserved part of the report is not zero");
  }
  if (!(policy & POLICY_ONE) || policy >>> POLICY_BITS !== 0 || report.uint32(0x0c) !== 0) {
    throw refuse("the guest policy has bits that are not known here");
  }
  const vmpl = report.uint32(0x30);
  if (vmpl === HOST) throw refuse("the host asked for this report, not the guest");
  if (vmpl > LOWEST_VMPL) throw refuse("there is no such privilege level (VMPL)");
  // The signer of a guest is known by this digest, so that a stray one would let anybody be an author.
  if ((flags & AUTHOR_KEY_EN) !== 0 === report.isZero(0x110, 0x140)) {
    throw refuse("the report has an author key without saying so, or the reverse");
  }
}

/** That the report names the kind of key that the chain endorses. */
function verifyKey({ flags }: RawReport, { chain }: Endorsement): void {
  const selected = (flags >>> 2) & 7;
  if (selected === UNSIGNED) throw refuse("the report says that no key signed it");
  if (KEYS[selected] !== chain.key) {
    throw refuse("the report says that another kind of key signed it than the certificate is for");
  }
  if (chain.key === "vcek" && flags & MASK_CHIP_KEY) {
    throw refuse("the report says that the chip's own key is masked, yet that it signed");
  }
}

/** That the certificate is for this product, chip and firmware, and says no more than that. */
function verifyEndorsed(report: RawReport, { chain: { product, key }, extensions }: Endorsement): void {
  const layout = TCB_LAYOUTS[product];
  const expected = new Set(["1", "2", ...layout, key === "vcek" ? "4" : "5"]);
  const extension = (name: string): Bytes => extensions.get(name) ?? new Uint8Array();
  if (extensions.size !== expected.size || ![...expected].every((name) => extensions.has(name))) {
    throw refuse(`the certificate has not exactly the extensions of a ${key.toUpperCase()} for ${product}`);
  }
  if (!STRUCT_VERSIONS.includes(String(extension("1")))) {
    throw refuse("the certificate's extensions are of a version that is not known here");
  }
  const name = ia5(extension("2"));
  if (name === undefined || !NAMES[product].test(name)) {
    throw refuse(`the certificate does not name ${product} as its product`);
  }
  for (const [at, oid] of layout.entries()) {
    if (!sameBytes(extension(oid), integer(report.byte(TCBS.REPORTED_TCB + at)))) {
      const part = PARTS.get(oid) ?? "a reserved part";
      throw refuse(`the certificate is for another TCB than REPORTED_TCB: ${part} differs`);
    }
  }
  if (report.version >= WITH_CPUID) {
    const { family, models } = MODELS[product];
    const model = report.byte(0x189);
    if (report.byte(0x188) !== family || !models.some(([first, past]) => model >= first && model < past)) {
      throw refuse(`the processor's family and model are not those of ${product}`);
    }
  }
  verifyChip(report.bytes(0x1a0, 0x1e0), product, key, extension("4"));
}

function verifyChip(chip: Bytes, product: Product, key: AttestationKey, certified: Bytes): void {
  if (key === "vlek") {
    // No certificate vouches for a chip here, and a policy may list chips.
    if (!isZero(chip)) throw refuse("a report under a VLEK names no chip, and this one does");
    return;
  }
  if (isZero(chip)) throw refuse("the host masks the chip's name (CHIP_ID), so that no certificate of the chip fits");
  const used = chip.subarray(0, product === "Turin" ? TURIN_CHIP : chip.length);
  // Contents of the extension are the bytes themselves, or an OCTET STRING of them in some of KDS's certificates.
  const wrapped = concat(Uint8Array.of(OCTET_STRING, used.length), used);
  if (!isZero(chip.subarray(used.length)) || !(sameBytes(certified, used) || sameBytes(certified, wrapped))) {
    throw refuse("the certificate is for another chip than CHIP_ID");
  }
}

/**
 * What no firmware reports. COMMITTED_TCB and REPORTED_TCB are at most CURRENT_TCB, each part by itself (56860,
 * SNP_COMMIT and SNP_CONFIG). Nothing else holds: on provisional firmware the host may report more than is committed,
 * and a guest that migrated keeps the LAUNCH_TCB of the machine on which it started.
 */
function verifyTcbs(report: RawReport, product: Product): void {
  const layout = [...TCB_LAYOUTS[product].entries()];
  for (const [name, start] of Object.entries(TCBS)) {
    if (layout.some(([at, oid]) => report.byte(start + at) !== 0 && !PARTS.has(oid))) {
      throw refuse(`a reserved part of ${name} is not zero`);
    }
  }
  for (const name of ["COMMITTED_TCB", "REPORTED_TCB"] as const) {
    for (const [at, oid] of layout) {
      if (report.byte(TCBS[name] + at) > report.byte(TCBS.CURRENT_TCB + at)) {
        throw refuse(`${name} is above CURRENT_TCB in ${PARTS.get(oid)}`);
      }
    }
  }
}

/** Little-endian r and s in 72 bytes each (56860, chapter 10). */
async function verifySignature(report: RawReport, { key }: Endorsement): Promise<void> {
  const otherwise = (): Error => refuse("the report is not signed by the key that AMD's certificate endorses");
  const numbers = [SIGNED, SIGNED + 72].map((at) => report.bytes(at, at + 72).reverse());
  if (numbers.some((number) => !isZero(number.subarray(0, 24)))) throw otherwise();
  const signature = concat(...numbers.map((number) => number.subarray(24)));
  await verifyEcdsa("P-384", key.bits, signature, report.bytes(0, SIGNED), otherwise);
}

function tcbOf(report: RawReport, name: TcbName, product: Product): SnpTcb {
  const found = { bootloader: 0, tee: 0, snp: 0, microcode: 0, fmc: 0 };
  for (const [at, oid] of TCB_LAYOUTS[product].entries()) {
    const part = PARTS.get(oid);
    if (part !== undefined) found[part] = report.byte(TCBS[name] + at);
  }
  return found;
}

/** To whom AMD lent a VLEK, if the certificate says it in characters fit to be shown. */
function providerOf({ chain, extensions }: Endorsement): string {
  if (chain.key !== "vlek") return "";
  const found = ia5(extensions.get("5") ?? new Uint8Array());
  if (found === undefined || !PROVIDER.test(found)) {
    throw refuse("the certificate does not say to which provider its key was lent");
  }
  return found;
}

/** DER of an INTEGER below 256. */
const integer = (value: number): Uint8Array => Uint8Array.from(value < 0x80 ? [2, 1, value] : [2, 2, 0, value]);

/** Text of an IA5String, in the short form. */
function ia5(der: Bytes): string | undefined {
  if (der[0] !== IA5_STRING || der[1] !== der.length - 2 || der[1] > 0x7f) return undefined;
  return String.fromCharCode(...der.subarray(2));
}
