/** What is done with each kind of vector in spec/vectors: by the SDK, and for the server's side with its parts. */

import { readFileSync, readdirSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";

import { verifyReleased, verifySerial } from "../src/attestation/appraisal.js";
import type { Report } from "../src/attestation/reports.js";
import { verifyStatement } from "../src/protocol/blobs.js";
import { type Bytes, base64url, concat, hex, unhex, utf8 } from "../src/protocol/bytes.js";
import { type Kind, decode, decodeExactly, encode } from "../src/protocol/codec.js";
import { ErrorNumber, Misuse, StrongroomError, Untrusted } from "../src/protocol/errors.js";
import { type PlatformKind, type Role, parseEvidence, verifyClaims } from "../src/protocol/evidence.js";
import { verifyCharter } from "../src/protocol/governance.js";
import { type MethodKind, boundNonce, parseInstructions, signInChallenge, workloadAudience } from "../src/protocol/instructions.js";
import { toJson } from "../src/protocol/json.js";
import { MAX_HELLO, MAX_MESSAGE } from "../src/protocol/limits.js";
import * as messages from "../src/protocol/messages.js";
import * as primitives from "../src/protocol/primitives.js";
import { type Approving, verifyReleases } from "../src/protocol/releases.js";
import { Channel, ClientHandshake, type Direction, answerKey, keyId, sealHello, splitReply, transcriptDigest } from "../src/protocol/session.js";
import { ATTESTATION } from "./attestation_runs.js";
import { LOG } from "./log_runs.js";

export const SPEC = fileURLToPath(new URL("../../../spec", import.meta.url));
const FOLDER = join(SPEC, "vectors");

/** Inputs as they stand in the file: the reader of each knows its type. */
type Given = Readonly<Record<string, unknown>>;
type Outputs = Record<string, unknown>;

interface Vector {
  readonly what: string;
  readonly run: string;
  readonly inputs: Given;
  readonly expect: "accept" | { readonly error: number };
  readonly outputs?: Outputs;
}

/** Needs Cedar, which no page carries: the Authenticator says what is wrong with rules. */
const NEEDS_CEDAR = ["verify rules"];
/** What custodians and enclaves do, and no page: shares, lists that follow each other, enclaves without a ring. */
const OF_OTHERS = ["share", "combine shares", "releases follow", "verify candidate"];
export const LEFT_OUT: ReadonlySet<string> = new Set([...NEEDS_CEDAR, ...OF_OTHERS]);

const { subtle } = crypto;
const kinds = messages as unknown as Record<string, Kind<unknown>>;
const TO_SERVER: Direction = "client to server";
const TO_CLIENT: Direction = "server to client";

const input = <T>(given: Given, name: string): T => given[name] as T;
const bytesOf = (given: Given, name: string): Bytes => unhex(input(given, name));
const partsOf = (given: Given): Bytes[] => input<string[]>(given, "parts").map(unhex);
const domainOf = (given: Given): primitives.Domain => input(given, "domain");

function refuseUnless(holds: boolean, number: ErrorNumber): asserts holds {
  if (!holds) throw number >= 300 ? new Untrusted(number) : new Misuse(number);
}

async function hmac(key: Bytes, data: Bytes): Promise<Bytes> {
  const imported = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, data));
}

