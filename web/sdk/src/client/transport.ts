/** HTTP that carries opaque bytes to a server's three paths. Nothing it says is believed: it can fail, not lie. */

import { type Bytes, concat } from "../protocol/bytes.js";
import { ErrorNumber, type StrongroomError, Unavailable, Untrusted, fromNumber } from "../protocol/errors.js";
import { MAX_EVIDENCE, MAX_FRAME, MAX_HELLO } from "../protocol/limits.js";
import { BadInput, Unreachable } from "./errors.js";

/** For one exchange in all; a server's front gives up after 30. */
const CALL_SECONDS = 45;
/** For the evidence, which a server has at hand: one that is silent should not be waited for as for a commit. */
const EVIDENCE_SECONDS = 10;

const EVIDENCE_PATH = "/v1/evidence";
const SESSION_PATH = "/v1/session";
const FRAME_PATH = "/v1/frame";

const NETWORK = "said by the network, not by the enclave";

/**
 * What a front or a door may say in clear. Everything else an enclave says inside the session only, so that no network
 * can invent a refusal, a conflict or a missing ticket.
 */
const IN_CLEAR: ReadonlySet<number> = new Set([
  ErrorNumber.MALFORMED,
  ErrorNumber.TOO_LARGE,
  ErrorNumber.UNSUPPORTED,
  ErrorNumber.UNKNOWN_SESSION,
  ErrorNumber.REPLAYED,
  ErrorNumber.STALE_KEY,
  ErrorNumber.INTEGRITY,
  ErrorNumber.EVIDENCE,
  ErrorNumber.CLOCK,
  ...Object.values(ErrorNumber).filter((number) => number >= 400),
]);

/** The answer was an error number in clear. Anybody on the way may have written it. */
export class Unsealed extends Error {
  readonly number: number;

  constructor(number: number) {
    super(`error ${number} in clear`);
    this.number = number;
  }

  /** What to tell the user; never `Refused`, since only an enclave can refuse. */
  asError(): StrongroomError {
    if (IN_CLEAR.has(this.number)) return fromNumber(this.number, NETWORK);
    return new Unavailable(ErrorNumber.INTERNAL, `error ${this.number}, ${NETWORK}`);
  }
}

/**
 * The URL of a server without a slash at its end: absolute, or a path of the page's own origin such as `/vault/`.
 * Throws `BadInput`.
 */
export function verifyUrl(url: string): string {
  const hint = "write it as https://vault.example.com, http://127.0.0.1:8400 on this machine, or /vault/ on this site";
  const isPath = /^\/(?!\/)/.test(url);
  if (!/^[!-~]*$/.test(url) || /["<>\\^`{|}?#]/.test(url)) throw new BadInput("that is not the URL of a server", hint);
  if (!isPath) {
    const parts = URL.canParse(url) ? new URL(url) : undefined;
    if (parts === undefined || !["http:", "https:"].includes(parts.protocol) || parts.username !== "" || parts.password !== "") {
      throw new BadInput("that is not the URL of a server", hint);
    }
  }
  return url.replace(/\/+$/, "");
}

/** Whether a URL names this machine by itself. */
export function isLoopback(url: URL): boolean {
  return url.hostname === "localhost" || url.hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(url.hostname);
}

/** Calls to the server at `url`. */
export class Transport {
  readonly url: string;

  constructor(url: string) {
    this.url = verifyUrl(url);
  }

  /** GET evidence. */
  evidence(): Promise<Bytes> {
    return this.#call("GET", EVIDENCE_PATH, null, { limit: MAX_EVIDENCE, seconds: EVIDENCE_SECONDS });
  }

  /** POST a sealed hello; the sealed answer. */
  hello(hello: Bytes): Promise<Bytes> {
    return this.#call("POST", SESSION_PATH, hello, { limit: MAX_HELLO, seconds: CALL_SECONDS });
  }

  /** POST a frame; the frame that answers it. */
  frame(frame: Bytes): Promise<Bytes> {
    return this.#call("POST", FRAME_PATH, frame, { limit: MAX_FRAME, seconds: CALL_SECONDS });
  }

  /** Throws `Unsealed`, `Unreachable`, and `Untrusted` INTEGRITY for an answer of more than `limit` bytes. */
  async #call(
    method: "GET" | "POST",
    path: string,
    body: Bytes | null,
    bounds: { readonly limit: number; readonly seconds: number },
  ): Promise<Bytes> {
    const signal = AbortSignal.timeout(1000 * bounds.seconds);
    const headers = body === null ? {} : { "content-type": "application/octet-stream" };
    try {
      const response = await fetch(this.url + path, {
        method,
        body,
        headers,
        signal,
        redirect: "manual", // a redirect would be the host's choice of whom we talk to
        credentials: "omit",
        cache: "no-store",
        referrerPolicy: "no-referrer",
      });
      if (response.status === 200) return await read(response, bounds.limit);
      throw this.#failure(response, await read(response, MAX_EVIDENCE));
    } catch (error) {
      if (error instanceof Unsealed || error instanceof Unreachable || error instanceof Untrusted) throw error;
      if (signal.aborted) throw this.#unreachable("did not answer in time", { broken: false });
      if (error instanceof TypeError) throw this.#unreachable("can't be reached, or broke the connection off", { broken: true });
      throw error;
    }
  }

  #failure(response: Response, body: Bytes): Unsealed | Unreachable {
    const number = body.length === 2 ? ((body[0] ?? 0) << 8) | (body[1] ?? 0) : undefined;
    if (number !== undefined && response.headers.get("strongroom-error") === String(number)) return new Unsealed(number);
    const redirects = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
    const what = redirects ? "redirects elsewhere, which is not followed" : `is no Strongroom server (HTTP status ${response.status})`;
    return this.#unreachable(what, { broken: false });
  }

  #unreachable(what: string, how: { readonly broken: boolean }): Unreachable {
    return new Unreachable(`${this.url || "this site"} ${what}`, how);
  }
}

/**
 * The evidence of the server at `url`, appraised by nobody: for who asks before they know their policy, to wait once.
 * Throws `StrongroomError`.
 */
export async function fetchEvidence(url: string): Promise<Bytes> {
  try {
    return await new Transport(url).evidence();
  } catch (error) {
    throw error instanceof Unsealed ? error.asError() : error;
  }
}

async function read(response: Response, limit: number): Promise<Bytes> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (const reader = response.body?.getReader(); reader !== undefined; ) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      await reader.cancel();
      throw new Untrusted(ErrorNumber.INTEGRITY, `an answer of more than ${limit} bytes, which no enclave gives`);
    }
    pieces.push(value);
  }
  return concat(...pieces);
}
