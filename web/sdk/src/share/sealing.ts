/** One upload from files to the host: what the worker does, and a program without workers by itself. */

import { BlobHost, CHUNK } from "./blobs.js";
import type { Control } from "./control.js";
import type { ManifestPlace } from "./format.js";
import type { Job } from "./orders.js";
import { Pack, ahead, inChunks } from "./pack.js";

/** Milliseconds between two reports of progress. */
const PACE = 100;

/** Seals the files into a pack and sends it, piece by piece. Knows no key that opens it. Throws what `BlobHost.upload` does. */
export async function sealAndSend(
  { sources, recipient, out, origin }: Job,
  control: Control,
  moved: (sealed: number, arrived: number) => void,
): Promise<ManifestPlace> {
  const pack = new Pack(sources);
  let sealed = 0;
  let shown = 0;

  async function* counted(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of pack.blocks(recipient)) {
      sealed += piece.length;
      yield piece;
    }
  }

  // While one chunk travels the next one is made, and no more than that.
  await new BlobHost(origin).upload(out, ahead(inChunks(counted(), CHUNK)), control, (arrived) => {
    if (arrived < out.size && performance.now() - shown < PACE) return;
    shown = performance.now();
    moved(sealed, arrived);
  });
  return pack.place;
}
