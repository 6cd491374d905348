/** Starting the service worker: for a kept page, and for downloads in browsers whose pages can't write files. */

import { trustedScript } from "@strongroom/sdk";

import { verifyScripts } from "../scripts.js";

/** Ready when the worker answers for this page, or when the browser has none to give. */
export async function startWorker(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  await verifyScripts(/^\/sw\.js$/);
  // the DOM's types know strings only; under Trusted Types a plain one is refused
  await serviceWorker.register(trustedScript("/sw.js") as string, { type: "module", scope: "/", updateViaCache: "none" });
  await serviceWorker.ready;
  if (serviceWorker.controller !== null) return;
  await new Promise<void>((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    setTimeout(resolve, 3000);
  });
}

/** Before a download is asked for: pickers open only while a click is handled, so the worker must be there by then. */
export function prepareDownloads(): void {
  if ("showSaveFilePicker" in window) return;
  startWorker().catch((error: unknown) => console.error(error)); // smaller files are saved without it
}
