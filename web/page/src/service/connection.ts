/** From nothing to a verified Vault: the site's statement, was it the same before, is the Vault what it names. */

import { acceptWitnesses, appraise, explain, fetchEvidence, hex, IndexedShelf, loadOrMakeKey, loadSite, StrongroomError, Untrusted, Vault, type Appraisal, type SigningKey, type Site } from "@strongroom/sdk";

import { nowSeconds } from "../amounts.js";
import { Cell } from "../cell.js";
import { setLink } from "./link.js";
import { fetchPageList, sha256Hex } from "./page_digest.js";
import { directoriesOf, doorway, passkeys, providersOf, resumeSignIn, typing } from "./people.js";
import { problemOf, say } from "./problem.js";
import { tell } from "./recoveries.js";
import type { Connection, Point, Problem, Proof } from "./types.js";

export const connection = new Cell<Connection>({ state: "checking" });

/** Under which the digest of the site's statement is kept after the first visit. */
const PIN = "site statement";
const VAULT = "/vault/";
const MAX_STATEMENT = 256 * 1024;

const pins = new IndexedShelf("keys");
let begun: Uint8Array<ArrayBuffer> | null = null;

/** Never throws: what goes wrong is the connection's state. */
export async function connect(): Promise<void> {
  connection.value = { state: "checking" };
  const early = begin();
  try {
    const statement = await fetchStatement();
    const verifying = verify(statement, early);
    verifying.catch(() => undefined); // its error counts below: a statement that changed comes before one that is wrong
    const digest = await sha256Hex(statement);
    const before = await pins.add(PIN, digest);
    if (typeof before === "string" && before !== digest) {
      begun = statement;
      connection.value = { state: "changed", before, now: digest };
      return;
    }
    await enter(await verifying);
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
    await enter(await verify(begun, begin()));
  } catch (error) {
    refuse(error);
  }
}

/** What takes a while and needs no statement. The reader waits once for all of it. */
interface Early {
  readonly key: Promise<SigningKey>;
  /** Undefined when it did not come: it is asked for again then, and what is wrong is said. */
  readonly evidence: Promise<Uint8Array<ArrayBuffer> | undefined>;
}

function begin(): Early {
  const key = loadOrMakeKey();
  key.catch(() => undefined); // `verify` hears of it
  return { key, evidence: fetchEvidence(VAULT).catch(() => undefined) };
}

interface Verified {
  readonly site: Site;
  readonly vault: Vault;
  readonly appraisal: Appraisal;
}

async function verify(statement: Uint8Array<ArrayBuffer>, early: Early): Promise<Verified> {
  const site = await loadSite(statement);
  // before the key: browsers take their time to open a database
  const evidence = (await early.evidence) ?? (await fetchEvidence(VAULT));
  const appraisal = await appraise(evidence, { role: "vault", policy: site.policy.vault, now: nowSeconds() });
  acceptWitnesses(appraisal.genesis, appraisal.claims.watchers, site.policy);
  const places = new Map(site.authenticators.map(({ url }, at) => [url, `/authenticator/${at}/`]));
  const vault = new Vault({
    url: VAULT,
    policy: site.policy,
    bindingKey: await early.key,
    signIn: doorway,
    passkeys,
    codes: typing.codes,
    passwords: typing.passwords,
    providers: providersOf(site),
    directories: directoriesOf(site),
    authenticatorAt: (url) => places.get(url) ?? url,
    notice: tell,
  });
  return { site, vault, appraisal };
}

async function enter({ site, vault, appraisal }: Verified): Promise<void> {
  setLink({ site, vault });
  const { name, maxBytes, expiryDays, contact } = site;
  const verified = (page: Proof["pageDigest"]): Connection => ({ state: "verified", offer: { name, maxBytes, expiryDays, contact }, proof: proofOf(appraisal, site, page) });
  const shown = verified(undefined);
  connection.value = shown;
  await Promise.all([
    resumeSignIn(),
    compareHistory(vault),
    fetchPageList()
      .catch(() => null)
      .then((list) => {
        if (connection.value === shown) connection.value = verified(list?.digest ?? null);
      }),
  ]);
}

/** Whether the Vault has forgotten what this browser knows of it is found out before the reader types anything. */
async function compareHistory(vault: Vault): Promise<void> {
  try {
    await vault.verifyHistory();
  } catch (error) {
    if (!(error instanceof StrongroomError)) throw error;
    problemOf(error); // raises the alarm if it is one; whatever else is wrong is said when the Vault is used
  }
}

const PLATFORMS: Readonly<Record<Appraisal["kind"], string>> = { sgx: "Intel SGX", tdx: "Intel TDX", snp: "AMD SEV-SNP", nitro: "AWS Nitro", "insecure-software": "" };

const PROGRAMS = { measurement: "program", signer: "signer", release: "release" } as const;

function pointsOf({ kind, acceptedBy, genesis, claims }: Appraisal, page: Proof["pageDigest"]): readonly Point[] {
  const names = typeof page === "string" && claims.config.some(({ name, value }) => name === "page" && value === page);
  const watchers = claims.watchers ?? genesis;
  return [
    kind === "insecure-software" ? { name: "software", values: {} } : { name: "platform", values: { platform: PLATFORMS[kind] } },
    { name: PROGRAMS[acceptedBy], values: {} },
    genesis.development ? { name: "development", values: {} } : { name: "cluster", values: { threshold: genesis.council.threshold, count: genesis.council.custodians.length } },
    watchers.witnesses.length === 0 ? { name: "unwitnessed", values: {} } : { name: "witnesses", values: { count: watchers.cosignatures, of: watchers.witnesses.length } },
    { name: "line", values: {} },
    ...(names ? [{ name: "page", values: {} } as const] : []),
  ];
}

function proofOf(appraisal: Appraisal, site: Site, page: Proof["pageDigest"]): Proof {
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

/** The host was caught at an attack: nothing more is asked of it, in no view. */
export function halt(problem: Problem): void {
  setLink(null);
  connection.value = { state: "refused", problem };
}

function refuse(error: unknown): void {
  if (error instanceof Untrusted) return halt(problemOf(error));
  setLink(null);
  // fetch says TypeError for every failure of the network
  const problem = error instanceof StrongroomError ? problemOf(error) : say("unreachable", "retry", error instanceof TypeError ? "" : String(error));
  connection.value = { state: "unreachable", problem };
}
