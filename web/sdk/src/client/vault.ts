/**
 * A Vault as its users see it: store, collect, update, fill, delete, ask, approve, history, describe.
 *
 *     const vault = new Vault({ url: "/vault/", policy, bindingKey: await loadOrMakeKey(), signIn: new PopupSignIn() });
 *     const { address } = await vault.store({ secret, instructions }, { namespace: "share" });
 *     const { secret } = await vault.collect(address);
 *
 * Every request carries a random id, and every write the version it replaces: what is repeated has one effect.
 */

import type { Appraisal } from "../attestation/appraisal.js";
import type { Bytes } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, Refused, StrongroomError, Untrusted, fromNumber } from "../protocol/errors.js";
import type { Action } from "../protocol/instructions.js";
import { MAX_APPROVAL_LIFE, MAX_BATCH } from "../protocol/limits.js";
import type { BlobGranted, Collected, Described, Item, Question, Terms, Ticket, TrustPolicy } from "../protocol/messages.js";
import type { SigningKey } from "../protocol/primitives.js";
import { type Address, type Anywhere, formatAddress, parseAddress } from "./addresses.js";
import { type Checkpoints, keptCheckpoints } from "./checkpoints.js";
import { BadInput } from "./errors.js";
import { Watch } from "./freshness.js";
import type { Passkeys } from "./passkeys.js";
import { type SignIn, pendingShelf } from "./redirect.js";
import { descriptionOf, merged, requestIdOrNew, storeItem, verifyNamespace, verifySizes } from "./requests.js";
import type { Asked, Description, Erased, Journal, NewSecret, Person, Receipt, Released, ShownMethod } from "./results.js";
import { AttestedServer, type Clock } from "./session.js";
import type { Codes } from "./sign_in/code.js";
import { type Joining, SignInDesk, type Ways } from "./sign_in/desk.js";
import type { Passwords } from "./sign_in/password.js";
import { type Notice, explainNotice } from "./standings.js";
import { MemoryShelf, type Shelf } from "./storage.js";

/** Addresses whose ways to sign in are kept in mind. */
const REMEMBERED = 4096;
/** Seconds. */
const MIN_APPROVAL_LIFE = 60;
const BAD_TICKET: readonly number[] = [ErrorNumber.TICKET_MISSING, ErrorNumber.TICKET_EXPIRED];

export interface VaultOptions {
  /** Absolute, or a path of this origin such as `/vault/`. */
  readonly url: string;
  /** The client's own policy: nothing is sent to an enclave that it does not accept. */
  readonly policy: TrustPolicy;
  /** Whom tickets are bound to: `loadOrMakeKey()` in a page. */
  readonly bindingKey: SigningKey;
  /** How the user is brought to a provider. What is left out of these four, the user can't sign in with. */
  readonly signIn?: SignIn;
  readonly passkeys?: Passkeys;
  readonly codes?: Codes;
  readonly passwords?: Passwords;
  /**
   * Digests, in hex, of the directories for which passwords may be asked; by default of none. A record's depositor calls
   * a directory whatever they like: name those alone that the user, or whoever answers for this page, has approved.
   */
  readonly directories?: ReadonlySet<string>;
  /** The provider to sign in with, when there is a choice. */
  readonly issuer?: string;
  /**
   * Issuers that the user may be sent to, whatever a record's instructions name; by default all. Its depositor chooses its
   * providers: one with a page that looks like somebody else's would get passwords. Only those named here may have their
   * page on another origin than their issuer's: any other could show Microsoft's, and use what its visitor agrees to there.
   */
  readonly providers?: ReadonlySet<string>;
  /** Where an Authenticator is reached that instructions name by this URL; by default there. */
  readonly authenticatorAt?: (url: string) => string;
  /** Where sign-ins are kept that are under way: this origin's database, where there is one. */
  readonly shelf?: Shelf;
  /** What was seen of the Vault's log, by which an older state is recognised: in this origin's database, too. */
  readonly checkpoints?: Checkpoints;
  /**
   * Is told of what the user should know and need not stop for: that custodians recovered a cluster since it was last used
   * here, and what they gave up. By default it is a word on the console.
   */
  readonly notice?: (notice: Notice) => void;
  /** Unix seconds. */
  readonly now?: Clock;
}

