/** The preview frame: draws bytes as pixels or plain text. Its origin is opaque and it has no network. */

import { preloadScripts } from "../scripts.js";
import { THUMBNAIL_SIDE, type FromPreview, type Show, type ToPreview } from "./protocol.js";
import "./preview.css";

const LONGEST_SIDE = 4096;
const MOST_PAGES = 60;
const MOST_TEXT = 512 * 1024;
/** Pixels of a picture that is drawn unasked: a small file can hold very many. */
const MOST_PIXELS = 40_000_000;

const tell = (message: FromPreview): void => window.parent.postMessage(message, "*");
const say = (type: "ready" | "shown" | "failed"): void => tell({ type });

const stage = document.createElement("main");
document.body.append(stage);

async function show(message: Show): Promise<void> {
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

/** The middle of the picture. Null for what is none, or too large. */
async function thumbnail(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8ClampedArray<ArrayBuffer> | null> {
  const blob = new Blob([bytes]);
  if ((await pixelsOf(blob)) > MOST_PIXELS) return null;
  const bitmap = await createImageBitmap(blob);
  const scale = THUMBNAIL_SIDE / Math.min(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = THUMBNAIL_SIDE;
  const context = canvas.getContext("2d");
  context?.drawImage(bitmap, (THUMBNAIL_SIDE - width) / 2, (THUMBNAIL_SIDE - height) / 2, width, height);
  bitmap.close();
  return context?.getImageData(0, 0, THUMBNAIL_SIDE, THUMBNAIL_SIDE).data ?? null;
}

/** By the picture's own word, before anything is decoded. */
async function pixelsOf(blob: Blob): Promise<number> {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  await new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = () => reject(new TypeError("not a picture"));
  });
  URL.revokeObjectURL(image.src);
  return image.naturalWidth * image.naturalHeight;
}

let begun = false;
window.addEventListener("message", (event: MessageEvent<ToPreview>) => {
  if (event.source !== window.parent || begun) return;
  if (event.data.type === "thumbnail") {
    thumbnail(event.data.bytes).then(
      (pixels) => tell({ type: "thumbnail", pixels }),
      () => tell({ type: "thumbnail", pixels: null }),
    );
    return;
  }
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
