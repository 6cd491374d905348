/**
 * Instructions: how later requests for a record are to be authenticated (`spec/instructions.md`).
 *
 * Whatever is digested is carried as exact bytes, so a digest made today still fits when a later version knows more.
 */

import { type Bytes, base64url, hex, utf8 } from "./bytes.js";
import { decode, decodeFirstInt } from "./codec.js";
import { ErrorNumber, Misuse } from "./errors.js";
import { type Kind, either } from "./kinds.js";
import { MAX_INSTRUCTIONS, MAX_METHOD } from "./limits.js";
import {
  type Audience,
  CodeMethod,
  DirectoryMethod,
  EnclaveMethod,
  Instructions,
  KeysMethod,
  OidcMethod,
  PasskeyMethod,
  type PublicMethod,
  type Visit,
  WorkloadMethod,
} from "./messages.js";
import { Domain, digest } from "./primitives.js";

export type Action = Visit["action"];
/** native: loopback redirect (RFC 8252); web: a page's https redirect; device: RFC 8628, phishable. */
export type Channel = Audience["channel"];
/** The kinds of sign-in. */
export type MethodKind = PublicMethod["kind"];
export type Method = OidcMethod | PasskeyMethod | WorkloadMethod | DirectoryMethod | KeysMethod | EnclaveMethod | CodeMethod;
export const Method: Kind<Method> = either<Method>(
  OidcMethod,
  PasskeyMethod,
  WorkloadMethod,
  DirectoryMethod,
  KeysMethod,
  EnclaveMethod,
  CodeMethod,
);

/** Decode and check what needs no Cedar. Throws `Misuse` INSTRUCTIONS_INVALID, METHOD_INVALID, UNSUPPORTED or TOO_LARGE. */
export function parseInstructions(data: Bytes): Instructions {
  if (data.length > MAX_INSTRUCTIONS) throw new Misuse(ErrorNumber.TOO_LARGE);
  // Before the rest is decoded: instructions of another schema have other fields.
  const version = orInvalid(ErrorNumber.INSTRUCTIONS_INVALID, () => decodeFirstInt(data, "schema_version"));
  if (version !== 1) throw new Misuse(ErrorNumber.UNSUPPORTED, `schema version ${version}`);
  const instructions = orInvalid(ErrorNumber.INSTRUCTIONS_INVALID, () => decode(data, Instructions, MAX_INSTRUCTIONS));
  if (instructions.quorum > instructions.authenticators.length) {
    throw new Misuse(ErrorNumber.INSTRUCTIONS_INVALID, "the quorum is larger than the number of authenticators");
  }
  if (new Set(instructions.methods.map(hex)).size !== instructions.methods.length) {
    throw new Misuse(ErrorNumber.INSTRUCTIONS_INVALID, "a method is listed twice");
  }
  instructions.methods.forEach(parseMethod);
  return instructions;
}

/** Decode one method definition. Throws `Misuse` METHOD_INVALID. */
export function parseMethod(definition: Bytes): Method {
  return orInvalid(ErrorNumber.METHOD_INVALID, () => decode(definition, Method, MAX_METHOD));
}

/** Digest of the complete definition's exact bytes: what facts and principals are filed under (RULES 9). */
export const methodDigest = (definition: Bytes): Promise<Bytes> => digest(Domain.METHOD, definition);

export const instructionsDigest = (instructions: Bytes): Promise<Bytes> => digest(Domain.INSTRUCTIONS, instructions);

export const rulesDigest = (rules: string): Promise<Bytes> => digest(Domain.RULES, utf8(rules));

/**
 * OIDC nonce: base64url without padding of H(method digest ‖ binding key ‖ salt) (RULES 10).
 *
 * A stolen ID token names somebody else's binding key and is worthless in any other session.
 */
export async function boundNonce(method: Bytes, bindingKey: Bytes, salt: Bytes): Promise<string> {
  return base64url(await digest(Domain.NONCE, method, bindingKey, salt));
}

/**
 * What a passkey, a key or an enclave answers for (32 bytes, RULES 10): H(kind ‖ method digest ‖ binding key ‖ salt).
 *
 * Whoever answers computes it with the binding key of their own session. What was made for one session counts in no
 * other, and what was made for one kind of sign-in in no other kind.
 */
export function signInChallenge(kind: MethodKind, method: Bytes, bindingKey: Bytes, salt: Bytes): Promise<Bytes> {
  return digest(Domain.CHALLENGE, utf8(kind), method, bindingKey, salt);
}

/** Audience of a token that a workload asks its platform for (RULES 12): a stolen one is of no use to a thief. */
export async function workloadAudience(authenticatorCluster: Bytes, bindingKey: Bytes): Promise<string> {
  return `strongroom:${hex(authenticatorCluster)}:${hex(await digest(Domain.WORKLOAD_AUDIENCE, bindingKey))}`;
}

function orInvalid<T>(number: ErrorNumber, attempt: () => T): T {
  try {
    return attempt();
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw new Misuse(number, error.reason);
  }
}
