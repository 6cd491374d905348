/** How the user gets to a sign-in provider and back: by a window of its own, or by leaving the page. */

import { PopupSignIn, RedirectSignIn, type RedirectResult, type SignIn } from "@strongroom/sdk";

export class Doorway implements SignIn {
  readonly #popup = new PopupSignIn();
  readonly #redirect = new RedirectSignIn();
  #way: "popup" | "redirect" = "popup";
  #open = false;
  /** Gets the user to click, when the SDK wants a sign-in that no click asked for: an upload outlived its ticket. */
  readonly #askForClick: () => Promise<void>;

  constructor(askForClick: () => Promise<void>) {
    this.#askForClick = askForClick;
  }

  get returnTo(): string | null {
    return this.#way === "redirect" ? this.#redirect.returnTo : null;
  }

  /** To be called while a click is handled. Throws `BadInput` when the browser lets no window open. */
  openWindow(): void {
    this.#way = "popup";
    this.#popup.prepare();
    this.#open = true;
  }

  /** The next sign-in leaves the page. */
  leavePage(): void {
    this.#way = "redirect";
  }

  close(): void {
    this.#open = false;
    this.#popup.cancel();
  }

  async authorize(url: string, state: string): Promise<RedirectResult> {
    if (this.#way === "redirect") return this.#redirect.authorize(url);
    if (!this.#open) await this.#askForClick();
    this.#open = false;
    return this.#popup.authorize(url, state);
  }
}
