/**
 * A sender's list of what was sent: pages of JSON in records of their own, kept by the Vault (`spec/share.md`).
 *
 * A convenience, never an authority: what holds of a share is what its history says.
 */

import { BadInput } from "../client/errors.js";
import type { Vault } from "../client/vault.js";
import { hex } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, Refused, Unavailable } from "../protocol/errors.js";
import type { ByPerson } from "../protocol/messages.js";
import { deskInstructions } from "./access.js";
import { type DeskEntry, FULL_DESK, MAX_ENTRY, encodeDesk, parseDesk } from "./format.js";
import { writeJson } from "./shapes.js";
import type { Site } from "./site.js";

const MAX_PAGES = 1_000;
const TRIES = 5;
/** Missing and refused look alike, and what is asked for in vain too often is throttled. */
const ABSENT: readonly number[] = [ErrorNumber.REFUSED, ErrorNumber.THROTTLED];

/** What of a Vault a desk needs. */
export type DeskVault = Pick<Vault, "collect" | "store" | "update" | "signIn" | "signedIn">;

interface Page {
  readonly address: ByPerson;
  /** 0: not stored yet. */
  readonly version: number;
  readonly size: number;
  readonly entries: readonly DeskEntry[];
}

/** What the person signed in has sent from this site. Methods throw what `Vault` does, and `Unreadable`. */
export class Desk {
  readonly #vault: DeskVault;
  readonly #site: Site;

  constructor(vault: DeskVault, site: Site) {
    this.#vault = vault;
    this.#site = site;
  }

  /** All, newest first. */
  async entries(): Promise<readonly DeskEntry[]> {
    const found = (await this.#pages()).flatMap((page) => page.entries);
    return found.sort((a, b) => b.sent_at - a.sent_at);
  }

  /** Throws `BadInput` for a share that is not on the list. `id` as 32 hex digits. */
  async find(id: string): Promise<DeskEntry> {
    const found = (await this.entries()).find((entry) => entry.id === id);
    if (found === undefined) throw new BadInput("you have sent no such share", "sign in as who sent it");
    return found;
  }

  /** Add an entry, or put it in the place of the one with its id. */
  async put(entry: DeskEntry): Promise<void> {
    if (writeJson(entry).length > MAX_ENTRY) throw new BadInput("this has too many recipients and passkeys for your list of shares", "name a group");
    await this.#write(entry.id, () => entry);
  }

  /** Change some fields of an entry; nothing if it is not on the list. */
  async change(id: string, changes: Partial<DeskEntry>): Promise<void> {
    await this.#write(id, (old) => old && { ...old, ...changes });
  }

  async #write(id: string, replacement: (old: DeskEntry | undefined) => DeskEntry | undefined): Promise<void> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const pages = await this.#pages();
      const holding = pages.find((page) => page.entries.some((entry) => entry.id === id));
      const old = holding?.entries.find((entry) => entry.id === id);
      const entry = replacement(old);
      if (entry === undefined) return;
      const last = pages.at(-1);
      const page = holding ?? (last !== undefined && last.size <= FULL_DESK ? last : await this.#newPage(pages.length + 1));
      const entries = old === undefined ? [...page.entries, entry] : page.entries.map((one) => (one.id === id ? entry : one));
      if (await this.#wrote(page, entries)) return;
    }
    throw new Unavailable(ErrorNumber.BUSY, "your list of shares is being written elsewhere");
  }

  /** Whether nobody, on another device, was quicker: else look again, and merge. */
  async #wrote({ address, version }: Page, entries: readonly DeskEntry[]): Promise<boolean> {
    const secret = encodeDesk({ format: "strongroom desk 1", entries });
    try {
      if (version > 0) await this.#vault.update(address, { secret }, { replaces: version });
      else await this.#vault.store({ address, secret, instructions: deskInstructions(this.#site) }, { namespace: address.namespace });
      return true;
    } catch (error) {
      if (error instanceof Misuse && error.number === ErrorNumber.CONFLICT) return false;
      throw error;
    }
  }

  async #pages(): Promise<Page[]> {
    const pages: Page[] = [];
    while (pages.length < MAX_PAGES) {
      const address = await this.#address(pages.length + 1);
      try {
        const { secret, version } = await this.#vault.collect(address);
        pages.push({ address, version, size: secret.length, entries: parseDesk(secret).entries });
      } catch (error) {
        if (error instanceof Refused && ABSENT.includes(error.number)) break;
        throw error;
      }
    }
    return pages;
  }

  async #newPage(number: number): Promise<Page> {
    return { address: await this.#address(number), version: 0, size: 0, entries: [] };
  }

  async #address(number: number): Promise<ByPerson> {
    return { by: "person", namespace: this.#site.namespace, person: await this.#owner(), name: `desk-${number}` };
  }

  /** Whose desk it is: who is signed in by a method of the site, or does so now. */
  async #owner(): Promise<string> {
    const methods = this.#site.methods.map((method) => hex(method.digest));
    const found = this.#vault.signedIn.find((person) => methods.some((method) => person.principal.startsWith(`${method}:`)));
    return (found ?? (await this.#vault.signIn({ by: "namespace", namespace: this.#site.namespace }))).principal;
  }
}
