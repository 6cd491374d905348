/** Errors that arise on the user's own machine. They never cross the wire, so each brings its own words. */

import { ErrorNumber, Misuse, Unavailable } from "../protocol/errors.js";

/** What the caller gave is wrong; `error` and `hint` are whole sentences of their own. */
export class BadInput extends Misuse {
  readonly #hint: string;

  constructor(error: string, hint: string) {
    super(ErrorNumber.MALFORMED, error);
    this.#hint = hint;
  }

  override get error(): string {
    return this.reason;
  }

  override get hint(): string {
    return this.#hint;
  }
}

/** No answer of a Strongroom server came back. A request may have been carried out nevertheless. */
export class Unreachable extends Unavailable {
  /** The connection failed or ended under a request, as idle ones do: repeating it at once may help. */
  readonly broken: boolean;

  constructor(error: string, how: { readonly broken: boolean }) {
    super(ErrorNumber.INTERNAL, error);
    this.broken = how.broken;
  }

  override get error(): string {
    return this.reason;
  }

  override get hint(): string {
    return "check the address, that the server runs, and that the network lets you through";
  }
}
