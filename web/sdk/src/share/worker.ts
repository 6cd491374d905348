/** The other side of `upload.ts`: seals files into a pack and sends it, piece by piece. Knows no key that opens it. */

import { BlobHost, CHUNK } from "./blobs.js";
import { Control } from "./control.js";
import { Pack, ahead, inChunks } from "./pack.js";
import { type Job, type Order, type Report, toFailure } from "./orders.js";

/** Milliseconds between two reports of progress. */
const PACE = 100;

const control = new Control();
const report = (message: Report): void => postMessage(message);

async function run({ sources, recipient, out, origin }: Job): Promise<void> {
  const pack = new Pack(sources);
  let sealed = 0;
  let shown = 0;

  async function* counted(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    for await (const block of pack.blocks(recipient)) {
      sealed += block.length;
      yield block;
    }
  }

  // While one chunk travels the next one is made, and no more than that.
  await new BlobHost(origin).upload(out, ahead(inChunks(counted(), CHUNK)), control, (arrived) => {
    if (arrived < out.size && performance.now() - shown < PACE) return;
    shown = performance.now();
    report({ type: "progress", sealed, arrived });
  });
  report({ type: "done", place: pack.place });
}

addEventListener("message", ({ data }: MessageEvent<Order>) => {
  switch (data.type) {
    case "start":
      run(data.job).catch((error: unknown) => report({ type: "failed", failure: toFailure(error) }));
      return;
    case "pause":
      control.pause();
      return;
    case "resume":
      control.resume();
      return;
    case "cancel":
      control.cancel();
      return;
  }
});
