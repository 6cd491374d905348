import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { concat, hex } from "../src/protocol/bytes.js";
import { BlobHost, type Outgoing, type Patience } from "../src/share/blobs.js";
import { Control } from "../src/share/control.js";
import { Cancelled, HostFailed, Missing } from "../src/share/errors.js";
import { inChunks } from "../src/share/pack.js";
import { TusServer } from "./tus_server.js";

vi.setConfig({ testTimeout: 60_000 }); // machines can be slow

const PATIENCE: Patience = { firstWait: 2, longestWait: 20, inVain: 30_000, silence: 30_000 };
/** Gives up soon. */
const HASTY: Patience = { ...PATIENCE, inVain: 200 };
const SIZE = 3_000_000;
const CHUNK = 1_000_000;

let server: TusServer;
let host: BlobHost;
let control: Control;
let bytes: Uint8Array<ArrayBuffer>;
let out: Outgoing;

beforeEach(async () => {
  server = await new TusServer().start();
  host = new BlobHost(server.origin, PATIENCE);
  control = new Control();
  bytes = new Uint8Array(randomBytes(SIZE));
  const blob = new Uint8Array(randomBytes(16));
  out = { blob, size: SIZE, grant: { statement: blob, signature: new Uint8Array(64) } };
});

afterEach(() => server.stop());

async function* whole(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield bytes;
}

const upload = (progress: (arrived: number) => void = () => undefined) => host.upload(out, inChunks(whole(), CHUNK), control, progress);
const kept = (): Uint8Array => server.blobs.get(hex(out.blob))?.bytes ?? new Uint8Array();
const arrivedWhole = (): void => expect(Buffer.compare(kept(), bytes)).toBe(0);

async function read(offset = 0, length = SIZE): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of host.read({ blob: out.blob, offset, length }, control)) parts.push(piece);
  return concat(...parts);
}

/** Already there, as if uploaded. */
function put(): void {
  server.blobs.set(hex(out.blob), { size: SIZE, bytes });
}

describe("an upload", () => {
  test("arrives, and says how far it is", async () => {
    const seen: number[] = [];
    await upload((arrived) => seen.push(arrived));
    arrivedWhole();
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(SIZE);
  });

  test("goes on where a dropped connection left it", async () => {
    server.dropAfter = 70_000;
    server.drops = 4;
    await upload();
    arrivedWhole();
    expect(server.drops).toBe(0);
    expect(server.requests.filter((line) => line.startsWith("HEAD"))).not.toHaveLength(0);
  });

  test("goes on after the host was away, and gives up in the end", async () => {
    let failures = 5;
    server.before = (request, response) => {
      if (request.method !== "PATCH" || failures-- <= 0) return false;
      response.writeHead(503).end();
      return true;
    };
    await upload();
    arrivedWhole();
    failures = Infinity;
    server.blobs.clear();
    host = new BlobHost(server.origin, HASTY);
    await expect(upload()).rejects.toMatchObject({ status: 503, passing: true });
  });

  test("of a host that does not answer at all is tried again", async () => {
    let silences = 1;
    host = new BlobHost(server.origin, { ...PATIENCE, silence: 1_000 });
    server.before = (request) => request.method === "PATCH" && silences-- > 0;
    await upload();
    arrivedWhole();
  });

  test("paused sends nothing, resumed goes on; a pause is no failure", async () => {
    host = new BlobHost(server.origin, { ...PATIENCE, inVain: 1_000 });
    let patches = 0;
    server.before = async (request) => {
      if (request.method !== "PATCH" || ++patches !== 2) return false;
      control.pause(); // under a request
      return true;
    };
    const done = upload();
    await expect.poll(() => control.state).toBe("paused");
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const before = server.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(server.requests.length).toBe(before);
    expect(kept().length).toBeLessThan(SIZE);
    const again = setInterval(() => control.resume(), 10);
    await done;
    clearInterval(again);
    arrivedWhole();
  });

  test("cancelled ends at once, while running and while paused", async () => {
    const running = upload(() => control.cancel());
    await expect(running).rejects.toThrow(Cancelled);
    control = new Control();
    control.pause();
    const paused = upload();
    setTimeout(() => control.cancel(), 20);
    await expect(paused).rejects.toThrow(Cancelled);
    await expect(host.upload(out, inChunks(whole(), CHUNK), new Control().obey(AbortSignal.abort()), () => undefined)).rejects.toThrow(Cancelled);
  });

  test("that the host lost a part of is not patched up with a hole", async () => {
    server.before = (request, response) => {
      if (request.method === "PATCH" && kept().length >= 2_000_000) {
        const stored = server.blobs.get(hex(out.blob));
        if (stored !== undefined) stored.bytes = stored.bytes.subarray(0, 10);
        response.writeHead(500).end();
        return true;
      }
      return false;
    };
    await expect(upload()).rejects.toThrow("lost a part");
  });

  test.each([
    ["another blob", 201, { location: "/blobs/00000000000000000000000000000000" }],
    ["another host", 201, { location: "https://elsewhere.example/blobs/" }],
    ["a redirect", 307, { location: "/elsewhere" }],
  ])("is not sent to %s", async (_name, status, headers) => {
    server.before = (request, response) => {
      if (request.method === "POST") response.writeHead(status, headers).end();
      return request.method === "POST";
    };
    await expect(upload()).rejects.toThrow(HostFailed);
    expect(server.requests).toEqual(["POST /blobs/"]);
  });

  test.each([401, 403, 410, 413, 507])("refused with %i is not tried again", async (status) => {
    server.before = (request, response) => {
      if (request.method === "PATCH") response.writeHead(status).end();
      return request.method === "PATCH";
    };
    await expect(upload()).rejects.toMatchObject({ status, passing: false });
    expect(server.requests.filter((line) => line.startsWith("PATCH"))).toHaveLength(1);
  });

  test("of fewer bytes than announced is an error", async () => {
    await expect(host.upload({ ...out, size: SIZE + 1 }, inChunks(whole(), CHUNK), control, () => undefined)).rejects.toThrow("another number");
  });
});

