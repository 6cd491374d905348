/**
 * Passwords of directories. They go to an Authenticator that the client's own policy accepts, inside a session with its
 * enclave, for directories that were approved, and are kept nowhere (RULES 14).
 */

import type { Refused } from "../../protocol/errors.js";
import type { ShownDirectory } from "../results.js";

/** Where a sign-in with a password stands when the user is asked. */
export interface PasswordState {
  readonly directory: ShownDirectory;
  /** As instructions name the Authenticator that will see the password. */
  readonly authenticator: string;
  /** Why the last password did not do. */
  readonly problem: Refused | null;
}

export interface PasswordAnswer {
  readonly user: string;
  readonly password: string;
}

/** Who asks the user for a password. Throws `Refused` SIGN_IN_PENDING when the user gives up. */
export interface Passwords {
  ask(state: PasswordState): Promise<PasswordAnswer>;
}
