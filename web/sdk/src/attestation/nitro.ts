/**
 * AWS Nitro attestation documents: from untrusted bytes to a verified report.
 *
 * The rules are those of AWS's "Nitro Enclaves Attestation Process" (`aws-nitro-enclaves-nsm-api`,
 * docs/attestation_process.md), whose sections are cited as §. Stricter in four points, to which AWS's hardware keeps:
 *
 * - one encoding (`cbor`), so that nobody makes two evidences of one document;
 * - a PCR0, PCR1 or PCR2 of all zero is refused: it means a debug enclave, whose console its host can read;
 * - every key is of P-384 and every signature made with SHA-384: nothing in a document chooses an algorithm;
 * - the document's time lies within the life of the certificate that signed it (about three hours).
 *
 * There is no revocation: AWS says not to use its lists (§3.2.4), and the short lives stand in for them.
 */

import { type Bytes, concat, unhex } from "../protocol/bytes.js";
import { sha256 } from "../protocol/primitives.js";
import { type Cbor, type CborMap, decodeCbor } from "./cbor.js";
import { refuse } from "./refusal.js";
import type { NitroReport } from "./reports.js";
import {
  type Certificate,
  type Constraints,
  Oid,
  Usage,
  constraintsOf,
  isOn,
  parseCertificate,
  sameBytes,
  usageOf,
  verifyEcdsa,
  verifyEcdsaSigned,
  verifyUnderstood,
} from "./x509.js";

/**
 * SHA-256 of the DER of "aws.nitro-enclaves" (root G1), as the "AWS Nitro Enclaves User Guide" prints it under "Verifying
 * the root of trust".
 */
export const AWS_ROOT = unhex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b");

/** Twice what AWS uses: root, region, zone, instance. */
export const MAX_CA_CERTIFICATES = 8;
/** Seconds by which a document, and the first second of a certificate, may lie ahead of the verifier's clock. */
export const CLOCK_SKEW = 300;

/** {1: -35}: algorithm ES384 (§3.1, RFC 9053 §2.1). */
const PROTECTED = unhex("a1013822");
const MAX_PAYLOAD = 16_384;
const MAX_DOCUMENT = MAX_PAYLOAD + 128;
/** Bytes of r, of s, and of a SHA-384 register. */
const INTEGER = 48;
const MAX_CERTIFICATE = 1024;
const REGISTERS = 32;
/** Registers of the image: all of it, kernel and boot, application. */
const IMAGE = [0, 1, 2];
const MODULE_ID = /^[!-~]{1,128}$/;
const MANDATORY = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"];
/** Longest value of each (§3.2.2.2). */
const OPTIONAL = { public_key: 1024, user_data: 512, nonce: 512 } as const;
const WHAT = "certificate of the document";

/** A document whose form is right. Nothing in it is verified. */
interface NitroDocument {
  /** What the signature covers, besides the algorithm. */
  readonly payload: Bytes;
  /** r ‖ s (96). */
  readonly signature: Bytes;
  readonly moduleId: string;
  /** Unix milliseconds. */
  readonly timestamp: number;
  readonly pcrs: ReadonlyMap<number, Bytes>;
  readonly certificate: Bytes;
  /** DER; the root first. */
  readonly cabundle: readonly [Bytes, ...Bytes[]];
  readonly userData: Bytes;
}

/**
 * Verify an attestation document, as the Nitro Security Module makes it, at `now` (unix seconds).
 *
 * `root`: SHA-256 of the DER of the root certificate that it must rest on. `reportData` of the report is the document's
 * `user_data`, up to 512 bytes, empty where it has none. Throws `Untrusted` EVIDENCE.
 */
