import { describe, expect, test } from "vitest";
import { BadInput } from "../src/client/errors.js";
import { type Bytes, base64url, hex, utf8 } from "../src/protocol/bytes.js";
import { encode } from "../src/protocol/codec.js";
import { Method } from "../src/protocol/instructions.js";
import { recipientsOf } from "../src/share/access.js";
import { Unreadable } from "../src/share/errors.js";
import type { Card } from "../src/share/format.js";
import { formatLink, loadSite, parseLink, verifyPinned } from "../src/share/site.js";

const ORIGIN = "https://share.example.com";
const ID = "0123456789abcdef0123456789abcdef";

function oidc(clientSecret: string): Method {
  const audience = { channel: "web", client_id: "page", redirect_uri: `${ORIGIN}/callback` } as const;
  return {
    type: "oidc",
    public: { issuer: "https://login.example.com", audiences: [audience], scopes: ["openid", "email"] },
    secret: { client_secret: clientSecret },
    algorithms: ["RS256"],
    email_domains: [],
    acr_values: [],
    max_age: 0,
    pushed: false,
  };
}

function codes(password: string): Method {
  const secret = { server: "smtps://mail.example.com", user: "", password };
  return { type: "email-code", public: { sender: "codes@example.com" }, secret, certificates: new Uint8Array(), addresses: [], domains: ["example.com"] };
}

const directory: Method = {
  type: "directory",
  public: { name: "ad.example.com" },
  flavour: "active-directory",
  servers: ["ldaps://ad.example.com"],
  certificates: new Uint8Array(),
  base: "dc=example,dc=com",
  user_dn: "",
  groups: [],
  email_domains: ["example.com"],
};

const definition = (method: Method): string => base64url(encode(Method, method));
const role = { clusters: ["11".repeat(32)], config: [], sgx: null, tdx: null, snp: null, nitro: null, insecure_software: null, releases: null };
const statement = {
  format: "strongroom site 1",
  name: "Example Ltd",
  policy: { version: 1, name: "example", vault: role, authenticator: role, witnesses: [], cosignatures: 0 },
  vault: { url: "https://vault.example.com" },
  authenticators: [{ url: "https://authenticator.example.com/" }],
  namespace: "share",
  methods: [definition(oidc(""))],
  max_bytes: 5_368_709_120,
  expiry_days: { default: 14, max: 90 },
  contact: "mailto:security@example.com",
};

const load = (changes: object = {}) => loadSite(utf8(JSON.stringify({ ...statement, ...changes })), ORIGIN);

describe("a site's statement", () => {
  test("is read as it was written", async () => {
    const site = await load();
    expect(site).toMatchObject({ origin: ORIGIN, name: "Example Ltd", namespace: "share", maxBytes: 5_368_709_120, expiryDays: { default: 14, max: 90 } });
    expect(site.authenticators).toEqual([{ url: "https://authenticator.example.com" }]);
    expect(site.methods[0]?.method.type).toBe("oidc");
    expect(hex(site.policy.vault.clusters[0] as Bytes)).toBe("11".repeat(32));
    expect(site.digest).toHaveLength(32);
  });

  test.each<[string, object]>([
    ["an unknown field", { script: "x" }],
    ["a policy with a field left out", { policy: { ...statement.policy, vault: { ...role, snp: undefined } } }],
    ["a policy with an unknown field", { policy: { ...statement.policy, extra: 1 } }],
    ["no Authenticator", { authenticators: [] }],
    ["a method with a secret", { methods: [definition(oidc("secret"))] }],
    ["a mail server's password for the whole world to read", { methods: [definition(codes("secret"))] }],
    ["a method for programs", { methods: [definition({ type: "workload", public: { issuer: "https://ci.example.com", audience: "" }, algorithms: ["RS256"], keys: new Uint8Array(), claims: [] })] }],
    ["a method that is no method", { methods: ["AAAA"] }],
    ["a method in padded base64", { methods: [`${definition(oidc(""))}=`] }],
    ["a Vault by a path", { vault: { url: "/vault/" } }],
    ["a Vault that is a script", { vault: { url: "javascript:alert(1)" } }],
    ["a contact that is a script", { contact: "javascript:alert(1)" }],
    ["days that contradict each other", { expiry_days: { default: 91, max: 90 } }],
    ["a name that can't be seen", { name: "a\u202eb" }],
  ])("with %s is refused", async (_name, changes) => {
    await expect(load(changes)).rejects.toThrow(Unreadable);
  });

  test("may let people sign in by a directory, and by codes that an open mail server sends", async () => {
    const site = await load({ methods: [definition(oidc("")), definition(directory), definition(codes(""))] });
    expect(site.methods.map(({ method }) => method.type)).toEqual(["oidc", "directory", "email-code"]);
  });

  test("that is another one than at the last visit is noticed", async () => {
    const [before, after] = [await load(), await load({ name: "Example Ltd." })];
    verifyPinned(before, before.digest);
    expect(() => verifyPinned(after, before.digest)).toThrow(hex(after.digest));
  });
});

describe("a link", () => {
  test.each(["https://share.example.com/#/s/", "http://localhost:8000/#/r/", "http://127.0.0.1:8402/#/s/"])("%s… is read as it is written", (start) => {
    expect(formatLink(parseLink(start + ID))).toBe(start + ID);
  });

  test.each([
    `http://share.example.com/#/s/${ID}`,
    `https://share.example.com/#/s/${ID}/AGE-SECRET-KEY-PQ-1`,
    `https://share.example.com/#/s/${ID.toUpperCase()}`,
    `https://share.example.com/?x#/s/${ID}`,
    `https://share.example.com/a/#/s/${ID}`,
    `https://user@share.example.com/#/s/${ID}`,
    `https://share.example.com:443/#/s/${ID}`,
    `javascript:alert(1)//#/s/${ID}`,
    ID,
  ])("%s is none", (link) => {
    expect(() => parseLink(link)).toThrow(BadInput);
  });
});

describe("recipients", () => {
  const card: Card = { format: "strongroom passkey 1", name: "Bob@example.com", rp_id: "example.com", origin: ORIGIN, credential_id: "AA", public_key: "AA" };

  test("are compared in lower case, each once", () => {
    expect(recipientsOf({ emails: ["Bob@Example.com", "bob@example.com"], cards: [card] }).emails).toEqual(["bob@example.com"]);
  });

  test.each<[string, Parameters<typeof recipientsOf>[0]]>([
    ["nobody", { emails: [] }],
    ["what is no address", { emails: ["bob"] }],
    ["an address that looks like another one", { emails: ["b\u043eb@example.com"] }],
    ["a Kelvin sign, which lower case makes a k", { emails: ["\u212aim@example.com"] }],
    ["a second person who is the first", { emails: ["bob@example.com"], second: "Bob@example.com" }],
    ["a passkey of nobody", { emails: ["al@example.com", "bob@example.com"], cards: [card, { ...card, name: "al@example.com" }, { ...card, name: "eve@example.com" }] }],
    ["a passkey too few", { emails: ["al@example.com", "bob@example.com"], cards: [card] }],
    ["passkeys of two sites", { emails: ["al@example.com", "bob@example.com"], cards: [card, { ...card, name: "al@example.com", rp_id: "evil.example" }] }],
    ["too many", { emails: [], groups: Array.from({ length: 101 }, (_, at) => `g${at}`) }],
  ])("%s is refused", (_name, people) => {
    expect(() => recipientsOf(people)).toThrow(BadInput);
  });
});
