/**
 * Intel's quotes (ECDSA P-256, "DCAP"), as far as SGX and TDX have them in common: from a quote taken apart to what
 * Intel says of the machine.
 *
 * In Python `dcap-qvl` verifies signatures, chains, lists and TCB levels, and our own code closes what it leaves open.
 * Its JavaScript edition leaves so much open in a browser (no dates of certificates, no signatures of lists, no check of
 * who may issue, no identity of a TDX module, authentication data beyond 32 bytes) that all of it would have to be
 * checked again, and weighs five times what this does. So everything is verified here, by WebCrypto, and tests hold
 * every verdict against that library and against Python's.
 *
 * Beside what a verifier must check anyway:
 *
 * - Bytes that no signature covers are refused, behind the quote, at every level of its nesting, and around its
 *   certificates: every length must add up, and a chain is exactly its certificates.
 * - TCB info and QE identity are signed by who stands right below the root, which holds for no PCK certificate: whoever
 *   takes the key out of one machine (WireTap, TEE.fail) could else declare it up to date.
 * - A PCK chain in the collateral would replace the one in the quote. Collateral has no such field here.
 * - PCEs of different ids count their security versions apart; a chain ends in the root, so that it expires too.
 */

import { type Bytes, concat, unhex, utf8 } from "../protocol/bytes.js";
import { sha256 } from "../protocol/primitives.js";
import { doesNotVerify, verifyChain, verifyNotRevoked, verifyRevocationList } from "./intel_chain.js";
import { type Quote, certificatesOf, uint16 } from "./intel_quote.js";
import {
  type Pck,
  type QeIdentity,
  type Standing,
  type TcbInfo,
  type TcbStatus,
  parsePck,
  parseQeIdentity,
  parseTcbInfo,
  unhexed,
} from "./intel_statements.js";
import { currentStanding, enclaveStanding, machineStanding, mergeStanding } from "./intel_levels.js";
import { refuse } from "./refusal.js";
import type { IntelState } from "./reports.js";
import { type Certificate, parseCertificate, sameBytes, verifyEcdsa } from "./x509.js";

/** SHA-256 of the DER of the "Intel SGX Root CA". */
export const INTEL_ROOT = unhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3");

export const DEBUG = "this is a debug enclave or TD: its host can read all of its memory";

const ECDSA_P256 = 2;
const VENDOR = unhex("939a7233f79c4ca9940a0db3957f0607");
/** Bytes of authentication data that Intel's quoting enclaves write. */
const AUTHENTICATION = 32;
const DEBUG_FLAG = 0x02;
const COLLATERAL = [
  "pck_crl_issuer_chain",
  "root_ca_crl",
  "pck_crl",
  "tcb_info_issuer_chain",
  "tcb_info",
  "tcb_info_signature",
  "qe_identity_issuer_chain",
  "qe_identity",
  "qe_identity_signature",
] as const;

/** The form of Intel's `sgx_ql_qve_collateral_t` as JSON; lists and signatures as hexadecimal digits. */
type Collateral = Readonly<Record<(typeof COLLATERAL)[number], string>>;

/** What a verified quote and its collateral say of the machine. */
export interface Verdict {
  readonly intel: IntelState;
  readonly root: Bytes;
  readonly provenAt: number;
  readonly validUntil: number;
  /** TDX 1.5 only: the level that the module which runs now reaches, beside the one under which the TD started. */
  readonly current: Standing | undefined;
}

/**
 * Verify a quote, already taken apart, up to the root, against its collateral (JSON) at `now`, unix seconds.
 *
 * `root` is the SHA-256 of the root certificate to trust. Any TCB status but "Revoked" passes: what to make of it is
 * policy. Throws `Untrusted` EVIDENCE.
 */
