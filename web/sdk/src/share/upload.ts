/** Encrypt and upload, in a worker: the page stays responsive, and the key to the pack never goes there. */

import { ErrorNumber, Misuse, Unavailable } from "../protocol/errors.js";
import type { Control } from "./control.js";
import type { ManifestPlace } from "./format.js";
import { type Job, type Order, type Report, fromFailure } from "./orders.js";
import { sealAndSend } from "./sealing.js";

/** How an upload is going. */
export interface Progress {
  readonly state: "running" | "paused";
  /** Bytes encrypted so far. */
  readonly sealed: number;
  /** Bytes that the host has. */
  readonly arrived: number;
  readonly total: number;
  /** Bytes a second, over the last few; 0 while paused. */
  readonly speed: number;
}

/**
 * Encrypt and send; where the manifest lies in the pack. In a worker, where there are any.
 *
 * Throws `BadInput` for files that changed, `HostFailed`, and `Cancelled` if the user does.
 */
export function sealAndUpload(job: Job, control: Control, progress: (progress: Progress) => void): Promise<ManifestPlace> {
  const meter = new Meter(job.out.size, progress);
  control.watch(() => {
    if (control.state !== "cancelled") meter.become(control.state);
  });
  const moved = (sealed: number, arrived: number): void => meter.moved(sealed, arrived);
  return "Worker" in globalThis ? inWorker(job, control, moved) : sealAndSend(job, control, moved);
}

function inWorker(job: Job, control: Control, moved: (sealed: number, arrived: number) => void): Promise<ManifestPlace> {
  const worker = openWorker();
  const order = (message: Order): void => worker.postMessage(message);
  const follow = (): void => order({ type: ({ running: "resume", paused: "pause", cancelled: "cancel" } as const)[control.state] });
  return new Promise<ManifestPlace>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<Report>) => {
      switch (data.type) {
        case "progress":
          moved(data.sealed, data.arrived);
          return;
        case "done":
          resolve(data.place);
          return;
        case "failed":
          reject(fromFailure(data.failure));
          return;
      }
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      reject(new Unavailable(ErrorNumber.INTERNAL, "the page's upload worker did not start or failed; reload the page"));
    });
    order({ type: "start", job });
    control.watch(follow);
    follow();
  }).finally(() => worker.terminate());
}

// --- the worker's script, under Trusted Types -------------------------------------------------------------------

/** The parts of https://www.w3.org/TR/trusted-types that are used here. */
interface TrustedTypesFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): URL };
}

let policy: ReturnType<TrustedTypesFactory["createPolicy"]> | undefined;

/** The URL of a script of this origin, as `require-trusted-types-for 'script'` demands it. Throws `Misuse` for others. */
export function trusted(url: string | URL): string | URL {
  const factory = (globalThis as { trustedTypes?: TrustedTypesFactory }).trustedTypes;
  if (factory === undefined) return sameOrigin(String(url));
  policy ??= factory.createPolicy("strongroom-worker", { createScriptURL: sameOrigin });
  return policy.createScriptURL(String(url));
}

function sameOrigin(url: string): string {
  const { origin, protocol, href } = new URL(url, location.href);
  if (origin !== location.origin || !/^https?:$/.test(protocol)) throw new Misuse(ErrorNumber.MALFORMED, "a script from elsewhere");
  return href;
}

function openWorker(): globalThis.Worker {
  // Bundlers find a worker by exactly the expression below, so what passes its URL through the policy is called like the
  // browser's own.
  class Worker extends globalThis.Worker {
    constructor(url: URL, options: WorkerOptions) {
      super(trusted(url), options);
    }
  }
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}

// --- what the user sees -----------------------------------------------------------------------------------------

/** Milliseconds over which speed is measured. */
const SPAN = 5_000;

class Meter {
  readonly #total: number;
  readonly #show: (progress: Progress) => void;
  #samples: { readonly at: number; readonly arrived: number }[] = [];
  #state: "running" | "paused" = "running";
  #sealed = 0;
  #arrived = 0;

  constructor(total: number, show: (progress: Progress) => void) {
    this.#total = total;
    this.#show = show;
    this.#restart();
  }

  moved(sealed: number, arrived: number): void {
    this.#sealed = sealed;
    this.#arrived = arrived;
    const at = performance.now();
    this.#samples.push({ at, arrived });
    while (this.#samples.length > 2 && at - (this.#samples[1]?.at ?? at) > SPAN) this.#samples.shift();
    this.#report();
  }

  become(state: "running" | "paused"): void {
    this.#state = state;
    this.#restart();
    this.#report();
  }

  #restart(): void {
    this.#samples = [{ at: performance.now(), arrived: this.#arrived }];
  }

  #report(): void {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const seconds = ((last?.at ?? 0) - (first?.at ?? 0)) / 1000;
    const speed = seconds > 0.1 ? Math.max(0, ((last?.arrived ?? 0) - (first?.arrived ?? 0)) / seconds) : 0;
    this.#show({ state: this.#state, sealed: this.#sealed, arrived: this.#arrived, total: this.#total, speed });
  }
}
