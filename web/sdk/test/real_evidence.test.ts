/** Real and broken evidence, gathered from other projects, under the makers' own roots. Data only, and not in every checkout. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

import { AMD_CHAINS } from "../src/attestation/amd_roots.js";
import { INTEL_ROOT } from "../src/attestation/intel.js";
import { CLOCK_SKEW, verifyNitroDocument } from "../src/attestation/nitro.js";
import { type Report, type SgxReport, type TdxReport, measurementOf } from "../src/attestation/reports.js";
import { verifySgxQuote } from "../src/attestation/sgx.js";
import { verifySnpReport } from "../src/attestation/snp.js";
import { verifyTdxQuote } from "../src/attestation/tdx.js";
import { type Bytes, base64, concat, hex, utf8 } from "../src/protocol/bytes.js";
import { StrongroomError } from "../src/protocol/errors.js";
import { sha256 } from "../src/protocol/primitives.js";

const FOLDER = fileURLToPath(new URL("../../../../shared/vectors", import.meta.url));
const IS_THERE = existsSync(join(FOLDER, "index.json"));

interface Listed {
  readonly name: string;
  readonly now: number | null;
  readonly kind: string;
  readonly quote?: string;
  readonly collateral?: string;
  readonly rootfile?: string;
  readonly report?: string;
  readonly leaf?: string;
  readonly chain?: string;
  readonly doc?: string;
  readonly py?: string;
  readonly adv?: readonly string[];
  readonly report_data?: string;
  readonly measurement?: string;
  readonly window?: readonly [number, number];
}

const index = IS_THERE ? (JSON.parse(readFileSync(join(FOLDER, "index.json"), "utf8")) as Listed[]) : [];
const bytesOf = (path: string | undefined): Bytes => new Uint8Array(readFileSync(join(FOLDER, path ?? "")));
const named = (listed: readonly Listed[]): [string, Listed][] => listed.map((one) => [one.name, one]);
const isBad = ({ name }: Listed): boolean => name.startsWith("negative/");
const short = ({ name }: Listed): string => name.replace("negative/", "");
const isTdx = (one: Listed): boolean => /tdx/i.test(one.kind) || /^(?:derived\/|synthetic\/)?tdx/.test(short(one));

async function refused(verifying: Promise<Report>): Promise<string> {
  try {
    await verifying;
  } catch (error) {
    if (error instanceof StrongroomError && error.number === 301) return error.reason;
    throw error;
  }
  return "accepted";
}

describe.skipIf(!IS_THERE)(`real evidence${IS_THERE ? "" : " (left out: there is no ../shared/vectors beside this repository)"}`, () => {
  describe("of Intel", () => {
    const intel = index.filter((one) => one.collateral !== undefined);
    /** Nothing is wrong with those but the state of the machine, which is for a policy to refuse. */
    const isState = (one: Listed): boolean => /^synthetic\/sgx-(?:cpusvn-below|qe-OutOfDate|tcb-(?!Revoked))/.test(short(one));

    /** A quote of TDX without what its cloud appended: the signature data's size says where it ends. */
    const unpadded = (one: Listed): Bytes => {
      const quote = bytesOf(one.quote);
      if (!isTdx(one)) return quote;
      const view = new DataView(quote.buffer);
      const at = 48 + (quote[0] === 5 ? 6 + view.getUint32(50, true) : 584);
      return quote.slice(0, at + 4 + view.getUint32(at, true));
    };

    const verify = async (one: Listed, quote = bytesOf(one.quote)): Promise<SgxReport | TdxReport> => {
      // Also where the vector brings the attacker's own.
      const file = one.rootfile && short(one).startsWith("synthetic/") ? "negative/synthetic/synthetic-root.der" : one.rootfile;
      const root = file === undefined ? INTEL_ROOT : await sha256(bytesOf(file));
      return (isTdx(one) ? verifyTdxQuote : verifySgxQuote)(quote, bytesOf(one.collateral), one.now ?? 0, root);
    };

    it("is all there", () => {
      expect(intel.filter((one) => !isBad(one))).toHaveLength(15);
      expect(intel.filter(isState)).toHaveLength(7);
      expect(intel.length).toBeGreaterThan(60);
    });

    it.each(named(intel.filter((one) => !isBad(one) || isState(one))))("%s verifies with what is listed", async (_name, one) => {
      const report = await verify(one, unpadded(one));
      expect(report.intel.tcbStatus).toBe(one.py);
      expect([...report.intel.advisories].sort()).toEqual([...(one.adv ?? [])].sort());
      if (one.report_data) expect(hex(report.reportData)).toBe(one.report_data);
      expect(report.provenAt).toBeLessThanOrEqual(one.now ?? 0);
      expect(report.validUntil).toBeGreaterThan(one.now ?? 0);
      expect(report.intel.platformId).toHaveLength(16);
    });

    it.each(named(intel.filter((one) => isBad(one) && !isState(one))))("%s is refused", async (_name, one) => {
      expect(await refused(verify(one))).not.toBe("accepted");
      if (isTdx(one) && bytesOf(one.quote).length > 1024) expect(await refused(verify(one, unpadded(one)))).not.toBe("accepted");
    });

    it.each([
      ["a list by another key", "derived/sgx-pck-crl-bad-signature", "PCK CRL is not signed by its issuer"],
      ["a list of another issuer", "derived/sgx-pck-crl-wrong-issuer", "PCK CRL is another issuer's"],
      ["a list that is none", "derived/sgx-pck-crl-garbage", "PCK CRL does not parse"],
      ["no list of the root's", "derived/sgx-root-crl-empty", "root CA CRL does not parse"],
      ["a revoked authority", "synthetic/sgx-intermediate-revoked", "is revoked"],
      ["certificates that have expired", "synthetic/sgx-certs-expired", "has expired"],
      ["a root of the same name", "synthetic/sgx-other-root-same-names", "does not end in the root that is trusted"],
    ])("%s, which dcap-qvl lets pass in a browser, is refused", async (_what, name, reason) => {
      const one = intel.find((listed) => short(listed) === name);
      if (one === undefined) throw new Error(`${name} is not listed`);
      expect(await refused(verify(one))).toContain(reason);
    });

    it.each(named(intel.filter((one) => !isBad(one) && isTdx(one))))("%s is refused with what its cloud appends", async (_name, one) => {
      expect(await refused(verify(one, concat(unpadded(one), new Uint8Array(1))))).toContain("not exactly as long as it says");
    });
  });

  describe("of AMD", () => {
    const amd = index.filter((one) => one.leaf !== undefined);
    const pem = (der: Bytes): Bytes => utf8(`-----BEGIN CERTIFICATE-----\n${base64(der)}\n-----END CERTIFICATE-----\n`);
    const verify = (one: Listed): Promise<Report> =>
      verifySnpReport(bytesOf(one.report), concat(pem(bytesOf(one.leaf)), bytesOf(one.chain)), one.now ?? 0);

    it.each(named(amd.filter((one) => !isBad(one))))("%s verifies with what is listed", async (_name, one) => {
      const report = await verify(one);
      expect(hex(measurementOf(report))).toBe(one.measurement);
      expect(hex(report.reportData)).toBe(one.report_data);
    });

    it.each(named(amd.filter(isBad)))("%s is refused", async (_name, one) => {
      expect(await refused(verify(one))).not.toBe("accepted");
    });

    it.each(AMD_CHAINS.map((chain) => [`${chain.product}-${chain.key}`, chain] as const))("%s is pinned as AMD publishes it", async (_name, chain) => {
      const suffix = chain.key === "vlek" ? "-vlek" : "";
      const text = readFileSync(join(FOLDER, "snp", "chains", `${chain.product.toLowerCase()}${suffix}.pem`), "utf8");
      const ders = text.split("-----END CERTIFICATE-----").slice(0, 2);
      const digests = ders.map((one) => sha256(new Uint8Array(Buffer.from(one.split("-----").at(-1) ?? "", "base64"))));
      expect((await Promise.all(digests)).map(hex)).toEqual([hex(chain.ask), hex(chain.ark)]);
    });
  });

  describe("of AWS", () => {
    const aws = index.filter((one) => one.doc !== undefined);
    const verify = (one: Listed, now = one.now ?? 0): Promise<Report> => verifyNitroDocument(bytesOf(one.doc), now);

    it.each(named(aws.filter((one) => !isBad(one))))("%s verifies, and only while its certificates are valid", async (_name, one) => {
      const report = await verify(one);
      expect(hex(measurementOf(report)).startsWith(one.measurement ?? "none")).toBe(true);
      const [first, last] = one.window ?? [0, 0];
      expect(report.validUntil).toBe(last);
      await verify(one, first);
      await verify(one, last);
      for (const now of [first - CLOCK_SKEW - 1, last + 1]) expect(await refused(verify(one, now))).toContain("not valid now");
    });

    it.each(named(aws.filter(isBad)))("%s is refused", async (_name, one) => {
      expect(await refused(verify(one))).not.toBe("accepted");
    });
  });
});
