/** "Keep this page": the browser goes on with the bytes it was shown, and says so when the server offers others.
 *
 * Here files are fetched, compared with their digests and put away; the service worker serves them. What this can't do:
 * browsers fetch the worker's own script from the server at times, past every worker, so a server that changes that too
 * is not stopped by it. It can't happen unseen while a page is open, and `strongroom verify-page` sees it from outside.
 */

import { Cell } from "../cell.js";
import { KEPT, type Kept } from "../worker/kept.js";
import { fetchPageList, sha256Hex, type PageList } from "./page_digest.js";
import { startWorker } from "./worker.js";

/** Digest of the page that is kept; null if none is. */
export const installed = new Cell<string | null>(null);
/** The server offers another page than the kept one. */
export const change = new Cell<{ readonly kept: string; readonly offered: string } | null>(null);

let offered: PageList | null = null;

export const installable = (): boolean => "serviceWorker" in navigator && isSecureContext;

/** Keeps the files that the server delivers now, if each is the one listed. */
export async function keepPage(): Promise<void> {
  const list = await fetchPageList();
  if (list === null) return;
  await putAway(list);
  await startWorker();
  installed.value = list.digest;
  await navigator.storage?.persist?.();
}

export async function releasePage(): Promise<void> {
  for (const name of await caches.keys()) if (name.startsWith(KEPT)) await caches.delete(name);
  installed.value = null;
  change.value = null;
}

/** At every start: is a page kept, and is it still what the server offers? */
export async function followKept(): Promise<void> {
  if (!installable()) return;
  const kept = await readKept();
  if (kept === null) return;
  installed.value = kept.digest;
  const registration = await navigator.serviceWorker.getRegistration("/");
  registration?.addEventListener("updatefound", () => void compare(kept));
  await compare(kept);
}

async function compare(kept: Kept): Promise<void> {
  try {
    offered = await fetchPageList();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return; // offline: nothing is offered
  }
  const digest = offered?.digest ?? "";
  change.value = digest === kept.digest ? null : { kept: kept.digest, offered: digest };
}

export function dismissChange(): void {
  change.value = null;
}

export async function acceptChange(): Promise<void> {
  if (offered === null) return;
  await putAway(offered);
  location.reload();
}

async function readKept(): Promise<Kept | null> {
  const answer = await (await caches.open(KEPT)).match("/kept.json");
  return answer === undefined ? null : ((await answer.json()) as Kept); // written by `putAway`, and by nobody else
}

/** Fetches every file past the browser's cache and the worker. One wrong byte, and nothing is put away. */
async function putAway(list: PageList): Promise<void> {
  const name = `${KEPT} ${list.digest}`;
  const cache = await caches.open(name);
  for (const [path, digest] of Object.entries(list.files)) {
    const url = `/${path.replace(/(^|\/)index\.html$/, "$1")}`;
    const answer = await fetch(url, { cache: "reload", redirect: "error", headers: { "strongroom-keep": "1" } });
    const bytes = new Uint8Array(await answer.clone().arrayBuffer());
    if (!answer.ok || (await sha256Hex(bytes)) !== digest) {
      await caches.delete(name);
      throw new Error(`${path} is not the file that the server's list names`);
    }
    await cache.put(url, answer);
  }
  const kept: Kept = { digest: list.digest, cache: name, paths: Object.keys(list.files) };
  const shelf = await caches.open(KEPT);
  await shelf.put("/kept.json", new Response(JSON.stringify(kept), { headers: { "content-type": "application/json" } }));
  for (const other of await caches.keys()) if (other.startsWith(`${KEPT} `) && other !== name) await caches.delete(other);
}
