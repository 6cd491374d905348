/** A host of blobs in memory that does what the tests ask of it: breaks off, lies, forgets. */

import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { unbase64url, hex } from "../src/protocol/bytes.js";

type Handler = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export interface Stored {
  readonly size: number;
  bytes: Uint8Array;
}

export class TusServer {
  readonly blobs = new Map<string, Stored>();
  readonly requests: string[] = [];
  /** Asked before each request; true: it has answered (or has dropped the connection) itself. */
  before: Handler = () => false;
  /** The connection is dropped after so many bytes of a body, so many times. */
  dropAfter = Infinity;
  drops = 0;
  #origin = "";
  readonly #server = createServer((request, response) => {
    void this.#answer(request, response);
  });

  get origin(): string {
    return this.#origin;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.#origin = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests.push(`${request.method} ${request.url}`);
    if (await this.before(request, response)) return;
    const id = request.url?.split("/")[2] ?? "";
    const blob = this.blobs.get(id);
    if (request.method === "POST") {
      const granted = hex(unbase64url(String(request.headers["strongroom-grant"]).split(".")[0] ?? ""));
      if (!this.blobs.has(granted)) this.blobs.set(granted, { size: Number(request.headers["upload-length"]), bytes: new Uint8Array() });
      response.writeHead(201, { location: `/blobs/${granted}` }).end();
    } else if (blob === undefined) {
      response.writeHead(404).end();
    } else if (request.method === "HEAD") {
      response.writeHead(200, { "upload-offset": blob.bytes.length, "upload-length": blob.size }).end();
    } else if (request.method === "PATCH") {
      await this.#patch(request, response, blob);
    } else if (request.method === "GET") {
      this.#get(request, response, blob);
    } else {
      response.writeHead(204).end();
    }
  }

  async #patch(request: IncomingMessage, response: ServerResponse, blob: Stored): Promise<void> {
    if (Number(request.headers["upload-offset"]) !== blob.bytes.length) {
      response.writeHead(409).end();
      return;
    }
    let came = 0;
    try {
      for await (const piece of request as AsyncIterable<Buffer>) {
        const room = this.drops > 0 ? this.dropAfter - came : Infinity;
        const kept = piece.subarray(0, room);
        came += kept.length;
        blob.bytes = Buffer.concat([blob.bytes, kept]);
        if (kept.length === piece.length) continue;
        this.drops--;
        request.socket.destroy();
        return;
      }
    } catch {
      return; // the client broke off; what came is kept
    }
    response.writeHead(204, { "upload-offset": blob.bytes.length }).end();
  }

  #get(request: IncomingMessage, response: ServerResponse, { bytes }: Stored): void {
    const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const body = bytes.subarray(Number(from), Number(to) + 1);
    response.writeHead(206, { "content-range": `bytes ${from}-${to}/${bytes.length}`, "content-length": body.length });
    if (this.drops > 0 && body.length > this.dropAfter) {
      this.drops--;
      response.write(body.subarray(0, this.dropAfter), () => setTimeout(() => request.socket.destroy(), 20));
      return;
    }
    response.end(body);
  }
}
