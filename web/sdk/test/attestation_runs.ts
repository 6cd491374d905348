/** What is done with the vectors of quotes and of whole evidence, and the form in which they state reports. */

import type { AmdChain } from "../src/attestation/amd_roots.js";
import { appraise } from "../src/attestation/appraisal.js";
import { verifyNitroDocument } from "../src/attestation/nitro.js";
import { policyDigest } from "../src/attestation/policy.js";
import { type Report, type SgxReport, measurementOf } from "../src/attestation/reports.js";
import { verifySgxQuote } from "../src/attestation/sgx.js";
import { verifySnpReport } from "../src/attestation/snp.js";
import { verifyTdxQuote } from "../src/attestation/tdx.js";
import { type Bytes, unhex } from "../src/protocol/bytes.js";
import type { Role } from "../src/protocol/evidence.js";
import { fromJson } from "../src/protocol/json.js";
import { RolePolicy } from "../src/protocol/messages.js";
import { sha256 } from "../src/protocol/primitives.js";

type Given = Readonly<Record<string, unknown>>;
type Outputs = Record<string, unknown>;

const bytesOf = (given: Given, name: string): Bytes => unhex(given[name] as string);

export const ATTESTATION: Readonly<Record<string, (given: Given) => Promise<Outputs>>> = {
  "verify quote": async (given) => ({ report: stated(await verified(given)) }),
  appraise: async (given) => {
    const policy = fromJson(RolePolicy, given["policy"]);
    const found = await appraise(bytesOf(given, "evidence"), { role: given["role"] as Role, policy, now: given["now"] as number });
    const report = found.report as SgxReport;
    return {
      evidence_digest: found.evidenceDigest,
      policy_digest: await policyDigest(policy),
      cluster_id: found.claims.cluster_id,
      measurement: measurementOf(report),
      signer: report.signer,
      product_id: report.productId,
      svn: report.svn,
      kem_key: found.claims.kem_key,
      signer_can_read: found.acceptedBy === "signer",
    };
  },
};

/** A quote by itself, under the root or the chains that the vector names. */
async function verified(given: Given): Promise<Report> {
  const [quote, collateral, now] = [bytesOf(given, "quote"), bytesOf(given, "collateral"), given["now"] as number];
  switch (given["kind"]) {
    case "sgx":
      return verifySgxQuote(quote, collateral, now, await sha256(bytesOf(given, "root")));
    case "tdx":
      return verifyTdxQuote(quote, collateral, now, await sha256(bytesOf(given, "root")));
    case "snp":
      return verifySnpReport(quote, collateral, now, chainsOf(given["chains"]));
    case "nitro":
      return verifyNitroDocument(quote, now, bytesOf(given, "root"));
    default:
      throw new Error(`no kind ${String(given["kind"])}`);
  }
}

const chainsOf = (chains: unknown): AmdChain[] =>
  (chains as Record<"product" | "key" | "ark" | "ask", string>[]).map(
    (one) => ({ ...one, ark: unhex(one.ark), ask: unhex(one.ask) }) as AmdChain,
  );

/** A report as the vectors have it: names with underscores, versions of AMD's parts in their order. */
export function stated(report: Report): Outputs {
  const { platform: _, ...fields } = report;
  return underscored(fields) as Outputs;
}

function underscored(value: unknown): unknown {
  if (typeof value === "bigint") return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value.toString();
  if (value instanceof Map) return Object.fromEntries(value);
  if (Array.isArray(value)) return value.map(underscored);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if ("bootloader" in value) return Object.values(value);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), underscored(one)]));
}
