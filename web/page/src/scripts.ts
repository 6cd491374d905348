/** Scripts that no tag of the document names (workers, what loads later), held to the digests that the build put beside it.
 *
 * A tag has `integrity`; `new Worker`, `register` and `import` have nothing of the kind. So the bytes are fetched with their
 * digest first, and what runs then comes out of the cache. A host that answers twice in two ways is not stopped by this,
 * nor is it by `integrity` in a document that it wrote itself: that is what the page's digest is for.
 */

const NAME = "strongroom-scripts";

/** Path → `sha384-…`. Empty where the page was not built (development). */
function digests(): Readonly<Record<string, string>> {
  const written = document.querySelector<HTMLMetaElement>(`meta[name="${NAME}"]`)?.content;
  return written === undefined ? {} : (JSON.parse(written) as Record<string, string>);
}

const found = (pattern: RegExp): readonly (readonly [string, string])[] => Object.entries(digests()).filter(([path]) => pattern.test(path));

/** Throws `TypeError`, as `fetch` does, unless each script whose path fits is what was built. */
export async function verifyScripts(pattern: RegExp): Promise<void> {
  await Promise.all(
    found(pattern).map(async ([path, integrity]) => {
      await (await fetch(path, { integrity, credentials: "same-origin" })).arrayBuffer();
    }),
  );
}

/** The same where a document may not fetch: loads the modules, with their digests, before they are imported. */
export async function preloadScripts(pattern: RegExp): Promise<void> {
  await Promise.all(
    found(pattern).map(([path, integrity]) => {
      const link = document.createElement("link");
      link.rel = "modulepreload";
      link.href = path;
      link.integrity = integrity;
      link.crossOrigin = "anonymous";
      return new Promise<void>((resolve, reject) => {
        link.addEventListener("load", () => resolve());
        link.addEventListener("error", () => reject(new TypeError(`${path} is not what was built`)));
        document.head.append(link);
      });
    }),
  );
}
