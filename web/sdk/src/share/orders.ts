/** What page (`upload.ts`) and worker (`worker.ts`) say to each other. */

import { ErrorNumber, StrongroomError, Unavailable, Untrusted } from "../protocol/errors.js";
import { BadInput } from "../client/errors.js";
import type { Outgoing } from "./blobs.js";
import { Cancelled, HostFailed, Missing } from "./errors.js";
import type { ManifestPlace } from "./format.js";
import type { Source } from "./pack.js";

/** What is to be sent, to whom and where. `origin` is empty for the one that the page is from. */
export interface Job {
  readonly sources: readonly Source[];
  /** `age1pq1…` */
  readonly recipient: string;
  readonly out: Outgoing;
  readonly origin: string;
}

/** From the page to the worker. */
export type Order = { readonly type: "start"; readonly job: Job } | { readonly type: "pause" | "resume" | "cancel" };

/** From the worker to the page. Bytes of ciphertext. */
export type Report =
  | { readonly type: "progress"; readonly sealed: number; readonly arrived: number }
  | { readonly type: "done"; readonly place: ManifestPlace }
  | { readonly type: "failed"; readonly failure: Failure };

/** An error as it crosses from the worker: errors lose their class on the way. */
export interface Failure {
  readonly kind: "bad input" | "missing" | "cancelled" | "host" | "untrusted" | "other";
  readonly text: string;
  readonly hint: string;
  readonly status: number;
  readonly passing: boolean;
}

export function toFailure(error: unknown): Failure {
  const known = error instanceof StrongroomError ? { text: error.reason, hint: error.hint } : { text: String(error), hint: "" };
  const none = { ...known, status: 0, passing: false };
  if (error instanceof BadInput) return { ...none, kind: "bad input" };
  if (error instanceof Missing) return { ...none, kind: "missing" };
  if (error instanceof Cancelled) return { ...none, kind: "cancelled" };
  if (error instanceof HostFailed) return { ...none, kind: "host", text: error.what, status: error.status, passing: error.passing };
  return { ...none, kind: error instanceof Untrusted ? "untrusted" : "other" };
}

export function fromFailure({ kind, text, hint, status, passing }: Failure): StrongroomError {
  switch (kind) {
    case "bad input":
      return new BadInput(text, hint);
    case "missing":
      return new Missing();
    case "cancelled":
      return new Cancelled();
    case "host":
      return new HostFailed(text, { status, passing });
    case "untrusted":
      return new Untrusted(ErrorNumber.INTEGRITY, text);
    case "other":
      return new Unavailable(ErrorNumber.INTERNAL, text);
  }
}
