import { QuoteVerifier } from "@phala/dcap-qvl";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";

import { appraise } from "../src/attestation/appraisal.js";
import { parseTrustPolicy } from "../src/attestation/policy.js";
import { verifyQuote } from "../src/attestation/verification.js";
import { explain } from "../src/client/explanation.js";
import { type Bytes, concat, unhex, utf8 } from "../src/protocol/bytes.js";
import { StrongroomError, Untrusted } from "../src/protocol/errors.js";
import { fromJson, toJson } from "../src/protocol/json.js";
import { RolePolicy } from "../src/protocol/messages.js";
import { ATTESTATION } from "./attestation_runs.js";
import { problem, vectors } from "./vector_runs.js";

type Given = Readonly<Record<string, unknown>>;

const ALL = new Map(vectors());
const QUOTES = [...ALL].filter(([, { run }]) => run === "verify quote");
const EVIDENCE = [...ALL].filter(([, { run }]) => run === "appraise");
const inputs = (path: string): Given => ALL.get(path)?.inputs ?? {};
const GOOD = QUOTES.filter(([, { expect: expected }]) => expected === "accept").map(([path]) => path);
const INTEL = GOOD.filter((path) => /\/(?:sgx|tdx)/.test(path));

const verified = async (given: Given): Promise<unknown> => toJson(await ATTESTATION["verify quote"]?.(given));

async function refusalOf(given: Given, run: string): Promise<StrongroomError | undefined> {
  try {
    await ATTESTATION[run]?.(given);
    return undefined;
  } catch (error) {
    if (error instanceof StrongroomError) return error;
    throw error;
  }
}

describe("quotes and evidence of the specification", () => {
  it("are all there", () => {
    expect(QUOTES.length).toBeGreaterThanOrEqual(109);
    expect(EVIDENCE.length).toBeGreaterThanOrEqual(17);
    expect(GOOD.length).toBeGreaterThanOrEqual(17);
  });

  it.each([...QUOTES, ...EVIDENCE])("%s has the verdict and the report that Python gives", async (_path, vector) => {
    expect(await problem(vector)).toBeUndefined();
  });

  /** Whose words they are: without its own reason, a case may be refused for something else. */
  const REASONS = {
    "sgx-another-pce": "another provisioning enclave",
    "sgx-another-root": "does not end in the root",
    "sgx-collateral-expired": "expired",
    "sgx-debug": "debug enclave",
    "sgx-hidden-in-chain": "not exactly 3 certificates",
    "sgx-level-revoked": "Revoked",
    "sgx-machine-revoked": "is revoked",
    "sgx-pck-chain-in-collateral": "does not parse",
    "sgx-root-expired": "has expired",
    "sgx-signature": "ISV enclave report signature",
    "sgx-tcb-info-by-pck": "the TCB info does not end in the root",
    "sgx-trailing-byte": "not exactly as long as it says",
    "tdx-5-service-td": "a service TD",
    "tdx-debug": "debug enclave or TD",
    "tdx-migratable": "another machine",
    "tdx-reserved-attribute": "reserved",
    "tdx-sept-ve": "SEPT_VE_DISABLE",
    "tdx-xfam": "XFAM",
    "snp-another-chip": "another chip",
    "snp-another-root": "none of AMD's",
    "snp-crl-by-another-key": "revocation list is not signed",
    "snp-crl-expired": "revocation list has expired",
    "snp-crl-of-a-part": "critical extension",
    "snp-debug": "may be debugged",
    "snp-leaf-p256": "not on the curve P-384",
    "snp-leaf-pkcs1": "not signed by its issuer",
    "snp-of-the-host": "the host asked",
    "snp-revoked": "has revoked",
    "snp-stray-author": "author key",
    "snp-turin-fmc-differs": "fmc differs",
    "snp-unsigned": "no key signed it",
    "snp-vlek-as-vcek": "another kind of key",
    "snp-vlek-with-chip": "names no chip",
    "nitro-another-root": "root certificate of AWS",
    "nitro-certificate-sha256": "not signed by ECDSA with SHA-384",
    "nitro-debug": "debug enclave",
    "nitro-field-twice": "key twice",
    "nitro-from-the-future": "from the future",
    "nitro-issued-by-an-enclave": "must not issue any",
    "nitro-leaf-by-another-key": "not signed by its issuer",
    "nitro-longer-encoding": "one encoding",
    "nitro-path-too-long": "longer than one of its certificates permits",
    "nitro-unknown-field": "fields of an attestation document",
    "nitro-unprotected": "ES384 and nothing else",
    "nitro-user-data-changed": "signature is not that",
    "nitro-zone-expired": "not valid now",
  };

  it.each(Object.entries(REASONS))("%s is refused for what is wrong with it", async (name, reason) => {
    const refusal = await refusalOf(inputs(`attestation/${name}.json`), "verify quote");
    expect(refusal?.reason).toContain(reason);
  });
});

