/**
 * Signing in with Authenticators, and the tickets that come of it (RULES 9 to 14).
 *
 * Each Authenticator is appraised under the client's *own* policy before anything is sent: what a depositor's
 * instructions say of it binds the Vault only, or a "share" would be a way to fish for sign-ins. The session uses the
 * Vault session's binding key, so that the ticket counts there and nowhere else.
 */

import { type Bytes, base64url, hex } from "../../protocol/bytes.js";
import { ErrorNumber, Refused, type StrongroomError, Unavailable, Untrusted } from "../../protocol/errors.js";
import { boundNonce, signInChallenge } from "../../protocol/instructions.js";
import { MAX_TICKETS, MAX_TICKET_LIFE } from "../../protocol/limits.js";
import type { SignedIn, Ticket, TrustPolicy } from "../../protocol/messages.js";
import { equal, randomBytes } from "../../protocol/primitives.js";
import { BadInput } from "../errors.js";
import type { Passkeys } from "../passkeys.js";
import { type Expected, type Pending, type SignIn, pendingAt, verifyRedirect } from "../redirect.js";
import type { Description, Person, Place, ShownCodes, ShownDirectory, ShownMethod, ShownOidc, ShownPasskeys } from "../results.js";
import { AttestedServer, type Client } from "../session.js";
import type { Standings } from "../standings.js";
import type { Shelf } from "../storage.js";
import { authorizationUrl, codeChallenge, pushedUrl, verifyBegun, verifyOwnPage, webAudience } from "./browser.js";
import { CODE_TRIES, type CodeState, type Codes, plainCode } from "./code.js";
import type { Passwords } from "./password.js";

/** Seconds before its expiry at which a ticket is no longer used. */
const MARGIN = 30;
/** The kinds of sign-in that browsers can do, the first the first choice. */
const PREFERRED: readonly ShownMethod["kind"][] = ["oidc", "passkey", "directory", "email-code"];
/** Of what is kept while the user is away: what another version kept is forgotten. */
const FORMAT = 1;

/** Whether a sign-in stands alone, or on one ticket with those before it at the same Authenticator. */
export type Joining = "alone" | "joined";

/** What tickets fit a record, and how many Authenticators must agree. */
export interface Ways {
  /** Authenticator's cluster id, a colon, and method digest, in hex. */
  readonly pairs: ReadonlySet<string>;
  readonly quorum: number;
}

interface Held {
  readonly ticket: Ticket;
  readonly cluster: string;
  /** Digests, in hex, of the methods of all sign-ins that stand on it. */
  readonly methods: readonly string[];
  readonly people: readonly Person[];
  /** Unix seconds. */
  readonly until: number;
}

/** How the user of a desk signs in. */
export interface Entrances {
  readonly signIn?: SignIn | undefined;
  readonly passkeys?: Passkeys | undefined;
  readonly codes?: Codes | undefined;
  readonly passwords?: Passwords | undefined;
  /** Digests, in hex, of the directories that passwords may be asked for; by default none. */
  readonly directories?: ReadonlySet<string> | undefined;
  /** The provider to sign in with, when there is a choice. */
  readonly issuer?: string | undefined;
  /** The providers that the user may be sent to; by default all that a record names. */
  readonly providers?: ReadonlySet<string> | undefined;
  /** Where an Authenticator is reached that instructions name by this URL. */
  readonly authenticatorAt: (url: string) => string;
  /** Where sign-ins are kept that are under way. */
  readonly shelf: Shelf;
  /** How the Authenticators' clusters stood when they were last seen. */
  readonly standings: Standings;
}

/** One sign-in with one Authenticator. */
interface Visit {
  readonly place: Place;
  readonly vaultCluster: Bytes;
  /** The sign-ins so far, to stand on the new ticket too. */
  readonly before: Held | null;
}

/** What a web sign-in needs when the user is back. */
interface Underway extends Visit {
  readonly format: typeof FORMAT;
  readonly method: ShownOidc;
  readonly expected: Expected;
  readonly redirectUri: string;
  readonly salt: Bytes;
  readonly verifier: string;
  readonly bindingKey: Bytes;
  readonly held: readonly Held[];
}

/** Tickets of one binding key for one Vault, in memory only, and the sign-ins that renew them. */
export class SignInDesk {
  readonly #trust: TrustPolicy;
  readonly #client: Client;
  readonly #entrances: Entrances;
  readonly #servers = new Map<string, AttestedServer<"authenticator">>();
  /** Oldest first. */
  #held: readonly Held[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #anew = false;

