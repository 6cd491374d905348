/** Who is signed in, and asking them to. */

import { BrowserPasskeys, ErrorNumber, StrongroomError, Untrusted, hex, type Anywhere, type ShownMethod, type Site } from "@strongroom/sdk";

import { Cell } from "../cell.js";
import { Doorway, redirectPassage, windowPassage, type Passage } from "./doorway.js";
import { currentLink, linked } from "./link.js";
import { Declined, NotForBrowsers, problemOf, say } from "./problem.js";
import { Typing } from "./typing.js";
import type { Form, Person, Problem, SignInQuestion, Way } from "./types.js";

export const people = new Cell<readonly Person[]>([]);
export const question = new Cell<SignInQuestion | null>(null);
export const passkeys = new BrowserPasskeys();
export const doorway = new Doorway(askForClick);
export const typing = new Typing(showForm);

type Purpose = SignInQuestion["purpose"];
/** Whether the page may be left for a redirect: not with picked files, which would be lost. */
export type Leaving = "allowed" | "never";

export function showPeople(): void {
  people.value = (currentLink()?.vault.signedIn ?? []).map((person) => ({ name: person.email || person.subject, provider: providerName(person.provider) }));
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
  // Who stores something must be able to take it back, and rules let nobody do that who came by a code.
  const accounts = accountsAmong(methods, address.by === "namespace" ? "without codes" : "with codes");
  const signedInBy = ({ digest }: ShownMethod): boolean => vault.signedIn.some(({ principal }) => principal.startsWith(`${hex(digest)}:`));
  if (!accounts.some(signedInBy)) await ask(address, accounts, "first", leaving);
  const missing = methods.filter((method) => method.kind === "passkey" && !signedInBy(method));
  if (missing.length > 0) await ask(address, missing, "passkey", "never");
}

/** Somebody else signs in beside whoever has. */
export async function signInSecond(address: Anywhere): Promise<void> {
  const { methods } = await linked().vault.describe(address);
  await ask(address, accountsAmong(methods, "without codes"), "second", "never"); // they would count for nobody else
}

/** The providers that the site names: its operator answers for them. */
export const providersOf = ({ methods }: Site): ReadonlySet<string> => new Set(methods.flatMap(({ method }) => (method.type === "oidc" ? [method.public.issuer] : [])));

/** The directories that the site names, by their digests: a name alone, anybody can give. */
export const directoriesOf = ({ methods }: Site): ReadonlySet<string> => new Set(methods.flatMap(({ method, digest }) => (method.type === "directory" ? [hex(digest)] : [])));

/** What people say who they are with: the first choice first. */
const ACCOUNTS: readonly ShownMethod["kind"][] = ["oidc", "directory", "email-code"];
const FOR_PROGRAMS: readonly ShownMethod["kind"][] = ["workload", "keys", "enclave"];

/**
 * Those ways to say who one is with which a record can be asked for. A sender could name a provider or a directory that
 * only looks like one of the site's, and get passwords; a code that comes by e-mail is of no use anywhere else.
 */
function accountsAmong(methods: readonly ShownMethod[], which: "with codes" | "without codes"): readonly ShownMethod[] {
  const { site } = linked();
  const [providers, directories] = [providersOf(site), directoriesOf(site)];
  const isKnown = (method: ShownMethod): boolean => (method.kind === "oidc" ? providers.has(method.issuer) : method.kind !== "directory" || directories.has(hex(method.digest)));
  const kinds = which === "with codes" ? ACCOUNTS : ACCOUNTS.filter((kind) => kind !== "email-code");
  const offered = kinds.flatMap((kind) => methods.filter((method) => method.kind === kind));
  const found = offered.filter(isKnown);
  if (found.length > 0) return found;
  if (methods.length > 0 && methods.every(({ kind }) => FOR_PROGRAMS.includes(kind))) throw new NotForBrowsers();
  const names = offered.map((method) => (method.kind === "oidc" ? method.issuer : wayOf(method).name));
  throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, `it asks for a sign-in at ${names.join(", ") || "no provider"}, which this site does not know`);
}

/** The sign-in that runs or was given up: the next one begins when it is over. */
let last: Promise<unknown> = Promise.resolve();
/** Where forms are shown of the sign-in that runs; null: no click began it, so it is one that has run out. */
let place: ((form: Form | null) => void) | null = null;

function showForm(form: Form | null): void {
  if (place !== null) return place(form);
  const cancel = (): void => {
    question.value = null;
    typing.cancel();
  };
  question.value = form === null ? null : { purpose: "again", ways: [], stage: form, problem: null, choose: () => undefined, back: null, redirect: null, cancel };
}

function ask(address: Anywhere, methods: readonly ShownMethod[], purpose: Purpose, leaving: Leaving): Promise<void> {
  const { vault } = linked();
  const ways = methods.map((method) => ({ way: wayOf(method), method }));
  return new Promise((resolve, reject) => {
    let passage: Passage | null = null;
    let attempt = 0;
    const show = (stage: SignInQuestion["stage"], problem: Problem | null, redirect: (() => void) | null): void => {
      question.value = { purpose, ways: ways.map(({ way }) => way), stage, problem, choose, back: ways.length > 1 ? back : null, redirect, cancel };
    };
    const run = (method: ShownMethod, by: Passage): void => {
      const mine = ++attempt;
      const before = last;
      const signIn = async (): Promise<void> => {
        await before;
        // who gave up before the form came must not be waited for
        place = (form) => (mine === attempt ? show(form ?? "working", null, null) : typing.cancel());
        try {
          await doorway.through(by, () => vault.signIn(address, { method, joining: purpose === "first" ? "alone" : "joined" }));
        } finally {
          place = null;
        }
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
        run(method, passageOf(method));
        show(isTyped(way) ? "working" : "elsewhere", null, leave(method));
      } catch (error) {
        if (!(error instanceof StrongroomError)) throw error;
        show("choose", say("popup", "retry", ""), leave(method));
      }
    };
    const giveUp = (): void => {
      attempt++;
      passage?.close();
    };
    const back = (): void => {
      giveUp();
      show("choose", null, null);
    };
    const cancel = (): void => {
      giveUp();
      question.value = null;
      reject(new Declined());
    };
    const only = ways.length === 1 ? ways[0]?.way : undefined;
    // the click that led here still counts for opening a window: no second one for a single choice
    if (only !== undefined && (isTyped(only) || (navigator.userActivation?.isActive && purpose === "first"))) choose(only);
    else show("choose", null, null);
  });
}

/** Whether the user types something here. */
const isTyped = ({ kind }: Way): boolean => kind === "directory" || kind === "code";

function passageOf({ kind }: ShownMethod): Passage {
  if (kind === "oidc") return windowPassage();
  return kind === "passkey" ? NO_PASSAGE : { ...NO_PASSAGE, close: () => typing.cancel() };
}

/** A passkey goes through no door, nor does what is typed here. */
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
      question.value = { purpose: "again", ways: [way], stage: "choose", problem, choose, back: null, redirect: null, cancel };
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

function wayOf(method: ShownMethod): Way {
  switch (method.kind) {
    case "oidc":
      return { kind: "provider", name: providerName(method.issuer) };
    case "passkey":
      return { kind: "passkey", name: method.passkeys.rp_id };
    case "directory":
      return { kind: "directory", name: method.name };
    case "email-code":
      return { kind: "code", name: method.sender };
    default:
      throw new NotForBrowsers();
  }
}

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
