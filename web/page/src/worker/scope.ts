/** The little of a service worker's scope that is used here: TypeScript has it only in place of the page's. */

interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}

export interface FetchAsked extends Extendable {
  readonly request: Request;
  respondWith(answer: Promise<Response> | Response): void;
}

export interface MessageHeard extends Extendable {
  readonly data: unknown;
  readonly ports: readonly MessagePort[];
}

interface Scope {
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: Extendable) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchAsked) => void): void;
  addEventListener(type: "message", listener: (event: MessageHeard) => void): void;
}

export const scope = self as unknown as Scope;