describe("a download", () => {
  test("gives the range that was asked for, over dropped connections", async () => {
    put();
    server.dropAfter = 200_000;
    server.drops = 3;
    expect(Buffer.compare(await read(1_000, 1_500_000), bytes.subarray(1_000, 1_501_000))).toBe(0);
    expect(server.drops).toBe(0);
    expect(await read(5, 0)).toHaveLength(0);
  });

  test.each([404, 410])("of a blob that is gone (%i) says so", async (status) => {
    server.before = (_request, response) => {
      response.writeHead(status).end();
      return true;
    };
    await expect(read()).rejects.toThrow(Missing);
  });

  test.each<[string, number, Record<string, string>, number]>([
    ["the whole blob instead", 200, {}, 1_000],
    ["a part that it does not call one", 200, { "content-range": "bytes 0-999/3000000" }, 1_000],
    ["another range", 206, { "content-range": "bytes 1-1000/3000000" }, 1_000],
    ["a range of another length", 206, { "content-range": "bytes 0-998/3000000" }, 999],
    ["more than it says", 206, { "content-range": "bytes 0-999/3000000" }, 5_000],
    ["a redirect", 302, { location: "/elsewhere" }, 0],
  ])("from a host that answers with %s is refused", async (_name, status, headers, length) => {
    server.before = (_request, response) => {
      response.writeHead(status, headers).end(bytes.subarray(0, length));
      return true;
    };
    await expect(read(0, 1_000)).rejects.toThrow(HostFailed);
    expect(server.requests.length).toBeLessThan(40);
  });

  test("that stays short is given up", async () => {
    host = new BlobHost(server.origin, HASTY);
    server.before = (_request, response) => {
      response.writeHead(206, { "content-range": "bytes 0-999/3000000" }).end();
      return true;
    };
    await expect(read(0, 1_000)).rejects.toMatchObject({ passing: true });
  });

  test("cancelled ends at once", async () => {
    put();
    const reading = host.read({ blob: out.blob, offset: 0, length: SIZE }, control);
    await reading.next();
    control.cancel();
    await expect(async () => {
      for await (const _ of reading);
    }).rejects.toThrow(Cancelled);
  });
});
