/** Progress of a transfer: how far, how fast, how long still. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { duration, size } from "../amounts.js";
import { t } from "../language.js";

interface Pace {
  readonly perSecond: number;
  readonly seconds: number;
}

const WINDOW_MS = 5000;

/** Speed over the last five seconds: an average of all would lie after a pause. */
export function usePace(done: number, total: number): Pace | null {
  const marks = useRef<{ readonly at: number; readonly done: number }[]>([]);
  const now = performance.now();
  const last = marks.current.at(-1);
  if (last === undefined || last.done !== done) marks.current.push({ at: now, done });
  while (marks.current.length > 2 && (marks.current[0]?.at ?? now) < now - WINDOW_MS) marks.current.shift();
  const first = marks.current[0];
  if (first === undefined || now - first.at < 800) return null;
  const perSecond = ((done - first.done) * 1000) / (now - first.at);
  return perSecond <= 0 ? null : { perSecond, seconds: (total - done) / perSecond };
}

/** Says the progress aloud every ten per cent, not at every byte. */
function useSpoken(percent: number, words: string): string {
  const [spoken, setSpoken] = useState("");
  const step = Math.floor(percent / 10);
  useEffect(() => setSpoken(words), [step]);
  return spoken;
}

export function ProgressBar({ done, total, label }: { readonly done: number; readonly total: number; readonly label: string }): JSX.Element {
  const percent = total === 0 ? 100 : Math.min(100, Math.floor((100 * done) / total));
  const spoken = useSpoken(percent, `${label}: ${percent} %`);
  return (
    <>
      <progress class="bar" max={Math.max(1, total)} value={done} aria-label={label} />
      <span class="visually-hidden" role="status">
        {spoken}
      </span>
    </>
  );
}

export function PaceLine({ done, total }: { readonly done: number; readonly total: number }): JSX.Element {
  const pace = usePace(done, total);
  return (
    <p class="pace">
      <span>{t("progress.of", { done: size(done), total: size(total) })}</span>
      {pace !== null && done < total && (
        <>
          <span>{t("progress.speed", { speed: size(pace.perSecond) })}</span>
          <span>{t("progress.left", { time: duration(pace.seconds) })}</span>
        </>
      )}
    </p>
  );
}
