/**
 * The SDK for tests in another language: one JSON message a line, `{"hex": …}` for bytes.
 *
 * In: `{id, call, args}`, where `call` is `open` with what a Vault is made of, a method of the Vault that was opened, or
 * one of `OTHER`; `{answer}` to an event. Out: `{id, result}`, `{id, error: {number, family, message, version}}`, and
 * events that ask for an answer: `{event: "authorize", url}`, `{event: "assert", challenge}`, and `{event: "code"}` and
 * `{event: "password"}` with what the user is shown; an answer of null gives up. Calls run in parallel.
 */

import { createInterface } from "node:readline";

import { RolledBack } from "../src/client/attacks.js";
import { Checkpoints } from "../src/client/checkpoints.js";
import { forgetKey, loadOrMakeKey } from "../src/client/keys.js";
import type { Assertion } from "../src/client/passkeys.js";
import type { CodeAnswer } from "../src/client/sign_in/code.js";
import type { PasswordAnswer } from "../src/client/sign_in/password.js";
import * as builders from "../src/client/policy.js";
import { type RedirectResult, deliverRedirect } from "../src/client/redirect.js";
import { explainNotice } from "../src/client/standings.js";
import { MemoryShelf } from "../src/client/storage.js";
import { type Changes, Vault } from "../src/client/vault.js";
import { type Bytes, hex, unhex } from "../src/protocol/bytes.js";
import { decode } from "../src/protocol/codec.js";
import { ErrorNumber, Refused, StrongroomError } from "../src/protocol/errors.js";
import { AuthenticatorRef, TrustPolicy } from "../src/protocol/messages.js";
import { sharing } from "./share_driver.js";

type Call = (...args: readonly never[]) => unknown;

