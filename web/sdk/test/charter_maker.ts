/** Charters for tests: councils whose custodians sign, and gaps in the log that they give up. */

import type { Bytes } from "../src/protocol/bytes.js";
import { encode } from "../src/protocol/codec.js";
import { clusterId } from "../src/protocol/evidence.js";
import { statementDigest } from "../src/protocol/governance.js";
import {
  Charter,
  type Council,
  Gap,
  Genesis,
  type Seat,
  type SignedGap,
  type SignedGenesis,
  type SignedSuccession,
  Succession,
} from "../src/protocol/messages.js";
import { Domain, SigningKey } from "../src/protocol/primitives.js";

const NOTHING = new Uint8Array();
const zeros = (size: number): Bytes => new Uint8Array(size);

/** Three custodians, any two of whom act. */
export class Custodians {
  readonly council: Council;
  readonly #keys: readonly SigningKey[];

  private constructor(keys: readonly SigningKey[]) {
    this.#keys = keys;
    const custodians = keys.map((key, at) => ({ name: `custodian ${at}`, recipient: `age1custodian${at}`, key: key.public }));
    this.council = { recovery_key: zeros(1216), ring_token: zeros(32), custodians, threshold: 2, approvers: [], approvals: 0, release_delay: 0 };
  }

  static async appoint(): Promise<Custodians> {
    return new Custodians(await Promise.all([0, 1, 2].map(() => SigningKey.generate())));
  }

  sign(domain: Domain, statement: Bytes, ...who: readonly number[]): Promise<readonly Seat[]> {
    return Promise.all(who.map(async (index) => ({ index, signature: (await this.#keys[index]?.sign(domain, statement)) ?? NOTHING })));
  }
}

/** A cluster that was founded with custodians, and has others since, perhaps. */
export class Cluster {
  /** Those in office. */
  readonly custodians: Custodians;
  readonly id: Bytes;
  readonly #founded: SignedGenesis;
  readonly #successions: readonly SignedSuccession[];

  private constructor(custodians: Custodians, founded: SignedGenesis, id: Bytes, successions: readonly SignedSuccession[] = []) {
    this.custodians = custodians;
    this.#founded = founded;
    this.id = id;
    this.#successions = successions;
  }

  /** Serial of the council in office. */
  get council(): number {
    return this.#successions.length;
  }

  static async found(logKey: Bytes): Promise<Cluster> {
    const custodians = await Custodians.appoint();
    const statement = encode(Genesis, {
      version: 1,
      role: "vault",
      cluster_key: zeros(65),
      owner_key: zeros(65),
      council: custodians.council,
      log_key: logKey,
      witnesses: [],
      cosignatures: 0,
      development: false,
    });
    const accepted = await custodians.sign(Domain.ACCEPTANCE, statement, 0, 1, 2);
    return new Cluster(custodians, { statement, accepted }, await clusterId(statement));
  }

  /** The same cluster once others have followed these custodians. */
  async succeeded(): Promise<Cluster> {
    const others = await Custodians.appoint();
    const previous = this.#successions.at(-1)?.statement ?? this.#founded.statement;
    const statement = encode(Succession, {
      version: 1,
      cluster: this.id,
      serial: this.council + 1,
      previous: await statementDigest(previous),
      council: others.council,
    });
    const accepted = await others.sign(Domain.ACCEPTANCE, statement, 0, 1, 2);
    const endorsed = await this.custodians.sign(Domain.ENDORSEMENT, statement, 0, 1);
    return new Cluster(others, this.#founded, this.id, [...this.#successions, { statement, accepted, endorsed }]);
  }

  /** A gap that these custodians signed. */
  async gap(fields: Partial<Gap>, ...who: readonly number[]): Promise<SignedGap> {
    const statement = encode(Gap, {
      version: 1,
      cluster: this.id,
      recoveries: 1,
      generation: 1,
      attempt: zeros(32),
      found_size: 0,
      found_root: zeros(32),
      known_size: 0,
      known_root: zeros(32),
      at: 1_790_000_000,
      watchers: null,
      ...fields,
    });
    return { statement, council: this.council, signed: await this.custodians.sign(Domain.GAP, statement, ...who) };
  }

  /** Encoded. */
  charter(...gaps: readonly SignedGap[]): Bytes {
    return encode(Charter, { genesis: this.#founded, successions: this.#successions, gaps, recoveries: gaps.length, releases: NOTHING, named: [] });
  }
}
