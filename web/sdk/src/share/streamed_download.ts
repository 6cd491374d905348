/**
 * A download that a service worker answers, for browsers in which a page can't write files: the browser saves what it
 * takes for a response of the server, piece by piece, and no piece stays in memory.
 *
 * The page announces the download with a port, loads `/download/ID` in a hidden frame, and gives pieces as they are asked
 * for. Of an error the browser hears too: it marks the download as failed and keeps nothing under the name.
 */

import type { Bytes } from "../protocol/bytes.js";
import { hex } from "../protocol/bytes.js";
import { randomBytes } from "../protocol/primitives.js";
import { Cancelled, HostFailed } from "./errors.js";

const PATH = "/download/";
/** Milliseconds. A worker that hears nothing for half a minute is stopped, download or not. */
const PULSE = 10_000;
const START = 15_000;

/** Page to worker, with a port. */
interface Announcement {
  readonly type: "strongroom download";
  readonly id: string;
  readonly name: string;
  readonly size: number;
}

/** Worker to page, over the port. */
type Ask = "ready" | "next" | "cancelled";
/** Page to worker, over the port: a piece, or how it ended. */
type Give = Bytes | "end" | "failed";

/** The worker's side. Both functions answer false or undefined for what does not concern them. */
export class StreamedDownloads {
  readonly #waiting = new Map<string, { readonly of: Announcement; readonly port: MessagePort }>();

  /** To be called with each message that the worker gets. */
  announced(data: unknown, ports: readonly MessagePort[]): boolean {
    const [port] = ports;
    if (!isAnnouncement(data) || port === undefined) return false;
    this.#waiting.set(data.id, { of: data, port });
    port.postMessage("ready" satisfies Ask);
    return true;
  }

  /** To be called with the URL of each request that the worker is asked for. */
  answer(url: string): Response | undefined {
    const { pathname } = new URL(url);
    if (!pathname.startsWith(PATH)) return undefined;
    const id = pathname.slice(PATH.length);
    const found = this.#waiting.get(id);
    this.#waiting.delete(id); // each is answered once
    if (found === undefined) return new Response("this download is over\n", { status: 404, headers: { "content-type": "text/plain" } });
    return new Response(streamFrom(found.port), { headers: headersOf(found.of) });
  }
}

/** Whether there is a worker that answers. */
export function canStream(): boolean {
  return globalThis.navigator?.serviceWorker?.controller != null;
}

/** The page's side: have the browser save these pieces, `size` bytes in all, under this name. */
export async function streamToDisk(name: string, size: number, pieces: AsyncIterable<Bytes>): Promise<void> {
  const worker = navigator.serviceWorker.controller;
  if (worker === null) throw new HostFailed("gave no service worker", { status: 0, passing: true });
  const id = hex(randomBytes(16));
  const { port1: port, port2 } = new MessageChannel();
  const asks = new Asks(port);
  const pulse = setInterval(() => worker.postMessage({ type: "strongroom pulse" }), PULSE);
  const source = pieces[Symbol.asyncIterator]();
  const frame = document.createElement("iframe");
  frame.hidden = true;
  try {
    worker.postMessage({ type: "strongroom download", id, name, size } satisfies Announcement, [port2]);
    if ((await asks.next(START)) !== "ready") throw new Cancelled();
    frame.src = PATH + id;
    document.body.append(frame);
    let patience = START; // until the browser has begun; then its user may take their time
    for (;;) {
      if ((await asks.next(patience)) === "cancelled") throw new Cancelled();
      patience = Infinity;
      const { done, value } = await source.next();
      if (done === true) break;
      port.postMessage(value satisfies Give, [value.buffer]);
    }
    port.postMessage("end" satisfies Give);
  } catch (error) {
    port.postMessage("failed" satisfies Give);
    throw error;
  } finally {
    clearInterval(pulse);
    await source.return?.();
    // Both for a while: the browser may still be reading.
    setTimeout(() => {
      frame.remove();
      port.close();
    }, START);
  }
}

/** What the worker asks for, one behind the other. */
class Asks {
  readonly #come: Ask[] = [];
  #wake: () => void = () => undefined;

  constructor(port: MessagePort) {
    port.onmessage = ({ data }: MessageEvent<Ask>): void => {
      this.#come.push(data);
      this.#wake();
    };
  }

  async next(patience: number): Promise<Ask> {
    for (;;) {
      const ask = this.#come.shift();
      if (ask !== undefined) return ask;
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        if (Number.isFinite(patience)) setTimeout(() => reject(new HostFailed("gave a service worker that does not answer", { status: 0, passing: true })), patience);
      });
    }
  }
}

function streamFrom(port: MessagePort): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>(
    {
      async pull(controller): Promise<void> {
        const given = new Promise<Give>((resolve) => {
          port.onmessage = ({ data }: MessageEvent<Give>): void => resolve(data);
        });
        port.postMessage("next" satisfies Ask);
        const piece = await given;
        if (piece === "end") controller.close();
        else if (piece === "failed") controller.error(new TypeError("the download was broken off: the files are not those that were sent, or can't be had"));
        else controller.enqueue(piece);
      },
      cancel(): void {
        port.postMessage("cancelled" satisfies Ask);
      },
    },
    { highWaterMark: 0 },
  );
}

/** No browser shows this as a document; were one to, it could do nothing (RULES 26). */
function headersOf({ name, size }: Announcement): Record<string, string> {
  const escaped = encodeURIComponent(name).replaceAll(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  return {
    "content-type": "application/octet-stream",
    "content-length": String(size),
    "content-disposition": `attachment; filename*=UTF-8''${escaped}`,
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  };
}

function isAnnouncement(data: unknown): data is Announcement {
  if (typeof data !== "object" || data === null) return false;
  const { type, id, name, size } = data as Partial<Record<keyof Announcement, unknown>>;
  return type === "strongroom download" && typeof id === "string" && /^[0-9a-f]{32}$/.test(id) && typeof name === "string" && Number.isSafeInteger(size);
}
