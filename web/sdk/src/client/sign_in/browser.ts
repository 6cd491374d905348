/** Where a browser is sent to sign in (RFC 6749 §4.1.1, RFC 7636, RFC 9126), and what must hold before it is. */

import { base64url, utf8 } from "../../protocol/bytes.js";
import { ErrorNumber, Untrusted } from "../../protocol/errors.js";
import type { Audience, Begun } from "../../protocol/messages.js";
import { sha256 } from "../../protocol/primitives.js";
import type { ShownOidc } from "../results.js";
import { isLoopback } from "../transport.js";

/** The registration of web pages with this provider, if there is one (RULES 11). */
export const webAudience = (method: ShownOidc): Audience | undefined => method.audiences.find((audience) => audience.channel === "web");

/** What the Authenticator says must be what the Vault described, and nothing but a web page may be opened. */
export function verifyBegun(begun: Begun, method: ShownOidc, audience: Audience): void {
  if (begun.issuer !== method.issuer || begun.client_id !== audience.client_id || begun.redirect_uri !== audience.redirect_uri) {
    throw new Untrusted(ErrorNumber.AUTHENTICATOR_UNTRUSTED, "it would sign in by another method than the Vault named");
  }
  verifyBrowserUrl(begun.authorization_endpoint);
}

/**
 * Throws `Untrusted` unless the page is on the issuer's own origin.
 *
 * A provider may name anybody's page as its own. Its user then signs in with Microsoft, say, whose page is genuine, and the
 * code goes with its verifier to whoever runs the issuer (mix-up, RFC 9700 §4.4). The Authenticator can't know better.
 */
export function verifyOwnPage(url: string, issuer: string): void {
  const page = new URL(url).origin;
  if (URL.canParse(issuer) && new URL(issuer).origin === page) return;
  throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, `${issuer} has its users sign in at ${page}, and nobody has approved of that`);
}

/** S256 of RFC 7636. */
export const codeChallenge = async (verifier: string): Promise<string> => base64url(await sha256(utf8(verifier)));

/** The whole request, carried by the browser. `prompt` as in OpenID Connect, or empty. */
export async function authorizationUrl(
  begun: Begun,
  own: { readonly state: string; readonly nonce: string; readonly verifier: string; readonly prompt: string },
): Promise<string> {
  return at(begun, {
    response_type: "code",
    client_id: begun.client_id,
    redirect_uri: begun.redirect_uri,
    scope: begun.scope,
    state: own.state,
    nonce: own.nonce,
    code_challenge: await codeChallenge(own.verifier),
    code_challenge_method: "S256",
    ...(own.prompt === "" ? {} : { prompt: own.prompt }),
    ...(begun.acr_values === "" ? {} : { acr_values: begun.acr_values }),
    ...(begun.max_age === 0 ? {} : { max_age: String(begun.max_age) }),
  });
}

/** Of a request that the Authenticator has pushed: the browser carries nothing that could be changed on the way. */
export const pushedUrl = (begun: Begun, requestUri: string): string => at(begun, { client_id: begun.client_id, request_uri: requestUri });

function at({ authorization_endpoint: endpoint }: Begun, query: Readonly<Record<string, string>>): string {
  return `${endpoint}${endpoint.includes("?") ? "&" : "?"}${new URLSearchParams(query)}`;
}

/**
 * Throws `Untrusted` unless this is a page on the web, or on this machine: no script, no program.
 *
 * The provider is a depositor's choice. Going where it says must not start anything else.
 */
export function verifyBrowserUrl(url: string): void {
  const isPlain = /^https?:\/\/[^/?@]+(?:[/?]|$)/.test(url) && /^[!-~]+$/.test(url) && !/["<>\\^`{|}#]/.test(url);
  const parts = isPlain && URL.canParse(url) ? new URL(url) : undefined;
  if (parts === undefined || (parts.protocol !== "https:" && !isLoopback(parts))) {
    throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, "the sign-in provider names an address that is no web page");
  }
}