const revive = (_name: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && "hex" in value ? unhex(String(value.hex)) : value;
const replace = (_name: string, value: unknown): unknown => (value instanceof Uint8Array ? { hex: hex(value) } : value);
const say = (message: object): unknown => process.stdout.write(`${JSON.stringify(message, replace)}\n`);

const waiting: ((answer: unknown) => void)[] = [];
const ask = <T>(event: object): Promise<T> => {
  say(event);
  return new Promise((resolve) => waiting.push(resolve as (answer: unknown) => void));
};

interface Opening {
  readonly url: string;
  readonly policy: Bytes;
  /** Where the callback page sends the user back to; null for a window of its own. */
  readonly returnTo: string | null;
  /** Digests, in hex, of the directories that the user has approved of. */
  readonly directories: readonly string[];
}

/** As `ask`, of a user who may give up. */
async function askUser<T>(event: object): Promise<T> {
  const answer = await ask<T | null>(event);
  if (answer === null) throw new Refused(ErrorNumber.SIGN_IN_PENDING, "the user gave up");
  return answer;
}

const shelf = new MemoryShelf();
const keys = new MemoryShelf();
const checkpoints = new Checkpoints(new MemoryShelf());
let vault: Vault;
/** What a page would offer to save. */
let attack: RolledBack | null = null;
const notices: { readonly about: string; readonly text: string }[] = [];

/** A page that the user leaves for the provider: nothing of it goes on. */
async function leave(url: string): Promise<RedirectResult> {
  await ask({ event: "authorize", url });
  return new Promise(() => undefined);
}

const OTHER: Record<string, Call> = {
  /** Again: the page is loaded anew, and knows what it has kept. */
  open: async ({ url, policy, returnTo, directories }: Opening) => {
    const stay = { returnTo: null, authorize: (url: string) => ask<RedirectResult>({ event: "authorize", url }) };
    vault = new Vault({
      url,
      policy: decode(policy, TrustPolicy, 2 ** 20),
      bindingKey: await loadOrMakeKey(keys),
      signIn: returnTo === null ? stay : { returnTo, authorize: leave },
      passkeys: { assert: (challenge) => ask<Assertion>({ event: "assert", challenge }) },
      codes: {
        ask: ({ method: { sender }, problem, ...state }) => askUser<CodeAnswer>({ event: "code", sender, ...state, problem: problem?.number ?? null }),
      },
      passwords: {
        ask: ({ directory: { name }, authenticator, problem }) => askUser<PasswordAnswer>({ event: "password", name, authenticator, problem: problem?.number ?? null }),
      },
      directories: new Set(directories),
      shelf,
      checkpoints,
      notice: (notice) => notices.push({ about: notice.about, text: explainNotice(notice) }),
    });
  },
  evidence: () => attack?.evidence ?? null,
  /** What the user was told since it was asked last. */
  notices: () => notices.splice(0),
  /** What the callback page does. */
  deliver: (query: string) => deliverRedirect(query, shelf),
  forgetKey: () => forgetKey(keys),
  signedIn: () => vault.signedIn,
  instructions: async (given: { authenticators: Bytes[]; methods: Bytes[]; collectors: string[] }) => {
    const methods = await Promise.all(given.methods.map(builders.knownMethod));
    const [method] = methods;
    if (method === undefined) throw new Error("no method");
    const rules = builders.anyoneWithEmail(given.collectors, { method }).may("collect").or(builders.depositorMay("update", "delete", "audit"));
    const authenticators = given.authenticators.map((one) => decode(one, AuthenticatorRef, 2 ** 20));
    return builders.instructions({ authenticators, methods, rules });
  },
  rules: async (given: { oidc: Bytes; passkeys: Bytes; name: string }) => {
    const method = await builders.knownMethod(given.oidc);
    const passkeys = await builders.knownMethod(given.passkeys);
    const issuer = method.method.type === "oidc" ? method.method.public.issuer : "";
    const bob = builders.anyoneWithEmail(["Bob@Example.com", "al@example.com"], { method });
    return [
      bob.may("collect", "audit", "collect"),
      bob.allowPhishable().may("collect"),
      bob.withPasskey(passkeys).may("collect"),
      bob.withSecondPerson("Carol@example.com", [method]).may("fill"),
      bob.withPasskey(passkeys, ["bob@example.com"]).withSecondPerson("carol@example.com", [method]).may("collect"),
      builders.anyoneInDomain(["example.com"], { issuer }).may("describe"),
      builders.membersOf(["\u{1f511} keys", "\uff5e", 'a "quoted" \\ one'], { issuer }).may("create"),
      builders.person(method, given.name).may("update"),
      builders.anyoneSignedIn(method).may("admin", "set-quota").or(builders.depositorMay("delete")),
    ].map((policy) => policy.cedar);
  },
  // An optional change is absent, which JSON's null is not.
  update: (address: string, changes: Changes, how: object) => vault.update(address, changes, how),
  ...sharing(() => vault),
};

async function run(call: string, args: readonly never[]): Promise<unknown> {
  const other = OTHER[call];
  if (other !== undefined) return other(...args);
  const method = (vault as unknown as Record<string, Call>)[call];
  if (method === undefined) throw new Error(`no such call: ${call}`);
  return method.apply(vault, args as never);
}

function shown(error: unknown): object {
  if (error instanceof RolledBack) attack = error;
  if (!(error instanceof StrongroomError)) return { number: 0, family: "crash", message: String(error instanceof Error ? error.stack : error) };
  return { number: error.number, family: error.constructor.name, message: error.message, version: error.version };
}

const elements = (result: unknown): unknown =>
  Array.isArray(result) ? result.map((one) => (one instanceof StrongroomError ? { error: shown(one) } : one)) : result;

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line, revive) as { id: number; call: string; args: never[]; answer?: unknown };
  if (message.answer !== undefined) waiting.shift()?.(message.answer);
  else {
    const { id, call, args } = message;
    run(call, args).then(
      (result) => say({ id, result: elements(result) ?? null }),
      (error: unknown) => say({ id, error: shown(error) }),
    );
  }
}
