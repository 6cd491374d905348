/**
 * Builders of rules and instructions: who may do what with a record, without writing Cedar by hand. The text is that of
 * Python's builders, to the character.
 *
 *     const method = await knownMethod(definition);
 *     const rules = anyoneWithEmail(["bob@example.com"], { method }).may("collect").or(depositorMay("update", "delete"));
 *     const bytes = instructions({ authenticators, methods: [method], rules });
 */

import { type Bytes, compareBytes, hex, utf8 } from "../protocol/bytes.js";
import { encode } from "../protocol/codec.js";
import { ErrorNumber, Misuse } from "../protocol/errors.js";
import { type Action, Method, methodDigest, parseInstructions, parseMethod } from "../protocol/instructions.js";
import { type AuthenticatorRef, Instructions, type Passkey } from "../protocol/messages.js";

/** A sign-in method with its exact bytes, and the digest that principals are filed under. */
export interface KnownMethod {
  readonly method: Method;
  readonly definition: Bytes;
  readonly digest: Bytes;
}

/** Which sign-ins are meant: those by a provider, or by exactly one method. Providers disagree about who somebody is. */
export type Provider = { readonly issuer: string } | { readonly method: KnownMethod };

/** Throws `Misuse` METHOD_INVALID. */
export async function knownMethod(definition: Bytes): Promise<KnownMethod> {
  return { method: parseMethod(definition), definition, digest: await methodDigest(definition) };
}

/**
 * Sign-in with one of these passkeys. `rpId` is the domain that they were made for, `origins` the pages on which they may
 * be used (`https://host`), each on that domain or below it.
 */
export function passkeyMethod(rpId: string, origins: readonly string[], passkeys: readonly Passkey[]): Promise<KnownMethod> {
  const credentialIds = passkeys.map((passkey) => passkey.credential_id);
  const shown = { rp_id: rpId, origins, credential_ids: credentialIds };
  return knownMethod(encode(Method, { type: "passkey", public: shown, passkeys }));
}

/** Some people. `may` says what they may do; until then this is no rule. */
export class People {
  /** A Cedar condition over `context`. */
  readonly condition: string;
  readonly #signedIn: string;

  constructor(condition: string, signedIn = "!context.identity.phishable") {
    this.condition = condition;
    this.#signedIn = signedIn;
  }

  /** Also count sign-ins by device flow, which somebody may have been tricked into for somebody else. */
  allowPhishable(): People {
    return new People(this.condition, "");
  }

  /**
   * Only together with a passkey of `method`: of one of `persons`, by default of anybody whom it lists. Both sign-ins
   * stand on one ticket: see `Vault.signIn`.
   */
  withPasskey(method: KnownMethod, persons: readonly string[] = []): People {
    const listed = method.method.type === "passkey" ? method.method.passkeys.map((passkey) => passkey.person) : [];
    const named = persons.length > 0 ? persons : listed;
    const unlisted = [...new Set(named)].filter((person) => !listed.includes(person)).sort();
    if (unlisted.length > 0) throw invalid(`the method has no passkey of ${unlisted.join(", ")}`);
    return this.#and(`context.identity.others.containsAny(${set(named.map((person) => `${hex(method.digest)}:${person}`))})`);
  }

  /**
   * Only together with whoever has this verified address, says one of `methods`, and who is somebody else: has another
   * verified address. Whoever holds two accounts with two addresses is two people.
   */
  withSecondPerson(email: string, methods: readonly KnownMethod[]): People {
    const [address = ""] = ascii([email]);
    if (methods.length === 0) throw invalid("name the methods by which the second person may sign in");
    const pairs = methods.map((method) => `${hex(method.digest)} ${address}`);
    return this.#and(
      `context.identity.other_emails.containsAny(${set(pairs)})` +
        ` && context.identity has email && context.identity.email != ${cedarString(address)}`,
    );
  }

  /** Rules that permit these people these actions. */
  may(...actions: readonly [Action, ...Action[]]): Policy {
    const permitted = [...new Set(actions)].sort();
    const listed = permitted.map((action) => `Action::${cedarString(action)}`).join(", ");
    const condition = [`(${this.condition})`, this.#signedIn].filter((part) => part !== "").join(" && ");
    const toPhishable = this.#signedIn === "" ? permitted : [];
    return new Policy(`permit (principal, action in [${listed}], resource)\nwhen { ${condition} };\n`, permitted, toPhishable);
  }

  #and(condition: string): People {
    return new People(`(${this.condition}) && (${condition})`, this.#signedIn);
  }
}

/** Rules, and which actions they permit to somebody. */
export class Policy {
  /** Cedar text. */
  readonly cedar: string;
  readonly permitted: readonly Action[];
  /** Those also to sign-ins that somebody may have been tricked into for somebody else. */
  readonly permittedToPhishable: readonly Action[];

  constructor(cedar: string, permitted: readonly Action[], permittedToPhishable: readonly Action[] = permitted) {
    this.cedar = cedar;
    this.permitted = permitted;
    this.permittedToPhishable = permittedToPhishable;
  }

  /** Permits what either permits. */
  or(other: Policy): Policy {
    const toPhishable = [...this.permittedToPhishable, ...other.permittedToPhishable];
    return new Policy(`${this.cedar}\n${other.cedar}`, [...this.permitted, ...other.permitted], toPhishable);
  }
}

/** Whoever has one of these verified addresses. */
export const anyoneWithEmail = (emails: readonly string[], by: Provider): People =>
  signedInBy(by, `context.identity has email && ${oneOf(ascii(emails), "email")}`);

