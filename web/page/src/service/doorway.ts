/** How the user gets to a sign-in provider and back: by a window of its own, or by leaving the page. */

import { ErrorNumber, PopupSignIn, RedirectSignIn, Refused, type RedirectResult, type SignIn } from "@strongroom/sdk";

/** One way through the door, for one sign-in. */
export interface Passage extends SignIn {
  /** The user gave up on it, or chose another. */
  close(): void;
}

/** A window that is open by now. Make one while a click is handled; throws `BadInput` when the browser opens none. */
export function windowPassage(): Passage {
  const popup = new PopupSignIn();
  popup.prepare();
  let closed = false;
  return {
    returnTo: null,
    close: () => {
      closed = true;
      popup.cancel();
    },
    authorize: (url, state, redirectUri) => {
      // a sign-in takes a moment to begin: who gave up meanwhile must not be sent anywhere
      if (closed) throw new Refused(ErrorNumber.SIGN_IN_PENDING, "it was given up");
      return popup.authorize(url, state, redirectUri);
    },
  };
}

/** Leaves the page, and comes back to this place. */
export function redirectPassage(): Passage {
  const redirect = new RedirectSignIn();
  return { returnTo: redirect.returnTo, close: () => undefined, authorize: (url, state, redirectUri) => redirect.authorize(url, state, redirectUri) };
}

/** What the SDK signs in by: the passage that the user chose for this sign-in. */
export class Doorway implements SignIn {
  #passage: Passage | null = null;
  /** Gets the user to click, when the SDK wants a sign-in at `url` that no click asked for: an upload outlived its ticket. */
  readonly #askForClick: (url: string) => Promise<Passage>;

  constructor(askForClick: (url: string) => Promise<Passage>) {
    this.#askForClick = askForClick;
  }

  get returnTo(): string | null {
    return this.#passage?.returnTo ?? null;
  }

  /** Sign in by this passage, and by no other until that is over. */
  async through<T>(passage: Passage, signIn: () => Promise<T>): Promise<T> {
    this.#passage = passage;
    try {
      return await signIn();
    } finally {
      this.#passage = null;
    }
  }

  async authorize(url: string, state: string, redirectUri: string): Promise<RedirectResult> {
    const passage = this.#passage ?? (await this.#askForClick(url));
    return passage.authorize(url, state, redirectUri);
  }
}
