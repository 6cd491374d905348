/** Addresses one below the other: in a line, a long one would break in its middle. */

import type { JSX } from "preact";

export function Names({ of }: { readonly of: readonly string[] }): JSX.Element {
  return (
    <ul class="names">
      {of.map((name) => (
        <li key={name}>{name}</li>
      ))}
    </ul>
  );
}
