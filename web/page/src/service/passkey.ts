/** Making a passkey, and the card that tells a sender of it. */

import { base64url, formatCard } from "@strongroom/sdk";

import { passkeys } from "./people.js";

export const passkeysPossible = (): boolean => typeof PublicKeyCredential === "function" && isSecureContext;

export async function makePasskey(name: string): Promise<string> {
  const made = await passkeys.make(name);
  return formatCard({
    format: "strongroom passkey 1",
    name,
    rp_id: made.rpId,
    origin: made.origin,
    credential_id: base64url(made.credentialId),
    public_key: base64url(made.publicKey),
  });
}