describe("a Nitro document", () => {
  it("with collateral, which nobody would look at, is refused", async () => {
    const quote = unhex(String(inputs("attestation/nitro.json")["quote"]));
    const allowed = { platforms: ["nitro"] as const, insecureRoots: [] };
    await expect(verifyQuote({ kind: "nitro", quote, collateral: utf8("x") }, allowed, 0)).rejects.toThrow("needs no collateral");
  });
});

describe("a second verifier of Intel's quotes", () => {
  const collateralOf = (given: Given): Record<string, string> =>
    JSON.parse(new TextDecoder().decode(unhex(String(given["collateral"])))) as Record<string, string>;

  const opinion = ({ quote, root, now, ...given }: Given, changed: Record<string, string> = {}): { status: string } =>
    new QuoteVerifier(Buffer.from(String(root), "hex")).verify(
      Buffer.from(String(quote), "hex"),
      { ...collateralOf(given), ...changed } as never,
      Number(now),
    );

  it.each(INTEL)("dcap-qvl accepts %s too", (path) => {
    expect(opinion(inputs(path)).status).toBeTypeOf("string");
  });

  it.each([
    ["a revocation list that is none", "pck_crl", "00"],
    ["an empty revocation list", "root_ca_crl", ""],
  ])("dcap-qvl lets pass what is refused here: %s", async (_what, field, text) => {
    const given = inputs("attestation/sgx.json");
    expect(opinion(given, { [field]: text }).status).toBe("UpToDate");
    const bent = utf8(JSON.stringify({ ...collateralOf(given), [field]: text }));
    expect((await refusalOf({ ...given, collateral: Buffer.from(bent).toString("hex") }, "verify quote"))?.reason).toContain("CRL");
  });
});

