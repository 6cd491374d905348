/** What the operations of a Vault take and answer. */

import type { Bytes } from "../protocol/bytes.js";
import type { Channel } from "../protocol/instructions.js";
import type { Audience, Item, PasskeyPublic, StoreItem, Terms, Visit } from "../protocol/messages.js";
import type { Address } from "./addresses.js";

/** A durable write: where, and the version it made. Keep the version to replace exactly this one later. */
export interface Receipt {
  readonly address: Address;
  readonly version: number;
}

/** A durable deletion. Copies that the host kept stay readable to the Vault until `epoch` leaves its key ring. */
export interface Erased extends Receipt {
  readonly epoch: number;
}

/** A secret that the Vault released to you. */
export type Released = Pick<Item, "secret" | "metadata" | "version" | "author" | "terms" | "opens">;

/** The journal of a record that has terms: the most recent visits, oldest first. */
export interface Journal {
  readonly version: number;
  readonly opens: number;
  readonly terms: Terms;
  readonly visits: readonly Visit[];
}

/** A question that others are to approve. */
export interface Asked {
  /** Its id, 16 bytes. */
  readonly question: Bytes;
  readonly version: number;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/** One record to create: see `Vault.store`. */
export interface NewSecret {
  /** At most 64 KiB. */
  readonly secret: Bytes;
  readonly instructions: Bytes;
  /** At most 4 KiB, returned beside the secret. */
  readonly metadata?: Bytes;
  /** Where; by default a random id. */
  readonly address?: StoreItem["address"];
  readonly terms?: Terms;
  /** 0, or the version of a deleted record at this address. */
  readonly replaces?: number;
}

/** As whom somebody signed in. */
export interface Person {
  /** How principals are written: hex of the method digest, a colon, the subject. */
  readonly principal: string;
  /** The provider; for a passkey the domain that it belongs to, for a code its sender, for a password the directory's name. */
  readonly provider: string;
  readonly subject: string;
  /** Verified address, or empty. */
  readonly email: string;
}

interface AnyMethod {
  /** 32 bytes; principals are filed under it. */
  readonly digest: Bytes;
}

/** Sign-in with an OpenID Connect provider, as the Vault shows it to whoever may describe. */
export interface ShownOidc extends AnyMethod {
  readonly kind: "oidc";
  readonly issuer: string;
  readonly audiences: readonly Audience[];
  /** Kinds of client that may use it. */
  readonly channels: readonly Channel[];
}

/** Sign-in with one of some passkeys. */
export interface ShownPasskeys extends AnyMethod {
  readonly kind: "passkey";
  readonly passkeys: PasskeyPublic;
}

/** Sign-in with a code that comes by e-mail: whoever reads the mailbox gets in. */
export interface ShownCodes extends AnyMethod {
  readonly kind: "email-code";
  /** The address that codes come from. */
  readonly sender: string;
}

/** Sign-in with user name and password of a directory. */
export interface ShownDirectory extends AnyMethod {
  readonly kind: "directory";
  /** As the depositor calls it, who may lie: what is approved is the digest. */
  readonly name: string;
}

/** Sign-ins of programs, and of people with keys at a command line: no browser can do them. */
export interface ShownForPrograms extends AnyMethod {
  readonly kind: "workload" | "keys" | "enclave";
}

export type ShownMethod = ShownOidc | ShownPasskeys | ShownCodes | ShownDirectory | ShownForPrograms;

/** One Authenticator where to sign in. */
export interface Place {
  readonly url: string;
  readonly clusterId: Bytes;
  /** The method definitions, sealed to this Authenticator. */
  readonly capsule: Bytes;
}

/** How to sign in for a record or a namespace. Never the rules. */
export interface Description {
  readonly authenticators: readonly Place[];
  /** How many of the Authenticators must agree. */
  readonly quorum: number;
  readonly methods: readonly ShownMethod[];
}
