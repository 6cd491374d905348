/** What certificates and revocation lists may not be: each is signed as it should be, and wrong in one thing. */

import { beforeAll, describe, expect, it } from "vitest";

import { decodeCbor } from "../src/attestation/cbor.js";
import { DerReader, NotDer, Tag, readOid } from "../src/attestation/der.js";
import { verifyChain, verifyNotRevoked, verifyRevocationList } from "../src/attestation/intel_chain.js";
import { certificatesOf } from "../src/attestation/intel_quote.js";
import { parseQeIdentity, parseTcbInfo } from "../src/attestation/intel_statements.js";
import { type Certificate, parseCertificate, parseRevocationList } from "../src/attestation/x509.js";
import { type Bytes, base64, concat, unhex } from "../src/protocol/bytes.js";
import { Untrusted } from "../src/protocol/errors.js";
import {
  type WantedCertificate,
  type WantedExtension,
  type WantedList,
  constraints,
  makeCertificate,
  makeKeys,
  makeRevocationList,
  usage,
} from "./certificate_maker.js";

const NOW = 1_790_000_000;
const DAY = 86_400;
const DIGITAL_SIGNATURE = 0;
const CERT_SIGN = 5;
const CRL_SIGN = 6;
const UNKNOWN: WantedExtension = { oid: "2a0304", critical: true, value: unhex("0500") };

let keys: Record<"root" | "issuer" | "leaf" | "stranger", CryptoKeyPair>;

beforeAll(async () => {
  keys = { root: await makeKeys(), issuer: await makeKeys(), leaf: await makeKeys(), stranger: await makeKeys() };
});

/** A certificate as it should be, with what is to be different. */
type Wanted = Omit<WantedCertificate, "notBefore" | "notAfter" | "extensions"> &
  Partial<WantedCertificate> & {
    readonly constraints: WantedExtension;
    readonly usage: WantedExtension;
    readonly more?: readonly WantedExtension[];
  };

const certificate = async (wanted: Wanted): Promise<Certificate> =>
  parseCertificate(
    await makeCertificate({
      notBefore: NOW - DAY,
      notAfter: NOW + DAY,
      extensions: [wanted.constraints, wanted.usage, ...(wanted.more ?? [])],
      ...wanted,
    }),
    "certificate",
  );

/** Leaf, issuer and root, each with what is to be different. */
async function chain(different: { leaf?: Partial<Wanted>; issuer?: Partial<Wanted>; root?: Partial<Wanted> } = {}): Promise<Certificate[]> {
  const { root, issuer, leaf } = keys;
  const authority = usage(CERT_SIGN, CRL_SIGN);
  return [
    await certificate({
      ...{ subject: "leaf", issuer: "issuer", keys: leaf, signer: issuer, serial: 3 },
      ...{ constraints: constraints(false), usage: usage(DIGITAL_SIGNATURE), ...different.leaf },
    }),
    await certificate({
      ...{ subject: "issuer", issuer: "root", keys: issuer, signer: root, serial: 2 },
      ...{ constraints: constraints(true, 0), usage: authority, ...different.issuer },
    }),
    await certificate({
      ...{ subject: "root", issuer: "root", keys: root, signer: root, serial: 1 },
      ...{ constraints: constraints(true, 1), usage: authority, ...different.root },
    }),
  ];
}

const reasonOf = async (verifying: Promise<unknown>): Promise<string> =>
  verifying.then(
    () => "accepted",
    (error: unknown) => (error instanceof Untrusted ? error.reason : Promise.reject(error)),
  );

