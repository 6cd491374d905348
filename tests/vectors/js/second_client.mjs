// A second client of the protocol, made from the pages in spec/ alone: node second_client.mjs PATH_TO_SPEC
//
// Prints "ok GROUP/CASE.json" for each vector that it reads as stated, "FAIL …" for every other one, and last a hello
// and a signature of its own for the first implementation to open. What it leaves out needs Cedar or a quote verifier.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import { Decoder, Encoder } from "@msgpack/msgpack";

const SPEC = process.argv[2];
const SCHEMA = JSON.parse(readFileSync(join(SPEC, "messages.json"), "utf8"));
SCHEMA.unions.Method = ["OidcMethod", "PasskeyMethod"]; // instructions.md: "Sign-in methods"
const LEFT_OUT = new Set(["verify rules", "appraise", "verify quote"]);
const { subtle } = globalThis.crypto;

const MALFORMED = 101, TOO_LARGE = 102, UNSUPPORTED = 103, REPLAYED = 105, INSTRUCTIONS_INVALID = 108, METHOD_INVALID = 110;
const STALE_KEY = 116, EVIDENCE = 301, INTEGRITY = 302, POLICY = 306;
const MAX_HELLO = 8192, MAX_FRAME = 2 * 1024 * 1024 + 40, MAX_MESSAGE = 1024 * 1024, MAX_STATEMENT = 512;
const TWO_HOURS = 7200, WINDOW = 64n;

class Refused extends Error {
  constructor(number) {
    super(`refused ${number}`);
    this.number = number;
  }
}

/** The result of `attempt`, any failure of a library turned into a refusal by this number. */
async function orRefuse(number, attempt) {
  try {
    return await attempt();
  } catch {
    throw new Refused(number);
  }
}

function demand(holds, number) {
  if (!holds) throw new Refused(number);
}

// --- bytes ------------------------------------------------------------------------------------------------------

const utf8 = (text) => new TextEncoder().encode(text);
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));
const same = (a, b) => hex(a) === hex(b);
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

function concat(...parts) {
  return new Uint8Array(Buffer.concat(parts));
}

function int8(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

// --- primitives.md ----------------------------------------------------------------------------------------------

function framed(domain, ...parts) {
  return concat(utf8(`strongroom/v1 ${domain}\0`), ...parts.flatMap((part) => [int8(part.length), part]));
}

async function sha256(bytes) {
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

const digest = (domain, ...parts) => sha256(framed(domain, ...parts));

async function hmac(key, bytes) {
  const imported = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, bytes));
}

async function deriveKey(secret, salt, domain, ...parts) {
  const imported = await subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt, info: framed(domain, ...parts) };
  return new Uint8Array(await subtle.deriveBits(how, imported, 256));
}

/** HKDF-Expand to one block of 32 bytes: T(1) = HMAC(PRK, info ‖ 01). */
const expandKey = (key, domain, ...parts) => hmac(key, concat(framed(domain, ...parts), Uint8Array.of(1)));

async function openGcm(key, nonce, sealed, associated) {
  return orRefuse(INTEGRITY, async () => {
    const imported = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
    const how = { name: "AES-GCM", iv: nonce, additionalData: associated, tagLength: 128 };
    return new Uint8Array(await subtle.decrypt(how, imported, sealed));
  });
}

const openOnce = (key, sealed, associated) => openGcm(key, new Uint8Array(12), sealed, associated);

async function verifySignature(publicKey, signature, domain, ...parts) {
  demand(publicKey.length === 65 && publicKey[0] === 4 && signature.length === 64, INTEGRITY);
  const curve = { name: "ECDSA", namedCurve: "P-256" };
  const key = await orRefuse(INTEGRITY, () => subtle.importKey("raw", publicKey, curve, false, ["verify"]));
  const how = { name: "ECDSA", hash: "SHA-256" };
  demand(await subtle.verify(how, key, signature, framed(domain, ...parts)), INTEGRITY);
}

/** A signing key from its scalar, and its public key when that is known. */
async function sign(scalar, publicKey, domain, ...parts) {
  const [x, y] = [publicKey.slice(1, 33), publicKey.slice(33)].map(base64url);
  const jwk = { kty: "EC", crv: "P-256", x, y, d: base64url(scalar) };
  const key = await subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, framed(domain, ...parts)));
}

const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

async function kemPublic(seed) {
  const pair = await suite.kem.generateKeyPairDerand(seed);
  return new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey));
}

const keyId = async (publicKey) => (await sha256(publicKey)).slice(0, 8);

