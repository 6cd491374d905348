/** Sizes, times and dates as people write them in their language. */

import { counted, locale, t } from "./language.js";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

/** Bytes in decimal units, as file managers of phones and Macs show them. */
export function size(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const amount = bytes / 1000 ** power;
  const digits = power === 0 || amount >= 100 ? 0 : amount >= 10 ? 1 : 2;
  return new Intl.NumberFormat(locale(), {
    style: "unit",
    unit: UNITS[power] ?? "byte",
    unitDisplay: power === 0 ? "long" : "short",
    maximumFractionDigits: digits,
  }).format(amount);
}

/** Seconds as "2 min" and the like: rounded, because the rest of an upload is a guess. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "…";
  if (seconds < 60) return t("time.seconds", { count: Math.max(1, Math.round(seconds)) });
  if (seconds < 3600) return t("time.minutes", { count: Math.round(seconds / 60) });
  return t("time.hours", { count: Math.round(seconds / 3600) });
}

/** A moment, Unix seconds, as a date with time. */
export function moment(unix: number): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(unix * 1000);
}

/** A day, Unix seconds. */
export function day(unix: number): string {
  return new Intl.DateTimeFormat(locale(), { weekday: "short", day: "numeric", month: "long" }).format(unix * 1000);
}

/** How much is left until `unix`: "in 6 days", "in 3 hours". */
export function until(unix: number, now: number): string {
  const seconds = unix - now;
  const relative = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" });
  if (Math.abs(seconds) >= 86_400) return relative.format(Math.round(seconds / 86_400), "day");
  if (Math.abs(seconds) >= 3600) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 60), "minute");
}

export const files = (count: number): string => counted("amount.files", count);

/** Hex in groups of four, so that two people can compare it aloud. */
export const grouped = (hex: string): string => hex.replace(/(.{4})(?=.)/g, "$1 ");

export const nowSeconds = (): number => Math.floor(Date.now() / 1000);
