/** What requests to a Vault are made of, checked before anything is sent; and what their answers mean. */

import type { Bytes } from "../protocol/bytes.js";
import { decode } from "../protocol/codec.js";
import { ErrorNumber, Misuse } from "../protocol/errors.js";
import { MAX_INSTRUCTIONS, MAX_METADATA, MAX_METHOD, MAX_SECRET, MAX_TICKETS } from "../protocol/limits.js";
import { CodePublic, type Described, DirectoryPublic, OidcPublic, PasskeyPublic, type PublicMethod, type StoreItem, type Ticket } from "../protocol/messages.js";
import { randomBytes } from "../protocol/primitives.js";
import { type Address, verifyName } from "./addresses.js";
import { BadInput } from "./errors.js";
import type { Description, NewSecret, ShownMethod } from "./results.js";

const REQUEST_ID = 16;
const RECORD_ID = 16;
const NOTHING = new Uint8Array();

/** Throws `BadInput` for an id of another length. */
export function requestIdOrNew(given: Bytes | undefined): Bytes {
  if (given !== undefined && given.length !== REQUEST_ID) throw new BadInput(`a request id has ${REQUEST_ID} bytes`, "draw them at random");
  return given ?? randomBytes(REQUEST_ID);
}

/** Throws `BadInput` for what no record can hold. */
export function verifySizes(of: { readonly secret?: Bytes; readonly metadata?: Bytes; readonly instructions?: Bytes }): void {
  const checks = [
    ["the secret is", of.secret, MAX_SECRET],
    ["the metadata are", of.metadata, MAX_METADATA],
    ["the instructions are", of.instructions, MAX_INSTRUCTIONS],
  ] as const;
  for (const [what, value, limit] of checks) {
    if ((value?.length ?? 0) > limit) throw new BadInput(`${what} longer than ${limit} bytes`, "store a key, and what it encrypts elsewhere");
  }
}

/** The record to create. Throws `BadInput`. */
export function storeItem(item: NewSecret): StoreItem {
  verifySizes(item);
  const address = item.address ?? { by: "id", id: randomBytes(RECORD_ID) };
  if (address.by !== "id") verifyName(address.name, "name");
  return {
    address,
    replaces: item.replaces ?? 0,
    secret: item.secret,
    metadata: item.metadata ?? NOTHING,
    instructions: item.instructions,
    terms: item.terms ?? null,
  };
}

/** The namespaces that addresses name must be the one stored in; else the Vault would refuse without saying why. */
export function verifyNamespace(addresses: readonly Address[], namespace: string): void {
  verifyName(namespace, "namespace");
  if (addresses.every((address) => address.by === "id" || address.namespace === namespace)) return;
  throw new BadInput("a named record is stored in its own namespace", "give the same namespace twice");
}

/** Each once, the first first, as many as one request takes. */
export function merged(first: readonly Ticket[], more: readonly Ticket[]): readonly Ticket[] {
  return [...first, ...more.filter((ticket) => !first.includes(ticket))].slice(0, MAX_TICKETS);
}

/** Throws `Misuse` UNSUPPORTED for a sign-in method that can't be read. */
export function descriptionOf(described: Described): Description {
  return {
    authenticators: described.authenticators.map((one) => ({ url: one.url, clusterId: one.cluster_id, capsule: one.capsule })),
    quorum: described.quorum,
    methods: described.methods.map(shown),
  };
}

function shown({ kind, digest, public: untrusted }: PublicMethod): ShownMethod {
  try {
    switch (kind) {
      case "oidc": {
        const { issuer, audiences } = decode(untrusted, OidcPublic, MAX_METHOD);
        return { kind, digest, issuer, audiences, channels: audiences.map((audience) => audience.channel) };
      }
      case "passkey":
        return { kind, digest, passkeys: decode(untrusted, PasskeyPublic, MAX_METHOD) };
      case "email-code":
        return { kind, digest, sender: decode(untrusted, CodePublic, MAX_METHOD).sender };
      case "directory":
        return { kind, digest, name: decode(untrusted, DirectoryPublic, MAX_METHOD).name };
      default:
        return { kind, digest }; // no browser signs in so: what is shown of it is not looked at
    }
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    throw new Misuse(ErrorNumber.UNSUPPORTED, "a sign-in method that this version does not know");
  }
}
