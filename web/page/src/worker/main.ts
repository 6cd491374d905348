/** The service worker: serves a page that its user chose to keep, and lets downloads stream to disk. */

import { StreamedDownloads } from "@strongroom/sdk";

import { isForPage, serve } from "./keep.js";
import { scope } from "./scope.js";

scope.addEventListener("install", (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
const downloads = new StreamedDownloads();
scope.addEventListener("message", (event) => void downloads.announced(event.data, event.ports));
scope.addEventListener("fetch", (event) => {
  const download = downloads.answer(event.request.url);
  if (download !== undefined) event.respondWith(download);
  else if (isForPage(event.request)) event.respondWith(serve(event.request));
});
