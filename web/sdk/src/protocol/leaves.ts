/** Which log is a Vault's (`spec/log.md`): its name, and the key that its checkpoints are signed with. */

import { type Bytes, hex } from "./bytes.js";
import { ED25519, type Verifier, verifierOf } from "./notes.js";

/** Name of the log of a shard of a cluster (RULES 23). */
export const logOrigin = (cluster: Bytes, shard = 0, generation = 0): string => `strongroom/${hex(cluster)}/${shard}/${generation}`;

/** Verifier key of a generation of the log of the cluster that was founded with `logKey`. */
export const logVerifier = (cluster: Bytes, logKey: Bytes, generation = 0): Promise<Verifier> =>
  verifierOf(logOrigin(cluster, 0, generation), ED25519, logKey);