describe("appraisal", () => {
  const complete = inputs("evidence/complete.json");
  const policy = (): RolePolicy => fromJson(RolePolicy, complete["policy"]);
  const evidence = unhex(String(complete["evidence"]));
  const now = Number(complete["now"]);
  const withSoftware = (change: Partial<NonNullable<RolePolicy["insecure_software"]>>): RolePolicy => {
    const found = policy();
    if (found.insecure_software === null) throw new Error("the vector is about software evidence");
    return { ...found, insecure_software: { ...found.insecure_software, ...change } };
  };
  const appraised = (changed: RolePolicy, at = now): Promise<unknown> => appraise(evidence, { role: "vault", policy: changed, now: at });

  it.each<[string, RolePolicy, string]>([
    ["clusters", { ...policy(), clusters: [] }, "cluster"],
    ["roots", withSoftware({ roots: [] }), "software root"],
    ["programs", withSoftware({ measurements: [], signers: [] }), "names no measurement"],
    ["states", withSoftware({ tcb_statuses: [] }), "TCB status"],
    ["machines", withSoftware({ platform_ids: [] }), "PPID"],
    ["platforms", { ...policy(), insecure_software: null }, "does not name insecure-software"],
  ])("accepts nothing where the list of %s is empty", async (_what, changed, reason) => {
    await expect(appraised(changed)).rejects.toThrow(reason);
    await expect(appraised(changed)).rejects.toMatchObject({ number: 306 });
  });

  it("refuses a setting that the policy does not name, and one that it names in vain", async () => {
    const config = [{ name: "egress", value: "any" }];
    await expect(appraised({ ...policy(), config: [...policy().config, ...config] })).rejects.toThrow("does not show");
    if (policy().config.length > 0) await expect(appraised({ ...policy(), config: [] })).rejects.toThrow("not what the policy expects");
  });

  it("refuses a machine open to a weakness that the policy names, and an old edition of the assessment", async () => {
    await expect(appraised(withSoftware({ min_tcb_evaluation: 1000 }))).rejects.toThrow("below the policy's floor 1000");
    await expect(appraised(withSoftware({ allow_cached_keys: false }))).rejects.toThrow("cached by Intel");
  });

  it("refuses evidence at another time", async () => {
    await expect(appraised(policy(), now + 7200)).rejects.toBeInstanceOf(Untrusted);
    await expect(appraised(policy(), now - 86_400)).rejects.toBeInstanceOf(Untrusted);
  });

  it("is explained line by line, each with its key, and says what is no hardware", async () => {
    const lines = explain(await appraise(evidence, { role: "vault", policy: policy(), now }));
    const by = new Map(lines.map((line) => [line.key, line]));
    expect(by.size).toBe(lines.length);
    expect(by.get("platform.insecure-software")?.detail).toContain("NO HARDWARE");
    expect(by.get("program.measurement")?.title).toBe("accepted program");
    expect(by.get("register.MRENCLAVE")?.value).toMatch(/^[0-9a-f]{64}$/);
    expect(by.get("intel.status")?.value).toBe("UpToDate");
    for (const { value } of lines) expect(value).not.toMatch(/\p{C}/u);
  });

  it("of a program that approvers released says by which list, and how many they were", async () => {
    const released = inputs("evidence/released.json");
    const untrusted = unhex(String(released["evidence"]));
    const found = await appraise(untrusted, { role: "vault", policy: fromJson(RolePolicy, released["policy"]), now: Number(released["now"]) });
    expect(found.acceptedBy).toBe("release");
    const by = new Map(explain(found).map((line) => [line.key, line]));
    expect(by.get("program.measurement")).toBeUndefined();
    expect(by.get("program.release")?.value).toMatch(/^release \S+$/);
    expect(by.get("program.release")?.detail).toMatch(/^security version \d+, in list \d+, approved by 2$/);
    expect(by.get("releases")?.value).toBe(`list ${found.claims.release}`);
  });
});

describe("trust policies in JSON", () => {
  const role = inputs("evidence/complete.json")["policy"] as Record<string, unknown>;
  const policy = (change: Record<string, unknown> = {}): unknown => ({ version: 1, name: "insecure demo", vault: role, authenticator: role, witnesses: [], cosignatures: 0, ...change });
  const witness = "a.example+552c61d5+BAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ";

  it("are read as they are", async () => {
    const named = policy({ witnesses: [witness], cosignatures: 1 });
    expect(toJson(await parseTrustPolicy(policy()))).toEqual(policy());
    expect(toJson(await parseTrustPolicy(named))).toEqual(named);
  });

  it.each<[string, unknown]>([
    ["an unknown field", policy({ also: true })],
    ["an unknown field deep inside", policy({ vault: { ...role, insecure_software: { ...(role["insecure_software"] as object), debug: true } } })],
    ["a section left out", policy({ vault: Object.fromEntries(Object.entries(role).filter(([name]) => name !== "sgx")) })],
    ["software evidence under an honest-looking name", policy({ name: "demo" })],
    ["a name that warns of nothing", policy({ vault: { ...role, insecure_software: null }, authenticator: { ...role, insecure_software: null } })],
    ["a digest that is too short", policy({ vault: { ...role, clusters: ["00"] } })],
    ["an advisory that Intel never gives", policy({ vault: { ...role, insecure_software: { ...(role["insecure_software"] as object), refused_advisories: ["INTEL-SA-289"] } } })],
    ["a witness whose hash is another key's", policy({ witnesses: [witness.replace("+55", "+56")], cosignatures: 1 })],
    ["the same witness twice", policy({ witnesses: [witness, witness], cosignatures: 2 })],
    ["half of the witnesses", policy({ witnesses: [witness], cosignatures: 0 })],
    ["more cosignatures than witnesses", policy({ witnesses: [], cosignatures: 1 })],
    ["another version", policy({ version: 2 })],
    ["a list", []],
    ["nothing", null],
  ])("are refused with %s", async (_what, bent) => {
    await expect(parseTrustPolicy(bent)).rejects.toBeInstanceOf(StrongroomError);
  });
});

