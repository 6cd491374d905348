/** The two ways in which evidence is refused, and how what it says is quoted. */

import { ErrorNumber, Untrusted } from "../protocol/errors.js";

/** What does not hold: a signature, a form, a date. */
export const refuse = (reason: string): Untrusted => new Untrusted(ErrorNumber.EVIDENCE, reason);

/** What holds, and is not what the relying party asked for. */
export const notAccepted = (reason: string): Untrusted => new Untrusted(ErrorNumber.POLICY, reason);

/** A text that a stranger wrote, in quotes, with nothing in it that is not seen. */
export const visible = (text: string): string =>
  JSON.stringify(text).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
