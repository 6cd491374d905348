/** From nothing to a verified Vault: the site's statement, was it the same before, is the Vault what it names. */

import { explain, hex, IndexedShelf, loadOrMakeKey, loadSite, StrongroomError, Untrusted, Vault, type Appraisal, type Site } from "@strongroom/sdk";

import { Cell } from "../cell.js";
import { setLink } from "./link.js";
import { fetchPageList, sha256Hex } from "./page_digest.js";
import { doorway, passkeys, providersOf, resumeSignIn } from "./people.js";
import { problemOf, say } from "./problem.js";
import type { Connection, Point, Proof } from "./types.js";

export const connection = new Cell<Connection>({ state: "checking" });

/** Under which the digest of the site's statement is kept after the first visit. */
const PIN = "site statement";
const MAX_STATEMENT = 256 * 1024;

const pins = new IndexedShelf("keys");
let begun: Uint8Array<ArrayBuffer> | null = null;

/** Never throws: what goes wrong is the connection's state. */
export async function connect(): Promise<void> {
  connection.value = { state: "checking" };
  try {
    const statement = await fetchStatement();
    const digest = await sha256Hex(statement);
    const before = await pins.add(PIN, digest);
    if (typeof before === "string" && before !== digest) {
      begun = statement;
      connection.value = { state: "changed", before, now: digest };
      return;
    }
    await enter(statement);
  } catch (error) {
    refuse(error);
  }
}

/** The reader has compared the new statement's digest with the published one. */
export async function acceptSite(): Promise<void> {
  if (begun === null) return connect();
  try {
    await pins.put(PIN, await sha256Hex(begun));
    connection.value = { state: "checking" };
    await enter(begun);
  } catch (error) {
    refuse(error);
  }
}

async function enter(statement: Uint8Array<ArrayBuffer>): Promise<void> {
  const site = await loadSite(statement);
  const places = new Map(site.authenticators.map(({ url }, at) => [url, `/authenticator/${at}/`]));
  const vault = new Vault({
    url: "/vault/",
    policy: site.policy,
    bindingKey: await loadOrMakeKey(),
    signIn: doorway,
    passkeys,
    providers: providersOf(site),
    authenticatorAt: (url) => places.get(url) ?? url,
  });
  const [appraisal, list] = await Promise.all([vault.verify(), fetchPageList().catch(() => null)]);
  setLink({ site, vault });
  connection.value = {
    state: "verified",
    offer: {
      name: site.name,
      maxBytes: site.maxBytes,
      expiryDays: site.expiryDays,
      contact: site.contact,
    },
    proof: proofOf(appraisal, site, list?.digest ?? null),
  };
  await resumeSignIn();
}

const PLATFORMS: Readonly<Record<Appraisal["kind"], string>> = { sgx: "Intel SGX", tdx: "Intel TDX", snp: "AMD SEV-SNP", nitro: "AWS Nitro", "insecure-software": "" };

function pointsOf({ kind, acceptedBy, genesis, claims }: Appraisal, page: string | null): readonly Point[] {
  const names = page !== null && claims.config.some(({ name, value }) => name === "page" && value === page);
  return [
    kind === "insecure-software" ? { name: "software", values: {} } : { name: "platform", values: { platform: PLATFORMS[kind] } },
    { name: acceptedBy === "signer" ? "signer" : "program", values: {} },
    genesis.development ? { name: "development", values: {} } : { name: "cluster", values: { threshold: genesis.threshold, count: genesis.custodians.length } },
    { name: "line", values: {} },
    ...(names ? [{ name: "page", values: {} } as const] : []),
  ];
}

function proofOf(appraisal: Appraisal, site: Site, page: string | null): Proof {
  return {
    points: pointsOf(appraisal, page),
    lines: explain(appraisal),
    insecure: appraisal.kind === "insecure-software" || appraisal.genesis.development,
    measurement: hex(appraisal.report.registers[0]?.[1] ?? new Uint8Array()),
    cluster: hex(appraisal.claims.cluster_id),
    policyDigest: hex(site.policyDigest),
    siteDigest: hex(site.digest),
    pageDigest: page,
  };
}

async function fetchStatement(): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch("/trust.json", { cache: "no-store", redirect: "error" });
  if (!answer.ok) throw new TypeError(`status ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes.length > MAX_STATEMENT) throw new TypeError("the site statement is too long");
  return bytes;
}

function refuse(error: unknown): void {
  setLink(null);
  if (error instanceof Untrusted) {
    connection.value = { state: "refused", problem: problemOf(error) };
    return;
  }
  // fetch says TypeError for every failure of the network
  const problem = error instanceof StrongroomError ? problemOf(error) : say("unreachable", "retry", error instanceof TypeError ? "" : String(error));
  connection.value = { state: "unreachable", problem };
}
