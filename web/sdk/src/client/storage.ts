/**
 * What outlives a page: the binding key, sign-ins that are under way, and what was seen of each Vault's log. IndexedDB in
 * browsers, which keeps keys that no script can read; memory everywhere else.
 */

import { BadInput } from "./errors.js";

const DATABASE = "strongroom";
const VERSION = 2;
const STORES = ["keys", "sign-ins", "checkpoints"] as const;

/** Values by name. What is read was written by this page's origin, perhaps by another version of it. */
export interface Shelf {
  get(name: string): Promise<unknown>;
  /** Keeps the value if there is none yet; what stands there afterwards. */
  add(name: string, value: unknown): Promise<unknown>;
  put(name: string, value: unknown): Promise<void>;
  /** Puts what `choose` makes of what is there, undefined for nothing; nobody else writes in between. */
  change(name: string, choose: (kept: unknown) => unknown): Promise<void>;
  delete(name: string): Promise<void>;
  names(): Promise<readonly string[]>;
}

/** For one page, or a program without IndexedDB. */
export class MemoryShelf implements Shelf {
  readonly #values = new Map<string, unknown>();

  async get(name: string): Promise<unknown> {
    return this.#values.get(name);
  }

  async add(name: string, value: unknown): Promise<unknown> {
    if (!this.#values.has(name)) this.#values.set(name, value);
    return this.#values.get(name);
  }

  async put(name: string, value: unknown): Promise<void> {
    this.#values.set(name, value);
  }

  async change(name: string, choose: (kept: unknown) => unknown): Promise<void> {
    this.#values.set(name, choose(this.#values.get(name)));
  }

  async delete(name: string): Promise<void> {
    this.#values.delete(name);
  }

  async names(): Promise<readonly string[]> {
    return [...this.#values.keys()];
  }
}

/** In this origin's database. Methods throw `BadInput` where the browser keeps none, as some do in private windows. */
export class IndexedShelf implements Shelf {
  readonly #store: (typeof STORES)[number];

  constructor(store: (typeof STORES)[number]) {
    this.#store = store;
  }

  get(name: string): Promise<unknown> {
    return this.#run("readonly", (store) => store.get(name));
  }

  add(name: string, value: unknown): Promise<unknown> {
    // One transaction: two pages that start at once get the same value.
    return this.#run("readwrite", (store) => {
      const found = store.openCursor(name);
      found.onsuccess = () => {
        if (found.result === null) store.put(value, name);
      };
      return store.get(name);
    }).then((kept) => kept ?? this.get(name));
  }

  async put(name: string, value: unknown): Promise<void> {
    await this.#run("readwrite", (store) => store.put(value, name));
  }

  async change(name: string, choose: (kept: unknown) => unknown): Promise<void> {
    // One transaction: of two pages that write at once, the second sees what the first has put.
    await this.#run("readwrite", (store) => {
      const found = store.get(name);
      found.onsuccess = () => store.put(choose(found.result), name);
      return found;
    });
  }

  async delete(name: string): Promise<void> {
    await this.#run("readwrite", (store) => store.delete(name));
  }

  async names(): Promise<readonly string[]> {
    const keys = await this.#run("readonly", (store) => store.getAllKeys());
    return keys.map(String);
  }

  async #run<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const database = await opened();
    try {
      return await new Promise<T>((resolve, reject) => {
        const transaction = database.transaction(this.#store, mode, { durability: "strict" });
        const request = ask(transaction.objectStore(this.#store));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => reject(unavailable(transaction.error));
      });
    } finally {
      database.close();
    }
  }
}

function opened(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      const { objectStoreNames } = request.result;
      for (const store of STORES) if (!objectStoreNames.contains(store)) request.result.createObjectStore(store);
    };
    request.onsuccess = () => {
      // Another tab has a newer page: this connection makes room as soon as its transaction is over.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(unavailable(request.error));
    request.onblocked = () => reject(unavailable(null));
  });
}

const unavailable = (error: DOMException | null): BadInput =>
  new BadInput(
    `this browser keeps nothing for this page (${error?.name ?? "blocked"})`,
    "leave the private window, or allow the page to keep data",
  );