export async function verifyQuote(untrusted: Quote, untrustedCollateral: Bytes, root: Bytes, now: number): Promise<Verdict> {
  const given = parseCollateral(untrustedCollateral);
  verifyHeader(untrusted);
  const pckChain = parsed(untrusted.chain, "the quote");
  const tcbChain = parsed(certificatesOf(given.tcb_info_issuer_chain, 2, "the TCB info"), "the TCB info");
  const qeChain = parsed(certificatesOf(given.qe_identity_issuer_chain, 2, "the QE identity"), "the QE identity");
  await verifyEnds({ "the quote": pckChain, "the TCB info": tcbChain, "the QE identity": qeChain }, root);
  verifyListIssuer(given, untrusted);

  const [pckCertificate, pckIssuer, rootCertificate] = pckChain;
  const [tcbSigner] = tcbChain;
  const [qeSigner] = qeChain;
  if (!pckCertificate || !pckIssuer || !rootCertificate || !tcbSigner || !qeSigner) throw notParsed();
  await verifyChain(pckChain, now, "the quote");
  await verifyChain(tcbChain, now, "the TCB info");
  await verifyChain(qeChain, now, "the QE identity");
  const lists = [
    await verifyRevocationList(bytesOf(given.root_ca_crl), rootCertificate, now, "root CA"),
    await verifyRevocationList(bytesOf(given.pck_crl), pckIssuer, now, "PCK"),
  ];
  verifyNotRevoked([...pckChain, tcbSigner, qeSigner], lists);

  await verifyStatement(given.tcb_info, given.tcb_info_signature, tcbSigner, "tcb_info");
  await verifyStatement(given.qe_identity, given.qe_identity_signature, qeSigner, "qe_identity");
  const info = parseTcbInfo(given.tcb_info);
  const identity = parseQeIdentity(given.qe_identity);
  verifyKind(untrusted, info, identity);
  verifyPeriod(info, now, "TCBInfo");
  verifyPeriod(identity, now, "QE Identity");
  await verifyQuotingEnclave(untrusted, pckCertificate, identity);
  await verifyReport(untrusted);

  const pck = parsePck(pckCertificate);
  verifyMachine(pck, info);
  const enclave = enclaveStanding(untrusted, identity);
  const launch = machineStanding(untrusted, pck, info);
  const current = currentStanding(untrusted, pck, info);
  const machine = mergeStanding(launch, enclave, current);
  if (machine.status === "Revoked") throw doesNotVerify("TCB status is invalid: Revoked");
  const ends = [...pckChain, tcbSigner, qeSigner].map(({ notAfter }) => notAfter);
  return {
    intel: stateOf(machine, pck, info, identity),
    root,
    provenAt: Math.max(info.issuedAt, identity.issuedAt),
    validUntil: Math.min(...ends, ...lists.map(({ nextAt }) => nextAt), info.nextAt, identity.nextAt),
    current,
  };
}

function stateOf(machine: Standing, pck: Pck, info: TcbInfo, identity: QeIdentity): IntelState {
  return {
    tcbStatus: machine.status satisfies TcbStatus,
    advisories: machine.advisories,
    tcbEvaluationNumber: Math.min(info.evaluationNumber, identity.evaluationNumber),
    tcbDate: machine.date,
    platformId: pck.ppid,
    smt: pck.smt,
    dynamicPlatform: pck.dynamicPlatform,
    cachedKeys: pck.cachedKeys,
  };
}

const notParsed = (): Error => refuse("the collateral does not parse");

function parseCollateral(untrusted: Bytes): Collateral {
  const found: unknown = parsedJson(untrusted);
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw notParsed();
  const fields = new Map<string, unknown>(Object.entries(found));
  const isWhole = fields.size === COLLATERAL.length && COLLATERAL.every((name) => typeof fields.get(name) === "string");
  if (!isWhole) throw notParsed();
  return Object.fromEntries(fields) as Collateral; // each field was just seen to be text
}

function parsedJson(untrusted: Bytes): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(untrusted));
  } catch {
    throw notParsed();
  }
}

function bytesOf(hexDigits: string): Bytes {
  const bytes = unhexed(hexDigits);
  if (bytes === undefined) throw notParsed();
  return bytes;
}

const parsed = (chain: readonly Bytes[], where: string): readonly Certificate[] =>
  chain.map((der) => parseCertificate(der, `certificate of ${where}`));

/** Every chain ends in the root, and between it and who signs for Intel stands nobody. */
async function verifyEnds(chains: Readonly<Record<string, readonly Certificate[]>>, root: Bytes): Promise<void> {
  for (const [where, chain] of Object.entries(chains)) {
    const last = chain.at(-1);
    if (last === undefined || !sameBytes(await sha256(last.der), root)) {
      throw refuse(`the certificate chain of ${where} does not end in the root that is trusted`);
    }
  }
}

