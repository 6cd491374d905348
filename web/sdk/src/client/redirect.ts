/**
 * The redirect of a web sign-in, caught by a static page of this origin (RULES 26).
 *
 * Before the user leaves, what is needed to go on is kept under the random `state` of this sign-in. The callback page
 * hands the provider's words over only if their state is one of those kept; what they are worth is found out by
 * `verifyRedirect`, by whoever began. Its `iss` must be the provider that was asked (RFC 9207), or another provider that
 * the user also deals with could have this one's code handed to it (mix-up).
 */

import { utf8 } from "../protocol/bytes.js";
import { ErrorNumber, Refused, Untrusted } from "../protocol/errors.js";
import { equal } from "../protocol/primitives.js";
import { BadInput } from "./errors.js";
import { IndexedShelf, type Shelf } from "./storage.js";

/** Name of the BroadcastChannel on which the callback page says that a redirect is kept. */
const CHANNEL = "strongroom-sign-in";
/** Seconds for the user to finish at the provider. */
export const USER_SECONDS = 300;
/** Characters. */
const MAX_CODE = 4096;
const MAX_QUERY = 16_384;
const MAX_PARAMETERS = 32;

/** What the provider sent the user back with, believed by nobody yet. */
export interface RedirectResult {
  /** As it stands in the callback's URL, with or without the question mark. */
  readonly untrustedQuery: string;
}

/** How the user is brought to a provider and back. */
export interface SignIn {
  /** Bring the user to `url`, and wait until the callback page at `redirectUri` was called with this `state`. */
  authorize(url: string, state: string, redirectUri: string): Promise<RedirectResult>;
  /** Where the callback page sends the user on to, if this page is gone by then. */
  readonly returnTo?: string | null;
}

/** The redirect that one sign-in waits for. */
export interface Expected {
  readonly state: string;
  readonly issuer: string;
  readonly issRequired: boolean;
}

/**
 * The authorization code in a redirect.
 *
 * Throws `Untrusted` TOKEN_UNTRUSTED for another state or issuer, and `Refused` SIGN_IN_REFUSED for what the provider
 * calls an error.
 */
export function verifyRedirect({ untrustedQuery }: RedirectResult, expected: Expected): string {
  const query = parsedQuery(untrustedQuery);
  if (query === undefined || !equal(utf8(query.get("state") ?? ""), utf8(expected.state))) {
    throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, "the redirect belongs to another sign-in");
  }
  const issuer = query.get("iss");
  if (issuer === undefined && expected.issRequired) {
    throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, "the redirect does not name the provider that it is from");
  }
  if (issuer !== undefined && issuer !== expected.issuer) {
    throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, "the redirect is from another provider than the one asked");
  }
  const error = query.get("error");
  if (error !== undefined) {
    throw new Refused(ErrorNumber.SIGN_IN_REFUSED, /^[a-z_]{1,64}$/.test(error) ? error : "an error of its own");
  }
  const code = query.get("code") ?? "";
  if (code.length < 1 || code.length > MAX_CODE) throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, "the redirect has no code");
  return code;
}

/** Parameters by name; nothing if one stands there twice, as two readers might then read two things. */
function parsedQuery(untrusted: string): ReadonlyMap<string, string> | undefined {
  if (untrusted.length > MAX_QUERY) return undefined;
  const pairs = [...new URLSearchParams(untrusted)];
  const query = new Map(pairs);
  return pairs.length <= MAX_PARAMETERS && query.size === pairs.length ? query : undefined;
}

// --- what is kept meanwhile -------------------------------------------------------------------------------------

/** A sign-in that is under way. `details` are whoever's who began it. */
export interface Pending {
  readonly details: unknown;
  /** Unix milliseconds. */
  readonly startedAt: number;
  readonly returnTo: string | null;
  /** Set by the callback page. */
  readonly untrustedQuery: string | null;
}

export const pendingShelf = (): Shelf => new IndexedShelf("sign-ins");

/** What is kept under `state`, unless it has aged. */
export async function pendingAt(shelf: Shelf, state: string): Promise<Pending | undefined> {
  const kept = await shelf.get(state);
  if (isPending(kept) && Date.now() - kept.startedAt < 1000 * USER_SECONDS && kept.startedAt <= Date.now()) return kept;
  await shelf.delete(state);
  return undefined;
}

