/** Preferences that survive a visit. Private windows may forbid storage: then they last as long as the page. */

const held = new Map<string, string>();

type Preference = "language" | "appearance";

export function recall(name: Preference): string | null {
  try {
    return localStorage.getItem(`strongroom.${name}`);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return held.get(name) ?? null;
  }
}

export function remember(name: Preference, value: string): void {
  held.set(name, value);
  try {
    localStorage.setItem(`strongroom.${name}`, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}
