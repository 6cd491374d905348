/** The list of the page's files, and the digest of the page: SHA-256 over the sorted lines `path NUL sha256 LF`. */

export interface PageList {
  readonly digest: string;
  /** Path without leading slash → SHA-256 in hex. */
  readonly files: Readonly<Record<string, string>>;
}

/** What the server lists now, or null if it lists nothing that reads as such a list. */
export async function fetchPageList(): Promise<PageList | null> {
  const answer = await fetch("/page.json", { cache: "no-store", redirect: "error" });
  if (!answer.ok) return null;
  const untrusted: unknown = await answer.json();
  if (typeof untrusted !== "object" || untrusted === null || !("files" in untrusted)) return null;
  const { files } = untrusted;
  if (typeof files !== "object" || files === null || Array.isArray(files)) return null;
  const pairs = Object.entries(files);
  if (pairs.length === 0 || pairs.length > 1000) return null;
  const isPlain = ([path, digest]: readonly [string, unknown]): boolean => /^[\w./-]+$/.test(path) && !path.includes("..") && typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest);
  if (!pairs.every(isPlain)) return null;
  const list = Object.fromEntries(pairs) as Record<string, string>;
  return { digest: await pageDigest(list), files: list };
}

export async function pageDigest(files: Readonly<Record<string, string>>): Promise<string> {
  const lines = Object.keys(files)
    .sort()
    .map((path) => `${path}\0${files[path]}\n`)
    .join("");
  return sha256Hex(new TextEncoder().encode(lines));
}

export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
