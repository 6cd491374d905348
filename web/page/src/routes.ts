/** Places of the page. They stand in the fragment, which a browser never sends: the host's log sees no share's id. */

import { Cell } from "./cell.js";

export type Route =
  | { readonly view: "send" | "shares" | "request" | "passkey" | "verify" | "lost" }
  | { readonly view: "receive" | "answer" | "share"; readonly id: string };

const PLAIN: Readonly<Record<string, "send" | "shares" | "request" | "passkey" | "verify">> = {
  "": "send",
  "#": "send",
  "#/": "send",
  "#/shares": "shares",
  "#/request": "request",
  "#/passkey": "passkey",
  "#/verify": "verify",
};
const WITH_ID: Readonly<Record<string, "receive" | "answer" | "share">> = { s: "receive", r: "answer", shares: "share" };

/** What a fragment names. Ids are exactly 32 hex digits; all else is `lost`. */
export function routeOf(fragment: string): Route {
  const plain = PLAIN[fragment];
  if (plain !== undefined) return { view: plain };
  const parts = /^#\/(s|r|shares)\/([0-9a-f]{32})$/.exec(fragment);
  const view = parts?.[1] === undefined ? undefined : WITH_ID[parts[1]];
  return view !== undefined && parts?.[2] !== undefined ? { view, id: parts[2] } : { view: "lost" };
}

export const route = new Cell<Route>(routeOf(location.hash));

/** Where the user wants to go while `stayHere` holds them: a fragment. Null: nowhere. */
export const wanted = new Cell<string | null>(null);
let held = false;

/** Until the function that is returned is called, other places are not shown but put into `wanted`. */
export function stayHere(): () => void {
  held = true;
  return () => {
    held = false;
    wanted.value = null;
  };
}

export function followLocation(): void {
  let here = location.hash;
  window.addEventListener("hashchange", () => {
    if (!held) {
      here = location.hash;
      route.value = routeOf(here);
    } else if (location.hash !== here) {
      wanted.value = location.hash;
      // the browser has gone already; this brings the address back, and no event
      history.replaceState(null, "", `${location.pathname}${location.search}${here}`);
    }
  });
}
