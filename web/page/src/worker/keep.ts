/** Serving a kept page: what is in the cache is what is shown, whatever the server offers by now. */

import { dressed } from "./headers.js";
import { KEPT, type Kept } from "./kept.js";

// what is asked of enclaves, of the blob store, or about the page itself is never served from here
const LIVE = /^\/(vault|authenticator|blobs|abuse|health|trust\.json|page\.json|sw\.js)(\/|$)/;

/** Whether a request could be for one of the page's files. */
export function isForPage(request: Request): boolean {
  const { origin, pathname } = new URL(request.url);
  return request.method === "GET" && origin === self.location.origin && !LIVE.test(pathname) && !request.headers.has("strongroom-keep");
}

/** The kept file, or the server's if no page is kept. A kept page gets no file from the server that it was not kept with. */
export async function serve(request: Request): Promise<Response> {
  const shelf = await caches.open(KEPT);
  const found = await shelf.match("/kept.json");
  if (found === undefined) return fetch(request);
  const kept = (await found.json()) as Kept; // written by this page's `putAway` alone
  const { pathname } = new URL(request.url);
  const path = pathname === "/callback" ? "/callback/" : pathname;
  const file = await (await caches.open(kept.cache)).match(path, { ignoreSearch: true, ignoreVary: true });
  if (file !== undefined) return dressed(path, file);
  return new Response("this page is kept as it was, and has no such file\n", { status: 404, headers: { "content-type": "text/plain" } });
}
