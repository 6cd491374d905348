/** What a kept file is answered with. Its digest covers its bytes alone: of headers, the server's word counts for nothing. */

/** RULES 26. The same as in `client/page.py`, with which `strongroom verify-page` compares. */
export const CSP =
  "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' blob:; " +
  "style-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types strongroom-worker";

/** Of what opens a stranger's file: apart from the page, and without a network. */
export const PREVIEW_CSP =
  "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; " +
  "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; " +
  "trusted-types 'none'";

const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json",
  webmanifest: "application/manifest+json",
  svg: "image/svg+xml",
  png: "image/png",
};

/** `path` as it is asked for: a document's ends with a slash. */
export function headersOf(path: string): Readonly<Record<string, string>> {
  const type = path.endsWith("/") ? "text/html; charset=utf-8" : TYPES[path.slice(path.lastIndexOf(".") + 1)];
  return {
    "content-type": type ?? "application/octet-stream",
    "content-security-policy": path.startsWith("/preview/") ? PREVIEW_CSP : CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin-allow-popups", // sign-in opens a popup, and must hear from it
    "cross-origin-resource-policy": "same-origin",
  };
}

/** These bytes, with headers of the worker's own. */
export const dressed = (path: string, { body }: Response): Response => new Response(body, { headers: headersOf(path) });
