/** Asking for what the user types to sign in: addresses and codes, user names and passwords. Nothing of it is kept. */

import { ErrorNumber, type CodeAnswer, type CodeState, type Codes, type PasswordAnswer, type PasswordState, type Passwords, type Refused } from "@strongroom/sdk";

import { Declined, problemOf, say } from "./problem.js";
import type { Form, Problem } from "./types.js";

/** Milliseconds before another code can be asked for: mail takes a while, and impatience fills mailboxes. */
export const PAUSE = 30_000;

/** Shows a form; null takes it away. */
export type Show = (form: Form | null) => void;

/** The one form that is open. */
export class Typing {
  #give: ((error: Declined) => void) | null = null;
  #turn = 0;
  readonly #show: Show;

  constructor(show: Show) {
    this.#show = show;
  }

  readonly codes: Codes = {
    ask: (state: CodeState) =>
      this.#ask<CodeAnswer>((done) => ({
        kind: "code",
        turn: ++this.#turn,
        sender: state.method.sender,
        email: state.email,
        triesLeft: state.triesLeft,
        problem: wrong(state.problem, "code"),
        send: (email) => done({ email }),
        enter: (code) => done({ code }),
      })),
  };

  readonly passwords: Passwords = {
    ask: (state: PasswordState) =>
      this.#ask<PasswordAnswer>((done) => ({
        kind: "password",
        turn: ++this.#turn,
        directory: state.directory.name,
        authenticator: URL.canParse(state.authenticator) ? new URL(state.authenticator).host : state.authenticator,
        problem: wrong(state.problem, "password"),
        enter: (user, password) => done({ user, password }),
      })),
  };

  /** Whoever waits for the form hears that the user does not want it. */
  cancel(): void {
    this.#give?.(new Declined());
    this.#give = null;
  }

  #ask<T>(form: (done: (answer: T) => void) => Form): Promise<T> {
    this.cancel();
    return new Promise((resolve, reject) => {
      this.#give = reject;
      const done = (answer: T): void => {
        this.#give = null;
        this.#show(null);
        resolve(answer);
      };
      this.#show(form(done));
    });
  }
}

/** In words about what was typed. */
function wrong(problem: Refused | null, what: "code" | "password"): Problem | null {
  if (problem === null) return null;
  return problem.number === ErrorNumber.SIGN_IN_REFUSED ? say(what, "retry", "") : problemOf(problem);
}
