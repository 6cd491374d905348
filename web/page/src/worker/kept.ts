/** What page and service worker both know of a kept page. */

/** Name of the cache that says what is kept; with a digest behind it, of one that holds a page's files. */
export const KEPT = "strongroom-kept";

export interface Kept {
  readonly digest: string;
  /** Name of the cache with the files. */
  readonly cache: string;
  /** As page.json names them. */
  readonly paths: readonly string[];
}
