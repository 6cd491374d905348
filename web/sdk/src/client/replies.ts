/** What an enclave answers, by its role. */

import type { Bytes } from "../protocol/bytes.js";
import { type Kind, decode } from "../protocol/codec.js";
import { ErrorNumber, Misuse } from "../protocol/errors.js";
import type { Role } from "../protocol/evidence.js";
import { MAX_MESSAGE } from "../protocol/limits.js";
import { either } from "../protocol/kinds.js";
import { AuthenticatorReply, CharterIs, VaultReply } from "../protocol/messages.js";

export type Reply = VaultReply | AuthenticatorReply | CharterIs;
export type ReplyOf<T extends Reply["type"]> = Extract<Reply, { readonly type: T }>;

/** Of what can be said about a cluster itself a client asks for the charter alone, and of a Vault alone. */
const REPLIES = { vault: either<VaultReply | CharterIs>(VaultReply, CharterIs), authenticator: AuthenticatorReply } as const;

/** Throws `Misuse`: TOO_LARGE, and UNSUPPORTED for what this version does not know. */
export function readReply(reply: Bytes, role: Role): Reply {
  try {
    return decode(reply, REPLIES[role] as Kind<Reply>, MAX_MESSAGE);
  } catch (error) {
    if (!(error instanceof Misuse) || error.number !== ErrorNumber.MALFORMED) throw error;
    throw new Misuse(ErrorNumber.UNSUPPORTED, "the enclave's answer is none that this version knows");
  }
}

export function isOf<T extends Reply["type"]>(reply: Reply, kind: T): reply is ReplyOf<T> {
  return reply.type === kind;
}
