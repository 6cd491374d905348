import { beforeAll, describe, expect, it } from "vitest";

import { verifyReleased } from "../src/attestation/appraisal.js";
import { parseTrustPolicy } from "../src/attestation/policy.js";
import type { Report } from "../src/attestation/reports.js";
import { type Bytes, concat, hex, unhex, utf8 } from "../src/protocol/bytes.js";
import { encode } from "../src/protocol/codec.js";
import { ErrorNumber, StrongroomError } from "../src/protocol/errors.js";
import { type Approval, ReleaseList, SignedReleases } from "../src/protocol/messages.js";
import { sha256, sha512 } from "../src/protocol/primitives.js";
import { NAMESPACE, isReleased, verifyReleases } from "../src/protocol/releases.js";
import { parseSshKey, verifySshsig } from "../src/protocol/sshsig.js";

const CLUSTER = new Uint8Array(32).fill(7);
const PROGRAM = new Uint8Array(32).fill(1);
const TOUCHED = 0x01;

const string = (content: Bytes): Bytes => {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, content.length);
  return concat(length, content);
};
const strings = (...parts: readonly (Bytes | string)[]): Bytes => concat(...parts.map((part) => string(typeof part === "string" ? utf8(part) : part)));
/** As OpenSSH writes a number: shortest form, and a zero in front of what would be below 0. */
const integer = (value: Bytes): Bytes => {
  const short = value.slice(value.findIndex((byte) => byte !== 0));
  return string((short[0] ?? 0) >= 0x80 ? concat(new Uint8Array(1), short) : short);
};

interface How {
  readonly namespace?: string;
  /** What a security key saw. */
  readonly flags?: number;
  /** What somebody writes behind its signature. */
  readonly said?: number;
}

/** An ssh key of one of the four types; a security key says its flags and a counter. */
class SshSigner {
  readonly public: Bytes;
  readonly #kind: string;
  readonly #key: CryptoKey;
  readonly #application: string | undefined;

