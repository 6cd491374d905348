/**
 * What users type to sign in where no other page asks them: codes that came by e-mail, and passwords of directories.
 *
 * It goes to an Authenticator that the client's own policy accepts, inside a session with its enclave, and is kept nowhere.
 */

import { ErrorNumber, Refused } from "../../protocol/errors.js";
import type { ShownCodes, ShownDirectory } from "../results.js";

/** How often one code may be tried. The Authenticator counts, too. */
export const CODE_TRIES = 5;

/** Where a sign-in with a code stands when the user is asked. */
export interface CodeState {
  readonly method: ShownCodes;
  /** Where a code is on its way to; null before the first. Nobody is told whether that address gets any. */
  readonly email: string | null;
  /** Unix seconds, by the Authenticator's clock; 0 before the first code. */
  readonly expiresAt: number;
  /** Of the code that was sent last. */
  readonly triesLeft: number;
  /** Why the last thing that the user said did not do. */
  readonly problem: Refused | null;
}

/** Have a code sent to an address, once more or first; or the code. */
export type CodeAnswer = { readonly email: string } | { readonly code: string };

/** Who asks the user for an address and a code. Throws `Refused` SIGN_IN_PENDING when the user gives up. */
export interface Codes {
  ask(state: CodeState): Promise<CodeAnswer>;
}

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

/** The user typed something wrong, or too often: they are told, and may go on. Whatever else it is, is thrown. */
export function orWrong(error: unknown): Refused {
  const numbers: readonly number[] = [ErrorNumber.SIGN_IN_REFUSED, ErrorNumber.THROTTLED];
  if (error instanceof Refused && numbers.includes(error.number)) return error;
  throw error;
}

/** Eight digits, whatever was copied around them. */
export const plainCode = (typed: string): string => typed.replaceAll(/[\s\u2010-\u2015-]/g, "");
