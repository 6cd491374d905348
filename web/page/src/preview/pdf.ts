/** PDF as pixels: no scripts, no forms, no links, nothing fetched. */

import { getDocument, type PDFDocumentProxy } from "pdfjs-dist";
import * as worker from "pdfjs-dist/build/pdf.worker.mjs";

// an opaque origin may start no worker, so the parser runs here: pdf.js looks for it under this name
Object.assign(globalThis, { pdfjsWorker: worker });

/** Draws the first `most` pages below each other; `first` is called when there is something to see. */
export async function showPdf(bytes: Uint8Array<ArrayBuffer>, stage: HTMLElement, most: number, label: string, first: () => void): Promise<void> {
  const loading = getDocument({
    data: bytes,
    isEvalSupported: false,
    enableXfa: false,
    useWorkerFetch: false,
    useWasm: false,
    useSystemFonts: true,
    disableAutoFetch: true,
    disableStream: true,
    stopAtErrors: false,
  });
  const pdf = await loading.promise;
  const pages = Math.min(pdf.numPages, most);
  for (let page = 1; page <= pages; page++) {
    await draw(pdf, page, stage, label.replace("{page}", String(page)).replace("{pages}", String(pdf.numPages)));
    if (page === 1) first();
  }
}

async function draw(pdf: PDFDocumentProxy, number: number, stage: HTMLElement, label: string): Promise<void> {
  const page = await pdf.getPage(number);
  const natural = page.getViewport({ scale: 1 });
  const width = Math.min(1600, stage.clientWidth * Math.min(2, window.devicePixelRatio));
  const viewport = page.getViewport({ scale: width / natural.width });
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(viewport.width);
  canvas.height = Math.min(8192, Math.round(viewport.height));
  canvas.className = "page";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  stage.append(canvas);
  await page.render({ canvas, viewport }).promise;
  page.cleanup();
}
