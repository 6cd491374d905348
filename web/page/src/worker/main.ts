/** The service worker: serves a page that its user chose to keep, and lets downloads stream to disk. */

import { isForPage, serve } from "./keep.js";
import { scope } from "./scope.js";

scope.addEventListener("install", (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener("fetch", (event) => {
  if (isForPage(event.request)) event.respondWith(serve(event.request));
});