/** Whoever has a verified address in one of exactly these domains; subdomains are others. */
export const anyoneInDomain = (domains: readonly string[], by: Provider): People =>
  signedInBy(by, `context.identity has domain && ${oneOf(ascii(domains), "domain")}`);

/** Members of at least one of these groups, written as the provider writes them. */
export const membersOf = (groups: readonly string[], by: Provider): People =>
  signedInBy(by, `context.identity.groups.containsAny(${set(groups)})`);

/** Exactly one person: the stable subject that this method gave. */
export const person = (method: KnownMethod, subject: string): People =>
  new People(`context.identity.principal == ${cedarString(`${hex(method.digest)}:${subject}`)}`);

/** Everybody whom this method signs in. */
export const anyoneSignedIn = (method: KnownMethod): People => signedInBy({ method }, "true");

/** Whoever stored the record, signed in by the same method. */
export const depositor = (): People => new People("context.record.depositor == context.identity.principal");

/** The same, but for sign-ins by code or by device flow; those take `depositor().allowPhishable()`. */
export const depositorMay = (...actions: readonly [Action, ...Action[]]): Policy => depositor().may(...actions);

/** What instructions are made of. */
export interface InstructionsParts {
  readonly authenticators: readonly AuthenticatorRef[];
  readonly methods: readonly KnownMethod[];
  readonly rules: Policy;
  /** How many Authenticators must agree; 1 by default. */
  readonly quorum?: number;
}

/**
 * Encoded instructions, checked as far as a client without Cedar can. Throws `Misuse` INSTRUCTIONS_INVALID,
 * RULES_INVALID, and LOCKS_OUT when nobody could update or nobody could delete.
 */
export function instructions({ authenticators, methods, rules, quorum = 1 }: InstructionsParts): Bytes {
  verifyProviders(rules.cedar, methods);
  const permitted = methods.length > 0 && methods.every(isPhishable) ? rules.permittedToPhishable : rules.permitted;
  if (!permitted.includes("update") || !permitted.includes("delete")) throw new Misuse(ErrorNumber.LOCKS_OUT);
  const encoded = encode(Instructions, {
    schema_version: 1,
    authenticators,
    quorum,
    methods: methods.map((method) => method.definition),
    rules: rules.cedar,
    permanent: false,
  });
  parseInstructions(encoded);
  return encoded;
}

/** Whether whoever signs in by it may have been tricked into it, whatever they do. */
function isPhishable({ method }: KnownMethod): boolean {
  return method.type === "email-code" || (method.type === "oidc" && method.public.audiences.every((audience) => audience.channel === "device"));
}

const NAMED = /context\.identity\.(issuer|method) == ("(?:[^"\\]|\\.)*")/g;
/** Whom rules mean by principal or address: those of other sign-ins or approvals, and of this one. */
const LISTED = [
  /context\.(?:identity\.other(?:s|_emails)|record\.approvals)\.contains(?:Any|All)?\(\[?([^)\]]*)/g,
  /context\.identity\.principal == ("(?:[^"\\]|\\.)*")/g,
  /\[([^)\]]*)\]\.contains\(context\.identity\.principal\)/g,
];
const PREFIX = /"([0-9a-f]{64})[: ]/g;

/** A rule for a provider that no method signs in with permits nobody, and would be found out too late. */
function verifyProviders(cedar: string, methods: readonly KnownMethod[]): void {
  const issuers = methods.flatMap(({ method }) => (method.type === "oidc" || method.type === "workload" ? [cedarString(method.public.issuer)] : []));
  const digests = methods.map((method) => cedarString(hex(method.digest)));
  for (const [, attribute, value = ""] of cedar.matchAll(NAMED)) {
    if (!(attribute === "issuer" ? issuers : digests).includes(value)) throw invalid(`no sign-in method has the ${attribute} ${value}`);
  }
  for (const [, listed = ""] of LISTED.flatMap((pattern) => [...cedar.matchAll(pattern)])) {
    for (const [, digest = ""] of listed.matchAll(PREFIX)) {
      if (!digests.includes(cedarString(digest))) throw invalid(`no sign-in method has the digest ${digest}, by which a rule names somebody`);
    }
  }
}

/** A Cedar string literal. Everything but plain characters is escaped, so that no text ends the literal. */
export function cedarString(text: string): string {
  if (/\p{Surrogate}/u.test(text)) throw invalid("text with half a character");
  const escaped = text.replaceAll(/[^ -~]|["\\]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
  return `"${escaped}"`;
}

function signedInBy(by: Provider, condition: string): People {
  const named = "issuer" in by ? `issuer == ${cedarString(by.issuer)}` : `method == ${cedarString(hex(by.method.digest))}`;
  return new People(`context.identity.${named} && ${condition}`);
}

/** As the Authenticator compares them: lower case, ASCII only, since others have look-alikes (RULES 13). */
function ascii(texts: readonly string[]): readonly string[] {
  if (texts.some((text) => !/^[\0-\x7f]+$/.test(text))) throw invalid("only ASCII addresses are compared");
  return texts.map((text) => text.toLowerCase());
}

/** Each once, in the order of their code points. */
function set(texts: readonly string[]): string {
  if (texts.length === 0) throw invalid("an empty list permits nobody");
  const sorted = [...new Set(texts)].map((text) => [utf8(text), text] as const).sort(([a], [b]) => compareBytes(a, b));
  return `[${sorted.map(([, text]) => cedarString(text)).join(", ")}]`;
}

const oneOf = (texts: readonly string[], attribute: string): string => `${set(texts)}.contains(context.identity.${attribute})`;

const invalid = (reason: string): Misuse => new Misuse(ErrorNumber.RULES_INVALID, reason);
