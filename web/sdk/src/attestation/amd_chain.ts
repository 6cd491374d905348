/**
 * From anybody's PEM text to an attestation key of AMD's: leaf, signing key, root, and perhaps a revocation list.
 *
 * AMD signs with RSASSA-PSS, SHA-384 and a salt of 48 bytes throughout (57230, chapter 3). That is what is verified
 * here, whatever algorithm a certificate declares: evidence does not choose how it is checked.
 *
 * Limits that come with AMD's formats:
 * - Every leaf has the serial number zero, so that a list can revoke a signing key, and no single chip.
 * - AMD serves one list under `/vcek/` and one under `/vlek/`, both signed by the root. Either counts for either key.
 */

import type { Bytes } from "../protocol/bytes.js";
import { sha256 } from "../protocol/primitives.js";
import type { AmdChain } from "./amd_roots.js";
import { refuse } from "./refusal.js";
import {
  type Certificate,
  type PublicKey,
  isOn,
  isRevoked,
  parseCertificate,
  parseRevocationList,
  sameBytes,
  verifyPssSigned,
  verifyUnderstood,
} from "./x509.js";

/** Bytes of PEM. */
export const MAX_COLLATERAL = 64 * 1024;

/** Arc of the extensions that describe a chip and its firmware (57230, chapter 3). */
const AMD = "1.3.6.1.4.1.3704.1.";
const BLOCK = /-----BEGIN (CERTIFICATE|X509 CRL)-----\n([0-9A-Za-z+/=\n]+)-----END \1-----(?:\n|$)/y;
const BASE64 = /^(?:[0-9A-Za-z+/]{4})*(?:[0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$/;
const LEAF = "attestation key's certificate";
const LIST = "revocation list";

/** An attestation key and what AMD's certificate says of it. */
export interface Endorsement {
  readonly chain: AmdChain;
  /** On P-384. */
  readonly key: PublicKey;
  /** Exact contents of AMD's extensions, by the end of their OID: "3.8" is the microcode's version. */
  readonly extensions: ReadonlyMap<string, Bytes>;
  /** Unix seconds: latest date that AMD signed as past. */
  readonly provenAt: number;
  /** Unix seconds: the first expiry. */
  readonly validUntil: number;
  readonly crlChecked: boolean;
}

interface Period {
  readonly start: number;
  readonly end: number;
}

/**
 * Verify PEM text of a leaf, its signing key and its root, in this order, optionally followed by the root's revocation
 * list, at `now` (unix seconds).
 *
 * Throws `Untrusted` EVIDENCE. The leaf's extensions are genuine then, and not yet compared with anything.
 */
export async function verifyAmdChain(untrustedPem: Bytes, now: number, chains: readonly AmdChain[]): Promise<Endorsement> {
  const { leafDer, askDer, arkDer, crlDer } = blocks(untrustedPem);
  const [arkDigest, askDigest] = await Promise.all([sha256(arkDer), sha256(askDer)]);
  const chain = chains.find((one) => sameBytes(one.ark, arkDigest) && sameBytes(one.ask, askDigest));
  if (chain === undefined) throw refuse("the signing key and its root are none of AMD's that are known here");
  const ark = parseCertificate(arkDer, "root");
  const ask = parseCertificate(askDer, "signing key");
  await verifyPssSigned(ark, ark.key, "root");
  await verifyPssSigned(ask, ark.key, "signing key");
  const leaf = parseCertificate(leafDer, LEAF);
  await verifyPssSigned(leaf, ask.key, LEAF);
  if (!sameBytes(leaf.issuer, ask.subject)) throw refuse(`the ${LEAF} names another issuer`);
  if (!isOn(leaf.key, "P-384")) throw refuse("the attestation key is not on the curve P-384");
  const periods = [verifyDates(leaf, now, LEAF), verifyDates(ask, now, "signing key"), verifyDates(ark, now, "root")];
  if (crlDer !== undefined) periods.push(await verifyList(crlDer, ark, [ark, ask, leaf], now));
  verifyUnderstood(leaf, [], LEAF);
  const own = [...leaf.extensions].filter(([oid]) => oid.startsWith(AMD));
  return {
    chain,
    key: leaf.key,
    extensions: new Map(own.map(([oid, { value }]) => [oid.slice(AMD.length), value])),
    provenAt: Math.max(...periods.map(({ start }) => start)),
    validUntil: Math.min(...periods.map(({ end }) => end)),
    crlChecked: crlDer !== undefined,
  };
}

interface Blocks {
  readonly leafDer: Bytes;
  readonly askDer: Bytes;
  readonly arkDer: Bytes;
  readonly crlDer: Bytes | undefined;
}

/** DER of leaf, signing key and root, in this order, and of the revocation list if there is one. */
function blocks(untrustedPem: Bytes): Blocks {
  if (untrustedPem.length > MAX_COLLATERAL) throw refuse(`the collateral is longer than ${MAX_COLLATERAL} bytes`);
  const pem = new TextDecoder("latin1").decode(untrustedPem);
  const labels: string[] = [];
  const ders: Bytes[] = [];
  for (let at = 0; at < pem.length; ) {
    BLOCK.lastIndex = at;
    const [block, label, content] = BLOCK.exec(pem) ?? [];
    const text = content?.replaceAll("\n", "");
    if (block === undefined || label === undefined || text === undefined || !BASE64.test(text)) {
      throw refuse("the collateral is not PEM text of certificates and a revocation list");
    }
    labels.push(label);
    ders.push(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
    at += block.length;
  }
  const [leafDer, askDer, arkDer, crlDer] = ders;
  const expected = ["CERTIFICATE", "CERTIFICATE", "CERTIFICATE", ...(labels.length > 3 ? ["X509 CRL"] : [])];
  if (leafDer === undefined || askDer === undefined || arkDer === undefined || labels.join() !== expected.join()) {
    throw refuse("the collateral is not leaf, signing key and root, then at most one revocation list");
  }
  return { leafDer, askDer, arkDer, crlDer };
}

function verifyDates({ notBefore: start, notAfter: end }: Certificate, now: number, what: string): Period {
  if (now < start) throw refuse(`the ${what} is not valid yet`);
  if (now > end) throw refuse(`the ${what} has expired`);
  return { start, end };
}

/** Dates of this list and of the next one, if it is the root's, current, and revokes nothing that the evidence rests on. */
async function verifyList(der: Bytes, ark: Certificate, chain: readonly Certificate[], now: number): Promise<Period> {
  const list = parseRevocationList(der, LIST);
  await verifyPssSigned(list, ark.key, LIST);
  verifyUnderstood(list, [], LIST);
  if (!sameBytes(list.issuer, ark.subject)) throw refuse(`the ${LIST} is not the root's`);
  if (now < list.issuedAt) throw refuse(`the ${LIST} is not valid yet`);
  if (now > list.nextAt) throw refuse(`the ${LIST} has expired`);
  if (chain.some((certificate) => isRevoked(list, certificate))) throw refuse("AMD has revoked a certificate of the chain");
  return { start: list.issuedAt, end: list.nextAt };
}
