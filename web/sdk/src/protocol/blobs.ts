/** What a Vault tells the host about a record's blob (`spec/blobs.md`), and how it is shown to the host. */

import { base64url } from "./bytes.js";
import { decode } from "./codec.js";
import { BlobStatement, type BlobGranted } from "./messages.js";

const MAX_STATEMENT = 512;

/** The header's value `Strongroom-Grant`: statement and signature, which the host checks and nobody need keep secret. */
export function grantHeader({ statement, signature }: Pick<BlobGranted, "statement" | "signature">): string {
  return `${base64url(statement)}.${base64url(signature)}`;
}

/** What the statement says. Throws `Misuse` MALFORMED. */
export function parseStatement({ statement }: Pick<BlobGranted, "statement">): BlobStatement {
  return decode(statement, BlobStatement, MAX_STATEMENT);
}
