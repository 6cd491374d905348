/**
 * What Intel states, in signed JSON and in certificates, of a machine (TCB info, PCK certificate) and of its quoting
 * enclave (QE identity): "PCS API v4", and "Intel SGX PCK Certificate and CRL Profile Specification".
 *
 * These are read after their signatures have been verified. What is not understood is refused all the same.
 */

import { type Bytes, unhex } from "../protocol/bytes.js";
import { Misuse } from "../protocol/errors.js";
import { DerReader, type DerValue, NotDer, Tag, demand, readBoolean, readSmall, shortestInteger } from "./der.js";
import { refuse } from "./refusal.js";
import type { Certificate } from "./x509.js";

/** Best first; of two of these the later one counts. */
export const TCB_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "TDRelaunchAdvised",
  "TDRelaunchAdvisedConfigurationNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;
export type TcbStatus = (typeof TCB_STATUSES)[number];

/** What a TCB level says of whoever reaches it. */
export interface Standing {
  /** Unix seconds: weaknesses known before it are mended. */
  readonly date: number;
  readonly status: TcbStatus;
  readonly advisories: readonly string[];
}

/** A level of a program that has one security version. */
export interface VersionLevel extends Standing {
  readonly svn: number;
}

/** A level of a machine: lowest security versions of 16 components each, and of the provisioning enclave. */
export interface MachineLevel extends Standing {
  readonly sgx: readonly number[];
  readonly tdx: readonly number[];
  readonly pce: number;
}

/** How a program is known: by its signer, and by attributes under a mask. */
export interface ModuleIdentity {
  readonly id: string;
  readonly signer: Bytes;
  readonly attributes: Bytes;
  readonly mask: Bytes;
  readonly levels: readonly VersionLevel[];
}

interface Statement {
  readonly id: string;
  readonly version: number;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly nextAt: number;
  readonly evaluationNumber: number;
}

export interface TcbInfo extends Statement {
  readonly fmspc: Bytes;
  readonly pceId: Bytes;
  /** Highest first, as Intel's own verifier orders them. */
  readonly levels: readonly MachineLevel[];
  readonly module: ModuleIdentity | undefined;
  readonly modules: readonly ModuleIdentity[];
}

export interface QeIdentity extends Statement {
  readonly signer: Bytes;
  readonly productId: number;
  readonly miscSelect: Bytes;
  readonly miscSelectMask: Bytes;
  readonly attributes: Bytes;
  readonly attributesMask: Bytes;
  readonly levels: readonly VersionLevel[];
}

/** What a PCK certificate states of its machine. */
export interface Pck {
  readonly ppid: Bytes;
  readonly cpuSvn: readonly number[];
  readonly pceSvn: number;
  readonly pceId: Bytes;
  readonly fmspc: Bytes;
  /** null: not stated. */
  readonly dynamicPlatform: boolean | null;
  readonly cachedKeys: boolean | null;
  readonly smt: boolean | null;
}

/** Throws `Untrusted` EVIDENCE. */
export function parseTcbInfo(text: string): TcbInfo {
  const info = new JsonMap(parseJson(text));
  const isTdx = info.text("id") === "TDX";
  const levels = info.maps("tcbLevels").map(machineLevel);
  const identities = info.has("tdxModuleIdentities") ? info.maps("tdxModuleIdentities") : [];
  return {
    ...statement(info),
    fmspc: info.hex("fmspc", 6),
    pceId: info.hex("pceId", 2),
    levels: levels.sort((a, b) => compare(b.sgx, a.sgx) || b.pce - a.pce || (isTdx ? compare(b.tdx, a.tdx) : 0)),
    module: info.has("tdxModule") ? moduleIdentity(info.map("tdxModule"), "", []) : undefined,
    modules: identities.map((one) => moduleIdentity(one, one.text("id"), one.maps("tcbLevels").map(versionLevel))),
  };
}

/** Throws `Untrusted` EVIDENCE. */
export function parseQeIdentity(text: string): QeIdentity {
  const identity = new JsonMap(parseJson(text));
  return {
    ...statement(identity),
    signer: identity.hex("mrsigner", 32),
    productId: identity.integer("isvprodid"),
    miscSelect: identity.hex("miscselect", 4),
    miscSelectMask: identity.hex("miscselectMask", 4),
    attributes: identity.hex("attributes", 16),
    attributesMask: identity.hex("attributesMask", 16),
    levels: identity.maps("tcbLevels").map(versionLevel),
  };
}

/** JSON in which nothing is left open: as JavaScript reads it. Throws `Untrusted` EVIDENCE. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notUnderstood();
  }
}

const notUnderstood = (): Error => refuse("the quote verifies, but says what is not understood");

function statement(map: JsonMap): Statement {
  return {
    id: map.text("id"),
    version: map.integer("version"),
    issuedAt: map.date("issueDate"),
    nextAt: map.date("nextUpdate"),
    evaluationNumber: map.integer("tcbEvaluationDataNumber"),
  };
}

function standing(level: JsonMap): Standing {
  const status = TCB_STATUSES.find((one) => one === level.text("tcbStatus"));
  if (status === undefined) throw notUnderstood();
  return {
    date: level.date("tcbDate"),
    status,
    advisories: level.has("advisoryIDs") ? level.texts("advisoryIDs") : [],
  };
}

const versionLevel = (level: JsonMap): VersionLevel => ({ ...standing(level), svn: level.map("tcb").integer("isvsvn") });

function machineLevel(level: JsonMap): MachineLevel {
  const tcb = level.map("tcb");
  const versions = (name: string): number[] => tcb.maps(name).map((component) => component.integer("svn"));
  return {
    ...standing(level),
    sgx: versions("sgxtcbcomponents"),
    tdx: tcb.has("tdxtcbcomponents") ? versions("tdxtcbcomponents") : [],
    pce: tcb.integer("pcesvn"),
  };
}

const moduleIdentity = (map: JsonMap, id: string, levels: readonly VersionLevel[]): ModuleIdentity => ({
  id,
  signer: map.hex("mrsigner", 48),
  attributes: map.hex("attributes", 8),
  mask: map.hex("attributesMask", 8),
  levels,
});

/** The first difference decides. */
function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? a.length - b.length : (a[at] ?? 0) - (b[at] ?? -1);
}

