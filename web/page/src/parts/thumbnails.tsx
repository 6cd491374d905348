/** Small pictures in the list of an opened share: decrypted here, drawn in the preview's frame, which gives back pixels.
 *
 * What decodes a stranger's picture can reach nothing (see `preview.tsx`), and what can reach something decodes none. The
 * pictures of one share are drawn by one frame: whoever takes it over can mix up these, which all come from one sender.
 */

import { StrongroomError } from "@strongroom/sdk";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { kindOf, THUMBNAIL_SIDE, type FromPreview, type ToPreview } from "../preview/protocol.js";
import type { SharedFile } from "../service/types.js";
import { previewable } from "./preview.js";

const MOST = 20;
/** Each picture is fetched and decrypted whole, unasked: not at the price of a phone's monthly data. */
const MOST_BYTES = 5 * 1024 * 1024;
const MOST_BYTES_TOGETHER = 20 * 1024 * 1024;

/** Those that get one: the first small pictures. */
export function pictured(files: readonly SharedFile[]): readonly SharedFile[] {
  let left = MOST_BYTES_TOGETHER;
  return files.filter((file) => kindOf(file.type, file.path) === "image" && file.size <= MOST_BYTES && previewable(file) && (left -= file.size) >= 0).slice(0, MOST);
}

interface ThumbnailsProps {
  readonly files: readonly SharedFile[];
  readonly read: (file: SharedFile) => Promise<Uint8Array<ArrayBuffer>>;
  readonly onDrawn: (file: SharedFile, picture: ImageData) => void;
}

/** Draws them one by one, out of sight. */
export function Thumbnails({ files, read, onDrawn }: ThumbnailsProps): JSX.Element | null {
  const frame = useRef<HTMLIFrameElement>(null);
  useEffect(() => {
    const waiting = [...files];
    let drawing: SharedFile | undefined;
    const next = async (): Promise<void> => {
      drawing = waiting.shift();
      if (drawing === undefined) return;
      try {
        const bytes = await read(drawing);
        frame.current?.contentWindow?.postMessage({ type: "thumbnail", bytes } satisfies ToPreview, "*", [bytes.buffer]);
      } catch (error) {
        if (!(error instanceof StrongroomError)) throw error;
        await next(); // who opens this file is told what is wrong with it
      }
    };
    const hear = ({ source, data }: MessageEvent<FromPreview>): void => {
      if (source === null || source !== frame.current?.contentWindow) return;
      if (data.type === "ready") void next();
      if (data.type !== "thumbnail" || drawing === undefined) return;
      const { pixels } = data;
      if (pixels instanceof Uint8ClampedArray && pixels.length === 4 * THUMBNAIL_SIDE ** 2) onDrawn(drawing, new ImageData(pixels, THUMBNAIL_SIDE));
      void next();
    };
    window.addEventListener("message", hear);
    return () => {
      window.removeEventListener("message", hear);
      waiting.length = 0;
    };
  }, []);
  return files.length === 0 ? null : <iframe ref={frame} hidden aria-hidden="true" tabIndex={-1} sandbox="allow-scripts" src="/preview/" />;
}

export function Thumbnail({ picture }: { readonly picture: ImageData }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => canvas.current?.getContext("2d")?.putImageData(picture, 0, 0), [picture]);
  return <canvas ref={canvas} class="thumbnail" width={THUMBNAIL_SIDE} height={THUMBNAIL_SIDE} aria-hidden="true" />;
}
