/** The two ways in which evidence is refused. */

import { ErrorNumber, Untrusted } from "../protocol/errors.js";

/** What does not hold: a signature, a form, a date. */
export const refuse = (reason: string): Untrusted => new Untrusted(ErrorNumber.EVIDENCE, reason);

/** What holds, and is not what the relying party asked for. */
export const notAccepted = (reason: string): Untrusted => new Untrusted(ErrorNumber.POLICY, reason);