function isPending(value: unknown): value is Pending {
  return typeof value === "object" && value !== null && "startedAt" in value && typeof value.startedAt === "number";
}

/** What became of a call of the callback page. */
export type Delivered =
  | { readonly to: "nobody" }
  /** The page that began is still open: this window can be closed. */
  | { readonly to: "opener" }
  /** Go on there: an address of this origin. */
  | { readonly to: "page"; readonly url: string };

/**
 * For the callback page: keep what the provider said for whoever began the sign-in. The page then closes itself or goes
 * on to `url`, with `location.replace`: the code must not stay in the history.
 */
export async function deliverRedirect(untrustedQuery: string, shelf: Shelf = pendingShelf()): Promise<Delivered> {
  const state = parsedQuery(untrustedQuery)?.get("state");
  const pending = state === undefined ? undefined : await pendingAt(shelf, state);
  if (state === undefined || pending === undefined) return { to: "nobody" };
  await shelf.put(state, { ...pending, untrustedQuery });
  if (pending.returnTo !== null) return { to: "page", url: pending.returnTo };
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(state);
  channel.close();
  return { to: "opener" };
}

// --- in a browser -----------------------------------------------------------------------------------------------

/**
 * In a window of its own; the page stays. Browsers let pages open windows only while a click is being handled: call
 * `prepare` there, before anything else is awaited.
 */
export class PopupSignIn implements SignIn {
  readonly returnTo = null;
  readonly #shelf: Shelf;
  #window: Window | null = null;
  #cancel: (() => void) | undefined;

  constructor(shelf: Shelf = pendingShelf()) {
    this.#shelf = shelf;
  }

  /** Open the window now, to be used by the next `authorize`. Throws `BadInput` when the browser does not let us. */
  prepare(): void {
    if (this.#window !== null && !this.#window.closed) return;
    this.#window = window.open("about:blank", "_blank", "popup,width=520,height=720");
    if (this.#window === null) throw new BadInput("the browser opened no window to sign in", "allow pop-ups of this page");
    this.#window.opener = null; // or the provider's page could send this one elsewhere
  }

  /** Give up: `authorize` throws `Refused` SIGN_IN_PENDING. */
  cancel(): void {
    this.#window?.close();
    this.#window = null;
    this.#cancel?.();
  }

  async authorize(url: string, state: string, redirectUri: string): Promise<RedirectResult> {
    verifyReturnsHere(redirectUri);
    this.prepare();
    const channel = new BroadcastChannel(CHANNEL);
    try {
      const called = new Promise<void>((resolve, reject) => {
        const giveUp = (): void => reject(new Refused(ErrorNumber.SIGN_IN_PENDING, "not finished in time"));
        this.#cancel = giveUp;
        channel.onmessage = ({ data }) => (data === state ? resolve() : undefined);
        setTimeout(giveUp, 1000 * USER_SECONDS);
      });
      this.#window?.location.replace(url);
      await called;
      const untrustedQuery = (await pendingAt(this.#shelf, state))?.untrustedQuery;
      if (untrustedQuery == null) throw new Refused(ErrorNumber.SIGN_IN_PENDING, "not finished in time");
      return { untrustedQuery };
    } finally {
      channel.close();
      this.#window = null;
      this.#cancel = undefined;
    }
  }
}

/** In this window, which the page leaves: it goes on with `Vault.resumeSignIn` when the user is back. */
export class RedirectSignIn implements SignIn {
  get returnTo(): string {
    return location.href;
  }

  authorize(url: string, _state: string, redirectUri: string): Promise<RedirectResult> {
    verifyReturnsHere(redirectUri);
    location.assign(url);
    return new Promise(() => undefined); // the page ends before
  }
}

/** Otherwise the user would come back to somebody else's page, and this one wait for ever. */
function verifyReturnsHere(back: string): void {
  if (URL.canParse(back) && new URL(back).origin === location.origin) return;
  throw new BadInput("this sign-in returns to another page than this one", "open the address that the message came with");
}