const RUN: Record<string, (given: Given) => Outputs | Promise<Outputs>> = {
  "frame parts": (given) => ({ framed: primitives.frameParts(domainOf(given), ...partsOf(given)) }),
  digest: async (given) => ({ digest: await primitives.digest(domainOf(given), ...partsOf(given)) }),
  "keyed hash": async (given) => ({ hash: await hmac(bytesOf(given, "key"), primitives.frameParts(domainOf(given), ...partsOf(given))) }),
  "derive key": async (given) => ({
    key: await primitives.deriveKey(bytesOf(given, "secret"), bytesOf(given, "salt"), domainOf(given), ...partsOf(given)),
  }),
  // HKDF-Expand to one block of 32 bytes: T(1) = HMAC(PRK, info ‖ 01).
  "expand key": async (given) => {
    const info = primitives.frameParts(domainOf(given), ...partsOf(given));
    return { key: await hmac(bytesOf(given, "key"), concat(info, Uint8Array.of(1))) };
  },
  "open once": async (given) => ({
    plaintext: await primitives.openOnce(bytesOf(given, "key"), bytesOf(given, "sealed"), bytesOf(given, "associated")),
  }),
  "kem key": async (given) => {
    const key = await primitives.KemKey.fromSeed(bytesOf(given, "seed"));
    return { public: key.public, key_id: await keyId(key.public) };
  },
  "hpke open": async (given) => {
    const key = await primitives.KemKey.fromSeed(bytesOf(given, "seed"));
    return { plaintext: await key.open(bytesOf(given, "sealed"), domainOf(given), ...partsOf(given)) };
  },
  "verify signature": async (given) => {
    const [key, signature] = [bytesOf(given, "public"), bytesOf(given, "signature")];
    await primitives.verifySignature(key, signature, domainOf(given), ...partsOf(given));
    return {};
  },
  unpad: (given) => {
    const message = primitives.unpad(bytesOf(given, "padded"));
    refuseUnless(hex(primitives.pad(message)) === given["padded"], 302);
    return { message };
  },
  "digest of": async (given) => ({ digest: await primitives.digest(domainOf(given), bytesOf(given, "exact")) }),
  nonce: async (given) => ({
    nonce: await boundNonce(bytesOf(given, "method"), bytesOf(given, "binding_key"), bytesOf(given, "salt")),
  }),
  "sign-in challenge": async (given) => {
    const [method, bindingKey, salt] = [bytesOf(given, "method"), bytesOf(given, "binding_key"), bytesOf(given, "salt")];
    return { challenge: await signInChallenge(input<MethodKind>(given, "kind"), method, bindingKey, salt) };
  },
  "workload audience": async (given) => ({
    audience: await workloadAudience(bytesOf(given, "authenticator_cluster"), bytesOf(given, "binding_key")),
  }),
  "blob statement": async (given) => ({
    value: await verifyStatement(bytesOf(given, "statement"), bytesOf(given, "signature"), bytesOf(given, "cluster_key")),
  }),
  "code challenge": async (given) => ({ digest: await primitives.sha256(utf8(input(given, "verifier"))) }),
  decode: decoded,
  "verify claims": verified,
  hello: async (given) => {
    const message = await openedHello(bytesOf(given, "server_kem_seed"), bytesOf(given, "hello"));
    refuseUnless(hex(message.evidence) === given["shown"], ErrorNumber.STALE_KEY);
    return { message: encode(messages.Hello, message) };
  },
  answer: async (given) => {
    const channel = await finished(given);
    if (given["frame"] !== undefined) await channel.open(bytesOf(given, "frame"));
    return { session_id: channel.sessionId };
  },
  handshake,
  proof: async (given) => {
    const [key, signature] = [bytesOf(given, "binding_key"), bytesOf(given, "signature")];
    await primitives.verifySignature(key, signature, "proof", bytesOf(given, "transcript"));
    return {};
  },
  frame: async (given) => received(given),
  reply: async (given) => {
    const { counter, message } = await received(given);
    const reply = splitReply(message);
    refuseUnless(reply.request === BigInt(input<string>(given, "request")), ErrorNumber.INTEGRITY);
    return { counter, message: reply.message };
  },
  "parse instructions": (given) => {
    parseInstructions(bytesOf(given, "instructions"));
    return {};
  },
  "verify releases": async (given) => ({ serial: (await verifyReleases(bytesOf(given, "releases"), approving(given))).serial }),
  released: async (given) => {
    const { cluster, role, approvers, approvals } = approving(given);
    const report = { registers: [["", bytesOf(given, "measurement")]] } as unknown as Report;
    const candidate = { kind: input<PlatformKind>(given, "kind"), report, cluster, role, untrustedReleases: bytesOf(given, "releases") };
    return { serial: (await verifyReleased(candidate, { approvers, approvals, min_serial: input(given, "min_serial") })).serial };
  },
  "verify charter": async (given) => {
    const { clusterId, councils, gaps } = await verifyCharter(bytesOf(given, "charter"));
    return { cluster_id: clusterId, council: councils.length - 1, generation: gaps.at(-1)?.gap.generation ?? 0 };
  },
  ...ATTESTATION,
  ...LOG,
};

function approving(given: Given): Approving {
  const approvers = input<string[]>(given, "approvers").map(unhex);
  return { cluster: bytesOf(given, "cluster"), role: input(given, "role"), approvers, approvals: input(given, "approvals") };
}


function decoded(given: Given): Outputs {
  const name = input<string>(given, "type");
  const kind = kinds[name === "Error" ? "ErrorReply" : name];
  if (kind === undefined) throw new Error(`no type ${name}`);
  const message = bytesOf(given, "message");
  const { value, wide } = decodeExactly(message, kind, input(given, "limit"));
  if (!wide) refuseUnless(hex(encode(kind, value)) === hex(message), 408);
  return { value };
}

