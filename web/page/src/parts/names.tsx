/** Addresses one below the other: in a line, a long one would break in its middle. */

import type { JSX } from "preact";

/** An address that breaks after its @, if it must. */
export function Name({ of }: { readonly of: string }): JSX.Element {
  const at = of.lastIndexOf("@") + 1;
  return (
    <>
      {of.slice(0, at)}
      <wbr />
      {of.slice(at)}
    </>
  );
}

export function Names({ of }: { readonly of: readonly string[] }): JSX.Element {
  return (
    <ul class="names">
      {of.map((name) => (
        <li key={name}>
          <Name of={name} />
        </li>
      ))}
    </ul>
  );
}