  constructor(trust: TrustPolicy, client: Client, entrances: Entrances) {
    this.#trust = trust;
    this.#client = client;
    this.#entrances = entrances;
  }

  // --- tickets --------------------------------------------------------------------------------------------------

  /** What fits what was described, of the providers that the user wants to sign in with. */
  ways({ authenticators, methods, quorum }: Description): Ways {
    const wanted = methods.filter((method) => this.#isWanted(method)).map((method) => hex(method.digest));
    return { pairs: new Set(authenticators.flatMap((place) => wanted.map((digest) => pair(hex(place.clusterId), digest)))), quorum };
  }

  /** Live tickets that fit; none if they are of fewer Authenticators than the quorum. */
  find(ways: Ways): readonly Ticket[] {
    const fitting = this.#live().filter((held) => fits(held, ways));
    const clusters = new Set(fitting.map((held) => held.cluster));
    return clusters.size >= ways.quorum ? fitting.map((held) => held.ticket).slice(0, MAX_TICKETS) : [];
  }

  /** All live tickets, newest first. */
  all(): readonly Ticket[] {
    return this.#live().map((held) => held.ticket).reverse();
  }

  /** The same tickets, those of one principal first: what is stored is put down to the first whom the rules permit. */
  ordered(tickets: readonly Ticket[], principal: string): readonly Ticket[] {
    const mine = this.#live().filter((held) => held.people.some((person) => person.principal === principal));
    const isMine = (ticket: Ticket): boolean => mine.some((held) => held.ticket === ticket);
    return [...tickets.filter(isMine), ...tickets.filter((ticket) => !isMine(ticket))];
  }

  /** Forget all tickets; providers are asked for a new sign-in, whatever their own sessions say. */
  forget(): void {
    this.#held = [];
    this.#anew = true;
  }

  /** As whom the user is signed in, in the order of the sign-ins. */
  people(): readonly Person[] {
    const byPrincipal = new Map(this.#live().flatMap((held) => held.people.map((person) => [person.principal, person] as const)));
    return [...byPrincipal.values()];
  }

  /** Forget tickets that were refused. */
  discard(tickets: readonly Ticket[]): void {
    this.#held = this.#held.filter((held) => !tickets.includes(held.ticket));
  }

  #live(): readonly Held[] {
    this.#held = this.#held.filter((held) => held.until > this.#client.now());
    return this.#held;
  }

  #isWanted(method: ShownMethod): boolean {
    const { issuer } = this.#entrances;
    return (method.kind !== "oidc" || issuer === undefined || issuer === method.issuer) && this.#isKnown(method);
  }

