/** Words of the page: one message file per language, the same keys in each (a test compares them). */

import en from "../messages/en.json";
import sv from "../messages/sv.json";
import { Cell } from "./cell.js";
import { recall, remember } from "./memory.js";

export type Key = keyof typeof en;
export type Language = "en" | "sv";
/** Keys that come as `.one` and `.other`. */
export type CountedKey = { [K in Key]: K extends `${infer Stem}.other` ? Stem : never }[Key];
type Values = Readonly<Record<string, string | number>>;

export const LANGUAGES: Readonly<Record<Language, string>> = { en: "English", sv: "Svenska" };

const WORDS: Readonly<Record<Language, Readonly<Record<Key, string>>>> = { en, sv };

const preferred = (): Language => {
  const kept = recall("language");
  if (kept === "en" || kept === "sv") return kept;
  return navigator.language.toLowerCase().startsWith("sv") ? "sv" : "en";
};

export const language = new Cell<Language>(preferred());

/** For dates and numbers: the reader's own variant of the language, so that a Briton reads no American date. */
export function locale(): string {
  return navigator.languages.find((each) => each.toLowerCase().split("-")[0] === language.value) ?? (language.value === "en" ? "en-GB" : language.value);
}

export function chooseLanguage(choice: Language): void {
  remember("language", choice);
  language.value = choice;
}

/** The message of a key, with `{name}` filled in. */
export function t(key: Key, values: Values = {}): string {
  return fill(WORDS[language.value][key], values);
}

/** The message for a number of things: `key.one` or `key.other`, with `{count}` written in the language's way. */
export function counted(key: CountedKey, count: number, values: Values = {}): string {
  const form = new Intl.PluralRules(language.value).select(count) === "one" ? "one" : "other";
  return t(`${key}.${form}` as Key, { count: count.toLocaleString(locale()), ...values });
}

function fill(words: string, values: Values): string {
  return words.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}