  private constructor(kind: string, publicKey: Bytes, key: CryptoKey, application: string | undefined) {
    [this.#kind, this.public, this.#key, this.#application] = [kind, publicKey, key, application];
  }

  static async make(kind: string, application = "ssh:"): Promise<SshSigner> {
    const isSecurityKey = kind.startsWith("sk-");
    const how = kind.includes("ed25519") ? "Ed25519" : { name: "ECDSA", namedCurve: "P-256" };
    const pair = (await crypto.subtle.generateKey(how, true, ["sign", "verify"])) as CryptoKeyPair;
    const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
    const parts = [kind, ...(how === "Ed25519" ? [] : ["nistp256"]), point, ...(isSecurityKey ? [application] : [])];
    return new SshSigner(kind, strings(...parts), pair.privateKey, isSecurityKey ? application : undefined);
  }

  async sign(statement: Bytes, { namespace = NAMESPACE, flags = TOUCHED, said = flags }: How = {}): Promise<Bytes> {
    let signed = concat(utf8("SSHSIG"), strings(namespace, "", "sha512", await sha512(statement)));
    const touch = (value: number): Bytes => Uint8Array.of(value, 0, 0, 0, 9);
    if (this.#application !== undefined) signed = concat(await sha256(utf8(this.#application)), touch(flags), await sha256(signed));
    const how = this.#kind.includes("ed25519") ? "Ed25519" : { name: "ECDSA", hash: "SHA-256" };
    const raw = new Uint8Array(await crypto.subtle.sign(how, this.#key, signed));
    const signature = how === "Ed25519" ? raw : concat(integer(raw.slice(0, 32)), integer(raw.slice(32)));
    return concat(strings(this.#kind, signature), this.#application === undefined ? new Uint8Array() : touch(said));
  }

  async approve(statement: Bytes, how: How = {}): Promise<Approval> {
    return { key: this.public, signature: await this.sign(statement, how) };
  }
}

const KINDS = ["ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
const LIST: ReleaseList = {
  version: 1,
  cluster: CLUSTER,
  role: "vault",
  serial: 3,
  min_svn: 2,
  releases: [{ version: "1.0.0", svn: 2, programs: [{ kind: "sgx", measurement: PROGRAM }] }],
};
const STATEMENT = encode(ReleaseList, LIST);

let signers: readonly SshSigner[];
beforeAll(async () => {
  signers = await Promise.all(KINDS.map((kind) => SshSigner.make(kind)));
});

const numberOf = async (work: () => Promise<unknown>): Promise<number> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof StrongroomError) return error.number;
    throw error;
  }
  return 0;
};
const signed = (...approvals: readonly Approval[]): Bytes => encode(SignedReleases, { statement: STATEMENT, approvals });
const approving = (approvals: number) => ({ cluster: CLUSTER, role: "vault" as const, approvers: signers.map((one) => one.public), approvals });

describe("approvals of releases", () => {
  it.each([0, 1, 2, 3])("count by each type of ssh key (%i)", async (at) => {
    const approval = await (signers[at] as SshSigner).approve(STATEMENT);
    expect((await verifyReleases(signed(approval), approving(1))).serial).toBe(3);
    const bent = { ...approval, signature: approval.signature.map((byte, place) => (place === approval.signature.length - 12 ? byte ^ 1 : byte)) };
    expect(await numberOf(() => verifyReleases(signed(bent), approving(1)))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
  });

  it("are counted by person, and all of them must hold", async () => {
    const approvals = await Promise.all(signers.map((one) => one.approve(STATEMENT)));
    expect((await verifyReleases(signed(...approvals), approving(4))).serial).toBe(3);
    const [one, other] = approvals as [Approval, Approval];
    expect(await numberOf(() => verifyReleases(signed(one), approving(2)))).toBe(ErrorNumber.INTEGRITY);
    expect(await numberOf(() => verifyReleases(signed(one, one), approving(2)))).toBe(ErrorNumber.INTEGRITY);
    expect(await numberOf(() => verifyReleases(signed(one, { ...other, key: one.key }), approving(1)))).toBe(ErrorNumber.INTEGRITY);
  });

  it.each([2, 3])("by a security key that nobody touched count for nothing (%i)", async (at) => {
    const key = signers[at] as SshSigner;
    expect(await numberOf(async () => verifyReleases(signed(await key.approve(STATEMENT, { flags: 0 })), approving(1)))).toBe(ErrorNumber.INTEGRITY);
    // The flags are signed: the host can't add a touch.
    expect(await numberOf(async () => verifyReleases(signed(await key.approve(STATEMENT, { flags: 0, said: 1 })), approving(1)))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
  });

  it("are no signatures for anything else, nor the other way round", async () => {
    for (const namespace of ["strongroom", "file", "git", ""]) {
      const approval = await (signers[0] as SshSigner).approve(STATEMENT, { namespace });
      expect(await numberOf(() => verifyReleases(signed(approval), approving(1)))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
    }
    const key = parseSshKey((signers[1] as SshSigner).public);
    const signature = await (signers[1] as SshSigner).sign(STATEMENT);
    expect(await numberOf(() => verifySshsig(key, signature, STATEMENT, "strongroom"))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
  });

  it("of a security key count for its application alone", async () => {
    const mine = signers[2] as SshSigner;
    const other = parseSshKey(concat(mine.public.slice(0, -8), strings("ssh:x"))); // the same key, for somebody else
    const signature = await mine.sign(STATEMENT);
    expect(await numberOf(() => verifySshsig(other, signature, STATEMENT, NAMESPACE))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
  });
});

describe("ssh keys", () => {
  const ed25519 = (point: string): Bytes => strings("ssh-ed25519", unhex(point));

  it.each<[string, Bytes]>([
    ["nothing", new Uint8Array()],
    ["of another type", strings("ssh-rsa", "1", "2")],
    ["cut short", strings("ssh-ed25519", new Uint8Array(31))],
    ["with something behind it", concat(ed25519("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), new Uint8Array(1))],
    ["of low order: 0", ed25519("00".repeat(32))],
    ["of low order: 1", ed25519(`01${"00".repeat(31)}`)],
    ["of low order: 8", ed25519("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")],
    ["of low order, with the sign bit", ed25519(`01${"00".repeat(30)}80`)],
    ["not in its one form", ed25519(`ee${"ff".repeat(30)}7f`)],
    ["not a point of the curve", ed25519(`02${"00".repeat(31)}`)],
    ["of another curve", strings("ecdsa-sha2-nistp256", "nistp384", concat(Uint8Array.of(4), new Uint8Array(64)))],
    ["a compressed point", strings("ecdsa-sha2-nistp256", "nistp256", concat(Uint8Array.of(2), new Uint8Array(32)))],
    ["a security key without an application", strings("sk-ssh-ed25519@openssh.com", unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), "")],
    ["a security key for a hidden name", strings("sk-ssh-ed25519@openssh.com", unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), "ssh:\n")],
  ])("that are none are refused: %s", (_what, key) => {
    expect(() => parseSshKey(key)).toThrow(StrongroomError);
  });

  it("are taken in their one form: RFC 8032's first key", () => {
    const key = parseSshKey(ed25519("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
    expect([key.kind, key.application]).toEqual(["ssh-ed25519", undefined]);
  });

  it("sign in one form: a number that is longer than it must be, or below 0, is refused", async () => {
    const signer = signers[1] as SshSigner;
    const key = parseSshKey(signer.public);
    const one = Uint8Array.of(1);
    for (const [r, s] of [
      [string(concat(new Uint8Array(1), one)), string(one)],
      [string(Uint8Array.of(0x80)), string(one)],
      [string(new Uint8Array()), string(one)],
      [string(concat(one, new Uint8Array(32))), string(one)],
      [string(one), concat(string(one), one)],
    ] as const) {
      const signature = strings("ecdsa-sha2-nistp256", concat(r, s));
      expect(await numberOf(() => verifySshsig(key, signature, STATEMENT, NAMESPACE))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
    }
  });
});

describe("a policy that goes by releases", () => {
  const candidate = (untrustedReleases: Bytes, measurement = PROGRAM) => ({
    kind: "sgx" as const,
    report: { registers: [["MRENCLAVE", measurement]] } as unknown as Report,
    cluster: CLUSTER,
    role: "vault" as const,
    untrustedReleases,
  });
  const authority = (min_serial = 0) => ({ approvers: signers.map((one) => one.public), approvals: 1, min_serial });

  it("accepts what the list names, and nothing that it leaves out, nor without a list, nor by an older one", async () => {
    const list = signed(await (signers[0] as SshSigner).approve(STATEMENT));
    expect((await verifyReleased(candidate(list), authority(3))).serial).toBe(3);
    expect(await numberOf(() => verifyReleased(candidate(list, new Uint8Array(32)), authority()))).toBe(ErrorNumber.POLICY);
    expect(await numberOf(() => verifyReleased(candidate(new Uint8Array()), authority()))).toBe(ErrorNumber.POLICY);
    expect(await numberOf(() => verifyReleased(candidate(list), authority(4)))).toBe(ErrorNumber.POLICY);
    expect(isReleased({ ...LIST, min_svn: 3 }, "sgx", PROGRAM)).toBeUndefined();
    expect(isReleased(LIST, "tdx", PROGRAM)).toBeUndefined();
  });

  it("is refused where its approvers can never agree, or nobody reads their keys", async () => {
    const role = (releases: unknown) => ({ clusters: [], config: [], sgx: null, tdx: null, snp: null, nitro: null, insecure_software: null, releases });
    const parse = (releases: unknown) =>
      numberOf(() => parseTrustPolicy({ version: 1, name: "test", vault: role(releases), authenticator: role(null), witnesses: [], cosignatures: 0 }));
    const keys = signers.map((one) => hex(one.public));
    expect(await parse({ approvers: keys, approvals: 2, min_serial: 0 })).toBe(0);
    for (const [approvers, approvals] of [
      [keys, 5],
      [keys, 0],
      [[keys[0], keys[0]], 1],
      [["00"], 1],
      [[], 1],
    ] as const) {
      expect(await parse({ approvers, approvals, min_serial: 0 })).toBe(ErrorNumber.MALFORMED);
    }
  });
});
