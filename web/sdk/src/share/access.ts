/** Whom a share is for, and the instructions that say so to the Vault (`spec/share.md`, rules of a share). */

import { BadInput } from "../client/errors.js";
import { type KnownMethod, People, type Policy, anyoneWithEmail, depositorMay, instructions, membersOf, passkeyMethod } from "../client/policy.js";
import { type Bytes, unbase64url } from "../protocol/bytes.js";
import { encode } from "../protocol/codec.js";
import { type AuthenticatorRef, RolePolicy } from "../protocol/messages.js";
import { type Card, MAX_CARDS, MAX_PEOPLE } from "./format.js";
import type { Site } from "./site.js";

/** Whom a share is for. Addresses in lower case, each once. */
export interface Recipients {
  readonly emails: readonly string[];
  readonly groups: readonly string[];
  /** Who has to sign in beside the recipient. */
  readonly second: string | null;
  /** Passkeys that recipients have to use besides. */
  readonly cards: readonly Card[];
}

/** Throws `BadInput` for what can't be meant. */
export function recipientsOf(given: {
  readonly emails: readonly string[];
  readonly groups?: readonly string[];
  readonly second?: string | null;
  readonly cards?: readonly Card[];
}): Recipients {
  const emails = [...new Set(given.emails.map(lower))];
  const groups = [...new Set(given.groups ?? [])];
  const second = given.second == null ? null : lower(given.second);
  const cards = given.cards ?? [];
  if (emails.length + groups.length === 0) throw new BadInput("nobody is to receive this", "name a recipient or a group");
  if (emails.length + groups.length > MAX_PEOPLE) throw new BadInput(`a share has at most ${MAX_PEOPLE} recipients`, "name a group");
  for (const email of second === null ? emails : [...emails, second]) verifyEmail(email);
  if (second !== null && emails.includes(second)) throw new BadInput(`${second} is a recipient already`, "the second person is somebody else");
  const recipients = { emails, groups, second, cards };
  if (cards.length > 0) verifyCards(recipients);
  return recipients;
}

/** Of a share, and of the invitation of a request: recipients may collect; who stored it may all but that. */
export function shareInstructions(site: Site, recipients: Recipients): Promise<Bytes> {
  return build(site, recipients, "collect", depositorMay("update", "delete", "audit"));
}

/** Of the box of a request: those invited may fill it, who stored it may do all else. */
export function boxInstructions(site: Site, invited: Recipients): Promise<Bytes> {
  return build(site, invited, "fill", depositorMay("collect", "update", "delete", "audit"));
}

/** Of a page of the desk: whoever stored it, alone. */
export function deskInstructions(site: Site): Bytes {
  return instructions({ authenticators: authenticatorsOf(site), methods: site.methods, rules: depositorMay("collect", "update", "delete") });
}

async function build(site: Site, recipients: Recipients, action: "collect" | "fill", depositor: Policy): Promise<Bytes> {
  const passkeys = recipients.cards.length > 0 ? await passkeysOf(recipients.cards) : undefined;
  const people = site.methods.map((method) => peopleOf(method, recipients, passkeys, site.methods));
  const rules = people.flatMap((one) => (one === undefined ? [] : [one.may(action)]));
  if (rules.length === 0) throw new BadInput("no sign-in method of the site knows the groups", "name them as the site's directory lists them");
  return instructions({
    authenticators: authenticatorsOf(site),
    methods: passkeys === undefined ? site.methods : [...site.methods, passkeys],
    rules: rules.reduce((all, one) => all.or(one)).or(depositor),
  });
}

/** The recipients, as signed in by one method of the site; nothing if it can sign in none of them. */
function peopleOf(method: KnownMethod, recipients: Recipients, passkeys: KnownMethod | undefined, methods: readonly KnownMethod[]): People | undefined {
  const { emails, second } = recipients;
  const groups = recipients.groups.filter((group) => mayBeTold(group, method));
  const parts: People[] = [];
  if (emails.length > 0 && passkeys === undefined) {
    parts.push(anyoneWithEmail(emails, { method }));
  } else if (passkeys !== undefined) {
    // Each with a passkey of their own: one recipient's must not open what another's e-mail account lets in.
    parts.push(...emails.map((one) => anyoneWithEmail([one], { method }).withPasskey(passkeys, [one])));
  }
  if (groups.length > 0) {
    const members = membersOf(groups, { method });
    parts.push(passkeys === undefined ? members : members.withPasskey(passkeys));
  }
  if (parts.length === 0) return undefined;
  const all = second === null ? parts : parts.map((part) => part.withSecondPerson(second, methods));
  const people = new People(all.map((part) => `(${part.condition})`).join(" || "));
  // A code may be coaxed out of somebody, which a site that sends codes takes into account.
  return method.method.type === "email-code" ? people.allowPhishable() : people;
}

/** Whether this method says of anybody that they are in the group. */
function mayBeTold(group: string, { method }: KnownMethod): boolean {
  return method.type === "directory" ? method.groups.includes(group) : method.type !== "email-code";
}

function passkeysOf(cards: readonly Card[]): Promise<KnownMethod> {
  const passkeys = cards.map((card) => ({
    person: lower(card.name),
    credential_id: unbase64url(card.credential_id),
    public_key: unbase64url(card.public_key),
  }));
  return passkeyMethod(cards[0]?.rp_id ?? "", [...new Set(cards.map((card) => card.origin))], passkeys);
}

function authenticatorsOf(site: Site): readonly AuthenticatorRef[] {
  const policy = encode(RolePolicy, site.policy.authenticator);
  return site.authenticators.map(({ url }) => ({ url, policy }));
}

/** ASCII letters only: the other ones are not compared (RULES 13). */
const lower = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());

function verifyEmail(email: string): void {
  const isMeant = /^[!-?A-~]{1,64}@[!-?A-~]{1,190}$/.test(email) && email.split("@")[1]?.includes(".") === true && email.length <= 254;
  if (!isMeant) throw new BadInput(`${JSON.stringify(email.slice(0, 80))} is not an e-mail address`, "write it as somebody@example.com");
}

function verifyCards({ emails, groups, cards }: Recipients): void {
  if (cards.length > MAX_CARDS) throw new BadInput(`a share takes at most ${MAX_CARDS} passkeys`, "send it several times");
  if (new Set(cards.map((card) => card.rp_id)).size > 1) {
    throw new BadInput("the passkeys were made for different sites", "ask each recipient for one of the same site");
  }
  const names = new Set(cards.map((card) => lower(card.name)));
  const missing = emails.filter((email) => !names.has(email));
  if (missing.length > 0) throw new BadInput(`there is no passkey of ${missing.join(", ")}`, "ask them for their card, or leave them out");
  const stray = [...names].filter((name) => groups.length === 0 && !emails.includes(name)).sort();
  if (stray.length > 0) throw new BadInput(`the passkey of ${stray.join(", ")} is of nobody whom this is for`, "leave it out");
}