/** The list's issuer is taken from the quote; this chain only says the same, so that it may say nothing else. */
function verifyListIssuer(given: Collateral, { chain: [, issuer, root] }: Quote): void {
  const [own, end] = certificatesOf(given.pck_crl_issuer_chain, 2, "the PCK CRL");
  if (own === undefined || end === undefined || !sameBytes(own, issuer) || !sameBytes(end, root)) {
    throw refuse("the certificate chain of the PCK CRL is not that of the quote's issuer");
  }
}

function verifyHeader({ header, qeAuthentication }: Quote): void {
  if (uint16(header, 2) !== ECDSA_P256) throw doesNotVerify("Unsupported DCAP attestation key type");
  if (!sameBytes(header.subarray(12, 28), VENDOR)) throw doesNotVerify("Unknown QE vendor ID");
  if (qeAuthentication.length !== AUTHENTICATION) throw doesNotVerify("Invalid QE auth data length");
}

async function verifyStatement(text: string, signature: string, { key }: Certificate, what: string): Promise<void> {
  await verifyEcdsa("P-256", key.bits, bytesOf(signature), utf8(text), () => doesNotVerify(`Signature is invalid for ${what}`));
}

/** Statements about enclaves are none about TDs, nor the reverse. */
function verifyKind({ kind }: Quote, info: TcbInfo, identity: QeIdentity): void {
  const [infoId, lowest, identityId, versions] =
    kind === "tdx" ? (["TDX", 3, "TD_QE", [2, 3]] as const) : (["SGX", 2, "QE", [2]] as const);
  if (identity.id !== identityId || !versions.some((one) => one === identity.version)) {
    throw doesNotVerify("Unsupported QE Identity id/version for the quote's kind");
  }
  if (info.id !== infoId || info.version < lowest) throw doesNotVerify("the TCB info is about another kind of quote");
}

function verifyPeriod({ issuedAt, nextAt }: TcbInfo | QeIdentity, now: number, what: string): void {
  if (now < issuedAt) throw doesNotVerify(`${what} issue date is in the future`);
  if (now >= nextAt) throw doesNotVerify(`${what} expired`);
}

/** The quoting enclave is Intel's, on the machine of the PCK certificate, and answers for the attestation key. */
async function verifyQuotingEnclave(quote: Quote, pck: Certificate, identity: QeIdentity): Promise<void> {
  const { qeReport: report } = quote;
  const otherwise = (): Error => doesNotVerify("Signature is invalid for qe_report in quote");
  await verifyEcdsa("P-256", pck.key.bits, quote.qeReportSignature, report, otherwise);
  const bound = await sha256(concat(quote.attestationKey, quote.qeAuthentication));
  if (!sameBytes(bound, report.subarray(320, 352))) throw doesNotVerify("QE report hash mismatch");
  if (!sameBytes(report.subarray(128, 160), identity.signer)) throw doesNotVerify("QE MRSIGNER mismatch");
  if ((report[48] ?? DEBUG_FLAG) & DEBUG_FLAG) throw doesNotVerify("the quoting enclave is a debug enclave");
  if (uint16(report, 256) !== identity.productId) throw doesNotVerify("QE ISVPRODID mismatch");
  if (!isUnder(identity.miscSelectMask, report.subarray(16, 20), identity.miscSelect)) {
    throw doesNotVerify("QE MISCSELECT mismatch");
  }
  if (!isUnder(identity.attributesMask, report.subarray(48, 64), identity.attributes)) {
    throw doesNotVerify("QE ATTRIBUTES mismatch");
  }
}

const isUnder = (mask: Bytes, found: Bytes, expected: Bytes): boolean =>
  mask.every((bits, at) => ((found[at] ?? 0) & bits) === ((expected[at] ?? 0) & bits));

async function verifyReport({ attestationKey, signature, signed }: Quote): Promise<void> {
  const point = concat(Uint8Array.of(4), attestationKey);
  await verifyEcdsa("P-256", point, signature, signed, () => doesNotVerify("ISV enclave report signature is invalid"));
}

function verifyMachine(pck: Pck, info: TcbInfo): void {
  if (!sameBytes(pck.fmspc, info.fmspc)) throw doesNotVerify("Fmspc mismatch");
  if (!sameBytes(pck.pceId, info.pceId)) {
    throw refuse("the TCB info is about machines with another provisioning enclave (PCE id)");
  }
}
