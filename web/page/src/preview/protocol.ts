/** What page and preview frame say to each other, and which files are shown at all. */

export type Kind = "image" | "pdf" | "text";

export type ToPreview = {
  readonly type: "show";
  readonly kind: Kind;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly name: string;
  readonly language: string;
  /** "Page {page} of {pages}" in the reader's language. */
  readonly page: string;
};

export type FromPreview = { readonly type: "ready" | "shown" | "failed" };

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
