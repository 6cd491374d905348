/** The preview frame: draws bytes as pixels or plain text. Its origin is opaque and it has no network. */

import { preloadScripts } from "../scripts.js";
import type { FromPreview, ToPreview } from "./protocol.js";
import "./preview.css";

const LONGEST_SIDE = 4096;
const MOST_PAGES = 60;
const MOST_TEXT = 512 * 1024;

const say = (type: FromPreview["type"]): void => window.parent.postMessage({ type } satisfies FromPreview, "*");

const stage = document.createElement("main");
document.body.append(stage);

async function show(message: ToPreview): Promise<void> {
  document.documentElement.lang = message.language;
  switch (message.kind) {
    case "image":
      return showImage(message.bytes, message.name);
    case "text":
      return showText(message.bytes);
    case "pdf": {
      await preloadScripts(/^\/assets\/pdf-/);
      const { showPdf } = await import("./pdf.js");
      return showPdf(message.bytes, stage, MOST_PAGES, message.page, () => say("shown"));
    }
  }
}

async function showImage(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<void> {
  const bitmap = await createImageBitmap(new Blob([bytes]));
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  stage.append(canvas);
}

function showText(bytes: Uint8Array<ArrayBuffer>): void {
  const text = document.createElement("pre");
  text.tabIndex = 0;
  text.textContent = new TextDecoder().decode(bytes.subarray(0, MOST_TEXT)) + (bytes.length > MOST_TEXT ? "\n…" : "");
  stage.append(text);
}

let begun = false;
window.addEventListener("message", (event: MessageEvent<ToPreview>) => {
  if (event.source !== window.parent || event.data.type !== "show" || begun) return;
  begun = true;
  show(event.data).then(
    () => say("shown"),
    (error: unknown) => {
      console.error(error);
      say("failed");
    },
  );
});
say("ready");