/** Of what `appraise` does, what needs no quote; of these two clusters and configuration are policy. */
async function verified(given: Given): Promise<Outputs> {
  const [claimsBytes, genesisBytes] = [bytesOf(given, "claims"), bytesOf(given, "genesis")];
  const evidence = encode(messages.Evidence, {
    version: 1,
    kind: "sgx",
    quote: new Uint8Array(),
    collateral: new Uint8Array(),
    claims: claimsBytes,
    genesis: genesisBytes,
    cluster_signature: bytesOf(given, "cluster_signature"),
    releases: bytesOf(given, "releases"),
  });
  const parsed = parseEvidence(evidence);
  const reportData = bytesOf(given, "report_data");
  await verifyClaims(parsed, { reportData, role: input(given, "role"), now: input(given, "now") });
  const cluster = hex(parsed.claims.cluster_id);
  const sorted = (config: readonly messages.ConfigValue[]): string[] => config.map((one) => JSON.stringify([one.name, one.value])).sort();
  refuseUnless(input<string[]>(given, "clusters").includes(cluster), ErrorNumber.POLICY);
  verifySerial(parsed.evidence.releases, parsed.claims);
  refuseUnless(isDeepStrictEqual(sorted(parsed.claims.config), sorted(input(given, "config"))), ErrorNumber.POLICY);
  return { cluster_id: cluster, report_data: reportData };
}

async function openedHello(serverSeed: Bytes, hello: Bytes): Promise<messages.Hello> {
  refuseUnless(hello.length <= MAX_HELLO, ErrorNumber.TOO_LARGE);
  const key = await primitives.KemKey.fromSeed(serverSeed);
  const id = hello.slice(0, 8);
  refuseUnless(hex(id) === hex(await keyId(key.public)), ErrorNumber.STALE_KEY);
  return decode(await key.open(hello.slice(8), "hello", id), messages.Hello, MAX_HELLO);
}

/** The client's end of a handshake whose hello was sealed already: with another one, the answer is none to it. */
async function finished(given: Given): Promise<Channel> {
  const secrets = { seed: bytesOf(given, "client_seed"), kemSeed: bytesOf(given, "client_kem_seed") };
  const serverKemKey = (await primitives.KemKey.fromSeed(secrets.kemSeed)).public; // any will do
  const parties = { role: input<Role>(given, "role"), evidence: bytesOf(given, "evidence"), serverKemKey, bindingKey: new Uint8Array(65) };
  const handshake = await ClientHandshake.begin(parties, secrets);
  Object.defineProperty(handshake, "hello", { value: bytesOf(given, "hello") });
  return handshake.finish(bytesOf(given, "answer"));
}

async function received(given: Given): Promise<{ counter: string; message: Bytes }> {
  const receives = input<Direction>(given, "direction");
  const directions = { sends: receives === TO_CLIENT ? TO_SERVER : TO_CLIENT, receives };
  const channel = await Channel.establish(bytesOf(given, "session_id"), bytesOf(given, "seeds"), bytesOf(given, "transcript"), directions);
  for (const earlier of input<string[]>(given, "before")) {
    await channel.open(unhex(earlier)).catch((error: unknown) => {
      if (!(error instanceof StrongroomError)) throw error;
    });
  }
  const { counter, message } = await channel.open(bytesOf(given, "frame"));
  return { counter: counter.toString(), message };
}

/** A complete run. The proof is taken from the vector and verified: signatures need not be made alike. */
async function handshake(given: Given): Promise<Outputs> {
  const stated = input<Record<string, string>>(given, "stated");
  const at = (name: string): Bytes => unhex(stated[name] ?? "");
  const serverKey = await primitives.KemKey.fromSeed(bytesOf(given, "server_kem_seed"));
  const hello = await openedHello(bytesOf(given, "server_kem_seed"), bytesOf(given, "hello"));
  const atClient = await finished(given);
  const seeds = concat(bytesOf(given, "client_seed"), bytesOf(given, "server_seed"));
  const { sessionId, transcript } = atClient;
  const [helloBytes, answer] = [bytesOf(given, "hello"), bytesOf(given, "answer")];
  refuseUnless(hex(transcript) === hex(await transcriptDigest(input(given, "role"), bytesOf(given, "evidence"), helloBytes, answer)), 302);
  await primitives.verifySignature(hello.binding_key, at("proof"), "proof", transcript);
  const atServer = await Channel.establish(sessionId, seeds, transcript, { sends: TO_CLIENT, receives: TO_SERVER });
  const first = await atServer.open(at("first_frame"));
  const prove = decode(first.message, messages.VaultRequest, MAX_MESSAGE);
  refuseUnless(prove.type === "prove" && hex(prove.signature) === stated["proof"] && prove.evidence === null, 302);
  const reply = await atClient.open(at("reply_frame"));
  refuseUnless(decode(splitReply(reply.message).message, messages.VaultReply, MAX_MESSAGE).type === "proved", 302);
  const key = await answerKey(hello.seed, helloBytes, answer.slice(0, 32));
  return {
    server_kem_key: serverKey.public,
    key_id: await keyId(serverKey.public),
    client_kem_key: hello.kem_key,
    binding_key: hello.binding_key,
    hello_message: encode(messages.Hello, hello),
    answer_key: key,
    answer_message: await primitives.openOnce(key, answer.slice(32), await primitives.sha256(helloBytes)),
    transcript,
    key_to_server: await primitives.deriveKey(seeds, transcript, "traffic", utf8(TO_SERVER)),
    key_to_client: await primitives.deriveKey(seeds, transcript, "traffic", utf8(TO_CLIENT)),
    proof: at("proof"),
    prove_message: encode(messages.Prove, prove),
    // The SDK's own frame of the same message: AES-GCM leaves it no choice.
    first_frame: await sealedBy(sessionId, seeds, transcript, first.message),
    proved_message: reply.message,
    reply_frame: at("reply_frame"),
    session_id: sessionId,
  };
}

