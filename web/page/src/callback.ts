/** Where sign-in providers send the browser back to. The page hands on what they said and is gone. */

import { deliverRedirect } from "@strongroom/sdk";

import { dressDocument } from "./appearance.js";
import { language, t } from "./language.js";

dressDocument();
document.documentElement.lang = language.value;

function write(title: string, words: string): void {
  const heading = document.querySelector("h1");
  const text = document.getElementById("words");
  if (heading !== null) heading.textContent = title;
  if (text !== null) text.textContent = words;
}

async function deliver(): Promise<void> {
  write(t("callback.title"), t("callback.text"));
  const untrustedQuery = location.search;
  history.replaceState(null, "", location.pathname); // the code is for one use and for no history
  const delivered = await deliverRedirect(untrustedQuery);
  switch (delivered.to) {
    case "page":
      location.replace(delivered.url);
      return;
    case "opener":
      window.close();
      return write(t("callback.done.title"), t("callback.done.text"));
    case "nobody":
      return write(t("callback.unknown.title"), t("callback.unknown.text"));
  }
}

deliver().catch((error: unknown) => {
  console.error(error);
  write(t("callback.unknown.title"), t("callback.unknown.text"));
});
