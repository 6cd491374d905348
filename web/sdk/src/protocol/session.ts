/**
 * The attested session, the client's end: handshake and frames, pure bytes (`spec/session.md`, RULES 1 to 3).
 *
 * Attacks that shaped it:
 *
 * 1. The host replays, reorders or duplicates frames. A window of 64 accepts each counter once, after its tag verified
 *    and before any effect.
 * 2. The host moves a frame to another session or direction. Both are in the associated data.
 * 3. The host swaps two genuine answers. Each names the request that it answers.
 * 4. A thief of a token opens a session of his own. Everything counts only for the binding key that signed.
 */

import { type Bytes, concat, int64, readInt64, utf8 } from "./bytes.js";
import { decode, encode } from "./codec.js";
import { ErrorNumber, Misuse, Untrusted } from "./errors.js";
import type { Role } from "./evidence.js";
import { MAX_FRAME, MAX_HELLO, WINDOW } from "./limits.js";
import { Answer, Hello } from "./messages.js";
import { Domain, FrameCipher, KEM_SEED, KemKey, TAG, deriveKey, digest, equal, kemSeal, openOnce, pad, randomBytes, sha256, unpad } from "./primitives.js";

const KEY_ID = 8;
const SESSION_ID = 16;
const COUNTER = 8;
const SALT = 32;
const SEED = 32;

/** The directions of a session, as they are authenticated. */
export type Direction = "client to server" | "server to client";

/** First 8 bytes of SHA-256 of an HPKE public key: which of the turning keys a message is sealed to. */
export async function keyId(kemPublic: Bytes): Promise<Bytes> {
  return (await sha256(kemPublic)).slice(0, KEY_ID);
}

/** key id (8) ‖ HPKE enc (1120) ‖ ciphertext. */
export async function sealHello(serverKemKey: Bytes, hello: Hello): Promise<Bytes> {
  const prefix = await keyId(serverKemKey);
  return concat(prefix, await kemSeal(serverKemKey, encode(Hello, hello), Domain.HELLO, prefix));
}

/** What keys are salted with and the binding key signs: nothing of the handshake is left out. */
export function transcriptDigest(role: Role, evidence: Bytes, hello: Bytes, answer: Bytes): Promise<Bytes> {
  return digest(Domain.TRANSCRIPT, utf8(role), evidence, hello, answer);
}

export async function answerKey(clientSeed: Bytes, hello: Bytes, salt: Bytes): Promise<Bytes> {
  return deriveKey(clientSeed, salt, Domain.ANSWER, await sha256(hello));
}

/** Which counters were received: each counts once, and none that is 64 or more below the highest. */
class Received {
  #highest = -1n;
  #seen = 0n;

