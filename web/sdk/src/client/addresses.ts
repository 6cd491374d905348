/** Addresses as people write them: 32 hex digits for a random id, `namespace/name` for a named record. */

import { hex, unhex } from "../protocol/bytes.js";
import { MAX_NAME } from "../protocol/limits.js";
import type { Collect, OfNamespace } from "../protocol/messages.js";
import { BadInput } from "./errors.js";

/** A record: by its id, by its name, or one person's own. */
export type Address = Collect["addresses"][number];
export type Anywhere = Address | OfNamespace;

/** The address that `text` names. The first slash ends the namespace; a name may hold more. Throws `BadInput`. */
export function parseAddress(text: string): Address {
  const slash = text.indexOf("/");
  if (slash < 0) {
    if (/^[0-9a-fA-F]{32}$/.test(text)) return { by: "id", id: unhex(text) };
    throw new BadInput("that is not an address", "write 32 hex digits, or namespace/name");
  }
  const [namespace, name] = [text.slice(0, slash), text.slice(slash + 1)];
  verifyName(namespace, "namespace");
  if (name === "") throw new BadInput("that is a namespace, not a record in it", "write namespace/name");
  verifyName(name, "name");
  return { by: "name", namespace, name };
}

/** A text that differs for every address; for ids and names it is the one that `parseAddress` reads back. */
export function formatAddress(address: Anywhere): string {
  switch (address.by) {
    case "id":
      return hex(address.id);
    case "name":
      return `${address.namespace}/${address.name}`;
    case "person":
      return `${address.namespace}/${address.person}\n${address.name}`; // no name holds a line's end
    case "namespace":
      return `${address.namespace}/`;
  }
}

/** Throws `BadInput` for a name that no record could be found under again. */
export function verifyName(name: string, what: "name" | "namespace"): void {
  const size = [...name].length;
  if (size < 1 || size > MAX_NAME) throw new BadInput(`a ${what} has 1 to ${MAX_NAME} characters`, "choose another one");
  if (what === "namespace" && name.includes("/")) {
    throw new BadInput("a namespace has no slash", "leave out the slash: it ends the namespace in addresses");
  }
  // Control characters, direction marks and lone surrogates make two different names look the same, or unprintable.
  if (/[\p{C}\p{Z}]/u.test(name.replaceAll(" ", ""))) throw new BadInput(`the ${what} holds a character that can't be seen`, "leave it out");
}
