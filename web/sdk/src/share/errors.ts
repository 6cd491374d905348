/** What is wrong with a share, in words for who opens or sends it. They never cross the wire. */

import { ErrorNumber, Unavailable, Untrusted } from "../protocol/errors.js";

/** Bytes of a share are not those that its sender sealed. */
export class Damaged extends Untrusted {
  constructor(reason: string) {
    super(ErrorNumber.INTEGRITY, reason);
  }

  override get error(): string {
    return `the file was altered or damaged: ${this.reason}`;
  }

  override get hint(): string {
    return "nothing of the altered part was written; try again, then ask the sender to send it again";
  }
}

/** The host has less of it than was sent. Nothing that came was wrong, and nothing shows which of the two it is. */
export class Truncated extends Damaged {
  override get error(): string {
    return `the file is cut short: ${this.reason}`;
  }
}

/** A share's own description breaks the rules of `spec/share.md`: whoever sent it used no honest, current client. */
export class Unreadable extends Untrusted {
  constructor(reason: string) {
    super(ErrorNumber.INTEGRITY, reason);
  }

  override get error(): string {
    return `this is not a share that may be opened: ${this.reason}`;
  }

  override get hint(): string {
    return "ask the sender to send it again with a current client; if they did not send it so, beware";
  }
}

abstract class InOwnWords extends Unavailable {
  readonly #hint: string;

  constructor(error: string, hint: string) {
    super(ErrorNumber.INTERNAL, error);
    this.#hint = hint;
  }

  override get error(): string {
    return this.reason;
  }

  override get hint(): string {
    return this.#hint;
  }
}

/** The share is not complete yet, or no more. */
export class NotReady extends InOwnWords {}

/** The host does not have the blob, or no more. Whether by expiry, by revocation or by loss, only the Vault can say. */
export class Missing extends InOwnWords {
  constructor() {
    super("the host no longer has the files of this share", "reload the page to see whether it expired; else ask the sender");
  }
}

/**
 * The host failed, or said no. Nothing a host says is believed, so it never counts as a refusal.
 *
 * `status` is HTTP's, 0 where there was none. `passing`: trying again may help.
 */
export class HostFailed extends InOwnWords {
  readonly what: string;
  readonly status: number;
  readonly passing: boolean;

  constructor(what: string, how: { readonly status: number; readonly passing: boolean }) {
    super(
      how.status === 0 ? `the host ${what}` : `the host ${what} (HTTP status ${how.status})`,
      how.passing ? "check the network, then try again" : "try again later; if it persists, tell the site's operator",
    );
    this.what = what;
    this.status = how.status;
    this.passing = how.passing;
  }
}

/** The user broke it off. */
export class Cancelled extends InOwnWords {
  constructor() {
    super("it was cancelled", "start it again when you like");
  }
}