async function kemSeal(publicKey, plaintext, domain, ...parts) {
  const recipientPublicKey = await suite.kem.deserializePublicKey(publicKey);
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: framed(domain, ...parts) }, plaintext);
  return concat(new Uint8Array(enc), new Uint8Array(ct));
}

async function kemOpen(seed, sealed, domain, ...parts) {
  demand(sealed.length >= 1120 + 16, INTEGRITY);
  return orRefuse(INTEGRITY, async () => {
    const recipientKey = await suite.kem.importKey("raw", seed, false);
    const enc = sealed.slice(0, 1120);
    return new Uint8Array(await suite.open({ recipientKey, enc, info: framed(domain, ...parts) }, sealed.slice(1120)));
  });
}

function unpad(padded) {
  let end = padded.length;
  while (end > 0 && padded[end - 1] === 0) end--;
  demand(end > 0 && padded[end - 1] === 0x80, INTEGRITY);
  const length = end - 1;
  let size = 256;
  while (size <= length) size *= 2;
  demand(size === padded.length, INTEGRITY);
  return padded.slice(0, length);
}

// --- encoding.md ------------------------------------------------------------------------------------------------

// Texts stay bytes at first: the library lets halves of surrogate pairs pass.
const decoder = () => new Decoder({ useBigInt64: true, rawStrings: true });
const encoder = () => new Encoder({ useBigInt64: true, ignoreUndefined: false, sortKeys: false });

// The library shows text as bytes too; which of both it was is told by encoding again.
function typed(kind, raw) {
  switch (kind.is) {
    case "bytes":
      demand(raw instanceof Uint8Array, MALFORMED);
      within(kind, raw.length);
      return new Uint8Array(raw);
    case "text": {
      const text = textOf(raw);
      within(kind, [...text].length);
      return text;
    }
    case "int": {
      demand(typeof raw === "bigint" || Number.isSafeInteger(raw), MALFORMED);
      const value = BigInt(raw);
      demand(value >= BigInt(kind.min) && value <= BigInt(kind.max), MALFORMED);
      // The library's encoder makes floats of larger numbers.
      return value < 2n ** 32n ? Number(value) : value;
    }
    case "bool":
      demand(typeof raw === "boolean", MALFORMED);
      return raw;
    case "nil":
      demand(raw === null, MALFORMED);
      return raw;
    case "one of": {
      const value = raw instanceof Uint8Array ? textOf(raw) : typeof raw === "bigint" ? Number(raw) : raw;
      demand(kind.values.includes(value), MALFORMED);
      return value;
    }
    case "list":
      demand(Array.isArray(raw), MALFORMED);
      within(kind, raw.length);
      return raw.map((one) => typed(kind.of, one));
    case "map":
      return typedMap(kind.type, raw);
    case "either": {
      const fits = kind.of.find((one) => mayBe(one, raw));
      demand(fits !== undefined, MALFORMED);
      return typed(fits, raw);
    }
  }
  throw new Error(`messages.json has a type that encoding.md does not: ${kind.is}`);
}

function within(kind, size) {
  demand(size >= kind.min && (kind.max === null || size <= kind.max), MALFORMED);
}

function textOf(raw) {
  demand(raw instanceof Uint8Array, MALFORMED);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    throw new Refused(MALFORMED);
  }
}

const isMap = (raw) => raw !== null && Object.getPrototypeOf(raw) === Object.prototype;

/** By nil and by tag: which of several types is meant. */
function mayBe(kind, raw) {
  if (kind.is === "nil" || raw === null) return (kind.is === "nil") === (raw === null);
  if (kind.is !== "map") return true;
  const { tag } = SCHEMA.types[kind.type];
  return tag === null || (isMap(raw) && raw[tag[0]] instanceof Uint8Array && textOf(raw[tag[0]]) === tag[1]);
}

function typedMap(name, raw) {
  const { tag, fields } = SCHEMA.types[name];
  demand(isMap(raw), MALFORMED);
  const value = {};
  if (tag) {
    demand(raw[tag[0]] instanceof Uint8Array && textOf(raw[tag[0]]) === tag[1], MALFORMED);
    value[tag[0]] = tag[1];
  }
  for (const [field, kind] of fields) {
    demand(Object.hasOwn(raw, field), MALFORMED);
    value[field] = typed(kind, raw[field]);
  }
  return value;
}

const encode = (message) => encoder().encode(message);

/** One field of a map, before its other fields are known: instructions of another version have others. */
function firstField(message, name) {
  try {
    return decoder().decode(message)[name];
  } catch {
    throw new Refused(MALFORMED);
  }
}

