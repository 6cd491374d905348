/**
 * Where a share lives: links, and the site statement `/trust.json` (`spec/share.md`). No network.
 *
 * Whoever writes a site statement decides which Vault is trusted and who "bob@example.com" is. A page shares its trust with
 * its host, so this one can do no more than show the statement's digest, and notice when it is another one than before.
 */

import { parseTrustPolicy } from "../attestation/policy.js";
import { BadInput } from "../client/errors.js";
import { type KnownMethod, knownMethod } from "../client/policy.js";
import { isLoopback, verifyUrl } from "../client/transport.js";
import { type Bytes, hex, unbase64url, unhex } from "../protocol/bytes.js";
import { encode } from "../protocol/codec.js";
import { Misuse, Untrusted } from "../protocol/errors.js";
import { MAX_AUTHENTICATORS } from "../protocol/limits.js";
import { TrustPolicy } from "../protocol/messages.js";
import { Domain, digest, equal, sha256 } from "../protocol/primitives.js";
import { Unreadable } from "./errors.js";
import { type Shape, anything, integer, listOf, object, oneOf, readJson, text } from "./shapes.js";

export const MAX_SITE_STATEMENT = 256 * 1024;
/** One is left for passkeys. */
const MAX_SITE_METHODS = 15;
const MAX_DAYS = 3_650;
const WHAT = "the site's statement";

/** What a site says of itself, parsed; and SHA-256 of how it said so. */
export interface Site {
  /** Scheme, host and port. */
  readonly origin: string;
  /** 32 bytes. */
  readonly digest: Bytes;
  readonly name: string;
  readonly policy: TrustPolicy;
  /** 32 bytes, over the policy alone. */
  readonly policyDigest: Bytes;
  readonly vault: { readonly url: string };
  /** By the URLs that instructions name. Page and host reach number i at `/authenticator/i/`. */
  readonly authenticators: readonly { readonly url: string }[];
  readonly namespace: string;
  readonly methods: readonly KnownMethod[];
  readonly maxBytes: number;
  readonly expiryDays: { readonly default: number; readonly max: number };
  readonly contact: string;
}

/** Which record, and at which site its blob lies. Never a key. */
export interface Link {
  readonly origin: string;
  readonly kind: "share" | "request";
  readonly id: Bytes;
}

interface Statement {
  readonly format: "strongroom site 1";
  readonly name: string;
  readonly policy: unknown;
  readonly vault: { readonly url: string };
  readonly authenticators: readonly { readonly url: string }[];
  readonly namespace: string;
  readonly methods: readonly string[];
  readonly max_bytes: number;
  readonly expiry_days: { readonly default: number; readonly max: number };
  readonly contact: string;
}

/** What can be printed on one line, as the Python side says it. */
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]*$/u;
const server: Shape<{ readonly url: string }> = object({ url: text(0, 512) });

const statement: Shape<Statement> = object({
  format: oneOf("strongroom site 1"),
  name: text(1, 200, PRINTABLE),
  policy: anything,
  vault: server,
  authenticators: listOf(server, 1, MAX_AUTHENTICATORS),
  namespace: text(1, 256, PRINTABLE),
  methods: listOf(text(1, 24 * 1024), 1, MAX_SITE_METHODS),
  max_bytes: integer(),
  expiry_days: object({ default: integer(1, MAX_DAYS), max: integer(1, MAX_DAYS) }),
  contact: text(1, 400, /^(?:mailto:|https:\/\/)[!-~]{1,300}$/),
});

/** The statement of the site at `origin`, by default the page's own. Throws `Unreadable`. */
export async function loadSite(untrusted: Bytes, origin: string = globalThis.location.origin): Promise<Site> {
  const said = readJson(statement, untrusted, { limit: MAX_SITE_STATEMENT, what: WHAT });
  if (said.expiry_days.default > said.expiry_days.max) throw new Unreadable(`${WHAT} contradicts itself`);
  try {
    const policy = await parseTrustPolicy(said.policy);
    return {
      origin,
      digest: await sha256(untrusted),
      name: said.name,
      policy,
      policyDigest: await digest(Domain.POLICY, encode(TrustPolicy, policy)),
      vault: { url: absolute(said.vault.url) },
      authenticators: said.authenticators.map(({ url }) => ({ url: absolute(url) })),
      namespace: said.namespace,
      methods: await Promise.all(said.methods.map(publicMethod)),
      maxBytes: said.max_bytes,
      expiryDays: said.expiry_days,
      contact: said.contact,
    };
  } catch (error) {
    if (!(error instanceof Misuse || error instanceof Untrusted)) throw error;
    throw error instanceof Unreadable ? error : new Unreadable(`${WHAT}: ${error.error}`);
  }
}

/** Throws `Unreadable` when the statement is another one than was seen before, of which `pinned` is the digest. */
export function verifyPinned(site: Site, pinned: Bytes): void {
  if (!equal(site.digest, pinned)) throw new Unreadable(`${WHAT} is not the one of your last visit: compare ${hex(site.digest)} with what its operator publishes`);
}

/** Throws `BadInput` for what is not exactly a link. */
export function parseLink(link: string): Link {
  const found = /^(https?:\/\/[^/#?]+)\/#\/([sr])\/([0-9a-f]{32})$/.exec(link);
  const origin = found?.[1] !== undefined && URL.canParse(found[1]) ? new URL(found[1]) : undefined;
  if (found === null || origin === undefined || origin.origin !== found[1] || !(origin.protocol === "https:" || isLoopback(origin))) {
    throw new BadInput("that is not the link of a share", "it looks like https://share.example.com/#/s/ and 32 hex digits");
  }
  return { origin: origin.origin, kind: found[2] === "s" ? "share" : "request", id: unhex(found[3] ?? "") };
}

/** The link as text. The id stands in the fragment, which browsers don't send: no server's log sees it. */
export function formatLink({ origin, kind, id }: Link): string {
  return `${origin}/#/${kind === "share" ? "s" : "r"}/${hex(id)}`;
}

async function publicMethod(encoded: string): Promise<KnownMethod> {
  const known = await knownMethod(unbase64url(encoded));
  if (!isForTheWorld(known.method)) {
    throw new Unreadable(`${WHAT}: a sign-in method has a secret, or is none for people in general`);
  }
  return known;
}

/** Whether its definition holds nothing that the whole world may not read, and people in general can sign in so. */
function isForTheWorld(method: KnownMethod["method"]): boolean {
  switch (method.type) {
    case "oidc":
      return method.secret.client_secret === "";
    case "directory":
      return true;
    case "email-code":
      return method.secret.user === "" && method.secret.password === "";
    default:
      return false;
  }
}

function absolute(url: string): string {
  const verified = verifyUrl(url);
  if (!URL.canParse(verified)) throw new Unreadable(`${WHAT} names a server by a path`);
  return verified;
}