  /** Throws `Misuse` REPLAYED. */
  verifyFresh(counter: bigint): void {
    const behind = this.#highest - counter;
    if (behind >= WINDOW || (behind >= 0n && (this.#seen >> behind) & 1n)) throw new Misuse(ErrorNumber.REPLAYED);
  }

  note(counter: bigint): void {
    const behind = this.#highest - counter;
    if (behind >= 0n) {
      this.#seen |= 1n << behind;
      return;
    }
    const ahead = -behind < WINDOW ? -behind : BigInt(WINDOW);
    this.#seen = BigInt.asUintN(WINDOW, (this.#seen << ahead) | 1n);
    this.#highest = counter;
  }
}

/** One end of an established session: seals what it sends, opens what it receives, each counter once. */
export class Channel {
  readonly sessionId: Bytes;
  readonly transcript: Bytes;
  readonly #sender: FrameCipher;
  readonly #receiver: FrameCipher;
  readonly #received = new Received();
  #next = 0n;

  private constructor(sessionId: Bytes, transcript: Bytes, sender: FrameCipher, receiver: FrameCipher) {
    this.sessionId = sessionId;
    this.transcript = transcript;
    this.#sender = sender;
    this.#receiver = receiver;
  }

  /** `seeds` are the client's (32) ‖ the server's (32). */
  static async establish(
    sessionId: Bytes,
    seeds: Bytes,
    transcript: Bytes,
    directions: { readonly sends: Direction; readonly receives: Direction },
  ): Promise<Channel> {
    const cipher = async (direction: Direction): Promise<FrameCipher> => {
      const label = utf8(direction);
      return FrameCipher.create(await deriveKey(seeds, transcript, Domain.TRAFFIC, label), sessionId, label);
    };
    return new Channel(sessionId, transcript, await cipher(directions.sends), await cipher(directions.receives));
  }

  /** The counter used, and the frame: session id (16) ‖ counter (8) ‖ ciphertext of the padded message. */
  async seal(message: Bytes): Promise<{ counter: bigint; frame: Bytes }> {
    const counter = this.#next++; // before anything is awaited: two requests at once must not share a nonce
    return { counter, frame: concat(this.sessionId, int64(counter), await this.#sender.seal(counter, pad(message))) };
  }

  /**
   * Counter and message of a frame received.
   *
   * Throws `Misuse` MALFORMED, TOO_LARGE, REPLAYED (seen, or more than 63 below the highest seen) and `Untrusted`
   * INTEGRITY. A frame that fails leaves the window as it was, or forged counters would shut out genuine ones.
   */
  async open(frame: Bytes): Promise<{ counter: bigint; message: Bytes }> {
    if (frame.length > MAX_FRAME) throw new Misuse(ErrorNumber.TOO_LARGE);
    if (frame.length < SESSION_ID + COUNTER + TAG || !equal(frame.subarray(0, SESSION_ID), this.sessionId)) {
      throw new Misuse(ErrorNumber.MALFORMED);
    }
    const counter = readInt64(frame, SESSION_ID);
    this.#received.verifyFresh(counter);
    const message = unpad(await this.#receiver.open(counter, frame.slice(SESSION_ID + COUNTER)));
    this.#received.verifyFresh(counter); // once more: the same frame may have been opened meanwhile
    this.#received.note(counter);
    return { counter, message };
  }
}

/** A server's message taken apart: the request that it answers, and the encoded reply. Throws `Untrusted` INTEGRITY. */
export function splitReply(plaintext: Bytes): { request: bigint; message: Bytes } {
  if (plaintext.length < COUNTER) throw new Untrusted(ErrorNumber.INTEGRITY, "reply without a request counter");
  return { request: readInt64(plaintext, 0), message: plaintext.slice(COUNTER) };
}

/** What a client shows and expects in a handshake. `evidence` is the digest of accepted evidence. */
export interface Parties {
  readonly role: Role;
  readonly evidence: Bytes;
  readonly serverKemKey: Bytes;
  readonly bindingKey: Bytes;
}

/** The client's side: `hello` to send, then `finish` with the answer. */
export class ClientHandshake {
  readonly hello: Bytes;
  readonly #parties: Parties;
  readonly #seed: Bytes;
  readonly #kem: KemKey;

  private constructor(parties: Parties, hello: Bytes, seed: Bytes, kem: KemKey) {
    this.#parties = parties;
    this.hello = hello;
    this.#seed = seed;
    this.#kem = kem;
  }

  /** `seed` and `kemSeed` are 32 fresh random bytes each. */
  static async begin(
    parties: Parties,
    secrets: { readonly seed: Bytes; readonly kemSeed: Bytes } = { seed: randomBytes(SEED), kemSeed: randomBytes(KEM_SEED) },
  ): Promise<ClientHandshake> {
    const { seed } = secrets;
    const kem = await KemKey.fromSeed(secrets.kemSeed);
    const { evidence, bindingKey } = parties;
    const hello = { version: 1, seed, kem_key: kem.public, binding_key: bindingKey, evidence } as const;
    return new ClientHandshake(parties, await sealHello(parties.serverKemKey, hello), seed, kem);
  }

  /**
   * The established channel. Throws unless the attested enclave answered this hello: `Untrusted` INTEGRITY, `Misuse`
   * TOO_LARGE or MALFORMED.
   */
  async finish(answer: Bytes): Promise<Channel> {
    if (answer.length > MAX_HELLO) throw new Misuse(ErrorNumber.TOO_LARGE);
    const key = await answerKey(this.#seed, this.hello, answer.slice(0, SALT));
    const plaintext = await openOnce(key, answer.slice(SALT), await sha256(this.hello));
    const { session_id: sessionId, sealed_seed: sealedSeed } = decode(plaintext, Answer, MAX_HELLO);
    const serverSeed = await this.#kem.open(sealedSeed, Domain.SERVER_SEED, sessionId);
    if (serverSeed.length !== SEED) throw new Untrusted(ErrorNumber.INTEGRITY, "the server's seed has another length");
    const transcript = await transcriptDigest(this.#parties.role, this.#parties.evidence, this.hello, answer);
    const directions = { sends: "client to server", receives: "server to client" } as const;
    return Channel.establish(sessionId, concat(this.#seed, serverSeed), transcript, directions);
  }
}
