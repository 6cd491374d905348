/** Codes that come by e-mail, for people who have no account anywhere. What the user types is kept nowhere. */

import type { Refused } from "../../protocol/errors.js";
import type { ShownCodes } from "../results.js";

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

/** Eight digits, whatever was copied around them. */
export const plainCode = (typed: string): string => typed.replaceAll(/[\s\u2010-\u2015-]/g, "");