function decode(message, name, limit = MAX_MESSAGE) {
  demand(message.length <= limit, TOO_LARGE);
  let raw;
  try {
    raw = decoder().decode(message);
  } catch {
    throw new Refused(MALFORMED);
  }
  const union = SCHEMA.unions[name];
  const kind = union ? { is: "either", of: union.map((type) => ({ is: "map", type })) } : { is: "map", type: name };
  const value = typed(kind, raw);
  demand(same(encode(value), message), MALFORMED);
  return value;
}

/** The JSON form of the vectors. */
function toJson(value) {
  if (value instanceof Uint8Array) return hex(value);
  if (typeof value === "bigint") return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
  if (Array.isArray(value)) return value.map(toJson);
  if (isMap(value ?? null)) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, toJson(one)]));
  return value;
}

// --- evidence.md ------------------------------------------------------------------------------------------------

async function verifyClaims(given) {
  const exact = unhex(given.claims), genesisBytes = unhex(given.genesis), reportData = unhex(given.report_data);
  const claims = await orRefuse(EVIDENCE, () => decode(exact, "Claims"));
  const genesis = await orRefuse(EVIDENCE, () => decode(genesisBytes, "Genesis"));
  const names = claims.config.map((one) => hex(utf8(one.name)));
  demand(isDeepStrictEqual(names, [...new Set(names)].sort()), EVIDENCE);
  const wanted = concat(await digest("report data", exact), new Uint8Array(32));
  demand(same(reportData, wanted), EVIDENCE);
  demand(claims.role === given.role && genesis.role === given.role, EVIDENCE);
  demand(Number(claims.expires_at) > given.now && Number(claims.expires_at) <= given.now + TWO_HOURS, EVIDENCE);
  const clusterId = await digest("genesis", genesisBytes);
  demand(same(claims.cluster_id, clusterId), EVIDENCE);
  await orRefuse(EVIDENCE, () =>
    verifySignature(genesis.cluster_key, unhex(given.cluster_signature), "claims signature", exact));
  demand(claims.peer === null, EVIDENCE);
  demand(given.clusters.includes(hex(clusterId)), POLICY);
  const sorted = (config) => config.map((one) => JSON.stringify([one.name, one.value])).sort();
  demand(isDeepStrictEqual(sorted(claims.config), sorted(given.config)), POLICY);
  return { cluster_id: clusterId, report_data: wanted };
}

// --- session.md -------------------------------------------------------------------------------------------------

async function makeHello(serverKey, seed, kemSeed, bindingKey, evidence) {
  const id = await keyId(serverKey);
  const message = { version: 1, seed, kem_key: await kemPublic(kemSeed), binding_key: bindingKey, evidence };
  return concat(id, await kemSeal(serverKey, encode(message), "hello", id));
}

async function openHello(serverSeed, hello) {
  demand(hello.length <= MAX_HELLO, TOO_LARGE);
  const id = hello.slice(0, 8);
  demand(same(id, await keyId(await kemPublic(serverSeed))), STALE_KEY);
  return decode(await kemOpen(serverSeed, hello.slice(8), "hello", id), "Hello", MAX_HELLO);
}

async function finish(given) {
  const [seed, kemSeed, hello, answer] =
    [given.client_seed, given.client_kem_seed, given.hello, given.answer].map(unhex);
  demand(answer.length <= MAX_HELLO, TOO_LARGE);
  demand(answer.length >= 48, INTEGRITY);
  const bound = await sha256(hello);
  const answerKey = await deriveKey(seed, answer.slice(0, 32), "answer", bound);
  const plaintext = await openOnce(answerKey, answer.slice(32), bound);
  const message = decode(plaintext, "Answer", MAX_HELLO);
  const serverSeed = await kemOpen(kemSeed, message.sealed_seed, "server seed", message.session_id);
  demand(serverSeed.length === 32, INTEGRITY);
  const transcript = await digest("transcript", utf8(given.role), unhex(given.evidence), hello, answer);
  return { message, plaintext, answerKey, transcript, seeds: concat(seed, serverSeed) };
}

class Receiver {
  constructor(seeds, transcript, session, direction) {
    Object.assign(this, { seeds, transcript, session, direction, highest: -1n, seen: new Set() });
  }

