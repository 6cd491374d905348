/** Calls of `driver.ts` that are about shares. Files are named by their place on the disk. */

import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";

import type { Vault } from "../src/client/vault.js";
import { type Bytes, concat, hex } from "../src/protocol/bytes.js";
import { boxInstructions, deskInstructions, recipientsOf, shareInstructions } from "../src/share/access.js";
import { Desk } from "../src/share/desk.js";
import type { DeskEntry } from "../src/share/format.js";
import type { Source } from "../src/share/pack.js";
import * as requests from "../src/share/requests.js";
import * as shares from "../src/share/shares.js";
import { archiveOf } from "../src/share/download.js";
import { type Site, loadSite } from "../src/share/site.js";

type OnDisk = readonly { readonly path: string; readonly place: string }[];
type Letter = Omit<shares.Draft, "files"> & { readonly cancelAt?: number };

async function sources(files: OnDisk): Promise<Source[]> {
  return Promise.all(files.map(async ({ path, place }) => ({ path, content: await openAsBlob(place), type: "text/plain", modified: 1_700_000_000 })));
}

export function sharing(vaultNow: () => Vault): Record<string, (...args: readonly never[]) => unknown> {
  let site: Site;
  let share: shares.OpenShare;
  let invitation: requests.Invitation;
  const file = (path: string) => {
    const found = share.files.find((one) => one.path === path);
    if (found === undefined) throw new Error(`no such file: ${path}`);
    return found;
  };
  const read = async (pieces: AsyncIterable<Bytes>, place: string): Promise<void> => {
    const parts: Bytes[] = [];
    for await (const piece of pieces) parts.push(piece);
    await writeFile(place, concat(...parts));
  };
  return {
    loadSite: async (statement: Bytes, origin: string) => {
      site = await loadSite(statement, origin);
      return { digest: site.digest, name: site.name, maxBytes: site.maxBytes, methods: site.methods.map((one) => hex(one.digest)) };
    },
    accessRules: async (people: Parameters<typeof recipientsOf>[0]) => {
      const recipients = recipientsOf(people);
      return [await shareInstructions(site, recipients), await boxInstructions(site, recipients), deskInstructions(site)];
    },
    send: async (files: OnDisk, letter: Letter) => {
      const stages: string[] = [];
      const stop = new AbortController();
      const progress = ({ stage, arrived }: shares.SendProgress): void => {
        if (stages.at(-1) !== stage) stages.push(stage);
        if (letter.cancelAt !== undefined && arrived >= letter.cancelAt) stop.abort();
      };
      return { ...(await shares.send(vaultNow(), site, { ...letter, files: await sources(files) }, { progress, signal: stop.signal })), stages };
    },
    openShare: async (id: string) => {
      share = await shares.open(vaultNow(), site, id);
      const { title, message, author, opens, files } = share;
      return { title, message, author, opens, files: files.map(({ path, size }) => ({ path, size })) };
    },
    readFile: (path: string, place: string) => read(share.read(file(path)), place),
    readAll: (place: string) => read(archiveOf(share.files, (one) => share.read(one)), place),
    listShares: () => shares.list(vaultNow(), site),
    shareHistory: (id: string) => shares.history(vaultNow(), site, id),
    revoke: (id: string) => shares.revoke(vaultNow(), site, id),
    extend: (id: string, to: Parameters<typeof shares.extend>[3]) => shares.extend(vaultNow(), site, id, to),
    addRecipients: (id: string, emails: readonly string[]) => shares.addRecipients(vaultNow(), site, id, emails),
    requestFiles: (letter: Letter, maxBytes: number) => requests.requestFiles(vaultNow(), site, letter, maxBytes),
    openInvitation: async (id: string) => {
      invitation = await requests.openInvitation(vaultNow(), id);
      return invitation;
    },
    answerRequest: async (files: OnDisk) => requests.answer(vaultNow(), site, invitation, await sources(files), { message: "here" }),
    putEntry: (entry: DeskEntry) => new Desk(vaultNow(), site).put(entry),
  };
}