/** Numbers from 0 to 2^32 − 1, always the same ones (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** A bit or byte changed, a piece taken out, doubled, or put elsewhere, the end cut off. */
function mutated(data: Bytes, random: () => number): Bytes {
  const at = random() % data.length;
  const size = 1 + (random() % 32);
  const piece = data.slice(at, at + size);
  switch (random() % 6) {
    case 0:
      return data.map((byte, index) => (index === at ? byte ^ (1 << (random() % 8)) : byte)) as Bytes;
    case 1:
      return data.map((byte, index) => (index === at ? random() % 256 : byte)) as Bytes;
    case 2:
      return concat(data.slice(0, at), data.slice(at + size));
    case 3:
      return concat(data.slice(0, at), piece, data.slice(at));
    case 4: {
      const to = random() % data.length;
      return concat(data.slice(0, to), piece, data.slice(to + piece.length));
    }
    default:
      return data.slice(0, at);
  }
}

describe("bytes changed anywhere", () => {
  const fields = { sgx: 200, "tdx-5": 200, "snp-genoa-crl": 300, "snp-turin-vlek": 100, nitro: 1000 };
  const cases = Object.entries(fields).flatMap(([name, count]): [string, string, number][] =>
    name === "nitro" ? [[name, "quote", count]] : [[name, "quote", count], [name, "collateral", count]],
  );

  it.each(cases)("of %s, in its %s: refused, or of unchanged meaning", { timeout: 60_000 }, async (name, field, count) => {
    const given = inputs(`attestation/${name}.json`);
    const meant = await verified(given);
    const random = seeded(count);
    const whole = unhex(String(given[field]));
    const refusals = new Set<string>();
    for (let left = count; left > 0; left--) {
      const bent = { ...given, [field]: Buffer.from(mutated(whole, random)).toString("hex") };
      const started = performance.now();
      const refusal = await refusalOf(bent, "verify quote");
      expect(performance.now() - started).toBeLessThan(2000);
      if (refusal === undefined) expect(isDeepStrictEqual(await verified(bent), meant)).toBe(true);
      else expect(refusal).toBeInstanceOf(Untrusted);
      refusals.add(refusal?.reason ?? "");
    }
    expect(refusals.size).toBeGreaterThan(2);
  });

  it("of whole evidence: refused, for nothing in it is left open", { timeout: 60_000 }, async () => {
    const given = inputs("evidence/complete.json");
    const whole = unhex(String(given["evidence"]));
    const random = seeded(7);
    let accepted = 0;
    for (let left = 500; left > 0; left--) {
      const bent = mutated(whole, random);
      const refusal = await refusalOf({ ...given, evidence: Buffer.from(bent).toString("hex") }, "appraise");
      if (refusal === undefined) accepted++;
      else expect(refusal).toBeInstanceOf(Untrusted);
    }
    // Collateral is outside of what the enclave signs; a hexadecimal digit there may be of either case.
    expect(accepted).toBeLessThan(25);
  });
});
