import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { Plugin } from "vite";

/** Marks every script and style that a page names with its digest (SRI), lists those of other scripts beside, and all files
 * in page.json.
 *
 * SRI alone protects nobody from the server that delivers the HTML, too; the list does, for whoever compares it with a
 * release (`strongroom verify-page`) or keeps it (the service worker). Its digest is the digest of the page: SHA-256 over
 * the sorted lines `path NUL sha256 LF`, page.json itself left out.
 */
export function seal(version: string): Plugin {
  let folder = "";
  let written = false;
  return {
    name: "strongroom-seal",
    apply: "build",
    enforce: "post",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
      if (config.build.outDir.startsWith(sep)) folder = config.build.outDir;
    },
    writeBundle() {
      written = true;
    },
    closeBundle() {
      if (!written) return; // the build failed, and says why
      const names = filesIn(folder).filter((name) => name !== "page.json");
      for (const name of names.filter((one) => one.endsWith(".html"))) {
        const path = join(folder, name);
        const html = withIntegrity(readFileSync(path, "utf8"), folder, name);
        writeFileSync(path, withDigests(html, folder, names.filter((one) => one.endsWith(".js")).sort()));
      }
      const files = Object.fromEntries(names.sort().map((name) => [name, sha256(readFileSync(join(folder, name)))]));
      writeFileSync(join(folder, "page.json"), `${JSON.stringify({ format: "strongroom page 1", version, files }, null, 1)}\n`);
    },
  };
}

/** Where a document lists the digests of scripts that it has no tag for: `src/scripts.ts` reads them. */
function withDigests(html: string, folder: string, scripts: readonly string[]): string {
  const unnamed = scripts.filter((name) => !html.includes(`"/${name}"`));
  const digests = JSON.stringify(Object.fromEntries(unnamed.map((name) => [`/${name}`, integrityOf(join(folder, name))])));
  return html.replace("</head>", `  <meta name="strongroom-scripts" content="${digests.replaceAll('"', "&quot;")}">\n  </head>`);
}

const integrityOf = (path: string): string => `sha384-${createHash("sha384").update(readFileSync(path)).digest("base64")}`;

const TAG = /<(script|link)\b([^>]*)>/g;

function withIntegrity(html: string, folder: string, page: string): string {
  return html.replace(TAG, (whole, tag: string, attributes: string) => {
    const url = /\s(?:src|href)="([^"]+)"/.exec(attributes)?.[1];
    const relation = /\srel="([^"]+)"/.exec(attributes)?.[1];
    const covered = tag === "script" || relation === "stylesheet" || relation === "modulepreload";
    if (url === undefined || !covered) {
      if (tag === "script") throw new Error(`${page}: a script without src would be refused by the content security policy`);
      return whole;
    }
    if (!url.startsWith("/")) throw new Error(`${page}: ${url} is not on this server`);
    const rest = attributes.replace(/\s(?:integrity|crossorigin)(?:="[^"]*")?/g, "").replace(/\s*\/$/, "");
    return `<${tag}${rest} integrity="${integrityOf(join(folder, url))}" crossorigin="anonymous">`;
  });
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