describe("a chain of Intel's", () => {
  it("verifies", async () => {
    await verifyChain(await chain(), NOW, "the quote");
  });

  it.each<[string, Parameters<typeof chain>[0], string]>([
    ["whose leaf begins tomorrow", { leaf: { notBefore: NOW + 1 } }, "not valid yet"],
    ["whose issuer begins tomorrow", { issuer: { notBefore: NOW + 1 } }, "not valid yet"],
    ["whose leaf ended", { leaf: { notAfter: NOW } }, "has expired"],
    ["whose issuer ended", { issuer: { notAfter: NOW } }, "has expired"],
    ["whose root ended", { root: { notAfter: NOW } }, "has expired"],
    ["whose leaf is an authority", { leaf: { constraints: constraints(true) } }, "where none may"],
    ["whose issuer is none", { issuer: { constraints: constraints(false) } }, "must not issue any"],
    ["whose issuer may not sign certificates", { issuer: { usage: usage(CRL_SIGN) } }, "must not issue any"],
    ["longer than its root permits", { root: { constraints: constraints(true, 0) } }, "longer than one"],
    ["whose leaf names another issuer", { leaf: { issuer: "somebody" } }, "names another issuer"],
    ["with a critical extension unknown here", { issuer: { more: [UNKNOWN] } }, "critical extension"],
    ["whose leaf is for servers", { leaf: { more: [{ oid: "551d25", value: unhex("300a06082b06010505070301") }] } }, "another purpose"],
  ])("%s is refused", async (_what, different, reason) => {
    expect(await reasonOf(verifyChain(await chain(different), NOW, "the quote"))).toContain(reason);
  });

  it("whose leaf somebody else signed is refused", async () => {
    const forged = await chain({ leaf: { signer: keys.stranger } });
    expect(await reasonOf(verifyChain(forged, NOW, "the quote"))).toContain("not signed by its issuer");
  });

  it("whose issuer somebody else signed is refused", async () => {
    const forged = await chain({ issuer: { signer: keys.stranger } });
    expect(await reasonOf(verifyChain(forged, NOW, "the quote"))).toContain("not signed by its issuer");
  });
});

describe("a revocation list of Intel's", () => {
  const NUMBER: WantedExtension = { oid: "551d14", value: unhex("020101") };
  const dates = { issuedAt: NOW - DAY, nextAt: NOW + DAY };

  const list = (different: Partial<WantedList> = {}): Promise<Bytes> =>
    makeRevocationList({ issuer: "root", signer: keys.root, ...dates, revoked: [], extensions: [NUMBER], ...different });

  const root = async (different: Partial<Wanted> = {}): Promise<Certificate> => (await chain({ root: different }))[2] as Certificate;

  it("verifies, and tells who is revoked", async () => {
    const [leaf, issuer, end] = (await chain()) as [Certificate, Certificate, Certificate];
    const found = await verifyRevocationList(await list({ revoked: [2] }), end, NOW, "root CA");
    expect(() => verifyNotRevoked([issuer], [found])).toThrow("is revoked");
    expect(() => verifyNotRevoked([end], [found])).not.toThrow();
    // A list of another issuer says nothing of this one, which is no good news.
    expect(() => verifyNotRevoked([leaf], [found])).toThrow("no list");
  });

  it.each<[string, () => Partial<WantedList>, string]>([
    ["by another key", () => ({ signer: keys.stranger }), "not signed by its issuer"],
    ["of another issuer", () => ({ issuer: "somebody" }), "another issuer's"],
    ["from the future", () => ({ issuedAt: NOW + 1 }), "from the future"],
    ["that has expired", () => ({ nextAt: NOW }), "has expired"],
    ["of some certificates only", () => ({ extensions: [NUMBER, UNKNOWN] }), "critical extension"],
    ["about another issuer's certificate", () => ({ revoked: [9], entryExtensions: [UNKNOWN] }), "does not parse"],
    ["without a number", () => ({ extensions: [] }), "which one"],
  ])("%s is refused", async (_what, different, reason) => {
    expect(await reasonOf(verifyRevocationList(await list(different()), await root(), NOW, "root CA"))).toContain(reason);
  });

  it("by who may not sign lists is refused", async () => {
    const issuer = await root({ usage: usage(CERT_SIGN) });
    expect(await reasonOf(verifyRevocationList(await list(), issuer, NOW, "root CA"))).toContain("must not sign any");
  });

  it("that is none is refused", () => {
    expect(() => parseRevocationList(unhex("3000"), "list")).toThrow("does not parse");
  });
});

describe("a certificate", () => {
  it("with the same extension twice is refused", async () => {
    const twice: WantedExtension = { oid: "2a0304", value: unhex("0500") };
    await expect(chain({ leaf: { more: [twice, twice] } })).rejects.toThrow("does not parse");
  });

  it("with another algorithm inside than outside is refused", async () => {
    const [leaf] = (await chain()) as [Certificate];
    // ecdsa-with-SHA256 → ecdsa-with-SHA384, in the outer place, which no signature covers.
    const oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    const at = leaf.der.findLastIndex((_, index) => oid.every((byte, offset) => leaf.der[index + offset] === byte));
    const bent = leaf.der.map((byte, index) => (index === at + 7 ? 0x03 : byte)) as Bytes;
    expect(() => parseCertificate(bent, "certificate")).toThrow("does not parse");
  });

  it("with bytes behind its end, or a length in a longer form, is refused", async () => {
    const [leaf] = (await chain()) as [Certificate];
    expect(() => parseCertificate(concat(leaf.der, new Uint8Array(1)), "certificate")).toThrow("does not parse");
    expect(leaf.der[1]).toBe(0x82);
    const longer = concat(Uint8Array.of(0x30, 0x83, 0x00), leaf.der.slice(2));
    expect(() => parseCertificate(longer, "certificate")).toThrow("does not parse");
  });
});

