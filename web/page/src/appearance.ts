/** Light or dark: the system's wish unless the reader chose. */

import { Cell } from "./cell.js";
import { recall, remember } from "./memory.js";

export type Appearance = "system" | "light" | "dark";
export const APPEARANCES: readonly Appearance[] = ["system", "light", "dark"];

const kept = recall("appearance");
export const appearance = new Cell<Appearance>(kept === "light" || kept === "dark" ? kept : "system");

export function chooseAppearance(choice: Appearance): void {
  remember("appearance", choice);
  appearance.value = choice;
}

/** Keeps the document's attribute, which the style sheet reads, in step. */
export function dressDocument(): void {
  const dress = (choice: Appearance): void => {
    if (choice === "system") delete document.documentElement.dataset["appearance"];
    else document.documentElement.dataset["appearance"] = choice;
  };
  dress(appearance.value);
  appearance.follow(dress);
}