export async function verifyNitroDocument(untrustedDocument: Bytes, now: number, root: Bytes = AWS_ROOT): Promise<NitroReport> {
  const document = parseNitroDocument(untrustedDocument);
  // Everything that costs next to nothing comes before the first signature.
  if (!sameBytes(await sha256(document.cabundle[0]), root)) {
    throw refuse("the document does not rest on the root certificate of AWS Nitro Enclaves");
  }
  const authorities = document.cabundle.map(readCertificate);
  const leaf = readCertificate(document.certificate);
  const chain = [...authorities, leaf];
  for (const [below, authority] of authorities.toReversed().entries()) verifyAuthority(authority, below);
  verifySigner(leaf);
  for (const certificate of chain) verifyValidity(certificate, now);
  const signedAt = Math.floor(document.timestamp / 1000);
  if (signedAt < leaf.notBefore || signedAt > leaf.notAfter) {
    throw refuse("the document's time is not within the life of the certificate that signed it");
  }
  if (signedAt > now + CLOCK_SKEW) throw refuse("the document is from the future");
  // From the root down: a key is used only after its own certificate is verified. The root is, by its digest.
  let issuer: Certificate | undefined;
  for (const issued of chain) {
    if (issuer !== undefined) await verifyIssued(issuer, issued);
    issuer = issued;
  }
  await verifyDocumentSignature(document, leaf);
  // Last, or a reason would be the word of whoever wrote zeros over the registers of a good document.
  verifyNotDebug(document);
  return {
    platform: "nitro",
    registers: IMAGE.map((index) => [`PCR${index}`, document.pcrs.get(index) ?? new Uint8Array()]),
    reportData: document.userData,
    root,
    provenAt: signedAt,
    validUntil: Math.min(...chain.map(({ notAfter }) => notAfter)),
    pcrs: document.pcrs,
    moduleId: document.moduleId,
    signedAt,
  };
}

/** Take a COSE_Sign1 apart (§3.1) and hold it against AWS's bounds (§3.2.2). Verifies nothing that is signed. */
function parseNitroDocument(untrustedDocument: Bytes): NitroDocument {
  if (untrustedDocument.length > MAX_DOCUMENT) throw refuse("the document is larger than any attestation document");
  const parts = decodeCbor(untrustedDocument);
  const [header, unprotected, payload, signature] = Array.isArray(parts) && parts.length === 4 ? parts : [];
  if (!isBytes(header) || !(unprotected instanceof Map) || !isBytes(payload) || !isBytes(signature)) {
    throw refuse("the document is not a COSE_Sign1 structure");
  }
  // The signature covers the protected header but not the choice of how to verify, so there is no choice.
  if (!sameBytes(header, PROTECTED) || unprotected.size > 0) {
    throw refuse("the document's header does not say ES384 and nothing else");
  }
  if (payload.length < 1 || payload.length > MAX_PAYLOAD) {
    throw refuse("the document's payload is not as large as any may be");
  }
  if (signature.length !== 2 * INTEGER) throw refuse("the document's signature is not one of ES384");
  const fields = decodeCbor(payload);
  if (!isMap(fields) || !hasItsFields(fields)) {
    throw refuse("the payload does not have the fields of an attestation document");
  }
  for (const name of ["public_key", "nonce"] as const) optional(fields, name);
  const userData = optional(fields, "user_data");
  if (fields.get("digest") !== "SHA384") throw refuse("the registers are not SHA-384 digests");
  return {
    payload,
    signature,
    moduleId: moduleId(fields.get("module_id")),
    timestamp: timestamp(fields.get("timestamp")),
    pcrs: registers(fields.get("pcrs")),
    certificate: der(fields.get("certificate")),
    cabundle: cabundle(fields.get("cabundle")),
    userData,
  };
}

/** Zeros instead of measurements mean debug mode (the same, "Debug mode"): the host can read the console. */
function verifyNotDebug({ pcrs }: NitroDocument): void {
  if (IMAGE.some((index) => !pcrs.get(index)?.some((byte) => byte !== 0))) {
    throw refuse("this is a debug enclave: its host can read its console");
  }
}

// --- fields -----------------------------------------------------------------------------------------------------

const isBytes = (value: Cbor | undefined): value is Bytes => value instanceof Uint8Array;
const isMap = (value: Cbor | undefined): value is CborMap => value instanceof Map;

function hasItsFields(fields: CborMap): boolean {
  const known = new Set<string | number>([...MANDATORY, ...Object.keys(OPTIONAL)]);
  return MANDATORY.every((name) => fields.has(name)) && [...fields.keys()].every((name) => known.has(name));
}

function moduleId(value: Cbor | undefined): string {
  // Narrower than "text": it is shown to people, and policies compare it.
  if (typeof value !== "string" || !MODULE_ID.test(value)) throw refuse("the document's module id is not one");
  return value;
}

function timestamp(value: Cbor | undefined): number {
  if (typeof value !== "number" || value <= 0) throw refuse("the document's timestamp is not one");
  return value;
}

function registers(value: Cbor | undefined): ReadonlyMap<number, Bytes> {
  if (!isMap(value) || !IMAGE.every((index) => value.has(index))) {
    throw refuse("the document lacks a register of the image");
  }
  const found = new Map<number, Bytes>();
  for (const [index, register] of value) {
    if (typeof index !== "number" || index < 0 || index >= REGISTERS) {
      throw refuse("the document has a register that does not exist");
    }
    if (!isBytes(register) || register.length !== INTEGER) {
      throw refuse("a register of the document is not a SHA-384 digest");
    }
    found.set(index, register);
  }
  return found;
}

