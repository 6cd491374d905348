/**
 * Blobs at a host (`spec/blobs.md`): resumable upload by tus 1.0.0, ranged download, grants.
 *
 * Nothing a host says is believed. It can fail or withhold; what it gives is checked by who asked. So every failure here is
 * `Unavailable`, also where the host calls it a refusal.
 *
 * Why not tus-js-client: it goes wherever the host's `Location` points, gives up after a fixed list of waits, joins what
 * it reads from a stream by copying, and brings twenty packages into the page.
 */

import { hex } from "../protocol/bytes.js";
import { grantHeader } from "../protocol/blobs.js";
import type { BlobGranted } from "../protocol/messages.js";
import type { Control } from "./control.js";
import { HostFailed, Missing } from "./errors.js";

/** Bytes that are made at a time, and kept in memory until the host has them. More would only cost memory. */
export const CHUNK = 4 << 20;
const SMALLEST_PATCH = 256 << 10;
const FIRST_PATCH = 1 << 20;
const TUS = { "tus-resumable": "1.0.0" } as const;

const WORDS: Readonly<Record<number, string>> = {
  401: "does not accept the Vault's grant",
  403: "does not accept the Vault's grant",
  404: "has no such blob, or not yet, or no more",
  409: "holds another part of the blob than this one follows",
  410: "has erased the blob",
  413: "takes no blob of this size",
  429: "has too much to do",
  507: "has no space left",
};
/** Trying again at once changes nothing. */
const FINAL: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 410, 412, 413, 415, 416, 460, 507]);

/** How long a failing host is put up with. Milliseconds. */
export interface Patience {
  /** Before the second try; doubled before each further one. */
  readonly firstWait: number;
  readonly longestWait: number;
  /** Without one byte that got through. */
  readonly inVain: number;
  /** For one answer, or the next bytes of one. */
  readonly silence: number;
}

/** Long enough to walk from one network into another. */
export const PATIENCE: Patience = { firstWait: 500, longestWait: 15_000, inVain: 600_000, silence: 60_000 };

/** A blob to send: its id, the bytes that it will have, and the Vault's word that it may be kept. */
export interface Outgoing {
  readonly blob: Uint8Array;
  readonly size: number;
  readonly grant: Pick<BlobGranted, "statement" | "signature">;
}

/** A part of a blob: bytes from `offset` on. */
export interface Part {
  readonly blob: Uint8Array;
  readonly offset: number;
  readonly length: number;
}

/** The blobs of one site. */
export class BlobHost {
  readonly #origin: string;
  readonly #patience: Patience;

  /** `origin` as `https://host`; empty: where the page is from. */
  constructor(origin = "", patience: Patience = PATIENCE) {
    this.#origin = origin;
    this.#patience = patience;
  }

  /**
   * Send all `chunks`, `size` bytes together; whatever breaks off is resumed. Chunks that the host has acknowledged are
   * not kept, since ciphertext that was made anew would be other ciphertext.
   *
   * `progress` is told how many bytes have arrived in all. Throws `HostFailed`, and `Cancelled` if the user does.
   */
  async upload(out: Outgoing, chunks: AsyncIterable<Uint8Array<ArrayBuffer>>, control: Control, progress: (arrived: number) => void): Promise<void> {
    await this.#persistently(control, () => this.#create(out, control.signal));
    const patch = new Patches(out, control, progress);
    let arrived = 0;
    for await (const chunk of chunks) {
      await this.#patchAll(patch, arrived, chunk);
      arrived += chunk.length;
    }
    if (arrived !== out.size) throw new HostFailed("was promised another number of bytes", { status: 0, passing: false });
  }