describe("DER", () => {
  it.each([
    ["a length without an end", "3080020101"],
    ["a length in two bytes that fits into one", "30810302017f"],
    ["a length beyond the end", "3004020101"],
    ["a length of four bytes", "308400000003020101"],
    ["an integer with a zero too many", "300402020001"],
    ["nothing", ""],
  ])("refuses %s", (_what, text) => {
    expect(() => new DerReader(DerReader.only(unhex(text), Tag.SEQUENCE).content).integer()).toThrow(NotDer);
  });

  it.each(["80", "2a8037", "2a86", "2affffffffff7f"])("refuses the object identifier %s", (text) => {
    expect(() => readOid(unhex(text))).toThrow(NotDer);
  });

  it("reads object identifiers", () => {
    expect(readOid(unhex("2a8648ce3d040302"))).toBe("1.2.840.10045.4.3.2");
    expect(readOid(unhex("551d13"))).toBe("2.5.29.19");
  });
});

describe("certificates in PEM", () => {
  const block = (der: Bytes, change = (text: string): string => text): string =>
    `-----BEGIN CERTIFICATE-----\n${change(base64(der).replaceAll(/.{64}/g, "$&\n").trimEnd())}\n-----END CERTIFICATE-----\n`;

  it("are read", () => {
    const der = new Uint8Array(100).fill(7);
    expect(certificatesOf(block(der) + block(der), 2, "the test")).toEqual([der, der]);
  });

  it.each<[string, string]>([
    ["text between", `${block(new Uint8Array(3))}hidden\n${block(new Uint8Array(3))}`],
    ["text in front", `x${block(new Uint8Array(3)).repeat(2)}`],
    ["one more", block(new Uint8Array(3)).repeat(3)],
    ["one less", block(new Uint8Array(3))],
    ["bits that base64 leaves over", block(new Uint8Array(3)) + block(new Uint8Array(1), () => "AB==")],
    ["padding left out", block(new Uint8Array(3)) + block(new Uint8Array(1), () => "AA")],
    ["windows' ends of lines", block(new Uint8Array(3)).replaceAll("\n", "\r\n").repeat(2)],
  ])("with %s are refused", (_what, text) => {
    expect(() => certificatesOf(text, 2, "the test")).toThrow("not exactly 2 certificates");
  });
});

describe("CBOR", () => {
  it("is read", () => {
    expect(decodeCbor(unhex("83f601420102"))).toEqual([null, 1, unhex("0102")]);
    expect(decodeCbor(unhex("a2016161616220"))).toBeInstanceOf(Map);
  });

  it.each([
    ["a tag", "c001"],
    ["a floating-point number", "f93c00"],
    ["true", "f5"],
    ["undefined", "f7"],
    ["an indefinite length", "9f01ff"],
    ["a number in a longer form", "1817"],
    ["a number in the longest form", "1b0000000000000001"],
    ["a number beyond any", "1bffffffffffffffff"],
    ["a byte behind its end", "0101"],
    ["a key twice", "a201010102"],
    ["a key that is bytes", "a1410101"],
    ["a text that is none", "61ff"],
    ["more depth than any", "81818101"],
    ["a list longer than the document", "9b0000000100000000"],
    ["nothing", ""],
  ])("refuses %s", (_what, text) => {
    expect(() => decodeCbor(unhex(text))).toThrow(Untrusted);
  });
});

describe("statements of Intel's", () => {
  it.each(["null", "[]", "{}", "1", "", "[".repeat(100_000), '{"id":"SGX","version":3,"tcbLevels":[{}]}', '{"__proto__":{"id":"SGX"}}'])(
    "are refused where they are not understood: %.30s",
    (text) => {
      expect(() => parseTcbInfo(text)).toThrow("not understood");
      expect(() => parseQeIdentity(text)).toThrow("not understood");
    },
  );
});
