/**
 * Intel's quotes (ECDSA P-256, "DCAP") taken apart: layouts as in Intel's "TDX DCAP Quoting Library API", A.3 and A.4,
 * and "SGX ECDSA QuoteGenReference", A.4. Nothing here is verified; that every length adds up is all.
 */

import type { Bytes } from "../protocol/bytes.js";
import { refuse } from "./refusal.js";

const HEADER = 48;
const REPORT = 384;
const TD_REPORT = 584;
/**
 * Types and sizes in the descriptor of version 5: TDX 1.0 and 1.5. Type 4, "1.5 extended", names service TDs in ways that
 * nothing here appraises.
 */
const DESCRIBED = [
  [2, 584],
  [3, 648],
] as const;
const SGX = 0x00;
const TDX = 0x81;
/** Types of certification data: PEM of the PCK certificate, its issuer and the root; data that contain those. */
const PCK_CHAIN = 5;
const QE_CERTIFICATION = 6;

/** RFC 7468, strict: lines of 64. */
const BLOCK = /-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/=]{1,64}\n)-----END CERTIFICATE-----\n/y;

/** A quote taken apart. Nothing in it is verified before `verifyQuote` has been. */
export interface Quote {
  readonly kind: "sgx" | "tdx";
  /** 48 bytes. */
  readonly header: Bytes;
  /** The report: 384 bytes of SGX, 584 (1.0) or 648 (1.5) of TDX. */
  readonly body: Bytes;
  /** What the attestation key's signature covers: header, in version 5 descriptor, and body. */
  readonly signed: Bytes;
  /** r ‖ s (64). */
  readonly signature: Bytes;
  /** x ‖ y (64). */
  readonly attestationKey: Bytes;
  /** The quoting enclave's report (384), and the PCK's signature of it (64). */
  readonly qeReport: Bytes;
  readonly qeReportSignature: Bytes;
  readonly qeAuthentication: Bytes;
  /** DER of the PCK certificate, its issuer and the root. */
  readonly chain: readonly [pck: Bytes, issuer: Bytes, root: Bytes];
}

/** Take a quote apart whose every length adds up exactly. Verifies nothing. Throws `Untrusted` EVIDENCE. */
export function parseQuote(untrustedQuote: Bytes): Quote {
  const quote = new QuoteReader(untrustedQuote);
  const header = quote.take(HEADER);
  const version = uint16(header, 0);
  const tee = uint32(header, 4);
  const kind = tee === SGX ? "sgx" : "tdx";
  const body = quote.take(bodySize(version, tee, quote));
  const signed = quote.before();
  const signatures = quote.nested(quote.uint32());
  quote.end();
  const signature = signatures.take(64);
  const attestationKey = signatures.take(64);
  let certification = signatures;
  if (kind === "tdx") {
    certification = signatures.typed(QE_CERTIFICATION);
    signatures.end();
  }
  const qeReport = certification.take(REPORT);
  const qeReportSignature = certification.take(64);
  const qeAuthentication = certification.take(certification.uint16());
  const chain = certification.typed(PCK_CHAIN).rest();
  certification.end();
  // Intel's own library ends the chain with one NUL, others don't.
  const pem = chain.at(-1) === 0 ? chain.subarray(0, -1) : chain;
  const [pck, issuer, root] = certificatesOf(latin1(pem), 3, "the quote");
  if (pck === undefined || issuer === undefined || root === undefined) throw refuse("the quote is cut short");
  return {
    kind,
    header,
    body,
    signed,
    signature,
    attestationKey,
    qeReport,
    qeReportSignature,
    qeAuthentication,
    chain: [pck, issuer, root],
  };
}

/** DER of the last certificate that a quote carries. Trust it only if its digest is one you know. Throws `Untrusted` EVIDENCE. */
export const rootCertificate = (untrustedQuote: Bytes): Bytes => parseQuote(untrustedQuote).chain[2];

/** DER of exactly `count` certificates. Nothing hides between them, nor in bits that base64 leaves over. */
export function certificatesOf(untrustedPem: string, count: number, where: string): readonly Bytes[] {
  const found: Bytes[] = [];
  let at = 0;
  while (at < untrustedPem.length && found.length < count) {
    BLOCK.lastIndex = at;
    const [block, lines] = BLOCK.exec(untrustedPem) ?? [];
    const der = lines === undefined ? undefined : fromBase64(lines.replaceAll("\n", ""));
    if (block === undefined || der === undefined) break;
    found.push(der);
    at += block.length;
  }
  if (found.length !== count || at !== untrustedPem.length) {
    throw refuse(`the certificate chain of ${where} is not exactly ${count} certificates`);
  }
  return found;
}

function fromBase64(text: string): Bytes | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.length % 4 !== 0) return undefined;
  const binary = atob(text);
  return btoa(binary) === text ? Uint8Array.from(binary, (character) => character.charCodeAt(0)) : undefined;
}

const latin1 = (bytes: Bytes): string => new TextDecoder("latin1").decode(bytes);

function bodySize(version: number, tee: number, quote: QuoteReader): number {
  if (version === 3 && tee === SGX) return REPORT;
  if (version === 4 && tee === TDX) return TD_REPORT;
  if (version === 5 && tee === TDX) {
    const [type, size] = [quote.uint16(), quote.uint32()];
    if (!DESCRIBED.some((one) => one[0] === type && one[1] === size)) {
      throw refuse("the quote describes a report that is neither of TDX 1.0 nor of TDX 1.5");
    }
    return size;
  }
  throw refuse("this is neither an SGX quote of version 3 nor a TDX quote of version 4 or 5");
}

const viewOf = (bytes: Bytes): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Little-endian, as all numbers in quotes. */
export const uint16 = (bytes: Bytes, at: number): number => viewOf(bytes).getUint16(at, true);
export const uint32 = (bytes: Bytes, at: number): number => viewOf(bytes).getUint32(at, true);
export const uint64 = (bytes: Bytes, at: number): bigint => viewOf(bytes).getBigUint64(at, true);

/** Reads bytes whose every length is checked. Throws `Untrusted` EVIDENCE. */
class QuoteReader {
  readonly #data: Bytes;
  #at = 0;

  constructor(data: Bytes) {
    this.#data = data;
  }

  take(size: number): Bytes {
    if (this.#data.length - this.#at < size) throw refuse("the quote is cut short");
    this.#at += size;
    return this.#data.slice(this.#at - size, this.#at);
  }

  uint16(): number {
    return uint16(this.take(2), 0);
  }

  uint32(): number {
    return uint32(this.take(4), 0);
  }

  nested(size: number): QuoteReader {
    return new QuoteReader(this.take(size));
  }

  /** Certification data: type, size, content. */
  typed(kind: number): QuoteReader {
    if (this.uint16() !== kind) throw refuse("the quote does not carry its certificate chain");
    return this.nested(this.uint32());
  }

  /** All that was read. */
  before(): Bytes {
    return this.#data.slice(0, this.#at);
  }

  rest(): Bytes {
    return this.#data.slice(this.#at);
  }

  end(): void {
    // Bytes after the end are covered by no signature: one quote could be shown in endless guises.
    if (this.#at !== this.#data.length) throw refuse("the quote is not exactly as long as it says");
  }
}