  /**
   * These bytes of a blob, checked by nobody yet; whatever breaks off is continued. Never more than were asked for.
   * Throws `Missing`, `HostFailed` and `Cancelled`.
   */
  async *read({ blob, offset, length }: Part, control: Control): AsyncGenerator<Uint8Array, void, undefined> {
    const end = offset + length;
    const attempts = new Attempts(this.#patience, control);
    while (offset < end) {
      try {
        for await (const piece of this.#range(blob, offset, end, control.signal)) {
          offset += piece.length;
          attempts.succeeded();
          yield piece;
        }
      } catch (error) {
        await attempts.failed(error);
      }
    }
  }

  /** Tell the host of a newer statement: another expiry, or that the blob is to be erased. Throws `HostFailed`. */
  async showGrant(blob: Uint8Array, grant: Outgoing["grant"], control: Control): Promise<void> {
    await this.#persistently(control, async () => {
      const response = await this.#fetch(`/blobs/${hex(blob)}/grant`, { method: "PUT", headers: grantOf(grant) }, control.signal);
      if (response.status !== 200 && response.status !== 204) throw failed(response);
    });
  }

  /** Tell the host's operator about a share that should not be there. */
  async reportAbuse(report: { readonly share: string; readonly text: string }): Promise<void> {
    const headers = { "content-type": "application/json" };
    const response = await this.#fetch("/abuse", { method: "POST", headers, body: JSON.stringify(report) }, AbortSignal.timeout(this.#patience.silence));
    if (response.status !== 204) throw failed(response);
  }

  // --- upload ---------------------------------------------------------------------------------------------------

  async #create({ blob, size, grant }: Outgoing, signal: AbortSignal): Promise<void> {
    const headers = { ...TUS, ...grantOf(grant), "upload-length": String(size) };
    const response = await this.#fetch("/blobs/", { method: "POST", headers }, signal);
    if (response.status !== 201) throw failed(response);
    // Wherever the host would have the rest go to, it goes to the blob that the grant names.
    if (response.headers.get("location")?.split("/").at(-1) !== hex(blob)) {
      throw new HostFailed("made another blob than the one granted", { status: 201, passing: false });
    }
  }

  async #patchAll(patches: Patches, start: number, chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    const { out, control, progress } = patches;
    const attempts = new Attempts(this.#patience, control);
    const end = start + chunk.length;
    let isKnown = true;
    for (let at = start; at < end; ) {
      await control.passed();
      try {
        if (!isKnown) {
          const offset = await this.#offset(out, control.signal);
          if (offset < start || offset > end) throw new HostFailed("lost a part of the upload: send it again", { status: 0, passing: false });
          if (offset > at) attempts.succeeded();
          at = offset;
          isKnown = true;
        } else {
          const piece = chunk.subarray(at - start, at - start + patches.size);
          await patches.timed(() => this.#patch(out, at, piece, control.signal));
          at += piece.length;
          attempts.succeeded();
        }
        progress(at);
      } catch (error) {
        isKnown = false;
        patches.shrink();
        await attempts.failed(error);
      }
    }
  }

  async #patch({ blob, grant }: Outgoing, offset: number, body: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void> {
    const headers = { ...TUS, ...grantOf(grant), "upload-offset": String(offset), "content-type": "application/offset+octet-stream" };
    const response = await this.#fetch(`/blobs/${hex(blob)}`, { method: "PATCH", headers, body }, signal);
    if (response.status !== 204) throw failed(response);
    if (response.headers.get("upload-offset") !== String(offset + body.length)) {
      throw new HostFailed("took another number of bytes than it was given", { status: 204, passing: true });
    }
  }

  /** How much the host has of it. */
  async #offset({ blob, grant }: Outgoing, signal: AbortSignal): Promise<number> {
    const response = await this.#fetch(`/blobs/${hex(blob)}`, { method: "HEAD", headers: { ...TUS, ...grantOf(grant) } }, signal);
    const offset = response.headers.get("upload-offset") ?? "";
    if (!response.ok || !/^[0-9]{1,15}$/.test(offset)) throw failed(response);
    return Number(offset);
  }

  // --- download -------------------------------------------------------------------------------------------------

  async *#range(blob: Uint8Array, offset: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const silence = new Silence(this.#patience.silence, signal);
    try {
      const headers = { range: `bytes=${offset}-${end - 1}` };
      const response = await this.#fetch(`/blobs/${hex(blob)}`, { method: "GET", headers }, silence.signal);
      if (response.status === 404 || response.status === 410) throw new Missing();
      if (response.status !== 206 || response.body === null) throw failed(response);
      if (!response.headers.get("content-range")?.startsWith(`bytes ${offset}-${end - 1}/`)) {
        throw new HostFailed("answered with another part of the blob", { status: 206, passing: false });
      }
      let left = end - offset;
      for await (const piece of piecesOf(response.body, silence)) {
        left -= piece.length;
        if (left < 0) throw new HostFailed("answered with more than was asked for", { status: 206, passing: false });
        yield piece;
      }
      if (left > 0) throw brokenOff();
    } finally {
      silence.end();
    }
  }

  // --- any request ----------------------------------------------------------------------------------------------

  async #persistently(control: Control, attempt: () => Promise<void>): Promise<void> {
    const attempts = new Attempts(this.#patience, control);
    for (;;) {
      await control.passed();
      try {
        return await attempt();
      } catch (error) {
        await attempts.failed(error);
      }
    }
  }

  async #fetch(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const timeout = AbortSignal.timeout(this.#patience.silence);
    const isStream = init.method === "GET"; // its own timeout ends with its last byte
    try {
      return await fetch(this.#origin + path, {
        ...init,
        signal: isStream ? signal : AbortSignal.any([signal, timeout]),
        cache: "no-store",
        credentials: "omit",
        redirect: "manual",
        referrerPolicy: "no-referrer",
      });
    } catch (error) {
      throw timeout.aborted ? silent() : translated(error);
    }
  }
}

