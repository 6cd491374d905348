/** What page and preview frame say to each other, and which files are shown at all. */

export type Kind = "image" | "pdf" | "text";

export interface Show {
  readonly type: "show";
  readonly kind: Kind;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly name: string;
  readonly language: string;
  /** "Page {page} of {pages}" in the reader's language. */
  readonly page: string;
}

/** A frame shows one file, or it draws any number of thumbnails, each after the answer to the one before. */
export type ToPreview = Show | { readonly type: "thumbnail"; readonly bytes: Uint8Array<ArrayBuffer> };

export type FromPreview =
  | { readonly type: "ready" | "shown" | "failed" }
  /** RGBA, row by row; null if it can't be drawn. */
  | { readonly type: "thumbnail"; readonly pixels: Uint8ClampedArray<ArrayBuffer> | null };

/** Pixels of a thumbnail's sides. */
export const THUMBNAIL_SIDE = 76;

/** Larger files are downloaded: a preview holds the whole file in memory. */
export const PREVIEW_BYTES = 32 * 1024 * 1024;

// raster images only: SVG and HTML are programs
const IMAGES: ReadonlySet<string> = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"]);
const TEXTS = /\.(txt|md|csv|tsv|log|json|ya?ml|toml|ini|py|js|ts|sh|sql|xml|html?|css|c|h|rs|go|java)$/i;

/** How a file is shown, or null. XML and HTML are shown as text, never rendered; SVG not at all. */
export function kindOf(type: string, path: string): Kind | null {
  if (IMAGES.has(type)) return "image";
  if (type === "application/pdf" || (type === "" && /\.pdf$/i.test(path))) return "pdf";
  return type.startsWith("text/") || type === "application/json" || TEXTS.test(path) ? "text" : null;
}
