/**
 * Editions of Intel's assessment that machines have shown: a machine never goes back to an older one.
 *
 * Collateral is good for a month. A host that keeps the newest back hides from relying parties what became known of its
 * machine meanwhile, say that its keys can be taken out. A policy's floor is what its author knew; this one rises with
 * what was seen, machine by machine, since honest machines of one cluster learn of a new edition days apart.
 */

import { type Bytes, hex } from "../protocol/bytes.js";
import { ErrorNumber, Untrusted } from "../protocol/errors.js";
import type { Report } from "./reports.js";

/** Machines that are remembered; the least recently seen is forgotten first. */
const MACHINES = 1024;

/** In memory only: what outlives the page is the policy's `min_tcb_evaluation`. */
export class EvaluationFloors {
  readonly #highest = new Map<string, number>();

  /**
   * Throws `Untrusted` POLICY when the machine of an enclave of `cluster` (its id) has shown a newer edition. Each cluster
   * for itself, since two on one machine have hosts with a cache each.
   */
  verify(report: Report, cluster: Bytes): void {
    const [machine, shown] = editionOf(report, cluster) ?? [];
    if (machine === undefined || shown === undefined) return;
    const highest = this.#highest.get(machine) ?? 0;
    if (shown < highest) {
      throw new Untrusted(ErrorNumber.POLICY, `TCB evaluation number ${shown}; this machine has shown ${highest}: newer is kept back`);
    }
  }

  /**
   * Take note of a report whose enclave has taken part in a handshake over this very evidence.
   *
   * Not before: collateral is outside of what the enclave signs, so anybody on the way could put in an edition that
   * others don't have yet, and turn us away from the enclave for weeks.
   */
  note(report: Report, cluster: Bytes): void {
    const [machine, shown] = editionOf(report, cluster) ?? [];
    if (machine === undefined || shown === undefined) return;
    const highest = Math.max(shown, this.#highest.get(machine) ?? 0);
    this.#highest.delete(machine); // so that it stands last
    this.#highest.set(machine, highest);
    const [oldest] = this.#highest.keys();
    if (this.#highest.size > MACHINES && oldest !== undefined) this.#highest.delete(oldest);
  }
}

function editionOf(report: Report, cluster: Bytes): readonly [machine: string, edition: number] | undefined {
  if (report.platform !== "sgx" && report.platform !== "tdx") return undefined;
  return [`${report.platform} ${hex(report.intel.platformId)} ${hex(cluster)}`, report.intel.tcbEvaluationNumber];
}