/** What the requests of one upload have in common, and how large they are: so that each takes about a second. */
class Patches {
  readonly out: Outgoing;
  readonly control: Control;
  readonly progress: (arrived: number) => void;
  size = FIRST_PATCH;

  constructor(out: Outgoing, control: Control, progress: (arrived: number) => void) {
    this.out = out;
    this.control = control;
    this.progress = progress;
  }

  async timed(patch: () => Promise<void>): Promise<void> {
    const start = performance.now();
    await patch();
    const seconds = (performance.now() - start) / 1000;
    if (seconds < 1) this.size = Math.min(2 * this.size, CHUNK);
    else if (seconds > 4) this.shrink();
  }

  shrink(): void {
    this.size = Math.max(this.size / 2, SMALLEST_PATCH);
  }
}

/** Decides what is worth another try, and waits before it. */
class Attempts {
  readonly #patience: Patience;
  readonly #control: Control;
  #failures = 0;
  #since = performance.now();

  constructor(patience: Patience, control: Control) {
    this.#patience = patience;
    this.#control = control;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#since = performance.now();
  }

  /** Returns when to try again; throws the error where that would not help. */
  async failed(error: unknown): Promise<void> {
    await this.#waitOutPause();
    const isPassing = error instanceof Interrupted || (error instanceof HostFailed && error.passing);
    if (!isPassing || performance.now() - this.#since > this.#patience.inVain) throw error;
    if (error instanceof Interrupted) return;
    const { firstWait, longestWait } = this.#patience;
    await this.#control.wait(Math.min(longestWait, firstWait * 2 ** this.#failures++) * (0.75 + Math.random() / 2));
    await this.#control.passed();
  }

  async #waitOutPause(): Promise<void> {
    if (this.#control.state === "running") return;
    await this.#control.passed();
    this.succeeded(); // a pause is no failure
  }
}

/** The user paused under a request. */
class Interrupted extends Error {}

/** Aborts when nothing came for so long. */
class Silence {
  readonly #abort = new AbortController();
  readonly #limit: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly signal: AbortSignal;

  constructor(limit: number, signal: AbortSignal) {
    this.#limit = limit;
    this.signal = AbortSignal.any([signal, this.#abort.signal]);
    this.begin();
  }

  get isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  begin(): void {
    this.#timer = setTimeout(() => this.#abort.abort(), this.#limit);
  }

  /** Not for as long as nobody listens. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    this.rest();
    this.#abort.abort();
  }
}

async function* piecesOf(body: ReadableStream<Uint8Array>, silence: Silence): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw silence.isOver ? silent() : translated(error);
      });
      silence.rest();
      if (done) return;
      yield value;
      silence.begin();
    }
  } finally {
    await reader.cancel().catch(() => undefined); // of a connection that is gone anyway
  }
}

const grantOf = (grant: Outgoing["grant"]): { "strongroom-grant": string } => ({ "strongroom-grant": grantHeader(grant) });

const silent = (): HostFailed => new HostFailed("did not answer in time", { status: 0, passing: true });
const brokenOff = (): HostFailed => new HostFailed("broke the connection off", { status: 0, passing: true });

function failed({ status, type }: Response): HostFailed {
  if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
    return new HostFailed("redirects elsewhere, which is not followed", { status, passing: false });
  }
  return new HostFailed(WORDS[status] ?? "failed", { status, passing: status >= 400 && !FINAL.has(status) });
}

/** A failure of `fetch`, in words. Which one it was, browsers don't say. */
function translated(error: unknown): unknown {
  if (error instanceof DOMException && error.name === "AbortError") return new Interrupted("paused or cancelled");
  if (error instanceof TypeError) return new HostFailed("can't be reached, or broke the connection off", { status: 0, passing: true });
  return error;
}
