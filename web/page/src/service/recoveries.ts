/** What the reader should know of recoveries, and need not stop for: said until it was read. */

import type { Notice } from "@strongroom/sdk";

import { Cell } from "../cell.js";

export const notices = new Cell<readonly Notice[]>([]);

export function tell(notice: Notice): void {
  notices.value = [...notices.value, notice];
}

/** The reader has seen it. */
export function dismiss(notice: Notice): void {
  notices.value = notices.value.filter((one) => one !== notice);
}
