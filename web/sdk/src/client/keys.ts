/**
 * The binding key: whom tickets are bound to. Its private half can be used and never read, not even by this page, so
 * who steals what a page knows can't carry a sign-in elsewhere.
 */

import { SigningKey } from "../protocol/primitives.js";
import { IndexedShelf, type Shelf } from "./storage.js";

const NAME = "binding key";

/**
 * The binding key of this browser and origin, made at the first call. It survives reloads and the way to a sign-in
 * provider and back, and several tabs share it.
 */
export async function loadOrMakeKey(shelf: Shelf = new IndexedShelf("keys")): Promise<SigningKey> {
  const kept = await shelf.get(NAME);
  const pair = isPair(kept) ? kept : await shelf.add(NAME, await SigningKey.generatePair());
  if (isPair(pair)) return SigningKey.fromPair(pair);
  await shelf.delete(NAME); // of another version of this page
  return loadOrMakeKey(shelf);
}

/** Forget the key: all tickets become worthless, and what comes next is asked as somebody new. */
export function forgetKey(shelf: Shelf = new IndexedShelf("keys")): Promise<void> {
  return shelf.delete(NAME);
}

function isPair(value: unknown): value is CryptoKeyPair {
  if (typeof value !== "object" || value === null || !("privateKey" in value) || !("publicKey" in value)) return false;
  return value.privateKey instanceof CryptoKey && value.publicKey instanceof CryptoKey && !value.privateKey.extractable;
}