const DATE = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** A JSON object whose fields have the types that are asked for; others are skipped. */
class JsonMap {
  readonly #fields: ReadonlyMap<string, unknown>;

  constructor(value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw notUnderstood();
    this.#fields = new Map(Object.entries(value));
  }

  has(name: string): boolean {
    return (this.#fields.get(name) ?? null) !== null;
  }

  text(name: string): string {
    const value = this.#fields.get(name);
    if (typeof value !== "string") throw notUnderstood();
    return value;
  }

  /** From 0 to 2^32 − 1. */
  integer(name: string): number {
    const value = this.#fields.get(name);
    if (typeof value !== "number" || value >>> 0 !== value) throw notUnderstood();
    return value;
  }

  /** Unix seconds. */
  date(name: string): number {
    const value = this.text(name);
    const [, day] = DATE.exec(value) ?? [];
    const milliseconds = day === undefined ? Number.NaN : Date.parse(value);
    // The 30th of February would become the 2nd of March.
    if (Number.isNaN(milliseconds) || new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10) !== day) throw notUnderstood();
    return Math.floor(milliseconds / 1000);
  }

  hex(name: string, size: number): Bytes {
    const value = unhexed(this.text(name));
    if (value?.length !== size) throw notUnderstood();
    return value;
  }

  map(name: string): JsonMap {
    return new JsonMap(this.#fields.get(name));
  }

  maps(name: string): JsonMap[] {
    return this.#list(name).map((one) => new JsonMap(one));
  }

  texts(name: string): string[] {
    return this.#list(name).map((one) => {
      if (typeof one !== "string") throw notUnderstood();
      return one;
    });
  }

  #list(name: string): readonly unknown[] {
    const value = this.#fields.get(name);
    if (!Array.isArray(value)) throw notUnderstood();
    return value;
  }
}

/** Bytes of hex digits, or nothing if they are none. */
export function unhexed(text: string): Bytes | undefined {
  try {
    return unhex(text);
  } catch (error) {
    if (error instanceof Misuse) return undefined;
    throw error;
  }
}

// --- PCK certificate --------------------------------------------------------------------------------------------

const SGX_EXTENSION = "1.2.840.113741.1.13.1";

type Entries = ReadonlyMap<string, DerValue>;

/** Throws `Untrusted` EVIDENCE. */
export function parsePck(certificate: Certificate): Pck {
  try {
    const extension = certificate.extensions.get(SGX_EXTENSION);
    demand(extension !== undefined);
    const stated = entriesOf(DerReader.only(extension.value, Tag.SEQUENCE));
    const tcb = entriesOf(entry(stated, "2", Tag.SEQUENCE));
    const flags: Entries = stated.has("7") ? entriesOf(entry(stated, "7", Tag.SEQUENCE)) : new Map();
    const flag = (arc: string): boolean | null => (flags.has(arc) ? readBoolean(entry(flags, arc, Tag.BOOLEAN).content) : null);
    return {
      ppid: octets(stated, "1", 16),
      cpuSvn: [...octets(tcb, "2.18", 16)],
      pceSvn: readSmall(shortestInteger(entry(tcb, "2.17", Tag.INTEGER).content)),
      pceId: octets(stated, "3", 2),
      fmspc: octets(stated, "4", 6),
      dynamicPlatform: flag("7.1"),
      cachedKeys: flag("7.2"),
      smt: flag("7.3"),
    };
  } catch (error) {
    if (error instanceof NotDer) throw refuse("the PCK certificate does not describe the machine");
    throw error;
  }
}

/** A sequence of pairs of identifier and value, by the identifier's end; each once. */
function entriesOf(sequence: DerValue): Entries {
  const found = new Map<string, DerValue>();
  const reader = new DerReader(sequence.content);
  while (!reader.isAtEnd) {
    const pair = reader.nested(Tag.SEQUENCE);
    const oid = pair.oid();
    const value = pair.any();
    pair.end();
    demand(oid.startsWith(`${SGX_EXTENSION}.`));
    const arc = oid.slice(SGX_EXTENSION.length + 1);
    demand(!found.has(arc));
    found.set(arc, value);
  }
  return found;
}

function entry(entries: Entries, arc: string, tag: number): DerValue {
  const found = entries.get(arc);
  demand(found?.tag === tag);
  return found;
}

function octets(entries: Entries, arc: string, size: number): Bytes {
  const { content } = entry(entries, arc, Tag.OCTET_STRING);
  demand(content.length === size);
  return content;
}