/** What can be said with a write. */
export interface WriteOptions {
  /** 16 bytes, to repeat a write whose outcome is not known. Random by default. */
  readonly requestId?: Bytes;
  /**
   * The version that you have seen: CONFLICT is thrown if somebody changed it since. Without it, whatever is there is
   * replaced.
   */
  readonly replaces?: number;
}

/** What an update changes; what is not named stays as it is. */
export interface Changes {
  readonly secret?: Bytes;
  readonly metadata?: Bytes;
  readonly instructions?: Bytes;
  /** Only of a record that was stored with terms; it keeps its blob, and once closed it stays closed. */
  readonly terms?: Terms;
}

/**
 * The Vault at `url`, trusted only as far as the policy says. Parallel calls are fine.
 *
 * All methods throw `StrongroomError`s: `Untrusted` when the Vault or an Authenticator is not what the policy demands or
 * the network lies, `Refused` for a no, `Misuse` for mistakes, `Unavailable` when it may work later.
 */
export class Vault {
  readonly #watch: Watch;
  readonly #server: AttestedServer<"vault">;
  readonly #desk: SignInDesk;
  readonly #ways = new Map<string, Ways>();

  constructor(options: VaultOptions) {
    const { policy, bindingKey } = options;
    const client = { bindingKey, now: options.now ?? ((): number => Date.now() / 1000) };
    const shelf = options.shelf ?? ("indexedDB" in globalThis ? pendingShelf() : new MemoryShelf());
    const authenticatorAt = options.authenticatorAt ?? ((url: string): string => url);
    const checkpoints = options.checkpoints ?? keptCheckpoints();
    const notice = options.notice ?? ((about: Notice): void => console.warn(explainNotice(about)));
    this.#watch = new Watch({ url: options.url, policy, checkpoints, now: client.now, notice });
    const { standings } = this.#watch;
    this.#server = new AttestedServer(options.url, { role: "vault", policy: policy.vault, watch: this.#watch, standings }, client);
    this.#desk = new SignInDesk(policy, client, { ...options, authenticatorAt, shelf, standings });
  }

  // --- who is there ---------------------------------------------------------------------------------------------

  /** The Vault's current evidence, appraised by nobody yet. */
  evidence(): Promise<Bytes> {
    return this.#server.evidence();
  }

  /** Fetch evidence and appraise it; no session is opened. Throws `Untrusted` with the reason. */
  verify(): Promise<Appraisal> {
    return this.#server.verify();
  }

