/** The Vault that was verified, for everything that asks it. */

import { ErrorNumber, Unavailable, type Site, type Vault } from "@strongroom/sdk";

export interface Link {
  readonly site: Site;
  readonly vault: Vault;
}

let current: Link | null = null;

export function setLink(link: Link | null): void {
  current = link;
}

/** Null before the Vault is verified, and when it must not be asked any more. */
export const currentLink = (): Link | null => current;

/** Throws `Unavailable` before the Vault is verified: no view offers anything until then. */
export function linked(): Link {
  if (current === null) throw new Unavailable(ErrorNumber.BUSY, "the connection is not verified yet");
  return current;
}
