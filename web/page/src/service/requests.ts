/** Asking for files, and answering who asks. */

import { ErrorNumber, requests, sourceOf, StrongroomError, unhex } from "@strongroom/sdk";

import { verifyScripts } from "../scripts.js";
import { linked } from "./link.js";
import { showPeople, signInFor } from "./people.js";
import { Answered } from "./problem.js";
import { shown, transfer, WORKERS } from "./sharing.js";
import type { Asked, Asking, Sent } from "./types.js";

export async function ask({ title, message, recipients, expiresAt, maxBytes }: Asking): Promise<Sent> {
  const { vault, site } = linked();
  await signInFor({ by: "namespace", namespace: site.namespace }, "never");
  return requests.requestFiles(vault, site, { title, message, recipients, expiresAt }, maxBytes).finally(showPeople);
}

/** Who asks, and for what, after a sign-in. */
export async function asked(id: string): Promise<Asked> {
  const { vault, site } = linked();
  await signInFor({ by: "id", id: unhex(id) }, "allowed");
  const invitation = await requests.openInvitation(vault, id).finally(showPeople);
  return {
    from: invitation.author.email || invitation.author.principal,
    title: invitation.title,
    message: invitation.message,
    expiresAt: invitation.expiresAt === 0 ? null : invitation.expiresAt,
    maxBytes: invitation.maxBytes,
    answer: (files, progress) =>
      transfer(async (control) => {
        await verifyScripts(WORKERS);
        try {
          await requests.answer(vault, site, invitation, files.map(sourceOf), { control, progress: shown(progress) });
        } catch (error) {
          // the request opened for this person: who may not deliver now comes after somebody who has
          const late = error instanceof StrongroomError && (error.number === ErrorNumber.REFUSED || error.number === ErrorNumber.CONFLICT);
          throw late ? new Answered() : error;
        }
      }),
  };
}
