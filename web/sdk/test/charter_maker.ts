/** Charters for tests: councils whose custodians sign, and gaps in the log that they give up. */

import type { Bytes } from "../src/protocol/bytes.js";
import { encode } from "../src/protocol/codec.js";
import { clusterId } from "../src/protocol/evidence.js";
import { Charter, type Council, Gap, Genesis, type Seat, type SignedGap, type SignedGenesis } from "../src/protocol/messages.js";
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
    this.council = { recovery_key: zeros(1216), custodians, threshold: 2, approvers: [], approvals: 0, release_delay: 0 };
  }

  static async appoint(): Promise<Custodians> {
    return new Custodians(await Promise.all([0, 1, 2].map(() => SigningKey.generate())));
  }

  sign(domain: Domain, statement: Bytes, ...who: readonly number[]): Promise<readonly Seat[]> {
    return Promise.all(who.map(async (index) => ({ index, signature: (await this.#keys[index]?.sign(domain, statement)) ?? NOTHING })));
  }
}

/** A cluster that was founded with custodians. */
export class Cluster {
  readonly custodians: Custodians;
  readonly id: Bytes;
  readonly #founded: SignedGenesis;

  private constructor(custodians: Custodians, founded: SignedGenesis, id: Bytes) {
    this.custodians = custodians;
    this.#founded = founded;
    this.id = id;
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
      ...fields,
    });
    return { statement, council: 0, signed: await this.custodians.sign(Domain.GAP, statement, ...who) };
  }

  /** Encoded. */
  charter(...gaps: readonly SignedGap[]): Bytes {
    return encode(Charter, { genesis: this.#founded, successions: [], gaps, recoveries: gaps.length, releases: NOTHING, named: [] });
  }
}
