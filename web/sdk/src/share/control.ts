/** Pause, go on, cancel: what a user does to a transfer while it runs. */

import { Cancelled } from "./errors.js";

export class Control {
  #requests = new AbortController();
  #state: "running" | "paused" | "cancelled" = "running";
  #waiting: (() => void)[] = [];
  readonly #watchers: (() => void)[] = [];

  get state(): "running" | "paused" | "cancelled" {
    return this.#state;
  }

  /** Aborted when the transfer is paused or cancelled; there is another one after each pause. */
  get signal(): AbortSignal {
    return this.#requests.signal;
  }

  /** Break off what is under way. What the host has by then it keeps. */
  pause(): void {
    if (this.#state === "running") this.#become("paused");
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#requests = new AbortController();
    this.#become("running");
  }

  cancel(): void {
    this.#become("cancelled");
  }

  /** Cancels when this signal says so. */
  obey(signal: AbortSignal | undefined): this {
    if (signal?.aborted === true) this.cancel();
    signal?.addEventListener("abort", () => this.cancel(), { once: true });
    return this;
  }

  /** Calls `changed` at each change of the state. */
  watch(changed: () => void): void {
    this.#watchers.push(changed);
  }

  /** When the transfer may go on. Throws `Cancelled`. */
  async passed(): Promise<void> {
    while (this.#state === "paused") await this.#changed();
    if (this.#state === "cancelled") throw new Cancelled();
  }

  /** Waits so long, or until the user does something. */
  async wait(milliseconds: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const elapsed = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, milliseconds);
    });
    await Promise.race([elapsed, this.#changed()]);
    clearTimeout(timer);
  }

  #become(state: "running" | "paused" | "cancelled"): void {
    this.#state = state;
    if (state !== "running") this.#requests.abort();
    for (const go of this.#waiting.splice(0)) go();
    for (const changed of this.#watchers) changed();
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