  /**
   * Compare what the Vault shows with what was seen of it here before, if anything was; every request does so as well.
   * Throws `RolledBack` with evidence for an older state, or for another one.
   */
  async verifyHistory(): Promise<void> {
    if (await this.#watch.isKnown()) await this.#server.appraisal();
  }

  // --- who asks -------------------------------------------------------------------------------------------------

  /** As whom requests are made now. */
  get signedIn(): readonly Person[] {
    return this.#desk.people();
  }

  /** Forget all tickets: what comes next is asked as whom the user signs in as then, by a new sign-in. */
  signOut(): void {
    this.#desk.forget();
  }

  /**
   * Sign in for a record or a namespace, also when that is done already: as somebody else, or with `joining: "joined"`
   * beside whoever has, for rules that ask for a passkey or a second person as well. `method` is one of those that
   * `describe` lists. Requests sign in by themselves where this was not called.
   */
  async signIn(address: Anywhere | string, how: { readonly method?: ShownMethod; readonly joining?: Joining } = {}): Promise<Person> {
    const where = addressOf(address);
    const joining = how.joining ?? "alone";
    if (joining === "joined") await this.#tickets(where);
    return this.#retriedWhenStale(async () => {
      const description = await this.describe(where);
      return this.#desk.signInAgain(description, await this.#cluster(), { method: how.method, joining });
    });
  }

  /** To be called when the page starts: finishes the sign-in that the user comes back from, if there is one. */
  resumeSignIn(): Promise<Person | undefined> {
    return this.#desk.resume();
  }

  // --- store ----------------------------------------------------------------------------------------------------

  /**
   * Create a record. `terms` are what the Vault itself holds to, such as an expiry; a record that has them has a journal.
   * Throws `Misuse` CONFLICT for an address in use.
   */
  async store(item: NewSecret, how: { readonly namespace: string; readonly requestId?: Bytes }): Promise<Receipt> {
    const [receipt] = await this.storeMany([item], how);
    if (receipt === undefined) throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered for other records");
    return receipt;
  }

  /** Create up to 256 records in one commit: all or none. Receipts are in the order of the items. */
  async storeMany(
    items: readonly NewSecret[],
    { namespace, requestId }: { readonly namespace: string; readonly requestId?: Bytes },
  ): Promise<readonly Receipt[]> {
    if (items.length < 1 || items.length > MAX_BATCH) throw new BadInput(`one store takes 1 to ${MAX_BATCH} records`, "store them in several calls");
    const parsed = items.map(storeItem);
    verifyNamespace(parsed.map((item) => item.address), namespace);
    const request = { type: "store", request_id: requestIdOrNew(requestId), namespace, items: parsed } as const;
    const owner = parsed.map((item) => item.address).find((address) => address.by === "person")?.person ?? "";
    const { versions } = await this.#withTickets({ by: "namespace", namespace }, async (own) => {
      let tickets = this.#desk.ordered(own, owner);
      // Who may re-create what was deleted, its own instructions say.
      for (const { address } of parsed.filter((item) => item.replaces > 0)) tickets = merged(tickets, await this.#tickets(address));
      return this.#server.ask({ ...request, tickets }, "stored");
    });
    if (versions.length !== parsed.length) throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered for other records");
    return parsed.map(({ address }, at) => ({ address, version: versions[at] ?? 0 }));
  }

  // --- collect --------------------------------------------------------------------------------------------------

  /**
   * The secret at `address`, after a sign-in if need be. Throws `Refused` for a no and for what isn't there.
   *
   * Where the record's terms count openings: to repeat a collect whose answer was lost, give the same id again, with the
   * same binding key, and it counts once.
   */
  async collect(address: Address | string, { requestId }: { readonly requestId?: Bytes } = {}): Promise<Released> {
    const where = recordOf(address);
    const id = requestIdOrNew(requestId);
    return this.#withTickets(where, async (tickets) => {
      const [result] = await this.#collect([where], tickets, id);
      if (result === undefined) throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered for other records");
      if (result instanceof StrongroomError) throw result;
      return result;
    });
  }

  /**
   * Secrets, or why not, in the order of the addresses; as few round trips as the sign-ins allow. Throws only what
   * concerns the whole: no connection, no trust, no sign-in.
   */
  async collectMany(addresses: readonly (Address | string)[]): Promise<readonly (Released | StrongroomError)[]> {
    const wanted = addresses.map(recordOf);
    const distinct = [...new Map(wanted.map((where) => [formatAddress(where), where])).values()];
    const results = new Map<string, Released | StrongroomError>();
    for (let start = 0; start < distinct.length; start += MAX_BATCH) {
      await this.#collectBatch(distinct.slice(start, start + MAX_BATCH), results);
    }
    return wanted.map((where) => results.get(formatAddress(where)) ?? new Untrusted(ErrorNumber.INTEGRITY));
  }

  /**
   * All together with the tickets at hand; then once more those that turn out to need others. Not one by one until it
   * works: each refusal is counted against whoever signed in.
   */
  async #collectBatch(addresses: readonly Address[], results: Map<string, Released | StrongroomError>): Promise<void> {
    const note = (where: Address, result: Released | StrongroomError): unknown => results.set(formatAddress(where), result);
    const rest = [...addresses];
    let own: readonly Ticket[] | undefined;
    for (let first = rest[0]; first !== undefined && own === undefined; first = rest[0]) {
      const tickets = await this.#ticketsOrRefusal(first);
      if (!(tickets instanceof StrongroomError)) own = tickets;
      else note(first, tickets), rest.shift();
    }
    if (own === undefined) return;
    const presented = merged(own, this.#desk.all());
    const again: Address[] = [];
    for (const [at, result] of (await this.#collect(rest, presented)).entries()) {
      const where = rest[at] as Address;
      note(where, result);
      if (this.#isDoubtful(where, result)) again.push(where);
    }
    const groups = new Map<string, { tickets: readonly Ticket[]; addresses: Address[] }>();
    for (const where of again) {
      const tickets = await this.#ticketsOrRefusal(where);
      if (tickets instanceof StrongroomError) note(where, tickets);
      else if (tickets.some((ticket) => !presented.includes(ticket))) {
        const key = JSON.stringify([...(this.#ways.get(formatAddress(where))?.pairs ?? [])]);
        const group = groups.get(key) ?? { tickets, addresses: [] };
        groups.set(key, { tickets, addresses: [...group.addresses, where] });
      }
    }
    for (const group of groups.values()) {
      const found = await this.#collect(group.addresses, group.tickets);
      group.addresses.forEach((where, at) => note(where, found[at] as Released | StrongroomError));
    }
  }

  /** Whether other tickets might change the answer; forgets what was known, and tickets that did not serve. */
  #isDoubtful(where: Address, result: Released | StrongroomError): boolean {
    if (!(result instanceof StrongroomError) || ![...BAD_TICKET, ErrorNumber.REFUSED].includes(result.number)) return false;
    const ways = this.#ways.get(formatAddress(where));
    this.#ways.delete(formatAddress(where));
    if (ways !== undefined && BAD_TICKET.includes(result.number)) this.#desk.discard(this.#desk.find(ways));
    return true;
  }

  /** One request; and further ones for what no longer fitted into the reply (TOO_LARGE). In the order of `addresses`. */
  async #collect(
    addresses: readonly Address[],
    tickets: readonly Ticket[],
    requestId?: Bytes,
  ): Promise<readonly (Released | StrongroomError)[]> {
    const request = { type: "collect", request_id: requestIdOrNew(requestId), tickets, addresses } as const;
    const { results } = await this.#server.ask(request, "collected");
    if (results.length !== addresses.length) throw new Untrusted(ErrorNumber.INTEGRITY, "the enclave answered for other records");
    const found = results.map(releasedOf);
    const rest = addresses.filter((_, at) => isTooLarge(found[at]));
    if (rest.length === 0 || rest.length === addresses.length) return found;
    const more = [...(await this.#collect(rest, tickets))];
    return found.map((result) => (isTooLarge(result) ? (more.shift() ?? result) : result));
  }

  // --- update, fill and delete ----------------------------------------------------------------------------------

  /** Replace secret, metadata, instructions or terms. */
  async update(address: Address | string, changes: Changes, how: WriteOptions = {}): Promise<Receipt> {
    const where = recordOf(address);
    const { secret = null, metadata = null, instructions = null, terms = null } = changes;
    if (secret === null && metadata === null && instructions === null && terms === null) {
      throw new BadInput("there is nothing to update", "give a secret, metadata, instructions or terms");
    }
    verifySizes(changes);
    const request = { type: "update", request_id: requestIdOrNew(how.requestId), address: where, secret, metadata, instructions, terms } as const;
    const { version } = await this.#replacing(where, how, (replaces, tickets) => this.#server.ask({ ...request, replaces, tickets }, "updated"));
    if (instructions !== null) this.#ways.delete(formatAddress(where));
    return { address: where, version };
  }

  /**
   * Set the secret of a record that waits for it: once, by whoever comes first of those who may. Throws `Misuse`
   * CONFLICT when somebody else has filled it.
   */
  async fill(address: Address | string, answer: { readonly secret: Bytes; readonly metadata?: Bytes }, how: WriteOptions = {}): Promise<Receipt> {
    const where = recordOf(address);
    verifySizes(answer);
    const { secret, metadata = new Uint8Array() } = answer;
    const request = { type: "fill", request_id: requestIdOrNew(how.requestId), address: where, secret, metadata } as const;
    const { version } = await this.#replacing(where, how, (replaces, tickets) => this.#server.ask({ ...request, replaces, tickets }, "updated"));
    return { address: where, version };
  }

  /** Erase the secret at once. The address stays taken by a tombstone. */
  async delete(address: Address | string, how: WriteOptions = {}): Promise<Erased> {
    const where = recordOf(address);
    const request = { type: "delete", request_id: requestIdOrNew(how.requestId), address: where } as const;
    const { version, epoch } = await this.#replacing(where, how, (replaces, tickets) => this.#server.ask({ ...request, replaces, tickets }, "deleted"));
    return { address: where, version, epoch };
  }

  /** `write` over the version named, or over the one that the Vault says is there. */
  async #replacing<T>(
    where: Address,
    { replaces }: WriteOptions,
    write: (replaces: number, tickets: readonly Ticket[]) => Promise<T>,
  ): Promise<T> {
    let current = replaces ?? 0;
    try {
      return await this.#withTickets(where, (tickets) => write(current, tickets));
    } catch (error) {
      const isConflict = error instanceof Misuse && error.number === ErrorNumber.CONFLICT && error.version > 0;
      if (replaces !== undefined || !isConflict) throw error;
      current = error.version;
    }
    return this.#withTickets(where, (tickets) => write(current, tickets));
  }

  // --- approvals (RULES 17) -------------------------------------------------------------------------------------

  /**
   * Ask others to approve that you do `action` once, with this binding key. Pass the id on to them. Any change of the
   * record ends the question.
   */
  async ask(
    address: Address | string,
    action: Action,
    { seconds = 86_400, requestId }: { readonly seconds?: number; readonly requestId?: Bytes } = {},
  ): Promise<Asked> {
    const where = recordOf(address);
    if (!Number.isInteger(seconds) || seconds < MIN_APPROVAL_LIFE || seconds > MAX_APPROVAL_LIFE) {
      throw new BadInput(`a question stands for ${MIN_APPROVAL_LIFE} to ${MAX_APPROVAL_LIFE} seconds`, "give people a day or two");
    }
    const request = { type: "ask", request_id: requestIdOrNew(requestId), address: where, action, seconds } as const;
    const { question, version, expires_at: expiresAt } = await this.#withTickets(where, (tickets) => this.#server.ask({ ...request, tickets }, "asked"));
    return { question, version, expiresAt };
  }

  /** What stands open at a record, oldest first, for whoever may approve. Look who asks before you do. */
  async questions(address: Address | string): Promise<readonly Question[]> {
    const where = recordOf(address);
    const request = { type: "questions", address: where } as const;
    return (await this.#withTickets(where, (tickets) => this.#server.ask({ ...request, tickets }, "questions-of"))).questions;
  }

  /** Say yes to a question of somebody else's; how many have, by now. */
  async approve(address: Address | string, question: Bytes, { requestId }: { readonly requestId?: Bytes } = {}): Promise<number> {
    const where = recordOf(address);
    const request = { type: "approve", request_id: requestIdOrNew(requestId), address: where, question } as const;
    return (await this.#withTickets(where, (tickets) => this.#server.ask({ ...request, tickets }, "approved"))).approvals;
  }

  // --- what the Vault says of a record --------------------------------------------------------------------------

  /** Who asked for a record that has terms, and what was answered; needs the right to `audit`. */
  async history(address: Address | string): Promise<Journal> {
    const where = recordOf(address);
    const { version, opens, terms, visits } = await this.#withTickets(where, (tickets) =>
      this.#server.ask({ type: "history", address: where, tickets }, "history-of"),
    );
    return { version, opens, terms, visits };
  }

  /**
   * What to show to the host about the record's blob: to upload it, to prolong it, or to have it erased. By who may
   * `update` the record, or may still `fill` it. Throws `Misuse` UNSUPPORTED for a record without blob.
   */
  grantBlob(address: Address | string): Promise<BlobGranted> {
    const where = recordOf(address);
    return this.#withTickets(where, (tickets) => this.#server.ask({ type: "grant-blob", address: where, tickets }, "blob-granted"));
  }

  /** How to sign in for a record or a namespace. A random id is enough; for a name you sign in first. */
  async describe(address: Anywhere | string): Promise<Description> {
    const where = addressOf(address);
    const ask = (tickets: readonly Ticket[]): Promise<Described> => this.#server.ask({ type: "describe", address: where, tickets }, "described");
    const isNamed = where.by === "name" || where.by === "person";
    const described = isNamed ? await this.#withTickets({ by: "namespace", namespace: where.namespace }, ask) : await ask([]);
    const description = descriptionOf(described);
    const key = formatAddress(where);
    this.#ways.delete(key); // so that it stands last
    this.#ways.set(key, this.#desk.ways(description));
    const [oldest] = this.#ways.keys();
    if (this.#ways.size > REMEMBERED && oldest !== undefined) this.#ways.delete(oldest);
    return description;
  }

  // --- tickets --------------------------------------------------------------------------------------------------

  /**
   * `attempt` with tickets that fit `where`; once more if they had expired, or if others fit by now because somebody
   * changed the instructions.
   */
  async #withTickets<T>(where: Anywhere, attempt: (tickets: readonly Ticket[]) => Promise<T>): Promise<T> {
    const tickets = await this.#tickets(where);
    let others: readonly Ticket[];
    try {
      return await attempt(tickets);
    } catch (error) {
      if (!(error instanceof Misuse || error instanceof Refused)) throw error;
      if (BAD_TICKET.includes(error.number)) this.#desk.discard(tickets);
      else if (error.number !== ErrorNumber.REFUSED) throw error;
      this.#ways.delete(formatAddress(where));
      others = await this.#tickets(where);
      if (others.length === tickets.length && others.every((ticket, at) => ticket === tickets[at])) throw error;
    }
    return attempt(others);
  }

  /** Tickets that fit `where`, after a sign-in if need be. */
  async #tickets(where: Anywhere): Promise<readonly Ticket[]> {
    const ways = this.#ways.get(formatAddress(where));
    const found = ways === undefined ? [] : this.#desk.find(ways);
    if (found.length > 0) return found;
    return this.#retriedWhenStale(async () => this.#desk.signIn(await this.describe(where), await this.#cluster()));
  }

  /** Once more with a new capsule, if that one had expired. */
  async #retriedWhenStale<T>(attempt: () => Promise<T>): Promise<T> {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Misuse) || error.number !== ErrorNumber.STALE_KEY) throw error;
      return attempt();
    }
  }

  /** As `#tickets`; what concerns this one record only is returned, not thrown. */
  async #ticketsOrRefusal(where: Address): Promise<readonly Ticket[] | StrongroomError> {
    try {
      return await this.#tickets(where);
    } catch (error) {
      const numbers: readonly number[] = [ErrorNumber.REFUSED, ErrorNumber.THROTTLED];
      if (error instanceof Refused && numbers.includes(error.number)) return error;
      throw error;
    }
  }

  async #cluster(): Promise<Bytes> {
    return (await this.#server.appraisal()).claims.cluster_id;
  }
}

function releasedOf(result: Collected["results"][number]): Released | StrongroomError {
  if (result.result === "error") return fromNumber(result.number);
  const { secret, metadata, version, author, terms, opens }: Item = result;
  return { secret, metadata, version, author, terms, opens };
}

const isTooLarge = (result: Released | StrongroomError | undefined): boolean =>
  result instanceof StrongroomError && result.number === ErrorNumber.TOO_LARGE;

const addressOf = (address: Anywhere | string): Anywhere => (typeof address === "string" ? parseAddress(address) : address);
const recordOf = (address: Address | string): Address => (typeof address === "string" ? parseAddress(address) : address);
