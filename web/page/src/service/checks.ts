/** What was typed and picked, held to the rules of a share before anybody signs in: in the reader's language, where it stands. */

import { BadInput, MAX_FILES, MAX_PEOPLE, recipientsOf, Unreadable, verifyDistinct, verifyPath } from "@strongroom/sdk";

import { locale, t } from "../language.js";

export { MAX_LETTER, MAX_TITLE } from "@strongroom/sdk";

/** A file name whose invisible characters are written out: report\u202Efdp.exe reads as a PDF otherwise. */
export const plainName = (path: string): string =>
  path.replaceAll(/[\p{Cc}\p{Cs}\p{Bidi_Control}\u2028\u2029]/gu, (mark) => `[U+${(mark.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`);

/** What is wrong with files of these names, or null. */
export function checkFiles(paths: readonly string[]): string | null {
  if (paths.length === 0) return t("send.fault.files");
  if (paths.length > MAX_FILES) return t("send.fault.many-files", { max: MAX_FILES.toLocaleString(locale()) });
  const bad = paths.find((path) => refused(() => verifyPath(path)));
  if (bad !== undefined) return t("send.fault.name", { name: plainName(bad) });
  return refused(() => verifyDistinct(paths)) ? t("send.fault.distinct") : null;
}

/** The words of a text between which addresses stand; of `Bob <bob@example.com>`, the address alone. */
export const wordsIn = (text: string): readonly string[] =>
  text
    .replaceAll(/"[^"]*"\s*(?=<)/g, "")
    .replaceAll(/(?<=^|[\s,;>])(?:[^\s@<>,;]+\s+)*[^\s@<>,;]*<([^\s<>]+)>/g, " $1 ")
    .split(/[\s,;]+/)
    .filter(Boolean);

const ADDRESS = /^[^\s@,;<>"]+@[^\s@,;<>"]+\.[^\s@,;<>".]+$/;

export const checkAddress = (value: string): string | null => (ADDRESS.test(value) && !refused(() => recipientsOf({ emails: [value] })) ? null : t("address.fault"));

/** `people` and `groups` together. */
export function checkWhom(whom: { readonly people: readonly string[]; readonly groups: readonly string[] }): string | null {
  const count = whom.people.length + whom.groups.length;
  if (count === 0) return t("address.nobody");
  return count > MAX_PEOPLE ? t("address.many", { max: MAX_PEOPLE }) : null;
}

/** Of somebody who is to sign in beside the recipients. */
export const checkSecond = (value: string, recipients: readonly string[]): string | null => checkAddress(value) ?? (recipients.includes(value.toLowerCase()) ? t("send.fault.second") : null);

function refused(check: () => void): boolean {
  try {
    check();
    return false;
  } catch (error) {
    if (error instanceof Unreadable || error instanceof BadInput) return true;
    throw error;
  }
}
