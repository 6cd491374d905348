/**
 * What a client shows when a Vault shows another history than before, for others to check.
 *
 * The text holds what was signed, so that it convinces somebody else than who saved it: both checkpoints, whose key
 * stands in the genesis statement that the cluster's id is the digest of. `strongroom` reads it.
 */

import { type Bytes, base64, concat, hex } from "../protocol/bytes.js";
import { ErrorNumber, Untrusted } from "../protocol/errors.js";
import type { SignedCheckpoint } from "../protocol/notes.js";
import { equal, sha256 } from "../protocol/primitives.js";
import { verifyConsistency } from "../protocol/tlog.js";

export type Finding = "shorter" | "forked" | "not-extended";

const FORMAT = "strongroom attack 1";
const PROGRAM = "strongroom browser SDK";
const FINDINGS: Readonly<Record<Finding, string>> = {
  shorter: "its log has fewer entries than it had",
  forked: "its log has another content at the same size",
  "not-extended": "its log does not extend the one that was seen",
};

/** Two checkpoints of one log that don't go together. */
export interface Attack {
  readonly finding: Finding;
  /** Which was seen before. */
  readonly known: SignedCheckpoint;
  readonly shown: SignedCheckpoint;
  /** Of consistency, as the Vault's host gave it; each 32 bytes. */
  readonly proof: readonly Bytes[];
  /** Attestation evidence of the session in which `shown` came. */
  readonly evidence: Bytes;
  readonly url: string;
  /** Unix seconds, by the clock of who noticed. */
  readonly noticedAt: number;
}

/** ROLLED_BACK, noticed by this client, with what proves it. */
export class RolledBack extends Untrusted {
  /** Name for a file that holds `evidence`: the same for the same. */
  readonly fileName: string;
  /** JSON text, for people who look into it. It holds nothing that was sent or received. */
  readonly evidence: string;

  private constructor(words: string, file: { readonly name: string; readonly text: string }) {
    super(ErrorNumber.ROLLED_BACK, words);
    this.fileName = file.name;
    this.evidence = file.text;
  }

  static async of(attack: Attack): Promise<RolledBack> {
    const { finding, known, shown } = attack;
    const count = ({ checkpoint }: SignedCheckpoint): string => checkpoint.size.toLocaleString("en");
    const words = `${FINDINGS[finding]} (seen before: ${count(known)} entries; now: ${count(shown)})`;
    const name = hex(await sha256(concat(known.note, shown.note))).slice(0, 32);
    return new RolledBack(words, { name: `strongroom-attack-${name}.json`, text: textOf(attack) });
  }
}

/** What is wrong with a log of which `known` was seen and that is `shown` now; undefined: it was extended. */
export async function findingOf(known: SignedCheckpoint, shown: SignedCheckpoint, proof: readonly Bytes[]): Promise<Finding | undefined> {
  const [before, now] = [known.checkpoint, shown.checkpoint];
  if (now.size < before.size) return "shorter";
  if (now.size === before.size) return equal(now.root, before.root) ? undefined : "forked";
  try {
    await verifyConsistency(before, now, proof);
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    return "not-extended";
  }
  return undefined;
}

function textOf({ finding, known, shown, proof, evidence, url, noticedAt }: Attack): string {
  const text = (note: Bytes): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(note);
  const { origin } = known.checkpoint;
  const file = {
    format: FORMAT,
    finding,
    noticed_at: noticedAt,
    program: PROGRAM,
    url,
    cluster_id: origin.split("/")[1],
    origin,
    known: text(known.note),
    shown: text(shown.note),
    proof: proof.map(hex),
    evidence: base64(evidence),
  };
  return JSON.stringify(file, null, 2);
}