  async open(frame) {
    demand(frame.length <= MAX_FRAME, TOO_LARGE);
    demand(frame.length >= 40 && same(frame.slice(0, 16), this.session), MALFORMED);
    const counter = new DataView(frame.buffer, frame.byteOffset + 16, 8).getBigUint64(0);
    demand(this.highest - counter < WINDOW && !this.seen.has(counter), REPLAYED);
    const key = await deriveKey(this.seeds, this.transcript, "traffic", utf8(this.direction));
    const associated = concat(framed("frame", this.session, utf8(this.direction)), int8(counter));
    const message = unpad(await openGcm(key, concat(new Uint8Array(4), int8(counter)), frame.slice(24), associated));
    this.seen.add(counter);
    if (counter > this.highest) this.highest = counter;
    return { counter: counter.toString(), message };
  }
}

async function receive(given) {
  const receiver = new Receiver(unhex(given.seeds), unhex(given.transcript), unhex(given.session_id), given.direction);
  for (const earlier of given.before) {
    await receiver.open(unhex(earlier)).catch((error) => demand(error instanceof Refused, 0));
  }
  return receiver.open(unhex(given.frame));
}

function splitReply(plaintext, request) {
  demand(plaintext.length >= 8, INTEGRITY);
  demand(same(plaintext.slice(0, 8), int8(request)), INTEGRITY);
  return plaintext.slice(8);
}

// --- what is done with each kind of vector ----------------------------------------------------------------------

const partsOf = (given) => [given.domain, ...given.parts.map(unhex)];

const RUN = {
  "frame parts": (given) => ({ framed: framed(...partsOf(given)) }),
  digest: async (given) => ({ digest: await digest(...partsOf(given)) }),
  "keyed hash": async (given) => ({ hash: await hmac(unhex(given.key), framed(...partsOf(given))) }),
  "derive key": async (given) =>
    ({ key: await deriveKey(unhex(given.secret), unhex(given.salt), ...partsOf(given)) }),
  "expand key": async (given) => ({ key: await expandKey(unhex(given.key), ...partsOf(given)) }),
  "open once": async (given) =>
    ({ plaintext: await openOnce(unhex(given.key), unhex(given.sealed), unhex(given.associated)) }),
  "kem key": async (given) => {
    const publicKey = await kemPublic(unhex(given.seed));
    return { public: publicKey, key_id: await keyId(publicKey) };
  },
  "hpke open": async (given) =>
    ({ plaintext: await kemOpen(unhex(given.seed), unhex(given.sealed), ...partsOf(given)) }),
  "verify signature": async (given) => {
    await verifySignature(unhex(given.public), unhex(given.signature), ...partsOf(given));
    return {};
  },
  unpad: (given) => ({ message: unpad(unhex(given.padded)) }),
  "digest of": async (given) => ({ digest: await digest(given.domain, unhex(given.exact)) }),
  nonce: async (given) => {
    const parts = [given.method, given.binding_key, given.salt].map(unhex);
    return { nonce: base64url(await digest("nonce", ...parts)) };
  },
  "passkey challenge": async (given) => {
    const parts = [given.method, given.binding_key, given.salt].map(unhex);
    return { challenge: await digest("passkey", ...parts) };
  },
  "blob statement": async (given) => {
    const statement = unhex(given.statement);
    await verifySignature(unhex(given.cluster_key), unhex(given.signature), "blob", statement);
    return { value: decode(statement, "BlobStatement", MAX_STATEMENT) };
  },
  "code challenge": async (given) => ({ digest: await sha256(utf8(given.verifier)) }),
  decode: (given) => ({ value: decode(unhex(given.message), given.type, given.limit) }),
  "verify claims": verifyClaims,
  hello: async (given) => {
    const message = await openHello(unhex(given.server_kem_seed), unhex(given.hello));
    demand(hex(message.evidence) === given.shown, STALE_KEY);
    return { message: encode(message) };
  },
  answer: async (given) => {
    const { message, seeds, transcript } = await finish(given);
    if (given.frame) {
      await new Receiver(seeds, transcript, message.session_id, "server to client").open(unhex(given.frame));
    }
    return { session_id: message.session_id };
  },
  handshake: async (given) => {
    const outputs = await handshake(given);
    console.log(`made ${JSON.stringify(await ownHandshake(given, outputs))}`);
    return outputs;
  },
  proof: async (given) => {
    await verifySignature(unhex(given.binding_key), unhex(given.signature), "proof", unhex(given.transcript));
    return {};
  },
  frame: receive,
  reply: async (given) => {
    const { counter, message } = await receive(given);
    return { counter, message: splitReply(message, given.request) };
  },
  "parse instructions": async (given) => {
    const bytes = unhex(given.instructions);
    const version = await orRefuse(INSTRUCTIONS_INVALID, () => firstField(bytes, "schema_version"));
    demand(version === 1n || version === 1, UNSUPPORTED);
    const parsed = await orRefuse(INSTRUCTIONS_INVALID, () => decode(bytes, "Instructions"));
    demand(parsed.quorum <= parsed.authenticators.length, INSTRUCTIONS_INVALID);
    demand(new Set(parsed.methods.map(hex)).size === parsed.methods.length, INSTRUCTIONS_INVALID);
    for (const method of parsed.methods) await orRefuse(METHOD_INVALID, () => decode(method, "Method"));
    return {};
  },
};

