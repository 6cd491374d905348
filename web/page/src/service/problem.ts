/** What an error means to whoever reads it: what happened, and what to do. */

import { BadInput, Cancelled, Damaged, ErrorNumber, HostFailed, Missing, NotReady, Refused, RolledBack, StrongroomError, Unavailable, Unreachable, Untrusted } from "@strongroom/sdk";

import { t, type Key } from "../language.js";
import type { Alarm, Problem } from "./types.js";

type Name = { [K in Key]: K extends `problem.${infer N}.title` ? N : never }[Key];

/** The user closed the sign-in. */
export class Declined extends Error {}

/** A request for files takes one answer, and has it. */
export class Answered extends Error {}

/** The record asks for what programs sign in with. */
export class NotForBrowsers extends Error {}

const BY_NUMBER: Readonly<Partial<Record<ErrorNumber, readonly [Name, Problem["remedy"]]>>> = {
  [ErrorNumber.TOO_LARGE]: ["too-large", "none"],
  [ErrorNumber.CONFLICT]: ["conflict", "retry"],
  [ErrorNumber.QUOTA_EXCEEDED]: ["quota", "none"],
  [ErrorNumber.STORE_FULL]: ["quota", "none"],
  [ErrorNumber.REFUSED]: ["refused", "sign-in"],
  [ErrorNumber.THROTTLED]: ["throttled", "retry"],
  [ErrorNumber.SIGN_IN_REFUSED]: ["sign-in", "retry"],
  [ErrorNumber.SIGN_IN_PENDING]: ["sign-in-cancelled", "retry"],
  [ErrorNumber.CLOSED]: ["closed", "ask-sender"],
  [ErrorNumber.EXPIRED]: ["expired", "ask-sender"],
  [ErrorNumber.OPENED_OUT]: ["opened-out", "ask-sender"],
  [ErrorNumber.CLOCK]: ["clock", "retry"],
  [ErrorNumber.ROLLED_BACK]: ["rolled-back", "stop"],
  [ErrorNumber.LOG_OMITTED]: ["log-omitted", "stop"],
  [ErrorNumber.PROVIDER_UNAVAILABLE]: ["provider", "retry"],
  [ErrorNumber.PROVIDER_SLOW]: ["provider", "retry"],
  [ErrorNumber.AUTHENTICATOR_UNAVAILABLE]: ["provider", "retry"],
  [ErrorNumber.WITNESSES_UNAVAILABLE]: ["witnesses", "retry"],
  [ErrorNumber.LEASE_ENDED]: ["lease", "retry"],
};

const ALARMS: readonly ErrorNumber[] = [ErrorNumber.ROLLED_BACK, ErrorNumber.LOG_OMITTED];

/** Who is told of what concerns the whole page, whichever view it came up in. */
let onAlarm: (problem: Problem) => void = () => undefined;

export function followAlarms(follower: (problem: Problem) => void): void {
  onAlarm = follower;
}


/** The words for an error. One that is an attack on everybody raises the alarm, too. */
export function problemOf(error: unknown): Problem {
  const problem = wordsFor(error);
  if (problem.alarm !== null) onAlarm(problem);
  return problem;
}

function wordsFor(error: unknown): Problem {
  if (error instanceof Declined) return say("sign-in-cancelled", "retry", "");
  if (error instanceof Answered) return say("answered", "none", "");
  if (error instanceof NotForBrowsers) return say("programs", "none", "");
  if (error instanceof DOMException && error.name === "AbortError") return say("cancelled", "retry", "");
  if (!(error instanceof StrongroomError)) {
    console.error(error);
    return say("unknown", "none", String(error));
  }
  const [name, remedy] = nameOf(error);
  const problem = say(name, remedy, name === "cancelled" ? "" : `${error.message}. ${error.hint}`);
  return ALARMS.includes(error.number) ? { ...problem, alarm: alarmOf(error) } : problem;
}

const alarmOf = (error: StrongroomError): Alarm => ({
  evidence: error instanceof RolledBack ? { name: error.fileName, text: error.evidence } : null,
});

/** A problem that the page itself noticed. */
export function say(name: Name, remedy: Problem["remedy"], detail: string): Problem {
  return { title: t(`problem.${name}.title`), text: t(`problem.${name}.text`), remedy, detail, alarm: null };
}

function nameOf(error: StrongroomError): readonly [Name, Problem["remedy"]] {
  if (error instanceof Cancelled) return ["cancelled", "retry"];
  if (error instanceof Damaged) return ["tampered", "stop"];
  if (error instanceof NotReady) return ["uploading", "retry"];
  if (error instanceof Missing) return ["missing", "ask-sender"];
  if (error instanceof Unreachable || (error instanceof HostFailed && error.passing && error.status === 0)) return ["unreachable", "retry"];
  if (error instanceof HostFailed && error.status === 507) return ["full", "none"];
  if (error instanceof HostFailed && error.status === 413) return ["too-large", "none"];
  const known = BY_NUMBER[error.number];
  if (known !== undefined && !(error instanceof BadInput)) return known;
  if (error instanceof Untrusted) return ["untrusted", "stop"];
  if (error instanceof Unavailable) return ["busy", "retry"];
  if (error instanceof Refused) return ["refused", "sign-in"];
  return ["input", "none"];
}