async function sealedBy(sessionId: Bytes, seeds: Bytes, transcript: Bytes, message: Bytes): Promise<Bytes> {
  const sender = await Channel.establish(sessionId, seeds, transcript, { sends: TO_SERVER, receives: TO_CLIENT });
  return (await sender.seal(message)).frame;
}

/** A hello and a proof that the SDK makes itself, of a vector's secrets: for the first implementation to open. */
export async function ownHandshake(): Promise<{ hello: string; proof: string }> {
  const { inputs: given, outputs } = read(join("handshake", "complete.json"));
  const stated = outputs as Record<string, string>;
  const binding = unhex(stated["binding_key"] ?? "");
  const kem = await primitives.KemKey.fromSeed(bytesOf(given, "client_kem_seed"));
  const hello = await sealHello(unhex(stated["server_kem_key"] ?? ""), {
    version: 1,
    seed: bytesOf(given, "client_seed"),
    kem_key: kem.public,
    binding_key: binding,
    evidence: bytesOf(given, "evidence"),
  });
  const [x, y, d] = [binding.slice(1, 33), binding.slice(33), bytesOf(given, "binding_scalar")].map(base64url);
  const jwk = { kty: "EC", crv: "P-256", x, y, d } as JsonWebKey;
  const key = await subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  const proof = await new primitives.SigningKey(binding, key).sign("proof", unhex(stated["transcript"] ?? ""));
  return { hello: hex(hello), proof: hex(proof) };
}

function read(path: string): Vector {
  const vector = JSON.parse(readFileSync(join(FOLDER, path), "utf8")) as Vector;
  const inputs: Record<string, unknown> = { ...vector.inputs };
  for (const [name, value] of Object.entries(vector.inputs)) {
    if (typeof value === "string" && value.startsWith("@")) {
      inputs[name] = read(join(path, "..", `${value.slice(1)}.json`)).inputs[name];
    }
  }
  if (vector.run === "handshake") inputs["stated"] = vector.outputs;
  return { ...vector, inputs };
}

/** All vectors that are not left out, by path below the folder. */
export function vectors(): [path: string, vector: Vector][] {
  const paths = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".json")).sort();
  const all = paths.map((path): [string, Vector] => [path.split(sep).join("/"), read(path)]);
  return all.filter(([, vector]) => !LEFT_OUT.has(vector.run));
}

/** What is wrong, or nothing. Whatever is no refusal is thrown. */
export async function problem(vector: Vector): Promise<string | undefined> {
  const run = RUN[vector.run];
  if (run === undefined) return `nobody knows how to run "${vector.run}"`;
  let outputs: Outputs;
  try {
    outputs = await run(vector.inputs);
  } catch (error) {
    if (!(error instanceof StrongroomError)) throw error;
    const expected = vector.expect === "accept" ? undefined : vector.expect.error;
    return error.number === expected ? undefined : `${error.message}, expected ${JSON.stringify(vector.expect)}`;
  }
  if (vector.expect !== "accept") return `accepted, expected ${JSON.stringify(vector.expect)}`;
  for (const [name, wanted] of Object.entries(vector.outputs ?? {})) {
    if (!isDeepStrictEqual(toJson(outputs[name]), wanted)) return `${name}: ${JSON.stringify(toJson(outputs[name]))}`;
  }
  return undefined;
}