function der(value: Cbor | undefined): Bytes {
  if (!isBytes(value) || value.length < 1 || value.length > MAX_CERTIFICATE) {
    throw refuse("the document has a certificate that is none");
  }
  return value;
}

function cabundle(value: Cbor | undefined): readonly [Bytes, ...Bytes[]] {
  const [root, ...others] = Array.isArray(value) ? (value as readonly Cbor[]) : [];
  if (root === undefined || others.length >= MAX_CA_CERTIFICATES) {
    throw refuse("the document does not have as many CA certificates as any has");
  }
  return [der(root), ...others.map(der)];
}

function optional(fields: CborMap, name: keyof typeof OPTIONAL): Bytes {
  // AWS's text knows no null here; its security module writes one for each value that was not asked for.
  const value = fields.get(name) ?? null;
  if (value === null) return new Uint8Array();
  if (!isBytes(value) || value.length > OPTIONAL[name]) {
    throw refuse(`the document's ${name} is not as AWS defines it`);
  }
  return value;
}

// --- certificates (§3.2.3) --------------------------------------------------------------------------------------

function readCertificate(untrustedDer: Bytes): Certificate {
  const certificate = parseCertificate(untrustedDer, WHAT);
  if (!isOn(certificate.key, "P-384")) throw refuse("a certificate of the document has a key that is not of P-384");
  if (certificate.algorithm !== Oid.ECDSA_SHA384) {
    throw refuse("a certificate of the document is not signed by ECDSA with SHA-384");
  }
  verifyUnderstood(certificate, [Oid.BASIC_CONSTRAINTS, Oid.KEY_USAGE], WHAT);
  return certificate;
}

function purposeOf(certificate: Certificate): Constraints & { readonly usage: ReadonlySet<number> } {
  const constraints = constraintsOf(certificate, WHAT);
  const usage = usageOf(certificate, WHAT);
  if (constraints === undefined || usage === undefined) {
    throw refuse("a certificate of the document does not say what it is for");
  }
  return { ...constraints, usage };
}

/** It may issue, with `below` other authorities between itself and the leaf (§3.2.3.2, §3.2.3.3). */
function verifyAuthority(certificate: Certificate, below: number): void {
  const { isAuthority, pathLength, usage } = purposeOf(certificate);
  if (!isAuthority || !usage.has(Usage.KEY_CERT_SIGN)) {
    throw refuse("a certificate of the document was issued by one that must not issue any");
  }
  if (pathLength !== undefined && pathLength < below) {
    throw refuse("the document's chain is longer than one of its certificates permits");
  }
}

/** It may sign documents, and can't issue certificates (§3.2.3.3). */
function verifySigner(certificate: Certificate): void {
  const { isAuthority, usage } = purposeOf(certificate);
  if (isAuthority || !usage.has(Usage.DIGITAL_SIGNATURE) || usage.has(Usage.KEY_CERT_SIGN)) {
    throw refuse("the document's certificate is not one for signing documents");
  }
}

function verifyValidity({ notBefore, notAfter }: Certificate, now: number): void {
  // A leaf begins with its document: without the skew, a clock a second behind would refuse every fresh enclave.
  if (now < notBefore - CLOCK_SKEW || now > notAfter) {
    throw refuse("a certificate of the document is not valid now: not yet, or no longer");
  }
}

/** By name and by signature. */
async function verifyIssued(issuer: Certificate, issued: Certificate): Promise<void> {
  if (!sameBytes(issued.issuer, issuer.subject)) {
    throw refuse("a certificate of the document was not issued by the one before it");
  }
  await verifyEcdsaSigned(issued, issuer.key, "P-384", WHAT);
}

/** ES384 over the Sig_structure (RFC 9052 §4.4), without external data. */
async function verifyDocumentSignature({ payload, signature }: NitroDocument, { key }: Certificate): Promise<void> {
  const otherwise = (): Error => refuse("the document's signature is not that of its certificate");
  const label = new TextEncoder().encode("Signature1");
  const signed = concat(
    Uint8Array.of(0x84, 0x60 + label.length),
    label,
    byteString(PROTECTED),
    byteString(new Uint8Array()),
    byteString(payload),
  );
  await verifyEcdsa("P-384", key.bits, signature, signed, otherwise);
}

/** CBOR of at most 65,535 bytes. */
function byteString(bytes: Bytes): Bytes {
  const { length } = bytes;
  const head = length < 24 ? [0x40 + length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
  return concat(Uint8Array.from(head), bytes);
}
