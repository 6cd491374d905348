/** What a Vault tells the host about a record's blob (`spec/blobs.md`), and how it is shown to the host. */

import { type Bytes, base64url } from "./bytes.js";
import { decode } from "./codec.js";
import { MAX_STATEMENT } from "./limits.js";
import { type BlobGranted, BlobStatement } from "./messages.js";
import { Domain, verifySignature } from "./primitives.js";

/** The header's value `Strongroom-Grant`: statement and signature. Who holds it can upload: for the host alone. */
export function grantHeader({ statement, signature }: Pick<BlobGranted, "statement" | "signature">): string {
  return `${base64url(statement)}.${base64url(signature)}`;
}

/**
 * What a Vault said whose cluster has this public key (65 bytes). Throws `Untrusted` INTEGRITY unless that key signed
 * exactly these bytes, then `Misuse` when they are no statement.
 */
export async function verifyStatement(untrusted: Bytes, signature: Bytes, clusterKey: Bytes): Promise<BlobStatement> {
  await verifySignature(clusterKey, signature, Domain.BLOB, untrusted);
  return decode(untrusted, BlobStatement, MAX_STATEMENT);
}