  /**
   * A depositor names a record's providers, and could name one whose page only looks like another's; or a directory by
   * the name of somebody else's (RULES 14).
   */
  #isKnown(method: ShownMethod): boolean {
    const { providers, directories } = this.#entrances;
    if (method.kind === "oidc") return providers === undefined || providers.has(method.issuer);
    return method.kind !== "directory" || directories?.has(hex(method.digest)) === true;
  }

  #isUsable(method: ShownMethod): boolean {
    const { signIn, passkeys, codes, passwords } = this.#entrances;
    switch (method.kind) {
      case "oidc":
        return signIn !== undefined && webAudience(method) !== undefined;
      case "passkey":
        return passkeys !== undefined;
      case "email-code":
        return codes !== undefined;
      case "directory":
        return passwords !== undefined;
      default:
        return false; // for programs: keys, enclaves and workloads
    }
  }

  // --- signing in -----------------------------------------------------------------------------------------------

  /**
   * Tickets that fit, after as many sign-ins as are missing.
   *
   * Throws `BadInput` when no method suits this client, `Untrusted` when no Authenticator does, `Refused`
   * SIGN_IN_REFUSED or SIGN_IN_PENDING when the user did not get through, `Misuse` STALE_KEY when the capsules have
   * aged: describe again.
   */
  signIn(description: Description, vaultCluster: Bytes): Promise<readonly Ticket[]> {
    const ways = this.ways(description);
    return this.#oneAtATime(async () => {
      let problem: StrongroomError | undefined;
      for (const place of description.authenticators) {
        const tickets = this.find(ways);
        if (tickets.length > 0) return tickets;
        if (this.#live().some((held) => held.cluster === hex(place.clusterId) && fits(held, ways))) continue;
        try {
          await this.#appraised(place);
        } catch (error) {
          if (!(error instanceof Untrusted || error instanceof Unavailable)) throw error;
          problem = error; // another Authenticator may do
          continue;
        }
        await this.#visit({ place, vaultCluster, before: null }, this.#choose(description.methods));
      }
      const tickets = this.find(ways);
      if (tickets.length > 0) return tickets;
      throw problem ?? new Refused(ErrorNumber.SIGN_IN_REFUSED, "fewer Authenticators than the quorum can be used");
    });
  }

  /**
   * One more sign-in, whatever tickets there are: alone at the first Authenticator that can be used, or joined to the
   * ticket that is held at each. The joined ticket takes the place of the old: alone that one would be refused, which
   * counts against its owner. Throws as `signIn`.
   */
  signInAgain(
    description: Description,
    vaultCluster: Bytes,
    how: { readonly method?: ShownMethod | undefined; readonly joining: Joining },
  ): Promise<Person> {
    const method = how.method ?? this.#choose(description.methods);
    if (!this.#isKnown(method)) {
      throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, `${providerOf(method)} is none of those that this page signs in with`);
    }
    return this.#oneAtATime(async () => {
      let person: Person | undefined;
      let problem: StrongroomError | undefined;
      for (const place of description.authenticators) {
        const cluster = hex(place.clusterId);
        const before = how.joining === "joined" ? this.#live().findLast((held) => held.cluster === cluster) : undefined;
        if (how.joining === "joined" ? before === undefined : person !== undefined) continue;
        try {
          await this.#appraised(place);
        } catch (error) {
          if (!(error instanceof Untrusted || error instanceof Unavailable)) throw error;
          problem = error;
          continue;
        }
        person = await this.#visit({ place, vaultCluster, before: before ?? null }, method);
      }
      if (person !== undefined) return person;
      throw problem ?? new Refused(ErrorNumber.SIGN_IN_REFUSED, "there is no earlier sign-in to join, or no Authenticator");
    });
  }

  /** Finish the sign-in that the user comes back from, if there is one. Throws as `signIn`. */
  resume(): Promise<Person | undefined> {
    return this.#oneAtATime(async () => {
      const { shelf } = this.#entrances;
      for (const state of await shelf.names()) {
        const pending = await pendingAt(shelf, state);
        if (pending === undefined || pending.returnTo === null || pending.untrustedQuery === null) continue;
        await shelf.delete(state); // before anything else: it counts once, whatever comes of it
        const underway = pending.details as Underway; // kept by this class, see FORMAT
        if (underway.format !== FORMAT || !equal(underway.bindingKey, this.#client.bindingKey.public)) continue;
        this.#held = [...underway.held, ...this.#held];
        return this.#redeem(underway, verifyRedirect({ untrustedQuery: pending.untrustedQuery }, underway.expected));
      }
      return undefined;
    });
  }

  /** Parallel requests must not open a window each. */
  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined); // whoever asked hears of it
    return result;
  }

  /** A session to the Authenticator that the Vault named, accepted under the client's own policy. */
  async #appraised(place: Place): Promise<AttestedServer<"authenticator">> {
    let server = this.#servers.get(place.url);
    if (server === undefined) {
      const who = { role: "authenticator", policy: this.#trust.authenticator, watch: null, standings: this.#entrances.standings } as const;
      server = new AttestedServer(this.#entrances.authenticatorAt(place.url), who, this.#client);
      this.#servers.set(place.url, server);
    }
    const appraisal = await server.appraisal().catch((error: unknown) => {
      throw error instanceof Untrusted ? new Untrusted(error.number, `Authenticator at ${place.url}: ${error.reason}`) : error;
    });
    if (!equal(appraisal.claims.cluster_id, place.clusterId)) {
      throw new Untrusted(ErrorNumber.AUTHENTICATOR_UNTRUSTED, `${place.url} is of another cluster here than the Vault sees there`);
    }
    return server;
  }

  #choose(methods: readonly ShownMethod[]): ShownMethod {
    const usable = methods.filter((method) => this.#isWanted(method) && this.#isUsable(method));
    const found = PREFERRED.flatMap((kind) => usable.filter((method) => method.kind === kind))[0];
    if (found !== undefined) return found;
    if (methods.length > 0 && !methods.some((method) => PREFERRED.includes(method.kind))) {
      const kinds = [...new Set(methods.map((method) => method.kind))].join(", ");
      throw new BadInput("this record is for programs, not for browsers", `collect it with the command line or an SDK: it asks for ${kinds}`);
    }
    const offered = methods.map((method) => (method.kind === "oidc" ? `${method.issuer} (${method.channels.join("/")})` : method.kind));
    throw new BadInput("no sign-in method suits this page", `offered are: ${offered.join(", ") || "none"}`);
  }

  #visit(visit: Visit, method: ShownMethod): Promise<Person> {
    switch (method.kind) {
      case "oidc":
        return this.#atProvider(visit, method);
      case "passkey":
        return this.#withPasskey(visit, method);
      case "email-code":
        return this.#withCode(visit, method);
      case "directory":
        return this.#withPassword(visit, method);
      default:
        throw new BadInput("this way to sign in is for programs, not for browsers", "choose another method");
    }
  }

  // --- at a provider --------------------------------------------------------------------------------------------

  /** Authorization code with PKCE and bound nonce; pushed by the Authenticator where the method says so. */
  async #atProvider(visit: Visit, method: ShownOidc): Promise<Person> {
    const { signIn, shelf } = this.#entrances;
    const audience = webAudience(method);
    if (signIn === undefined || audience === undefined) throw new BadInput("this page has no way to sign in so", "choose another method");
    const { place, vaultCluster } = visit;
    const server = await this.#appraised(place);
    const which = { vault_cluster: vaultCluster, capsule: place.capsule, method: method.digest, channel: "web" } as const;
    const begun = await server.ask({ type: "begin", ...which }, "begun");
    verifyBegun(begun, method, audience);
    if (this.#entrances.providers?.has(method.issuer) !== true) verifyOwnPage(begun.authorization_endpoint, method.issuer);
    const bindingKey = this.#client.bindingKey.public;
    const [salt, state, verifier] = [randomBytes(32), base64url(randomBytes(32)), base64url(randomBytes(32))];
    // Else the provider's own session would say once more who has signed in already.
    const anew = visit.before !== null || this.#anew;
    const redirect = { redirect_uri: begun.redirect_uri, state, salt, code_challenge: await codeChallenge(verifier), anew };
    const url = begun.pushed
      ? pushedUrl(begun, (await server.ask({ type: "push", ...which, ...redirect }, "pushed")).request_uri)
      : await authorizationUrl(begun, { state, nonce: await boundNonce(method.digest, bindingKey, salt), verifier, prompt: anew ? "login" : "" });
    const expected = { state, issuer: begun.issuer, issRequired: begun.iss_in_redirect };
    const redirectUri = begun.redirect_uri;
    const underway: Underway = { ...visit, format: FORMAT, method, expected, redirectUri, salt, verifier, bindingKey, held: this.#held };
    const pending: Pending = { details: underway, startedAt: Date.now(), returnTo: signIn.returnTo ?? null, untrustedQuery: null };
    await shelf.put(state, pending);
    try {
      return await this.#redeem(underway, verifyRedirect(await signIn.authorize(url, state, redirectUri), expected));
    } finally {
      await shelf.delete(state);
    }
  }

  async #redeem(underway: Underway, code: string): Promise<Person> {
    const { place, method, before } = underway;
    const server = await this.#appraised(place);
    const request = {
      type: "redeem",
      vault_cluster: underway.vaultCluster,
      capsule: place.capsule,
      method: method.digest,
      channel: "web",
      redirect_uri: underway.redirectUri,
      code,
      code_verifier: underway.verifier,
      salt: underway.salt,
      with_ticket: before?.ticket ?? null,
    } as const;
    return this.#hold(underway, method, await server.ask(request, "signed-in"));
  }

  // --- with a passkey -------------------------------------------------------------------------------------------

  async #withPasskey(visit: Visit, method: ShownPasskeys): Promise<Person> {
    const { passkeys } = this.#entrances;
    if (passkeys === undefined) throw new BadInput("this page can't use passkeys", "choose another method");
    const { place, vaultCluster, before } = visit;
    const server = await this.#appraised(place);
    const which = { vault_cluster: vaultCluster, capsule: place.capsule, method: method.digest };
    const { handle, salt } = await server.ask({ type: "challenge", ...which }, "challenged");
    // With this session's own key: another session's challenge, passed on to this user, would be signed for its thief.
    const challenge = await signInChallenge("passkey", method.digest, this.#client.bindingKey.public, salt);
    const assertion = await passkeys.assert(challenge, method.passkeys);
    const request = { type: "passkey-sign-in", capsule: place.capsule, handle, ...assertion, with_ticket: before?.ticket ?? null } as const;
    return this.#hold(visit, method, await server.ask(request, "signed-in"));
  }

  // --- with what the user types ---------------------------------------------------------------------------------

  /** A code by e-mail: as often as the user wants another one, or types a wrong one. */
  async #withCode(visit: Visit, method: ShownCodes): Promise<Person> {
    const { codes } = this.#entrances;
    if (codes === undefined) throw new BadInput("this page can't ask for codes", "choose another method");
    const { place, vaultCluster, before } = visit;
    const which = { vault_cluster: vaultCluster, capsule: place.capsule, method: method.digest };
    const first: CodeState = { method, email: null, expiresAt: 0, triesLeft: 0, problem: null };
    let handle: Bytes | undefined;
    for (let state = first; ; ) {
      const answer = await codes.ask(state);
      const server = await this.#appraised(place);
      try {
        if ("email" in answer) {
          const begun = await server.ask({ type: "code-begin", ...which, email: answer.email }, "code-begun");
          handle = begun.handle;
          state = { method, email: answer.email, expiresAt: begun.expires_at, triesLeft: CODE_TRIES, problem: null };
          continue;
        }
        if (handle === undefined || state.triesLeft < 1) throw new Refused(ErrorNumber.SIGN_IN_REFUSED, "there is no code to compare with");
        const code = plainCode(answer.code);
        if (!/^[0-9]{8}$/.test(code)) throw new BadInput("a code has eight digits", "copy it from the e-mail that came last");
        state = { ...state, triesLeft: state.triesLeft - 1 };
        const request = { type: "code-sign-in", capsule: place.capsule, handle, code, with_ticket: before?.ticket ?? null } as const;
        return await this.#hold(visit, method, await server.ask(request, "signed-in"));
      } catch (error) {
        state = { ...state, problem: orWrong(error) };
      }
    }
  }

  /** User name and password, for directories that were approved alone; they live for one request (RULES 14). */
  async #withPassword(visit: Visit, directory: ShownDirectory): Promise<Person> {
    const { passwords } = this.#entrances;
    if (passwords === undefined) throw new BadInput("this page can't ask for passwords", "choose another method");
    if (!this.#isKnown(directory)) throw new Untrusted(ErrorNumber.TOKEN_UNTRUSTED, `nobody has approved the directory ${directory.name}`);
    const { place, vaultCluster, before } = visit;
    const which = { vault_cluster: vaultCluster, capsule: place.capsule, method: directory.digest };
    for (let problem: Refused | null = null; ; ) {
      const server = await this.#appraised(place); // before anything is typed
      const answer = await passwords.ask({ directory, authenticator: place.url, problem });
      try {
        const request = { type: "password-sign-in", ...which, ...answer, with_ticket: before?.ticket ?? null } as const;
        return await this.#hold(visit, directory, await server.ask(request, "signed-in"));
      } catch (error) {
        problem = orWrong(error);
      }
    }
  }

  /** Keep the ticket, in place of those that it replaces. */
  #hold({ place, before }: Visit, method: ShownMethod, { ticket, expires_at: expiresAt, subject, email }: SignedIn): Person {
    if (!equal(ticket.authenticator, place.clusterId)) {
      throw new Untrusted(ErrorNumber.AUTHENTICATOR_UNTRUSTED, "a ticket of another Authenticator");
    }
    const [cluster, digest] = [hex(place.clusterId), hex(method.digest)];
    const person = { principal: `${digest}:${subject}`, provider: providerOf(method), subject, email };
    const until = Math.min(expiresAt, this.#client.now() + MAX_TICKET_LIFE) - MARGIN;
    const methods = [...(before?.methods ?? []), digest];
    const replaced = (held: Held): boolean => held.ticket === before?.ticket || (held.cluster === cluster && held.methods.every((one) => methods.includes(one)));
    this.#anew = false;
    this.#held = [
      ...this.#held.filter((held) => !replaced(held)),
      { ticket, cluster, methods, people: [...(before?.people ?? []), person], until },
    ];
    return person;
  }
}

const pair = (cluster: string, method: string): string => `${cluster}:${method}`;
const fits = (held: Held, ways: Ways): boolean => held.methods.some((method) => ways.pairs.has(pair(held.cluster, method)));

/** The user typed something wrong, or too often: they are told, and may go on. Whatever else it is, is thrown. */
function orWrong(error: unknown): Refused {
  const numbers: readonly number[] = [ErrorNumber.SIGN_IN_REFUSED, ErrorNumber.THROTTLED];
  if (error instanceof Refused && numbers.includes(error.number)) return error;
  throw error;
}

/** Who vouches, as users know it. */
function providerOf(method: ShownMethod): string {
  switch (method.kind) {
    case "oidc":
      return method.issuer;
    case "passkey":
      return method.passkeys.rp_id;
    case "email-code":
      return method.sender;
    case "directory":
      return method.name;
    default:
      return method.kind;
  }
}
