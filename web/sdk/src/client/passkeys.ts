/** Passkeys (WebAuthn level 3) as this browser has them. User verification is always required. */

import type { Bytes } from "../protocol/bytes.js";
import { ErrorNumber, Misuse, Refused } from "../protocol/errors.js";
import type { PasskeyPublic, PasskeySignIn } from "../protocol/messages.js";
import { randomBytes } from "../protocol/primitives.js";
import { BadInput } from "./errors.js";

const SECONDS = 120;

/** What a passkey said, as an Authenticator wants it. */
export type Assertion = Pick<PasskeySignIn, "credential_id" | "authenticator_data" | "client_data" | "signature">;

/** Where passkeys are. */
export interface Passkeys {
  /** Have one of these passkeys sign `challenge` (32 bytes). Throws `Refused` SIGN_IN_REFUSED when the user does not. */
  assert(challenge: Bytes, of: PasskeyPublic): Promise<Assertion>;
}

/** A passkey that was just made: what somebody needs to require it. */
export interface NewPasskey {
  readonly rpId: string;
  readonly origin: string;
  readonly credentialId: Bytes;
  /** COSE_Key. */
  readonly publicKey: Bytes;
}

/** Those of this device, of its keychain, or of a security key that the user plugs in. */
export class BrowserPasskeys implements Passkeys {
  async assert(challenge: Bytes, of: PasskeyPublic): Promise<Assertion> {
    const allowCredentials = of.credential_ids.map((id) => ({ type: "public-key" as const, id }));
    const publicKey = { challenge, rpId: of.rp_id, allowCredentials, userVerification: "required" as const, timeout: 1000 * SECONDS };
    const credential = await asked(() => navigator.credentials.get({ publicKey }));
    if (!(credential.response instanceof AuthenticatorAssertionResponse)) throw noPasskey();
    return {
      credential_id: new Uint8Array(credential.rawId),
      authenticator_data: new Uint8Array(credential.response.authenticatorData),
      client_data: new Uint8Array(credential.response.clientDataJSON),
      signature: new Uint8Array(credential.response.signature),
    };
  }

  /** Make a passkey for this origin, shown to the user under `name`. */
  async make(name: string): Promise<NewPasskey> {
    const rpId = location.hostname;
    const publicKey: PublicKeyCredentialCreationOptions = {
      challenge: randomBytes(32), // nobody checks it: what counts is who is given the public key
      rp: { id: rpId, name: rpId },
      user: { id: randomBytes(32), name, displayName: name },
      pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { userVerification: "required", residentKey: "preferred" },
      attestation: "none",
      timeout: 1000 * SECONDS,
    };
    const credential = await asked(() => navigator.credentials.create({ publicKey }));
    if (!(credential.response instanceof AuthenticatorAttestationResponse)) throw noPasskey();
    const data = new Uint8Array(credential.response.getAuthenticatorData());
    return { rpId, origin: location.origin, credentialId: new Uint8Array(credential.rawId), publicKey: publicKeyIn(data) };
  }
}

/** Bytes of authenticator data before the length of the credential id: RP id hash, flags, counter, AAGUID. */
const BEFORE_LENGTH = 32 + 1 + 4 + 16;
const ATTESTED = 0x40;
const EXTENDED = 0x80;

/** The public key in the authenticator data of a new passkey (WebAuthn §6.5.1), where nothing stands behind it. */
export function publicKeyIn(data: Bytes): Bytes {
  const flags = data[32] ?? 0;
  const length = ((data[BEFORE_LENGTH] ?? 0) << 8) | (data[BEFORE_LENGTH + 1] ?? 0);
  const key = data.slice(BEFORE_LENGTH + 2 + length);
  if ((flags & ATTESTED) === 0 || (flags & EXTENDED) !== 0 || key.length === 0) {
    throw new Misuse(ErrorNumber.METHOD_INVALID, "this passkey says of itself what this version does not know");
  }
  return key;
}

async function asked(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await ask();
    if (credential instanceof PublicKeyCredential) return credential;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    if (error.name === "SecurityError") {
      throw new BadInput("these passkeys belong to another site than this one", "open the page on the site that they were made on");
    }
  }
  throw noPasskey();
}

const noPasskey = (): Refused => new Refused(ErrorNumber.SIGN_IN_REFUSED, "no passkey was used");