/** A complete run. The proof is taken from the vector and verified: signatures need not be made alike. */
async function handshake(given, stated = given.stated) {
  const serverSeed = unhex(given.server_kem_seed);
  const { message, plaintext, answerKey, transcript, seeds } = await finish(given);
  const hello = await openHello(serverSeed, unhex(given.hello));
  demand(hex(hello.seed) === given.client_seed && hex(message.session_id) === given.session_id, INTEGRITY);
  demand(hex(seeds) === given.client_seed + given.server_seed, INTEGRITY);
  await verifySignature(hello.binding_key, unhex(stated.proof), "proof", transcript);
  const atServer = new Receiver(seeds, transcript, message.session_id, "client to server");
  const atClient = new Receiver(seeds, transcript, message.session_id, "server to client");
  const first = await atServer.open(unhex(stated.first_frame));
  const prove = decode(first.message, "VaultRequest");
  demand(prove.type === "prove" && hex(prove.signature) === stated.proof && prove.evidence === null, INTEGRITY);
  const reply = await atClient.open(unhex(stated.reply_frame));
  demand(decode(splitReply(reply.message, first.counter), "VaultReply").type === "proved", INTEGRITY);
  const serverKey = await kemPublic(serverSeed);
  return {
    server_kem_key: serverKey,
    key_id: await keyId(serverKey),
    client_kem_key: hello.kem_key,
    binding_key: hello.binding_key,
    hello_message: encode(hello),
    answer_key: answerKey,
    answer_message: plaintext,
    transcript,
    key_to_server: await deriveKey(seeds, transcript, "traffic", utf8("client to server")),
    key_to_client: await deriveKey(seeds, transcript, "traffic", utf8("server to client")),
    proof: unhex(stated.proof),
    prove_message: encode(prove),
    first_frame: unhex(stated.first_frame),
    proved_message: concat(int8(0), encode({ type: "proved" })),
    reply_frame: unhex(stated.reply_frame),
  };
}

/** A hello and a proof that this client makes itself, of the same secrets. */
async function ownHandshake(given, outputs) {
  const evidence = unhex(given.evidence), binding = outputs.binding_key;
  const seeds = [given.client_seed, given.client_kem_seed].map(unhex);
  const hello = await makeHello(outputs.server_kem_key, ...seeds, binding, evidence);
  const proof = await sign(unhex(given.binding_scalar), binding, "proof", outputs.transcript);
  return { hello: hex(hello), proof: hex(proof) };
}

// --- all vectors ------------------------------------------------------------------------------------------------

function read(path) {
  const vector = JSON.parse(readFileSync(path, "utf8"));
  for (const [name, value] of Object.entries(vector.inputs)) {
    if (typeof value === "string" && value.startsWith("@")) {
      vector.inputs[name] = read(join(path, "..", `${value.slice(1)}.json`)).inputs[name];
    }
  }
  return vector;
}

/** What is wrong, or nothing. */
async function problem(vector) {
  const given = vector.run === "handshake" ? { ...vector.inputs, stated: vector.outputs } : vector.inputs;
  let outputs;
  try {
    outputs = toJson(await RUN[vector.run](given));
  } catch (error) {
    if (!(error instanceof Refused)) return `crashed: ${error.stack}`;
    return error.number === vector.expect.error ? undefined : `${error.message}, expected ${JSON.stringify(vector.expect)}`;
  }
  if (vector.expect !== "accept") return `accepted, expected ${JSON.stringify(vector.expect)}`;
  for (const [name, wanted] of Object.entries(vector.outputs ?? {})) {
    if (!isDeepStrictEqual(outputs[name], wanted)) return `${name}: ${JSON.stringify(outputs[name])}`;
  }
}

const folder = join(SPEC, "vectors");
const paths = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith(".json")).sort();
for (const path of paths) {
  const vector = read(join(folder, path));
  if (LEFT_OUT.has(vector.run)) continue;
  const wrong = await problem(vector);
  if (wrong) process.exitCode = 1;
  console.log(wrong ? `FAIL ${path} ${wrong}` : `ok ${relative(".", path).split(sep).join("/")}`);
}
