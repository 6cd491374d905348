/** Who is signed in, and asking them to. */

import { BrowserPasskeys, ErrorNumber, StrongroomError, Untrusted, type Anywhere, type ShownMethod, type Site } from "@strongroom/sdk";

import { Cell } from "../cell.js";
import { Doorway, redirectPassage, windowPassage, type Passage } from "./doorway.js";
import { linked } from "./link.js";
import { Declined, problemOf, say } from "./problem.js";
import type { Person, Problem, SignInQuestion, Way } from "./types.js";

export const people = new Cell<readonly Person[]>([]);
export const question = new Cell<SignInQuestion | null>(null);
export const passkeys = new BrowserPasskeys();
export const doorway = new Doorway(askForClick);

type Purpose = SignInQuestion["purpose"];
/** Whether the page may be left for a redirect: not with picked files, which would be lost. */
export type Leaving = "allowed" | "never";

export function showPeople(): void {
  people.value = linked().vault.signedIn.map((person) => ({ name: person.email || person.subject, provider: providerName(person.provider) }));
}

/** What became of a sign-in that left the page, if it did not work. */
export const trouble = new Cell<Problem | null>(null);

/** Finishes the sign-in that the user comes back from, if there is one. */
export async function resumeSignIn(): Promise<void> {
  try {
    await linked().vault.resumeSignIn();
  } catch (error) {
    trouble.value = problemOf(error); // the connection is as good as before
  }
  showPeople();
}

export function signOut(): void {
  linked().vault.signOut();
  people.value = [];
}

/** Signed in so that `address` can be asked for, by whatever its instructions ask beside an account. */
export async function signInFor(address: Anywhere, leaving: Leaving): Promise<void> {
  const { vault } = linked();
  const { methods } = await vault.describe(address);
  const accounts = accountsAmong(methods);
  const known = (): boolean => vault.signedIn.some((person) => accounts.some((method) => method.issuer === person.provider));
  if (!known()) await ask(address, accounts, "first", leaving);
  const cards = methods.filter((method) => method.kind === "passkey");
  const missing = cards.filter((method) => !vault.signedIn.some((person) => person.provider === method.passkeys.rp_id));
  if (missing.length > 0) await ask(address, missing, "passkey", "never");
}

/** Somebody else signs in beside whoever has. */
export async function signInSecond(address: Anywhere): Promise<void> {
  const { methods } = await linked().vault.describe(address);
  await ask(address, accountsAmong(methods), "second", "never");
}

/** The providers that the site names: its operator answers for them. */
export const providersOf = ({ methods }: Site): ReadonlySet<string> => new Set(methods.flatMap(({ method }) => (method.type === "oidc" ? [method.public.issuer] : [])));

/** Those accounts of the site with which a record can be asked for. A sender could name a provider that only looks like one. */
function accountsAmong(methods: readonly ShownMethod[]): readonly Extract<ShownMethod, { kind: "oidc" }>[] {
  const site = providersOf(linked().site);
  const offered = methods.filter((method) => method.kind === "oidc");
  const found = offered.filter(({ issuer }) => site.has(issuer));
  if (found.length > 0) return found;
  throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, `it asks for a sign-in at ${offered.map(({ issuer }) => issuer).join(", ") || "no provider"}, which this site does not know`);
}

/** The sign-in that runs or was given up: the next one begins when it is over. */
let last: Promise<unknown> = Promise.resolve();

function ask(address: Anywhere, methods: readonly ShownMethod[], purpose: Purpose, leaving: Leaving): Promise<void> {
  const { vault } = linked();
  const ways = methods.map((method) => ({ way: wayOf(method), method }));
  return new Promise((resolve, reject) => {
    let passage: Passage | null = null;
    let attempt = 0;
    const show = (stage: SignInQuestion["stage"], problem: Problem | null, redirect: (() => void) | null): void => {
      question.value = { purpose, ways: ways.map(({ way }) => way), stage, problem, choose, redirect, cancel };
    };
    const run = (method: ShownMethod, by: Passage): void => {
      const mine = ++attempt;
      const before = last;
      const signIn = async (): Promise<void> => {
        await before;
        await doorway.through(by, () => vault.signIn(address, { method, joining: purpose === "first" ? "alone" : "joined" }));
      };
      passage = by;
      const running = signIn();
      last = running.catch(() => undefined); // whoever waits for its end hears of an error below
      running.then(
        () => {
          if (mine !== attempt) return;
          question.value = null;
          showPeople();
          resolve();
        },
        (error: unknown) => mine === attempt && show("choose", problemOf(error), null),
      );
    };
    const leave = (method: ShownMethod): (() => void) | null => {
      if (leaving === "never" || method.kind !== "oidc") return null;
      return () => {
        passage?.close();
        run(method, redirectPassage());
      };
    };
    const choose = (way: Way): void => {
      const method = ways.find((each) => each.way === way)?.method;
      if (method === undefined) return;
      passage?.close();
      try {
        run(method, method.kind === "oidc" ? windowPassage() : NO_PASSAGE);
        show("elsewhere", null, leave(method));
      } catch (error) {
        if (!(error instanceof StrongroomError)) throw error;
        show("choose", say("popup", "retry", ""), leave(method));
      }
    };
    const cancel = (): void => {
      attempt++;
      passage?.close();
      question.value = null;
      reject(new Declined());
    };
    const only = ways.length === 1 ? ways[0]?.way : undefined;
    // the click that led here still counts for opening a window: no second one for a single choice
    if (only !== undefined && navigator.userActivation?.isActive && purpose === "first") choose(only);
    else show("choose", null, null);
  });
}

/** A passkey goes through no door. */
const NO_PASSAGE: Passage = {
  returnTo: null,
  close: () => undefined,
  authorize: () => {
    throw new Declined();
  },
};

/** A sign-in that begins by itself still needs a click, or no window would open. The dialog names the place it leads to. */
function askForClick(url: string): Promise<Passage> {
  return new Promise((resolve, reject) => {
    const way: Way = { kind: "provider", name: providerName(url) };
    const cancel = (): void => {
      question.value = null;
      reject(new Declined());
    };
    const show = (problem: Problem | null): void => {
      question.value = { purpose: "again", ways: [way], stage: "choose", problem, choose, redirect: null, cancel };
    };
    const choose = (): void => {
      try {
        resolve(windowPassage());
        question.value = null;
      } catch (error) {
        if (!(error instanceof StrongroomError)) throw error;
        show(say("popup", "retry", ""));
      }
    };
    show(null);
  });
}

const wayOf = (method: ShownMethod): Way =>
  method.kind === "oidc" ? { kind: "provider", name: providerName(method.issuer) } : { kind: "passkey", name: method.passkeys.rp_id };

const PROVIDERS: Readonly<Record<string, string>> = {
  "login.microsoftonline.com": "Microsoft",
  "accounts.google.com": "Google",
  "appleid.apple.com": "Apple",
};

/** A provider as people know it: its name if it is one of the big ones, else where it lives. */
export function providerName(issuer: string): string {
  if (!URL.canParse(issuer)) return issuer;
  const { hostname, host } = new URL(issuer);
  return PROVIDERS[hostname] ?? host;
}
