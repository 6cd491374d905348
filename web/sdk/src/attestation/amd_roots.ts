/**
 * AMD's signing keys, as pinned: under one of these chains an attestation key must stand.
 *
 * Each line of processors has a root (ARK, "AMD root key") of its own, with one signing key for the keys of chips (ASK,
 * which signs VCEKs) and one for the keys that AMD lends to cloud providers (ASVK, which signs VLEKs). Which of them has
 * signed says which product and which kind of key it is; what a report or a leaf says of that must fit, no more.
 *
 * Source: `https://kdsintf.amd.com/vcek/v1/PRODUCT/cert_chain` and `/vlek/v1/PRODUCT/cert_chain`, described in AMD's
 * "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification" (57230), chapter 4.
 */

import { type Bytes, unhex } from "../protocol/bytes.js";

export type Product = "Milan" | "Genoa" | "Turin";
export type AttestationKey = "vcek" | "vlek";

/** A root and the signing key below it. */
export interface AmdChain {
  readonly product: Product;
  readonly key: AttestationKey;
  /** SHA-256 of the root certificate's DER. */
  readonly ark: Bytes;
  /** SHA-256 of the DER of the ASK certificate, or the ASVK's. */
  readonly ask: Bytes;
}

const MILAN = "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd";
const GENOA = "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1";
const TURIN = "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a";

const pinned = (product: Product, key: AttestationKey, ark: string, ask: string): AmdChain => ({
  product,
  key,
  ark: unhex(ark),
  ask: unhex(ask),
});

export const AMD_CHAINS: readonly AmdChain[] = [
  pinned("Milan", "vcek", MILAN, "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b"),
  pinned("Milan", "vlek", MILAN, "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5"),
  pinned("Genoa", "vcek", GENOA, "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521"),
  pinned("Genoa", "vlek", GENOA, "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372"),
  pinned("Turin", "vcek", TURIN, "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185"),
  pinned("Turin", "vlek", TURIN, "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c"),
];
