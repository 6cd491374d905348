/**
 * What verified evidence says, one type for each platform: read by policies, shown to people, decided by nobody here.
 *
 * Every value stands under the signature of the platform's maker. Whether it is good enough is `acceptance`'s question.
 */

import type { Bytes } from "../protocol/bytes.js";
import { concat } from "../protocol/bytes.js";
import type { AttestationKey, Product } from "./amd_roots.js";

/** What the hardware of every platform vouches for. */
export interface HardwareReport {
  /** Name and value of each register that says which program this is, in the maker's order and words. */
  readonly registers: readonly (readonly [name: string, value: Bytes])[];
  /** 64 bytes that the program chose: for us, the commitment to the claims. */
  readonly reportData: Bytes;
  /** SHA-256 of the DER of the root certificate under which all this verified. */
  readonly root: Bytes;
  /** Unix seconds: the latest time that maker or hardware signed as past. */
  readonly provenAt: number;
  /** Unix seconds at which the first of the things that it rests on (certificate, list, statement) expires. */
  readonly validUntil: number;
}

/** State of the machine below an enclave or TD, as Intel sees it. */
export interface IntelState {
  readonly tcbStatus: string;
  readonly advisories: readonly string[];
  /** The lower one of TCB info and QE identity. */
  readonly tcbEvaluationNumber: number;
  /** Unix seconds of the TCB level that the machine reaches; the earlier one of platform and quoting enclave. */
  readonly tcbDate: number;
  /** PPID (16): names the processor package. */
  readonly platformId: Bytes;
  /** Simultaneous multithreading; null, here and below, where the PCK certificate doesn't state it. */
  readonly smt: boolean | null;
  /** Packages may be added to the machine. */
  readonly dynamicPlatform: boolean | null;
  /** Platform root keys are kept by Intel's registration service. */
  readonly cachedKeys: boolean | null;
}

/** An SGX quote of version 3. Register: MRENCLAVE (32). */
export interface SgxReport extends HardwareReport {
  readonly platform: "sgx";
  /** MRSIGNER (32). */
  readonly signer: Bytes;
  readonly productId: number;
  readonly svn: number;
  readonly intel: IntelState;
}

/** A TDX quote of version 4 or 5. Registers: MRTD, RTMR0 to RTMR3 (48 each). */
export interface TdxReport extends HardwareReport {
  readonly platform: "tdx";
  /** 64 bits, as the "Intel TDX Module ABI" numbers them. */
  readonly tdAttributes: bigint;
  readonly xfam: bigint;
  readonly mrSeam: Bytes;
  /** 48 bytes each; these three are chosen by the host, and our programs never read them. */
  readonly mrConfigId: Bytes;
  readonly mrOwner: Bytes;
  readonly mrOwnerConfig: Bytes;
  readonly intel: IntelState;
}

/** Security versions of the parts of an AMD platform; `fmc` is 0 before Turin. */
export interface SnpTcb {
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
  readonly fmc: number;
}

/** An SEV-SNP attestation report. Register: MEASUREMENT (48). */
export interface SnpReport extends HardwareReport {
  readonly platform: "snp";
  /** By the pinned chain under which it verified. */
  readonly product: Product;
  /** VLEK: a key that AMD lends to a cloud provider; it names no chip. */
  readonly key: AttestationKey;
  /** Whom AMD lent the VLEK to, as its certificate says ("CN=cc-us-east-2.amazonaws.com"); empty under a VCEK. */
  readonly provider: string;
  /** As AMD's "SEV Secure Nested Paging Firmware ABI" numbers its bits. */
  readonly guestPolicy: number;
  readonly vmpl: number;
  readonly guestSvn: number;
  /** 16 bytes each, from the ID block. */
  readonly familyId: Bytes;
  readonly imageId: Bytes;
  /** 48 bytes each: SHA-384 of the keys that signed the ID block; zero where there is none. */
  readonly idKeyDigest: Bytes;
  readonly authorKeyDigest: Bytes;
  /** REPORTED_TCB, which the leaf certificate repeats. */
  readonly tcb: SnpTcb;
  /** COMMITTED_TCB: what the host can still go back to. */
  readonly committedTcb: SnpTcb;
  /** LAUNCH_TCB: what measured the guest when it started, or when it last moved. */
  readonly launchTcb: SnpTcb;
  /** 64 bytes; zero under a VLEK. */
  readonly chipId: Bytes;
  /** True: a current list of AMD's was there, and revokes nothing that this rests on. */
  readonly crlChecked: boolean;
}

/** An AWS Nitro attestation document. Registers: PCR0 to PCR2 (48 each). */
export interface NitroReport extends HardwareReport {
  readonly platform: "nitro";
  /** Every locked register, 48 bytes each. */
  readonly pcrs: ReadonlyMap<number, Bytes>;
  /** `i-INSTANCE-encENCLAVE`. */
  readonly moduleId: string;
  /** Unix seconds: time of the document, which the hypervisor signs. */
  readonly signedAt: number;
}

export type Report = SgxReport | TdxReport | SnpReport | NitroReport;

/** The registers, one behind the other: 32 bytes on SGX, 48 on SNP, 240 on TDX, 144 on Nitro. */
export const measurementOf = (report: Report): Bytes => concat(...report.registers.map(([, value]) => value));
